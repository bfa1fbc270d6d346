//! What values are: their kinds, their texts as numbers, the patterns that keys are matched with; and the policies by
//! which they go when memory is short.
//!
//! # Merging
//!
//! A string is one register: of two versions the later dot stays, and its deadline belongs to the value. Kinds whose
//! parts merge one by one (hashes, sets) will bring rules of their own; nothing here knows about dots.

mod crc64;
mod database;
mod extended;
mod glob;
mod integer;
mod lcs;
mod lzf;
pub mod payload;
mod policy;
mod value;

pub use database::{DATABASES, Database, Name};
pub use extended::{Extended, Parsed};
pub use glob::{Budget, Glob, TooComplex};
pub use integer::{IntegerText, parse_cursor, parse_integer};
pub use lcs::{Stretch, common_length, common_stretches};
pub use policy::{Order, Policy, Tuning};
pub use value::{Kind, MAX_STRING_BYTES, Value};
