//! Commands about the whole keyspace.
//!
//! A walk is no moment: each slot is seen when the walk comes to it, and exactly once. `DBSIZE`, `KEYS`, `FLUSHALL` and
//! `RANDOMKEY` *sweep*: every node is asked for the slots that it acts for, all at the same time, says which of them
//! it did not execute, and those are asked for again where they are now. `SCAN` goes from slot to slot, because its
//! cursor is a place among the slots; consecutive slots of one node take one step.
//!
//! On the port for cluster-aware clients these commands mean the slots that this node acts for, as in Redis Cluster:
//! such a client asks all nodes and puts the answers together.
//!
//! A sweep gives way to other tasks of its thread every few slots or milliseconds, so that `KEYS` over millions of keys does not keep
//! clients and heartbeats waiting.

use std::sync::Arc;

use ring::{
    id::Peer,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};

use super::{
    Call, Router, UNREADABLE,
    deferred::{LOST, encoded},
    patience::Patience,
};
use crate::{
    command::{Command, Gather, Later, Run, is_repeatable, key::ScanOptions},
    forward::{Asked, ScanStep, Swept, WholeRequest},
    resp::{Output, OwnedRequest, Protocol, Reply, Request},
    routes::Where,
    session::Mode,
    store::{Executed, SlotTxn},
    types::parse_cursor,
};

/// A sweep gives way to others after so many slots, or after one with which it took so long.
const SLOTS_AT_A_TIME: usize = 256;
const LONGEST_US: u64 = 5_000;

/// One `SCAN` asks other nodes at most so often, then it answers with what it has: a cluster with few keys in it
/// would otherwise keep a client waiting for thousands of steps.
const MAX_SCAN_STEPS: usize = 64;

/// A request about the whole keyspace, on its way through it.
pub(super) struct Walk {
    pub(super) router: Arc<Router>,
    pub(super) command: &'static Command,
    pub(super) request: OwnedRequest,
    pub(super) mode: Mode,
    pub(super) client: u64,
    /// Only this node's slots are meant: a cluster-aware client asks every node and adds up by itself.
    pub(super) is_local: bool,
}

impl Walk {
    /// Runs a command on every slot of the cluster, and puts the replies together.
    pub(super) fn every_slot(self, gather: Gather) -> Later {
        Box::pin(async move {
            if self.is_local {
                if let Err(error) = self.knows_what_is_here().await {
                    return error;
                }
                let swept = self.router.sweep(self.as_whole(), &SlotSet::full(SLOTS)).await;
                return gathered(gather, swept);
            }
            let (mut missing, mut total) = (SlotSet::full(SLOTS), Swept::default());
            let mut patience = Patience::new(&self.router);
            while !missing.is_empty() {
                let before = missing.len();
                for (asked, swept) in self.sweep_all(&missing).await {
                    let Some(swept) = swept else { continue };
                    missing.subtract(&executed(asked, &swept.unserved));
                    if swept.error.is_some() {
                        return gathered(gather, swept);
                    }
                    total.add(swept);
                }
                if missing.len() < before {
                    patience.renew();
                } else if !patience.rest().await {
                    return self.router.not_served();
                }
            }
            gathered(gather, total)
        })
    }

    /// Runs a command on slots until one answers something: on those of the node that a random slot leads to, then on
    /// those of the others.
    pub(super) fn any_slot(self) -> Later {
        Box::pin(async move {
            if self.is_local {
                if let Err(error) = self.knows_what_is_here().await {
                    return error;
                }
                return drawn(self.router.sweep(self.as_whole(), &SlotSet::full(SLOTS)).await).unwrap_or(Reply::Null);
            }
            let mut missing = SlotSet::full(SLOTS);
            let mut patience = Patience::new(&self.router);
            while !missing.is_empty() {
                let nodes = self.router.by_node(&missing);
                let first = missing.iter().nth(self.router.random() as usize % missing.len());
                let nearest = nodes.into_iter().find(|(_, slots)| first.is_some_and(|first| slots.contains(first)));
                let Some((node, slots)) = nearest else {
                    match patience.rest().await {
                        true => continue,
                        false => return self.router.not_served(),
                    }
                };
                let swept = match node {
                    None => Some(self.router.sweep(self.as_whole(), &slots).await),
                    Some(peer) => self.ask_sweep(peer, &slots).await,
                };
                match swept {
                    Some(swept) if swept.error.is_some() || swept.elements > 0 => {
                        return drawn(swept).unwrap_or(Reply::Null);
                    }
                    Some(swept) if swept.unserved != slots => {
                        missing.subtract(&executed(slots, &swept.unserved));
                        patience.renew();
                    }
                    _ if !patience.rest().await => return self.router.not_served(),
                    _ => {}
                }
            }
            Reply::Null
        })
    }

