//! `CLIENT`: what it shows of a connection, and what one connection does to another.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;

use std::time::Duration;

use node::{Node, PATIENCE, ask, connect, receive, rest};
use tokio::{io::AsyncWriteExt, time::timeout};

/// The lines of `CLIENT LIST` with these filters, as somebody else sees them.
async fn list(node: &Node, filters: &str) -> Vec<String> {
    let mut other = connect(node).await;
    other.write_all(format!("CLIENT LIST {filters}\r\nQUIT\r\n").as_bytes()).await.unwrap();
    let text = String::from_utf8(rest(&mut other).await).unwrap();
    text.lines().filter(|line| line.starts_with("id=")).map(str::to_owned).collect()
}

/// What a field of a line says.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{name} is not in {line}"))
}

fn number(line: &str, name: &str) -> usize {
    field(line, name).parse().unwrap()
}

/// Waits until the line about a client has what is looked for.
async fn until(node: &Node, id: u64, holds: impl Fn(&str) -> bool) -> String {
    let look = async {
        loop {
            let lines = list(node, &format!("ID {id}")).await;
            if let [line] = lines.as_slice()
                && holds(line)
            {
                return line.clone();
            }
        }
    };
    timeout(PATIENCE, look).await.expect("the line says it in time")
}

#[tokio::test]
async fn a_line_has_the_fields_of_redis_in_their_order() {
    let node = Node::simple().await;
    let _one = connect(&node).await;
    let line = list(&node, "").await[0].clone();
    let names: Vec<_> = line.split(' ').map(|field| field.split_once('=').unwrap().0).collect();
    let expected = "id addr laddr fd name age idle flags capa db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem \
                    rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out \
                    tot-cmds";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_shows_what_the_connection_did_and_keeps() {
    let node = Node::simple().await;
    let mut one = connect(&node).await;
    ask(&mut one, b"CLIENT ID\r\nSELECT 3\r\nGET a\r\n", b":1\r\n+OK\r\n$-1\r\n").await;
    let line = list(&node, "ID 1").await[0].clone();
    let of = |names: &[&str]| -> Vec<String> { names.iter().map(|name| field(&line, name).to_owned()).collect() };
    assert_eq!(
        of(&["db", "cmd", "flags", "capa", "events", "user", "multi"]),
        ["3", "get", "N", "", "r", "default", "-1"]
    );
    assert_eq!(of(&["tot-net-in", "tot-net-out", "tot-cmds", "qbuf", "omem"]), ["28", "14", "3", "0", "0"]);
    assert!(number(&line, "tot-mem") > 500 && number(&line, "fd") > 2, "{line}");

    let commands = b"CLIENT NO-EVICT on\r\nCLIENT NO-TOUCH on\r\nCLIENT CAPA redirect\r\nREADONLY\r\n";
    one.write_all(commands).await.unwrap();
    receive(&mut one, b"+OK\r\n+OK\r\n+OK\r\n").await;
    // What is read and not complete is kept.
    one.write_all(b"*2\r\n$100000\r\n").await.unwrap();
    one.write_all(&[b'x'; 50_000]).await.unwrap();
    let line = until(&node, 1, |line| number(line, "qbuf") == 50_013).await;
    assert!(field(&line, "flags").ends_with("eT") && field(&line, "capa") == "r", "{line}");
    assert!(number(&line, "tot-mem") > 50_013 && number(&line, "tot-mem") < 200_000, "{line}");
}

#[tokio::test]
async fn a_version_that_begins_with_a_zero_byte_does_not_break_the_line() {
    let node = Node::simple().await;
    let mut one = connect(&node).await;
    let request = b"*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$7\r\nlib-ver\r\n$6\r\n7\0\r\n\xff \r\n";
    ask(&mut one, request, b"+OK\r\n").await;
    let lines = list(&node, "ID 1").await;
    assert_eq!(field(&lines[0], "lib-ver"), "7");
    assert!(lines[0].contains(" lib-ver=7 tot-net-in="), "{lines:?}");
}

#[tokio::test]
async fn filters_choose_clients() {
    let node = Node::simple().await;
    let (mut one, mut two) = (connect(&node).await, connect(&node).await);
    ask(&mut one, b"CLIENT SETNAME one\r\nCLIENT SETINFO lib-name x\r\nSELECT 2\r\n", b"+OK\r\n+OK\r\n+OK\r\n").await;
    ask(
        &mut two,
        b"CLIENT NO-EVICT on\r\nCLIENT SETINFO lib-ver 7\r\nCLIENT CAPA redirect\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n",
    )
    .await;
    let (address, local) = (two.local_addr().unwrap().to_string(), node.address.to_string());
    let (by_address, by_local) = (format!("ADDR {address}"), format!("LADDR {local} SKIPME yes"));
    let not_address = format!("NOT-ADDR {address} SKIPME yes");
    for (filters, expected) in [
        ("NAME one", "1"),
        ("NOT-NAME one SKIPME yes", "2"),
        ("LIB-NAME x", "1"),
        ("LIB-VER 7", "2"),
        ("NOT-LIB-VER 7 SKIPME yes", "1"),
        ("FLAGS e", "2"),
        ("NOT-FLAGS e SKIPME yes", "1"),
        ("FLAGS N SKIPME yes", "1"),
        ("CAPA r", "2"),
        ("DB 2", "1"),
        ("NOT-DB 2 SKIPME yes", "2"),
        ("ID 1 2 1000 SKIPME yes", "1 2"),
        ("ID 1 ID 2", "1 2"),
        ("NOT-ID 1 SKIPME yes", "2"),
        ("IP 127.0.0.1 SKIPME yes TYPE normal", "1 2"),
        ("NOT-IP 127.0.0.1", ""),
        ("USER default NAME one", "1"),
        ("TYPE pubsub", ""),
        ("NOT-TYPE pubsub SKIPME yes", "1 2"),
        ("NAME one DB 3", ""),
        (&by_address, "2"),
        (&by_local, "1 2"),
        (&not_address, "1"),
    ] {
        let found: Vec<_> = list(&node, filters).await.iter().map(|line| field(line, "id").to_owned()).collect();
        assert_eq!(found.join(" "), expected, "{filters}");
    }
}

#[tokio::test]
async fn whoever_is_killed_is_gone_at_once() {
    let node = Node::simple().await;
    let (mut killer, mut one, mut two) = (connect(&node).await, connect(&node).await, connect(&node).await);
    for stream in [&mut one, &mut two] {
        ask(stream, b"CLIENT SETNAME victim\r\n", b"+OK\r\n").await;
    }
    let requests = b"CLIENT KILL NAME victim MAXAGE 1000\r\nCLIENT KILL NAME victim\r\nCLIENT KILL NAME victim\r\n\
                     CLIENT LIST NAME victim\r\n";
    ask(&mut killer, requests, b":0\r\n:2\r\n:0\r\n$0\r\n\r\n").await;
    assert_eq!((rest(&mut one).await, rest(&mut two).await), (vec![], vec![]));
    // Whoever filters itself out by SKIPME stays, as is usual for KILL.
    ask(&mut killer, b"CLIENT KILL TYPE normal\r\nCLIENT KILL TYPE normal SKIPME no\r\n", b":0\r\n:1\r\n").await;
    assert_eq!(rest(&mut killer).await, b"");
}

/// Waits until a client is in a command that blocks.
async fn until_blocked(node: &Node, id: u64) {
    until(node, id, |line| field(line, "flags") == "b" && field(line, "cmd") == "wait").await;
}

#[tokio::test]
async fn a_wait_is_ended_by_another_connection() {
    let node = Node::simple().await;
    let (mut waiting, mut other) = (connect(&node).await, connect(&node).await);
    let id = 1;
    ask(&mut waiting, b"CLIENT ID\r\n", b":1\r\n").await;
    waiting.write_all(b"WAIT 1 0\r\nPING\r\n").await.unwrap();
    until_blocked(&node, id).await;
    // Who waits keeps no buffer.
    until(&node, id, |line| field(line, "omem") == "0").await;
    ask(&mut other, format!("CLIENT UNBLOCK {id}\r\n").as_bytes(), b":1\r\n").await;
    receive(&mut waiting, b":0\r\n+PONG\r\n").await;
    ask(&mut other, format!("CLIENT UNBLOCK {id} TIMEOUT\r\n").as_bytes(), b":0\r\n").await;
    for (request, waits) in [("WAIT 1 0", 0), ("WAIT 1 1000000", 1)] {
        waiting.write_all(format!("{request}\r\nPING\r\n").as_bytes()).await.unwrap();
        until_blocked(&node, id).await;
        let counted = node.clients.waiting();
        assert_eq!((counted.blocked, counted.up_to_a_time), (1, waits));
        // The second comes too late, whatever the first has led to yet.
        let request = format!("CLIENT UNBLOCK {id} ERROR\r\nCLIENT UNBLOCK {id} ERROR\r\n");
        ask(&mut other, request.as_bytes(), b":1\r\n:0\r\n").await;
        receive(&mut waiting, b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n+PONG\r\n").await;
    }
    assert_eq!(node.clients.waiting().blocked, 0);
}

#[tokio::test]
async fn the_help_has_the_shape_of_redis() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    stream.write_all(b"CLIENT HELP\r\nQUIT\r\n").await.unwrap();
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("*{}", lines.len() - 2));
    assert_eq!(lines[1], "+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    assert_eq!(lines[lines.len() - 3..], ["+HELP", "+    Print this help.", "+OK"]);
    let table = server::command::Table::of_node();
    let (_, client) = table.find(b"client").unwrap();
    for name in client.subcommands.iter().map(|command| command.subcommand_name().to_ascii_uppercase()) {
        assert!(lines.iter().any(|line| line.trim_start_matches('+').split(' ').next() == Some(&name)), "{name}");
    }
}

#[tokio::test]
async fn a_zone_is_told_where_there_is_one() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    stream.write_all(b"HELLO 3\r\nQUIT\r\n").await.unwrap();
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(text.starts_with("%7\r\n") && !text.contains("availability_zone"), "{text}");
    node.topology.publish(node::alone_in("north"));
    let mut stream = connect(&node).await;
    stream.write_all(b"HELLO 3\r\nQUIT\r\n").await.unwrap();
    let text = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(text.starts_with("%8\r\n") && text.contains("$17\r\navailability_zone\r\n$5\r\nnorth\r\n"), "{text}");
}

#[tokio::test]
async fn replies_that_nobody_wants_are_left_out_also_when_they_come_later() {
    let node = Node::simple().await;
    let mut stream = connect(&node).await;
    let start = tokio::time::Instant::now();
    let requests = b"CLIENT REPLY OFF\r\nWAIT 1 100\r\nDBSIZE\r\nKEYS *\r\nCLIENT REPLY ON\r\nDBSIZE\r\n";
    ask(&mut stream, requests, b"+OK\r\n:0\r\n").await;
    assert!(start.elapsed() >= Duration::from_millis(100), "WAIT was not executed");
}
