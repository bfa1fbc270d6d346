//! A TCP connection on a leash.
//!
//! A connection of a stranger must not cost much, and a connection of a session must end when the session does, even
//! if the peer has stopped reading and HTTP/2 would wait for it politely. Both are decided below HTTP/2, in the
//! socket that it reads and writes:
//!
//! ```text
//!   waiting ── admitted to a session ──► tied ── the session is over ──► cut: every read and write fails
//!      └── out of patience, or more than 64 KiB read, or the leash was dropped ──┘
//! ```
//!
//! So nothing that HTTP/2 or protobuf allocates for a stranger can exceed what fits into 64 KiB of input.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, oneshot},
    time::timeout,
};
use tonic::transport::server::Connected;

use super::tie::Ended;

/// How long a connection may take to become part of a session: longer than both steps of a greeting.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How much is read from a stranger: both greetings at their limits, and the frames of HTTP/2 around them.
const STRANGER_LIMIT_BYTES: usize = 64 << 10;

/// How many bytes of an accepted connection tell what it is.
pub(super) const FIRST_BYTES: usize = 8;

/// A TCP connection that is cut when it should be.
pub(super) struct Socket {
    stream: TcpStream,
    /// What was read to tell what the connection is; HTTP/2 has to read it again.
    first: ([u8; FIRST_BYTES], usize),
    guard: Guard,
    read: usize,
    caller: Caller,
}

enum Guard {
    Waiting(Pin<Box<dyn Future<Output = Option<Ended>> + Send>>),
    Tied(Pin<Box<dyn Future<Output = ()> + Send>>),
    Cut,
}

/// Where an accepted connection comes from, and the leash it is on.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    pub(super) leash: Leash,
}

/// Decides how long a connection lives. A connection nobody holds the leash of is cut.
#[derive(Clone)]
pub(super) struct Leash(Arc<Mutex<Option<oneshot::Sender<Ended>>>>);

impl Leash {
    /// From now on the connection lives as long as a session. Only the first call counts.
    pub(super) fn tie_to(&self, ended: Ended) {
        if let Some(waiting) = self.0.lock().take() {
            // The connection may be gone already; then there is nothing to tie.
            let _ = waiting.send(ended);
        }
    }
}

impl Socket {
    /// An accepted connection whose first bytes have been read. The permit is its place among the strangers.
    pub(super) fn accepted(
        stream: TcpStream,
        address: SocketAddr,
        first: [u8; FIRST_BYTES],
        permit: OwnedSemaphorePermit,
    ) -> Socket {
        Socket::new(stream, address, (first, 0), Some(permit))
    }

    /// A connection that this node made.
    pub(super) fn dialled(stream: TcpStream, address: SocketAddr) -> Socket {
        Socket::new(stream, address, ([0; FIRST_BYTES], FIRST_BYTES), None)
    }

    /// The leash.
    pub(super) fn leash(&self) -> Leash {
        self.caller.leash.clone()
    }

    fn new(
        stream: TcpStream,
        address: SocketAddr,
        first: ([u8; FIRST_BYTES], usize),
        permit: Option<OwnedSemaphorePermit>,
    ) -> Socket {
        let (waiting, admitted) = oneshot::channel();
        let leash = Leash(Arc::new(Mutex::new(Some(waiting))));
        let guard = Guard::Waiting(Box::pin(async move {
            let ended = timeout(PATIENCE, admitted).await;
            drop(permit);
            ended.ok()?.ok()
        }));
        Socket { stream, first, guard, read: 0, caller: Caller { address, leash } }
    }

    /// Fails once the connection is cut, and wakes the task when that happens.
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            self.guard = match &mut self.guard {
                Guard::Cut => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")),
                Guard::Waiting(admitted) => match admitted.as_mut().poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(None) => Guard::Cut,
                    Poll::Ready(Some(ended)) => Guard::Tied(Box::pin(ended.wait())),
                },
                Guard::Tied(ended) => match ended.as_mut().poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(()) => Guard::Cut,
                },
            };
        }
    }

    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.read = self.read.saturating_add(bytes);
        if matches!(self.guard, Guard::Waiting(_)) && self.read > STRANGER_LIMIT_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too much from a stranger"));
        }
        Ok(())
    }
}

impl Connected for Socket {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        let (first, at) = self.first;
        if at < FIRST_BYTES {
            let taken = buffer.remaining().min(FIRST_BYTES - at);
            buffer.put_slice(&first[at..at + taken]);
            self.first.1 += taken;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(pin!(&mut self.stream).poll_read(context, buffer))?;
        self.count(buffer.filled().len() - before)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        pin!(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        pin!(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}
