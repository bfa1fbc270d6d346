//! Peers that are refused, said once a minute each.
//!
//! A peer that does not fit tries again twice a second, and for ever: the log would be about nothing else.

use std::collections::BTreeMap;

/// The same is said again only after so long.
const QUIET_MS: u64 = 60_000;

/// So many are remembered. Beyond that nothing is said until one of them may be said again: whoever comes from so many
/// addresses wants to fill the log.
const MOST: usize = 256;

/// What was said lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// From when on it may be said again, and how often it was not said.
    told: BTreeMap<String, (u64, u64)>,
}

impl Refusals {
    /// Whether a refusal of this peer, for this reason, is to be said; if so, how often it was not said since the last
    /// time. A peer that dials comes from another port each time, so that only its host counts.
    pub(super) fn is_to_be_told(&mut self, address: &str, why: &str, now_ms: u64) -> Option<u64> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let what = format!("{host} {why}");
        if let Some((again_ms, unsaid)) = self.told.get_mut(&what) {
            if now_ms < *again_ms {
                *unsaid += 1;
                return None;
            }
            let unsaid = std::mem::take(unsaid);
            self.told.insert(what, (now_ms + QUIET_MS, 0));
            return Some(unsaid);
        }
        if self.told.len() >= MOST {
            self.told.retain(|_, (again_ms, _)| now_ms < *again_ms);
        }
        if self.told.len() >= MOST {
            return None;
        }
        self.told.insert(what, (now_ms + QUIET_MS, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.is_to_be_told("10.0.0.1:4000", "is of cluster b", 0), Some(0));
        assert_eq!(refusals.is_to_be_told("10.0.0.1:4001", "is of cluster b", 500), None);
        assert_eq!(refusals.is_to_be_told("10.0.0.1:4002", "has no secret", 500), Some(0));
        assert_eq!(refusals.is_to_be_told("10.0.0.2:4000", "is of cluster b", 500), Some(0));
        assert_eq!(refusals.is_to_be_told("10.0.0.1:4003", "is of cluster b", QUIET_MS), Some(1));
        assert_eq!(refusals.is_to_be_told("10.0.0.1:4003", "is of cluster b", QUIET_MS + 1), None);
    }

    #[test]
    fn who_comes_from_everywhere_does_not_fill_the_log() {
        let mut refusals = Refusals::default();
        let mut said = |now_ms| {
            let peers = (0..2 * MOST).map(|number| format!("10.0.{number}:1"));
            peers.filter(|peer| refusals.is_to_be_told(peer, "is of cluster b", now_ms).is_some()).count()
        };
        assert_eq!((said(0), said(1), said(QUIET_MS)), (MOST, 0, MOST));
    }
}
