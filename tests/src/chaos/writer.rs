//! A client: it writes, removes and reads keys of its own through any node, one command after the other, and goes on with
//! a key until it succeeds.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::history::{Act, End, Event, Since};

/// Keys of one client.
pub(super) const KEYS: usize = 40;

/// Between two commands.
const PACE: Duration = Duration::from_millis(2);
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether it is still worth waiting.
const LOOK: Duration = Duration::from_millis(20);

/// What clients are told while they run.
#[derive(Debug)]
pub(super) struct Orders {
    /// Where hosts are; none: they are not to be used.
    hosts: Mutex<Vec<Option<SocketAddr>>>,
    /// Everyone stays with its host.
    stay: AtomicBool,
    /// Nothing is removed.
    keep: AtomicBool,
    over: AtomicBool,
}

impl Orders {
    pub(super) fn new(hosts: Vec<SocketAddr>) -> Orders {
        let hosts = Mutex::new(hosts.into_iter().map(Some).collect());
        Orders { hosts, stay: AtomicBool::new(false), keep: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    /// This host is not to be used from now on, not even for an answer that is waited for.
    pub(super) fn avoid(&self, host: usize) {
        self.hosts()[host] = None;
    }

    /// This host is to be used.
    pub(super) fn allow(&self, host: usize, address: SocketAddr) {
        let mut hosts = self.hosts();
        let count = hosts.len().max(host + 1);
        hosts.resize(count, None);
        hosts[host] = Some(address);
    }

    /// Whether everyone stays with its host, and removes nothing: on the two sides of a split no one sees what the other
    /// side has, so a removal there says nothing.
    pub(super) fn split(&self, is_split: bool) {
        self.stay.store(is_split, Relaxed);
        self.keep.store(is_split, Relaxed);
    }

    pub(super) fn end(&self) {
        self.over.store(true, Relaxed);
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, Vec<Option<SocketAddr>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self, host: usize) -> Option<SocketAddr> {
        self.hosts()[host]
    }

    fn any(&self, random: &mut Rng) -> Option<usize> {
        let hosts = self.hosts();
        let usable: Vec<usize> = (0..hosts.len()).filter(|&host| hosts[host].is_some()).collect();
        (!usable.is_empty()).then(|| usable[random.usize(..usable.len())])
    }
}

/// A time in which a client tried in vain to have one command executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    /// The host that it was with.
    pub(super) host: usize,
}

/// What a client did and saw.
#[derive(Default, Debug)]
pub(super) struct Record {
    pub(super) events: Vec<Event>,
    pub(super) outages: Vec<Outage>,
}

struct Writer<'a> {
    orders: &'a Orders,
    since: Since,
    random: Rng,
    /// The host that it is with, and the connection to it.
    host: usize,
    stream: Option<TcpStream>,
    record: Record,
}

/// What a node said.
enum Answer {
    Status,
    Integer,
    Bulk(Option<Vec<u8>>),
    Error(String),
}

/// The name of a key.
pub(super) fn name(key: usize) -> String {
    format!("chaos:{key}")
}

/// The version that a value is; none if it is none.
pub(super) fn version(value: Option<&[u8]>) -> Option<u64> {
    match value {
        None => Some(0),
        Some(value) => std::str::from_utf8(value).ok()?.strip_prefix('v')?.parse().ok(),
    }
}

/// Runs a client of this number until it is told to end.
pub(super) fn run(number: usize, orders: &Orders, since: Since, seed: u64) -> Record {
    let random = Rng::with_seed(seed ^ (number as u64) << 32);
    let mut writer = Writer { orders, since, random, host: 0, stream: None, record: Record::default() };
    writer.leave();
    let mut versions = [0; KEYS];
    let mut vain: Option<(usize, Act, u64)> = None;
    while !orders.over.load(Relaxed) {
        thread::sleep(PACE);
        let (key, act, began_us) = vain.unwrap_or_else(|| {
            let act = match writer.random.u8(..20) {
                0 if !orders.keep.load(Relaxed) => Act::Delete,
                0..10 => Act::Set,
                _ => Act::Get,
            };
            (writer.random.usize(..KEYS), act, since.us())
        });
        versions[key] += u64::from(act != Act::Get);
        let executed = writer.command(number * KEYS + key, act, versions[key]);
        let outage = Outage { from_us: began_us, to_us: since.us(), host: writer.host };
        vain = match executed {
            true => {
                writer.record.outages.push(outage);
                None
            }
            false => Some((key, act, began_us)),
        };
    }
    if let Some((_, _, from_us)) = vain {
        writer.record.outages.push(Outage { from_us, to_us: since.us(), host: writer.host });
    }
    writer.record
}

