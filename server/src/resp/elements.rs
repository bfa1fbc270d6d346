//! Encoded arrays of strings, taken apart.

use bytes::Bytes;
use memchr::memchr;

use super::Reply;

/// The elements of an encoded array of strings and nulls, in either version of the protocol, without copying them; none
/// if it is anything else.
pub(crate) fn array_elements(array: &Bytes) -> Option<Vec<Reply<'static>>> {
    let (count, mut at) = head(array, 0, b'*')?;
    let count = usize::try_from(count).ok()?;
    // An element takes at least three bytes, whatever the head claims.
    let mut elements = Vec::with_capacity(count.min(array.len() / 3));
    for _ in 0..count {
        if array[at..].starts_with(b"_\r\n") {
            (at, _) = (at + 3, elements.push(Reply::Null));
            continue;
        }
        let (length, start) = head(array, at, b'$')?;
        if length == -1 {
            (at, _) = (start, elements.push(Reply::Null));
            continue;
        }
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if !array.get(end..)?.starts_with(b"\r\n") {
            return None;
        }
        elements.push(Reply::Shared(array.slice(start..end)));
        at = end + 2;
    }
    (at == array.len()).then_some(elements)
}

/// The number in the line that begins here with this mark, and where the next line begins.
fn head(bytes: &[u8], at: usize, mark: u8) -> Option<(i64, usize)> {
    let line = bytes.get(at..)?;
    let end = memchr(b'\r', line)?;
    if line.first() != Some(&mark) || line.get(end + 1) != Some(&b'\n') {
        return None;
    }
    let number = std::str::from_utf8(&line[1..end]).ok()?.parse().ok()?;
    Some((number, at + end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Output, Protocol};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_array_is_read_as_it_was_written(
            strings in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 0..6),
            resp3: bool,
            cut in 1usize..5,
        ) {
            let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
            let reply = |string: &Option<Vec<u8>>| string.clone().map_or(Reply::Null, |s| Reply::Shared(s.into()));
            let elements: Vec<_> = strings.iter().map(reply).collect();
            let mut out = Output::default();
            out.reply(Reply::Array(elements.clone()), protocol);
            let bytes = out.into_bytes();
            prop_assert_eq!(array_elements(&bytes), Some(elements));
            prop_assert_eq!(array_elements(&bytes.slice(..bytes.len() - cut.min(bytes.len()))), None);
        }

        #[test]
        fn other_bytes_are_refused_or_read(bytes in "[*$:_\\-0-9\r\na]{0,30}") {
            let _ = array_elements(&Bytes::from(bytes));
        }
    }
}
