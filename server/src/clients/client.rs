//! One client, as others see it.

use std::{
    fmt::Write,
    net::SocketAddr,
    ops::Deref,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::Arrival;
use crate::{resp::Protocol, session::Port, types::Database};

/// The connection is to end at once.
const KILL: u8 = 1;
/// The connection is to end between two commands.
pub(super) const CLOSE_IDLE: u8 = 2;

/// No command yet.
pub(crate) const NO_COMMAND: u16 = u16::MAX;

/// A client, as others see it.
#[derive(Debug)]
pub struct Client {
    id: u64,
    arrival: Arrival,
    events: AtomicU8,
    pub(super) task: AtomicWaker,
    active_at_us: AtomicU64,
    last_command: AtomicU16,
    commands: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    protocol: AtomicU8,
    database: AtomicU8,
    traits: AtomicU8,
    waits: AtomicU8,
    fixed_bytes: AtomicUsize,
    kept: Kept,
    names: Mutex<Names>,
    name_bytes: AtomicUsize,
}

/// What a client calls itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// `CLIENT SETNAME`; empty: none.
    pub name: Vec<u8>,
    /// `CLIENT SETINFO lib-name`.
    pub library: Vec<u8>,
    /// `CLIENT SETINFO lib-ver`.
    pub library_version: Vec<u8>,
}

/// What a client chose or is, which a letter in `CLIENT LIST` shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trait {
    /// `READONLY`.
    ReadOnly = 1,
    /// `CLIENT NO-EVICT`.
    NoEvict = 2,
    /// `CLIENT NO-TOUCH`.
    NoTouch = 4,
    /// `CLIENT CAPA REDIRECT`.
    Redirect = 8,
}

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Waits {
    /// Nothing.
    Not,
    /// A command that blocks, for as long as it takes.
    ForEver,
    /// A command that blocks, up to a time.
    UpToATime,
    /// The end of a pause.
    Paused,
    /// It was told that its time is over.
    TimeOver,
    /// It was told to give up.
    GivenUp,
}

impl Waits {
    const ALL: [Waits; 6] =
        [Waits::Not, Waits::ForEver, Waits::UpToATime, Waits::Paused, Waits::TimeOver, Waits::GivenUp];
}

/// The buffers that a connection keeps from one turn to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Buffers {
    /// Bytes of requests that are not executed.
    pub(crate) input_bytes: usize,
    /// The memory for them.
    pub(crate) input_capacity: usize,
    /// Bytes of replies in the run that they are written to.
    pub(crate) output_tail: usize,
    /// Pieces of replies before that run.
    pub(crate) output_pieces: usize,
    /// The memory of all replies.
    pub(crate) output_memory: usize,
    /// The requests whose replies are waited for.
    pub(crate) argument_bytes: usize,
    /// What it calls itself.
    pub(crate) name_bytes: usize,
    /// Whether the connection looks for requests.
    pub(crate) reads: bool,
}

impl Buffers {
    /// The memory that they take up.
    pub(crate) fn memory(&self) -> usize {
        self.input_capacity + self.output_memory + self.argument_bytes + self.name_bytes
    }
}

/// The same, for others to look at.
#[derive(Debug, Default)]
struct Kept {
    input_bytes: AtomicUsize,
    input_capacity: AtomicUsize,
    output_tail: AtomicUsize,
    output_pieces: AtomicUsize,
    output_memory: AtomicUsize,
    argument_bytes: AtomicUsize,
    name_bytes: AtomicUsize,
    reads: AtomicBool,
}

impl Client {
    pub(super) fn new(id: u64, arrival: Arrival) -> Client {
        Client {
            id,
            arrival,
            events: AtomicU8::new(0),
            task: AtomicWaker::new(),
            active_at_us: AtomicU64::new(arrival.at_us),
            last_command: AtomicU16::new(NO_COMMAND),
            commands: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            protocol: AtomicU8::new(2),
            database: AtomicU8::new(0),
            traits: AtomicU8::new(0),
            waits: AtomicU8::new(Waits::Not as u8),
            fixed_bytes: AtomicUsize::new(size_of::<Client>()),
            kept: Kept { reads: AtomicBool::new(true), ..Kept::default() },
            names: Mutex::default(),
            name_bytes: AtomicUsize::new(0),
        }
    }

    /// Its number; never used twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where it is.
    pub fn peer(&self) -> SocketAddr {
        self.arrival.peer
    }

    /// Where it reached us.
    pub fn local(&self) -> SocketAddr {
        self.arrival.local
    }

    /// The port it came in by.
    pub fn port(&self) -> Port {
        self.arrival.port
    }

