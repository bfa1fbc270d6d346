//! What kind of command a command is.

/// What kind of command a command is, as `COMMAND INFO` says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// It may change data.
    pub const WRITE: Flags = Flags(1);
    /// It reads data and never changes any.
    pub const READONLY: Flags = Flags(1 << 1);
    /// It may need memory, and is refused where there is none.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// It is for the administrator.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Scripts may not call it.
    pub const NOSCRIPT: Flags = Flags(1 << 4);
    /// It may wait.
    pub const BLOCKING: Flags = Flags(1 << 5);
    /// It is answered while data is being loaded.
    pub const LOADING: Flags = Flags(1 << 6);
    /// It is answered while data may be stale.
    pub const STALE: Flags = Flags(1 << 7);
    /// It takes constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 8);
    /// It is answered before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 9);
    /// It is answered while a script runs.
    pub const ALLOW_BUSY: Flags = Flags(1 << 10);

    /// The flags and the words for them, in the order of `COMMAND INFO`.
    const WORDS: [(Flags, &'static str); 11] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];

    /// These flags and those.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of those are among these.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The words for them.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Flags::WORDS.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| word)
    }
}
