//! One link from a peer, the receiving side: frames in, executed in the order in which they come, replies out.
//!
//! What this node acts for is executed as it is read, without a copy and without a task. What it does not act for
//! waits a little in a task of its own, together with the rest of its group: a role may just be on its way here, or
//! the node that took it over can be asked. Nothing behind the group on the link waits for it.

mod many;
mod replies;

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use ring::slot::Slot;
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::watch,
    time::timeout,
};

use self::{
    many::Whole,
    replies::{MAX_BYTES, Replies, append, fitting},
};
use super::{
    frame::{self, BULK, Head, Kind, LARGE_BYTES, MAX_FRAME_BYTES, MORE, Malformed, Status, reply_head},
    link::invalid,
    pursue::{Terms, pursue},
    work::{Outcome, Work},
};
use crate::{
    command::{Command, Flags, Table},
    resp::{Limits, Output, Protocol, Reply, Request, Scanned, Scanner, Span},
    router::{Call, Ran, Router},
    store::Ticket,
};

/// So long this node tries, for another, to have something executed that it does not act for.
const RELAY_US: u64 = 200_000;

/// A request that came over so many nodes is executed here or nowhere.
const MAX_HOPS: u8 = 2;

/// The largest `proto-max-bulk-len` that a node can have; the client's own node has checked its own.
const LIMITS: Limits = Limits::new(512 << 20, false);

/// So long the requests that came before something malformed have to be answered.
const LAST_REPLIES: Duration = Duration::from_millis(200);

/// After so long in one batch other tasks of the thread have their turn.
const LONGEST_BATCH_US: u64 = 5_000;

/// Serves the requests that a peer sends over this connection, until it ends, or `shutdown` becomes true and what was
/// read is answered.
pub async fn serve_link(stream: TcpStream, router: Arc<Router>, shutdown: watch::Receiver<bool>) {
    if let Err(error) = try_serve(stream, router, shutdown).await {
        tracing::debug!(%error, "a link with requests of another node ended");
    }
}

async fn try_serve(stream: TcpStream, router: Arc<Router>, mut shutdown: watch::Receiver<bool>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, output) = stream.into_split();
    let replies = Arc::new(Replies::default());
    let mut server = Server {
        router,
        replies: replies.clone(),
        bytes: BytesMut::new(),
        spans: Vec::new(),
        scratch: Output::default(),
        group: None,
    };
    let mut writing = tokio::spawn(replies.clone().write(output));
    // A sender that is gone asks for the same.
    let asked = async move { drop(shutdown.wait_for(|is_shutting_down| *is_shutting_down).await) };
    let read = tokio::select! {
        read = server.read(&mut input) => read,
        // What was read is answered, if the reading was interrupted between two parts of it.
        () = asked => server.take_rest().map_err(invalid),
    };
    drop(server);
    replies.finish();
    if read.is_err() {
        // Nothing that is sent after this is read any more, so its sender is not kept for long.
        if let Err(_elapsed) = timeout(LAST_REPLIES, &mut writing).await {
            writing.abort();
        }
        return read;
    }
    writing.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Server {
    router: Arc<Router>,
    replies: Arc<Replies>,
    /// What was read and not executed.
    bytes: BytesMut,
    spans: Vec<Span>,
    scratch: Output,
    /// The group whose frames are coming, if one of them was not executed.
    group: Option<Group>,
}

/// Requests of one slot that have to wait, or are refused.
#[derive(Default)]
struct Group {
    work: Work,
    ids: Vec<u32>,
    /// It is not tried any more: what follows is refused with the same status.
    is_refused: bool,
    head: Option<Head>,
}

/// What is executed at once, as long as it takes no more than [`LONGEST_BATCH_US`].
struct Batch {
    now_unix_ms: u64,
    /// Replies that may leave.
    ready: Output,
    /// Replies that wait for the peers.
    written: Vec<Acknowledged>,
}

/// What is answered when the peers have it.
struct Acknowledged {
    id: u32,
    reply: Output,
    ticket: Ticket,
}

impl Server {
    async fn read(&mut self, input: &mut OwnedReadHalf) -> io::Result<()> {
        let mut may_be_more = false;
        loop {
            self.replies.until_room().await?;
            if may_be_more {
                tokio::task::yield_now().await;
            } else {
                self.bytes.reserve(64 << 10);
                if input.read_buf(&mut self.bytes).await? == 0 {
                    return Ok(());
                }
            }
            may_be_more = self.take().map_err(invalid)?;
        }
    }

