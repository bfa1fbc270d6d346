//! The patterns of `KEYS` and `SCAN MATCH`, with the meaning that Redis' `stringmatchlen` gives them.
//!
//! ```text
//! *        any bytes, also none          [abc] [a-z]   one of these bytes; a range may be written backwards
//! ?        any one byte                  [^abc]        one byte that is none of these
//! \x       the byte x                    other         itself
//! ```
//!
//! The corners are Redis' too: `[` without `]` runs to the end of the pattern, a backslash at the very end stands for
//! itself, a class after which nothing follows the dash takes the dash as a byte, and no star but the pattern `*`
//! itself takes the empty text.
//!
//! Matching tries again only from the last star (what an earlier star took need never be reconsidered, since the
//! later one can take up any difference), so the work is at most pattern length times text length, never
//! exponential. A pattern and the texts may both be long and chosen by a client that holds up a shard with them, so
//! all matches of a call together have a [`Budget`].

/// How many steps the matches of one call may take together, beyond those that are free: enough for a pattern and a key
/// of a few kilobytes.
const MAX_STEPS: usize = 1 << 22;

/// Every match has so many steps, and some for each byte of the text: what usual patterns take does not add up, however
/// many keys there are.
const FREE_STEPS: usize = 4096;
const FREE_STEPS_PER_BYTE: usize = 4;

/// The matches of a call took more steps than they may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooComplex;

/// What is left of the steps that the matches of one call may take together. It is handed from one match to the next. The
/// match that uses it up is refused, and so is every later one that would need more than is free; the caller gives up.
#[derive(Debug)]
pub struct Budget(usize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(MAX_STEPS)
    }
}

/// A pattern.
#[derive(Clone, Copy, Debug)]
pub struct Glob<'a> {
    pattern: &'a [u8],
}

impl<'a> Glob<'a> {
    /// The pattern written so. Every text is a pattern.
    pub const fn new(pattern: &'a [u8]) -> Glob<'a> {
        Glob { pattern }
    }

    /// Whether every key matches.
    pub fn matches_all(self) -> bool {
        self.pattern == b"*"
    }

    /// Whether the whole text matches.
    pub fn matches(self, text: &[u8], budget: &mut Budget) -> Result<bool, TooComplex> {
        if text.is_empty() {
            return Ok(self.pattern.is_empty() || self.matches_all());
        }
        let free = FREE_STEPS.saturating_add(text.len().saturating_mul(FREE_STEPS_PER_BYTE));
        let mut left = free.saturating_add(budget.0);
        let matched = self.walk(text, &mut left);
        budget.0 = budget.0.min(left);
        matched
    }

    /// Takes its steps from those that are left.
    fn walk(self, text: &[u8], left: &mut usize) -> Result<bool, TooComplex> {
        let mut spend = |steps: usize| {
            *left = left.saturating_sub(steps);
            if *left == 0 { Err(TooComplex) } else { Ok(()) }
        };
        let (mut pattern, mut rest) = (self.pattern, text);
        // Behind the last star: the pattern that follows, and the text from which it was tried last.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            spend(1)?;
            if let [b'*', following @ ..] = pattern {
                if following.is_empty() {
                    return Ok(true);
                }
                pattern = following;
                retry = Some((following, rest));
                continue;
            }
            let (matched, width) = match rest.first() {
                Some(&byte) => one(pattern, byte),
                None if pattern.is_empty() => return Ok(true),
                None => return Ok(false),
            };
            spend(width)?;
            if matched {
                (pattern, rest) = (&pattern[width..], &rest[1..]);
                continue;
            }
            let Some((following, [_, later @ ..])) = retry else { return Ok(false) };
            (pattern, rest) = (following, later);
            retry = Some((following, later));
        }
    }
}

