//! Slots: the unit of placement, order, transfer and repair.
//!
//! A key belongs to one of 16384 slots, by the function that every Redis Cluster client computes as well:
//! `crc16(tag(key)) mod 16384`, where the tag is the part between the first `{` and the first `}` behind it if
//! that part is not empty, and the whole key otherwise (Redis Cluster Specification, "Hash tags"). Clients that
//! know the slots can therefore send a key straight to its owner, and users can keep keys together by a tag.

use core::fmt;

/// How many slots there are. A wire constant of Redis Cluster; it never changes.
pub const SLOTS: usize = 16384;

/// One of the 16384 slots.
///
/// The simulator runs rings of fewer slots; every value is below the number of slots of its ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, if there is one.
    pub const fn new(number: u16) -> Option<Slot> {
        if (number as usize) < SLOTS { Some(Slot(number)) } else { None }
    }

    /// The slot of a key. Linear in the key's length.
    pub fn of(key: &[u8]) -> Slot {
        Slot(crc16(hash_tag(key)) % SLOTS as u16)
    }

    /// Every slot, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Slot> + DoubleEndedIterator + Clone {
        (0..SLOTS as u16).map(Slot)
    }

    /// The slot's number, 0 to 16383.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as an index into an array with one element per slot.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The part of a key that decides its slot.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// CRC-16/XMODEM (polynomial 0x1021, initial value 0, nothing reflected), as the Redis Cluster Specification,
/// appendix A, asks for.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ CRC_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

static CRC_TABLE: [u16; 256] = crc_table();

const fn crc_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_that_redis_computes() {
        // Figures of `CLUSTER KEYSLOT` on Valkey 9.
        for (key, slot) in
            [("somekey", 11058), ("foo{hash_tag}", 2515), ("bar{hash_tag}", 2515), ("", 0), ("foo", 12182)]
        {
            assert_eq!(Slot::of(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_braces_count_and_an_empty_tag_is_none() {
        let check = |key: &str, tag: &str| assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        check("{user1000}.following", "user1000");
        check("foo{}{bar}", "foo{}{bar}");
        check("foo{{bar}}zap", "{bar");
        check("foo{bar}{zap}", "bar");
        check("foo{bar", "foo{bar");
        check("}{a}", "a");
    }

    #[test]
    fn numbers_beyond_the_last_slot_are_refused() {
        assert!(Slot::new(16383).is_some());
        assert!(Slot::new(16384).is_none());
        assert_eq!(Slot::all().len(), SLOTS);
    }
}
