//! Commands whose condition would have to hold over several slots at once, and `SORT` that keeps its result in another
//! slot: circlet refuses them, on any number of nodes,
//! and they are not sent to Valkey, which has no slots.

use std::collections::BTreeSet;

use ring::slot::Slot;

use super::command::Command;

/// The refusal.
pub(super) const REFUSAL: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Whether the command has further options, which may be wrong: then it may be refused for these as well.
pub(super) fn has_more_to_refuse(command: &Command) -> bool {
    let options = 2 + conditional_keys(command).len() * 2;
    command.word(0) == "MSETEX" && command.arguments.len() > options + 1
}

/// Whether the command has a condition and keys of several slots.
pub(super) fn is_refused(command: &Command) -> bool {
    let count = command.arguments.len();
    let keys: Vec<&[u8]> = match command.word(0).as_str() {
        "RENAMENX" if count == 3 => vec![command.at(1), command.at(2)],
        "MSETNX" if count > 2 && count % 2 == 1 => (1..count).step_by(2).map(|place| command.at(place)).collect(),
        "MSETEX" => conditional_keys(command),
        "SORT" if count > 1 => vec![command.at(1), stored_key(command).unwrap_or(command.at(1))],
        _ => return false,
    };
    keys.into_iter().map(Slot::of).collect::<BTreeSet<_>>().len() > 1
}

/// Where `SORT` is to keep its result.
fn stored_key(command: &Command) -> Option<&[u8]> {
    let (mut place, mut stored) = (2, None);
    while place < command.arguments.len() {
        place += match command.word(place).as_str() {
            "LIMIT" => 3,
            "GET" | "BY" => 2,
            "STORE" if place + 1 < command.arguments.len() => {
                stored = Some(command.at(place + 1));
                2
            }
            _ => 1,
        };
    }
    stored
}

/// The keys of `MSETEX`, if it has `NX` or `XX` behind them.
fn conditional_keys(command: &Command) -> Vec<&[u8]> {
    // A sign in front, which Rust reads, is none of Redis' numbers.
    let digits = Some(command.at(1)).filter(|text| text.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let options = 2 + number.min(command.arguments.len()) * 2;
    let conditional = command
        .arguments
        .iter()
        .skip(options)
        .any(|word| word.eq_ignore_ascii_case(b"nx") || word.eq_ignore_ascii_case(b"xx"));
    if !conditional || options > command.arguments.len() {
        return Vec::new();
    }
    (2..options).step_by(2).map(|place| command.at(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_over_several_slots_are_refused() {
        for (line, refused) in [
            ("MSETNX a 1 b 2", true),
            ("MSETNX {t}a 1 {t}b 2", false),
            ("MSETNX a 1 b", false),
            ("MSET a 1 b 2", false),
            ("RENAMENX a b", true),
            ("RENAME a b", false),
            ("SORT a STORE b", true),
            ("SORT a GET STORE b LIMIT 0 STORE", false),
            ("SORT {t}a STORE {t}b", false),
            ("MSETEX 2 a 1 b 2 NX", true),
            ("MSETEX 2 a 1 b 2 EX 100000 xx", true),
            ("MSETEX 2 a 1 b 2 EX 100000", false),
            ("MSETEX 2 {t}a 1 {t}b 2 NX", false),
            ("MSETEX 3 a 1 b 2 NX", false),
        ] {
            assert_eq!(is_refused(&Command::line(line)), refused, "{line}");
        }
    }
}
