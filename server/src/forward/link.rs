//! One link to a peer, the sending side: many requests in, one write; replies in any order, each to who waits for it.
//!
//! ```text
//!  connections ── append ──► buffer ── one write per wake-up ──► socket ──► peer
//!       ▲                                                                    │
//!       └────── flight ◄── window (id → who waits) ◄── replies ◄─────────────┘
//! ```
//!
//! The socket is opened when the first request comes, and again after it broke. When it breaks, or the session with
//! the peer ends, every request gets its answer at once: [`Answer::NotExecuted`] if not a byte of it was handed to the
//! socket, [`Answer::Lost`] if one was. A link therefore never leaves anybody waiting for a peer that is gone.
//!
//! **Bounds.** Bytes and requests under way are limited; beyond that senders wait until replies have come. A single
//! request larger than the limit passes when nothing else is under way.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    task::{AbortHandle, yield_now},
    time::{sleep, timeout},
};

use super::{
    Open,
    flight::{Address, Answer, Flight},
    frame::{self, Head, Kind, Malformed, Status},
    whole::FIRST_SLOT,
};
use crate::session::Mode;

/// More requests than this wait for replies of others.
const MAX_WINDOW: usize = 1 << 17;
/// Whose reply has not come after so many others were sent is looked after apart from them.
const PROMPT_WINDOW: usize = 1 << 15;

/// An emptied buffer is kept up to this size.
const KEPT_BYTES: usize = 256 << 10;

const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// A link over which no reply has come for so long, while somebody waits for one, is opened anew: whoever is at its other
/// end has lost the thread, and would keep all further requests waiting as well. Since an answer may take long, the peer is
/// asked after half of this time whether it reads, which it answers at once.
const STALL: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOKS: u32 = 10;

/// Why a link does not take a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// There is no session with the peer.
    Closed,
    /// Too much is under way. The flight is nudged when that has changed.
    Full,
}

/// A request for a link, without its id.
pub(crate) struct Outgoing<'a> {
    pub(crate) head: Head,
    /// The body, in two parts.
    pub(crate) body: [&'a [u8]; 2],
    pub(crate) address: Address,
}

/// One link to a peer.
pub(crate) struct Link {
    open: Arc<Open>,
    max_bytes: usize,
    stall: Duration,
    writable: Notify,
    /// Grows when something was read, or a part of something large was written.
    progress: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    /// The task that serves the socket, if there is one.
    task: Option<AbortHandle>,
    /// Frames that the socket was not given yet.
    buffer: Vec<u8>,
    /// The id of the first request in `window`.
    first_id: u32,
    /// Who waits for which reply; none: it has come.
    window: VecDeque<Option<Waiting>>,
    /// Those of before the window who wait still: an answer may take long, and must not keep the window from moving on.
    late: HashMap<u32, Waiting>,
    /// How many at the end of the window are still in `buffer`.
    unsent: usize,
    /// Bytes of requests under way.
    bytes: usize,
    /// Who waits for room.
    crowd: Vec<Arc<Flight>>,
}

struct Waiting {
    flight: Arc<Flight>,
    address: Address,
    bytes: usize,
}

impl Link {
    pub(crate) fn new(open: Arc<Open>, max_bytes: usize) -> Arc<Link> {
        let progress = AtomicU64::new(0);
        Arc::new(Link { open, max_bytes, stall: STALL, writable: Notify::new(), progress, state: Mutex::default() })
    }

