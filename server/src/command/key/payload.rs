//! `DUMP` and `RESTORE`.

use crate::{
    command::{CANNOT_ALLOCATE, NOT_AN_INTEGER, SYNTAX_ERROR},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{
        Kind, parse_integer,
        payload::{self, Refusal},
    },
};

pub(super) fn dump<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    txn.value(request.arg(1))
        .map_or(Reply::Null, |value| payload::dump(value.as_slice()).map_or(CANNOT_ALLOCATE, Reply::Blob))
}

pub(super) fn restore<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    try_restore(txn, request).unwrap_or_else(|error| error)
}

fn try_restore(txn: &mut SlotTxn<'_>, request: &Request<'_>) -> Result<Reply<'static>, Reply<'static>> {
    let key = request.arg(1);
    let options = Options::parse(request)?;
    if !options.replaces && txn.finds(key) {
        return Err(Reply::error("BUSYKEY Target key name already exists."));
    }
    let ttl = parse_integer(request.arg(2)).ok_or(NOT_AN_INTEGER)?;
    let ttl = u64::try_from(ttl).map_err(|_| Reply::error("ERR Invalid TTL value, must be >= 0"))?;
    let value = payload::restore(request.arg(3)).map_err(|refusal| match refusal {
        Refusal::Envelope => Reply::error("ERR DUMP payload version or checksum are wrong"),
        Refusal::Data => Reply::error("ERR Bad data format"),
    })?;
    let deadline = match ttl {
        0 => 0,
        _ if options.is_absolute => ttl,
        // Later than can be told is past, as in Valkey, where the number becomes negative.
        _ => ttl.checked_add(txn.now()).filter(|&deadline| i64::try_from(deadline).is_ok()).unwrap_or(1),
    };
    txn.put_kind(key, Kind::String, value, deadline);
    match options {
        Options { frequency: Some(frequency), .. } if txn.counts_frequency() => drop(txn.set_frequency(key, frequency)),
        Options { idle_seconds: Some(seconds), .. } if !txn.counts_frequency() => drop(txn.set_idle(key, seconds)),
        // It is another key with this name.
        _ => drop(txn.forget_uses(key)),
    }
    Ok(Reply::OK)
}

#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(request: &Request<'_>) -> Result<Options, Reply<'static>> {
        let mut options = Options::default();
        let mut args = request.args_from(4);
        while let Some(arg) = args.next() {
            let word = arg.to_ascii_uppercase();
            match (&*word, args.len()) {
                (b"REPLACE", _) => options.replaces = true,
                (b"ABSTTL", _) => options.is_absolute = true,
                (b"IDLETIME", 1..) if options.frequency.is_none() => {
                    let seconds = parse_integer(args.next().ok_or(SYNTAX_ERROR)?).ok_or(NOT_AN_INTEGER)?;
                    let error = Reply::error("ERR Invalid IDLETIME value, must be >= 0");
                    options.idle_seconds = Some(u64::try_from(seconds).map_err(|_| error)?);
                }
                (b"FREQ", 1..) if options.idle_seconds.is_none() => {
                    let frequency = parse_integer(args.next().ok_or(SYNTAX_ERROR)?).ok_or(NOT_AN_INTEGER)?;
                    let error = Reply::error("ERR Invalid FREQ value, must be >= 0 and <= 255");
                    options.frequency = Some(u8::try_from(frequency).map_err(|_| error)?);
                }
                _ => return Err(SYNTAX_ERROR),
            }
        }
        Ok(options)
    }
}
