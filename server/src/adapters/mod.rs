//! Between the client side of a node and its other parts.
//!
//! Commands ask for settings, texts and counters by the traits of [`services`](crate::services) and know nothing behind
//! them; configuration, metrics and store in turn know nothing of commands. Here, and only here, both are known.
//!
//! | trait | behind it |
//! |---|---|
//! | [`Settings`](crate::services::Settings) | [`NodeSettings`]: the configuration, and what was changed since the start |
//! | [`Information`](crate::services::Information), [`Status`](crate::admin::Status) | [`NodeInformation`]: figures of every part, put together when asked |
//! | [`Statistics`](crate::services::Statistics) | [`Metrics`](crate::metrics::Metrics) itself |

mod information;
mod lanes;
mod settings;
mod statistics;

#[cfg(test)]
mod tests;

pub use information::{Lanes, NodeInformation, Sources};
pub use lanes::PeerLanes;
pub use settings::NodeSettings;