    /// What it calls itself.
    pub fn names(&self) -> impl Deref<Target = Names> + '_ {
        self.names.lock()
    }

    /// The number of the database that its keys are of.
    pub fn database(&self) -> u8 {
        self.database.load(Relaxed)
    }

    /// `CLIENT SETNAME`.
    pub fn rename(&self, name: Vec<u8>) {
        self.change_names(|names| names.name = name);
    }

    /// `CLIENT SETINFO lib-name`.
    pub fn set_library(&self, library: Vec<u8>) {
        self.change_names(|names| names.library = library);
    }

    /// `CLIENT SETINFO lib-ver`.
    pub fn set_library_version(&self, version: Vec<u8>) {
        self.change_names(|names| names.library_version = version);
    }

    fn change_names(&self, change: impl FnOnce(&mut Names)) {
        let mut names = self.names.lock();
        change(&mut names);
        let Names { name, library, library_version } = &*names;
        self.name_bytes.store(name.len() + library.len() + library_version.len(), Relaxed);
    }

    /// For the connection: what its names take up, in bytes.
    pub(crate) fn name_bytes(&self) -> usize {
        self.name_bytes.load(Relaxed)
    }

    /// Ends its connection, whatever it does.
    pub fn kill(&self) {
        self.notify(KILL);
    }

    /// Ends the wait of a command that blocks, as if its time were over, or by an error. Whether it was in one.
    pub fn unblock(&self, by_an_error: bool) -> bool {
        let told = if by_an_error { Waits::GivenUp } else { Waits::TimeOver } as u8;
        let blocked = [Waits::ForEver, Waits::UpToATime].map(|waits| waits as u8);
        let is_told = blocked.iter().any(|&was| self.waits.compare_exchange(was, told, AcqRel, Relaxed).is_ok());
        if is_told {
            self.task.wake();
        }
        is_told
    }

    /// Whether this holds of it.
    pub fn is(&self, one: Trait) -> bool {
        self.traits.load(Relaxed) & one as u8 != 0
    }

    /// From now on this holds of it, or does not.
    pub fn set(&self, one: Trait, holds: bool) {
        if holds {
            self.traits.fetch_or(one as u8, Relaxed);
        } else {
            self.traits.fetch_and(!(one as u8), Relaxed);
        }
    }

    /// How long it has been connected, in whole seconds.
    pub fn age_secs(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.arrival.at_us) / 1_000_000
    }

    /// How long it has asked nothing, in whole seconds.
    pub fn idle_secs(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_at_us.load(Relaxed)) / 1_000_000
    }

    /// The letters of `flags`, none if there is nothing to say.
    pub fn letters(&self) -> String {
        let letters = [
            (self.waits() != Waits::Not, 'b'),
            (self.is(Trait::ReadOnly), 'r'),
            (self.is(Trait::NoEvict), 'e'),
            (self.is(Trait::NoTouch), 'T'),
        ];
        letters.into_iter().filter_map(|(holds, letter)| holds.then_some(letter)).collect()
    }

    /// The memory that its connection takes up, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.fixed_bytes.load(Relaxed) + self.buffers().memory()
    }

    /// One line of `CLIENT LIST`. What does not exist here is written as what it is: there is no fixed buffer for
    /// replies, a request is copied out of its buffer only when it has to wait or goes to another node, and nobody
    /// subscribes.
    pub fn describe(&self, now_us: u64, command_name: impl Fn(u16) -> &'static str) -> Vec<u8> {
        let names = self.names();
        let Buffers {
            input_bytes,
            input_capacity,
            output_tail,
            output_pieces,
            output_memory,
            argument_bytes,
            reads,
            ..
        } = self.buffers();
        let command = match self.last_command.load(Relaxed) {
            NO_COMMAND => "NULL",
            command => command_name(command),
        };
        let (mut flags, has_output) = (self.letters(), output_tail + output_pieces > 0);
        if flags.is_empty() {
            flags.push('N');
        }
        let letter = |holds: bool, letter: &'static str| if holds { letter } else { "" };
        let mut line =
            format!("id={} addr={} laddr={} fd={} name=", self.id, self.peer(), self.local(), self.arrival.file)
                .into_bytes();
        line.extend_from_slice(up_to_zero(&names.name));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            " age={} idle={} flags={flags} capa={} db={} sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf={input_bytes} \
             qbuf-free={} argv-mem={argument_bytes} multi-mem=0 rbs=0 rbp=0 obl={output_tail} oll={output_pieces} \
             omem={output_memory} tot-mem={} events={}{} cmd={command} user=default redir=-1 resp={} lib-name=",
            self.age_secs(now_us),
            self.idle_secs(now_us),
            letter(self.is(Trait::Redirect), "r"),
            self.database(),
            input_capacity.saturating_sub(input_bytes),
            self.memory_bytes(),
            letter(reads, "r"),
            letter(has_output, "w"),
            self.protocol.load(Relaxed),
        );
        line.extend_from_slice(text.as_bytes());
        line.extend_from_slice(up_to_zero(&names.library));
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(up_to_zero(&names.library_version));
        let (received, sent) = (self.received_bytes.load(Relaxed), self.sent_bytes.load(Relaxed));
        let commands = self.commands.load(Relaxed);
        line.extend_from_slice(format!(" tot-net-in={received} tot-net-out={sent} tot-cmds={commands}").as_bytes());
        line
    }

    /// For the connection: a batch was executed.
    pub(crate) fn note(&self, at_us: u64, last_command: Option<u16>, commands: u64) {
        self.active_at_us.store(at_us, Relaxed);
        if let Some(command) = last_command {
            self.last_command.store(command, Relaxed);
        }
        self.commands.store(commands, Relaxed);
    }

    /// For the connection: the command that it is about to execute, when that command looks at this list.
    pub(crate) fn note_command(&self, command: u16) {
        self.last_command.store(command, Relaxed);
    }

    /// For the connection: so many commands were executed before one that looks at this list.
    pub(crate) fn note_commands(&self, commands: u64) {
        self.commands.store(commands, Relaxed);
    }

    /// For the connection: so many bytes came in all.
    pub(crate) fn note_received(&self, bytes: u64) {
        self.received_bytes.store(bytes, Relaxed);
    }

    /// For the connection: so many bytes left in all.
    pub(crate) fn note_sent(&self, bytes: u64) {
        self.sent_bytes.store(bytes, Relaxed);
    }

    /// For the connection: what it takes up whatever it does.
    pub(crate) fn note_fixed(&self, bytes: usize) {
        self.fixed_bytes.store(size_of::<Client>() + bytes, Relaxed);
    }

    /// For the connection: what it keeps.
    pub(crate) fn note_buffers(&self, buffers: &Buffers) {
        let kept = &self.kept;
        kept.input_bytes.store(buffers.input_bytes, Relaxed);
        kept.input_capacity.store(buffers.input_capacity, Relaxed);
        kept.output_tail.store(buffers.output_tail, Relaxed);
        kept.output_pieces.store(buffers.output_pieces, Relaxed);
        kept.output_memory.store(buffers.output_memory, Relaxed);
        kept.argument_bytes.store(buffers.argument_bytes, Relaxed);
        kept.name_bytes.store(buffers.name_bytes, Relaxed);
        kept.reads.store(buffers.reads, Relaxed);
    }

    /// What its connection keeps.
    pub(crate) fn buffers(&self) -> Buffers {
        let kept = &self.kept;
        Buffers {
            input_bytes: kept.input_bytes.load(Relaxed),
            input_capacity: kept.input_capacity.load(Relaxed),
            output_tail: kept.output_tail.load(Relaxed),
            output_pieces: kept.output_pieces.load(Relaxed),
            output_memory: kept.output_memory.load(Relaxed),
            argument_bytes: kept.argument_bytes.load(Relaxed),
            name_bytes: kept.name_bytes.load(Relaxed),
            reads: kept.reads.load(Relaxed),
        }
    }

    pub(crate) fn speaks(&self, protocol: Protocol) {
        let number = match protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        self.protocol.store(number, Relaxed);
    }

    pub(crate) fn selects(&self, database: Database) {
        self.database.store(database.number(), Relaxed);
    }

    /// For the connection: what it waits for from now on. What it was told until then is lost.
    pub(crate) fn wait_for(&self, what: Waits) -> Waits {
        Waits::ALL[usize::from(self.waits.swap(what as u8, AcqRel))]
    }

    /// What it waits for, or was told.
    pub(crate) fn waits(&self) -> Waits {
        Waits::ALL[usize::from(self.waits.load(Acquire))]
    }

    /// For the connection's task: wake it at the next event.
    pub(crate) fn wake_on_event(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Whether its connection was told to end at once.
    pub(crate) fn is_killed(&self) -> bool {
        self.events.load(Acquire) & KILL != 0
    }

    /// For the connection's task: whether it is to end between two commands.
    pub(crate) fn is_to_close(&self) -> bool {
        self.events.load(Acquire) & CLOSE_IDLE != 0
    }

    pub(super) fn notify(&self, event: u8) {
        self.events.fetch_or(event, Release);
        self.task.wake();
    }
}

/// What Redis prints of a text that a client gave: as in C, all before the first zero byte.
fn up_to_zero(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}