    /// Appends requests, all or none of them, in this order and with nothing between them. They leave with the next
    /// [`Link::flush`] at the latest.
    pub(crate) fn append<'a>(
        &self,
        flight: &Arc<Flight>,
        requests: impl ExactSizeIterator<Item = Outgoing<'a>>,
    ) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(Refused::Closed);
        }
        if !self.has_room(&state) {
            state.crowd.push(flight.clone());
            return Err(Refused::Full);
        }
        flight.expect(requests.len());
        requests.for_each(|request| state.push(flight, request));
        Ok(())
    }

    fn has_room(&self, state: &State) -> bool {
        state.bytes < self.max_bytes && state.window.len() + state.late.len() < MAX_WINDOW
    }

    /// Sends what was appended.
    pub(crate) fn flush(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.task.is_none() && !state.is_closed && state.is_waited_for() {
                state.task = Some(tokio::spawn(self.clone().serve()).abort_handle());
            }
        }
        self.writable.notify_one();
    }

    /// The session with the peer is over. Whoever waits gets an answer; whoever comes is turned away.
    pub(crate) fn close(&self) {
        let task = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.abort();
        }
        self.fail();
    }

    async fn serve(self: Arc<Self>) {
        let served = match timeout(OPEN_TIMEOUT, (self.open)()).await {
            Ok(Ok(stream)) => self.exchange(stream).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a link for requests to another node broke");
        }
        self.fail();
    }

    async fn exchange(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (input, output) = stream.into_split();
        tokio::select! {
            read = self.read(input) => read,
            written = self.write(output) => written,
            () = self.stalled() => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Waits until somebody has waited for too long without any reply.
    async fn stalled(&self) {
        let (mut before, mut quiet) = (0, 0);
        while quiet < LOOKS {
            sleep(self.stall / LOOKS).await;
            let mut state = self.state.lock();
            let progress = self.progress.load(Relaxed);
            quiet = if state.is_waited_for() && progress == before { quiet + 1 } else { 0 };
            before = progress;
            if quiet == LOOKS / 2 {
                state.push(&nobody(), PING);
                drop(state);
                self.writable.notify_one();
            }
        }
        tracing::info!(
            seconds = self.stall.as_secs(),
            "a link for requests to another node is opened anew: no reply came"
        );
    }

    async fn write(&self, mut output: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                std::mem::swap(&mut state.buffer, &mut buffer);
                state.unsent = 0;
            }
            if buffer.is_empty() {
                self.writable.notified().await;
                // Connections that are ready as well have their turn first: what they append leaves in the same write.
                yield_now().await;
                continue;
            }
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                let count = output.write(rest).await?;
                if count == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[count..];
                // What is written at once may be taken by nobody; of what is more than that somebody took a part.
                self.progress.fetch_add(u64::from(!rest.is_empty()), Relaxed);
            }
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }

    async fn read(&self, mut input: OwnedReadHalf) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        let mut replies = Vec::new();
        loop {
            bytes.reserve(64 << 10);
            if input.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.progress.fetch_add(1, Relaxed);
            let read = loop {
                match frame::next_reply(&mut bytes) {
                    Ok(Some((id, status, reply))) => replies.push((id, answer(status, reply.freeze()))),
                    rest => break rest,
                }
            };
            // What came before something that was damaged is as good as ever.
            self.deliver(&mut replies).map_err(invalid)?;
            read.map_err(invalid)?;
        }
    }

    fn deliver(&self, replies: &mut Vec<(u32, Answer)>) -> Result<(), Malformed> {
        let crowd = {
            let mut state = self.state.lock();
            for (id, answer) in replies.drain(..) {
                let waiting = state.take(id).ok_or(Malformed("a reply that nobody waits for"))?;
                waiting.flight.arrive(waiting.address, answer);
            }
            if self.has_room(&state) { std::mem::take(&mut state.crowd) } else { Vec::new() }
        };
        crowd.iter().for_each(|flight| flight.nudge());
        Ok(())
    }

    /// Answers everything that is under way, and starts again.
    fn fail(&self) {
        let (window, sent, crowd) = {
            let mut state = self.state.lock();
            let sent = state.window.len() - state.unsent;
            let State { window, late, crowd, is_closed, .. } = std::mem::take(&mut *state);
            state.is_closed = is_closed;
            for Waiting { flight, address, .. } in late.into_values() {
                flight.arrive(address, Answer::Lost);
            }
            (window, sent, crowd)
        };
        for (place, waiting) in window.into_iter().enumerate() {
            if let Some(Waiting { flight, address, .. }) = waiting {
                flight.arrive(address, if place < sent { Answer::Lost } else { Answer::NotExecuted });
            }
        }
        crowd.iter().for_each(|flight| flight.nudge());
    }
}

/// Asks whether the peer reads.
const PING: Outgoing<'static> = Outgoing {
    head: Head { id: 0, kind: Kind::Ping, flags: 0, mode: Mode::FIRST, hops: 1, slot: FIRST_SLOT, deadline_ms: 0 },
    body: [b"", b""],
    address: Address { request: 0, attempt: 0 },
};

/// Somebody who does not look at the answer: that one came is enough.
fn nobody() -> Arc<Flight> {
    let flight = Flight::new();
    flight.expect(1);
    flight
}

impl State {
    /// Appends a request, whatever is under way.
    fn push(&mut self, flight: &Arc<Flight>, Outgoing { head, body, address }: Outgoing<'_>) {
        while self.window.len() >= PROMPT_WINDOW && self.window.len() > self.unsent {
            self.move_on();
        }
        // A number of one who waits still is not given a second time.
        while self.late.contains_key(&self.first_id.wrapping_add(self.window.len() as u32)) {
            self.window.push_back(None);
            self.unsent += 1;
        }
        let start = self.buffer.len();
        let id = self.first_id.wrapping_add(self.window.len() as u32);
        Head { id, ..head }.write(&body, &mut self.buffer);
        let bytes = self.buffer.len() - start;
        self.bytes += bytes;
        self.unsent += 1;
        self.window.push_back(Some(Waiting { flight: flight.clone(), address, bytes }));
    }

    /// The window begins one later; who waits for the first reply of it goes on waiting.
    fn move_on(&mut self) {
        if let Some(Some(waiting)) = self.window.pop_front() {
            self.late.insert(self.first_id, waiting);
        }
        self.first_id = self.first_id.wrapping_add(1);
    }

