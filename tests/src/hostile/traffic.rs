//! Mutated valid traffic against every port of a running cluster.
//!
//! Three nodes with a secret; the others reach the third one only over a forwarder, which damages what the nodes say to
//! each other after they have proved themselves. Strangers send to the client ports commands that were valid, to the
//! peer ports what a node with the secret once said, to the admin ports requests for pages, all of it damaged. Meanwhile
//! every node has to answer, and afterwards memory and files have to be what they were.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    mutation::mutate,
    recorder::Recorder,
    watch::{Failure, Figures, Longest, answers, look, settle},
};
use crate::{
    process::{Node, NodeOptions},
    resp::Value,
};

const SECRET: &str = "what only nodes know";

/// Memory may be larger afterwards by this and a quarter: what the allocator keeps, and keys that were set.
const SLACK_MIB: u64 = 64;

/// A node may say for so long that it cannot: damage to what nodes say to each other makes them pause for up to 5 s. An
/// answer of some kind has to come each time.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer takes no longer than this: a link that was damaged is opened anew at once.
const SLOWEST: Duration = Duration::from_secs(5);
/// How often each node is asked whether it still executes commands.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// The commands that strangers do not send, because they may change how the node is set up or end it.
const SPARED: [&str; 4] = ["config", "debug", "shutdown", "client|pause"];

/// Runs it; whether everything held.
pub fn run(binary: &Path, time: Duration, seed: u64) -> bool {
    let options = NodeOptions::new(binary)
        .environment("CIRCLET_CLUSTER_SECRET", SECRET)
        .flag("--maxmemory", "256mb")
        .flag("--maxclients", "500");
    let recorder = Recorder::start(seed);
    let mut nodes = vec![options.start()];
    nodes.push(options.clone().seeds(&[nodes[0].peer()]).start());
    nodes.push(options.clone().seeds(&[nodes[0].peer()]).flag("--advertise", &recorder.address.to_string()).start());
    recorder.forward_to(nodes[2].peer());
    nodes.iter_mut().for_each(Node::wait_ready);
    println!("three nodes are ready; seed {seed}");
    let before: Vec<Figures> = nodes.iter().map(look).collect();
    recorder.damage_one_in(200);
    let counts = Counts::default();
    let failures = siege(&nodes, &recorder, time, seed, &counts);
    recorder.damage_one_in(0);
    println!("{}; pieces damaged between nodes: {}", counts.text(), recorder.damaged());
    let mut held = failures.is_empty();
    failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    for (number, (node, before)) in nodes.iter_mut().zip(before).enumerate() {
        held &= is_sound(number, node, before);
    }
    println!("traffic: {}", if held { "nothing found" } else { "FAILED" });
    held
}

/// What was sent.
#[derive(Default)]
struct Counts {
    client: AtomicU64,
    peer: AtomicU64,
    admin: AtomicU64,
}

impl Counts {
    fn text(&self) -> String {
        let [client, peer, admin] = [&self.client, &self.peer, &self.admin].map(|count| count.load(Relaxed));
        format!(
            "connections with damaged traffic: {client} to client ports, {peer} to peer ports, {admin} to admin ports"
        )
    }
}

/// Sends damaged traffic for a while; what failed meanwhile.
fn siege(nodes: &[Node], recorder: &Recorder, time: Duration, seed: u64, counts: &Counts) -> Vec<String> {
    let over = AtomicBool::new(false);
    let mut failures = Vec::new();
    thread::scope(|scope| {
        for (number, node) in nodes.iter().enumerate() {
            let (over, seed) = (&over, seed.wrapping_mul(31).wrapping_add(number as u64));
            for (port, address) in [node.client(), node.cluster()].into_iter().enumerate() {
                let commands = commands(node);
                scope.spawn(move || {
                    strangers(over, address, seed ^ (port as u64 + 1) << 32, &counts.client, &mut |random| {
                        conversation(&commands, random)
                    })
                });
            }
            let address = node.peer();
            scope.spawn(move || {
                strangers(over, address, seed ^ 3 << 32, &counts.peer, &mut |random| {
                    let kept = recorder.kept();
                    if kept.is_empty() { Vec::new() } else { kept[random.usize(..kept.len())].clone() }
                })
            });
            let address = node.admin();
            scope.spawn(move || {
                strangers(over, address, seed ^ 4 << 32, &counts.admin, &mut |random| {
                    let page = ["/health", "/ready", "/metrics", "/"][random.usize(..4)];
                    format!("GET {page} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n").into_bytes()
                })
            });
        }
        let watches: Vec<_> =
            nodes.iter().map(Node::client).map(|node| scope.spawn(move || watch(node, time))).collect();
        let watched: Vec<_> = watches.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Relaxed);
        for (number, watched) in watched.into_iter().enumerate() {
            let (longest, failed) = watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            println!("node {number}: the longest answers while damage came: {longest}");
            failures.extend(failed.into_iter().map(|failure| format!("node {number} {failure}")));
        }
    });
    failures
}

