//! What a connection's task does when it is woken.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::{Sleep, sleep, timeout},
};

use super::{
    Bounds,
    account::Account,
    input::{Input, return_buffer},
    talk::Talk,
};
use crate::{clients::Registration, router::Router, services::Ended, session::Session};

/// Steps of a turn before other tasks of the thread have theirs.
const STEPS: usize = 32;

/// Pieces of one write. More follow with the next.
const PIECES: usize = 64;

/// So much is read ahead while a reply is waited for, only so that the end of the client is noticed; of a client that
/// waits longer than this, twice as much, and so on.
const AHEAD_BYTES: usize = 64 << 10;
const MORE_AFTER: Duration = Duration::from_secs(1);

/// What a client sends after its last reply is thrown away up to this.
const LINGER_BYTES: usize = 1 << 20;

/// One client connection.
pub struct Connection<S> {
    stream: S,
    registration: Registration,
    talk: Talk,
    input: Input,
    account: Account,
    bounds: Bounds,
    /// The client's side has ended.
    has_ended: bool,
    /// The replies that wait are the last ones: the node asked the client to go.
    is_last: bool,
    /// When the connection is cut off unless something moves.
    deadline: Option<Pin<Box<Sleep>>>,
    /// How much may be read ahead of the reply that is waited for, and when it may be more.
    ahead_bytes: usize,
    more: Option<Pin<Box<Sleep>>>,
    /// Ends when others have had their turn.
    turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What a connection can do so that its last reply and its end arrive together.
pub trait Farewell {
    /// Holds back what is written from now on until the connection ends. A client that waits for each reply then sees
    /// the end before it could send another command, which nobody would answer.
    fn hold_back(&self);
}

impl Farewell for TcpStream {
    fn hold_back(&self) {
        // Without it the end comes a moment after the reply, as if nothing had been done.
        let _ = SockRef::from(self).set_tcp_cork(true);
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// At once.
    Cut,
    /// After a reply that the client is to receive.
    Finished,
}

/// What became of one step.
enum Step {
    Moved,
    Blocked,
    Failed,
}

impl<S: AsyncRead + AsyncWrite + Farewell + Unpin> Connection<S> {
    /// The connection of a client that was registered.
    pub fn new(stream: S, registration: Registration, router: Arc<Router>, bounds: Bounds) -> Connection<S> {
        let session = Session::new(registration.clone(), &*router.services().settings);
        let account = Account::new(registration.clone(), router.clone(), size_of::<Connection<S>>());
        let talk = Talk::new(router, session, bounds.pause_output_bytes);
        Connection {
            stream,
            registration,
            talk,
            input: Input::default(),
            account,
            bounds,
            has_ended: false,
            is_last: false,
            deadline: None,
            ahead_bytes: AHEAD_BYTES,
            more: None,
            turn: None,
        }
    }

