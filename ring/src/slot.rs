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
    // Almost no key has one.
    if !has_brace(key) {
        return key;
    }
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// Whether there is a `{`, found in words of eight bytes: a byte of `word ^ "{{{{{{{{"` is zero where one is, and
/// subtracting 1 from each byte reaches the highest bit of the first such.
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (eights, rest) = key.as_chunks::<8>();
    let in_word = |eight: &[u8; 8]| {
        let word = u64::from_ne_bytes(*eight) ^ u64::from_ne_bytes([b'{'; 8]);
        word.wrapping_sub(ONES) & !word & (ONES << 7) != 0
    };
    eights.iter().any(in_word) || rest.contains(&b'{')
}

/// CRC-16/XMODEM (polynomial 0x1021, initial value 0, nothing reflected), as the Redis Cluster Specification,
/// appendix A, asks for. Eight bytes at a time: a look into the table per byte has to wait for the one before, eight
/// looks at once do not (Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
/// Generators", 2005).
pub fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let crc = eights.iter().fold(0u16, |crc, eight| {
        let [high, low] = crc.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = eight.map(usize::from);
        let first = CRC_TABLES[7][a ^ usize::from(high)] ^ CRC_TABLES[6][b ^ usize::from(low)];
        let middle = CRC_TABLES[5][c] ^ CRC_TABLES[4][d] ^ CRC_TABLES[3][e];
        first ^ middle ^ CRC_TABLES[2][f] ^ CRC_TABLES[1][g] ^ CRC_TABLES[0][h]
    });
    rest.iter().fold(crc, |crc, &byte| (crc << 8) ^ CRC_TABLES[0][usize::from((crc >> 8) as u8 ^ byte)])
}

/// By number of zero bytes that follow it, what a byte makes of the sum.
static CRC_TABLES: [[u16; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 8 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
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
    fn crc_in_eights_is_the_crc_bit_by_bit() {
        let naive = |bytes: &[u8]| {
            bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| (crc << 1) ^ if crc >> 15 == 1 { 0x1021 } else { 0 })
            })
        };
        let bytes: [u8; 100] = core::array::from_fn(|number| ((number as u32).wrapping_mul(2_654_435_761) >> 13) as u8);
        for start in 0..8 {
            for end in start..bytes.len() {
                assert_eq!(crc16(&bytes[start..end]), naive(&bytes[start..end]), "{start}..{end}");
            }
        }
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
        check("0123456789abcde{tag}", "tag");
        check("0123456{tag}9", "tag");
        check("zzzzzzzzzzzz|", "zzzzzzzzzzzz|");
    }

    #[test]
    fn numbers_beyond_the_last_slot_are_refused() {
        assert!(Slot::new(16383).is_some());
        assert!(Slot::new(16384).is_none());
        assert_eq!(Slot::all().len(), SLOTS);
    }
}
