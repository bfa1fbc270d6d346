//! What this node does about having stood still, or being cut off from the majority: see [`ring::lapse`].
//!
//! The store executes commands only until a time that is put off with every look around. When the looks come too late
//! the commands that wait find the time over, on whatever thread they are, before anybody here has noticed.

use ring::{control::Input, id::NodeId, lapse::Found, member::Partition};

use super::Task;

impl Task {
    /// Looks around; the number of the next heartbeat.
    pub(super) fn look_around(&mut self) -> u64 {
        let me = self.me;
        let live = self.gossip.view().members().iter().filter(|member| member.standing().is_live());
        let others: Vec<NodeId> = live.map(|member| member.id).filter(|&id| id != me).collect();
        let quorum = match self.partition {
            Partition::Available => 1,
            Partition::Majority => self.gossip.view().majority(),
        };
        self.lapse.look(others, quorum, self.now_ms())
    }

    /// Says how long this node may act, and what has become of what it acted for.
    pub(super) fn weigh_standstill(&mut self) {
        if self.lapse.has_lapsed() && !self.is_lapsed {
            tracing::warn!("others may act in this node's place: it acts for nothing until it has heard who does");
            self.is_lapsed = true;
            self.life.lapsed();
            self.machine.handle(Input::Lapsed(true), &mut self.copies);
        }
        if self.routes.set_down(self.lapse.lacks_quorum()) {
            match self.routes.is_down() {
                true => tracing::warn!("cut off from the majority of the members: nothing is served here"),
                false => tracing::info!("in reach of the majority of the members again"),
            }
            // Whoever reaches this node would send commands here, and wait for others to stop reaching it.
            self.gossip.withhold(self.routes.is_down());
            self.routes.announce();
        }
        if self.lapse.settle() == Some(Found::Lapsed) {
            self.is_lapsed = false;
            self.machine.handle(Input::Lapsed(false), &mut self.copies);
        }
        // What passes between the two readings is taken off.
        let (version_ms, now_ms) = (self.clock.version_ms(), self.now_ms());
        let until_ms = self.lapse.acts_until_ms().map_or(0, |until_ms| as_version_time(until_ms, now_ms, version_ms));
        let before_ms = self.store.act_until(until_ms);
        if until_ms > 0 && before_ms <= self.clock.version_ms() {
            // Commands that were put off wait for a word.
            self.routes.announce();
        }
    }
}

/// A time on the clock of the control task, on that of versions: both pass alike. 0 if it is over: this task may have stood
/// still itself since it last looked, and the millisecond that has begun does not belong to this node any more.
fn as_version_time(until_ms: u64, now_ms: u64, version_ms: u64) -> u64 {
    match until_ms.saturating_sub(now_ms) {
        0 => 0,
        left_ms => version_ms.saturating_add(left_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_over_at_once() {
        assert_eq!(as_version_time(1_350, 1_000, 9_000), 9_350);
        assert_eq!(as_version_time(1_350, 1_349, 9_000), 9_001);
        assert_eq!([1_350, 1_351, 5_000].map(|now_ms| as_version_time(1_350, now_ms, 9_000)), [0; 3]);
        assert_eq!(as_version_time(u64::MAX, 1_000, 9_000), u64::MAX);
    }
}
