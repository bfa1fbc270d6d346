//! Key specifications: where keys begin, how they go on, and what becomes of them.
//!
//! ```text
//! RW access update: index 1, range 0 1 0       from place 1, to the place 0 behind it, in steps of 1
//! OW update: index 1, keynum 0 1 2             place 1 says how many; the first is 1 behind it, in steps of 2
//! RO access: unknown, unknown                  only the values say where
//! ```

use crate::resp::Reply;

/// One specification.
#[derive(Debug)]
pub(super) struct KeySpec {
    /// What becomes of the keys.
    pub(super) flags: Vec<&'static str>,
    begin: Part,
    find: Part,
}

/// `index 1`, `range 0 1 0`, `keynum 0 1 2` or `unknown`.
#[derive(Debug)]
struct Part {
    kind: &'static str,
    numbers: Vec<i64>,
}

impl Part {
    fn parse(text: &'static str) -> Part {
        let mut words = text.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers = words.map(|word| word.parse().unwrap_or_else(|_| panic!("{word} is a number"))).collect();
        Part { kind, numbers }
    }

    fn reply(&self) -> Reply<'static> {
        let names: &[&'static str] = match self.kind {
            "index" => &["index"],
            "range" => &["lastkey", "keystep", "limit"],
            "keynum" => &["keynumidx", "firstkey", "keystep"],
            _ => &[],
        };
        let spec = names.iter().zip(&self.numbers).map(|(name, &number)| (text(name), Reply::Integer(number)));
        Reply::Map(vec![(text("type"), text(self.kind)), (text("spec"), Reply::Map(spec.collect()))])
    }
}

fn text(text: &'static str) -> Reply<'static> {
    Reply::Text(text.into())
}

impl KeySpec {
    /// Reads one.
    pub(super) fn parse(text: &'static str) -> KeySpec {
        let parts = text.split_once(": ").and_then(|(flags, rest)| Some((flags, rest.split_once(", ")?)));
        let (flags, (begin, find)) = parts.unwrap_or_else(|| panic!("{text} says no flags, beginning and way on"));
        KeySpec { flags: flags.split(' ').collect(), begin: Part::parse(begin), find: Part::parse(find) }
    }

    /// Whether the key at this place of a request, the one of this number among its keys, is meant.
    pub(super) fn covers(&self, place: usize, number: usize) -> bool {
        let (&[begin], &[last, ..]) = (&self.begin.numbers[..], &self.find.numbers[..]) else { return false };
        let place = place as i64;
        match self.find.kind {
            "range" if last >= 0 => (begin..=begin + last).contains(&place),
            "range" => place >= begin,
            _ => number > 0 || place > begin,
        }
    }

    /// First, last and step, as the table of commands has them.
    #[cfg(test)]
    pub(super) fn range(&self) -> (i8, i8, i8) {
        let (&[first], &[last, step, _]) = (&self.begin.numbers[..], &self.find.numbers[..]) else { return (0, 0, 0) };
        // A last place from the end stays as it is, others count from the first.
        let last = if last < 0 { last } else { first + last };
        (first as i8, last as i8, step as i8)
    }

    /// As `COMMAND INFO` shows it.
    pub(super) fn reply(&self) -> Reply<'static> {
        let flags = self.flags.iter().map(|&flag| Reply::Simple(flag)).collect();
        Reply::Map(vec![
            (text("flags"), Reply::Set(flags)),
            (text("begin_search"), self.begin.reply()),
            (text("find_keys"), self.find.reply()),
        ])
    }
}
