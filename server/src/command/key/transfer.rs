//! Values that go from one key to another.
//!
//! Where both keys are in one slot, a command is one step. Where they are not, the router carries the value from one to
//! the other ([`Run::Transfer`](crate::command::Run)), by the commands at the end of this file. Only nodes send them
//! to each other.

use bytes::{Buf, BufMut};
use ring::{dot::Dot, hlc::Hlc, id::Origin};

use crate::{
    command::{Command, Flags, Keys, NO_SUCH_DATABASE, NOT_AN_INTEGER, OUT_OF_INT_RANGE, Run, SYNTAX_ERROR},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{Database, Kind, Value, parse_integer},
};

pub(crate) const NO_SUCH_KEY: Reply<'static> = Reply::error("ERR no such key");
const SAME: Reply<'static> = Reply::error("ERR source and destination objects are the same");

/// What is to become of a value and of the two keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// The database of the second key; none for that of the first one.
    pub database: Option<Database>,
    /// Whether the second key may have a value already.
    pub replaces: bool,
    /// Whether the first key goes.
    pub moves: bool,
}

/// What `RENAME` asks for.
pub(super) fn of_rename(_: &Request<'_>, _: usize) -> Result<Transfer, Reply<'static>> {
    Ok(Transfer { database: None, replaces: true, moves: true })
}

/// What `COPY` asks for, where there are so many databases.
pub(super) fn of_copy(request: &Request<'_>, databases: usize) -> Result<Transfer, Reply<'static>> {
    let mut transfer = Transfer { database: None, replaces: false, moves: false };
    let mut args = request.args_from(3);
    while let Some(arg) = args.next() {
        match (&*arg.to_ascii_uppercase(), args.len()) {
            (b"REPLACE", _) => transfer.replaces = true,
            (b"DB", 1..) => {
                let number = database_number(args.next().ok_or(SYNTAX_ERROR)?)?;
                let number = u64::try_from(number).ok().filter(|&number| number < databases as u64);
                transfer.database = Some(number.and_then(Database::new).ok_or(NO_SUCH_DATABASE)?);
            }
            _ => return Err(SYNTAX_ERROR),
        }
    }
    Ok(transfer)
}

fn database_number(text: &[u8]) -> Result<i64, Reply<'static>> {
    let number = parse_integer(text).ok_or(NOT_AN_INTEGER)?;
    i32::try_from(number).map(i64::from).map_err(|_| OUT_OF_INT_RANGE)
}

pub(super) fn rename<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, to) = (request.arg(1), request.arg(2));
    if !txn.finds(key) {
        return NO_SUCH_KEY;
    }
    if key != to {
        let database = txn.database();
        txn.copy(key, database, to);
        txn.remove(key);
    }
    Reply::OK
}

pub(super) fn renamenx<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    if !txn.finds(request.arg(1)) {
        return NO_SUCH_KEY;
    }
    // The same name twice is taken, too, and it is used once.
    if request.arg(1) == request.arg(2) || txn.finds(request.arg(2)) {
        return Reply::Integer(0);
    }
    rename(txn, request);
    Reply::Integer(1)
}

pub(super) fn copy<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, to) = (request.arg(1), request.arg(2));
    let transfer = match of_copy(request, txn.databases()) {
        Ok(transfer) => transfer,
        Err(error) => return error,
    };
    let database = transfer.database.unwrap_or(txn.database());
    if database == txn.database() && key == to {
        return SAME;
    }
    if txn.value(key).is_none() || !transfer.replaces && txn.within(database, |txn| txn.finds(to)) {
        return Reply::Integer(0);
    }
    Reply::Integer(i64::from(txn.copy(key, database, to)))
}

pub(super) fn move_<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    let number = match database_number(request.arg(2)) {
        Ok(number) => number,
        Err(error) => return error,
    };
    let Some(database) = txn.database_of(number) else { return NO_SUCH_DATABASE };
    if database == txn.database() {
        return SAME;
    }
    if !txn.finds(key) || txn.within(database, |txn| txn.finds(key)) || !txn.copy(key, database, key) {
        return Reply::Integer(0);
    }
    txn.remove(key);
    Reply::Integer(1)
}

