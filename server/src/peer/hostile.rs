//! What a stranger says first, for the fuzz targets.

use prost::Message;

use super::{greeting::Greeting, wire};

/// The time of the node that is greeted.
const NOW_MS: u64 = 1_800_000_000_000;

/// A greeting as it comes from a connection that has proved nothing yet.
pub(crate) fn greeting(body: &[u8]) {
    if let Ok(hello) = wire::Hello::decode(body)
        && let Ok(greeting) = Greeting::from_wire(hello)
    {
        assert!(!greeting.transcript().is_empty() && greeting.check().is_ok());
        // A node that is as the stranger says, but for the time: both must come to the same.
        let ours = Greeting { version_ms: NOW_MS, latest_ms: NOW_MS, ..greeting.clone() };
        let (here, there) = (ours.agrees_with(&greeting), greeting.agrees_with(&ours));
        assert_eq!(here.is_ok(), there.is_ok());
        assert!(here.err().is_none_or(|why| why.is_about_clocks() && !why.to_string().is_empty()));
    }
}
