//! A command on one slot that is here.

use ring::slot::Slot;

use super::Router;
use crate::{
    command::{Command, Flags, OnSlot},
    resp::{Output, Protocol, Reply, Request},
    store::{Executed, OutOfMemory, SlotTxn, Ticket},
};

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
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one request; a struct would name them twice")]
    pub(crate) fn run_here(
        &self,
        slot: Slot,
        command: &Command,
        run: OnSlot,
        request: &Request<'_>,
        now_unix_ms: u64,
        protocol: Protocol,
        out: &mut Output,
    ) -> Ran {
        let take = |reply: Reply<'_>| {
            let failed = reply.is_error();
            out.reply(reply, protocol);
            failed
        };
        match self.reply_of_slot(slot, command, run, request, now_unix_ms, take) {
            None => Ran::NotActing,
            Some((false, Some(ticket))) => Ran::Written(ticket),
            Some((false, None)) => Ran::Done,
            Some((true, _)) => Ran::Failed,
        }
    }

    /// Answers a reading command from this node's copy of a slot, for a client that said `READONLY`; false if the command
    /// writes or there is no copy to answer from.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one request; a struct would name them twice")]
    pub(super) fn read_copy(
        &self,
        slot: Slot,
        command: &Command,
        run: OnSlot,
        request: &Request<'_>,
        now_unix_ms: u64,
        protocol: Protocol,
        out: &mut Output,
    ) -> bool {
        command.flags.contains(Flags::READONLY)
            && self.store.execute_on_copy(slot, now_unix_ms, |txn| out.reply(run(txn, request), protocol)).is_some()
    }

    /// Runs a command on a slot and hands its reply to `take`, before the slot's lock is given back. None: this node
    /// does not act for the slot. With the result comes the write, if it has to be acknowledged.
    #[inline]
    pub(super) fn reply_of_slot<R>(
        &self,
        slot: Slot,
        command: &Command,
        run: OnSlot,
        request: &Request<'_>,
        now_unix_ms: u64,
        take: impl FnOnce(Reply<'_>) -> R,
    ) -> Option<(R, Option<Ticket>)> {
        let has_room = !command.flags.contains(Flags::DENYOOM) || self.store.make_room(now_unix_ms).is_ok();
        // The others that must have a write, beside this node.
        let others = if command.flags.contains(Flags::WRITE) { self.cluster.write_acks - 1 } else { 0 };
        let executed = self.store.execute(slot, now_unix_ms, |txn: &mut SlotTxn<'_>| {
            if !has_room {
                return take(Reply::error(OutOfMemory::TEXT));
            }
            if others > 0 && txn.counting_copies() < others {
                return take(TOO_FEW_COPIES);
            }
            take(run(txn, request))
        });
        match executed {
            Executed::Done { result, ticket } => Some((result, ticket.filter(|_| others > 0))),
            Executed::NotActing => None,
        }
    }
}
