//! One connection: sends what its work says when its pace says so, and judges the replies.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::keyspace::{Keyspace, Verdict};
use super::options::Reconnect;
use super::pace::{Clock, Pace};
use super::phase::Stop;
use super::record::{Gap, Recorder, Tally};
use super::targets::Targets;
use super::wire::{self, Reply};
use super::work::{Command, Work};

/// How often a connection looks for overdue replies and for the end.
const WATCH: Duration = Duration::from_millis(50);
/// The pause after every target refused a connection.
const AGAIN: Duration = Duration::from_millis(10);
const READ_AT_ONCE: usize = 64 * 1024;

/// What all connections of a phase share.
pub(super) struct Shared {
    pub(super) keyspace: Arc<Keyspace>,
    pub(super) targets: Targets,
    pub(super) clock: Clock,
    pub(super) gap: Gap,
    pub(super) stop: Stop,
    pub(super) end_ns: u64,
    pub(super) pipeline: usize,
    pub(super) reconnect: Reconnect,
    /// A connection that cannot be made ends its work, instead of being tried until the phase ends.
    pub(super) give_up: bool,
    pub(super) expect_misses: bool,
}

/// One connection and its work.
pub(super) struct Connection {
    shared: Arc<Shared>,
    recorder: Arc<Mutex<Recorder>>,
    work: Work,
    pace: Pace,
    target: usize,
    turn: usize,
    pending: VecDeque<Pending>,
    output: Vec<u8>,
    sent: usize,
    input: BytesMut,
    ended: bool,
    last_success_ns: u64,
}

/// A command without its reply yet, and when it started or should have.
struct Pending {
    command: Command,
    since_ns: u64,
}

/// How serving a connection ended.
enum End {
    /// All work is done.
    Done,
    /// The server closed it, and no command was under way.
    Between,
    /// Commands were under way and get no reply any more.
    Inside(&'static str),
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        recorder: Arc<Mutex<Recorder>>,
        work: Work,
        pace: Pace,
        number: usize,
    ) -> Connection {
        Connection {
            shared,
            recorder,
            work,
            pace,
            target: number,
            turn: number,
            pending: VecDeque::new(),
            output: Vec::new(),
            sent: 0,
            input: BytesMut::new(),
            ended: false,
            last_success_ns: 0,
        }
    }

    /// Connects, serves, and connects again until the work is done.
    pub(super) async fn run(mut self) {
        while !self.ended {
            let Some(mut stream) = self.connect().await else { continue };
            let end = self.serve(&mut stream).await;
            self.account(end);
        }
        if let Pace::Open(schedule) = &self.pace {
            let end_ns = self.shared.end_ns.min(self.shared.clock.now_ns());
            self.recorder.lock().tally.not_started += schedule.behind(end_ns).min(self.work.left());
        }
    }

