//! Requests of one batch that could not be executed at once, each on one slot.

use std::ops::Range;

use bytes::Bytes;
use ring::slot::Slot;

use crate::{
    command::Command,
    resp::{Request, Span, encode_request},
    router::Call,
    session::Mode,
    store::Ticket,
};

/// The requests, with one copy of their bytes.
#[derive(Default)]
pub(crate) struct Work {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    pub(crate) items: Vec<Item>,
    filter: Filter,
}

/// One request.
pub(crate) struct Item {
    pub(crate) slot: Slot,
    pub(crate) command: &'static Command,
    pub(crate) mode: Mode,
    bytes: Range<usize>,
    spans: Range<usize>,
    pub(crate) outcome: Option<Outcome>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It was executed; its reply.
    Replied(Bytes),
    /// It was executed here, and its reply may be sent when the write is acknowledged.
    Written {
        /// The reply.
        reply: Bytes,
        /// The write.
        ticket: Ticket,
        /// When it was executed, in monotonic time.
        since_us: u64,
    },
    /// It was not executed, as long as was tried.
    NotExecuted,
    /// Whether it was executed is not known.
    Lost,
}

impl Work {
    /// Adds a request; its number.
    pub(crate) fn push<'a>(
        &mut self,
        slot: Slot,
        command: &'static Command,
        mode: Mode,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> usize {
        let (bytes, spans) = (self.bytes.len(), self.spans.len());
        encode_request(arguments, &mut self.bytes, &mut self.spans);
        let (bytes, spans) = (bytes..self.bytes.len(), spans..self.spans.len());
        self.filter.insert(slot);
        self.items.push(Item { slot, command, mode, bytes, spans, outcome: None });
        self.items.len() - 1
    }

    /// Whether a request on this slot is perhaps among them. Rarely true although none is; then a request waits for
    /// others that it could have overtaken.
    #[inline]
    pub(crate) fn may_touch(&self, slot: Slot) -> bool {
        self.filter.may_contain(slot)
    }

    /// How many bytes the requests take.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn request(&self, number: usize) -> Request<'_> {
        let Item { bytes, spans, .. } = &self.items[number];
        Request::new(&self.bytes[bytes.clone()], &self.spans[spans.clone()])
    }

    /// The request, to be executed now.
    pub(crate) fn call(&self, number: usize, now_unix_ms: u64) -> Call<'_> {
        let Item { command, mode, .. } = self.items[number];
        let run = command.run.on_slot().expect("only what runs on a slot is taken into the work");
        Call { command, run, request: self.request(number), mode, now_unix_ms }
    }

    /// The request as it travels.
    pub(crate) fn encoded(&self, number: usize) -> &[u8] {
        &self.bytes[self.items[number].bytes.clone()]
    }
}

/// 1024 bits, one for each sixteenth slot: a look costs one load and no memory is allocated.
#[derive(Default)]
struct Filter([u64; 16]);

impl Filter {
    fn insert(&mut self, slot: Slot) {
        let bit = slot.index() % 1024;
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn may_contain(&self, slot: Slot) -> bool {
        let bit = slot.index() % 1024;
        self.0[bit / 64] >> (bit % 64) & 1 == 1
    }
}
