//! `MEMORY USAGE`: what an entry takes. The other subcommands are in `allocation`.

use super::{Command, Flags, Keys, NOT_AN_INTEGER, Run, SYNTAX_ERROR};
use crate::{
    resp::{Reply, Request},
    store::SlotTxn,
    types::parse_integer,
};

/// The one subcommand of `MEMORY` that is about a key.
pub(super) const USAGE: Command = Command::new("memory|usage", -3, Flags::READONLY, Keys::SECOND, Run::Slot(usage));

/// A string has nothing to sample: all of it is counted.
fn usage<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let mut args = request.args_from(3);
    while let Some(arg) = args.next() {
        let Some(samples) = args.next().filter(|_| arg.eq_ignore_ascii_case(b"SAMPLES")) else { return SYNTAX_ERROR };
        match parse_integer(samples) {
            Some(0..) => {}
            Some(_) => return SYNTAX_ERROR,
            None => return NOT_AN_INTEGER,
        }
    }
    txn.bytes_of(request.arg(2)).map_or(Reply::Null, |bytes| Reply::Integer(bytes as i64))
}
