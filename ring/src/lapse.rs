//! Lapse: for how long a node acts without having looked around.
//!
//! A node that stood still, because its process was stopped or its processor was wanted elsewhere, goes on as if nothing
//! had happened. Its peers may have given it up meanwhile, and others act for its slots. So what it is allowed to do
//! ends by itself: it acts until [`Config::lapse_ms`] after it last looked around, which is less than the silence after
//! which peers suspect it. A node that comes to look later than that is in doubt and executes nothing, until it knows
//! where it stands.
//!
//! No slot has to be contested for that. Every heartbeat carries a number and names the latest one of the receiver's
//! own that has been taken in. A peer that names one that was said after the stall, in the session that there was
//! before, has not given this node up; and if some other node asked it for a slot, it said so earlier on the same
//! stream, which keeps its order. When all have answered like that nothing has changed, and the node acts on.
//!
//! A peer whose session ended may have acted in this node's place. Then acting has lapsed: the node acts for nothing
//! any more, waits until every member is in session and has said what it acts for, and acquires like any other. Whoever
//! is not there after [`Config::patience_looks`] is as far as one behind a broken link, and is treated as one.
//!
//! Leases (Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency",
//! SOSP 1989) are granted by others for a time. Here nobody grants anything: the time is only the one that peers wait in
//! any case, and clocks are never compared between nodes, only their pace over half a second.
//!
//! A link that is cut is no stall. As long as the policy for partitions is to be available both sides of it go on. Where
//! it is that the majority goes on, a node acts until [`Config::lapse_ms`] after it *said* the latest heartbeat that a
//! majority has answered, itself included. Whoever takes over from it has a majority as well, so a node that has heard
//! that heartbeat is among those, and none of them takes this node for gone before [`crate::suspicion`] lets it.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use crate::id::NodeId;

/// How long a node goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// For so long after the last look a node acts. Must be less than [`crate::suspicion::Config::suspect_ms`] by more
    /// than a heartbeat takes.
    pub lapse_ms: u64,
    /// So many looks a node in doubt waits for those who do not answer. At one look a heartbeat it is the time after
    /// which they would be suspected.
    pub patience_looks: u32,
    /// So long after more nodes than before are asked for the former number is enough.
    pub meet_ms: u64,
}

/// So many heartbeats are remembered with their time: an answer to an earlier one is worth nothing in any case.
const REMEMBERED: usize = 64;

impl Default for Config {
    fn default() -> Config {
        Config { lapse_ms: 350, patience_looks: 10, meet_ms: 1_000 }
    }
}

/// How a doubt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nobody has given this node up: it acts on.
    Unchanged,
    /// Somebody may have: it has to acquire what it acts for.
    Lapsed,
}

/// Whether a node may act on.
#[derive(Debug)]
pub struct Lapse {
    config: Config,
    looked_ms: u64,
    /// The number of the last heartbeat that was said, and when it and those before it were.
    said: u64,
    said_ms: VecDeque<u64>,
    /// Who is in session, and what it has heard in this session.
    answered: BTreeMap<NodeId, Answered>,
    /// The other members, as of the last look.
    members: BTreeSet<NodeId>,
    /// So many nodes, this one included, have to have heard it lately; and from a later time on more.
    quorum: usize,
    rising: Option<(usize, u64)>,
    doubt: Option<Doubt>,
}

/// What a peer has heard.
#[derive(Clone, Copy, Debug)]
struct Answered {
    /// The latest heartbeat that it has taken in, 0 for none.
    number: u64,
    /// When that was said, 0 for never: who has just met this node does not speak for it yet.
    said_ms: u64,
}

#[derive(Debug)]
struct Doubt {
    /// Heartbeats from this number on were said after the stall.
    from: u64,
    looks: u32,
    /// Members that were out of session before: nothing has changed about them.
    absent: BTreeSet<NodeId>,
    /// A session ended.
    lapsed: bool,
}

impl Lapse {
    /// A node that knows nobody.
    pub fn new(config: Config, now_ms: u64) -> Lapse {
        let (said_ms, answered, members) = Default::default();
        Lapse { config, looked_ms: now_ms, said: 0, said_ms, answered, members, quorum: 1, rising: None, doubt: None }
    }

    /// A session with this node has begun.
    pub fn met(&mut self, peer: NodeId, now_ms: u64) {
        self.pass(now_ms);
        self.answered.insert(peer, Answered { number: 0, said_ms: 0 });
    }

