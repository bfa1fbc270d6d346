//! The longest common subsequence of two strings, as `LCS` answers it.
//!
//! The textbook table, filled row by row. What Redis keeps in four bytes a cell, the length so far, is needed for two
//! rows only; to walk back through the table one bit a cell is enough: from which side the length came.

/// A stretch that both strings have, from the last one in the strings to the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// Where it begins in the first string.
    pub first: usize,
    /// Where it begins in the second string.
    pub second: usize,
    /// How many bytes it has.
    pub length: usize,
}

/// How long the longest common subsequence is. Takes time proportional to the product of the lengths.
pub fn common_length(one: &[u8], other: &[u8]) -> usize {
    fill(one, other, |_| {})
}

/// The longest common subsequence, as the stretches that it is made of; among several that of Redis. Takes time
/// proportional to the product of the lengths, and an eighth of a byte for each pair.
pub fn common_stretches(one: &[u8], other: &[u8]) -> Vec<Stretch> {
    let mut sides = Sides::new(one.len() * other.len());
    fill(one, other, |first_is_longer| sides.push(first_is_longer));
    let is_swapped = one.len() > other.len();
    let side = |i: usize, j: usize| match is_swapped {
        true => sides.get((i - 1) * other.len() + j - 1),
        false => sides.get((j - 1) * one.len() + i - 1),
    };
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut i, mut j, mut is_open) = (one.len(), other.len(), false);
    while i > 0 && j > 0 {
        if one[i - 1] != other[j - 1] {
            if side(i, j) {
                i -= 1
            } else {
                j -= 1
            }
            is_open = false;
            continue;
        }
        (i, j) = (i - 1, j - 1);
        match stretches.last_mut() {
            Some(last) if is_open => *last = Stretch { first: i, second: j, length: last.length + 1 },
            _ => stretches.push(Stretch { first: i, second: j, length: 1 }),
        }
        is_open = true;
    }
    stretches
}

/// Fills the table and returns its last cell. `side` is told of each cell whether the first string without its last byte
/// has more in common with the second than the other way round. Rows are along the shorter string.
fn fill(one: &[u8], other: &[u8], mut side: impl FnMut(bool)) -> usize {
    let is_swapped = one.len() > other.len();
    let (outer, inner) = if is_swapped { (one, other) } else { (other, one) };
    let mut row = vec![0u32; inner.len() + 1];
    for &byte in outer {
        // Left above, and left.
        let (mut diagonal, mut left) = (0, 0);
        for (cell, &own) in row[1..].iter_mut().zip(inner) {
            let above = *cell;
            *cell = if own == byte { diagonal + 1 } else { above.max(left) };
            side(if is_swapped { above > left } else { left > above });
            (diagonal, left) = (above, *cell);
        }
    }
    row[inner.len()] as usize
}

/// Bits, one after the other.
struct Sides {
    words: Vec<u64>,
    count: usize,
}

impl Sides {
    fn new(count: usize) -> Sides {
        Sides { words: Vec::with_capacity(count.div_ceil(64)), count: 0 }
    }

    fn push(&mut self, bit: bool) {
        let place = self.count % 64;
        match self.words.last_mut() {
            Some(word) if place > 0 => *word |= u64::from(bit) << place,
            _ => self.words.push(u64::from(bit)),
        }
        self.count += 1;
    }

    fn get(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole table of lengths, and the walk back through it as Redis does it.
    fn naive(one: &[u8], other: &[u8]) -> (usize, Vec<Stretch>) {
        let mut table = vec![vec![0usize; other.len() + 1]; one.len() + 1];
        for i in 1..=one.len() {
            for j in 1..=other.len() {
                table[i][j] = match one[i - 1] == other[j - 1] {
                    true => table[i - 1][j - 1] + 1,
                    false => table[i - 1][j].max(table[i][j - 1]),
                };
            }
        }
        let (mut i, mut j, mut pairs) = (one.len(), other.len(), Vec::new());
        while i > 0 && j > 0 {
            if one[i - 1] == other[j - 1] {
                (i, j) = (i - 1, j - 1);
                pairs.push((i, j));
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for (first, second) in pairs {
            match stretches.last_mut() {
                Some(last) if (last.first, last.second) == (first + 1, second + 1) => {
                    *last = Stretch { first, second, length: last.length + 1 };
                }
                _ => stretches.push(Stretch { first, second, length: 1 }),
            }
        }
        (table[one.len()][other.len()], stretches)
    }

    #[test]
    fn the_example_of_the_documentation() {
        let stretches = common_stretches(b"ohmytext", b"mynewtext");
        let expected = [Stretch { first: 4, second: 5, length: 4 }, Stretch { first: 2, second: 0, length: 2 }];
        assert_eq!(stretches, expected);
        assert_eq!(common_length(b"ohmytext", b"mynewtext"), 6);
        assert_eq!(common_stretches(b"", b"a"), []);
    }

    proptest! {
        #[test]
        fn the_small_table_is_as_good_as_the_large_one(one in "[ab]{0,20}|[a-d]{0,90}", other in "[ab]{0,20}|[a-d]{0,90}") {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            let (length, stretches) = naive(one, other);
            prop_assert_eq!(common_length(one, other), length);
            prop_assert_eq!(common_stretches(one, other), stretches);
        }
    }
}
