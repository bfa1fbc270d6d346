//! Boots of one node: which incarnation to take, and what to do on hearing of oneself.
//!
//! A node's identity can be in the world twice. Usually the other one is a former boot of the same node, long dead,
//! whose facts still go round; sometimes it is a second process that was started with the same identity, a copied
//! data directory for example. Facts look the same in both cases. What tells them apart is whether somebody holds a
//! *live session* with the other boot, so that is an argument here.
//!
//! A dead former boot is outbid: the node goes on under a higher incarnation. Of two live ones the younger gives way,
//! and ends with an error before it has served anything. "Younger" is not left to the clocks alone: a boot that no
//! member has welcomed yet is younger than one that is at work, whatever its clock says. Only where both are at work,
//! which takes a partition that heals, the higher incarnation gives way.

use crate::id::Incarnation;

/// A live boot of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Boot {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Whether it is at work: some member welcomed it, or it opened the ring alone.
    pub at_work: bool,
}

/// What a node does that heard of facts of its own that it did not write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// They are of a former boot and outbid already.
    Ignore,
    /// They are of a dead boot and would win: go on under this incarnation.
    Raise(Incarnation),
    /// Another boot lives and is younger: it will give way, this one stays.
    Stay,
    /// Another boot lives and this one is the younger, or nobody can tell: this one must end.
    GiveWay,
}

/// The incarnation of a new boot: its time, and above every incarnation of this node heard of.
pub fn incarnation(now_unix_ms: u64, highest_heard: Option<Incarnation>) -> Incarnation {
    let above = highest_heard.map_or(0, |heard| heard.0 + 1);
    Incarnation(now_unix_ms.max(above)).min(Incarnation::MAX)
}

/// What to do on hearing of facts of this node under the incarnation `heard`. `other` is the live boot that somebody
/// holds a session with, if anybody does.
pub fn heard_of_myself(me: Boot, heard: Incarnation, other: Option<Boot>) -> Answer {
    match other {
        Some(other) => meet(me, other),
        None if heard < me.incarnation => Answer::Ignore,
        None if heard >= Incarnation::MAX => Answer::GiveWay,
        None => Answer::Raise(Incarnation(heard.0 + 1)),
    }
}

fn meet(me: Boot, other: Boot) -> Answer {
    // The older one first: at work before not at work, then the lower incarnation.
    let age = |boot: Boot| (!boot.at_work, boot.incarnation);
    if age(me) < age(other) { Answer::Stay } else { Answer::GiveWay }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(incarnation: u64, at_work: bool) -> Boot {
        Boot { incarnation: Incarnation(incarnation), at_work }
    }

    #[test]
    fn a_boot_is_above_its_former_ones_even_if_the_clock_went_back() {
        assert_eq!(incarnation(500, None), Incarnation(500));
        assert_eq!(incarnation(500, Some(Incarnation(400))), Incarnation(500));
        assert_eq!(incarnation(500, Some(Incarnation(900))), Incarnation(901));
    }

    #[test]
    fn a_dead_former_boot_is_outbid() {
        let check = |heard, verdict| assert_eq!(heard_of_myself(boot(5, true), Incarnation(heard), None), verdict);
        check(4, Answer::Ignore);
        check(5, Answer::Raise(Incarnation(6)));
        check(9, Answer::Raise(Incarnation(10)));
        check(Incarnation::MAX.0, Answer::GiveWay);
    }

    #[test]
    fn of_two_live_boots_exactly_the_younger_gives_way() {
        let check = |older: Boot, younger: Boot| {
            assert_eq!(heard_of_myself(older, younger.incarnation, Some(younger)), Answer::Stay);
            assert_eq!(heard_of_myself(younger, older.incarnation, Some(older)), Answer::GiveWay);
        };
        check(boot(5, true), boot(9, false));
        check(boot(9, true), boot(5, false));
        check(boot(5, true), boot(9, true));
        check(boot(5, false), boot(9, false));
    }

    #[test]
    fn two_boots_that_nothing_tells_apart_both_give_way() {
        let twin = boot(5, true);
        assert_eq!(heard_of_myself(twin, twin.incarnation, Some(twin)), Answer::GiveWay);
    }
}
