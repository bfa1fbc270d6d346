//! A command whose keys are in many slots.
//!
//! Each slot gets one part: the command's name and the keys of that slot with their values, in the order given. Parts
//! are as atomic as single commands, the whole is not: others may see the keys of one slot changed and those of
//! another not yet, as everywhere in a cluster. A part that fails leaves the others done, and its error is the reply.
//!
//! Parts of slots that are here run at once. The others join the batch's deferred requests, so that all of them
//! travel together, to every node at the same time.

use std::sync::Arc;

use ring::slot::Slot;
use smallvec::SmallVec;

use super::{CROSS_SLOT, Call, Deferred, Dispatched, Router, UNREADABLE, local::without_memory, reject};
use crate::{
    command::{Gather, Keys, Run},
    resp::{Output, OwnedRequest, Pieces, Protocol, Reply, Request, Span, array_elements},
    session::{Port, Session},
    store::Ticket,
};

/// A key of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Keyed {
    slot: Slot,
    /// Its number among the keys.
    number: u32,
    /// Its place among the arguments.
    place: u32,
}

impl Router {
    /// A request whose keys are in several slots.
    pub(super) fn on_many_slots(
        self: &Arc<Self>,
        session: &mut Session,
        call: &Call<'_>,
        out: &mut Output,
        deferred: &mut Deferred,
    ) -> Dispatched {
        let request = &call.request;
        let divided = match call.command.run {
            _ if session.port() != Port::Proxy => None,
            Run::Split(_, gather) => Some(gather),
            Run::SplitIf(_, gather, divides) => divides(request).then_some(gather),
            Run::Transfer(_, asked) => return self.between_slots(session, call, asked, out),
            Run::Compare(_, compare) => return self.compare(session, call, compare),
            _ => None,
        };
        let Some(gather) = divided else {
            let refusal = if keys_by_slot(call).is_some() { CROSS_SLOT } else { call.command.wrong_arity() };
            return reject(refusal, session, out);
        };
        if let Some(refusal) = without_memory(request) {
            return reject(refusal, session, out);
        }
        self.note_writes(session, call.command, request);
        self.split(call, gather, out, deferred)
    }

    fn split(&self, call: &Call<'_>, gather: Gather, out: &mut Output, deferred: &mut Deferred) -> Dispatched {
        let Some(keys) = keys_by_slot(call) else {
            out.reply(call.command.wrong_arity(), call.mode.protocol);
            return Dispatched::Rejected;
        };
        let mut gathering = Gathering::new(gather, keys.len(), call.mode.protocol, out.limit());
        let mut later: Vec<(usize, Vec<Keyed>)> = Vec::new();
        for part in keys.chunk_by(|one, other| one.slot == other.slot) {
            let slot = part[0].slot;
            let part_request = part_of(call, part);
            let part_call = Call { request: part_request.as_request(), ..*call };
            let take = |reply: Reply<'_>| gathering.take(part, reply);
            let ran = match self.is_here(slot, deferred) {
                true => self.reply_of_slot(slot, &part_call, take),
                false => None,
            };
            match ran {
                Some(((), ticket)) => gathering.tickets.extend(ticket),
                None => later.push((deferred.part(slot, &part_call), part.to_vec())),
            }
        }
        if later.is_empty() && gathering.tickets.is_empty() {
            return gathering.write(out);
        }
        deferred.parts(gathering, later, self.services.clock.monotonic_us());
        Dispatched::Deferred
    }
}

/// How many arguments belong to a key, itself included.
fn step(keys: Keys) -> usize {
    match keys {
        Keys::Range { step, .. } => step.max(1) as usize,
        Keys::Counted { step, .. } => usize::from(step),
        Keys::Sorted => 1,
    }
}

