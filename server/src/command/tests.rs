//! The commands of a slot, told what Redis was told, have to answer what Redis answered.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;
use ring::{id::Origin, slot::Slot};

use super::*;
use crate::{
    resp::OwnedRequest,
    store::{Access, Executed, Settings, Store},
    types::{self, Policy, Tuning},
};

const NOW: u64 = 1_800_000_000_000;

fn store() -> (Store, Slot) {
    store_with(Policy::NoEviction)
}

fn store_with(policy: Policy) -> (Store, Slot) {
    let (seed, slot) = (1, Slot::of(b"any"));
    let settings =
        Settings { seed, max_memory_bytes: 0, policy, lane_window_bytes: 0, events: Arc::new(()), versions: None };
    let store = Store::new(settings);
    store.with_replica(slot, |replica| {
        replica.open_empty(Origin(1));
        replica.act();
    });
    (store, slot)
}

/// Runs a command as the router would, where all keys are in one slot.
fn run(store: &Store, slot: Slot, args: &[&[u8]]) -> String {
    let request = OwnedRequest::new(args.iter().copied());
    let request = request.as_request();
    let row = match Table::of_links().meant(&request) {
        Ok((_, row)) if row.accepts(request.len()) => row,
        Ok((_, row)) => return shown(&row.wrong_arity()),
        Err(error) => return shown(&error),
    };
    if let Keys::Counted { check, .. } = row.keys
        && let Err(error) = check(&request)
    {
        return shown(&error);
    }
    let run = on_slot(row).expect("a command on a slot");
    match store.execute(slot, NOW, |txn| shown(&run(txn, &request))) {
        Executed::Done { result, .. } => result,
        Executed::NotActing => panic!("the slot acts"),
    }
}

