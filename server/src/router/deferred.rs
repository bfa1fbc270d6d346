//! Requests of a batch whose replies come later, because they go to other nodes or wait for them.

use ring::slot::Slot;

use super::{
    Call, Router,
    split::{Gathering, Keyed},
};
use crate::{
    forward::{Outcome, Terms, Work, pursue},
    resp::{Output, Protocol, Reply},
    store::Ticket,
};

/// A request that is not executed within this time gets an error.
pub(crate) const DEADLINE_US: u64 = 2_000_000;

/// A batch is closed when the requests that wait take so many bytes.
const FULL_BYTES: usize = 4 << 20;
/// Or when there are so many of them.
const FULL_REQUESTS: usize = 16 << 10;

pub(super) const LOST: Reply<'static> = Reply::error(
    "INDETERMINATE the node that executed the command was lost before it answered; it may or may not have taken effect",
);

/// Requests of a batch whose replies come later, in the order of the requests.
#[derive(Default)]
pub struct Deferred {
    work: Work,
    waiting: Vec<Waiting>,
}

/// What a reply waits for.
enum Waiting {
    /// One of the works.
    One(usize),
    /// A request in parts, of which these works are the missing ones.
    Parts { gathering: Box<Gathering>, parts: Vec<(usize, Vec<Keyed>)>, since_us: u64 },
    /// A write that was executed here.
    Written { reply: Reply<'static>, ticket: Ticket, since_us: u64 },
}

impl Deferred {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many bytes the requests take.
    pub fn bytes(&self) -> usize {
        self.work.len()
    }

    /// Whether no more should be added.
    pub fn is_full(&self) -> bool {
        self.work.len() >= FULL_BYTES || self.waiting.len() >= FULL_REQUESTS
    }

    /// Whether a request on this slot has to wait behind others.
    #[inline]
    pub(super) fn may_touch(&self, slot: Slot) -> bool {
        !self.waiting.is_empty() && self.work.may_touch(slot)
    }

    pub(super) fn defer(&mut self, slot: Slot, call: &Call<'_>) {
        let number = self.part(slot, call);
        self.waiting.push(Waiting::One(number));
    }

    /// One part of a request; [`Deferred::parts`] follows.
    pub(super) fn part(&mut self, slot: Slot, call: &Call<'_>) -> usize {
        self.work.push(slot, call.command, call.mode, call.request.args_from(0))
    }

    pub(super) fn parts(&mut self, gathering: Gathering, parts: Vec<(usize, Vec<Keyed>)>, since_us: u64) {
        self.waiting.push(Waiting::Parts { gathering: Box::new(gathering), parts, since_us });
    }

    pub(super) fn written(&mut self, reply: Reply<'static>, ticket: Ticket, since_us: u64) {
        self.waiting.push(Waiting::Written { reply, ticket, since_us });
    }

    /// Has everything executed; the replies, in order.
    pub(crate) async fn replies(mut self, router: &Router, client: u64) -> Vec<Reply<'static>> {
        let now_us = router.services.clock.monotonic_us();
        if !self.work.items.is_empty() {
            let deadline_us = now_us + DEADLINE_US;
            pursue(router, &mut self.work, Terms { hops: 0, deadline_us, client }).await;
        }
        let mut replies = Vec::with_capacity(self.waiting.len());
        for waiting in self.waiting {
            replies.push(match waiting {
                Waiting::One(number) => reply_of(router, &mut self.work, number).await,
                Waiting::Parts { mut gathering, parts, since_us } => {
                    for (number, part) in parts {
                        let reply = reply_of(router, &mut self.work, number).await;
                        gathering.take_encoded(&part, reply);
                    }
                    gathering.reply(router, since_us).await
                }
                Waiting::Written { reply, ticket, since_us } => {
                    router.acknowledged(&ticket, since_us).await.err().unwrap_or(reply)
                }
            });
        }
        replies
    }
}

/// The reply to one of the works, when what it wrote is acknowledged.
pub(super) async fn reply_of(router: &Router, work: &mut Work, number: usize) -> Reply<'static> {
    match work.items[number].outcome.take() {
        Some(Outcome::Replied(bytes)) => Reply::Encoded(bytes),
        Some(Outcome::Written { reply, ticket, since_us }) => {
            router.acknowledged(&ticket, since_us).await.err().unwrap_or(Reply::Encoded(reply))
        }
        Some(Outcome::Lost) => LOST,
        Some(Outcome::NotExecuted) | None => router.not_served(),
    }
}

/// A reply of its own.
pub(super) fn encoded(reply: Reply<'_>, protocol: Protocol) -> Reply<'static> {
    let mut output = Output::default();
    output.reply(reply, protocol);
    Reply::Encoded(output.into_bytes())
}
