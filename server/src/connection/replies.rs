//! Replies that come later, and where they go.

use std::task::{Context, Poll};

use super::{
    stopwatch::{self, Executed},
    talk::Talk,
};
use crate::{
    clients::Waits,
    command::{Blocked, Command, Flags, Later},
    resp::{Output, Protocol, Reply},
    services::Tally,
};

/// A place among the replies, for one that is waited for.
pub(super) struct Held {
    /// What leaves before it.
    pub(super) before: Output,
    pub(super) command: u16,
    pub(super) protocol: Protocol,
    /// Its arguments, as far as a log keeps them; empty if it is not timed of its own.
    pub(super) arguments: Vec<Vec<u8>>,
    /// The client wants no reply.
    pub(super) is_silent: bool,
}

/// A reply that will come.
pub(super) struct Waiting {
    reply: Later,
    /// What the reply would be if the time were over.
    when_over: Option<Box<dyn FnOnce() -> Later + Send>>,
    number: u16,
    command: &'static Command,
    /// Its arguments, as far as a log keeps them.
    arguments: Vec<Vec<u8>>,
    since_us: u64,
    /// The client wants no reply.
    pub(super) is_silent: bool,
}

const UNBLOCKED: Reply<'static> = Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK");

impl Waiting {
    pub(super) fn new(
        reply: Later,
        (number, command): (u16, &'static Command),
        arguments: Vec<Vec<u8>>,
        since_us: u64,
    ) -> Waiting {
        Waiting { reply, when_over: None, number, command, arguments, since_us, is_silent: false }
    }

    pub(super) fn blocked(
        blocked: Blocked,
        command: (u16, &'static Command),
        arguments: Vec<Vec<u8>>,
        since_us: u64,
    ) -> Waiting {
        let when_over = Some(blocked.when_over);
        Waiting { when_over, ..Waiting::new(blocked.reply, command, arguments, since_us) }
    }
}

impl Talk {
    /// Writes the replies that were waited for, if they have come.
    pub(super) fn poll_later(&mut self, cx: &mut Context<'_>) {
        self.poll_pause(cx);
        self.poll_pending(cx);
        if self.pending.is_none() {
            self.poll_last(cx);
        }
    }

    /// Sends off what was deferred in this batch.
    pub(super) fn pursue(&mut self, since_us: u64) {
        if self.held.is_empty() {
            return;
        }
        let (deferred, router) = (std::mem::take(&mut self.deferred), self.router.clone());
        let client = self.session.client().id();
        self.pending_bytes = deferred.bytes();
        self.pending = Some(Box::pin(async move { deferred.replies(&router, client).await }));
        self.pending_since_us = since_us;
    }

    /// What has begun, for a client that has gone: half of a `RENAME` between slots, of a `FLUSHALL` or of an `MSET` must
    /// not stay behind. None if nothing has begun that writes.
    pub(super) fn unfinished(self) -> Option<impl Future<Output = ()> + Send> {
        let table = self.router.table().all();
        let writes = |held: &Held| table[usize::from(held.command)].flags.contains(Flags::WRITE);
        let pending = self.pending.filter(|_| self.held.iter().any(writes));
        let writing = self.later.filter(|waiting| waiting.command.flags.contains(Flags::WRITE));
        let later = writing.map(|waiting| waiting.reply);
        (pending.is_some() || later.is_some()).then_some(async move {
            if let Some(pending) = pending {
                pending.await;
            }
            if let Some(later) = later {
                later.await;
            }
        })
    }

    /// Puts the replies of what was deferred in their places, if all of them have come.
    fn poll_pending(&mut self, cx: &mut Context<'_>) {
        let Some(pending) = &mut self.pending else { return };
        let Poll::Ready(replies) = pending.as_mut().poll(cx) else { return };
        (self.pending, self.pending_bytes) = (None, 0);
        let mut tally = Tally::default();
        let rest = self.output.take();
        let mut output = self.output.take();
        let mut output_bytes = 0;
        self.held_bytes = 0;
        let services = self.router.services();
        let elapsed_us = services.clock.monotonic_us().saturating_sub(self.pending_since_us);
        let limits = services.watch.limits();
        if stopwatch::is_long(&limits, elapsed_us) {
            self.stopwatch.was_long(self.pending_since_us + elapsed_us);
        }
        for (Held { before, command, protocol, arguments, is_silent }, reply) in self.held.drain(..).zip(replies) {
            match output.is_empty() {
                true => output = before,
                false => output.append(before),
            }
            let calls = tally.calls_of(command);
            match reply.is_error() {
                true => calls.failed += 1,
                false => calls.succeeded += 1,
            }
            let (len, mark) = (output.len(), output.mark());
            if !is_silent {
                output.reply(reply, protocol);
                tally.note_error(output.since(mark));
            }
            let reply_bytes = output.len() - len;
            output_bytes += reply_bytes;
            if !arguments.is_empty() {
                let command = self.router.table().all()[usize::from(command)];
                let executed = Executed { command, arguments, client: &self.session };
                executed.answered(services, &limits, elapsed_us, reply_bytes);
            }
        }
        output.append(rest);
        self.output = output;
        tally.divide(elapsed_us);
        tally.output_bytes = output_bytes as u64;
        services.statistics.record(&tally);
        self.note_activity(services.clock.monotonic_us(), None);
    }

    /// Writes the reply that comes last, if it has come.
    fn poll_last(&mut self, cx: &mut Context<'_>) {
        let Some(waiting) = &mut self.later else { return };
        let client = self.session.client();
        if client.waits() == Waits::TimeOver
            && let Some(when_over) = waiting.when_over.take()
        {
            client.wait_for(Waits::Not);
            waiting.reply = when_over();
        }
        let reply = match client.waits() {
            Waits::GivenUp => UNBLOCKED,
            _ => match waiting.reply.as_mut().poll(cx) {
                Poll::Ready(reply) => reply,
                Poll::Pending => return,
            },
        };
        // It counts as heard of before it counts as one who does not wait: those who wait for long are not idle.
        client.note(self.router.services().clock.monotonic_us(), None, self.commands);
        // Told to give up just now, it was told in time: who said so was answered that it helped.
        let reply = if client.wait_for(Waits::Not) == Waits::GivenUp { UNBLOCKED } else { reply };
        let services = self.router.services();
        let mut tally = Tally::default();
        let calls = tally.calls_of(waiting.number);
        match reply.is_error() {
            true => calls.failed = 1,
            false => calls.succeeded = 1,
        }
        let elapsed_us = services.clock.monotonic_us().saturating_sub(waiting.since_us);
        tally.divide(elapsed_us);
        let (output_before, mark) = (self.output.len(), self.output.mark());
        if !waiting.is_silent {
            self.output.reply(reply, self.session.protocol());
            tally.note_error(self.output.since(mark));
        }
        let reply_bytes = self.output.len() - output_before;
        tally.output_bytes = reply_bytes as u64;
        let arguments = std::mem::take(&mut waiting.arguments);
        let executed = Executed { command: waiting.command, arguments, client: &self.session };
        executed.answered(services, &services.watch.limits(), elapsed_us, reply_bytes);
        services.statistics.record(&tally);
        self.later = None;
    }
}