/// Whether the first element of the pattern, which is not a star, takes this byte, and how long the element is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match *pattern {
        [] => (false, 0),
        [b'?', ..] => (true, 1),
        [b'[', ref class @ ..] => {
            let (matched, width) = class_takes(class, byte);
            (matched, 1 + width)
        }
        [b'\\', escaped, ..] => (escaped == byte, 2),
        [plain, ..] => (plain == byte, 1),
    }
}

/// [`one`] for what follows a `[`.
fn class_takes(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class[at.min(class.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= plain == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &[u8], text: &[u8], expected: bool) {
        assert_eq!(Glob::new(pattern).matches(text, &mut Budget::default()), Ok(expected), "{pattern:?} on {text:?}");
    }

    #[test]
    fn patterns_mean_what_redis_says() {
        for (pattern, text, expected) in [
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-", "h-", true),
            ("h[abc", "hc", true),
            ("[", "a", false),
            ("[^", "a", true),
            ("[]", "]", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "", false),
            ("**", "a", true),
            ("a**", "a", true),
            ("?", "", false),
            ("*?", "", false),
            ("a*b*c", "aXXbYYbZc", true),
            ("a*b*c", "aXXbYYbZ", false),
        ] {
            check(pattern.as_bytes(), text.as_bytes(), expected);
        }
    }

    #[test]
    fn many_stars_take_linear_not_exponential_time() {
        let pattern = [b"a*".repeat(200), b"b".to_vec()].concat();
        check(&pattern, &b"a".repeat(5000), false);
        let pattern = [b"*".as_slice(), &b"a".repeat(20_000), b"b"].concat();
        assert_eq!(Glob::new(&pattern).matches(&b"a".repeat(40_000), &mut Budget::default()), Err(TooComplex));
        // One step that is long by itself.
        let pattern = [b"[".as_slice(), &b"b".repeat(2 * MAX_STEPS)].concat();
        assert_eq!(Glob::new(&pattern).matches(b"a", &mut Budget::default()), Err(TooComplex));
    }

    #[test]
    fn many_texts_take_from_one_budget_what_is_not_free() {
        let pattern = [b"*".as_slice(), &b"a".repeat(1000), b"b"].concat();
        let (pattern, text, mut budget) = (Glob::new(&pattern), b"a".repeat(2000), Budget::default());
        let matched = (0..1000).take_while(|_| pattern.matches(&text, &mut budget) == Ok(false)).count();
        assert!((1..10).contains(&matched), "{matched} of them were looked at");
        assert_eq!(pattern.matches(b"ab", &mut budget), Ok(false), "what is free is free");
        assert_eq!(pattern.matches(&text, &mut budget), Err(TooComplex));
    }

    #[test]
    fn usual_patterns_never_use_a_budget_up() {
        let (pattern, mut budget) =
            (Glob::new(b"*[a-z][0-9]*:[0-9][abcdefghijklmnopqrstuvwxyz]*?x"), Budget::default());
        for number in 0..20_000 {
            let key = format!("user:{number}:a longer name than most that somebody gives to a key");
            assert_eq!(pattern.matches(key.as_bytes(), &mut budget), Ok(false));
        }
        assert_eq!(budget.0, MAX_STEPS);
    }

    /// The textbook recursion.
    fn twin(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([b'*', following @ ..], _) => (0..=text.len()).any(|taken| twin(following, &text[taken..])),
            (_, []) => false,
            (_, [byte, rest @ ..]) => {
                let (matched, width) = one(pattern, *byte);
                matched && twin(&pattern[width..], rest)
            }
        }
    }

    proptest! {
        #[test]
        fn trying_again_from_the_last_star_suffices(pattern in r"[ab?*\[\]^\-\\]{0,9}", text in r"[ab\-\]]{1,8}") {
            let matched = Glob::new(pattern.as_bytes()).matches(text.as_bytes(), &mut Budget::default());
            prop_assert_eq!(matched, Ok(twin(pattern.as_bytes(), text.as_bytes())));
        }
    }
}
