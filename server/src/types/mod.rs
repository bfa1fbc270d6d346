//! What values are: their kinds, their texts as numbers, the patterns that keys are matched with.
//!
//! # Merging
//!
//! A string is one register: of two versions the later dot stays, and its deadline belongs to the value. Kinds whose
//! parts merge one by one (hashes, sets) will bring rules of their own; nothing here knows about dots.

mod extended;
mod glob;
mod integer;
mod value;

pub use extended::{Extended, Parsed};
pub use glob::{Glob, TooComplex};
pub use integer::{IntegerText, parse_integer};
pub use value::{Kind, MAX_STRING_BYTES, Value};
