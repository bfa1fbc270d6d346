//! What the receiving ends of lanes and bulk streams have to tell a node's machine, on its way there.
//!
//! In production they run on other threads than the machine: an effect or a snapshot is in the copy before the machine
//! hears of it. What one stream tells arrives in order; streams overtake each other, and so does whatever else the
//! machine hears, the end of the session included. A report of a session that is over is heard or lost.

use ring::{control::Input, id::Peer};

use super::{
    network::Stream,
    world::{World, note},
};

/// One report.
#[derive(Debug)]
pub(super) struct Report {
    from: usize,
    stream: Stream,
    /// In which session with the sender it was made.
    session: u64,
    input: Input,
}

impl World {
    /// The receiving end of a stream reports to the machine of its node.
    pub(super) fn report(&mut self, at: usize, from: usize, stream: Stream, input: Input) {
        let node = &mut self.nodes[at];
        let session = node.sessions[from].name;
        node.reports.push(Report { from, stream, session, input });
    }

    /// The machine of some node hears one report, if there is one that can be heard.
    pub(super) fn hear_one(&mut self) {
        let waiting: Vec<usize> =
            (0..self.nodes.len()).filter(|&at| self.decides(at) && self.has_reports(at)).collect();
        let Some(at) = self.random.choice(waiting) else { return };
        let reports = &self.nodes[at].reports;
        let any = &reports[self.random.usize(0..reports.len())];
        let of_the_same = |report: &Report| (report.from, report.stream) == (any.from, any.stream);
        let first = reports.iter().position(of_the_same).expect("the one that was drawn is of the same stream");
        self.hear(at, first);
    }

    fn hear(&mut self, at: usize, nth: usize) {
        let Report { from, session, input, .. } = self.nodes[at].reports.remove(nth);
        let current = &self.nodes[at].sessions[from];
        let is_over = !current.open || current.name != session;
        if is_over && self.random.bool() {
            return note!(self, "n{at} never hears {input:?}");
        }
        self.mix(at * 8 + from);
        note!(self, "n{at} hears {input:?} of {:?}", Peer(from as u8));
        self.drive(at, |control, copies| control.handle(input, copies));
        self.acknowledge(at, from);
    }

    fn has_reports(&self, at: usize) -> bool {
        !self.nodes[at].reports.is_empty()
    }

    /// Whether the machine of some node that runs has something to hear.
    pub(super) fn something_to_hear(&self) -> bool {
        (0..self.nodes.len()).any(|at| self.decides(at) && self.has_reports(at))
    }
}
