//! Times in commands, and what keeps the run independent of them.
//!
//! The two servers have a clock each and get a command a moment apart. A time is therefore far away or past, so that
//! nothing expires between two commands, and no command waits for longer than a moment.

use fastrand::Rng;

use super::command::Command;

/// Deadlines at or above this second are given as such; what is counted from now is below. So replies above it are
/// compared exactly.
pub(super) const ABSOLUTE_FROM_S: i64 = 4_000_000_000;
/// Times from now are at least this long.
const LEAST_S: i64 = 10_000;
const MOST_S: i64 = 100_000_000;
/// The longest that a command may wait.
const LONGEST_WAIT_MS: i64 = 3;
/// A string is not made longer than this by an offset, but for offsets that are refused.
const MAX_OFFSET: i64 = 100_000;
const REFUSED_OFFSET: i64 = 512 << 20;

/// What stands for a time from now and is past, or refused.
const EDGES: [&str; 16] = [
    "0",
    "-1",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "9223372036854775",
    "9223372036854776",
    "-9223372036854775",
    "-9223372036854776",
    "abc",
    "",
    "1.5",
    " 100",
    "+100000",
    "1e9",
];
const SECONDS_AT: [&str; 6] = ["4102444800", "4102444801", "99999999999", "33177117420", "1", "1000000"];
const MILLISECONDS_AT: [&str; 6] =
    ["4102444800000", "4102444800001", "4102444801000", "99999999999999", "1", "1000000000"];

/// The unit and the beginning of a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Time {
    Seconds,
    Milliseconds,
    SecondsAt,
    MillisecondsAt,
}

impl Time {
    /// The kind of time behind an option, if it is one.
    pub(super) fn of_option(word: &[u8]) -> Option<Time> {
        let options = [
            ("EX", Time::Seconds),
            ("PX", Time::Milliseconds),
            ("EXAT", Time::SecondsAt),
            ("PXAT", Time::MillisecondsAt),
        ];
        options.into_iter().find(|(option, _)| word.eq_ignore_ascii_case(option.as_bytes())).map(|(_, time)| time)
    }

    /// A time of this kind: mostly one that is far away.
    pub(super) fn random(self, rng: &mut Rng) -> Vec<u8> {
        if rng.u8(..6) == 0 {
            return EDGES[rng.usize(..EDGES.len())].into();
        }
        match self {
            Time::Seconds => rng.i64(LEAST_S..MOST_S).to_string().into(),
            Time::Milliseconds => rng.i64(LEAST_S * 1000..MOST_S * 1000).to_string().into(),
            Time::SecondsAt => SECONDS_AT[rng.usize(..SECONDS_AT.len())].into(),
            Time::MillisecondsAt => MILLISECONDS_AT[rng.usize(..MILLISECONDS_AT.len())].into(),
        }
    }

    /// Whether a number is far away, past or refused; from now on also not so far that the deadline seems to be given.
    fn is_safe(self, number: i64) -> bool {
        let unit = if matches!(self, Time::Seconds | Time::SecondsAt) { 1 } else { 1000 };
        match self {
            Time::Seconds => number <= 0 || (LEAST_S..=MOST_S).contains(&number) || number >= i64::MAX / 1000,
            Time::Milliseconds => {
                let refused = i64::MAX - 1_000_000_000_000;
                number <= 0 || (LEAST_S * 1000..=MOST_S * 1000).contains(&number) || number >= refused
            }
            Time::SecondsAt | Time::MillisecondsAt => {
                number <= 1_000_000_000 * unit || number >= ABSOLUTE_FROM_S * unit
            }
        }
    }
}

/// Puts other numbers in the place of those that would make the run depend on clocks, wait, or fill the memory.
pub(super) fn make_safe(command: &mut Command, rng: &mut Rng) {
    for (place, time) in times(command) {
        if integer(command.at(place)).is_some_and(|number| !time.is_safe(number)) {
            let safe = if matches!(time, Time::Seconds | Time::SecondsAt) { MOST_S - 1 } else { (MOST_S - 1) * 1000 };
            let jitter = rng.i64(0..1_000_000);
            let far = matches!(time, Time::SecondsAt | Time::MillisecondsAt);
            command.arguments[place] = if far { time.far() } else { (safe - jitter).to_string().into() };
        }
    }
    let limit = match (command.word(0).as_str(), command.word(1).as_str()) {
        ("WAIT", _) | ("CLIENT", "PAUSE") => Some((LONGEST_WAIT_MS + 1..i64::MAX, LONGEST_WAIT_MS)),
        ("SETRANGE", _) => Some((MAX_OFFSET..REFUSED_OFFSET, MAX_OFFSET)),
        _ => None,
    };
    if let Some((range, instead)) = limit {
        let waits_for_ever = command.word(0) == "WAIT" && integer(command.at(2)) == Some(0);
        if waits_for_ever || integer(command.at(2)).is_some_and(|number| range.contains(&number)) {
            command.arguments[2] = instead.to_string().into();
        }
    }
}

impl Time {
    fn far(self) -> Vec<u8> {
        if self == Time::SecondsAt { "4102444800".into() } else { "4102444800000".into() }
    }
}

/// The places of times in a command.
fn times(command: &Command) -> Vec<(usize, Time)> {
    let name = command.word(0);
    let second = match name.as_str() {
        "EXPIRE" | "SETEX" => Some(Time::Seconds),
        "PEXPIRE" | "PSETEX" => Some(Time::Milliseconds),
        "EXPIREAT" => Some(Time::SecondsAt),
        "PEXPIREAT" => Some(Time::MillisecondsAt),
        "RESTORE" if command.has("ABSTTL") => Some(Time::MillisecondsAt),
        "RESTORE" => Some(Time::Milliseconds),
        _ => None,
    };
    let second = second.filter(|_| command.arguments.len() > 2).map(|time| (2, time));
    let has_options = matches!(name.as_str(), "SET" | "GETEX" | "MSETEX");
    let options = (2..command.arguments.len()).filter(|_| has_options);
    let options = options.filter_map(|place| Some((place, Time::of_option(command.at(place - 1))?)));
    second.into_iter().chain(options).collect()
}

/// A number as the servers read it.
fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, is_safe: bool) {
        let mut command = Command::line(line);
        make_safe(&mut command, &mut Rng::with_seed(1));
        assert_eq!(command == Command::line(line), is_safe, "{line} became {command}");
        let once = command.clone();
        make_safe(&mut command, &mut Rng::with_seed(2));
        assert_eq!(command, once, "{line} was not safe");
    }

    #[test]
    fn nothing_expires_during_the_run() {
        check("EXPIRE k 5", false);
        check("EXPIRE k 100000", true);
        check("EXPIRE k -1", true);
        check("PEXPIRE k 100000", false);
        check("PEXPIRE k 6954245696944694063", false);
        check("PEXPIRE k 9223372036854775807", true);
        check("EXPIRE k 9223372036854775807", true);
        check("SET k 5 EX 7 GET", false);
        check("SET k EX 7", false);
        check("set k v pxat 1800000000000", false);
        check("GETEX k EXAT 1", true);
        check("RESTORE k 10 x", false);
        check("RESTORE k 0 x", true);
        check("EXPIRE k abc", true);
        check("EXPIRE k", true);
    }

    #[test]
    fn nothing_waits_and_nothing_fills_the_memory() {
        check("WAIT 1 0", false);
        check("WAIT 1 60000", false);
        check("CLIENT PAUSE 60000", false);
        check("SETRANGE k 400000000 x", false);
        check("SETRANGE k 536870912 x", true);
    }
}
