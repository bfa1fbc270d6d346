//! What a connection tells of itself.

use super::talk::Talk;
use crate::{
    clients::{Buffers, Waits},
    services::{Ended, Tally},
};

impl Talk {
    /// How many bytes wait to be sent, those included that other replies hold back.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.output.len() + self.held_bytes
    }

    /// The buffers that it keeps.
    #[inline]
    pub(super) fn buffers(&self) -> Buffers {
        let (output_pieces, output_tail) = self.output.shape();
        let held: usize = self.held.iter().map(|held| held.before.memory_bytes()).sum();
        let reads = self.waiting_bytes() < self.pause_output_bytes;
        let output_memory = self.output.memory_bytes() + held;
        let (argument_bytes, name_bytes) = (self.pending_bytes, self.session.client().name_bytes());
        Buffers { output_tail, output_pieces, output_memory, argument_bytes, name_bytes, reads, ..Buffers::default() }
    }

    /// The client was heard or answered. Whoever is being served is not idle, however long that takes.
    pub(super) fn note_activity(&self, now_us: u64, last_command: Option<u16>) {
        let client = self.session.client();
        let is_served = self.pending.is_some() || self.later.is_some() && client.waits() == Waits::Not;
        client.note(if is_served { u64::MAX } else { now_us }, last_command, self.commands);
    }

    /// So many bytes were read and not looked at.
    pub(super) fn note_read_ahead(&mut self, count: usize) {
        self.received_bytes += count as u64;
        self.reads += 1;
    }

    /// So many bytes left in one write.
    pub(super) fn note_written(&mut self, count: usize) {
        self.sent_bytes += count as u64;
        self.writes += 1;
        self.session.client().note_sent(self.sent_bytes);
    }

    /// Tells the statistics what they have not heard of yet.
    pub(super) fn record_rest(&mut self, ended: Ended) {
        let tally = Tally { reads: self.reads, writes: self.writes, ended, ..Tally::default() };
        (self.reads, self.writes) = (0, 0);
        self.router.services().statistics.record(&tally);
    }

    /// The client is disconnected because its request is too long.
    pub(super) fn end_for_its_request(&mut self) {
        if let Some(unsaid) = self.router.services().clients.may_say_disconnected() {
            tracing::info!(client = self.session.client().id(), unsaid, "disconnected: its request is too long");
        }
        self.record_rest(Ended { input: 1, ..Ended::default() });
    }
}
