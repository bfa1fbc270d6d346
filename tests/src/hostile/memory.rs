//! Clients and peers that make a node hold as much as it will, and the bounds that hold all the same.

use std::{
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::watch::{Figures, Longest, answers, look, settle, shrink};
use crate::process::{Cluster, Node, NodeOptions};

/// A client that reads nothing may cost so much: what its connection holds back, and the allocator's slack.
const UNREAD_MIB: u64 = 64;
/// An idle connection may cost so much, the kernel's part not counted.
const IDLE_KIB: u64 = 8;
const IDLE: usize = 10_000;
/// Half a request may cost a quarter more than its bytes.
const HALVES: usize = 1000;
const HALF_BYTES: usize = 1 << 20;
/// A peer that is away may cost so much on each of the others: the window of its lane, the copies that they take over,
/// and what moves meanwhile.
const AWAY_MIB: u64 = 192;

/// Runs all cases; whether every bound held.
pub fn run(binary: &Path, away: Duration) -> bool {
    if let Err(problem) = allow_files(2 * IDLE as u64) {
        println!("FAILED: {problem}");
        return false;
    }
    let cases: [(&str, bool); 5] = [
        ("a client that sends 1 GiB of requests for large replies and reads nothing", unread(binary, &large_replies())),
        ("a client that sends 1 GiB of large requests and reads nothing", unread(binary, &large_requests())),
        ("10,000 idle connections", idle(binary)),
        ("1,000 clients with half a frame of 1 MiB", halves(binary)),
        ("a peer that is away under writes", peer_away(binary, away)),
    ];
    let failed: Vec<_> = cases.iter().filter(|(_, held)| !held).map(|(name, _)| *name).collect();
    println!("memory: {} passed, {} failed {failed:?}", cases.len() - failed.len(), failed.len());
    failed.is_empty()
}

/// Allows this process, and the nodes that it starts, so many open files.
fn allow_files(count: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: Some(limit.maximum.map_or(count, |maximum| maximum.min(count * 2))), ..limit };
    setrlimit(Resource::Nofile, wanted).map_err(|error| format!("open files cannot be allowed: {error}"))?;
    match limit.maximum {
        Some(maximum) if maximum < count => Err(format!("{maximum} open files are too few; {count} are needed")),
        _ => Ok(()),
    }
}

fn one_node(binary: &Path) -> Node {
    let mut node = NodeOptions::new(binary).flag("--replicas", "1").flag("--maxclients", "12000").start();
    node.wait_ready();
    node
}

/// Prints the figures of a case; whether the node stayed below its bound, answers, and gave back what it held.
fn judge(what: &str, node: &Node, before: Figures, most: u64, bound_mib: u64) -> bool {
    let grown = most.saturating_sub(before.resident_mib);
    let answered = answers(node.client(), &mut Longest::default());
    println!(
        "{what}: resident {} MiB before, at most {most} MiB: {grown} MiB more, bound {bound_mib} MiB",
        before.resident_mib
    );
    if let Err(problem) = &answered {
        println!("FAILED: {what}: the node does not answer: {problem}");
    }
    if grown > bound_mib {
        println!("FAILED: {what}: more than the bound");
    }
    grown <= bound_mib && answered.is_ok()
}

fn large_replies() -> Vec<u8> {
    b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n".repeat(4096)
}

fn large_requests() -> Vec<u8> {
    let mut request = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n", 1 << 20).into_bytes();
    request.resize(request.len() + (1 << 20), b'x');
    request.extend_from_slice(b"\r\n");
    request
}

/// A client that sends up to 1 GiB and reads nothing, until the node takes no more.
fn unread(binary: &Path, piece: &[u8]) -> bool {
    let node = one_node(binary);
    let mut setting = node.connect();
    let value = vec![b'x'; 1 << 20];
    setting.command(&[&b"SET"[..], b"large", &value]).expect("a reply");
    let before = look(&node);
    let mut stream = TcpStream::connect(node.client()).expect("the node takes clients");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a timeout above zero");
    let (mut sent, mut most) = (0, before.resident_mib);
    while sent < 1 << 30 {
        match stream.write_all(piece) {
            Ok(()) => sent += piece.len(),
            Err(_) => break,
        }
        most = most.max(look(&node).resident_mib);
    }
    most = most.max(look(&node).resident_mib);
    let held = judge(&format!("{} MiB sent, nothing read", sent >> 20), &node, before, most, UNREAD_MIB);
    drop(stream);
    held & gave_back(&node, before)
}

