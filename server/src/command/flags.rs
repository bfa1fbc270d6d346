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
    /// It does not show in `MONITOR`.
    pub const SKIP_MONITOR: Flags = Flags(1 << 8);
    /// It does not show in the slow log.
    pub const SKIP_COMMANDLOG: Flags = Flags(1 << 9);
    /// It is answered about a slot that is on its way here.
    pub const ASKING: Flags = Flags(1 << 10);
    /// It takes constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 11);
    /// It is answered before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 12);
    /// It may name no key at all.
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 13);
    /// It is refused while data is being loaded beside old data.
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 14);
    /// It is no part of a transaction.
    pub const NO_MULTI: Flags = Flags(1 << 15);
    /// Only its arguments say where its keys are.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 16);
    /// It is answered while a script runs.
    pub const ALLOW_BUSY: Flags = Flags(1 << 17);

    /// It takes constant time, and is executed so often that its time is not looked at; not a flag of Redis.
    pub const BRIEF: Flags = Flags(1 << 18);

    /// The flags and the words for them, in the order of `COMMAND INFO`.
    const WORDS: [(Flags, &'static str); 18] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_COMMANDLOG, "skip_commandlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLE_KEYS, "movablekeys"),
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

    /// Whether any of those is among these.
    pub const fn contains_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// The words for them.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Flags::WORDS.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| word)
    }
}