    /// The session with this node is over.
    pub fn lost(&mut self, peer: NodeId, now_ms: u64) {
        self.pass(now_ms);
        let was_in_session = self.answered.remove(&peer).is_some();
        if let Some(doubt) = &mut self.doubt {
            doubt.lapsed |= was_in_session;
        }
    }

    /// A peer in session has taken in our heartbeat of this number, and we have taken in what it said before it told so.
    pub fn answered(&mut self, peer: NodeId, number: u64, now_ms: u64) {
        self.pass(now_ms);
        // A number that was never said is no answer.
        let Some(age) = self.said.checked_sub(number) else { return };
        let said_ms = self.said_ms.get(age as usize).copied();
        if let (Some(answered), Some(said_ms)) = (self.answered.get_mut(&peer), said_ms) {
            answered.number = number.max(answered.number);
            answered.said_ms = said_ms.max(answered.said_ms);
        }
    }

    /// The node looks around: these are the others that may act, in session or not, and so many nodes, this one included,
    /// have to have heard it lately. The number of the heartbeat that it says next.
    pub fn look(&mut self, members: impl IntoIterator<Item = NodeId>, quorum: usize, now_ms: u64) -> u64 {
        self.pass(now_ms);
        self.looked_ms = self.looked_ms.max(now_ms);
        self.members = members.into_iter().collect();
        self.raise_quorum(quorum, now_ms);
        let is_cut_off = self.lacks_quorum();
        if let Some(doubt) = &mut self.doubt {
            // Patience with those who come back begins when enough of them have.
            doubt.looks = if is_cut_off { 0 } else { doubt.looks + 1 };
            // Whoever has not answered by now may have given this node up.
            doubt.lapsed |= is_cut_off || doubt.looks > self.config.patience_looks;
        }
        self.said += 1;
        self.said_ms.push_front(now_ms);
        self.said_ms.truncate(REMEMBERED);
        self.said
    }

    /// Who has joined counts when everybody has had the time to meet it; who has left does at once, and so do all whom a
    /// node meets that was alone.
    fn raise_quorum(&mut self, quorum: usize, now_ms: u64) {
        if quorum <= self.quorum || self.quorum == 1 {
            (self.quorum, self.rising) = (quorum, None);
            return;
        }
        let (_, since_ms) = *self.rising.get_or_insert((quorum, now_ms));
        self.rising = Some((quorum, since_ms));
        if now_ms >= since_ms + self.config.meet_ms {
            (self.quorum, self.rising) = (quorum, None);
        }
    }

    /// Ends the doubt if there is no reason for it any more; how it ended. Linear in the number of members.
    pub fn settle(&mut self) -> Option<Found> {
        let doubt = self.doubt.as_ref()?;
        let has_answered = |answered: &Answered| answered.number >= doubt.from;
        let all_met = self.members.iter().all(|id| self.answered.contains_key(id) || doubt.absent.contains(id));
        let is_patient = doubt.looks <= self.config.patience_looks;
        let is_over = all_met && self.answered.values().all(has_answered) || !is_patient;
        let heard = self.answered.iter().filter(|(id, answered)| self.members.contains(id) && has_answered(answered));
        let has_quorum = heard.count() + 1 >= self.quorum;
        let lapsed = doubt.lapsed;
        (is_over && has_quorum).then(|| {
            self.doubt = None;
            if lapsed { Found::Lapsed } else { Found::Unchanged }
        })
    }