/// What a node asks another for on behalf of a transfer.
pub(crate) const LINK_COMMANDS: &[Command] = &[
    Command::new(FETCH, 2, Flags::READONLY, Keys::ONE, Run::Slot(fetch)),
    Command::new(STORE, -5, Flags::WRITE.and(Flags::DENYOOM), Keys::ONE, Run::Slot(store)),
    Command::new(TAKE, -5, Flags::WRITE, Keys::ONE, Run::Slot(store)),
    Command::new(REMOVE, 3, Flags::WRITE, Keys::ONE, Run::Slot(remove)),
];

/// `.fetch key`: the version of its value, its kind and deadline as [`Fetched`] has them, and the value; or null.
pub(crate) const FETCH: &str = ".fetch";
/// `.store key kind deadline value [absent]`: gives the key the value, and says 1; with a last word only if it has none,
/// and says 0 otherwise.
pub(crate) const STORE: &str = ".store";
/// The same for a value that is about to leave another key: no more memory is needed in the end, so that the want of it is
/// no reason to refuse.
pub(crate) const TAKE: &str = ".take";
/// `.remove key version`: removes the key if its value is still of that version.
pub(crate) const REMOVE: &str = ".remove";

/// What is known of a value beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fetched {
    pub(crate) version: Dot,
    pub(crate) kind: Kind,
    pub(crate) deadline: u64,
}

impl Fetched {
    fn encode(self) -> Vec<u8> {
        let mut bytes = encode_version(self.version);
        bytes.put_u8(self.kind as u8);
        bytes.put_u64_le(self.deadline);
        bytes
    }

    /// What another node said; none if it cannot be read.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Fetched> {
        let version = decode_version(&mut bytes)?;
        let kind = Kind::from_number(bytes.try_get_u8().ok()?)?;
        let deadline = bytes.try_get_u64_le().ok()?;
        bytes.is_empty().then_some(Fetched { version, kind, deadline })
    }
}

pub(crate) fn encode_version(version: Dot) -> Vec<u8> {
    [version.hlc.bits().to_le_bytes(), version.origin.0.to_le_bytes()].concat()
}

fn decode_version(bytes: &mut &[u8]) -> Option<Dot> {
    let hlc = Hlc::from_bits(bytes.try_get_u64_le().ok()?)?;
    Some(Dot::new(hlc, Origin(bytes.try_get_u64_le().ok()?)))
}

fn fetch<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let key = request.arg(1);
    txn.value(key);
    let (Some(version), Some(kind)) = (txn.version(key), txn.kind(key)) else { return Reply::Null };
    let txn: &'t SlotTxn<'_> = txn;
    let Some((value, deadline)) = txn.value_and_deadline(key) else { return Reply::Null };
    let value = match value {
        Value::Small(bytes) => Reply::Bulk(bytes),
        Value::Large(bytes) => Reply::Shared(bytes.clone()),
    };
    Reply::Array(vec![Reply::Blob(Fetched { version, kind, deadline }.encode()), value])
}

/// The error for what no node of this version asks for.
const UNREADABLE: Reply<'static> = Reply::error("ERR another node asked for something unreadable");

fn store<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let number = |at| parse_integer(request.arg(at)).and_then(|number| u64::try_from(number).ok());
    let kind = number(2).and_then(|number| u8::try_from(number).ok()).and_then(Kind::from_number);
    let (Some(kind), Some(deadline)) = (kind, number(3)) else { return UNREADABLE };
    if request.len() > 5 && txn.contains(request.arg(1)) {
        return Reply::Integer(0);
    }
    txn.put_kind(request.arg(1), kind, request.arg(4).to_vec(), deadline);
    Reply::Integer(1)
}

fn remove<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    let (key, mut version) = (request.arg(1), request.arg(2));
    let Some(version) = decode_version(&mut version) else { return UNREADABLE };
    let is_same = txn.version(key) == Some(version);
    Reply::Integer(i64::from(is_same && txn.remove(key)))
}
