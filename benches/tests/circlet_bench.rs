//! The load generator against servers that misbehave on purpose: what it is for is to notice.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What a server does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// Acknowledges writes of even keys and forgets them.
    Forgets,
    /// Keeps the first value of each key.
    KeepsFirst,
    /// Answers each key with the value of the key that was written last.
    MixesUp,
    /// Answers every write by this error.
    Refuses(&'static str),
    /// Closes each connection together with its third reply.
    ClosesBetween,
    /// Closes each connection when the third command is there, without a reply.
    ClosesInside,
    /// Never answers.
    IsSilent,
}

#[derive(Default)]
struct Store {
    values: HashMap<Vec<u8>, Vec<u8>>,
    last: Vec<u8>,
}

/// Starts a server and gives its address.
fn server(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let store = Arc::new(Mutex::new(Store::default()));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let store = Arc::clone(&store);
            thread::spawn(move || serve(stream, fault, &store));
        }
    });
    address
}

fn serve(mut stream: TcpStream, fault: Fault, store: &Mutex<Store>) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    for count in 1.. {
        let command = command(&mut input)?;
        if fault == Fault::ClosesInside && count == 3 {
            return None;
        }
        if fault != Fault::IsSilent {
            let reply = answer(&mut store.lock().expect("no test panics in here"), fault, &command);
            stream.write_all(&reply).ok()?;
        }
        if fault == Fault::ClosesBetween && count == 3 {
            return None;
        }
    }
    None
}

fn answer(store: &mut Store, fault: Fault, command: &[Vec<u8>]) -> Vec<u8> {
    match (command, fault) {
        ([_, _, _], Fault::Refuses(error)) => format!("-{error}\r\n").into_bytes(),
        ([_, key, value], _) => {
            store.last.clone_from(value);
            let forgotten = fault == Fault::Forgets && key.last().is_some_and(|digit| digit % 2 == 0);
            let kept = fault == Fault::KeepsFirst && store.values.contains_key(key);
            if !forgotten && !kept {
                store.values.insert(key.clone(), value.clone());
            }
            b"+OK\r\n".to_vec()
        }
        ([_, key], _) => {
            let value = if fault == Fault::MixesUp { Some(&store.last) } else { store.values.get(key) };
            value.map_or_else(|| b"$-1\r\n".to_vec(), |value| bulk(value))
        }
        _ => b"-ERR unknown command\r\n".to_vec(),
    }
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn command(input: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let count = length(input)?;
    (0..count)
        .map(|_| {
            let mut argument = vec![0; length(input)? + 2];
            input.read_exact(&mut argument).ok()?;
            argument.truncate(argument.len() - 2);
            Some(argument)
        })
        .collect()
}

fn length(input: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    line.trim_end().get(1..)?.parse().ok()
}

fn bench(target: &str, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_circlet-bench"))
        .args(["--target", target, "--json"])
        .args(arguments.split_whitespace())
        .output()
        .expect("the load generator starts")
}

/// Runs it and gives the exit code and the JSON of the last phase.
fn outcome(target: &str, arguments: &str) -> (i32, Value) {
    let output = bench(target, arguments);
    let summary: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let last = summary["phases"].as_array().and_then(|phases| phases.last()).expect("a phase").clone();
    (output.status.code().expect("an exit code"), last)
}

fn temporary(name: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("circlet-bench-{}-{number}-{name}", std::process::id())).display().to_string()
}

const SMALL: &str = "--keys 100 --connections 4 --requests 4000 --get-ratio 0.5 --quiet";

#[test]
fn an_honest_server_passes_in_closed_and_open_loop() {
    for pace in ["--pipeline 1", "--pipeline 16 --threads 2", "--rate 20000 --pipeline 4 --distribution zipf:1.0"] {
        let (code, phase) = outcome(&server(Fault::Nothing), &format!("{SMALL} --load --verify {pace}"));
        assert_eq!((code, phase["commands"].as_u64(), phase["reads"].as_u64()), (0, Some(100), Some(100)), "{phase}");
    }
}

#[test]
fn a_forgotten_write_is_lost_and_only_that() {
    let (code, phase) = outcome(&server(Fault::Forgets), &format!("{SMALL} --load --verify"));
    assert_eq!((code, phase["lost"].as_u64()), (1, Some(50)), "{phase}");
    assert_eq!(
        (phase["stale"].as_u64(), phase["wrong"].as_u64(), phase["errors"].as_u64()),
        (Some(0), Some(0), Some(0))
    );
}

