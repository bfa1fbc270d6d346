//! The requests of one client and the replies to them, without the socket.

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    command::{Later, Run},
    resp::{Limits, Output, Protocol, ProtocolError, Reply, Request, Scanned, Scanner, Span},
    router::{Deferred, Dispatched, Router},
    services::Tally,
    session::Session,
};

/// So many requests are scanned before the first of them is executed.
const PLANNED_REQUESTS: usize = 128;

/// So many requests are looked at ahead of being executed, if there are at least so many.
const LOOK_AHEAD: usize = 32;
const FEWEST_TO_LOOK_AHEAD: usize = 4;

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
struct Planned {
    /// Its first byte.
    start: usize,
    /// Its arguments among the spans.
    args: Range<usize>,
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
    router: Arc<Router>,
    session: Session,
    scanner: Scanner,
    output: Output,
    /// What the requests of this batch so far wait for.
    deferred: Deferred,
    /// Where the replies that are waited for go.
    held: Vec<Held>,
    /// Those replies.
    pending: Option<Pin<Box<dyn Future<Output = Vec<Reply<'static>>> + Send>>>,
    pending_since_us: u64,
    later: Option<Waiting>,
    missing_bytes: usize,
    pause_output_bytes: usize,
    is_paused: bool,
    /// Commands executed since the last one that was about keys.
    preparations: u32,
}

/// A place among the replies, for one that is waited for.
struct Held {
    /// What leaves before it.
    before: Output,
    command: u16,
    protocol: Protocol,
}

/// A reply that will come.
struct Waiting {
    reply: Later,
    command: u16,
    since_us: u64,
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
            later: None,
            missing_bytes: 0,
            pause_output_bytes,
            is_paused: false,
            preparations: 0,
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
            && !self.session.is_closing()
            && !self.deferred.is_full()
            && self.output.len() < self.pause_output_bytes
    }

    /// Whether the client is likely to send a command on keys next: a pool that checks a connection by a PING, a client
    /// that introduces itself.
    pub(super) fn is_preparing(&self) -> bool {
        (1..MAX_PREPARATIONS).contains(&self.preparations)
    }

    /// Whether a reply is being waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.later.is_some() || self.pending.is_some()
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
        let output_before = self.output.len();
        let done = self.execute_all(bytes, spans, batch);
        self.pursue(start_us);
        let end_us = self.router.services().clock.monotonic_us();
        let tally = &mut batch.tally;
        tally.divide(end_us.saturating_sub(start_us));
        tally.input_bytes = count as u64;
        tally.output_bytes = self.output.len().saturating_sub(output_before) as u64;
        self.router.services().statistics.record(tally);
        let last = tally.calls.last().map(|calls| calls.command);
        self.session.client().note(end_us, last, bytes.len() - done, self.output.len());
        tally.clear();
        done
    }

    /// Sends off what was deferred in this batch.
    fn pursue(&mut self, since_us: u64) {
        if self.held.is_empty() {
            return;
        }
        let (deferred, router) = (std::mem::take(&mut self.deferred), self.router.clone());
        let client = self.session.client().id();
        self.pending = Some(Box::pin(async move { deferred.replies(&router, client).await }));
        self.pending_since_us = since_us;
    }

    /// Writes the replies that were waited for, if they have come.
    pub(super) fn poll_later(&mut self, cx: &mut Context<'_>) {
        self.poll_pending(cx);
        if self.pending.is_none() {
            self.poll_last(cx);
        }
    }

    /// Puts the replies of what was deferred in their places, if all of them have come.
    fn poll_pending(&mut self, cx: &mut Context<'_>) {
        let Some(pending) = &mut self.pending else { return };
        let Poll::Ready(replies) = pending.as_mut().poll(cx) else { return };
        self.pending = None;
        let mut tally = Tally::default();
        let mut output = Output::default();
        let rest = std::mem::take(&mut self.output);
        let mut output_bytes = 0;
        for (Held { before, command, protocol }, reply) in self.held.drain(..).zip(replies) {
            match output.is_empty() {
                true => output = before,
                false => output.append(before),
            }
            let calls = tally.calls_of(command);
            match reply.is_error() {
                true => calls.failed += 1,
                false => calls.succeeded += 1,
            }
            let len = output.len();
            output.reply(reply, protocol);
            output_bytes += output.len() - len;
        }
        output.append(rest);
        self.output = output;
        let services = self.router.services();
        tally.divide(services.clock.monotonic_us().saturating_sub(self.pending_since_us));
        tally.output_bytes = output_bytes as u64;
        services.statistics.record(&tally);
    }

    /// Writes the reply that comes last, if it has come.
    fn poll_last(&mut self, cx: &mut Context<'_>) {
        let Some(waiting) = &mut self.later else { return };
        let Poll::Ready(reply) = waiting.reply.as_mut().poll(cx) else { return };
        let services = self.router.services();
        let mut tally = Tally::default();
        let calls = tally.calls_of(waiting.command);
        match reply.is_error() {
            true => calls.failed = 1,
            false => calls.succeeded = 1,
        }
        tally.divide(services.clock.monotonic_us().saturating_sub(waiting.since_us));
        let output_before = self.output.len();
        self.output.reply(reply, self.session.protocol());
        tally.output_bytes = (self.output.len() - output_before) as u64;
        services.statistics.record(&tally);
        self.later = None;
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
                spans.clear();
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
            match self.scan(&mut bytes[*at..], spans, &limits) {
                Ok(Scanned::Request { args, length }) => {
                    plan.push(Planned { start: *at, args });
                    *at += length;
                }
                Ok(Scanned::Empty { length }) => *at += length,
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
        let request = |planned: &Planned| Request::new(&bytes[planned.start..], &spans[planned.args.clone()]);
        for (number, planned) in batch.plan.iter().enumerate() {
            if number.is_multiple_of(LOOK_AHEAD) && batch.plan.len() - number >= FEWEST_TO_LOOK_AHEAD {
                self.router.prefetch(batch.plan[number..].iter().take(LOOK_AHEAD).map(request));
            }
            self.execute_one(&request(planned), now_unix_ms, &mut batch.tally);
            if !self.may_take() {
                return number + 1;
            }
        }
        batch.plan.len()
    }

    #[inline]
    fn execute_one(&mut self, request: &Request<'_>, now_unix_ms: u64, tally: &mut Tally) {
        let Some((number, command)) = self.router.table().find(request.arg(0)) else {
            return self.router.refuse_unknown(&mut self.session, request, &mut self.output);
        };
        self.preparations = match command.run {
            Run::Node(_) => self.preparations.saturating_add(1),
            _ => 0,
        };
        let (session, out) = (&mut self.session, &mut self.output);
        match self.router.dispatch(session, (number, command), request, now_unix_ms, out, &mut self.deferred) {
            Dispatched::Done => tally.calls_of(number).succeeded += 1,
            Dispatched::Failed => tally.calls_of(number).failed += 1,
            Dispatched::Rejected => tally.calls_of(number).rejected += 1,
            Dispatched::Deferred => {
                let protocol = self.session.protocol();
                let before = if self.output.is_empty() { Output::default() } else { std::mem::take(&mut self.output) };
                self.held.push(Held { before, command: number, protocol });
            }
            Dispatched::Later(reply) => {
                let since_us = self.router.services().clock.monotonic_us();
                self.later = Some(Waiting { reply, command: number, since_us });
            }
        }
    }

    fn refuse(&mut self, error: ProtocolError) {
        let text = format!("ERR {}", error.0);
        self.output.reply(Reply::Error(text.into()), self.session.protocol());
        self.session.close();
    }
}