    /// Runs `SCAN` on slots from the cursor on until `COUNT` keys were looked at.
    pub(super) fn scan(self) -> Later {
        Box::pin(async move {
            let request = self.request.as_request();
            let Some(number) = parse_cursor(request.arg(1)) else { return Reply::error("ERR invalid cursor") };
            let start = Cursor::from_number(number);
            let count = match ScanOptions::parse(&request) {
                Ok(options) => options.count,
                Err(error) => return error,
            };
            if self.is_local
                && let Err(error) = self.knows_what_is_here().await
            {
                return error;
            }
            let (mut found, mut total, mut looked_at, mut steps) = (Output::default(), 0, 0, 0);
            let mut cursor = Some(start);
            let mut patience = Patience::new(&self.router);
            while let Some(at) = cursor
                && looked_at < count
                && steps < MAX_SCAN_STEPS
            {
                let step = match self.router.cluster.routes.of(at.slot) {
                    _ if self.is_local => self.router.scan_step(self.as_whole(), at.number()),
                    Where::Here => self.router.scan_step(self.as_whole(), at.number()),
                    Where::There(peer) => {
                        steps += 1;
                        self.ask_scan(peer, at).await
                    }
                    Where::Nowhere => None,
                };
                match step {
                    Some(ScanStep { error: Some(error), .. }) => return error,
                    Some(step) => {
                        cursor = (step.next != 0).then(|| Cursor::from_number(step.next));
                        looked_at += step.looked_at as usize;
                        total += step.elements as usize;
                        found.append(step.replies);
                        patience.renew();
                    }
                    None if self.is_local => cursor = at.advance(0),
                    None if !patience.rest().await => return self.router.not_served(),
                    None => {}
                }
            }
            scan_reply(cursor, total, found, self.mode.protocol)
        })
    }

    /// Waits until this node knows which slots it acts for: to a client that means only these, one that acts for nothing for
    /// the moment must not look like one that acts for nothing.
    async fn knows_what_is_here(&self) -> Result<(), Reply<'static>> {
        let mut patience = Patience::new(&self.router);
        while self.router.cluster.routes.is_down() || self.router.store.has_lapsed() {
            if !patience.rest().await {
                return Err(self.router.not_served());
            }
        }
        Ok(())
    }

    /// Asks every node for those of the slots that lead there; what each was asked for, and what it answered.
    async fn sweep_all(&self, slots: &SlotSet) -> Vec<(SlotSet, Option<Swept>)> {
        let asks = self.router.by_node(slots).into_iter().map(async |(node, slots)| {
            let swept = match node {
                None => Some(self.router.sweep(self.as_whole(), &slots).await),
                Some(peer) => self.ask_sweep(peer, &slots).await,
            };
            (slots, swept)
        });
        futures_util::future::join_all(asks).await
    }

    fn as_whole(&self) -> WholeRequest<'_> {
        WholeRequest { command: self.command, request: self.request.as_request(), mode: self.mode }
    }

    async fn ask_sweep(&self, peer: Peer, slots: &SlotSet) -> Option<Swept> {
        match self.router.ask_sweep(peer, self.client, self.as_whole(), slots).await {
            Asked::Answered(body) => Some(Swept::decode(&body).unwrap_or_else(|_| Swept::failed(UNREADABLE))),
            Asked::Lost if !is_repeatable(self.command, &self.request.as_request()) => Some(Swept::failed(LOST)),
            Asked::Failed | Asked::Lost => None,
        }
    }

    async fn ask_scan(&self, peer: Peer, at: Cursor) -> Option<ScanStep> {
        match self.router.ask_scan(peer, self.client, self.as_whole(), at.slot, at.number()).await {
            Asked::Answered(body) => Some(ScanStep::decode(&body).unwrap_or_else(|_| ScanStep::failed(UNREADABLE))),
            Asked::Failed | Asked::Lost => None,
        }
    }
}

