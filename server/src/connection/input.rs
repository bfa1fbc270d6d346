//! Bytes from a client: read, scanned, and kept only while they are a part of a request.

use std::{
    cell::RefCell,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use super::talk::{Batch, Talk};
use crate::resp::Span;

/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;

/// What a thread needs to serve a batch, whichever connection it came from: always the same memory, always in cache.
struct Work {
    bytes: Box<[u8]>,
    spans: Vec<Span>,
    batch: Batch,
    output: Vec<u8>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::new(Work {
        bytes: vec![0; READ_BYTES].into(),
        spans: Vec::new(),
        batch: Batch::default(),
        output: Vec::new(),
    });
}

/// What is not executed yet: nothing, or the beginning of a request, or requests that have to wait.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// The arguments of the request of which only the beginning is there.
    spans: Vec<Span>,
}

impl Input {
    /// Reads once and executes what is complete. How many bytes were read; 0: the client's side has ended.
    pub(super) fn poll_read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        talk: &mut Talk,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        if self.bytes.is_empty() {
            return WORK.with_borrow_mut(|work| self.poll_read_fresh(stream, talk, work, cx));
        }
        let count = ready!(self.poll_fill(stream, talk.missing_bytes(), cx))?;
        if count > 0 {
            self.execute(talk, count);
        }
        Poll::Ready(Ok(count))
    }

    /// Reads a little, and executes nothing.
    pub(super) fn poll_read_ahead(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        talk: &mut Talk,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        // A quarter more each time, so that what waits for long is not copied over and over.
        let count = ready!(self.poll_fill(stream, (self.bytes.len() / 4).max(1024), cx))?;
        if count > 0 {
            talk.note_read_ahead(count);
            talk.pause();
        }
        Poll::Ready(Ok(count))
    }

    /// Executes what is there and complete. `count` bytes of it are new.
    pub(super) fn execute(&mut self, talk: &mut Talk, count: usize) {
        WORK.with_borrow_mut(|work| {
            talk.lend_buffer(&mut work.output);
            let executed = talk.take(&mut self.bytes, &mut self.spans, &mut work.batch, count);
            if executed == self.bytes.len() {
                *self = Input::default();
                return;
            }
            self.bytes.drain(..executed);
            if self.bytes.capacity() > READ_BYTES && self.bytes.len() < self.bytes.capacity() / 4 {
                self.bytes.shrink_to(2 * self.bytes.len());
            }
        });
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The memory that it takes up.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.spans.capacity() * size_of::<Span>()
    }

    fn poll_read_fresh(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        talk: &mut Talk,
        work: &mut Work,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let mut read = ReadBuf::new(&mut work.bytes);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        let count = read.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = &mut work.bytes[..count];
        talk.lend_buffer(&mut work.output);
        let executed = talk.take(bytes, &mut work.spans, &mut work.batch, count);
        self.bytes.extend_from_slice(&bytes[executed..]);
        self.spans.append(&mut work.spans);
        Poll::Ready(Ok(count))
    }

    /// Reads behind what is there. The buffer grows by doubling as bytes come, never because a header announces them, and
    /// only when some have come: who falls silent keeps no room for more.
    fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        missing: usize,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        if self.bytes.len() < self.bytes.capacity() {
            return pin!(stream.read_buf(&mut self.bytes)).poll(cx);
        }
        WORK.with_borrow_mut(|work| {
            let mut read = ReadBuf::new(&mut work.bytes);
            ready!(Pin::new(stream).poll_read(cx, &mut read))?;
            let more = read.filled();
            let room = missing.min(self.bytes.len().max(READ_BYTES)).max(more.len());
            if self.bytes.try_reserve_exact(room).is_err() {
                tracing::warn!(bytes = self.bytes.len() + room, "disconnected: there is no memory for its request");
                return Poll::Ready(Err(std::io::ErrorKind::OutOfMemory.into()));
            }
            self.bytes.extend_from_slice(more);
            Poll::Ready(Ok(more.len()))
        })
    }
}

/// Gives the thread its output buffer back.
pub(super) fn return_buffer(talk: &mut Talk) {
    WORK.with_borrow_mut(|work| talk.return_buffer(&mut work.output));
}
