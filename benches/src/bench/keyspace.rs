//! What was written: versions per key, and the judgement of what is read.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The smallest value that holds its header whatever its numbers are.
pub(super) const SMALLEST_VALUE: usize = 48;

/// The keys of one run, each with the last version issued and the last one acknowledged.
///
/// A value is `<key's number>:<run>:<version>:<length>:` and filler up to its length. The *run* is the millisecond at
/// which the first run on this state began; it tells apart what an earlier benchmark left behind. Version 0 means
/// "never". A key has one writer, so its cells are written by one connection; others only read them.
pub(super) struct Keyspace {
    pub(super) prefix: String,
    pub(super) run: u64,
    pub(super) value_size: usize,
    cells: Box<[Cell]>,
}

/// The versions of one key.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) issued: AtomicU32,
    pub(super) acked: AtomicU32,
    /// When the last acknowledgement came, in milliseconds since the run began.
    pub(super) acked_at_ms: AtomicU32,
}

/// What a read value is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Left by an earlier run, and none of ours was acknowledged yet.
    Foreign,
    /// Older than what was acknowledged before the read was sent.
    Stale,
    /// Of another key, malformed, or of a version that nobody wrote.
    Wrong,
}

impl Keyspace {
    /// A key space of which nothing was written yet.
    pub(super) fn new(prefix: &str, keys: u32, value_size: usize) -> Keyspace {
        let cells = (0..keys).map(|_| Cell::default()).collect();
        Keyspace { prefix: prefix.to_owned(), run: unix_ms(), value_size, cells }
    }

    pub(super) fn keys(&self) -> u32 {
        u32::try_from(self.cells.len()).expect("made from a u32")
    }

    pub(super) fn cell(&self, key: u32) -> &Cell {
        &self.cells[key as usize]
    }

    /// The last acknowledged version of a key, 0 if there is none.
    pub(super) fn acked(&self, key: u32) -> u32 {
        self.cell(key).acked.load(Ordering::Acquire)
    }

    /// The version of the next write. Only the key's owner asks.
    pub(super) fn issue(&self, key: u32) -> u32 {
        let issued = &self.cell(key).issued;
        let version = issued.load(Ordering::Relaxed) + 1;
        issued.store(version, Ordering::Release);
        version
    }

    /// The write of this version was acknowledged at this millisecond of 1970's count.
    pub(super) fn acknowledge(&self, key: u32, version: u32, at_ms: u64) {
        let cell = self.cell(key);
        let at_ms = u32::try_from(at_ms.saturating_sub(self.run)).unwrap_or(u32::MAX);
        cell.acked_at_ms.store(at_ms, Ordering::Relaxed);
        cell.acked.store(version, Ordering::Release);
    }

    /// Appends the value of this version.
    pub(super) fn write_value(&self, key: u32, version: u32, out: &mut Vec<u8>) {
        let start = out.len();
        write!(out, "{key}:{}:{version}:{}:", self.run, self.value_size).expect("a vector takes every write");
        out.resize(start + self.value_size, filler(key, version));
    }

    /// Judges a value read for a key of which `floor` was acknowledged before the read was sent.
    pub(super) fn judge(&self, key: u32, floor: u32, value: &[u8]) -> Verdict {
        let Some(header) = Header::parse(value).filter(|header| header.key == key) else {
            return Verdict::Wrong;
        };
        if header.run != self.run {
            return match (header.run < self.run, floor) {
                (_, 0) => Verdict::Foreign,
                (true, _) => Verdict::Stale,
                (false, _) => Verdict::Wrong,
            };
        }
        if header.version == 0 || header.version > self.cell(key).issued.load(Ordering::Acquire) {
            Verdict::Wrong
        } else if header.version < floor {
            Verdict::Stale
        } else {
            Verdict::Good
        }
    }
}

/// The milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("fits for half a billion years")
}

struct Header {
    key: u32,
    run: u64,
    version: u32,
}

impl Header {
    /// The header of a value whose length and filler are right.
    fn parse(value: &[u8]) -> Option<Header> {
        let mut rest = value;
        let key = u32::try_from(number(&mut rest)?).ok()?;
        let run = number(&mut rest)?;
        let version = u32::try_from(number(&mut rest)?).ok()?;
        let length = number(&mut rest)?;
        let filler = filler(key, version);
        (length == value.len() as u64 && rest.iter().all(|byte| *byte == filler)).then_some(Header {
            key,
            run,
            version,
        })
    }
}

/// Takes a decimal number and the colon after it.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let end = rest.iter().take(21).position(|byte| *byte == b':').filter(|end| *end > 0)?;
    let number = rest[..end].iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    *rest = &rest[end + 1..];
    Some(number)
}

/// The filler differs between versions, so that a value torn from two of them is seen.
fn filler(key: u32, version: u32) -> u8 {
    b'a' + (key.wrapping_add(version) % 26) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(keyspace: &Keyspace, key: u32, version: u32) -> Vec<u8> {
        let mut value = Vec::new();
        keyspace.write_value(key, version, &mut value);
        value
    }

    #[test]
    fn values_are_judged_by_the_version_they_carry() {
        let keyspace = Keyspace::new("k", 10, 64);
        let versions: Vec<u32> = (0..3).map(|_| keyspace.issue(7)).collect();
        assert_eq!(versions, [1, 2, 3]);
        let second = value(&keyspace, 7, 2);
        assert_eq!(second.len(), 64);
        assert_eq!(keyspace.judge(7, 2, &second), Verdict::Good);
        assert_eq!(keyspace.judge(7, 0, &value(&keyspace, 7, 3)), Verdict::Good);
        assert_eq!(keyspace.judge(7, 3, &second), Verdict::Stale);
        assert_eq!(keyspace.judge(6, 0, &second), Verdict::Wrong);
        assert_eq!(keyspace.judge(7, 0, &value(&keyspace, 7, 4)), Verdict::Wrong);
    }

    #[test]
    fn torn_and_malformed_values_are_wrong() {
        let keyspace = Keyspace::new("k", 10, 64);
        keyspace.issue(1);
        keyspace.issue(1);
        let mut torn = value(&keyspace, 1, 1);
        let other = value(&keyspace, 1, 2);
        torn[50..].copy_from_slice(&other[50..]);
        let cut = value(&keyspace, 1, 1)[..60].to_vec();
        for bad in [torn, cut, Vec::new(), b"hello".to_vec(), b"1:2:99999999999999999999999:64:".to_vec()] {
            assert_eq!(keyspace.judge(1, 0, &bad), Verdict::Wrong, "{bad:?}");
        }
    }

    #[test]
    fn what_an_earlier_run_left_is_stale_once_we_wrote() {
        let mut earlier = Keyspace::new("k", 10, 64);
        earlier.run -= 1000;
        let left = value(&earlier, 3, 900);
        let keyspace = Keyspace::new("k", 10, 64);
        assert_eq!(keyspace.judge(3, 0, &left), Verdict::Foreign);
        assert_eq!(keyspace.judge(3, 1, &left), Verdict::Stale);
    }

    #[test]
    fn the_largest_header_fits_the_smallest_value() {
        let mut keyspace = Keyspace::new("k", 1, SMALLEST_VALUE);
        keyspace.run = 9_999_999_999_999;
        let mut header = Vec::new();
        keyspace.write_value(u32::MAX, u32::MAX, &mut header);
        assert_eq!(header.len(), SMALLEST_VALUE);
        assert!(Header::parse(&header).is_some());
    }
}