/// The slots that were asked for and executed.
fn executed(mut asked: SlotSet, unserved: &SlotSet) -> SlotSet {
    asked.subtract(unserved);
    asked
}

/// What one slot answered to a command that any slot may answer, if one did.
fn drawn(swept: Swept) -> Option<Reply<'static>> {
    let found = (swept.elements > 0).then(|| Reply::Encoded(swept.replies.into_bytes()));
    swept.error.or(found)
}

fn gathered(gather: Gather, swept: Swept) -> Reply<'static> {
    if let Some(error) = swept.error {
        return error;
    }
    match gather {
        Gather::Sum => Reply::Integer(swept.sum),
        Gather::AllOk => Reply::OK,
        Gather::One => Reply::Integer(1),
        Gather::Concat | Gather::ByKey => {
            let mut array = Output::default();
            array.array_head(swept.elements);
            array.append(swept.replies);
            Reply::Encoded(array.into_bytes())
        }
    }
}

impl Router {
    /// Runs a command on those of the slots that this node acts for.
    pub(crate) async fn sweep(&self, whole: WholeRequest<'_>, slots: &SlotSet) -> Swept {
        let (run, until_first) = match whole.command.run {
            Run::EverySlot(run, _) => (run, false),
            Run::AnySlot(run) => (run, true),
            _ => unreachable!("only commands about all slots sweep"),
        };
        let mut swept = Swept::default();
        let mut tickets = Vec::new();
        let since_us = self.services.clock.monotonic_us();
        let start = if until_first { self.random() as usize % SLOTS } else { 0 };
        let mut now_unix_ms = self.services.clock.unix_ms();
        let mut began_us = since_us;
        for (number, slot) in
            Slot::all().cycle().skip(start).take(SLOTS).filter(|&slot| slots.contains(slot)).enumerate()
        {
            let is_long = || self.services.clock.monotonic_us() - began_us > LONGEST_US;
            if number % SLOTS_AT_A_TIME == SLOTS_AT_A_TIME - 1 || is_long() {
                tokio::task::yield_now().await;
                now_unix_ms = self.services.clock.unix_ms();
                began_us = self.services.clock.monotonic_us();
            }
            let take = |reply: Reply<'_>| swept.take(reply, whole.mode.protocol);
            let WholeRequest { command, request, mode } = whole;
            match self.reply_of_slot(slot, &Call { command, run, request, mode, now_unix_ms }, take) {
                Some(((), ticket)) => tickets.extend(ticket),
                None => drop(swept.unserved.insert(slot)),
            }
            if swept.error.is_some() || until_first && swept.elements > 0 {
                break;
            }
        }
        for ticket in tickets {
            if let Err(error) = self.acknowledged(&ticket, since_us).await {
                swept.error.get_or_insert(error);
            }
        }
        swept
    }

    /// Runs `SCAN` from the cursor on, on slots that this node acts for, until enough was looked at or the next slot is
    /// another node's. None if already the first one is.
    pub(crate) fn scan_step(&self, whole: WholeRequest<'_>, cursor: u64) -> Option<ScanStep> {
        let Run::Scan(run) = whole.command.run else { return None };
        let start = Cursor::from_number(cursor);
        let now_unix_ms = self.services.clock.unix_ms();
        let (from_start, from_zero) = (with_position(&whole.request, start.position), with_position(&whole.request, 0));
        let count = match ScanOptions::parse(&whole.request) {
            Ok(options) => options.count,
            Err(error) => return Some(ScanStep::failed(error)),
        };
        let mut step = ScanStep::default();
        let mut next = Some(start);
        while let Some(at) = next
            && (step.looked_at as usize) < count
        {
            // A slot that has many keys of other databases takes several looks.
            let within;
            let request = match at.position {
                0 => &from_zero,
                _ if at == start => &from_start,
                position => {
                    within = with_position(&whole.request, position);
                    &within
                }
            };
            let call =
                Call { command: whole.command, run, request: request.as_request(), mode: whole.mode, now_unix_ms };
            match self.scan_slot(at.slot, &call, count, &mut step) {
                Some(Ok(position)) => next = at.advance(position),
                Some(Err(error)) => return Some(ScanStep::failed(error)),
                None if at == start => return None,
                None => break,
            }
        }
        step.next = next.map_or(0, Cursor::number);
        Some(step)
    }

