//! What `DUMP` answers and `RESTORE` takes: a value as a file of Redis would hold it.
//!
//! ```text
//!  kind u8 │ string │ version u16 │ CRC-64 of all before        numbers little-endian
//!
//!  string:  00LLLLLL · bytes                    L bytes
//!           01LLLLLL LLLLLLLL · bytes
//!           10000000 · u32 big-endian · bytes
//!           10000001 · u64 big-endian · bytes
//!           11000000 · i8      11000001 · i16      11000010 · i32         an integer, of which the value is the text
//!           11000011 · length · length · LZF    how many bytes when compressed, how many bytes in truth
//! ```
//!
//! Written is what Valkey 9 writes. Read is what it reads, of strings: versions 1 to 11, which it shares with Redis, and
//! 80, its own. A length that is claimed is compared with the bytes that there are before memory is taken for it.

use super::{IntegerText, MAX_STRING_BYTES, crc64::crc64, lzf, parse_integer};

/// The version that is written.
const VERSION: u16 = 80;
/// Versions of Redis from this one on have other meanings than Valkey's.
const FIRST_FOREIGN_VERSION: u16 = 12;

const STRING: u8 = 0;
const INT_8: u8 = 0xC0;
const INT_16: u8 = 0xC1;
const INT_32: u8 = 0xC2;
const LZF: u8 = 0xC3;

/// Shorter texts may be integers of 32 bits.
const MAX_INTEGER_BYTES: usize = 11;
/// Strings up to this length are not compressed, and compressed ones are shorter by as many bytes at least.
const MIN_COMPRESSED: usize = 20;
const MIN_SAVED: usize = 4;
/// Nor are strings above this one, which would hold up their shard for more than a tenth of a second.
const MAX_COMPRESSED: usize = 32 << 20;

/// What stands around a string is shorter than this.
const ENVELOPE_BYTES: usize = 32;

/// Why a payload is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is of another version, or was damaged.
    Envelope,
    /// It holds something else than a string.
    Data,
}

/// The payload of a string; none if there is no memory for it. Takes time linear in its length.
pub fn dump(value: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    payload.try_reserve_exact(value.len() + ENVELOPE_BYTES).ok()?;
    payload.push(STRING);
    write_string(value, &mut payload);
    Some(seal(payload, VERSION))
}

/// Adds what tells that a payload is whole.
fn seal(mut payload: Vec<u8>, version: u16) -> Vec<u8> {
    payload.extend(version.to_le_bytes());
    let sum = crc64(&payload);
    payload.extend(sum.to_le_bytes());
    payload
}

/// A payload around any bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed(body: &[u8]) -> Vec<u8> {
    seal(body.to_vec(), VERSION)
}

/// The string of a payload.
pub fn restore(payload: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (covered, sum) = payload.split_last_chunk::<8>().ok_or(Refusal::Envelope)?;
    let (_, version) = covered.split_last_chunk::<2>().ok_or(Refusal::Envelope)?;
    let version = u16::from_le_bytes(*version);
    let is_known = version == VERSION || (1..FIRST_FOREIGN_VERSION).contains(&version);
    if !is_known || crc64(covered) != u64::from_le_bytes(*sum) {
        return Err(Refusal::Envelope);
    }
    // What follows the string is not looked at, as in Valkey; nor whether the string ends before the version.
    let mut rest = payload;
    (byte(&mut rest) == Some(STRING)).then(|| read_string(&mut rest)).flatten().ok_or(Refusal::Data)
}

fn write_string(value: &[u8], payload: &mut Vec<u8>) {
    let integer = if value.len() <= MAX_INTEGER_BYTES { parse_integer(value) } else { None };
    if let Some(integer) = integer.and_then(|integer| i32::try_from(integer).ok()) {
        return write_integer(integer, payload);
    }
    if value.len() > MIN_COMPRESSED
        && value.len() <= MAX_COMPRESSED
        && let Some(compressed) = lzf::compress(value, value.len() - MIN_SAVED)
    {
        payload.push(LZF);
        write_length(compressed.len(), payload);
        write_length(value.len(), payload);
        return payload.extend_from_slice(&compressed);
    }
    write_length(value.len(), payload);
    payload.extend_from_slice(value);
}

fn write_integer(integer: i32, payload: &mut Vec<u8>) {
    let bytes = integer.to_le_bytes();
    let (mark, length) = match integer {
        -0x80..=0x7F => (INT_8, 1),
        -0x8000..=0x7FFF => (INT_16, 2),
        _ => (INT_32, 4),
    };
    payload.push(mark);
    payload.extend_from_slice(&bytes[..length]);
}

fn write_length(length: usize, payload: &mut Vec<u8>) {
    match length {
        0..0x40 => payload.push(length as u8),
        0x40..0x4000 => payload.extend([0x40 | (length >> 8) as u8, length as u8]),
        _ => {
            // A string has at most 512 MiB.
            payload.push(0x80);
            payload.extend((length as u32).to_be_bytes());
        }
    }
}

fn read_string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    match *rest.first()? {
        INT_8 => integer::<1>(rest).map(|[byte]| i64::from(byte as i8)).map(text),
        INT_16 => integer(rest).map(i16::from_le_bytes).map(|integer| text(integer.into())),
        INT_32 => integer(rest).map(i32::from_le_bytes).map(|integer| text(integer.into())),
        LZF => {
            byte(rest);
            let compressed = read_length(rest)?;
            let length = read_length(rest).filter(|&length| length <= MAX_STRING_BYTES)?;
            lzf::decompress(take(rest, compressed)?, length)
        }
        _ => {
            let length = read_length(rest).filter(|&length| length <= MAX_STRING_BYTES)?;
            take(rest, length).map(<[u8]>::to_vec)
        }
    }
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    match byte(rest)? {
        length @ 0..0x40 => Some(length.into()),
        high @ 0x40..0x80 => Some(usize::from(high & 0x3F) << 8 | usize::from(byte(rest)?)),
        0x80 => take_chunk(rest).map(|bytes| u32::from_be_bytes(bytes) as usize),
        0x81 => take_chunk(rest).and_then(|bytes| usize::try_from(u64::from_be_bytes(bytes)).ok()),
        _ => None,
    }
}

/// The bytes of an integer behind its mark.
fn integer<const BYTES: usize>(rest: &mut &[u8]) -> Option<[u8; BYTES]> {
    byte(rest)?;
    take_chunk(rest)
}

fn text(integer: i64) -> Vec<u8> {
    IntegerText::new(integer).as_bytes().to_vec()
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    take_chunk(rest).map(|[byte]| byte)
}

fn take_chunk<const BYTES: usize>(rest: &mut &[u8]) -> Option<[u8; BYTES]> {
    take(rest, BYTES)?.try_into().ok()
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

#[cfg(test)]
mod tests;