/// The keys of a request by slot, and within a slot in the order given; none if the last one lacks its value.
fn keys_by_slot(call: &Call<'_>) -> Option<SmallVec<[Keyed; 32]>> {
    let mut keys: SmallVec<[Keyed; 32]> = SmallVec::new();
    for (number, place) in call.command.keys.places(&call.request).enumerate() {
        if place + step(call.command.keys) > call.request.len() {
            return None;
        }
        keys.push(Keyed { slot: Slot::of(call.request.arg(place)), number: number as u32, place: place as u32 });
    }
    keys.sort_unstable();
    Some(keys)
}

/// The part of a request that is about these keys. Where their number is said it is said anew, and what follows the
/// keys belongs to every part.
fn part_of<'r>(call: &Call<'r>, part: &[Keyed]) -> Part<'r> {
    let (request, step) = (call.request, step(call.command.keys));
    let of_key = |key: &Keyed| (key.place as usize..key.place as usize + step).map(|place| request.span(place));
    let keys = part.iter().flat_map(of_key);
    match call.command.keys {
        Keys::Range { .. } | Keys::Sorted => Part::Spans(request, [request.span(0)].into_iter().chain(keys).collect()),
        Keys::Counted { .. } => {
            let count = part.len().to_string();
            let all = call.command.keys.places(&request).last().map_or(2, |place| place + step);
            let keys =
                part.iter().flat_map(|key| (key.place as usize..key.place as usize + step).map(|at| request.arg(at)));
            let arguments = [request.arg(0), count.as_bytes()].into_iter().chain(keys).chain(request.args_from(all));
            Part::Own(OwnedRequest::new(arguments))
        }
    }
}

/// A part of a request.
enum Part<'r> {
    /// Some of its arguments.
    Spans(Request<'r>, SmallVec<[Span; 16]>),
    /// One that was made of it.
    Own(OwnedRequest),
}

impl Part<'_> {
    fn as_request(&self) -> Request<'_> {
        match self {
            Part::Spans(whole, spans) => whole.with_spans(spans),
            Part::Own(request) => request.as_request(),
        }
    }
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
    fn new(gather: Gather, keys: usize, protocol: Protocol, limit: usize) -> Gathering {
        let elements = if gather == Gather::ByKey { keys } else { 0 };
        let pieces = Pieces::new(elements, protocol, limit);
        Gathering { gather, sum: 0, pieces, error: None, tickets: Vec::new(), protocol }
    }

    fn take(&mut self, part: &[Keyed], reply: Reply<'_>) {
        let reply = match reply.into_error() {
            Ok(error) => return self.fail(error),
            Err(reply) => reply,
        };
        match (self.gather, reply) {
            (Gather::Sum, Reply::Integer(number)) => self.sum = self.sum.saturating_add(number),
            (Gather::AllOk | Gather::One, _) => {}
            (Gather::ByKey, Reply::Array(elements)) => {
                for (key, element) in part.iter().zip(elements) {
                    self.pieces.put(key.number as usize, element);
                }
            }
            // What it answered is not said: values do not belong into a report.
            (gather, _) => unreachable!("a part of a command gathered by {gather:?} answered something else"),
        }
    }

    /// Takes the reply of a part as it came from another node. One that cannot be its reply is an error, no panic:
    /// who sent it may run another version.
    pub(super) fn take_encoded(&mut self, part: &[Keyed], reply: Reply<'static>) {
        let Reply::Encoded(bytes) = reply else { return self.fail(reply) };
        if bytes.first() == Some(&b'-') {
            return self.fail(Reply::Encoded(bytes));
        }
        match self.gather {
            Gather::AllOk | Gather::One => {}
            Gather::Sum => match integer(&bytes) {
                Some(number) => self.sum = self.sum.saturating_add(number),
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
        if out.is_cut() {
            return Reply::error("ERR the reply is larger than 'client-output-buffer-limit' allows");
        }
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
            Gather::One => out.reply(Reply::Integer(1), self.protocol),
            Gather::ByKey | Gather::Concat => self.pieces.write(out),
        }
        Dispatched::Done
    }
}

/// The integer that a reply is.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}
