//! Links that fail in worse ways than to be gone: one way, or again and again.

use super::{
    network::{STREAMS, Stream},
    world::{Planned, World, note},
};

impl World {
    /// One direction of a link is cut. Nothing arrives by it, until the cut is over or who hears nothing ends the session;
    /// then they meet anew when both ways are open.
    pub(super) fn cut_one_way(&mut self) {
        let (from, to) = self.pair();
        if !self.network.is_up(from, to) {
            return;
        }
        let until = self.step + self.random.usize(5..60);
        note!(self, "nothing comes from n{from} to n{to} until {until}");
        self.counts.one_way += 1;
        STREAMS.into_iter().for_each(|stream| self.network.stall(from, to, stream, until));
        if self.random.u8(0..4) > 0 {
            self.plan.push((until, from, to, Planned::EndOneWay));
        }
    }

    /// Who hears nothing gives the other up. What it said before still arrives, until the other finds out too.
    pub(super) fn end_one_way(&mut self, from: usize, to: usize) {
        let said = self.network.len(to, from, Stream::Control);
        let heard = if self.network.begins(to, from) { 0 } else { self.random.usize(0..=said) };
        let packets = self.network.take_first(to, from, Stream::Control, heard);
        self.break_link(from, to);
        STREAMS.into_iter().for_each(|stream| self.network.keep(from, to, stream, 0));
        self.network.put_first(to, from, Stream::Control, packets);
        self.notice(to, from);
        let heals = self.step + self.random.usize(1..80);
        self.plan.push((heals, from, to, Planned::Heal));
    }

    /// A link breaks and heals several times in a row.
    pub(super) fn flap(&mut self) {
        let (a, b) = self.pair();
        if !self.network.is_up(a, b) {
            return;
        }
        self.counts.flaps += 1;
        let mut at = self.step;
        for _ in 0..self.random.usize(2..6) {
            at += self.random.usize(1..12);
            self.plan.push((at, a, b, Planned::Break));
            at += self.random.usize(1..12);
            self.plan.push((at, a, b, Planned::Heal));
        }
    }

    /// The clock of a node is set: it jumps, perhaps back.
    pub(super) fn jump(&mut self) {
        let at = self.random.usize(0..self.nodes.len());
        self.skews_ms[at] = self.random.u64(0..=super::faults::MOST_SKEW_MS);
        self.counts.jumps += 1;
        note!(self, "the clock of n{at} is {} ms ahead", self.skews_ms[at]);
    }
}
