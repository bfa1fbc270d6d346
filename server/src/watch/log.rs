//! One log of commands: the latest ones, numbered.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::types::parse_integer;

/// So many arguments of a command are kept, and so many bytes of each, as in Redis.
const MAX_ARGUMENTS: usize = 32;
const MAX_ARGUMENT_BYTES: usize = 128;

/// So many entries are kept, if nothing else was said.
const USUAL_ENTRIES: u64 = 128;

/// Which log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Of commands that took long.
    Slow,
    /// Of requests that were large.
    LargeRequest,
    /// Of replies that were large.
    LargeReply,
}

impl Which {
    /// All.
    pub const ALL: [Which; 3] = [Which::Slow, Which::LargeRequest, Which::LargeReply];

    /// The log of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Which> {
        Which::ALL.into_iter().find(|which| name.eq_ignore_ascii_case(which.name().as_bytes()))
    }

    fn name(self) -> &'static str {
        match self {
            Which::Slow => "slow",
            Which::LargeRequest => "large-request",
            Which::LargeReply => "large-reply",
        }
    }

    /// From where on commands are logged, if nothing else was said: 10 ms, 1 MiB.
    pub(super) fn usual_threshold(self) -> i64 {
        if self == Which::Slow { 10_000 } else { 1 << 20 }
    }
}

/// One command that was logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number; never used twice.
    pub id: u64,
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// Microseconds, or bytes.
    pub value: u64,
    /// The command and its arguments, as far as they are kept.
    pub arguments: Vec<Vec<u8>>,
    /// Where the client was.
    pub client: String,
    /// What it called itself.
    pub client_name: Vec<u8>,
}

/// A log.
#[derive(Debug)]
pub struct Log {
    threshold: AtomicI64,
    max_entries: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    next_id: u64,
    /// The latest first.
    latest: VecDeque<Entry>,
}

impl Log {
    pub(super) fn new(threshold: i64) -> Log {
        Log {
            threshold: AtomicI64::new(threshold),
            max_entries: AtomicU64::new(USUAL_ENTRIES),
            entries: Mutex::default(),
        }
    }

    /// From where on commands are logged, in microseconds or bytes; below 0: never.
    pub fn threshold(&self) -> i64 {
        self.threshold.load(Relaxed)
    }

    /// From now on commands are logged from there on.
    pub fn set_threshold(&self, threshold: i64) {
        self.threshold.store(threshold, Relaxed);
    }

    /// How many entries are kept.
    pub fn max_entries(&self) -> u64 {
        self.max_entries.load(Relaxed)
    }

    /// From now on so many are kept; those beyond go with the next that comes.
    pub fn set_max_entries(&self, count: u64) {
        self.max_entries.store(count, Relaxed);
    }

    /// Takes an entry in, whose number is given here.
    pub fn push(&self, entry: Entry) {
        let max = usize::try_from(self.max_entries()).unwrap_or(usize::MAX);
        let mut entries = self.entries.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.latest.push_front(Entry { id, ..entry });
        entries.latest.truncate(max);
    }

    /// The latest entries, the last one first.
    pub fn latest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().latest.iter().take(count).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.lock().latest.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all; numbers go on.
    pub fn clear(&self) {
        self.entries.lock().latest.clear();
    }
}

/// The arguments of a command as a log keeps them: not too many, not too long, and without passwords.
pub fn trimmed<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let kept = if count > MAX_ARGUMENTS { MAX_ARGUMENTS - 1 } else { count };
    let mut kept_arguments: Vec<Vec<u8>> = arguments.take(kept).map(shortened).collect();
    redact(&mut kept_arguments);
    if kept < count {
        kept_arguments.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    kept_arguments
}

fn shortened(argument: &[u8]) -> Vec<u8> {
    let Some(rest) = argument.len().checked_sub(MAX_ARGUMENT_BYTES).filter(|&rest| rest > 0) else {
        return argument.to_vec();
    };
    [&argument[..MAX_ARGUMENT_BYTES], format!("... ({rest} more bytes)").as_bytes()].concat()
}

/// Settings whose values are not logged: those that there are, and those that somebody may give who takes the node for
/// another server. They are refused, and logged all the same.
const SECRET_SETTINGS: [&str; 8] = [
    "cluster-secret",
    "masterauth",
    "masteruser",
    "primaryauth",
    "primaryuser",
    "requirepass",
    "tls-client-key-file-pass",
    "tls-key-file-pass",
];

/// Takes passwords out: those of `AUTH`, `HELLO … AUTH` and `CONFIG SET`. Of what cannot be read as such a command, rather
/// too much than too little.
fn redact(arguments: &mut [Vec<u8>]) {
    let Some((name, rest)) = arguments.split_first_mut() else { return };
    match name.to_ascii_lowercase().as_slice() {
        b"auth" => hide(rest),
        b"hello" => redact_hello(rest),
        b"config" => redact_config(rest),
        _ => {}
    }
}