    /// Serves the client until one side ends.
    pub async fn run(mut self) {
        let end = poll_fn(|cx| self.poll_turn(cx)).await;
        self.talk.record_rest(Ended::default());
        let Connection { stream, registration, bounds, talk, input, account, .. } = self;
        let place = registration.place_to_linger();
        drop((registration, input));
        let unfinished = talk.unfinished();
        match (end, place) {
            // Whether the client closes in time or not, this is the end.
            (End::Finished, Some(_place)) => drop(timeout(bounds.linger, linger(stream)).await),
            _ => drop(stream),
        }
        if let Some(unfinished) = unfinished {
            unfinished.await;
        }
        // What is not finished counts as long as it is there.
        drop(account);
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.registration.wake_on_event(cx.waker());
        for _ in 0..STEPS {
            if self.registration.is_killed() {
                return Poll::Ready(End::Cut);
            }
            self.talk.poll_later(cx);
            if self.account.is_over_hard_limit(&mut self.talk) {
                return Poll::Ready(End::Cut);
            }
            if self.is_to_close() && !self.talk.output().is_empty() && !self.talk.is_preparing() && !self.is_last {
                self.is_last = true;
                self.stream.hold_back();
            }
            if let Poll::Ready(Err(_)) = self.poll_write(cx) {
                return Poll::Ready(End::Cut);
            }
            if self.account.is_over_limit(&self.input, &mut self.talk, cx) {
                return Poll::Ready(End::Cut);
            }
            if let Some(end) = self.end() {
                return Poll::Ready(end);
            }
            ready!(self.poll_yield(cx));
            match self.step(cx) {
                Step::Moved => {}
                Step::Failed => return Poll::Ready(End::Cut),
                Step::Blocked if self.is_to_close() => return self.poll_farewell(cx),
                Step::Blocked => return self.poll_deadline(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets other tasks have their turn, and the sockets be looked at, after a batch that took long.
    fn poll_yield(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.talk.has_to_yield {
            ready!(self.turn.get_or_insert_with(|| Box::pin(yield_now())).as_mut().poll(cx));
            (self.turn, self.talk.has_to_yield) = (None, false);
        }
        Poll::Ready(())
    }

    /// Executes requests, or reads, if it may.
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let read = if self.talk.may_take() && self.talk.is_paused() {
            self.input.execute(&mut self.talk, 0);
            return Step::Moved;
        } else if self.has_ended {
            return Step::Blocked;
        } else if self.talk.may_take() {
            (self.ahead_bytes, self.more) = (AHEAD_BYTES, None);
            self.input.poll_read(&mut self.stream, &mut self.talk, cx)
        } else if self.talk.is_waiting() {
            match self.poll_room(cx) {
                Poll::Pending => return Step::Blocked,
                Poll::Ready(()) => self.input.poll_read_ahead(&mut self.stream, &mut self.talk, cx),
            }
        } else {
            return Step::Blocked;
        };
        match read {
            Poll::Pending => Step::Blocked,
            Poll::Ready(Err(_)) => Step::Failed,
            Poll::Ready(Ok(count)) => {
                self.has_ended = count == 0;
                Step::Moved
            }
        }
    }

    /// Waits until more may be read ahead of a reply. A client that waits long is read on, as in Redis, a little at a
    /// time and within its limits: that it has gone is seen behind the last of what it sent.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() >= self.ahead_bytes {
            ready!(self.more.get_or_insert_with(|| Box::pin(sleep(MORE_AFTER))).as_mut().poll(cx));
            self.more = None;
            self.ahead_bytes = self.ahead_bytes.saturating_mul(2);
        }
        Poll::Ready(())
    }

    /// Writes what waits, as much as the socket takes.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.talk.is_held() {
            return Poll::Ready(Ok(()));
        }
        if self.talk.output().is_empty() {
            // There was no reply yet to what was read: the buffer for replies is not kept for one.
            if self.talk.output().has_buffer() {
                return_buffer(&mut self.talk);
            }
            return Poll::Ready(Ok(()));
        }
        while !self.talk.output().is_empty() {
            let stream = Pin::new(&mut self.stream);
            let output = self.talk.output();
            let count = ready!(match output.as_single() {
                Some(bytes) => stream.poll_write(cx, bytes),
                None => {
                    let mut slices = [IoSlice::new(&[]); PIECES];
                    let count = output.slices(&mut slices);
                    stream.poll_write_vectored(cx, &slices[..count])
                }
            })?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            output.advance(count);
            self.talk.note_written(count);
            self.deadline = None;
        }
        return_buffer(&mut self.talk);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Whether nothing is left to do for this client.
    fn end(&mut self) -> Option<End> {
        if self.talk.is_waiting() || !self.talk.output().is_empty() {
            return None;
        }
        match () {
            () if self.talk.session().is_closing() || self.is_last => Some(End::Finished),
            () if self.has_ended && !self.talk.is_paused() => Some(End::Cut),
            () => None,
        }
    }

    /// Whether the node asked it to go, and no command has begun that is not answered or about to be.
    fn is_to_close(&mut self) -> bool {
        self.registration.is_to_close() && self.input.is_empty() && !self.talk.is_waiting() && !self.talk.is_paused()
    }

    /// A client that is asked to go leaves with its next reply to a command on keys. One that asks nothing leaves after
    /// a while.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let linger = self.bounds.linger;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(linger)));
        deadline.as_mut().poll(cx).map(|()| End::Finished)
    }

    /// Waits until the client must have taken something, if something waits for it.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(time) = self.time_left() else {
            self.deadline = None;
            return Poll::Pending;
        };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        deadline.as_mut().poll(cx).map(|()| End::Cut)
    }

    fn time_left(&mut self) -> Option<Duration> {
        let stalled = !self.talk.output().is_empty() && !self.talk.is_held();
        match (self.has_ended, stalled, self.talk.is_waiting()) {
            (_, true, _) => Some(self.bounds.stall),
            (true, _, true) => Some(self.bounds.linger),
            _ => None,
        }
    }
}

/// Ends this side, and reads until the client has ended its own: closing a socket with unread bytes in it would make
/// the kernel throw away what the client has not received yet.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let mut bytes = [0; 1024];
    let mut total = 0;
    while total < LINGER_BYTES {
        match stream.read(&mut bytes).await? {
            0 => break,
            count => total += count,
        }
    }
    Ok(())
}