impl Writer<'_> {
    /// Has one command executed, or not; whether it was.
    fn command(&mut self, key: usize, act: Act, version: u64) -> bool {
        if !self.connect() {
            return false;
        }
        let line = match act {
            Act::Set => format!("SET {} v{version}\r\n", name(key)),
            Act::Delete => format!("DEL {}\r\n", name(key)),
            Act::Get => format!("GET {}\r\n", name(key)),
        };
        let (host, from_us) = (self.host, self.since.us());
        let answer = self.ask(line.as_bytes());
        let (end, read, said) = match answer {
            Ok(Answer::Bulk(value)) if act == Act::Get => match self::version(value.as_deref()) {
                Some(version) => (End::Ok, version, None),
                None => (End::Ok, u64::MAX, Some("a value that is no version".to_owned())),
            },
            Ok(Answer::Status) if act == Act::Set => (End::Ok, version, None),
            Ok(Answer::Integer) if act == Act::Delete => (End::Ok, version, None),
            Ok(Answer::Error(text)) if text.starts_with("INDETERMINATE") => (End::Unknown, version, Some(text)),
            Ok(Answer::Error(text)) => (End::Failed, version, Some(text)),
            Ok(_) => (End::Unknown, version, Some("an answer to something else".to_owned())),
            Err(why) => (End::Unknown, version, Some(why)),
        };
        if end != End::Ok {
            self.leave();
        }
        let to_us = self.since.us();
        self.record.events.push(Event { from_us, to_us, key, act, version: read, end, host, said });
        end == End::Ok
    }

    /// Goes to another host, unless it is to stay.
    fn leave(&mut self) {
        self.stream = None;
        if !self.orders.stay.load(Relaxed)
            && let Some(host) = self.orders.any(&mut self.random)
        {
            self.host = host;
        }
    }

    /// Whether there is a connection. One that the node has ended is replaced: it told nobody by an error.
    fn connect(&mut self) -> bool {
        let is_gone = self.stream.as_ref().is_some_and(|stream| {
            let _ = stream.set_nonblocking(true);
            let seen = stream.peek(&mut [0]);
            let _ = stream.set_nonblocking(false);
            !matches!(seen, Err(error) if error.kind() == ErrorKind::WouldBlock)
        });
        if is_gone || self.orders.address(self.host).is_none() {
            self.leave();
        }
        if self.stream.is_some() {
            return true;
        }
        let Some(address) = self.orders.address(self.host) else { return false };
        match TcpStream::connect_timeout(&address, LIMIT / 10) {
            Ok(stream) => {
                let is_set = stream.set_nodelay(true).is_ok() && stream.set_read_timeout(Some(LOOK)).is_ok();
                self.stream = is_set.then_some(stream);
                is_set
            }
            Err(_) => {
                self.leave();
                false
            }
        }
    }

    /// Asks, and waits for the answer as long as that is worth it.
    fn ask(&mut self, request: &[u8]) -> Result<Answer, String> {
        let Some(stream) = &mut self.stream else { return Err("no connection".to_owned()) };
        stream.write_all(request).map_err(|error| error.kind().to_string())?;
        let (began, mut bytes, mut piece) = (Instant::now(), Vec::new(), [0; 512]);
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Err("the connection ended".to_owned()),
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.orders.address(self.host).is_none() {
                        return Err("nobody waits for this host any more".to_owned());
                    }
                    if began.elapsed() > LIMIT {
                        return Err(format!("no answer in {} s", LIMIT.as_secs()));
                    }
                }
                Err(error) => return Err(error.kind().to_string()),
            }
            if let Some(answer) = read(&bytes) {
                return Ok(answer);
            }
        }
    }
}

/// The answer, if it is complete.
fn read(bytes: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(bytes).unwrap_or("-an answer that is no text\r\n");
    let (line, rest) = text.split_once("\r\n")?;
    Some(match (line.get(..1)?, line.get(1..)?) {
        ("+", _) => Answer::Status,
        (":", _) => Answer::Integer,
        ("$", "-1") => Answer::Bulk(None),
        ("$", length) => {
            let length: usize = length.parse().ok()?;
            Answer::Bulk(Some(rest.get(..length).filter(|_| rest.len() == length + 2)?.as_bytes().to_vec()))
        }
        ("-", text) => Answer::Error(text.to_owned()),
        _ => Answer::Error(format!("an answer of an unknown kind: {line}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_complete() {
        assert!(matches!(read(b"+OK\r\n"), Some(Answer::Status)));
        assert!(matches!(read(b":12\r\n"), Some(Answer::Integer)));
        assert!(matches!(read(b"$-1\r\n"), Some(Answer::Bulk(None))));
        assert!(matches!(read(b"$2\r\nv7\r\n"), Some(Answer::Bulk(Some(value))) if version(Some(&value)) == Some(7)));
        assert!(matches!(read(b"-ERR no\r\n"), Some(Answer::Error(text)) if text == "ERR no"));
        let incomplete: [&[u8]; 5] = [b"", b"+OK", b"$2\r\nv7", b"$2\r\n", b"-"];
        assert!(incomplete.iter().all(|bytes| read(bytes).is_none()));
    }
}
