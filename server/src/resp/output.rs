//! Bytes on their way to a client.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

/// A string from this length on leaves by reference instead of being copied between the small replies.
pub(super) const SHARED_BYTES: usize = 16 << 10;

/// An emptied buffer is kept for the next batch up to this size.
const KEPT_BYTES: usize = 256 << 10;

/// What is to be sent: small replies in one run of bytes, large values by reference between such runs.
///
/// ```text
///   front: [ replies… $1048576 CRLF ] [ the value's own bytes ]     tail: CRLF, replies…
///           ▲ sent                                                        (grows)
/// ```
#[derive(Debug, Default)]
pub struct Output {
    front: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of the first piece is gone already.
    sent: usize,
    /// Bytes in `front` that are still to be sent.
    waiting: usize,
    /// Above so many bytes nobody will get what is here; 0: no limit.
    limit: usize,
    /// Something was left out because of the limit.
    is_cut: bool,
}

impl Output {
    /// How many bytes are still to be sent.
    #[inline]
    pub fn len(&self) -> usize {
        match self.front.is_empty() {
            true => self.tail.len() - self.sent,
            false => self.waiting + self.tail.len(),
        }
    }

    /// Whether everything is sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Above so many bytes (0: no limit) nobody will send what is here, so a reply of many elements ends there: one request
    /// must not make more of them. Whoever limits has to ask [`Output::is_cut`] before anything is sent.
    #[inline]
    pub fn limit_to(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// The limit; 0: none.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether there is more than the limit allows, so that an element has to be left out.
    #[inline]
    pub(super) fn cuts(&mut self) -> bool {
        self.is_cut |= self.limit != 0 && self.len() > self.limit;
        self.is_cut
    }

    /// Whether something was left out: the replies are not complete.
    #[inline]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Notes that something was left out.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Takes everything out, and leaves the limit.
    pub(crate) fn take(&mut self) -> Output {
        let empty = Output { limit: self.limit, ..Output::default() };
        std::mem::replace(self, empty)
    }

    /// The run that small replies are written to.
    #[inline]
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Where the next small reply begins, for [`Output::since`].
    #[inline]
    pub(crate) fn mark(&self) -> usize {
        self.tail.len()
    }

    /// What was written since a mark, if that is small replies and errors alone.
    pub(crate) fn since(&self, mark: usize) -> &[u8] {
        self.tail.get(mark..).unwrap_or_default()
    }

    /// Appends bytes by reference.
    pub(super) fn push_shared(&mut self, bytes: Bytes) {
        self.close_tail();
        self.waiting += bytes.len();
        self.front.push_back(bytes);
    }

    /// Appends everything of another output.
    pub fn append(&mut self, mut other: Output) {
        self.is_cut |= other.is_cut;
        if other.front.is_empty() {
            self.tail.extend_from_slice(&other.tail[other.sent..]);
            return;
        }
        self.close_tail();
        self.waiting += other.waiting;
        if other.sent > 0 {
            bytes::Buf::advance(&mut other.front[0], other.sent);
        }
        self.front.append(&mut other.front);
        self.tail = other.tail;
    }

    /// Appends replies that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// A copy of everything that is still to be sent.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().flatten().copied().collect()
    }

    /// Everything that is still to be sent, piece by piece.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let pieces = self.front.iter().map(|bytes| &bytes[..]).chain([&self.tail[..]]);
        pieces.enumerate().map(|(place, piece)| if place == 0 { &piece[self.sent..] } else { piece })
    }

    /// Everything that is still to be sent, as bytes that may be shared.
    pub fn into_bytes(self) -> Bytes {
        match self.front.is_empty() && self.sent == 0 {
            true => self.tail.into(),
            false => self.to_vec().into(),
        }
    }

    /// Uses this buffer from now on, if it has none.
    pub(crate) fn lend(&mut self, buffer: &mut Vec<u8>) {
        if self.tail.capacity() == 0 {
            std::mem::swap(&mut self.tail, buffer);
        }
    }

    /// Whether it has a buffer, however little is in it.
    #[inline]
    pub(crate) fn has_buffer(&self) -> bool {
        self.tail.capacity() > 0
    }

    /// Gives its buffer back. For an output of which everything is sent.
    pub(crate) fn give_back(&mut self, buffer: &mut Vec<u8>) {
        debug_assert!(self.is_empty(), "a buffer with replies in it is given away");
        let tail = std::mem::take(&mut self.tail);
        if buffer.capacity() == 0 && tail.capacity() <= KEPT_BYTES {
            *buffer = tail;
        }
    }

    /// Everything that is still to be sent, as one slice if it is one, for a plain write.
    pub fn as_single(&self) -> Option<&[u8]> {
        self.front.is_empty().then(|| &self.tail[self.sent..])
    }

    /// The next pieces to send, for a vectored write; how many there are.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// These many bytes are gone.
    pub fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.front.front() {
            let rest = first.len() - self.sent;
            if count < rest {
                self.sent += count;
                self.waiting -= count;
                return;
            }
            count -= rest;
            self.waiting -= rest;
            self.sent = 0;
            self.front.pop_front();
        }
        self.sent += count;
        debug_assert!(self.sent <= self.tail.len(), "more bytes were sent than there were");
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        }
    }

    /// The memory that it holds. Large values belong to the store and count as long as they wait here.
    pub fn memory_bytes(&self) -> usize {
        self.waiting + self.tail.capacity()
    }

    /// How many pieces stand before the run that small replies are written to, and how many bytes are in that.
    #[inline]
    pub fn shape(&self) -> (usize, usize) {
        (self.front.len(), self.tail.len() - if self.front.is_empty() { self.sent } else { 0 })
    }

    fn close_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let tail = Bytes::from(std::mem::take(&mut self.tail));
        self.waiting += tail.len() - if self.front.is_empty() { self.sent } else { 0 };
        self.front.push_back(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rest(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = output.slices(&mut slices);
        let rest: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(output.to_vec(), rest);
        rest
    }

    #[derive(Clone, Debug)]
    enum Step {
        Small(Vec<u8>),
        Shared(Vec<u8>),
        Append(Vec<u8>, Vec<u8>, usize),
        Advance(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let step = prop_oneof![
            bytes().prop_map(Step::Small),
            bytes().prop_map(Step::Shared),
            (bytes(), bytes(), 0usize..5).prop_map(|(first, second, sent)| Step::Append(first, second, sent)),
            (0usize..50).prop_map(Step::Advance),
        ];
        prop::collection::vec(step, 0..20)
    }

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes(steps in steps()) {
            let (mut output, mut twin) = (Output::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Small(bytes) => { output.tail().extend_from_slice(&bytes); twin.extend(bytes); }
                    Step::Shared(bytes) => { output.push_shared(bytes.clone().into()); twin.extend(bytes); }
                    Step::Append(first, second, sent) => {
                        let mut other = Output::default();
                        other.push_shared(first.clone().into());
                        other.tail().extend_from_slice(&second);
                        let sent = sent.min(other.len());
                        other.advance(sent);
                        output.append(other);
                        twin.extend(first.into_iter().chain(second).skip(sent));
                    }
                    Step::Advance(count) => {
                        let count = count.min(twin.len());
                        output.advance(count);
                        twin.drain(..count);
                    }
                }
                prop_assert_eq!(output.len(), twin.len());
                prop_assert_eq!(rest(&output), twin.clone());
                if let Some(single) = output.as_single() { prop_assert_eq!(single, &twin[..]); }
            }
        }
    }
}
