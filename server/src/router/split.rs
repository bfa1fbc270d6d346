//! A command whose keys are in many slots.
//!
//! Each slot gets one part: the command's name and the keys of that slot with their values, in the order given. Parts
//! are as atomic as single commands, the whole is not: others may see the keys of one slot changed and those of
//! another not yet, as everywhere in a cluster. A part that fails leaves the others done, and its error is the reply.
//!
//! Parts of slots that are here run at once. The others join the batch's deferred requests, so that all of them
//! travel together, to every node at the same time.

use ring::slot::Slot;
use smallvec::SmallVec;

use super::{Deferred, Dispatched, Router};
use crate::{
    command::{Command, Gather, OnSlot},
    resp::{Output, Pieces, Protocol, Reply, Request, Span, array_elements},
    store::Ticket,
};

/// A key: its slot, and its number among the keys of the request.
pub(super) type Keyed = (Slot, u32);

impl Router {
    #[expect(clippy::too_many_arguments, reason = "they are the parts of one request; a struct would name them twice")]
    pub(super) fn split(
        &self,
        command: &'static Command,
        run: OnSlot,
        gather: Gather,
        request: &Request<'_>,
        now_unix_ms: u64,
        protocol: Protocol,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        let (first, step) = (command.keys.first as usize, command.keys.step as usize);
        let Some(keys) = keys_by_slot(command, request) else {
            out.reply(command.wrong_arity(), protocol);
            return Dispatched::Rejected;
        };
        let mut gathering = Gathering::new(gather, keys.len(), protocol);
        let mut later: Vec<(usize, Vec<Keyed>)> = Vec::new();
        let mut spans: SmallVec<[Span; 16]> = SmallVec::new();
        for part in keys.chunk_by(|one, other| one.0 == other.0) {
            spans.clear();
            spans.push(request.span(0));
            for &(_, number) in part {
                let place = first + number as usize * step;
                spans.extend((place..place + step).map(|place| request.span(place)));
            }
            let part_request = request.with_spans(&spans);
            let slot = part[0].0;
            let take = |reply: Reply<'_>| gathering.take(part, reply);
            let ran = match self.is_here(slot, deferred) {
                true => self.reply_of_slot(slot, command, run, &part_request, now_unix_ms, take),
                false => None,
            };
            match ran {
                Some(((), ticket)) => gathering.tickets.extend(ticket),
                None => later.push((deferred.part(slot, command, &part_request, protocol), part.to_vec())),
            }
        }
        if later.is_empty() && gathering.tickets.is_empty() {
            return gathering.write(out);
        }
        deferred.parts(gathering, later, self.services.clock.monotonic_us());
        Dispatched::Deferred
    }
}

/// The keys of a request by slot, and within a slot in the order given; none if the last one lacks its value.
fn keys_by_slot(command: &Command, request: &Request<'_>) -> Option<SmallVec<[Keyed; 32]>> {
    let mut keys: SmallVec<[Keyed; 32]> = SmallVec::new();
    for (number, place) in command.keys.places(request.len()).enumerate() {
        if place + command.keys.step as usize > request.len() {
            return None;
        }
        keys.push((Slot::of(request.arg(place)), number as u32));
    }
    keys.sort_unstable();
    Some(keys)
}

/// The replies of the parts, becoming one.
pub(super) struct Gathering {
    gather: Gather,
    sum: i64,
    pieces: Pieces,
    error: Option<Reply<'static>>,
    /// Writes that have still to be acknowledged.
    tickets: Vec<Ticket>,
    protocol: Protocol,
}

impl Gathering {
    fn new(gather: Gather, keys: usize, protocol: Protocol) -> Gathering {
        let elements = if gather == Gather::ByKey { keys } else { 0 };
        let pieces = Pieces::new(elements, protocol);
        Gathering { gather, sum: 0, pieces, error: None, tickets: Vec::new(), protocol }
    }

    fn take(&mut self, part: &[Keyed], reply: Reply<'_>) {
        match (self.gather, reply) {
            (_, Reply::Error(text)) => self.fail(Reply::Error(text)),
            (Gather::Sum, Reply::Integer(number)) => self.sum += number,
            (Gather::AllOk, _) => {}
            (Gather::ByKey, Reply::Array(elements)) => {
                for (&(_, number), element) in part.iter().zip(elements) {
                    self.pieces.put(number as usize, element);
                }
            }
            (gather, reply) => unreachable!("a part of a command gathered by {gather:?} answered {reply:?}"),
        }
    }

    /// Takes the reply of a part as it came from another node. One that cannot be its reply is an error, no panic:
    /// who sent it may run another version.
    pub(super) fn take_encoded(&mut self, part: &[Keyed], reply: Reply<'static>) {
        const UNREADABLE: Reply<'static> = Reply::error("ERR another node answered a part of the command unreadably");
        let Reply::Encoded(bytes) = reply else { return self.fail(reply) };
        if bytes.first() == Some(&b'-') {
            return self.fail(Reply::Encoded(bytes));
        }
        match self.gather {
            Gather::AllOk => {}
            Gather::Sum => match integer(&bytes) {
                Some(number) => self.sum += number,
                None => self.fail(UNREADABLE),
            },
            Gather::ByKey | Gather::Concat => match array_elements(&bytes) {
                Some(elements) if elements.len() == part.len() => self.take(part, Reply::Array(elements)),
                _ => self.fail(UNREADABLE),
            },
        }
    }

    fn fail(&mut self, error: Reply<'static>) {
        self.error.get_or_insert(error);
    }

    /// The reply, when all that was written here is acknowledged.
    pub(super) async fn reply(mut self, router: &Router, since_us: u64) -> Reply<'static> {
        for ticket in std::mem::take(&mut self.tickets) {
            if let Err(error) = router.acknowledged(&ticket, since_us).await {
                self.fail(error);
            }
        }
        let mut out = Output::default();
        self.write(&mut out);
        Reply::Encoded(out.into_bytes())
    }

    fn write(self, out: &mut Output) -> Dispatched {
        if let Some(error) = self.error {
            out.reply(error, self.protocol);
            return Dispatched::Failed;
        }
        match self.gather {
            Gather::Sum => out.reply(Reply::Integer(self.sum), self.protocol),
            Gather::AllOk => out.reply(Reply::OK, self.protocol),
            Gather::ByKey | Gather::Concat => self.pieces.write(out),
        }
        Dispatched::Done
    }
}

/// The integer that a reply is.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}
