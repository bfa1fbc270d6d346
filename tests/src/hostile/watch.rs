//! Looking at a node from outside: its memory, its files, and whether it answers.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::process::Node;

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

/// Whether the node executes commands; the error if it does not.
pub(super) fn answers(node: &Node) -> Result<(), String> {
    let name = format!("watch:{}", node.pid());
    let mut client = crate::resp::Client::connect(node.client()).map_err(|error| format!("connect: {error}"))?;
    for line in ["PING".to_owned(), format!("SET {name} 1"), format!("GET {name}"), "DBSIZE".to_owned()] {
        let reply = client.line(&line).map_err(|error| format!("{line}: {error}"))?;
        if let crate::resp::Value::Error(text) = reply {
            return Err(format!("{line}: {text}"));
        }
    }
    Ok(())
}
