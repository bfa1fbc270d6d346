//! When keys end.

use std::borrow::Cow;

use crate::{
    command::NOT_AN_INTEGER,
    resp::{Reply, Request},
    store::SlotTxn,
    types::parse_integer,
};

pub(super) fn expire<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    change_deadline(txn, request, "expire", now, 1000)
}

pub(super) fn pexpire<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    change_deadline(txn, request, "pexpire", now, 1)
}

pub(super) fn expireat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    change_deadline(txn, request, "expireat", 0, 1000)
}

pub(super) fn pexpireat<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    change_deadline(txn, request, "pexpireat", 0, 1)
}

fn change_deadline<'t>(
    txn: &'t mut SlotTxn<'_>,
    request: &Request<'_>,
    command: &str,
    base: u64,
    factor: i64,
) -> Reply<'t> {
    let key = request.arg(1);
    let condition = match Condition::parse(request) {
        Ok(condition) => condition,
        Err(error) => return error,
    };
    let Some(number) = parse_integer(request.arg(2)) else { return NOT_AN_INTEGER };
    let Some(deadline) = number.checked_mul(factor).and_then(|time| time.checked_add(base as i64)) else {
        return Reply::Error(Cow::Owned(format!("ERR invalid expire time in '{command}' command")));
    };
    // A time before 1970 is as past as any.
    let deadline = deadline.max(1) as u64;
    match txn.deadline(key) {
        Some(current) if condition.allows(current, deadline) => {
            txn.set_deadline(key, deadline);
            Reply::Integer(1)
        }
        Some(_) => {
            txn.finds(key);
            Reply::Integer(0)
        }
        None => Reply::Integer(0),
    }
}

/// `NX`, `XX`, `GT` and `LT`: when a deadline may be changed.
#[derive(Default)]
struct Condition {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Condition {
    fn parse(request: &Request<'_>) -> Result<Condition, Reply<'static>> {
        let mut condition = Condition::default();
        for arg in request.args_from(3) {
            match &*arg.to_ascii_uppercase() {
                b"NX" => condition.absent = true,
                b"XX" => condition.present = true,
                b"GT" => condition.greater = true,
                b"LT" => condition.less = true,
                _ => return Err(Reply::error_about("ERR Unsupported option ", arg, "")),
            }
        }
        if condition.absent && (condition.present || condition.greater || condition.less) {
            return Err(Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if condition.greater && condition.less {
            return Err(Reply::error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// Whether a deadline, 0 for none, which is later than all, may be changed to another.
    fn allows(&self, current: u64, deadline: u64) -> bool {
        let refused = self.absent && current != 0
            || self.present && current == 0
            || self.greater && (current == 0 || deadline <= current)
            || self.less && current != 0 && deadline >= current;
        !refused
    }
}

pub(super) fn ttl<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    time(txn, request, |deadline| seconds(deadline.saturating_sub(now)))
}

pub(super) fn pttl<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let now = txn.now();
    time(txn, request, |deadline| deadline.saturating_sub(now))
}

pub(super) fn expiretime<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    time(txn, request, seconds)
}

pub(super) fn pexpiretime<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    time(txn, request, |deadline| deadline)
}

fn time<'t>(txn: &mut SlotTxn<'_>, request: &Request<'_>, shown: impl Fn(u64) -> u64) -> Reply<'t> {
    txn.sees(request.arg(1));
    Reply::Integer(match txn.deadline(request.arg(1)) {
        None => -2,
        Some(0) => -1,
        Some(deadline) => shown(deadline) as i64,
    })
}

fn seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

pub(super) fn persist<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let had_deadline = txn.finds(key) && txn.deadline(key).is_some_and(|deadline| deadline != 0);
    Reply::Integer(i64::from(had_deadline && txn.set_deadline(key, 0)))
}
