//! A node that has no more files for connections, or no more memory, goes on serving.
//!
//! The node is a child process, this same program again, so that the limit is its own.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use node::Node;

/// Says that this process is the node.
const CHILD: &str = "CIRCLET_TEST_CHILD";

/// What it lacks.
const FILES: &str = "files";

/// So much memory the node can still get.
const MEMORY: u64 = 300 << 20;

/// Connections that the node has files for.
const ROOM: u64 = 10;

/// Longer than any reply takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child, and what it prints.
struct Process(Child, Option<BufReader<ChildStdout>>);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The node: it says where it listens, and serves until its standard input ends.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let node = runtime.block_on(Node::simple());
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    match std::env::var(CHILD).unwrap().as_str() {
        FILES => setrlimit(Resource::RLIMIT_NOFILE, open + ROOM, hard).unwrap(),
        _ => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let used = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
            let kib: u64 = used.trim().strip_suffix(" kB").unwrap().parse().unwrap();
            let (_, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
            setrlimit(Resource::RLIMIT_AS, (kib << 10) + MEMORY, hard).unwrap();
        }
    }
    println!("\nlistening {}", node.address);
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a PING; whether the reply comes in this time.
fn is_served(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).is_ok() && &reply == b"+PONG\r\n"
}

/// A node that lacks something.
fn start(lacking: &str) -> (Process, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env(CHILD, lacking).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Process(command.spawn().unwrap(), None);
    let mut printed = BufReader::new(process.0.stdout.take().unwrap());
    let mut lines = printed.by_ref().lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("listening ")?.parse().ok()).unwrap();
    process.1 = Some(printed);
    (process, address)
}

/// Sends a request and reads so many bytes, which have to be these.
fn ask(stream: &mut TcpStream, request: &[u8], expected: &str) {
    stream.write_all(request).unwrap();
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

#[test]
fn a_node_without_memory_refuses_and_serves_on() {
    let (mut process, address) = start("memory");
    let mut stream = connect(address);
    let refused = "-OOM cannot allocate memory for this command\r\n";
    ask(&mut stream, b"SET a v\r\nSETRANGE a 400000000 x\r\nGET a\r\n", &format!("+OK\r\n{refused}$1\r\nv\r\n"));
    ask(&mut stream, b"SETRANGE b 100000000 x\r\nSTRLEN b\r\n", ":100000001\r\n:100000001\r\n");
    // There is memory for a copy of the request, and not for two.
    let value = vec![b'x'; 90 << 20];
    let mut request = format!("*3\r\n$3\r\nSET\r\n$1\r\nc\r\n${}\r\n", value.len()).into_bytes();
    request.extend_from_slice(&value);
    request.extend_from_slice(b"\r\n");
    ask(&mut stream, &request, refused);
    // Nor for the request itself: whoever sends it is cut off.
    let mut large = connect(address);
    let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nc\r\n${}\r\n", 500 << 20);
    large.write_all(header.as_bytes()).unwrap();
    let sent = (0..500).take_while(|_| large.write_all(&value[..1 << 20]).is_ok()).count();
    assert!(sent < 500, "all was taken");
    ask(&mut stream, b"DEL b\r\nSET c v\r\nGET c\r\n", ":1\r\n+OK\r\n$1\r\nv\r\n");
    assert!(process.0.try_wait().unwrap().is_none());
}

#[test]
fn a_node_without_free_files_serves_on_and_recovers() {
    let (_process, address) = start(FILES);
    let mut streams: Vec<_> = (0..3 * ROOM).map(|_| connect(address)).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(b"PING\r\n").unwrap());
    let mut served = 0;
    while served < streams.len()
        && is_served(&mut streams[served], Duration::from_millis(if served < 5 { 60_000 } else { 500 }))
    {
        served += 1;
    }
    assert!((5..2 * ROOM as usize).contains(&served), "{served} are served, the node has files for about {ROOM}");
    // Those that are in are served, although others wait.
    for stream in &mut streams[..served] {
        stream.write_all(b"PING\r\n").unwrap();
        assert!(is_served(stream, PATIENCE));
    }
    // When one goes another one's turn comes.
    while served > 0 {
        streams.drain(..served);
        served = streams.len().min(5);
        assert!(streams[..served].iter_mut().all(|stream| is_served(stream, PATIENCE)));
    }
    assert!(streams.is_empty());
}
