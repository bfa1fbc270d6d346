//! The compression of strings in `DUMP` payloads: LZF.
//!
//! ```text
//!  000LLLLL  byte × (L + 1)                      a run of bytes as they are, at most 32
//!  LLLooooo  oooooooo                            L + 2 bytes again, from o + 1 before, L of 1 to 6
//!  111ooooo  LLLLLLLL  oooooooo                  L + 9 bytes again, from o + 1 before
//! ```
//!
//! What is found again is looked up by its first three bytes in a table of the places where such bytes were seen last.
//! The choices (which places enter the table, how far a match goes) are those of liblzf at its fast setting, so that the
//! bytes are those that Valkey writes.

/// How many places the table has.
const TABLE: usize = 1 << 16;
/// The longest run of bytes as they are.
const MAX_RUN: usize = 32;
/// How far back a match may lie.
const MAX_DISTANCE: usize = 1 << 13;
/// How much a match may add to its first two bytes.
const MAX_MORE: usize = 264;
/// The greatest number of bytes that one byte of compressed data can stand for: three say 264 of them.
const MAX_RATIO: usize = 88;

/// The bytes, compressed into at most `room` bytes; none if that is too little. Takes 256 KiB for its table and time
/// linear in the bytes.
pub(super) fn compress(bytes: &[u8], room: usize) -> Option<Vec<u8>> {
    if bytes.len() < 3 || room == 0 {
        return None;
    }
    let mut output = Compressed::new(room);
    // Where these three bytes began last; 0 for nowhere, so that nothing is found at the first byte.
    let mut table = vec![0u32; TABLE];
    let (mut at, end) = (0, bytes.len() - 2);
    while at < end {
        let place = &mut table[bucket(bytes, at)];
        let before = *place as usize;
        *place = at as u32;
        let distance = at - before;
        let is_match = before > 0 && distance <= MAX_DISTANCE && bytes[before..before + 3] == bytes[at..at + 3];
        if !is_match {
            output.literal(bytes[at])?;
            at += 1;
            continue;
        }
        let length = match_length(bytes, before, at);
        output.reference(distance - 1, length)?;
        at += length;
        if at >= end {
            break;
        }
        for place in [at - 2, at - 1] {
            table[bucket(bytes, place)] = place as u32;
        }
    }
    output.finish(&bytes[at..])
}

/// The bytes that were compressed, if they are as many as is claimed. Memory grows as bytes are found, and not beyond
/// what is claimed.
pub(super) fn decompress(compressed: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > compressed.len().saturating_mul(MAX_RATIO) {
        return None;
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).ok()?;
    let mut rest = compressed.iter();
    while let Some(&control) = rest.next() {
        let high = usize::from(control & 0x1F) << 8;
        let count = match control >> 5 {
            0 => {
                let (run, behind) = rest.as_slice().split_at_checked(usize::from(control) + 1)?;
                bytes.extend_from_slice(run);
                rest = behind.iter();
                if bytes.len() > length {
                    return None;
                }
                continue;
            }
            7 => usize::from(*rest.next()?) + 9,
            count => usize::from(count) + 2,
        };
        let distance = (high | usize::from(*rest.next()?)) + 1;
        if distance > bytes.len() || bytes.len() + count > length {
            return None;
        }
        repeat(&mut bytes, distance, count);
    }
    (bytes.len() == length).then_some(bytes)
}

/// Appends so many bytes again, from so far before the end. What is repeated may reach into what it makes: then more of it
/// is there after each piece.
fn repeat(bytes: &mut Vec<u8>, distance: usize, count: usize) {
    let (start, end) = (bytes.len() - distance, bytes.len() + count);
    if distance == 1 {
        return bytes.resize(end, bytes[start]);
    }
    while bytes.len() < end {
        let piece = (bytes.len() - start).min(end - bytes.len());
        bytes.extend_from_within(start..start + piece);
    }
}

/// Where in the table the three bytes belong that begin here.
fn bucket(bytes: &[u8], at: usize) -> usize {
    let three = u32::from(bytes[at]) << 16 | u32::from(bytes[at + 1]) << 8 | u32::from(bytes[at + 2]);
    ((three >> 8).wrapping_sub(three.wrapping_mul(5)) as usize) & (TABLE - 1)
}