fn on_slot(row: &Command) -> Option<OnSlot> {
    match row.run {
        Run::EverySlot(run, _) | Run::Scan(run) | Run::AnySlot(run) => Some(run),
        run => run.on_slot(),
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
        Reply::Map(pairs) => {
            format!(
                "[{}]",
                pairs.iter().map(|(key, value)| shown(key) + " " + &shown(value)).collect::<Vec<_>>().join(" ")
            )
        }
        Reply::Array(replies) => format!("[{}]", replies.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Reply::Encoded(bytes) => String::from_utf8_lossy(bytes).trim_end().into(),
        other => panic!("{other:?}"),
    }
}

fn check_replies(replies: &[(&str, &str)]) {
    let (store, slot) = store();
    for (line, reply) in replies {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(&run(&store, slot, &args), reply, "{line}");
    }
}

/// What Redis 7.0.15 answered, and Valkey 9.1.2.
#[test]
fn replies_are_those_of_redis() {
    check_replies(&include!("replies.in"));
}

/// What Valkey 9.1.2 answered.
#[test]
fn replies_are_those_of_valkey() {
    check_replies(&include!("valkey.in"));
}

#[test]
fn a_dumped_value_is_restored() {
    let (store, slot) = store();
    run(&store, slot, &[b"SET", b"a", b"12345", b"PXAT", b"33177117420000"]);
    let payload = types::payload::dump(b"12345").unwrap();
    assert_eq!(run(&store, slot, &[b"DUMP", b"a"]), format!("${}", String::from_utf8_lossy(&payload)));
    let check = |args: &[&[u8]], reply: &str, deadline: &str| {
        let args = [&[&b"RESTORE"[..], b"b"], args].concat();
        assert_eq!(run(&store, slot, &args), reply, "{args:?}");
        assert_eq!(run(&store, slot, &[b"PEXPIRETIME", b"b"]), deadline, "{args:?}");
    };
    check(&[b"0", &payload], "+OK", ":-1");
    check(&[b"0", &payload], "-BUSYKEY Target key name already exists.", ":-1");
    check(&[b"1000", &payload, b"replace"], "+OK", &format!(":{}", NOW + 1000));
    check(&[b"33177117420000", &payload, b"REPLACE", b"ABSTTL"], "+OK", ":33177117420000");
    check(&[b"9223372036854775807", &payload, b"REPLACE", b"ABSTTL"], "+OK", ":9223372036854775807");
    check(&[b"9223372036854775807", &payload, b"REPLACE"], "+OK", ":-2");
    check(&[b"0", &payload], "+OK", ":-1");
    // A time that has come removes what was there.
    check(&[b"1", &payload, b"REPLACE", b"ABSTTL"], "+OK", ":-2");
    let list = types::payload::sealed(b"\x01\x01\x01a");
    check(&[b"0", &list], "-ERR Bad data format", ":-2");
}

#[test]
fn what_is_known_of_uses_is_told_and_restored() {
    const NOT_COUNTED: &str = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
        when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    const NOT_TIMED: &str = "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
        switching between policies at runtime LRU and LFU data will take some time to adjust.";
    let payload = types::payload::dump(b"v").unwrap();
    for (policy, idle, frequency) in [(Policy::AllKeysLru, ":77", NOT_COUNTED), (Policy::AllKeysLfu, NOT_TIMED, ":200")]
    {
        let (store, slot) = store_with(policy);
        for (word, number) in [("IDLETIME", "77"), ("FREQ", "200")] {
            let restore: [&[u8]; 6] = [b"RESTORE", word.as_bytes(), b"0", &payload, word.as_bytes(), number.as_bytes()];
            assert_eq!(run(&store, slot, &restore), "+OK");
        }
        assert_eq!(run(&store, slot, &[b"OBJECT", b"IDLETIME", b"IDLETIME"]), idle);
        assert_eq!(run(&store, slot, &[b"OBJECT", b"FREQ", b"FREQ"]), frequency);
        assert_eq!(run(&store, slot, &[b"OBJECT", b"FREQ", b"none"]), "nil");
        assert_eq!(run(&store, slot, &[b"OBJECT", b"IDLETIME", b"none"]), "nil");
        // What belongs to the other kind of policy is passed over.
        let (other, fresh) = if frequency == NOT_COUNTED { ("FREQ", ":0") } else { ("IDLETIME", ":5") };
        let subcommand = if frequency == NOT_COUNTED { "IDLETIME" } else { "FREQ" };
        assert_eq!(run(&store, slot, &[b"OBJECT", subcommand.as_bytes(), other.as_bytes()]), fresh);
    }
}

#[test]
fn touch_is_a_use_also_for_who_leaves_no_trace() {
    let (store, slot) = store();
    let silent = Access { leaves_no_trace: true, ..Access::default() };
    let ask = |now: u64, args: [&[u8]; 2]| {
        let request = OwnedRequest::new(args.into_iter());
        let (_, row) = Table::of_node().meant(&request.as_request()).ok().unwrap();
        let run = on_slot(row).unwrap();
        let executed = store.execute(slot, now, |txn| {
            txn.with(silent);
            let reply = shown(&run(txn, &request.as_request()));
            (reply, txn.idle_seconds(b"a"))
        });
        let Executed::Done { result, .. } = executed else { panic!("the slot acts") };
        result
    };
    run(&store, slot, &[b"SET", b"a", b"v"]);
    assert_eq!(ask(NOW + 100_000, [b"GET", b"a"]), ("$v".into(), Some(100)));
    assert_eq!(ask(NOW + 100_000, [b"TOUCH", b"a"]), (":1".into(), Some(0)));
}

#[test]
fn the_longest_strings_are_not_compared() {
    let (store, slot) = store();
    run(&store, slot, &[b"SET", b"a", &vec![b'x'; 20_000]]);
    let error = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    assert_eq!(run(&store, slot, &[b"LCS", b"a", b"a"]), error);
    assert_eq!(run(&store, slot, &[b"LCS", b"a", b"none"]), "$");
}

#[test]
fn memory_counts_key_and_value() {
    let (store, slot) = store();
    run(&store, slot, &[b"SET", b"a", b"1"]);
    run(&store, slot, &[b"SET", b"b", &[b'x'; 1000]]);
    assert_eq!(run(&store, slot, &[b"MEMORY", b"USAGE", b"a"]), ":32");
    assert_eq!(run(&store, slot, &[b"MEMORY", b"USAGE", b"b", b"SAMPLES", b"5"]), ":1040");
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
fn what_looks_at_many_keys_has_one_budget_for_its_pattern() {
    let (store, slot) = store();
    for n in 0..200 {
        run(&store, slot, &[b"SET", &[format!("{n:03}").as_bytes(), &[b'a'; 2000]].concat(), b"v"]);
    }
    let pattern = [b"*".as_slice(), &[b'a'; 100], b"b"].concat();
    let refused = "-ERR pattern takes too long to match";
    assert_eq!(run(&store, slot, &[b"KEYS", &pattern]), refused);
    assert_eq!(run(&store, slot, &[b"SCAN", b"0", b"COUNT", b"1000", b"MATCH", &pattern]), refused);
    assert_ne!(run(&store, slot, &[b"SCAN", b"0", b"COUNT", b"10", b"MATCH", &pattern]), refused);
    assert_eq!(run(&store, slot, &[b"KEYS", b"*aaaaaab"]), "[]");
}

#[test]
fn strings_end_at_their_greatest_length() {
    let (store, slot) = store();
    let half = vec![b'x'; types::MAX_STRING_BYTES / 2];
    run(&store, slot, &[b"SET", b"a", &half]);
    assert_eq!(run(&store, slot, &[b"APPEND", b"a", &half]), ":536870912");
    let error = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(run(&store, slot, &[b"APPEND", b"a", b"x"]), error);
    assert_eq!(run(&store, slot, &[b"STRLEN", b"a"]), ":536870912");
}

#[test]
fn rows_say_what_command_info_says() {
    let expected = include!("command_info.in");
    for (name, arity, flags, keys) in expected {
        let (_, row) = Table::of_node().find_full(name.as_bytes()).expect(name);
        let words = |words: &mut dyn Iterator<Item = &'static str>| words.collect::<BTreeSet<_>>();
        assert_eq!(words(&mut row.flags.words()), words(&mut flags.split_terminator(' ')), "{name}");
        assert_eq!((row.arity, row.keys.range()), (arity, keys), "{name}");
    }
    for row in string::COMMANDS.iter().chain(key::COMMANDS).flat_map(|row| row.subcommands.iter().chain([row])) {
        assert!(expected.iter().any(|(name, ..)| *name == row.name), "{}", row.name);
    }
}

#[test]
fn no_arguments_make_a_command_panic() {
    let (store, slot) = store();
    proptest!(ProptestConfig::with_cases(200), |(words in prop::collection::vec(prop_oneof![
        Just("NX".to_owned()), Just("XX".into()), Just("GT".into()), Just("EX".into()), Just("PXAT".into()), Just("GET".into()),
        Just("KEEPTTL".into()), Just("PERSIST".into()), Just("MATCH".into()), Just("COUNT".into()), Just("TYPE".into()),
        any::<i64>().prop_map(|number| number.to_string()), "[\\x00-\\x7f]{0,6}", Just("k".into())], 1..7))| {
        for row in Table::of_links().all().iter().filter(|row| on_slot(row).is_some()) {
            let mut args: Vec<&[u8]> = row.name.split('|').map(str::as_bytes).collect();
            args.extend(words.iter().map(String::as_bytes));
            let wanted = usize::from(row.arity.unsigned_abs());
            if args.len() >= wanted {
                args.truncate(if row.arity > 0 { wanted } else { args.len() });
                run(&store, slot, &args);
            }
        }
    });
}

/// By how much each of them raised `OBJECT FREQ` on Valkey 9.1.2, with a counter that grows with every use.
#[test]
fn a_key_is_used_as_often_as_in_valkey() {
    let (store, slot) = store_with(Policy::AllKeysLfu);
    store.tune(Tuning { log_factor: 0, decay_minutes: 0, ..store.tuning() });
    for (line, uses) in [
        ("GET k", 1),
        ("GETEX k", 1),
        ("GETEX k EX 100", 1),
        ("GETEX k PERSIST", 1),
        ("PERSIST k", 1),
        ("SET k v XX", 1),
        ("SET k v NX", 1),
        ("SET k v IFEQ v", 1),
        ("SET k v IFEQ w", 1),
        ("SET k v XX GET", 2),
        ("RENAMENX k k", 1),
        ("EXPIRE k 100", 1),
        ("INCR k", 1),
        ("INCRBY k x", 0),
        ("INCRBYFLOAT k 1", 1),
        ("INCRBYFLOAT k x", 1),
        ("EXISTS k", 0),
        ("TTL k", 0),
        ("TYPE k", 0),
        ("OBJECT ENCODING k", 0),
    ] {
        let args = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        run(&store, slot, &args("SET k v EX 50"));
        let frequency = || run(&store, slot, &args("OBJECT FREQ k"))[1..].parse::<u8>().unwrap();
        let before = frequency();
        run(&store, slot, &args(line));
        assert_eq!(frequency() - before, uses, "{line}");
    }
    let payload = types::payload::dump(b"v").unwrap();
    run(&store, slot, &[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
    assert_eq!(run(&store, slot, &[b"OBJECT", b"FREQ", b"k"]), ":5", "it is another key");
}

#[test]
fn what_asks_about_a_key_hits_or_misses_it() {
    let (store, slot) = store();
    run(&store, slot, &[b"SET", b"k", b"v"]);
    for command in ["EXISTS", "TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "GET", "STRLEN"] {
        let before = store.totals();
        run(&store, slot, &[command.as_bytes(), b"k"]);
        run(&store, slot, &[command.as_bytes(), b"none"]);
        let after = store.totals();
        assert_eq!((after.hits - before.hits, after.misses - before.misses), (1, 1), "{command}");
    }
}