    /// One slot of a `SCAN`: the position to go on from; none if this node does not act for it. Passing over an empty
    /// slot costs one look under its lock.
    fn scan_slot(
        &self,
        slot: Slot,
        call: &Call<'_>,
        count: usize,
        step: &mut ScanStep,
    ) -> Option<Result<u64, Reply<'static>>> {
        let executed = self.store.execute(slot, call.now_unix_ms, |txn| {
            txn.with(call.mode.access());
            if txn.is_empty() {
                return Ok(0);
            }
            step.looked_at += txn.len().min(count) as u32;
            scan_reply_of_slot((call.run)(txn, &call.request), &mut |keys: Vec<Reply<'_>>| {
                step.elements += keys.len() as u32;
                keys.into_iter().for_each(|key| step.replies.reply(key, call.mode.protocol));
            })
        });
        match executed {
            Executed::Done { result, .. } => Some(result),
            Executed::NotActing => None,
        }
    }
}

impl Swept {
    /// Takes the reply of one slot.
    fn take(&mut self, reply: Reply<'_>, protocol: Protocol) {
        let reply = match reply.into_error() {
            Ok(error) => return self.error = Some(error),
            Err(reply) => reply,
        };
        match reply {
            Reply::Integer(number) => self.sum += number,
            Reply::Array(elements) => {
                self.elements += elements.len();
                elements.into_iter().for_each(|element| self.replies.reply(element, protocol));
            }
            Reply::Null | Reply::Simple(_) => {}
            other => {
                self.elements += 1;
                self.replies.reply(encoded(other, protocol), protocol);
            }
        }
    }

    /// Adds what another node answered.
    fn add(&mut self, other: Swept) {
        self.sum = self.sum.saturating_add(other.sum);
        self.elements += other.elements;
        self.replies.append(other.replies);
    }
}

/// A place in the keyspace: `slot << 48 | position in the slot`. As the cursor of `SCAN` it names its place without
/// anything being remembered between two calls, and any node understands it. 0 is the start, and again the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cursor {
    slot: Slot,
    position: u64,
}

impl Cursor {
    /// The place of a number. Every number is one, as in Redis: those that were never given out as a cursor mean some
    /// place.
    fn from_number(number: u64) -> Cursor {
        let slot = (number >> SlotTxn::POSITION_BITS) as u16 % SLOTS as u16;
        let slot = Slot::new(slot).expect("it was divided by the number of slots");
        Cursor { slot, position: number & ((1 << SlotTxn::POSITION_BITS) - 1) }
    }

    fn number(self) -> u64 {
        u64::from(self.slot.number()) << SlotTxn::POSITION_BITS | self.position
    }

    /// Where to go on when the slot answered this position.
    fn advance(self, position: u64) -> Option<Cursor> {
        match position {
            0 => Slot::new(self.slot.number() + 1).map(|slot| Cursor { slot, position: 0 }),
            position => Some(Cursor { position, ..self }),
        }
    }
}

/// The `SCAN` as one slot gets it.
fn with_position(request: &Request<'_>, position: u64) -> OwnedRequest {
    let position = position.to_string();
    OwnedRequest::new([request.arg(0), position.as_bytes()].into_iter().chain(request.args_from(2)))
}

/// Takes the keys that a slot found; the position to go on from.
fn scan_reply_of_slot(reply: Reply<'_>, take: &mut impl FnMut(Vec<Reply<'_>>)) -> Result<u64, Reply<'static>> {
    let reply = match reply.into_error() {
        Ok(error) => return Err(error),
        Err(reply) => reply,
    };
    let parts = match reply {
        Reply::Array(parts) => <[Reply<'_>; 2]>::try_from(parts).ok(),
        _ => None,
    };
    if let Some([Reply::Text(position), Reply::Array(keys)]) = parts
        && let Ok(position) = position.parse()
    {
        take(keys);
        return Ok(position);
    }
    unreachable!("a slot answers SCAN with a position and an array")
}

fn scan_reply(cursor: Option<Cursor>, elements: usize, found: Output, protocol: Protocol) -> Reply<'static> {
    let mut reply = Output::default();
    reply.array_head(2);
    let number = cursor.map_or(0, Cursor::number);
    reply.reply(Reply::Text(number.to_string().into()), protocol);
    reply.array_head(elements);
    reply.append(found);
    Reply::Encoded(reply.into_bytes())
}
