//! Aimed losses: a link breaks with a certain message, so that each step of each conversation is lost.
//!
//! Where links break at random steps a message is lost only if it is on its way just then, and the rarer ones hardly
//! ever.

use fastrand::Rng;
use ring::control::Body;

use super::{
    network::Packet,
    world::{Planned, World, note},
};

/// How many kinds of packets there are to aim at.
const KINDS: u8 = 22;

/// When the link breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    /// The message is sent, and lost with what is on its way.
    Sent,
    /// It arrives, and is lost; what was sent before it has arrived.
    Arrives,
    /// It is taken in, and what it is answered with is lost.
    Answered,
    /// It is taken in, and with it another link of the receiver breaks: that of a third one, who has a part in it perhaps.
    Elsewhere,
}

const MOMENTS: [Moment; 4] = [Moment::Sent, Moment::Arrives, Moment::Answered, Moment::Elsewhere];

/// Breaks the link with every so many messages of a kind.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    kind: u8,
    moment: Moment,
    every: usize,
    met: usize,
}

impl Aim {
    pub(super) fn draw(random: &mut Rng) -> Aim {
        let moment = MOMENTS[random.usize(0..MOMENTS.len())];
        Aim { kind: random.u8(0..KINDS), moment, every: random.usize(1..7), met: 0 }
    }

    fn hits(&mut self, kind: u8, moment: Moment) -> bool {
        if (self.kind, self.moment) != (kind, moment) {
            return false;
        }
        self.met += 1;
        self.met.is_multiple_of(self.every)
    }
}

/// Whether one of the aims is at this packet; each counts it for itself.
fn hits(aims: &mut [Aim], kind: u8, moment: Moment) -> bool {
    aims.iter_mut().filter_map(|aim| aim.hits(kind, moment).then_some(())).count() > 0
}

impl World {
    /// Whether the link between these two breaks now, with this packet.
    pub(super) fn aimed_at(&mut self, (from, to): (usize, usize), kind: Option<u8>, moment: Moment) -> bool {
        let begun = self.step > 0 && !self.quiet && self.network.is_up(from, to);
        let Some(kind) = kind.filter(|_| begun && !self.faults.aims.is_empty()) else { return false };
        let hit = hits(&mut self.faults.aims, kind, moment);
        if hit {
            note!(self, "aimed at what n{from} says to n{to}: kind {kind}, {moment:?}");
            self.break_for_a_while(from, to);
        }
        hit
    }

    /// A packet was taken in: now what it is answered with may be lost, or the link to somebody else.
    pub(super) fn aimed_after(&mut self, (from, to): (usize, usize), kind: Option<u8>) {
        self.aimed_at((from, to), kind, Moment::Answered);
        let Some(kind) = kind.filter(|_| self.step > 0 && !self.quiet) else { return };
        if hits(&mut self.faults.aims, kind, Moment::Elsewhere) {
            let third = |&other: &usize| other != from && other != to && self.network.is_up(to, other);
            let thirds: Vec<_> = (0..self.nodes.len()).filter(third).collect();
            let Some(third) = self.random.choice(thirds) else { return };
            note!(self, "n{to} has heard n{from} and loses n{third}: kind {kind}, Elsewhere");
            self.break_for_a_while(to, third);
        }
    }

    fn break_for_a_while(&mut self, a: usize, b: usize) {
        self.counts.aimed += 1;
        self.break_link(a, b);
        let heals = self.step + self.random.usize(5..60);
        self.plan.push((heals, a, b, Planned::Heal));
    }
}

/// What kind of packet it is, if it is one to aim at.
pub(super) fn kind(packet: &Packet) -> Option<u8> {
    Some(match packet {
        Packet::Control(message) => match message.body {
            Body::Acquire { .. } => 0,
            Body::Stopped { .. } => 1,
            Body::Refused { .. } => 2,
            Body::Acting => 3,
            Body::ActsNoMore => 4,
            Body::BothStop => 5,
            Body::Register => 6,
            Body::Registered => 7,
            Body::NotActing { .. } => 8,
            Body::Compare { .. } => 9,
            Body::MayRelease { .. } => 10,
            Body::MaySpare { .. } => 11,
            Body::Release { .. } => 12,
            Body::PullAnew => 13,
            Body::MayMend { .. } => 14,
            Body::TakeOver => 18,
            Body::WhoActs { .. } => 19,
            Body::ActsThere { .. } => 20,
        },
        Packet::Reach { .. } => 21,
        Packet::Mark { .. } => 15,
        Packet::Fetch { .. } => 16,
        Packet::Snapshot { .. } => 17,
        _ => return None,
    })
}