    /// Tries each target once, or the same one.
    async fn connect(&mut self) -> Option<TcpStream> {
        let since_ns = self.shared.clock.now_ns();
        let limit_ns = u64::try_from(self.shared.targets.limit.as_nanos()).unwrap_or(u64::MAX);
        loop {
            for _ in 0..self.shared.targets.addresses.len() {
                match self.shared.targets.connect(self.target, self.turn).await {
                    Ok(stream) => return Some(stream),
                    Err(_) => self.go_on(),
                }
            }
            let now_ns = self.shared.clock.now_ns();
            if self.over(now_ns) {
                self.ended = true;
                return None;
            }
            if now_ns.saturating_sub(since_ns) >= limit_ns {
                self.recorder.lock().tally.error("CONNECT", 1);
                self.ended = self.shared.give_up || self.shared.reconnect == Reconnect::Never;
                return None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The next target's turn, if it may be another.
    fn go_on(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        if self.shared.reconnect == Reconnect::Elsewhere {
            self.target = self.target.wrapping_add(1);
        }
    }

    async fn serve(&mut self, stream: &mut TcpStream) -> End {
        let (mut reader, writer) = stream.split();
        let mut watch = watch();
        let mut closing = false;
        loop {
            if !closing {
                self.fill();
            }
            if self.pending.is_empty() && (closing || self.ended) {
                return if closing { End::Between } else { End::Done };
            }
            if self.send(&writer).is_err() {
                return self.broken();
            }
            let unsent = self.sent < self.output.len();
            let room = self.pending.len() < self.shared.pipeline && !closing && !self.ended;
            self.input.reserve(READ_AT_ONCE);
            tokio::select! {
                biased;
                read = reader.read_buf(&mut self.input) => match read {
                    Ok(0) | Err(_) => return self.broken(),
                    Ok(_) => {
                        if let Err(end) = self.receive() {
                            return end;
                        }
                        closing = closing || read_closed(&reader);
                    }
                },
                _ = writer.writable(), if unsent => {}
                () = self.pace.due(self.shared.clock), if room => {}
                _ = watch.tick() => {
                    if self.overdue() {
                        return End::Inside("TIMEOUT");
                    }
                }
            }
        }
    }

    /// Takes up the commands that start now.
    fn fill(&mut self) {
        if self.ended {
            return;
        }
        let now_ns = self.shared.clock.now_ns();
        if self.over(now_ns) {
            self.ended = true;
            return;
        }
        match self.pace {
            Pace::Closed if self.pending.is_empty() => {
                while self.pending.len() < self.shared.pipeline && self.start(now_ns) {}
            }
            Pace::Closed => {}
            Pace::Open(_) => self.fill_from_schedule(now_ns),
        }
    }

    fn fill_from_schedule(&mut self, now_ns: u64) {
        while self.pending.len() < self.shared.pipeline {
            let Pace::Open(schedule) = &self.pace else { return };
            let due_ns = schedule.next_ns();
            if due_ns > now_ns || !self.start(due_ns) {
                return;
            }
            if let Pace::Open(schedule) = &mut self.pace {
                schedule.advance();
            }
        }
    }

    fn start(&mut self, since_ns: u64) -> bool {
        let Some(command) = self.work.next() else {
            self.ended = true;
            return false;
        };
        let keyspace = &self.shared.keyspace;
        match command {
            Command::Get { key, .. } => wire::get(&keyspace.prefix, key, &mut self.output),
            Command::Set { key, version } => {
                wire::set(&keyspace.prefix, key, keyspace.value_size, &mut self.output, |out| {
                    keyspace.write_value(key, version, out);
                });
            }
        }
        self.pending.push_back(Pending { command, since_ns });
        true
    }

    fn over(&self, now_ns: u64) -> bool {
        now_ns >= self.shared.end_ns || self.shared.stop.requested()
    }

    /// Sends as much as the socket takes.
    fn send(&mut self, writer: &WriteHalf<'_>) -> io::Result<()> {
        while self.sent < self.output.len() {
            match writer.try_write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// Settles the commands whose replies are complete.
    fn receive(&mut self) -> Result<(), End> {
        let now_ns = self.shared.clock.now_ns();
        let mut recorder = self.recorder.lock();
        let before = recorder.tally.succeeded;
        let mut at = 0;
        while let Some((reply, length)) = wire::reply(&self.input[at..]).map_err(|_| End::Inside("MALFORMED"))? {
            let pending = self.pending.pop_front().ok_or(End::Inside("UNEXPECTED"))?;
            if settle(&self.shared, &mut recorder.tally, pending.command, reply, now_ns) {
                recorder.interval.record(now_ns.saturating_sub(pending.since_ns));
            }
            at += length;
        }
        self.input.advance(at);
        if recorder.tally.succeeded > before {
            self.shared.gap.success(now_ns);
            let gap_ns = now_ns.saturating_sub(self.last_success_ns);
            if self.last_success_ns > 0 && gap_ns > recorder.tally.connection_gap_ns {
                recorder.tally.connection_gap_ns = gap_ns;
            }
            self.last_success_ns = now_ns;
        }
        Ok(())
    }

    fn overdue(&self) -> bool {
        let limit_ns = u64::try_from(self.shared.targets.limit.as_nanos()).unwrap_or(u64::MAX);
        let now_ns = self.shared.clock.now_ns();
        // An open loop's command may have waited on our side; what counts here is the server's silence.
        let since_ns = self.pending.front().map_or(now_ns, |pending| pending.since_ns.max(self.last_success_ns));
        now_ns.saturating_sub(since_ns) > limit_ns
    }

    fn broken(&self) -> End {
        if self.pending.is_empty() { End::Between } else { End::Inside("NOREPLY") }
    }

    /// Counts how the connection ended and makes ready for the next one.
    fn account(&mut self, end: End) {
        let mut recorder = self.recorder.lock();
        match end {
            End::Done => {}
            End::Between if self.ended => {}
            End::Between if self.shared.reconnect == Reconnect::Never => {
                recorder.tally.error("CLOSED", 1);
                self.ended = true;
            }
            End::Between => recorder.tally.moved += 1,
            End::Inside(code) => {
                recorder.tally.error(code, (self.pending.len() as u64).max(1));
                self.ended = self.ended || self.shared.reconnect == Reconnect::Never;
            }
        }
        drop(recorder);
        self.pending.clear();
        self.output.clear();
        self.sent = 0;
        self.input.clear();
        self.go_on();
    }
}

/// Counts one reply; says whether the command succeeded.
fn settle(shared: &Shared, tally: &mut Tally, command: Command, reply: Reply<'_>, now_ns: u64) -> bool {
    match (command, reply) {
        (_, Reply::Error(error)) => {
            let code = wire::error_code(error);
            if code != "NOREPLICAS" {
                tally.example(|| format!("{command:?} was answered: {}", String::from_utf8_lossy(error)));
            }
            tally.error(&code, 1);
            return false;
        }
        (Command::Set { key, version }, Reply::Status(b"OK")) => {
            shared.keyspace.acknowledge(key, version, shared.clock.unix_ms(now_ns));
        }
        (Command::Get { key, floor }, Reply::Value(value)) => {
            tally.reads += 1;
            judge(&shared.keyspace, tally, key, floor, value);
        }
        (Command::Get { key, floor }, Reply::Missing) => {
            tally.reads += 1;
            if floor > 0 && !shared.expect_misses {
                tally.lost += 1;
                tally.example(|| format!("{}{key} is lost: version {floor} was acknowledged", shared.keyspace.prefix));
            } else {
                tally.misses += 1;
            }
        }
        (_, reply) => {
            tally.example(|| format!("{command:?} was answered by {reply:?}"));
            tally.error("UNEXPECTED", 1);
            return false;
        }
    }
    tally.succeeded += 1;
    true
}

fn judge(keyspace: &Keyspace, tally: &mut Tally, key: u32, floor: u32, value: &[u8]) {
    let (count, word) = match keyspace.judge(key, floor, value) {
        Verdict::Good | Verdict::Foreign => return,
        Verdict::Stale => (&mut tally.stale, "stale"),
        Verdict::Wrong => (&mut tally.wrong, "wrong"),
    };
    *count += 1;
    tally.example(|| {
        let shown = String::from_utf8_lossy(&value[..value.len().min(80)]);
        format!("{}{key} is {word}: version {floor} was acknowledged, read {shown:?}", keyspace.prefix)
    });
}

/// Whether the server has closed its side already. The end of the stream often comes with the last reply; a command
/// sent after it would be lost for no reason.
fn read_closed(reader: &ReadHalf<'_>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(reader.ready(Interest::READABLE)).poll(&mut context) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

fn watch() -> Interval {
    let mut watch = interval(WATCH);
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watch
}