    /// Whether the node does not know where it stands, and somebody may have given it up.
    pub fn has_lapsed(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.lapsed)
    }

    /// Whether the node is in doubt, and too few others are in session to end it.
    pub fn lacks_quorum(&self) -> bool {
        let in_session = self.answered.keys().filter(|id| self.members.contains(id)).count();
        self.doubt.is_some() && in_session + 1 < self.quorum
    }

    /// Until when the node may act, on the clock of all calls: for ever if there is nobody else, and not at all, none,
    /// in doubt.
    pub fn acts_until_ms(&self) -> Option<u64> {
        match self.doubt {
            Some(_) => None,
            None => Some(self.may_act_until_ms()),
        }
    }

    fn may_act_until_ms(&self) -> u64 {
        if self.is_alone() {
            return u64::MAX;
        }
        let members = self.answered.iter().filter(|(id, _)| self.members.contains(id));
        let mut others: Vec<u64> = members.map(|(_, answered)| answered.said_ms).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let heard_ms = match self.quorum {
            0 | 1 => self.looked_ms,
            // The node itself is one of them; of the others the last that is needed counts.
            quorum => others.get(quorum - 2).map_or(0, |&said_ms| said_ms.min(self.looked_ms)),
        };
        heard_ms + self.config.lapse_ms
    }

    fn is_alone(&self) -> bool {
        self.answered.is_empty() && self.members.is_empty() && self.quorum <= 1
    }

    /// It is this time now. Every event says so first, since after a stall any of them may come first.
    fn pass(&mut self, now_ms: u64) {
        let is_stall = now_ms > self.looked_ms + self.config.lapse_ms;
        if is_stall || self.is_alone() {
            // Once for each stall, however many events it is before the next look.
            self.looked_ms = self.looked_ms.max(now_ms);
        }
        // Without a quorum the doubt goes on; it does not begin anew.
        let is_cut_off = self.doubt.is_none() && now_ms > self.may_act_until_ms();
        if self.is_alone() || !(is_stall || is_cut_off) {
            return;
        }
        let absent = self.members.iter().filter(|id| !self.answered.contains_key(id)).copied().collect();
        let before = self.doubt.take();
        self.doubt = Some(Doubt {
            from: self.said + 1,
            looks: 0,
            absent: before.as_ref().map_or(absent, |before| before.absent.clone()),
            lapsed: before.is_some_and(|before| before.lapsed),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(number: u8) -> NodeId {
        NodeId::from_bytes([number; 20])
    }

    fn peers() -> [NodeId; 2] {
        [peer(1), peer(2)]
    }

    /// A node in session with peers 1 and 2 since time 0, which has looked around at time 50.
    fn in_session() -> Lapse {
        let mut lapse = Lapse::new(Config::default(), 0);
        peers().into_iter().for_each(|peer| lapse.met(peer, 0));
        assert_eq!(lapse.look(peers(), 1, 50), 1);
        lapse
    }

    #[test]
    fn a_node_that_looks_around_acts_on() {
        let mut lapse = in_session();
        for now_ms in (100..2_000).step_by(100) {
            lapse.look(peers(), 1, now_ms);
            assert_eq!((lapse.acts_until_ms(), lapse.settle()), (Some(now_ms + 350), None));
        }
    }

    #[test]
    fn a_node_that_is_alone_acts_for_ever() {
        let mut lapse = Lapse::new(Config::default(), 0);
        lapse.look([], 1, 10_000);
        assert_eq!(lapse.acts_until_ms(), Some(u64::MAX));
        lapse.met(peer(1), 20_000);
        assert_eq!(lapse.acts_until_ms(), Some(20_350), "not alone any more");
    }

    #[test]
    fn answers_to_what_was_said_after_a_stall_end_the_doubt() {
        let mut lapse = in_session();
        let number = lapse.look(peers(), 1, 10_000);
        assert_eq!((lapse.acts_until_ms(), lapse.settle()), (None, None));
        lapse.answered(peer(1), number, 10_010);
        // What was said before the stall says nothing, nor does a number that was never said.
        lapse.answered(peer(2), number - 1, 10_010);
        lapse.answered(peer(2), number + 1, 10_010);
        assert_eq!((lapse.settle(), lapse.has_lapsed()), (None, false));
        lapse.answered(peer(2), number, 10_020);
        assert_eq!(lapse.settle(), Some(Found::Unchanged));
        assert_eq!(lapse.acts_until_ms(), Some(10_350));
    }

    #[test]
    fn a_session_that_ended_meanwhile_is_waited_for_and_has_lapsed() {
        for first_is_the_end in [false, true] {
            let mut lapse = in_session();
            if first_is_the_end {
                lapse.lost(peer(1), 10_000);
                lapse.look(peers(), 1, 10_000);
            } else {
                lapse.look(peers(), 1, 10_000);
                lapse.lost(peer(1), 10_000);
            }
            assert!(lapse.has_lapsed());
            let number = lapse.look(peers(), 1, 10_050);
            lapse.answered(peer(2), number, 10_060);
            assert_eq!(lapse.settle(), None, "peer 1 is a member");
            lapse.met(peer(1), 10_070);
            assert_eq!(lapse.settle(), None, "and has not answered yet");
            lapse.answered(peer(1), number, 10_080);
            assert_eq!(lapse.settle(), Some(Found::Lapsed));
        }
    }

    #[test]
    fn a_session_that_ends_while_the_node_looks_around_is_no_lapse() {
        let mut lapse = in_session();
        lapse.lost(peer(1), 100);
        lapse.look(peers(), 1, 150);
        assert_eq!((lapse.has_lapsed(), lapse.acts_until_ms()), (false, Some(500)));
    }

    #[test]
    fn who_was_away_before_is_not_waited_for_and_who_joined_meanwhile_is() {
        let mut lapse = in_session();
        lapse.lost(peer(2), 60);
        lapse.look(peers(), 1, 100);
        let number = lapse.look(peers(), 1, 10_000);
        lapse.look([peer(1), peer(2), peer(3)], 1, 10_050);
        lapse.answered(peer(1), number, 10_060);
        assert_eq!(lapse.settle(), None, "peer 3 is new");
        lapse.met(peer(3), 10_070);
        lapse.answered(peer(3), number, 10_080);
        assert_eq!(lapse.settle(), Some(Found::Unchanged));
    }

    #[test]
    fn nobody_is_waited_for_for_ever() {
        let mut lapse = in_session();
        lapse.lost(peer(1), 10_000);
        let looks = (0..).map(|look| 10_000 + 50 * look).take_while(|&now_ms| {
            lapse.look(peers(), 1, now_ms);
            lapse.settle().is_none()
        });
        assert_eq!(looks.count(), 10);
    }

    #[test]
    fn a_second_stall_in_doubt_begins_it_anew_and_forgets_nothing() {
        let mut lapse = in_session();
        lapse.lost(peer(1), 10_000);
        let early = lapse.look([peer(2)], 1, 10_000);
        lapse.look([peer(2)], 1, 20_000);
        lapse.answered(peer(2), early, 20_010);
        assert_eq!(lapse.settle(), None);
        let late = lapse.look([peer(2)], 1, 20_050);
        lapse.answered(peer(2), late, 20_060);
        assert_eq!(lapse.settle(), Some(Found::Lapsed));
    }

    /// A node in session with peers 1 to 4, of which with itself three are a majority.
    fn one_of_five() -> Lapse {
        let mut lapse = Lapse::new(Config::default(), 0);
        (1..5).for_each(|number| lapse.met(peer(number), 0));
        assert_eq!(lapse.look((1..5).map(peer), 3, 0), 1);
        lapse
    }

    #[test]
    fn of_a_majority_a_node_acts_by_the_time_of_what_that_has_heard() {
        let mut lapse = one_of_five();
        for now_ms in (50..=300).step_by(50) {
            let number = lapse.look((1..5).map(peer), 3, now_ms);
            lapse.answered(peer(1), number, now_ms);
            // One of the others only, and late.
            lapse.answered(peer(2), number - 2, now_ms);
        }
        assert_eq!(lapse.acts_until_ms(), Some(200 + 350));
        lapse.look((1..5).map(peer), 3, 550);
        assert_eq!(lapse.acts_until_ms(), Some(550));
        let number = lapse.look((1..5).map(peer), 3, 551);
        assert_eq!((lapse.acts_until_ms(), lapse.lacks_quorum()), (None, false));
        (1..5).for_each(|other| lapse.answered(peer(other), number, 560));
        assert_eq!((lapse.settle(), lapse.acts_until_ms()), (Some(Found::Unchanged), Some(551 + 350)));
    }

    #[test]
    fn who_is_cut_off_from_the_majority_acts_no_more_until_it_is_back() {
        let mut lapse = one_of_five();
        let cut = [2, 3, 4];
        for now_ms in (50..60_000).step_by(50) {
            let number = lapse.look((1..5).map(peer), 3, now_ms);
            lapse.answered(peer(1), number, now_ms);
            if now_ms == 500 {
                cut.iter().for_each(|&other| lapse.lost(peer(other), now_ms));
            }
            assert_eq!(lapse.settle(), None);
            assert_eq!(lapse.acts_until_ms().is_some(), now_ms <= 350, "at {now_ms} ms");
            assert_eq!(lapse.lacks_quorum(), now_ms >= 500, "at {now_ms} ms");
            assert_eq!(lapse.has_lapsed(), now_ms >= 500, "at {now_ms} ms");
        }
        lapse.met(peer(2), 60_000);
        let number = lapse.look((1..5).map(peer), 3, 60_000);
        lapse.answered(peer(1), number, 60_010);
        lapse.answered(peer(2), number, 60_010);
        assert_eq!(lapse.settle(), None, "the two others are given time to come back too");
        let (mut now_ms, mut found) = (60_000, None);
        while found.is_none() {
            now_ms += 50;
            let number = lapse.look((1..5).map(peer), 3, now_ms);
            [1, 2].iter().for_each(|&other| lapse.answered(peer(other), number, now_ms));
            found = lapse.settle();
        }
        assert_eq!((now_ms, found, lapse.acts_until_ms()), (60_500, Some(Found::Lapsed), Some(60_850)));
    }

    #[test]
    fn a_majority_counts_members_only() {
        let members = || (1..5).map(peer);
        let mut lapse = Lapse::new(Config::default(), 0);
        lapse.met(peer(1), 0);
        lapse.met(peer(9), 0);
        for now_ms in (0..=400).step_by(50) {
            let number = lapse.look(members(), 3, now_ms);
            lapse.answered(peer(1), number, now_ms);
            lapse.answered(peer(9), number, now_ms);
        }
        assert_eq!((lapse.acts_until_ms(), lapse.lacks_quorum()), (None, true));
    }

    #[test]
    fn a_node_that_a_majority_is_asked_of_does_not_act_alone() {
        let mut lapse = Lapse::new(Config::default(), 0);
        lapse.look([peer(1)], 2, 10_000);
        lapse.look([peer(1)], 2, 10_050);
        assert_eq!((lapse.acts_until_ms(), lapse.lacks_quorum()), (None, true));
        // The other one is forgotten; nobody is left to be waited for.
        lapse.look([], 1, 10_100);
        assert_eq!(lapse.settle(), Some(Found::Lapsed));
        assert_eq!(lapse.acts_until_ms(), Some(u64::MAX));
    }

    #[test]
    fn who_joins_counts_when_it_can_have_been_met() {
        let mut lapse = one_of_five();
        let look = |lapse: &mut Lapse, members: u8, quorum, now_ms| {
            let number = lapse.look((1..members).map(peer), quorum, now_ms);
            (1..5).for_each(|other| lapse.answered(peer(other), number, now_ms));
            (lapse.acts_until_ms() == Some(now_ms + 350), lapse.lacks_quorum())
        };
        // Six more that are told of and not met yet.
        for now_ms in (50..1_050).step_by(50) {
            assert_eq!(look(&mut lapse, 11, 6, now_ms), (true, false), "at {now_ms} ms");
        }
        assert!(!look(&mut lapse, 11, 6, 1_050).0);
        assert_eq!(look(&mut lapse, 11, 6, 1_500), (false, true));
    }

    proptest! {
        /// Whatever happens in whatever order: a node acts for 350 ms after a look, not at all from a stall until everybody
        /// in session has answered what was said after it, or eleven looks have passed.
        #[test]
        fn who_acts_has_looked_around(events in prop::collection::vec((0u8..4, 1u8..4, 0u64..400), 1..80)) {
            let mut lapse = in_session();
            let (mut now_ms, mut looked_ms, mut said) = (50u64, 50u64, 1);
            let mut answers = BTreeMap::from([(1u8, 0), (2, 0)]);
            let mut doubt = None::<(u64, u32)>;
            for (what, who, pause_ms) in events {
                now_ms += pause_ms;
                if now_ms > looked_ms + 350 {
                    (looked_ms, doubt) = (now_ms, Some((said + 1, 0)));
                }
                match what {
                    0 => {
                        lapse.met(peer(who), now_ms);
                        answers.insert(who, 0);
                    }
                    1 => {
                        lapse.lost(peer(who), now_ms);
                        answers.remove(&who);
                    }
                    2 => {
                        lapse.answered(peer(who), said, now_ms);
                        answers.entry(who).and_modify(|number| *number = said);
                    }
                    _ => {
                        said = lapse.look(peers(), 1, now_ms);
                        looked_ms = now_ms;
                        doubt = doubt.map(|(from, looks)| (from, looks + 1));
                    }
                }
                if lapse.settle().is_some() {
                    let (from, looks) = doubt.take().expect("only a doubt ends");
                    prop_assert!(looks > 10 || answers.values().all(|&number| number >= from));
                }
                prop_assert_eq!(lapse.acts_until_ms(), doubt.is_none().then_some(looked_ms + 350));
            }
        }
    }
}
