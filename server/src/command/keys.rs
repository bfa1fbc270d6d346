//! Where the keys of a request are.

use smallvec::SmallVec;

use crate::resp::{Reply, Request};

/// Where the keys of a command are among its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// From `first` to `last` (negative: from the end) in steps; `first` 0: there are none.
    Range {
        /// Place of the first key.
        first: i8,
        /// Place of the last key.
        last: i8,
        /// Distance between keys.
        step: i8,
    },
    /// Place 1 says how many there are, and they follow, `step` apart. `check` refuses a request in which that, or what
    /// else decides where the request may run, is wrong.
    Counted {
        /// Distance between keys.
        step: u8,
        /// Why a request cannot run, if it cannot.
        check: fn(&Request<'_>) -> Result<(), Reply<'static>>,
    },
    /// Place 1, and what follows the last word `STORE` of `SORT`.
    Sorted,
}

/// Places in a request.
#[derive(Clone, Debug)]
pub enum Places {
    /// From here to there, in steps.
    Range {
        /// The next one.
        next: usize,
        /// Behind the last one.
        end: usize,
        /// The distance.
        step: usize,
    },
    /// These.
    These(smallvec::IntoIter<[usize; 2]>),
}

impl Iterator for Places {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match self {
            Places::Range { next, end, step } => {
                let place = *next;
                (place < *end).then(|| {
                    *next += *step;
                    place
                })
            }
            Places::These(places) => places.next(),
        }
    }
}

impl Keys {
    /// No keys.
    pub const NONE: Keys = Keys::Range { first: 0, last: 0, step: 0 };
    /// One key, right behind the name.
    pub const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
    /// One key, behind the name of a subcommand.
    pub const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };
    /// Two keys, right behind the name.
    pub const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
    /// Every argument is a key.
    pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };
    /// Keys and values in turn.
    pub const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };

    /// The places of the keys of a request. A place behind its end stands for a key that is missing, as in Redis.
    #[inline]
    pub fn places(self, request: &Request<'_>) -> Places {
        let arguments = request.len();
        match self {
            Keys::Range { first, last, step } => {
                let last = match last {
                    last @ 0.. => last as usize + 1,
                    last => (arguments + 1).saturating_sub(usize::from(last.unsigned_abs())),
                };
                let end = if first <= 0 { 0 } else { last.min(arguments) };
                Places::Range { next: first.max(0) as usize, end, step: step.max(1) as usize }
            }
            Keys::Counted { step, .. } => {
                let step = usize::from(step);
                let count = counted(request).unwrap_or(0).min(arguments);
                Places::Range { next: 2, end: (2 + count * step).min(arguments), step }
            }
            Keys::Sorted => Places::These(sorted(request).into_iter()),
        }
    }

    /// Whether the request has as many keys as it says.
    pub(super) fn are_all_there(self, request: &Request<'_>) -> bool {
        match self {
            Keys::Counted { step, .. } => {
                // What belongs to the last key is not looked at, as in Valkey.
                let most = request.len().saturating_sub(2).div_ceil(usize::from(step));
                counted(request).is_some_and(|count| count <= most)
            }
            Keys::Range { .. } | Keys::Sorted => true,
        }
    }

    /// First, last and step as `COMMAND INFO` says them.
    pub fn range(self) -> (i8, i8, i8) {
        match self {
            Keys::Range { first, last, step } => (first, last, step),
            Keys::Counted { .. } => (0, 0, 0),
            Keys::Sorted => (1, 1, 1),
        }
    }

    /// Whether only the request says where its keys are.
    pub fn move_about(self) -> bool {
        !matches!(self, Keys::Range { .. })
    }
}

/// How many keys a request says that it has; none if that is no positive integer.
pub(crate) fn counted(request: &Request<'_>) -> Option<usize> {
    // A request of a wrong arity may be looked at ahead of being refused.
    let count = request.args_from(1).next()?;
    let count = crate::types::parse_integer(count).filter(|&count| count > 0 && count <= i64::from(i32::MAX));
    count.map(|count| count as usize)
}

/// The keys of `SORT`: the options `LIMIT`, `GET` and `BY` have values that may look like others.
fn sorted(request: &Request<'_>) -> SmallVec<[usize; 2]> {
    let mut places = SmallVec::from_slice(&[1]);
    let mut at = 2;
    while at < request.len() {
        let word = request.arg(at).to_ascii_uppercase();
        let values = match word.as_slice() {
            b"LIMIT" => 2,
            b"GET" | b"BY" => 1,
            b"STORE" if at + 1 < request.len() => {
                places.truncate(1);
                places.push(at + 1);
                1
            }
            _ => 0,
        };
        at += 1 + values;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedRequest;

    fn check(keys: Keys, line: &str, expected: &[usize]) {
        let request = OwnedRequest::new(line.split(' ').map(str::as_bytes));
        assert_eq!(keys.places(&request.as_request()).collect::<Vec<_>>(), expected, "{line}");
    }

    #[test]
    fn keys_are_found() {
        check(Keys::ONE, "GET a", &[1]);
        check(Keys::NONE, "PING a", &[]);
        check(Keys::ALL, "DEL a b c", &[1, 2, 3]);
        check(Keys::PAIRS, "MSET a 1 b 2", &[1, 3]);
        check(Keys::TWO, "RENAME a b", &[1, 2]);
        check(Keys::SECOND, "OBJECT ENCODING a", &[2]);
        let counted = Keys::Counted { step: 2, check: |_| Ok(()) };
        check(counted, "MSETEX 2 a 1 b 2 EX 5", &[2, 4]);
        check(counted, "MSETEX 0 a 1", &[]);
        check(counted, "MSETEX x a 1", &[]);
        check(counted, "MSETEX 99999999999 a 1", &[]);
        check(counted, "MSETEX 5 a 1", &[2]);
        check(counted, "MSETEX", &[]);
        check(Keys::Sorted, "SORT", &[1]);
        check(Keys::SECOND, "OBJECT", &[]);
        check(Keys::Sorted, "SORT a", &[1]);
        check(Keys::Sorted, "SORT a BY STORE GET x STORE b STORE c LIMIT 1 2", &[1, 9]);
        check(Keys::Sorted, "SORT a STORE", &[1]);
    }
}
