//! The Redis protocol: bytes to [`Request`], [`Reply`] to bytes, in both versions.
//!
//! Requests are read by a scanner of our own that keeps its place over a partial read and refuses a frame that is
//! too large before it keeps anything of it. Replies are values; only this module knows how they look on the wire.

mod elements;
mod encode;
mod inline;
mod number;
mod output;
mod pieces;
mod reply;
mod request;
mod scanner;

pub(crate) use elements::array_elements;
pub use output::Output;
pub use pieces::Pieces;
pub use reply::{Protocol, Reply};
pub(crate) use request::encode as encode_request;
pub use request::{OwnedRequest, Request, Span};
pub use scanner::{Limits, MAX_LINE_BYTES, ProtocolError, Scanned, Scanner};
