//! Payloads for `RESTORE`: those that either server dumped, some that are made here, and damaged ones.
//!
//! A payload is a type, the value as in a file of Redis, the version of that format (two bytes, little-endian) and a
//! CRC-64 of all before it.

use fastrand::Rng;

/// So many dumped payloads are kept.
const KEPT: usize = 48;
/// Larger ones are not kept.
const MAX_KEPT_BYTES: usize = 64 << 10;
/// A version of the format that every server of this family reads.
const VERSION: u16 = 9;
const FOOTER_BYTES: usize = 10;
/// The polynomial of the checksum ("Jones"), reflected.
const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;

/// Payloads to restore.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    dumped: Vec<Vec<u8>>,
}

impl Payloads {
    /// Keeps what a server dumped, in the place of any other if there are many.
    pub(super) fn keep(&mut self, payload: &[u8], rng: &mut Rng) {
        if payload.len() > MAX_KEPT_BYTES {
        } else if self.dumped.len() < KEPT {
            self.dumped.push(payload.to_vec());
        } else {
            self.dumped[rng.usize(..KEPT)] = payload.to_vec();
        }
    }

    /// A payload; one in four is damaged.
    pub(super) fn random(&self, rng: &mut Rng) -> Vec<u8> {
        let mut payload = if self.dumped.is_empty() || rng.u8(..3) == 0 {
            made(rng)
        } else {
            self.dumped[rng.usize(..self.dumped.len())].clone()
        };
        if rng.u8(..4) == 0 {
            damage(&mut payload, rng);
        }
        payload
    }
}

/// Whether the checksum is that of the content.
pub(super) fn is_intact(payload: &[u8]) -> bool {
    payload.len() > FOOTER_BYTES && {
        let (content, checksum) = payload.split_at(payload.len() - 8);
        crc64(content).to_le_bytes() == checksum
    }
}

fn seal(mut content: Vec<u8>, version: u16) -> Vec<u8> {
    content.extend(version.to_le_bytes());
    let checksum = crc64(&content);
    content.extend(checksum.to_le_bytes());
    content
}

/// A string in each of the ways of writing one, and some that are wrong within a right checksum.
fn made(rng: &mut Rng) -> Vec<u8> {
    let content: &[u8] = match rng.u8(..12) {
        0 => b"\x00\x05hello",
        1 => b"\x00\x00",
        2 => b"\x00\xc0\xfb",                           // an integer of 8 bits
        3 => b"\x00\xc1\x00\x80",                       // of 16
        4 => b"\x00\xc2\xff\xff\xff\x7f",               // of 32
        5 => b"\x00\x40\x03abc",                        // a length of 14 bits
        6 => b"\x00\x80\x00\x00\x00\x02ab",             // of 32
        7 => b"\x00\xc3\x05\x0a\x00a\xe0\x00\x00",      // compressed: one byte, repeated nine times
        8 => b"\x00\x0ashort",                          // less than it says
        9 => b"\x00\xc4\x01",                           // no such way of writing
        10 => b"\x00\xc3\x05\x40\x64\x00a\xe0\x00\x00", // compressed: unpacks to less than it says
        _ => b"\x00\xc3\x03\x04\xe0\xff\xff",           // compressed: refers to before its beginning
    };
    let version = match rng.u8(..8) {
        0 => 1,
        1 => 11,
        2 => u16::MAX,
        _ => VERSION,
    };
    seal(content.to_vec(), version)
}

fn damage(payload: &mut Vec<u8>, rng: &mut Rng) {
    match rng.u8(..4) {
        0 => payload.truncate(rng.usize(..payload.len().max(1))),
        1 => payload.push(rng.u8(..)),
        _ if payload.is_empty() => {}
        _ => {
            let place = rng.usize(..payload.len());
            payload[place] ^= 1 << rng.u8(..8);
        }
    }
}

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum: u64, _| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_format() {
        // The check value of this CRC.
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert!(is_intact(&seal(b"\x00\x01a".to_vec(), VERSION)));
        let mut payload = seal(b"\x00\x01a".to_vec(), VERSION);
        payload[2] = b'b';
        assert!(!is_intact(&payload) && !is_intact(b""));
    }
}
