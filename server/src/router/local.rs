//! A command on one slot that is here.

use ring::slot::Slot;

use super::Router;
use crate::{
    command::{CANNOT_ALLOCATE, Command, Flags, OnSlot},
    process::can_allocate,
    resp::{Output, Reply, Request},
    session::Mode,
    store::{Executed, OutOfMemory, SlotTxn, Ticket},
};

/// A request that runs on a slot, with all that it needs beside the slot.
#[derive(Clone, Copy)]
pub(crate) struct Call<'r> {
    pub(crate) command: &'static Command,
    /// What of the command runs on a slot.
    pub(crate) run: OnSlot,
    pub(crate) request: Request<'r>,
    pub(crate) mode: Mode,
    pub(crate) now_unix_ms: u64,
}

/// What became of a command that was to run here.
pub(crate) enum Ran {
    /// Its reply is written.
    Done,
    /// Its reply is written, and is an error.
    Failed,
    /// Its reply is written, and may be sent when so many nodes have the write as it needs.
    Written(Ticket),
    /// It did not run: this node does not act for the slot.
    NotActing,
}

pub(super) const TOO_FEW_COPIES: Reply<'static> = Reply::error("NOREPLICAS Not enough good replicas to write.");

impl Router {
    /// Runs a command on a slot. The reply is encoded while the slot's lock is held, so that a value is copied once,
    /// from its entry to the output.
    #[inline]
    pub(crate) fn run_here(&self, slot: Slot, call: &Call<'_>, out: &mut Output) -> Ran {
        let take = |reply: Reply<'_>| {
            let failed = reply.is_error();
            out.reply(reply, call.mode.protocol);
            failed
        };
        match self.reply_of_slot(slot, call, take) {
            None => Ran::NotActing,
            Some((false, Some(ticket))) => Ran::Written(ticket),
            Some((false, None)) => Ran::Done,
            Some((true, _)) => Ran::Failed,
        }
    }

    /// Answers a reading command from this node's copy of a slot, for a client that said `READONLY`; false if the command
    /// writes or there is no copy to answer from.
    pub(super) fn read_copy(&self, slot: Slot, call: &Call<'_>, out: &mut Output) -> bool {
        let reads = call.command.flags.contains(Flags::READONLY);
        let read = |txn: &mut SlotTxn<'_>| {
            txn.with(call.mode.access());
            out.reply((call.run)(txn, &call.request), call.mode.protocol);
        };
        reads && self.store.execute_on_copy(slot, call.now_unix_ms, read).is_some()
    }

    /// Runs a command on a slot and hands its reply to `take`, before the slot's lock is given back. None: this node
    /// does not act for the slot. With the result comes the write, if it has to be acknowledged.
    #[inline]
    pub(super) fn reply_of_slot<R>(
        &self,
        slot: Slot,
        call: &Call<'_>,
        take: impl FnOnce(Reply<'_>) -> R,
    ) -> Option<(R, Option<Ticket>)> {
        let Call { command, now_unix_ms, .. } = *call;
        let refusal = if command.flags.contains(Flags::DENYOOM) { self.without_room(call) } else { None };
        // The others that must have a write, beside this node.
        let others = if command.flags.contains(Flags::WRITE) { self.cluster.write_acks - 1 } else { 0 };
        let executed = self.store.execute(slot, now_unix_ms, |txn: &mut SlotTxn<'_>| {
            if let Some(refusal) = refusal {
                return take(refusal);
            }
            if others > 0 && txn.counting_copies() < others {
                return take(TOO_FEW_COPIES);
            }
            txn.with(call.mode.access());
            take((call.run)(txn, &call.request))
        });
        match executed {
            Executed::Done { result, ticket } => Some((result, ticket.filter(|_| others > 0))),
            Executed::NotActing => None,
        }
    }

    /// Why there is no room for what a command may store, if there is none.
    #[inline]
    fn without_room(&self, call: &Call<'_>) -> Option<Reply<'static>> {
        if self.store.make_room(call.now_unix_ms).is_err() {
            return Some(Reply::error(OutOfMemory::TEXT));
        }
        // One copy goes to the store and one to other nodes.
        without_memory(&call.request)
    }
}

/// Why a request cannot be copied twice, if there is no memory for that: whoever asked for it in vain would end the
/// process.
#[inline]
pub(super) fn without_memory(request: &Request<'_>) -> Option<Reply<'static>> {
    let bytes = request.extent();
    (bytes >= LARGE_BYTES && !can_allocate(2 * bytes)).then_some(CANNOT_ALLOCATE)
}

/// For requests from this size on it is found out whether there is memory for them.
const LARGE_BYTES: usize = 1 << 20;
