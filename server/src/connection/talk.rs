//! The requests of one client and the replies to them, without the socket.

use std::{ops::Range, pin::Pin, sync::Arc};

use super::{
    account,
    exceptions::Postponed,
    replies::{Held, Waiting},
    stopwatch::{self, Stopwatch},
};
use crate::{
    clients::{NO_COMMAND, Paused, Waits},
    command::{Flags, Run},
    resp::{Limits, Output, ProtocolError, Reply, Request, Scanned, Scanner, Span},
    router::{Deferred, Dispatched, Router},
    services::Tally,
    session::Session,
};

/// So many requests are scanned before the first of them is executed.
const PLANNED_REQUESTS: usize = 128;

/// So many requests are looked at ahead of being executed, if there are at least so many.
const LOOK_AHEAD: usize = 32;
const FEWEST_TO_LOOK_AHEAD: usize = 4;

/// After so long in one batch other connections of the thread have their turn.
const LONGEST_BATCH_US: u64 = 5_000;

/// A client that sends so many commands in a row which are not about keys is not preparing one that is.
const MAX_PREPARATIONS: u32 = 64;

/// What a batch needs while it is executed.
#[derive(Debug, Default)]
pub(super) struct Batch {
    plan: Vec<Planned>,
    tally: Tally,
}

/// A request that was scanned and not executed yet.
#[derive(Debug)]
pub(super) struct Planned {
    /// Its first byte.
    start: usize,
    /// Its arguments among the spans.
    args: Range<usize>,
    /// How many bytes it has.
    length: usize,
    /// Whether an empty line or array stands before it.
    pub(super) is_behind_nothing: bool,
}

/// Why no more requests were scanned.
enum Stop {
    /// The plan is full, or the next request cannot be scanned before these are executed.
    Full,
    /// The rest has not come.
    Partial,
    /// The client broke the protocol.
    Broken(ProtocolError),
}