    /// Executes complete frames of what was read, and hands over all replies at once. Whether it stopped with frames left,
    /// because it took long or much waits to be sent.
    fn take(&mut self) -> Result<bool, Malformed> {
        let clock = self.router.services().clock.clone();
        let began_us = clock.monotonic_us();
        let mut batch = Batch { now_unix_ms: clock.unix_ms(), ready: Output::default(), written: Vec::new() };
        let result = loop {
            let (head, mut frame) = match frame::next_request(&mut self.bytes) {
                Ok(Some(request)) => request,
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            };
            let executed = match head.kind {
                Kind::Command => self.command(head, &mut frame, &mut batch),
                Kind::Every | Kind::Scan | Kind::Wait | Kind::Verify | Kind::Tell => self.whole(head, frame.freeze()),
                Kind::Ping => {
                    append(&mut batch.ready, head.id, Status::Executed, Output::default());
                    Ok(())
                }
            };
            if let Err(error) = executed {
                break Err(error);
            }
            if batch.ready.len() > MAX_BYTES || clock.monotonic_us() - began_us > LONGEST_BATCH_US {
                break Ok(true);
            }
        };
        if !batch.ready.is_empty() {
            self.replies.state.lock().output.append(batch.ready);
            self.replies.written.notify_one();
        }
        self.await_acks(batch.written);
        result
    }

    /// Executes every complete frame of what was read.
    fn take_rest(&mut self) -> Result<(), Malformed> {
        while self.take()? {}
        Ok(())
    }

    fn command(&mut self, head: Head, frame: &mut BytesMut, batch: &mut Batch) -> Result<(), Malformed> {
        self.spans.clear();
        let command = scan(frame, &mut self.spans)?;
        let request = Request::new(frame, &self.spans);
        let Some(run) = command.run.on_slot().filter(|_| is_for(command, &request, head.slot)) else {
            return Err(Malformed("a request that is not for its slot"));
        };
        if self.group.is_none() {
            let out = &mut self.scratch;
            let is_read = command.flags.contains(Flags::READONLY);
            let is_refused_if_large = head.flags & BULK == 0;
            out.limit_to(if is_read && is_refused_if_large { LARGE_BYTES } else { MAX_FRAME_BYTES });
            let call = Call { command, run, request, mode: head.mode, now_unix_ms: batch.now_unix_ms };
            let ran = self.router.run_here(head.slot, &call, out);
            let is_large = out.len() > LARGE_BYTES;
            let is_too_large = is_large && is_refused_if_large;
            match ran {
                Ran::NotActing => {
                    let is_refused = head.hops >= MAX_HOPS;
                    self.group = Some(Group { is_refused, head: Some(head), ..Group::default() });
                }
                Ran::Done | Ran::Failed if is_too_large && is_read => {
                    self.scratch = Output::default();
                    append(&mut batch.ready, head.id, Status::TooLarge, Output::default());
                    if head.flags & MORE != 0 {
                        self.group = Some(Group { is_refused: true, head: Some(head), ..Group::default() });
                    }
                    return Ok(());
                }
                Ran::Done | Ran::Failed if is_large => {
                    append(&mut batch.ready, head.id, Status::Executed, std::mem::take(out));
                }
                Ran::Done | Ran::Failed => {
                    batch.ready.raw(&reply_head(head.id, Status::Executed, out));
                    drain(out, &mut batch.ready);
                }
                Ran::Written(ticket) => {
                    batch.written.push(Acknowledged { id: head.id, reply: std::mem::take(out), ticket });
                }
            }
        }
        if let Some(group) = &mut self.group {
            match group.is_refused {
                true => append(&mut batch.ready, head.id, Status::NotExecuted, Output::default()),
                false => {
                    group.work.push(head.slot, command, head.mode, request.args_from(0));
                    group.ids.push(head.id);
                }
            }
        }
        if head.flags & MORE == 0
            && let Some(group) = self.group.take()
        {
            self.relay(group);
        }
        Ok(())
    }

    /// Tries in a task to have the requests of a group executed.
    fn relay(&self, mut group: Group) {
        let Some(head) = group.head.filter(|_| !group.ids.is_empty()) else { return };
        let task = self.replies.begin_task(group.work.len());
        let router = self.router.clone();
        tokio::spawn(async move {
            let patience_us = RELAY_US.min(u64::from(head.deadline_ms) * 1000);
            let deadline_us = router.services().clock.monotonic_us() + patience_us;
            let terms = Terms { hops: head.hops, deadline_us, client: u64::from(head.slot.number()) };
            pursue(&router, &mut group.work, terms).await;
            for (item, id) in group.work.items.into_iter().zip(group.ids) {
                let (status, body) = answer(&router, item.outcome).await;
                task.replies.push(id, status, body);
            }
        });
    }

