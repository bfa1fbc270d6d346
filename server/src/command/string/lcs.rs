//! `LCS`.

use crate::{
    command::{NOT_AN_INTEGER, SYNTAX_ERROR},
    resp::{Reply, Request},
    store::SlotTxn,
    types::{MAX_STRING_BYTES, Stretch, common_length, common_stretches, parse_integer},
};

/// What Redis keeps of a pair of bytes. The table here is smaller, but the limit is the same: it also bounds how long
/// the slot's shard is held, which for the longest strings that are compared is less than a second.
const CELL_BYTES: usize = 4;

const TOO_LARGE: Reply<'static> =
    Reply::error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");

pub(super) fn lcs<'t>(txn: &'t mut SlotTxn<'_>, request: &Request<'_>) -> Reply<'t> {
    for key in [request.arg(1), request.arg(2)] {
        txn.value(key);
    }
    let value = |key| txn.peek(key).map_or(&[][..], |value| value.as_slice());
    compare(request, value(request.arg(1)), value(request.arg(2)))
}

/// What an `LCS` says of these values.
pub(super) fn compare(request: &Request<'_>, one: &[u8], other: &[u8]) -> Reply<'static> {
    let options = match Options::parse(request) {
        Ok(options) => options,
        Err(error) => return error,
    };
    let cells = (one.len() + 1).checked_mul(other.len() + 1);
    if cells.is_none_or(|cells| cells > MAX_STRING_BYTES / CELL_BYTES) {
        return TOO_LARGE;
    }
    match options {
        Options { wants_length: true, .. } => Reply::Integer(common_length(one, other) as i64),
        Options { wants_places: true, .. } => options.places(&common_stretches(one, other)),
        _ => {
            let stretches = common_stretches(one, other);
            let parts = stretches.iter().rev().map(|stretch| &one[stretch.first..stretch.first + stretch.length]);
            Reply::Blob(parts.flatten().copied().collect())
        }
    }
}

#[derive(Default)]
struct Options {
    wants_length: bool,
    wants_places: bool,
    with_lengths: bool,
    least: usize,
}

impl Options {
    fn parse(request: &Request<'_>) -> Result<Options, Reply<'static>> {
        let mut options = Options::default();
        let mut args = request.args_from(3);
        while let Some(arg) = args.next() {
            match &*arg.to_ascii_uppercase() {
                b"IDX" => options.wants_places = true,
                b"LEN" => options.wants_length = true,
                b"WITHMATCHLEN" => options.with_lengths = true,
                b"MINMATCHLEN" => {
                    let least = parse_integer(args.next().ok_or(SYNTAX_ERROR)?).ok_or(NOT_AN_INTEGER)?;
                    options.least = usize::try_from(least).unwrap_or(0);
                }
                _ => return Err(SYNTAX_ERROR),
            }
        }
        if options.wants_length && options.wants_places {
            return Err(Reply::error("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }

    fn places(&self, stretches: &[Stretch]) -> Reply<'static> {
        let integer = |number: usize| Reply::Integer(number as i64);
        let range = |start: usize, length: usize| Reply::Array(vec![integer(start), integer(start + length - 1)]);
        let shown = |stretch: &Stretch| {
            let Stretch { first, second, length } = *stretch;
            let mut parts = vec![range(first, length), range(second, length)];
            parts.extend(self.with_lengths.then_some(integer(length)));
            Reply::Array(parts)
        };
        let long = stretches.iter().filter(|stretch| stretch.length >= self.least);
        let length = stretches.iter().map(|stretch| stretch.length).sum();
        Reply::Map(vec![
            (Reply::Bulk(b"matches"), Reply::Array(long.map(shown).collect())),
            (Reply::Bulk(b"len"), integer(length)),
        ])
    }
}