/// The requests of one client and the replies to them.
pub(super) struct Talk {
    pub(super) router: Arc<Router>,
    pub(super) session: Session,
    scanner: Scanner,
    pub(super) output: Output,
    /// What the requests of this batch so far wait for, and where its replies go.
    pub(super) deferred: Deferred,
    pub(super) held: Vec<Held>,
    /// Bytes in front of these places.
    pub(super) held_bytes: usize,
    /// Those replies.
    pub(super) pending: Option<Pin<Box<dyn Future<Output = Vec<Reply<'static>>> + Send>>>,
    pub(super) pending_since_us: u64,
    /// What the requests take whose replies these are.
    pub(super) pending_bytes: usize,
    pub(super) later: Option<Waiting>,
    pub(super) stopwatch: Stopwatch,
    /// A command was executed that may have changed settings.
    is_set_up_anew: bool,
    /// A command was executed that may have taken long.
    is_long: bool,
    /// The last command was refused before it ran.
    is_refused: bool,
    /// When the batch began.
    batch_began_us: u64,
    /// The batch was stopped because it took long.
    pub(super) has_to_yield: bool,
    /// What is paused, as it was when the batch began.
    pub(super) paused: Paused,
    /// A request waits for the end of the pause.
    pub(super) postponed: Option<Postponed>,
    /// The line of an inline command as it came, while something is paused.
    pub(super) line: Vec<u8>,
    /// An empty line or array was the last that was scanned.
    is_behind_nothing: bool,
    missing_bytes: usize,
    pub(super) pause_output_bytes: usize,
    is_paused: bool,
    /// The last command that there is.
    pub(super) last_command: Option<u16>,
    /// Commands executed since the last one that was about keys.
    preparations: u32,
    /// Commands executed in all.
    pub(super) commands: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Reads and writes that are not in the statistics yet.
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl Talk {
    pub(super) fn new(router: Arc<Router>, session: Session, pause_output_bytes: usize) -> Talk {
        Talk {
            router,
            session,
            scanner: Scanner::default(),
            output: Output::default(),
            deferred: Deferred::default(),
            held: Vec::new(),
            pending: None,
            pending_since_us: 0,
            pending_bytes: 0,
            later: None,
            held_bytes: 0,
            stopwatch: Stopwatch::default(),
            is_set_up_anew: false,
            is_long: false,
            is_refused: false,
            batch_began_us: 0,
            has_to_yield: false,
            last_command: None,
            paused: Paused::Nothing,
            postponed: None,
            line: Vec::new(),
            is_behind_nothing: false,
            missing_bytes: 0,
            pause_output_bytes,
            is_paused: false,
            preparations: 0,
            commands: 0,
            received_bytes: 0,
            sent_bytes: 0,
            reads: 0,
            writes: 0,
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// What is to be sent.
    pub(super) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether another request may be executed now.
    pub(super) fn may_take(&self) -> bool {
        !self.is_waiting()
            && !self.has_to_yield
            && !self.session.is_closing()
            && !self.deferred.is_full()
            && self.waiting_bytes() < self.pause_output_bytes
    }

    /// Whether the client is likely to send a command on keys next: a pool that checks a connection by a PING, a client
    /// that introduces itself.
    pub(super) fn is_preparing(&self) -> bool {
        (1..MAX_PREPARATIONS).contains(&self.preparations)
    }

    /// Whether a reply is being waited for, or the end of a pause.
    pub(super) fn is_waiting(&self) -> bool {
        self.later.is_some() || self.pending.is_some() || self.postponed.is_some()
    }

    /// Whether what is written has to wait for replies that come before it.
    pub(super) fn is_held(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether there may be complete requests that are not executed: the last batch had to stop, or something was
    /// read ahead.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Something was read and not looked at.
    pub(super) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// How many bytes the request lacks that has begun, at least.
    pub(super) fn missing_bytes(&self) -> usize {
        self.missing_bytes
    }

    /// Writes replies to this buffer, if there is none yet.
    pub(super) fn lend_buffer(&mut self, buffer: &mut Vec<u8>) {
        self.output.lend(buffer);
    }

    /// Gives the buffer back. Everything is sent.
    pub(super) fn return_buffer(&mut self, buffer: &mut Vec<u8>) {
        self.output.give_back(buffer);
    }

    /// Executes the requests at the start of the bytes; how many bytes are done with. What remains is the beginning
    /// of a request, whose spans remain too, or has to wait (`is_paused`). `count` bytes are new.
    pub(super) fn take(&mut self, bytes: &mut [u8], spans: &mut Vec<Span>, batch: &mut Batch, count: usize) -> usize {
        let start_us = self.router.services().clock.monotonic_us();
        self.stopwatch.start(start_us);
        self.batch_began_us = start_us;
        let output_before = self.output.len();
        self.output.limit_to(account::hard_output_bytes(self.router.services().settings.client_limits()));
        self.paused = self.router.services().clients.paused();
        self.received_bytes += count as u64;
        self.session.client().note_received(self.received_bytes);
        let done = self.execute_all(bytes, spans, batch);
        self.pursue(start_us);
        let end_us = self.stopwatch.last_us();
        let tally = &mut batch.tally;
        tally.input_bytes = count as u64;
        tally.output_bytes = self.output.len().saturating_sub(output_before) as u64;
        (tally.reads, tally.writes) = (self.reads + u64::from(count > 0), self.writes);
        (self.reads, self.writes) = (0, 0);
        self.router.services().statistics.record(tally);
        self.note_activity(end_us, self.last_command);
        tally.clear();
        done
    }

    fn execute_all(&mut self, bytes: &mut [u8], spans: &mut Vec<Span>, batch: &mut Batch) -> usize {
        let mut at = 0;
        self.is_paused = false;
        loop {
            batch.plan.clear();
            let stop = self.plan(bytes, &mut at, spans, &mut batch.plan);
            let executed = self.execute(bytes, spans, batch);
            if self.session.is_closing() {
                return bytes.len();
            }
            if let Some(next) = batch.plan.get(executed) {
                // The rest is scanned again when its time comes.
                (self.scanner, self.is_paused) = (Scanner::default(), true);
                self.is_behind_nothing = next.is_behind_nothing;
                spans.clear();
                if executed == 0 {
                    self.restore_line(&mut bytes[next.start..]);
                }
                return next.start;
            }
            if let Some(last) = batch.plan.last() {
                spans.drain(..last.args.end);
            }
            match stop {
                Stop::Full if !self.may_take() => {
                    self.is_paused = true;
                    return at;
                }
                Stop::Full => {}
                Stop::Partial => return at,
                Stop::Broken(_) if !self.may_take() => {
                    (self.scanner, self.is_paused) = (Scanner::default(), true);
                    spans.clear();
                    return at;
                }
                Stop::Broken(error) => {
                    self.refuse(error);
                    return bytes.len();
                }
            }
        }
    }

    /// Scans requests from `at` on, up to the last complete one, and moves `at` behind it.
    fn plan(&mut self, bytes: &mut [u8], at: &mut usize, spans: &mut Vec<Span>, plan: &mut Vec<Planned>) -> Stop {
        let limits = self.session.limits(&*self.router.services().settings);
        let max_requests = if limits.unauthenticated { 1 } else { PLANNED_REQUESTS };
        while plan.len() < max_requests {
            // Scanning an inline command changes it, so it must not be scanned twice: it is planned alone.
            let is_inline = bytes.get(*at).is_some_and(|&byte| byte != b'*');
            if is_inline && !plan.is_empty() {
                return Stop::Full;
            }
            if plan.is_empty() && self.paused > Paused::Nothing {
                self.keep_line(is_inline, &bytes[*at..]);
            }
            match self.scan(&mut bytes[*at..], spans, &limits) {
                Ok(Scanned::Request { args, length }) => {
                    let is_behind_nothing = std::mem::take(&mut self.is_behind_nothing);
                    plan.push(Planned { start: *at, args, length, is_behind_nothing });
                    *at += length;
                }
                Ok(Scanned::Empty { length }) => {
                    self.is_behind_nothing = true;
                    *at += length;
                }
                Ok(Scanned::Partial { missing }) => {
                    self.missing_bytes = missing;
                    return Stop::Partial;
                }
                Err(error) => return Stop::Broken(error),
            }
        }
        Stop::Full
    }

    #[inline]
    fn scan(&mut self, bytes: &mut [u8], spans: &mut Vec<Span>, limits: &Limits) -> Result<Scanned, ProtocolError> {
        self.scanner.scan(bytes, spans, limits)
    }

    /// Executes the plan until something has to wait; how many requests it executed.
    fn execute(&mut self, bytes: &[u8], spans: &[Span], batch: &mut Batch) -> usize {
        let now_unix_ms = self.router.services().clock.unix_ms();
        let database = self.session.mode().database;
        let request = |planned: &Planned| Request::new(&bytes[planned.start..], &spans[planned.args.clone()]);
        let mut limits = self.router.services().watch.limits();
        let mut group = self.stopwatch.group(batch.plan.len(), &limits);
        let mut timed = 0;
        for (number, planned) in batch.plan.iter().enumerate() {
            if number.is_multiple_of(LOOK_AHEAD) && batch.plan.len() - number >= FEWEST_TO_LOOK_AHEAD {
                self.router.prefetch(database, batch.plan[number..].iter().take(LOOK_AHEAD).map(request));
            }
            let output_bytes = self.output.len();
            let must_wait = match self.is_usual() {
                true => {
                    self.execute_one(&request(planned), now_unix_ms, &mut batch.tally);
                    false
                }
                false => {
                    let is_behind_nothing = planned.is_behind_nothing;
                    !self.execute_unusual(&request(planned), is_behind_nothing, now_unix_ms, &mut batch.tally)
                }
            };
            let executed = number + usize::from(!must_wait);
            let reply_bytes = self.output.len().saturating_sub(output_bytes);
            let is_refused = std::mem::take(&mut self.is_refused);
            if !must_wait && !is_refused && stopwatch::is_large(&limits, planned.length, reply_bytes) {
                self.log_large(&request(planned), &limits, planned.length, reply_bytes);
            }
            if std::mem::take(&mut self.is_long) {
                self.look_at_the_time(self.router.services().clock.monotonic_us());
            }
            let must_stop = must_wait || !self.may_take();
            if std::mem::take(&mut self.is_set_up_anew) {
                // What was executed before it was so under the limits that there were then.
                self.time(batch.plan[timed..number].iter().map(request), &mut batch.tally, &limits);
                timed = number;
                limits = self.router.services().watch.limits();
                self.output.limit_to(account::hard_output_bytes(self.router.services().settings.client_limits()));
                group = self.stopwatch.group(batch.plan.len(), &limits);
            }
            if executed - timed >= group || executed == batch.plan.len() || must_stop {
                let laps = batch.plan[timed..executed].iter().map(request);
                self.time(laps, &mut batch.tally, &limits);
                timed = executed;
                self.look_at_the_time(self.stopwatch.last_us());
            }
            if must_stop || self.has_to_yield {
                return executed;
            }
        }
        batch.plan.len()
    }

    /// Whether the batch has taken so long that it has to be stopped.
    #[inline]
    fn look_at_the_time(&mut self, now_us: u64) {
        self.has_to_yield |= now_us.saturating_sub(self.batch_began_us) > LONGEST_BATCH_US;
    }

    #[inline]
    pub(super) fn execute_one(&mut self, request: &Request<'_>, now_unix_ms: u64, tally: &mut Tally) {
        let (number, command) = match self.router.table().meant(request) {
            Ok(meant) => meant,
            Err(error) => {
                self.last_command = Some(NO_COMMAND);
                let mark = self.output.mark();
                self.router.refuse_unknown(error, &mut self.session, request, &mut self.output);
                return tally.note_error(self.output.since(mark));
            }
        };
        self.last_command = Some(number);
        let is_about_node = matches!(command.run, Run::Node(_));
        if is_about_node {
            self.session.client().note_commands(self.commands);
            self.preparations = self.preparations.saturating_add(1);
        } else {
            self.preparations = 0;
        }
        self.commands += 1;
        let mark = self.output.mark();
        let (session, out) = (&mut self.session, &mut self.output);
        match self.router.dispatch(session, (number, command), request, now_unix_ms, out, &mut self.deferred) {
            Dispatched::Done => tally.calls_of(number).succeeded += 1,
            Dispatched::Failed => {
                tally.calls_of(number).failed += 1;
                tally.note_error(self.output.since(mark));
            }
            Dispatched::Rejected => {
                self.commands -= 1;
                self.is_refused = true;
                tally.calls_of(number).rejected += 1;
                tally.note_error(self.output.since(mark));
            }
            Dispatched::Deferred => {
                let protocol = self.session.protocol();
                let before = if self.output.is_empty() { Output::default() } else { self.output.take() };
                self.held_bytes += before.len();
                let arguments = self.stopwatch.kept(request);
                self.held.push(Held { before, command: number, protocol, arguments, is_silent: false });
            }
            Dispatched::Later(reply) => {
                let since_us = self.router.services().clock.monotonic_us();
                self.later = Some(Waiting::new(reply, (number, command), stopwatch::arguments(request), since_us));
            }
            Dispatched::Blocked(blocked) => {
                self.session.client().wait_for(if blocked.has_time { Waits::UpToATime } else { Waits::ForEver });
                let since_us = self.router.services().clock.monotonic_us();
                let arguments = stopwatch::arguments(request);
                self.later = Some(Waiting::blocked(*blocked, (number, command), arguments, since_us));
            }
        }
        self.is_long |= !command.flags.contains_any(Flags::FAST.and(Flags::BRIEF));
        if is_about_node {
            // It may have paused commands, or changed what is logged.
            self.is_set_up_anew |= command.flags.contains(Flags::ADMIN);
            self.paused = self.router.services().clients.paused();
        }
    }

    /// Ends the connection: the client broke the protocol, or sends more than it may.
    fn refuse(&mut self, error: ProtocolError) {
        self.session.close();
        if error.is_too_long() {
            return self.end_for_its_request();
        }
        if self.is_answered() {
            self.output.reply(Reply::error_of(&[b"ERR ", &*error.0].concat()), self.session.protocol());
        }
    }
}