    fn await_acks(&self, written: Vec<Acknowledged>) {
        if written.is_empty() {
            return;
        }
        let task = self.replies.begin_task(0);
        let (router, since_us) = (self.router.clone(), self.router.services().clock.monotonic_us());
        tokio::spawn(async move {
            for Acknowledged { id, reply, ticket } in written {
                let body = match router.acknowledged(&ticket, since_us).await {
                    Ok(()) => reply,
                    Err(error) => {
                        let mut body = Output::default();
                        body.reply(error, Protocol::Resp2);
                        body
                    }
                };
                task.replies.push(id, Status::Executed, body);
            }
        });
    }

    /// A request about many slots, in a task.
    fn whole(&self, head: Head, body: Bytes) -> Result<(), Malformed> {
        if head.flags & MORE != 0 || self.group.is_some() {
            return Err(Malformed("a request about many slots inside a group"));
        }
        let asked = Whole::read(head, body)?;
        let (task, router) = (self.replies.begin_task(0), self.router.clone());
        tokio::spawn(async move {
            let mut out = Output::default();
            let replies = task.replies.clone();
            let status = tokio::select! {
                status = asked.run(&router, head, &mut out) => status,
                // Who only waits or looks, does so in vain when nobody is there to be answered.
                () = replies.until_finished(), if matches!(head.kind, Kind::Wait | Kind::Verify) => return,
            };
            task.replies.push(head.id, status, fitting(out, true));
        });
        Ok(())
    }
}

/// Reads a request for one slot, as [`Server::command`] does before it executes it.
#[cfg(any(test, fuzzing))]
pub(super) fn read_command(head: Head, mut frame: BytesMut) {
    let mut spans = Vec::new();
    if let Ok(command) = scan(&mut frame, &mut spans) {
        is_for(command, &Request::new(&frame, &spans), head.slot);
    }
}

/// Reads a request about many slots.
#[cfg(any(test, fuzzing))]
pub(super) fn read_whole(head: Head, body: Bytes) {
    drop(Whole::read(head, body));
}

async fn answer(router: &Router, outcome: Option<Outcome>) -> (Status, Output) {
    let mut body = Output::default();
    let status = match outcome {
        Some(Outcome::Replied(reply)) => {
            body.reply(Reply::Encoded(reply), Protocol::Resp2);
            Status::Executed
        }
        Some(Outcome::Written { reply, ticket, since_us }) => {
            let failed = router.acknowledged(&ticket, since_us).await.err();
            body.reply(failed.unwrap_or(Reply::Encoded(reply)), Protocol::Resp2);
            Status::Executed
        }
        Some(Outcome::Lost) => Status::Indeterminate,
        Some(Outcome::NotExecuted) | None => Status::NotExecuted,
    };
    (status, body)
}

/// Reads the request that a frame carries, and finds its command.
fn scan(bytes: &mut [u8], spans: &mut Vec<Span>) -> Result<&'static Command, Malformed> {
    const NO_REQUEST: Malformed = Malformed("a frame without a complete request");
    if bytes.first() != Some(&b'*') {
        return Err(NO_REQUEST);
    }
    match Scanner::default().scan(bytes, spans, &LIMITS) {
        Ok(Scanned::Request { length, .. }) if length == bytes.len() => {}
        _ => return Err(NO_REQUEST),
    }
    let request = Request::new(bytes, spans);
    let (_, command) =
        Table::of_links().meant(&request).map_err(|_| Malformed("a command that this node does not know"))?;
    if command.accepts(request.len()) {
        Ok(command)
    } else {
        Err(Malformed("a command with a wrong number of arguments"))
    }
}

/// Whether the command runs on one slot, and all its keys are in this one.
fn is_for(command: &Command, request: &Request<'_>, slot: Slot) -> bool {
    let mut keys = command.keys.places(request).peekable();
    keys.peek().is_some() && keys.all(|place| Slot::of(request.arg(place)) == slot)
}

/// Moves everything, and keeps the memory of what is small.
fn drain(from: &mut Output, to: &mut Output) {
    match from.as_single() {
        Some(bytes) => {
            to.raw(bytes);
            from.advance(from.len());
        }
        None => to.append(std::mem::take(from)),
    }
}
