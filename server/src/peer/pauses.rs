//! Boots of peers that said what no peer says, and that are not met again at once.
//!
//! Whatever made such a session break will most likely break the next one as well. Without a pause two nodes met and
//! parted twenty times a second, for as long as both ran.

use std::collections::HashMap;

use parking_lot::Mutex;
use ring::id::NodeId;

/// The first pause is that of a member that is dialled again; each further one is twice as long.
const FIRST_MS: u64 = 300;
/// Well below the time after which a member that nobody reaches is given up.
const LONGEST_MS: u64 = 5_000;
/// After so long without another one the next pause is a first one.
const FORGIVEN_MS: u64 = 60_000;

/// A node, and the name of its boot: one that was started again begins anew.
pub(super) type Whom = (NodeId, [u8; 16]);

/// Who is not met again yet.
#[derive(Default)]
pub(super) struct Pauses(Mutex<HashMap<Whom, Pause>>);

#[derive(Clone, Copy)]
struct Pause {
    until_ms: u64,
    length_ms: u64,
}

impl Pauses {
    /// Begins a pause. Only who proved itself has a session that could break, so there are as many as peers.
    pub(super) fn begin(&self, whom: Whom, now_ms: u64) {
        let mut pauses = self.0.lock();
        pauses.retain(|_, pause| now_ms < pause.until_ms + FORGIVEN_MS);
        let length_ms = pauses.get(&whom).map_or(FIRST_MS, |pause| (2 * pause.length_ms).min(LONGEST_MS));
        pauses.insert(whom, Pause { until_ms: now_ms + length_ms, length_ms });
    }

    /// Whether one holds on.
    pub(super) fn holds(&self, whom: &Whom, now_ms: u64) -> bool {
        self.0.lock().get(whom).is_some_and(|pause| now_ms < pause.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_become_longer_until_a_boot_has_behaved_for_a_while() {
        let (pauses, whom) = (Pauses::default(), (NodeId::from_seed(1), [1; 16]));
        let mut now_ms = 0;
        let mut lengths = Vec::new();
        for _ in 0..7 {
            let start_ms = now_ms;
            pauses.begin(whom, now_ms);
            while pauses.holds(&whom, now_ms) {
                now_ms += 100;
            }
            lengths.push(now_ms - start_ms);
        }
        assert_eq!(lengths, [300, 600, 1200, 2400, 4800, 5000, 5000]);
        assert!(!pauses.holds(&(whom.0, [2; 16]), 0), "another boot is met");
        now_ms += FORGIVEN_MS;
        pauses.begin(whom, now_ms);
        assert!(pauses.holds(&whom, now_ms + 299) && !pauses.holds(&whom, now_ms + 300));
    }
}
