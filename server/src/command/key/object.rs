//! `OBJECT`: how a value is kept.

use crate::{
    command::{Answer, Command, Flags, Keys, OnSlot, Run},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Kind, parse_integer},
};

/// The subcommands of `OBJECT`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    on_key("object|encoding", encoding),
    on_key("object|freq", freq),
    on_key("object|idletime", idletime),
    on_key("object|refcount", refcount),
    Command::new(
        "object|help",
        2,
        Flags::LOADING.and(Flags::STALE),
        Keys::NONE,
        Run::Node(|_, _| Answer::Now(Reply::Array(HELP.into_iter().map(Reply::Simple).collect()))),
    ),
];

const fn on_key(name: &'static str, run: OnSlot) -> Command {
    Command::new(name, 3, Flags::READONLY, Keys::SECOND, Run::Slot(run))
}

const HELP: [&str; 11] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    What Redis would keep the value of <key> as.",
    "FREQ <key>",
    "    How often <key> is used, as a logarithm from 0 to 255, where the policy of eviction counts it.",
    "IDLETIME <key>",
    "    For how many seconds <key> was not used, where the policy of eviction does not count uses.",
    "REFCOUNT <key>",
    "    How often the value of <key> is referred to, which is once.",
    "HELP",
    "    Print this help.",
];

/// An allocation of Redis with key and value in it has at most so many bytes.
const MAX_EMBEDDED_BYTES: usize = 128;

fn encoding<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(2);
    txn.sees(key);
    let Some((value, deadline)) = txn.value_and_deadline(key) else { return Reply::Null };
    let is_raw = txn.kind(key) == Some(Kind::Raw);
    Reply::Text(
        match value.as_slice() {
            _ if is_raw => "raw",
            bytes if parse_integer(bytes).is_some() => "int",
            bytes if embedded_bytes(key.len(), bytes.len(), deadline != 0) <= MAX_EMBEDDED_BYTES => "embstr",
            _ => "raw",
        }
        .into(),
    )
}

/// How many bytes Redis needs for an allocation with a key and a value in it: a head of eight bytes, the deadline, and
/// both strings with a head, an end, and one byte that says which kind of head the key has.
fn embedded_bytes(key: usize, value: usize, has_deadline: bool) -> usize {
    let key_head = if key < 32 { 1 } else { 3 };
    8 + 8 * usize::from(has_deadline) + (1 + key_head + key + 1) + (3 + value + 1)
}

const NOT_COUNTED: Reply<'static> = Reply::error(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
const NOT_TIMED: Reply<'static> = Reply::error(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);

fn freq<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    txn.sees(request.arg(2));
    match txn.frequency(request.arg(2)) {
        Some(_) if !txn.counts_frequency() => NOT_COUNTED,
        Some(frequency) => Reply::Integer(frequency.into()),
        None => Reply::Null,
    }
}

fn idletime<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    txn.sees(request.arg(2));
    match txn.idle_seconds(request.arg(2)) {
        Some(_) if txn.counts_frequency() => NOT_TIMED,
        Some(seconds) => Reply::Integer(seconds as i64),
        None => Reply::Null,
    }
}

fn refcount<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if txn.sees(request.arg(2)) { Reply::Integer(1) } else { Reply::Null }
}
