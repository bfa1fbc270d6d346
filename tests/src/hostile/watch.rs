//! Looking at a node from outside: its memory, its files, and whether it answers.

use std::{
    fmt, fs,
    io::ErrorKind,
    net::SocketAddr,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    process::Node,
    resp::{Client, Value},
};

/// What the operating system says of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) resident_mib: u64,
    pub(super) files: usize,
}

/// Looks once.
pub(super) fn look(node: &Node) -> Figures {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let files = fs::read_dir(format!("/proc/{}/fd", node.pid())).map_or(0, Iterator::count);
    Figures { resident_mib: kib / 1024, files }
}

/// Looks until the figures hold still or the time is over; the last ones.
pub(super) fn settle(node: &Node, limit: Duration) -> Figures {
    let until = Instant::now() + limit;
    let mut last = look(node);
    loop {
        // No event says that an allocator gives memory back: it does so over some seconds.
        sleep(Duration::from_secs(2));
        let now = look(node);
        if (now.resident_mib + 2 > last.resident_mib && now.files == last.files) || Instant::now() > until {
            return now;
        }
        last = now;
    }
}

/// Looks until the node has no more memory than this or the time is over; the last figures.
pub(super) fn shrink(node: &Node, resident_mib: u64, limit: Duration) -> Figures {
    let until = Instant::now() + limit;
    loop {
        let now = look(node);
        if now.resident_mib <= resident_mib || Instant::now() > until {
            return now;
        }
        sleep(Duration::from_millis(500));
    }
}

/// What a node is asked again and again.
const ASKED: [&str; 4] = ["PING", "SET", "GET", "DBSIZE"];

/// How long a node took to answer, at most.
#[derive(Clone, Copy, Default)]
pub(super) struct Longest([Duration; ASKED.len()]);

impl Longest {
    pub(super) fn of_all(&self) -> Duration {
        self.0.into_iter().max().unwrap_or_default()
    }
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = ASKED.iter().zip(self.0).map(|(name, longest)| format!("{name} {:.3} s", longest.as_secs_f64()));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

/// Why a node does not execute commands.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said why, or let go of the connection.
    Told(String),
    /// No answer came.
    Silent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Told(text) | Failure::Silent(text)) = self;
        f.write_str(text)
    }
}

/// Whether the node with this client port executes commands; the failure if it does not.
pub(super) fn answers(node: SocketAddr, longest: &mut Longest) -> Result<(), Failure> {
    // Another slot each time, so that the question goes over every link now and then.
    let name = format!("watch:{}", fastrand::u16(..));
    let mut client = Client::connect(node).map_err(|error| Failure::Told(format!("connect: {error}")))?;
    for (place, command) in ASKED.into_iter().enumerate() {
        let line = match command {
            "SET" => format!("SET {name} 1"),
            "GET" => format!("GET {name}"),
            _ => command.to_owned(),
        };
        let began = Instant::now();
        let reply = client.line(&line);
        longest.0[place] = longest.0[place].max(began.elapsed());
        match reply {
            Ok(Value::Error(text)) => return Err(Failure::Told(format!("{line}: {text}"))),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Failure::Silent(format!("{line}: no answer in {:.1} s", began.elapsed().as_secs_f64())));
            }
            Err(error) => return Err(Failure::Told(format!("{line}: {error}"))),
        }
    }
    Ok(())
}