fn idle(binary: &Path) -> bool {
    let node = one_node(binary);
    let before = look(&node);
    let clients: Vec<_> = (0..IDLE).filter_map(|_| connect(node.client())).collect();
    // Each was served once, so that whatever a connection keeps is kept.
    let served = clients.iter().filter(|stream| ping(stream)).count();
    let after = look(&node);
    println!("{served} of {IDLE} idle connections are served");
    let bound = IDLE as u64 * IDLE_KIB / 1024;
    let held = judge("10,000 idle connections", &node, before, after.resident_mib, bound);
    drop(clients);
    held & (served == IDLE) & gave_back(&node, before)
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    Some(stream)
}

fn ping(mut stream: &TcpStream) -> bool {
    use std::io::Read;
    let mut reply = [0; 7];
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut reply).is_ok() && reply == *b"+PONG\r\n"
}

fn halves(binary: &Path) -> bool {
    let node = one_node(binary);
    let before = look(&node);
    let mut half = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", 2 * HALF_BYTES).into_bytes();
    half.resize(HALF_BYTES, b'x');
    let clients: Vec<_> = (0..HALVES).filter_map(|_| connect(node.client())).collect();
    let sent = clients.iter().filter(|stream| (&mut &**stream).write_all(&half).is_ok()).count();
    let after = settle(&node, Duration::from_secs(20));
    println!("{sent} of {HALVES} clients sent 1 MiB of a request");
    let bound = (HALVES * HALF_BYTES / (1 << 20)) as u64 * 5 / 4;
    let held = judge("1,000 half frames of 1 MiB", &node, before, after.resident_mib, bound);
    drop(clients);
    held & gave_back(&node, before)
}

/// Whether a node has, some time after its clients went, about as much memory as before.
fn gave_back(node: &Node, before: Figures) -> bool {
    let most = before.resident_mib * 5 / 4 + UNREAD_MIB;
    let after = shrink(node, most, Duration::from_secs(60));
    let is_back = after.resident_mib <= most;
    println!(
        "    afterwards {} MiB, {} files{}",
        after.resident_mib,
        after.files,
        if is_back { "" } else { ": FAILED" }
    );
    is_back
}

/// Writes go on while one of three nodes stands still.
fn peer_away(binary: &Path, away: Duration) -> bool {
    let mut cluster = Cluster::start(3, &NodeOptions::new(binary).flag("--replicas", "2"));
    let addresses = [cluster.node(0).client(), cluster.node(1).client()];
    let (over, written, errors) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let held = thread::scope(|scope| {
        for (number, address) in addresses.into_iter().enumerate() {
            let (over, written, errors) = (&over, &written, &errors);
            scope.spawn(move || write(address, number as u64, over, written, errors));
        }
        // All keys are written once before it begins.
        while written.load(Relaxed) < 2 * KEYS {
            thread::sleep(Duration::from_millis(100));
        }
        let before = [0, 1].map(|number| look(cluster.node(number)));
        let mut most = before.map(|figures| figures.resident_mib);
        cluster.node(2).pause();
        let began = Instant::now();
        while began.elapsed() < away {
            thread::sleep(Duration::from_secs(1));
            for (number, most) in most.iter_mut().enumerate() {
                *most = (*most).max(look(cluster.node(number)).resident_mib);
            }
        }
        cluster.node(2).resume();
        over.store(true, Relaxed);
        [0, 1].into_iter().all(|number| {
            let what = format!("a peer away for {} s, node {number}", away.as_secs());
            judge(&what, cluster.node(number), before[number], most[number], AWAY_MIB)
        })
    });
    println!("    {} writes, {} refused", written.load(Relaxed), errors.load(Relaxed));
    held
}

/// Each writer has so many keys, of 100 bytes.
const KEYS: u64 = 100_000;

/// Writes in batches until it is over.
fn write(address: SocketAddr, number: u64, over: &AtomicBool, written: &AtomicU64, errors: &AtomicU64) {
    let mut client = match crate::resp::Client::connect(address) {
        Ok(client) => client,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
        Err(error) => panic!("{error}"),
    };
    let value = vec![b'v'; 100];
    let mut next = 0;
    while !over.load(Relaxed) {
        let batch: Vec<Vec<Vec<u8>>> = (0..100)
            .map(|at| vec![b"SET".to_vec(), format!("{number}:{}", (next + at) % KEYS).into_bytes(), value.clone()])
            .collect();
        next += 100;
        let replies = client.pipeline(&batch).expect("replies");
        let refused = replies.iter().filter(|reply| !reply.is_ok()).count() as u64;
        written.fetch_add(100 - refused, Relaxed);
        errors.fetch_add(refused, Relaxed);
    }
}