fn hide(arguments: &mut [Vec<u8>]) {
    arguments.iter_mut().for_each(|argument| *argument = b"(redacted)".to_vec());
}

/// Reads the options as the command does: a word behind `SETNAME` is a name, whatever it says.
fn redact_hello(arguments: &mut [Vec<u8>]) {
    if arguments.first().is_some_and(|version| parse_integer(version).is_none()) {
        return hide(arguments);
    }
    let mut at = 1;
    while let Some(option) = arguments.get(at) {
        match option.to_ascii_lowercase().as_slice() {
            b"setname" => at += 2,
            b"auth" => {
                let end = arguments.len().min(at + 3);
                hide(&mut arguments[at + 1..end]);
                at = end;
            }
            _ => return hide(&mut arguments[at..]),
        }
    }
}

/// Behind `GET` are names alone.
fn redact_config(arguments: &mut [Vec<u8>]) {
    let Some((subcommand, rest)) = arguments.split_first_mut() else { return };
    let is_secret = |name: &[u8]| SECRET_SETTINGS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    let Some(first) = rest.iter().position(|argument| is_secret(argument)) else { return };
    if subcommand.eq_ignore_ascii_case(b"get") {
        return;
    }
    if first % 2 == 1 || rest.len() % 2 == 1 {
        return hide(&mut rest[first + 1..]);
    }
    rest.chunks_mut(2).filter(|pair| is_secret(&pair[0])).for_each(|pair| hide(&mut pair[1..]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: u64) -> Entry {
        let (client, client_name) = (String::new(), Vec::new());
        Entry { id: 0, unix_s: 1, value, arguments: Vec::new(), client, client_name }
    }

    #[test]
    fn the_latest_entries_stay_and_have_numbers() {
        let log = Log::new(5);
        log.set_max_entries(3);
        (0..10).for_each(|value| log.push(entry(value)));
        let numbers = |log: &Log| log.latest(9).iter().map(|entry| (entry.id, entry.value)).collect::<Vec<_>>();
        assert_eq!(numbers(&log), [(9, 9), (8, 8), (7, 7)]);
        assert_eq!((log.latest(1).len(), log.len()), (1, 3));
        log.clear();
        log.push(entry(5));
        assert_eq!(numbers(&log), [(10, 5)]);
        log.set_max_entries(0);
        log.push(entry(6));
        assert!(log.is_empty());
    }

    fn check(line: &str, wanted: &str) {
        let arguments: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(trimmed(arguments.into_iter()).join(&b' '), wanted.as_bytes());
    }

    #[test]
    fn arguments_are_trimmed() {
        let long = "x".repeat(130);
        check(&format!("set {long} v"), &format!("set {}... (2 more bytes) v", &long[..128]));
        check(&["a"; 32].join(" "), &["a"; 32].join(" "));
        check(&["a"; 33].join(" "), &format!("{} ... (2 more arguments)", ["a"; 31].join(" ")));
    }

    #[test]
    fn passwords_are_not_logged() {
        check("AUTH user secret", "AUTH (redacted) (redacted)");
        check("hello 3 AUTH user secret SETNAME n", "hello 3 AUTH (redacted) (redacted) SETNAME n");
        check("hello 3", "hello 3");
        check("config set maxmemory 1 REQUIREPASS secret", "config set maxmemory 1 REQUIREPASS (redacted)");
        check("config set requirepass s1 requirepass s2", "config set requirepass (redacted) requirepass (redacted)");
        check("config set masterauth s", "config set masterauth (redacted)");
        check("config get requirepass timeout", "config get requirepass timeout");
        check("config set timeout 1", "config set timeout 1");
        check("config", "config");
        check("config set", "config set");
        check("set auth secret", "set auth secret");
        check("hello", "hello");
    }

    #[test]
    fn a_word_that_is_a_value_is_no_option() {
        let hidden = "AUTH (redacted) (redacted)";
        check("HELLO 2 SETNAME auth AUTH default S1", &format!("HELLO 2 SETNAME auth {hidden}"));
        check("HELLO 2 AUTH default S2 AUTH default S3", &format!("HELLO 2 {hidden} {hidden}"));
        check("HELLO 2 AUTH auth S2 setname n", &format!("HELLO 2 {hidden} setname n"));
    }

    #[test]
    fn of_a_damaged_request_too_much_is_hidden() {
        check("HELLO 3 AUTH secret", "HELLO 3 AUTH (redacted)");
        check("HELLO AUTH default secret", "HELLO (redacted) (redacted) (redacted)");
        check(
            "HELLO 3 AUTH user pass word SETNAME n",
            "HELLO 3 AUTH (redacted) (redacted) (redacted) (redacted) (redacted)",
        );
        check("HELLO 3 SETNAME", "HELLO 3 SETNAME");
        check("CONFIG SET requirepass pass word", "CONFIG SET requirepass (redacted) (redacted)");
        check("CONFIG SET maxmemory requirepass secret", "CONFIG SET maxmemory requirepass (redacted)");
    }
}
