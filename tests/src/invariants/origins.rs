//! Names are used once: an origin is one tenure of one slot, and its versions rise, each built on the one before.

use ring::{dot::Dot, hlc::Hlc, id::Origin, slot::Slot};

use super::Violation;

/// A copy was opened under this origin; `used` is what was written under it before, if anybody ever used it.
pub fn origin_is_new(node: usize, slot: Slot, origin: Origin, used: Option<Hlc>) -> Result<(), Violation> {
    match used {
        None => Ok(()),
        Some(last) => Err(Violation::new(
            "origins are unique",
            format!("n{node} opens {slot:?} as {origin:?}, which was used before, up to {last:?}"),
        )),
    }
}

/// A version was given out; `last` is the one before it of the same origin.
pub fn dots_rise(node: usize, slot: Slot, dot: Dot, prev: Hlc, last: Option<Hlc>) -> Result<(), Violation> {
    match last {
        Some(last) if last == prev && last < dot.hlc => Ok(()),
        _ => Err(Violation::new(
            "versions rise",
            format!("n{node} {slot:?}: {dot:?} builds on {prev:?}, the last one was {last:?}"),
        )),
    }
}
