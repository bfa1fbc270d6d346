//! Damage to bytes that were valid.

use fastrand::Rng;

/// What numbers in protocols are fond of.
const NUMBERS: [&[u8]; 12] = [
    b"-1",
    b"0",
    b"1",
    b"-2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"1e999",
    b"nan",
    b"",
    b"\r\n",
    b"\xff\xff\xff\xff",
];

/// Damages some bytes in one or a few places.
pub(super) fn mutate(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..4) {
        if bytes.is_empty() {
            bytes.push(random.u8(..));
            continue;
        }
        let at = random.usize(..bytes.len());
        let len = random.usize(1..=(bytes.len() - at).min(16));
        match random.u8(..8) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let copy = bytes[at..at + len].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => drop(bytes.splice(at..at + len, NUMBERS[random.usize(..NUMBERS.len())].iter().copied())),
            6 => {
                let noise: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
                bytes.splice(at..at, noise);
            }
            _ => bytes.rotate_left(at.min(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_does_the_same_damage_and_nearly_always_some() {
        let valid = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec();
        let damaged = |seed| {
            let mut bytes = valid.clone();
            mutate(&mut bytes, &mut Rng::with_seed(seed));
            bytes
        };
        assert!((0..100).all(|seed| damaged(seed) == damaged(seed)));
        assert!((0..100).filter(|&seed| damaged(seed) != valid).count() > 90);
    }
}