/// Asks a node again and again for a while; how long it took to answer at most, and what failed.
fn watch(node: SocketAddr, time: Duration) -> (Longest, Vec<String>) {
    let (mut longest, mut failures) = (Longest::default(), Vec::new());
    let began = Instant::now();
    while began.elapsed() < time && failures.len() < 10 {
        thread::sleep(ASKED_EVERY);
        if let Err(failure) = patiently(node, &mut longest) {
            failures.push(format!("after {} s: {failure}", began.elapsed().as_secs()));
        }
    }
    if longest.of_all() > SLOWEST {
        failures.push(format!("took longer than {} s to answer: {longest}", SLOWEST.as_secs()));
    }
    (longest, failures)
}

/// Asks until it succeeds, no answer comes, or the time is over. The damage between the nodes ends sessions, so that a slot
/// may be without a node that acts for a moment.
fn patiently(node: SocketAddr, longest: &mut Longest) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match answers(node, longest) {
            Err(Failure::Told(_)) if Instant::now() < until => thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
    }
}

/// Connects again and again and sends something damaged.
fn strangers(
    over: &AtomicBool,
    address: SocketAddr,
    seed: u64,
    count: &AtomicU64,
    valid: &mut dyn FnMut(&mut Rng) -> Vec<u8>,
) {
    let mut random = Rng::with_seed(seed);
    while !over.load(Relaxed) {
        let mut bytes = valid(&mut random);
        if random.u8(..8) != 0 {
            mutate(&mut bytes, &mut random);
        }
        send(address, &bytes, &mut random);
        count.fetch_add(1, Relaxed);
    }
}

/// Sends in pieces, reads a little of what comes, and goes in one of several ways.
fn send(address: SocketAddr, bytes: &[u8], random: &mut Rng) {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(random.u64(1..30))));
    let _ = stream.set_write_timeout(Some(Duration::from_millis(200)));
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(random.usize(1..=rest.len()));
        if stream.write_all(piece).is_err() {
            return;
        }
        rest = later;
    }
    let mut heard = [0; 4096];
    for _ in 0..random.usize(..4) {
        match stream.read(&mut heard) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return,
        }
    }
}

/// The commands of a node with the least number of their arguments.
fn commands(node: &Node) -> Vec<(Vec<String>, usize)> {
    let Ok(Value::Array(all)) = node.connect().line("COMMAND") else { return Vec::new() };
    let mut commands = Vec::new();
    all.iter().for_each(|command| take(command, &mut commands));
    commands
}

fn take(command: &Value, commands: &mut Vec<(Vec<String>, usize)>) {
    let Value::Array(parts) = command else { return };
    let (Some(name), Some(Value::Integer(arity))) = (parts.first().and_then(Value::text), parts.get(1)) else { return };
    if SPARED.contains(&name) {
        return;
    }
    commands.push((name.split('|').map(str::to_owned).collect(), arity.unsigned_abs() as usize));
    if let Some(Value::Array(subcommands)) = parts.get(9) {
        subcommands.iter().for_each(|subcommand| take(subcommand, commands));
    }
}

/// A few commands with arguments that fit now and then.
fn conversation(commands: &[(Vec<String>, usize)], random: &mut Rng) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "a",
        "b",
        "{t}c",
        "0",
        "1",
        "-1",
        "100",
        "2",
        "EX",
        "PX",
        "NX",
        "XX",
        "GET",
        "KEEPTTL",
        "COUNT",
        "MATCH",
        "*",
        "REPLACE",
        "ABSTTL",
        "IDX",
        "LEN",
        "STORE",
        "3.5",
        "9223372036854775807",
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..20) {
        let Some((name, arity)) = commands.get(random.usize(..commands.len().max(1))) else { break };
        let more = arity.saturating_sub(name.len()) + if random.u8(..3) == 0 { random.usize(..5) } else { 0 };
        bytes.extend_from_slice(format!("*{}\r\n", name.len() + more).as_bytes());
        let mut argument = |text: &[u8]| {
            bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            bytes.extend_from_slice(text);
            bytes.extend_from_slice(b"\r\n");
        };
        name.iter().for_each(|word| argument(word.as_bytes()));
        for _ in 0..more {
            match random.u8(..10) {
                0 => argument(&vec![b'x'; random.usize(..5000)]),
                _ => argument(WORDS[random.usize(..WORDS.len())].as_bytes()),
            }
        }
    }
    bytes
}

/// Whether a node is what it was before.
fn is_sound(number: usize, node: &mut Node, before: Figures) -> bool {
    let after = settle(node, Duration::from_secs(60));
    let mut longest = Longest::default();
    let answer = patiently(node.client(), &mut longest).err().map(|problem| format!("it does not answer: {problem}"));
    let problems = [
        (!node.is_running(), "it ended"),
        (answer.is_some(), answer.as_deref().unwrap_or_default()),
        (after.resident_mib > before.resident_mib * 5 / 4 + SLACK_MIB, "it has much more memory than before"),
        (after.files > before.files + 16, "it has more open files than before"),
    ];
    println!(
        "node {number}: resident {} → {} MiB, files {} → {}",
        before.resident_mib, after.resident_mib, before.files, after.files
    );
    let found: Vec<_> = problems.iter().filter(|(holds, _)| *holds).collect();
    found.iter().for_each(|(_, problem)| println!("FAILED: node {number}: {problem}\n{}", node.stderr_tail()));
    found.is_empty()
}