#[test]
fn a_forgotten_write_may_be_expected() {
    let (code, phase) = outcome(&server(Fault::Forgets), &format!("{SMALL} --load --verify --expect-misses"));
    assert_eq!((code, phase["misses"].as_u64()), (0, Some(50)), "{phase}");
}

#[test]
fn an_old_version_is_stale() {
    let (code, phase) = outcome(&server(Fault::KeepsFirst), &format!("{SMALL} --load --verify"));
    assert_eq!((code, phase["lost"].as_u64(), phase["wrong"].as_u64()), (1, Some(0), Some(0)), "{phase}");
    assert!(phase["stale"].as_u64() > Some(90), "{phase}");
}

#[test]
fn a_value_of_another_key_is_wrong() {
    let (code, phase) = outcome(&server(Fault::MixesUp), &format!("{SMALL} --load --verify"));
    assert_eq!((code, phase["wrong"].as_u64()), (1, Some(99)), "{phase}");
}

#[test]
fn errors_are_counted_by_code_and_noreplicas_apart() {
    let (code, phase) = outcome(&server(Fault::Refuses("INDETERMINATE who knows")), SMALL);
    let refused = phase["errors"].as_u64().expect("a number");
    assert!(code == 1 && refused > 1000, "{phase}");
    assert_eq!(phase["errors_by_code"]["INDETERMINATE"].as_u64(), Some(refused));
    let (code, phase) = outcome(&server(Fault::Refuses("NOREPLICAS too few")), SMALL);
    assert!(code == 0 && phase["noreplicas"].as_u64() > Some(1000), "{phase}");
}

#[test]
fn a_connection_closed_between_commands_is_made_again_without_an_error() {
    let targets = [server(Fault::ClosesBetween), server(Fault::Nothing)].join(",");
    // A pace that leaves each connection idle for 20 ms, so that the end is there before the next command.
    let arguments = "--keys 100 --connections 4 --requests 80 --rate 200 --get-ratio 0 --quiet";
    let (code, phase) = outcome(&targets, arguments);
    assert_eq!((code, phase["commands"].as_u64(), phase["errors"].as_u64()), (0, Some(80), Some(0)), "{phase}");
    assert!(phase["reconnects"].as_u64() >= Some(2), "{phase}");
}

#[test]
fn a_command_without_a_reply_is_an_error() {
    let targets = [server(Fault::ClosesInside), server(Fault::Nothing)].join(",");
    let arguments = "--keys 100 --connections 4 --requests 400 --get-ratio 0 --quiet";
    let (code, phase) = outcome(&targets, arguments);
    let errors = phase["errors_by_code"]["NOREPLY"].as_u64().unwrap_or(0);
    assert!(code == 1 && errors >= 2, "{phase}");
    assert_eq!(phase["commands"].as_u64(), Some(400 - errors), "{phase}");
    let (code, _) = outcome(&targets, &format!("{arguments} --allow-errors 400"));
    assert_eq!(code, 0);
}

#[test]
fn silence_is_a_timeout() {
    let arguments = "--keys 10 --connections 1 --requests 2 --timeout-ms 100 --quiet";
    let (code, phase) = outcome(&server(Fault::IsSilent), arguments);
    assert_eq!((code, phase["errors_by_code"]["TIMEOUT"].as_u64()), (1, Some(2)), "{phase}");
}

#[test]
fn a_target_that_is_not_there_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let (code, phase) = outcome(&address, "--keys 10 --connections 1 --requests 2 --timeout-ms 100 --quiet");
    assert_eq!((code, phase["errors_by_code"]["CONNECT"].as_u64()), (1, Some(1)), "{phase}");
}

#[test]
fn a_later_run_verifies_what_an_earlier_one_wrote() {
    let (honest, empty) = (server(Fault::Nothing), server(Fault::Nothing));
    let state = temporary("state");
    let arguments = format!("--keys 100 --connections 4 --quiet --state {state}");
    assert_eq!(outcome(&honest, &format!("{arguments} --load-only")).0, 0);
    let (code, phase) = outcome(&honest, &format!("{arguments} --verify-only"));
    assert_eq!((code, phase["reads"].as_u64()), (0, Some(100)), "{phase}");
    let (code, phase) = outcome(&[honest, empty].join(","), &format!("{arguments} --verify-only"));
    assert_eq!((code, phase["lost"].as_u64()), (1, Some(100)), "the second target has nothing: {phase}");
    std::fs::remove_file(state).expect("written above");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let output = bench("127.0.0.1:1", "--keys 1 --connections 2");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--keys"));
}