    /// Whether anybody waits for a reply.
    fn is_waited_for(&self) -> bool {
        !self.window.is_empty() || !self.late.is_empty()
    }

    fn take(&mut self, id: u32) -> Option<Waiting> {
        let place = id.wrapping_sub(self.first_id) as usize;
        let waiting = match place < self.window.len() - self.unsent {
            true => self.window[place].take(),
            false => self.late.remove(&id),
        }?;
        self.bytes -= waiting.bytes;
        while self.window.len() > self.unsent && self.window.front().is_some_and(Option::is_none) {
            self.move_on();
        }
        Some(waiting)
    }
}

fn answer(status: Status, body: Bytes) -> Answer {
    match status {
        Status::Executed => Answer::Executed(body),
        Status::NotExecuted => Answer::NotExecuted,
        Status::Indeterminate => Answer::Lost,
        Status::TooLarge => Answer::TooLarge,
    }
}

pub(super) fn invalid(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ring::slot::Slot;
    use tokio::net::TcpListener;

    use super::*;
    use crate::{resp::Output, session::Mode};

    const SOON: Duration = Duration::from_millis(100);

    /// A link to somebody who takes everything and answers nothing.
    async fn to_nobody() -> (Arc<Link>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let open: Arc<Open> = Arc::new(move || Box::pin(TcpStream::connect(address)));
        let (writable, progress) = (Notify::new(), AtomicU64::new(0));
        let link = Link { open, max_bytes: 1 << 20, stall: SOON, writable, progress, state: Mutex::default() };
        (Arc::new(link), listener)
    }

    fn send(link: &Arc<Link>, flight: &Arc<Flight>, kind: Kind) {
        let slot = Slot::new(0).unwrap();
        let head = Head { id: 0, kind, flags: 0, mode: Mode::FIRST, hops: 1, slot, deadline_ms: 2000 };
        let address = Address { request: 0, attempt: 0 };
        link.append(flight, [Outgoing { head, body: [b"", b""], address }].into_iter()).unwrap();
        link.flush();
    }

    /// Takes everything, and answers nothing but that it reads.
    async fn answer_pings(mut stream: TcpStream) {
        let mut bytes = BytesMut::new();
        while stream.read_buf(&mut bytes).await.unwrap() > 0 {
            while let Some((head, _)) = frame::next_request(&mut bytes).unwrap() {
                if head.kind == Kind::Ping {
                    stream.write_all(&frame::reply_head(head.id, Status::Executed, &Output::default())).await.unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn a_link_at_whose_end_nobody_reads_is_opened_anew() {
        for kind in [Kind::Command, Kind::Every, Kind::Wait] {
            let (link, listener) = to_nobody().await;
            let (flight, mut arrivals) = (Flight::new(), Vec::new());
            send(&link, &flight, kind);
            let first = listener.accept().await.unwrap();
            flight.arrivals(&mut arrivals).await;
            assert!(matches!(arrivals[..], [(_, Answer::Lost)]));
            send(&link, &flight, kind);
            let second = listener.accept().await.unwrap();
            drop((first, second));
        }
    }

    #[tokio::test]
    async fn a_damaged_length_keeps_nobody_waiting() {
        // Nothing stalls here: replies to others go on coming.
        let (link, listener) = to_nobody().await;
        let (flight, other) = (Flight::new(), Flight::new());
        let (mut arrivals, mut others) = (Vec::new(), Vec::new());
        send(&link, &flight, Kind::Command);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut damaged = frame::reply_head(0, Status::Executed, &Output::default());
        // The byte of the length that makes it 16 MiB larger.
        damaged[7] ^= 1;
        stream.write_all(&damaged).await.unwrap();
        let trickle = async {
            for id in 1.. {
                send(&link, &other, Kind::Command);
                let reply = frame::reply_head(id, Status::Executed, &Output::default());
                if stream.write_all(&reply).await.is_err() {
                    break;
                }
                sleep(SOON / LOOKS).await;
            }
            other.arrivals(&mut others).await;
        };
        tokio::select! {
            () = flight.arrivals(&mut arrivals) => assert!(matches!(arrivals[..], [(_, Answer::Lost)])),
            () = trickle => panic!("the link ended without an answer"),
            () = sleep(20 * SOON) => panic!("it waits for what a damaged length says"),
        }
    }

    #[tokio::test]
    async fn a_question_that_takes_long_is_waited_for() {
        let (link, listener) = to_nobody().await;
        let (flight, mut arrivals) = (Flight::new(), Vec::new());
        send(&link, &flight, Kind::Wait);
        let (stream, _) = listener.accept().await.unwrap();
        tokio::select! {
            () = answer_pings(stream) => panic!("the link was closed"),
            () = flight.arrivals(&mut arrivals) => panic!("nobody answered that"),
            () = sleep(3 * SOON) => {}
        }
    }
}
