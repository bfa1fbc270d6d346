//! What took long or was large is noted: by whom, what it was, and nothing secret of it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]
// Other tests use the rest of the node.
#![allow(dead_code, reason = "other tests use what this one does not")]

mod node;

use node::{Node, ask, connect};
use server::watch::{Watch, Which};

fn lines(watch: &Watch, which: Which) -> Vec<String> {
    let entries = watch.log(which).latest(usize::MAX);
    entries.iter().map(|entry| String::from_utf8(entry.arguments.join(&b' ')).unwrap()).collect()
}

#[tokio::test]
async fn with_a_low_threshold_each_command_of_a_pipeline_is_logged() {
    let node = Node::simple().await;
    let watch = node.router.services().watch.clone();
    watch.log(Which::Slow).set_threshold(0);
    let mut stream = connect(&node).await;
    ask(&mut stream, b"CLIENT SETNAME me\r\n", b"+OK\r\n").await;
    ask(&mut stream, &b"PING\r\n".repeat(20), &b"+PONG\r\n".repeat(20)).await;
    // A walk over all slots is answered later.
    ask(
        &mut stream,
        b"DBSIZE\r\nSET a b\r\nnonsense\r\n",
        b":0\r\n+OK\r\n-ERR unknown command 'nonsense', with args beginning with: \r\n",
    )
    .await;
    ask(&mut stream, b"AUTH default secret\r\nWAIT 0 1\r\n", b"+OK\r\n:0\r\n").await;
    let mut wanted = vec!["AUTH default secret".replace("default secret", "(redacted) (redacted)"), "SET a b".into()];
    wanted.push("DBSIZE".into());
    wanted.extend(vec!["PING".to_owned(); 20]);
    wanted.push("CLIENT SETNAME me".into());
    assert_eq!(lines(&watch, Which::Slow), wanted, "WAIT blocks, and nonsense is no command");
    let latest = &watch.log(Which::Slow).latest(1)[0];
    assert_eq!(
        (latest.client.as_str(), &latest.client_name[..]),
        (&*stream.local_addr().unwrap().to_string(), &b"me"[..])
    );
    assert_eq!(latest.id, 23);
}

#[tokio::test]
async fn large_requests_and_replies_are_logged() {
    let node = Node::simple().await;
    let watch = node.router.services().watch.clone();
    let mut stream = connect(&node).await;
    let value = "x".repeat(300);
    watch.log(Which::LargeRequest).set_threshold(300);
    watch.log(Which::LargeReply).set_threshold(300);
    ask(&mut stream, format!("SET a {value}\r\n").as_bytes(), b"+OK\r\n").await;
    ask(&mut stream, b"GET b\r\nGET a\r\n", format!("$-1\r\n$300\r\n{value}\r\n").as_bytes()).await;
    assert_eq!(lines(&watch, Which::LargeRequest), [format!("SET a {}... (172 more bytes)", &value[..128])]);
    assert_eq!(lines(&watch, Which::LargeReply), ["GET a"]);
    assert!(watch.log(Which::LargeReply).latest(1)[0].value >= 300);
}

#[tokio::test]
async fn what_takes_long_is_an_event() {
    let node = Node::start(&[("enable-debug-command", "yes")], server::session::Port::Proxy, Default::default()).await;
    let watch = node.router.services().watch.clone();
    let mut stream = connect(&node).await;
    ask(&mut stream, b"DEBUG SLEEP 0.02\r\n", b"+OK\r\n").await;
    assert!(watch.events.all().is_empty(), "nobody watches");
    watch.set_event_threshold_ms(5);
    ask(&mut stream, b"DEBUG SLEEP 0.02\r\n", b"+OK\r\n").await;
    let event = watch.events.of(b"command").unwrap();
    assert!(event.longest_ms >= 20 && event.count == 1, "{event:?}");
    assert_eq!(lines(&watch, Which::Slow), ["DEBUG SLEEP 0.02"; 2], "and both took longer than 10 ms");
}
