//! The commands of a slot, told what Redis was told, have to answer what Redis answered.

use std::sync::Arc;

use proptest::prelude::*;
use ring::{id::Origin, slot::Slot};

use super::*;
use crate::{
    resp::Span,
    store::{Executed, Policy, Settings, Store},
};

const NOW: u64 = 1_800_000_000_000;

fn store() -> (Store, Slot) {
    let (seed, slot) = (1, Slot::of(b"any"));
    let settings =
        Settings { seed, max_memory_bytes: 0, policy: Policy::NoEviction, lane_window_bytes: 0, events: Arc::new(()) };
    let store = Store::new(settings);
    store.with_replica(slot, |replica| {
        replica.open_empty(Origin(1));
        replica.act();
    });
    (store, slot)
}

/// Runs a command as the router would, where all keys are in one slot.
fn run(store: &Store, slot: Slot, args: &[&[u8]]) -> String {
    let name = args[0].to_ascii_lowercase();
    let mut rows = string::COMMANDS.iter().chain(key::COMMANDS);
    let row = rows.find(|row| row.name.as_bytes() == name).expect("a command of these families");
    let (Run::Slot(on_slot)
    | Run::Split(on_slot, _)
    | Run::EverySlot(on_slot, _)
    | Run::Scan(on_slot)
    | Run::AnySlot(on_slot)) = row.run
    else {
        panic!("a command on a slot");
    };
    let (buffer, mut spans) = (args.concat(), Vec::new());
    for arg in args {
        let start = spans.last().map_or(0, |span: &Span| span.end);
        spans.push(Span { start, end: start + arg.len() as u32 });
    }
    let arity_holds =
        if row.arity < 0 { spans.len() >= row.arity.unsigned_abs().into() } else { spans.len() == row.arity as usize };
    assert!(arity_holds, "{row:?}", row = row.name);
    match store.execute(slot, NOW, |txn| shown(&on_slot(txn, &Request::new(&buffer, &spans)))) {
        Executed::Done { result, .. } => result,
        Executed::NotActing => panic!("the slot acts"),
    }
}

fn shown(reply: &Reply<'_>) -> String {
    let bulk = |bytes: &[u8]| format!("${}", String::from_utf8_lossy(bytes));
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Error(text) => format!("-{text}"),
        Reply::Integer(integer) => format!(":{integer}"),
        Reply::Bulk(bytes) => bulk(bytes),
        Reply::Blob(bytes) => bulk(bytes),
        Reply::Shared(bytes) => bulk(bytes),
        Reply::Text(text) => bulk(text.as_bytes()),
        Reply::Null => "nil".into(),
        Reply::Array(replies) => format!("[{}]", replies.iter().map(shown).collect::<Vec<_>>().join(" ")),
        other => panic!("{other:?}"),
    }
}

/// Figures of Redis 7.0.15.
#[test]
fn replies_are_those_of_redis() {
    let (store, slot) = store();
    for (line, reply) in include!("replies.in") {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(run(&store, slot, &args), reply, "{line}");
    }
}

#[test]
fn a_scan_shows_every_key_once() {
    let (store, slot) = store();
    for n in 0..1000 {
        run(&store, slot, &[b"SET", format!("key {n}").as_bytes(), b"v"]);
    }
    let (mut position, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let reply = run(&store, slot, &[b"SCAN", position.as_bytes(), b"COUNT", b"7"]);
        let (next, keys) = reply[2..].split_once(' ').unwrap();
        found.extend(
            keys.trim_matches(['[', ']']).split('$').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()),
        );
        if next == "0" {
            break;
        }
        position = next.to_owned();
    }
    found.sort();
    let mut keys: Vec<_> = (0..1000).map(|n| format!("key {n}")).collect();
    keys.sort();
    assert_eq!(found, keys);
    assert_eq!(run(&store, slot, &[b"SCAN", b"281474976710656"]), "-ERR invalid cursor");
}

#[test]
fn strings_end_at_their_greatest_length() {
    let (store, slot) = store();
    let half = vec![b'x'; crate::types::MAX_STRING_BYTES / 2];
    run(&store, slot, &[b"SET", b"a", &half]);
    assert_eq!(run(&store, slot, &[b"APPEND", b"a", &half]), ":536870912");
    let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(run(&store, slot, &[b"APPEND", b"a", b"x"]), error);
    assert_eq!(run(&store, slot, &[b"STRLEN", b"a"]), ":536870912");
}

#[test]
fn rows_say_what_command_info_says() {
    let rows: Vec<_> = string::COMMANDS.iter().chain(key::COMMANDS).collect();
    for row in &rows {
        assert!(row.flags.contains(Flags::WRITE) != row.flags.contains(Flags::READONLY), "{}", row.name);
        assert!(row.flags.contains(Flags::WRITE) || !row.flags.contains(Flags::DENYOOM), "{}", row.name);
    }
    let denied = rows.iter().filter(|row| row.flags.contains(Flags::DENYOOM)).map(|row| row.name);
    let expected = ["set", "mset", "append", "incr", "decr", "incrby", "decrby", "incrbyfloat"];
    assert_eq!(denied.collect::<Vec<_>>(), expected);
}

#[test]
fn no_arguments_make_a_command_panic() {
    let (store, slot) = store();
    proptest!(ProptestConfig::with_cases(200), |(words in prop::collection::vec(prop_oneof![
        Just("NX".to_owned()), Just("XX".into()), Just("GT".into()), Just("EX".into()), Just("PXAT".into()), Just("GET".into()),
        Just("KEEPTTL".into()), Just("PERSIST".into()), Just("MATCH".into()), Just("COUNT".into()), Just("TYPE".into()),
        any::<i64>().prop_map(|number| number.to_string()), "[\\x00-\\x7f]{0,6}", Just("k".into())], 1..7))| {
        for row in string::COMMANDS.iter().chain(key::COMMANDS) {
            let mut args = vec![row.name.as_bytes()];
            args.extend(words.iter().map(String::as_bytes));
            let wanted = usize::from(row.arity.unsigned_abs());
            if args.len() >= wanted {
                args.truncate(if row.arity > 0 { wanted } else { args.len() });
                run(&store, slot, &args);
            }
        }
    });
}