/// How many bytes are the same here as before, of which three are.
fn match_length(bytes: &[u8], before: usize, at: usize) -> usize {
    let left = (bytes.len() - at - 2).min(MAX_MORE);
    // Sixteen bytes are compared before the limit is looked at, if there are as many.
    let limit = if left > 16 { left.max(19) } else { left.max(3) };
    (3..limit).find(|&length| bytes[before + length] != bytes[at + length]).unwrap_or(limit)
}

/// What was compressed so far. It ends with the run that is being written: a byte for its length, then its bytes.
struct Compressed {
    bytes: Vec<u8>,
    room: usize,
    /// How many bytes the run has.
    run: usize,
}

impl Compressed {
    fn new(room: usize) -> Compressed {
        Compressed { bytes: vec![0], room, run: 0 }
    }

    fn literal(&mut self, byte: u8) -> Option<()> {
        if self.bytes.len() >= self.room {
            return None;
        }
        self.push(byte);
        Some(())
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.run += 1;
        if self.run == MAX_RUN {
            self.end_run();
            self.begin_run();
        }
    }

    fn reference(&mut self, offset: usize, length: usize) -> Option<()> {
        // The longest reference, and the byte that begins the next run.
        if self.bytes.len() - usize::from(self.run == 0) + 4 >= self.room {
            return None;
        }
        self.end_run();
        let (high, low) = ((offset >> 8) as u8, offset as u8);
        match length - 2 {
            count @ ..7 => self.bytes.push(high | (count as u8) << 5),
            count => self.bytes.extend([high | 7 << 5, (count - 7) as u8]),
        }
        self.bytes.push(low);
        self.begin_run();
        Some(())
    }

    /// What is left, at most two bytes, goes as it is.
    fn finish(mut self, rest: &[u8]) -> Option<Vec<u8>> {
        if self.bytes.len() + 3 > self.room {
            return None;
        }
        rest.iter().for_each(|&byte| self.push(byte));
        self.end_run();
        Some(self.bytes)
    }

    fn begin_run(&mut self) {
        self.bytes.push(0);
        self.run = 0;
    }

    fn end_run(&mut self) {
        let start = self.bytes.len() - self.run - 1;
        match self.run {
            0 => self.bytes.truncate(start),
            run => self.bytes[start] = run as u8 - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        let piece = (prop::collection::vec(any::<u8>(), 1..6), 1usize..300);
        prop::collection::vec(piece, 0..12)
            .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect())
    }

    #[test]
    fn what_repeats_becomes_short() {
        assert_eq!(compress(&[b'a'; 24], 20), Some(b"\x01aa\xe0\x0b\x00\x01aa".to_vec()));
        assert_eq!(compress(b"ab", 20), None);
        assert_eq!(compress(b"0123456789abcdefghijklmnop", 22), None);
    }

    #[test]
    fn what_is_claimed_is_not_believed() {
        assert_eq!(decompress(b"\x00a", usize::MAX), None);
        assert_eq!(decompress(b"\x00a", 2), None);
        assert_eq!(decompress(b"\x01a", 2), None);
        assert_eq!(decompress(b"\x20\x00", 3), None);
        assert_eq!(decompress(b"\x00a\x20\x00", 4), Some(b"aaaa".to_vec()));
        assert_eq!(decompress(b"\x00a\x20\x00", 3), None);
        assert_eq!(decompress(b"", 0), Some(vec![]));
    }

    proptest! {
        #[test]
        fn what_repeats_itself_is_what_one_byte_after_the_other_makes(
            bytes in prop::collection::vec(any::<u8>(), 1..40),
            distance in 1usize..40,
            count in 1usize..300,
        ) {
            let distance = distance.min(bytes.len());
            let (mut repeated, mut twin) = (bytes.clone(), bytes);
            repeat(&mut repeated, distance, count);
            (0..count).for_each(|_| twin.push(twin[twin.len() - distance]));
            prop_assert_eq!(repeated, twin);
        }

        #[test]
        fn bytes_come_back_and_the_room_is_kept(bytes in repetitive(), less in 0usize..9) {
            let room = bytes.len().saturating_sub(less);
            if let Some(compressed) = compress(&bytes, room) {
                prop_assert!(compressed.len() <= room);
                prop_assert_eq!(decompress(&compressed, bytes.len()), Some(bytes));
            }
        }

        #[test]
        fn any_bytes_are_decompressed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), length in 0usize..6000) {
            if let Some(decompressed) = decompress(&bytes, length) {
                prop_assert_eq!(decompressed.len(), length);
            }
        }
    }
}
