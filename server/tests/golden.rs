//! Golden scripts: what clients send, and what they get for it, byte by byte.
//!
//! ```text
//! # a comment
//! server requirepass=secret     the node's settings; the first line, if there is one
//! same as redis                 the script holds for a real redis-server as well
//! > SET a "x y"                 sent as an array of strings
//! raw *1\r\n$a\r\n              sent as it is
//! < +OK\r\n                     has to come, and nothing else before it; several lines are one reply
//! closed                        the server has to close the connection
//! new connection                the rest of the script is another client's
//! ```
//!
//! Every script runs against a node in this process. Those that say so run against the `redis-server` of this machine
//! as well (test `redis_itself_agrees`), so that what is golden here is Redis' and not our opinion of it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use node::Node;
use server::{connection::Bounds, session::Port};

/// Longer than any reply takes; a script that waits for what never comes fails after it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Script {
    name: String,
    settings: Vec<(&'static str, &'static str)>,
    cluster_port: bool,
    same_as_redis: bool,
    lines: Vec<(usize, Line)>,
}

enum Line {
    Send(Vec<u8>),
    Receive(Vec<u8>),
    Closed,
    NewConnection,
}

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| parse(path)).collect()
}

fn parse(path: &Path) -> Script {
    let text: &'static str = std::fs::read_to_string(path).unwrap().leak();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut script = Script { name, settings: vec![], cluster_port: false, same_as_redis: false, lines: vec![] };
    for (number, line) in text.lines().enumerate() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let parsed = match word {
            "" | "#" => continue,
            "server" => {
                script.settings.extend(rest.split(' ').map(|setting| setting.split_once('=').unwrap()));
                continue;
            }
            "same" => {
                script.same_as_redis = true;
                continue;
            }
            "cluster" => {
                script.cluster_port = true;
                continue;
            }
            ">" => Line::Send(array(rest)),
            "raw" => Line::Send(unescape(rest)),
            "<" => Line::Receive(unescape(rest)),
            "closed" => Line::Closed,
            "new" => Line::NewConnection,
            _ => panic!("{}:{}: {line}", script.name, number + 1),
        };
        match (script.lines.last_mut(), parsed) {
            (Some((_, Line::Receive(before))), Line::Receive(more)) => before.extend(more),
            (_, parsed) => script.lines.push((number + 1, parsed)),
        }
    }
    script
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => bytes.push(match chars.next().unwrap() {
                'r' => b'\r',
                'n' => b'\n',
                'x' => u8::from_str_radix(&chars.by_ref().take(2).collect::<String>(), 16).unwrap(),
                other => other as u8,
            }),
            char => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// The words of a line, where `"` keeps spaces, as an array.
fn array(line: &str) -> Vec<u8> {
    let mut words: Vec<String> = vec![];
    let (mut quoted, mut inside) = (false, false);
    for char in line.chars() {
        match char {
            '"' => {
                quoted = !quoted;
                if quoted {
                    words.push(String::new());
                }
                inside = quoted;
            }
            ' ' if !quoted => inside = false,
            char => {
                if !inside {
                    words.push(String::new());
                }
                inside = true;
                words.last_mut().unwrap().push(char);
            }
        }
    }
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words.iter().map(|word| unescape(word)) {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn play(script: &Script, address: SocketAddr) {
    let mut stream = connect(address);
    for (number, line) in &script.lines {
        let place = format!("{}:{number}", script.name);
        match line {
            Line::Send(bytes) => stream.write_all(bytes).unwrap(),
            Line::Receive(expected) => {
                let mut bytes = vec![0; expected.len()];
                let mut got = 0;
                while got < bytes.len() && bytes[..got] == expected[..got] {
                    match stream.read(&mut bytes[got..]) {
                        Ok(0) | Err(_) => break,
                        Ok(count) => got += count,
                    }
                }
                assert_eq!(
                    String::from_utf8_lossy(&bytes[..got]),
                    String::from_utf8_lossy(expected),
                    "{place}: got (left) is not what was expected (right)"
                );
            }
            Line::Closed => {
                let mut rest = Vec::new();
                let result = stream.read_to_end(&mut rest);
                assert!(result.is_ok() && rest.is_empty(), "{place}: not closed: {result:?} {rest:?}");
            }
            Line::NewConnection => {
                check_nothing_follows(&mut stream, &place);
                stream = connect(address);
            }
        }
    }
    check_nothing_follows(&mut stream, &script.name);
}

/// Ends the client's side: what still came would be a reply that the script does not expect.
fn check_nothing_follows(stream: &mut TcpStream, place: &str) {
    let mut rest = Vec::new();
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(String::from_utf8_lossy(&rest), "", "{place}: a reply too many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_are_answered_as_written() {
    for script in scripts() {
        let port = if script.cluster_port { Port::Cluster } else { Port::Proxy };
        let node = Node::start(&script.settings, port, Bounds::default()).await;
        tokio::task::spawn_blocking(move || play(&script, node.address)).await.unwrap();
    }
}

#[test]
fn redis_itself_agrees() {
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no redis-server on this machine");
        return;
    }
    let same: Vec<_> = scripts().into_iter().filter(|script| script.same_as_redis).collect();
    assert!(same.len() >= 3);
    for script in same {
        let redis = Redis::start(&script.settings);
        play(&script, redis.address);
    }
}

/// A redis-server that ends with the test.
struct Redis {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Redis {
    fn start(settings: &[(&str, &str)]) -> Redis {
        // Redis cannot choose a free port itself. One that was free a moment ago mostly still is, and otherwise it
        // says so and another is tried.
        let folder = tempfile::tempdir().unwrap();
        loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            let mut command = Command::new("redis-server");
            command.args(["--port", &address.port().to_string(), "--save", "", "--dir"]).arg(folder.path());
            for (name, value) in settings {
                command.args([format!("--{name}"), (*value).to_owned()]);
            }
            let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
            let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
            if ready {
                std::thread::spawn(move || lines.for_each(drop));
                return Redis { process, address, _folder: folder };
            }
            let _ = process.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
