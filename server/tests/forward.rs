//! A cluster seen through any of its nodes: requests go where their slots are, and nothing is lost, doubled or
//! overtaken while slots move and links break.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what went wrong")]

mod node;
mod several;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use ring::{
    id::{Origin, Peer},
    slot::Slot,
};
use server::{routes::ME, session::Port, store::Mark};
use several::{Client, PATIENCE, Several, key_of, keys_of, peer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use xxhash_rust::xxh3::xxh3_64;

async fn three() -> Several {
    Several::start(3, 1, 1, Port::Proxy).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_wrote_every_node_reads() {
    let several = three().await;
    let mut client = several.client(0).await;
    for (owner, key) in (0..3).map(|owner| (owner, key_of(owner, 3))) {
        client
            .ask(
                &format!("SET {key} {owner}\nINCR {key}\nPING\nGET {key}"),
                &format!("+OK\r\n:{next}\r\n+PONG\r\n$1\r\n{next}\r\n", next = owner + 1),
            )
            .await;
        for other in 0..3 {
            several.client(other).await.ask(&format!("GET {key}"), &format!("$1\r\n{}\r\n", owner + 1)).await;
        }
    }
    let elsewhere = key_of(1, 3);
    client.ask(&format!("INCR {elsewhere} 5"), "-ERR wrong number of arguments for 'incr' command\r\n").await;
    client
        .ask(&format!("SET {elsewhere} a\nINCR {elsewhere}"), "+OK\r\n-ERR value is not an integer or out of range\r\n")
        .await;
    client.send("HELLO 3").await;
    while client.line().await != "*0" {}
    client.ask(&format!("GETDEL {elsewhere}\nGET {elsewhere}"), "$1\r\na\r\n_\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_values_pass_by_a_link_of_their_own() {
    let several = three().await;
    let mut client = several.client(0).await;
    let key = key_of(1, 3);
    let value = "v".repeat(5_000_000);
    let shown = format!("${}\r\n{value}\r\n", value.len());
    client
        .ask(&format!("SET {key} 1\nINCR {key}\nSET {key} {value}\nSTRLEN {key}"), "+OK\r\n:2\r\n+OK\r\n:5000000\r\n")
        .await;
    client
        .ask(
            &format!("STRLEN {key}\nGET {key}\nSET {key} 2\nGET {key}"),
            &format!(":5000000\r\n{shown}+OK\r\n$1\r\n2\r\n"),
        )
        .await;
    // A write whose reply is large must not be executed twice to have it.
    client.ask(&format!("SET {key} {value}\nGETDEL {key}\nEXISTS {key}"), &format!("+OK\r\n{shown}:0\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_many_nodes_take_one_round_trip_to_each() {
    let several = three().await;
    let mut client = several.client(0).await;
    let keys: Vec<String> = (0..3).flat_map(|owner| keys_of(owner, 3).take(20)).collect();
    let pairs: Vec<String> = keys.iter().map(|key| format!("{key} v{key}")).collect();
    client.ask(&format!("MSET {}", pairs.join(" ")), "+OK\r\n").await;
    let before: Vec<usize> = several.nodes.iter().map(|member| member.tap.pieces.load(SeqCst)).collect();
    // Nobody's replies come back before everybody was asked.
    for member in &several.nodes {
        member.tap.open.send_replace(false);
    }
    client.send(&format!("MGET {} none", keys.join(" "))).await;
    for other in [1, 2] {
        several.nodes[other].tap.until_arrived(before[other] + 1).await;
    }
    for member in &several.nodes {
        member.tap.open.send_replace(true);
    }
    let values: String = keys.iter().map(|key| format!("${}\r\nv{key}\r\n", key.len() + 1)).collect();
    client.receive(&format!("*61\r\n{values}$-1\r\n")).await;
    for other in [1, 2] {
        assert_eq!(several.nodes[other].tap.pieces.load(SeqCst), before[other] + 1, "one piece to node {other}");
    }
    client.ask(&format!("EXISTS {} none", keys.join(" ")), ":60\r\n").await;
    client.ask(&format!("DEL {} none", keys.join(" ")), ":60\r\n").await;
    client.ask(&format!("UNLINK {}", keys.join(" ")), ":0\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyspace_is_that_of_all_nodes() {
    let several = three().await;
    let mut client = several.client(2).await;
    client.ask("RANDOMKEY", "$-1\r\n").await;
    let keys: BTreeSet<String> = (0..300).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.ask(&format!("SET {key} 1"), "+OK\r\n").await;
    }
    for number in 0..3 {
        let mut client = several.client(number).await;
        client.ask("DBSIZE", ":300\r\n").await;
        assert_eq!(list(&mut client, "KEYS *").await, keys);
        client.ask("KEYS key:17", "*1\r\n$6\r\nkey:17\r\n").await;
        client.send("RANDOMKEY").await;
        client.line().await;
        assert!(keys.contains(&client.line().await));
        let found = client.scan("COUNT 50").await;
        assert_eq!(found.len(), 300, "each key once");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    }
    client.ask("SCAN x", "-ERR invalid cursor\r\n").await;
    client.ask("FLUSHALL\nDBSIZE", "+OK\r\n:0\r\n").await;
    client.ask("FLUSHALL NOW", "-ERR syntax error\r\n").await;
}

async fn list(client: &mut Client, request: &str) -> BTreeSet<String> {
    client.send(request).await;
    let count: usize = client.line().await[1..].parse().unwrap();
    let mut found = BTreeSet::new();
    for _ in 0..count {
        client.line().await;
        assert!(found.insert(client.line().await));
    }
    found
}

/// Moves the slots of these keys from node to node until told to stop.
async fn move_about(several: Arc<Several>, slots: Vec<(Slot, usize)>, stop: Arc<AtomicBool>) -> usize {
    let (mut slots, mut moves) = (slots, 0);
    while !stop.load(SeqCst) {
        for (slot, owner) in &mut slots {
            let to = (*owner + 1 + moves % 2) % 3;
            several.hand_over(*slot, *owner, to).await;
            *owner = to;
            moves += 1;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    moves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_overtaken_lost_or_doubled_while_slots_move() {
    let several = Arc::new(three().await);
    let keys: Vec<String> = (0..3).map(|owner| key_of(owner, 3)).collect();
    let slots = keys.iter().enumerate().map(|(owner, key)| (Slot::of(key.as_bytes()), owner)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let moving = tokio::spawn(move_about(several.clone(), slots, stop.clone()));
    let clients = (0..3).map(|number| {
        let (several, keys) = (several.clone(), keys.clone());
        tokio::spawn(async move {
            let mut client = several.client(number).await;
            for round in 0..150 {
                // For each key in turn, a write and a read that has to see it, five times over.
                let (mut lines, mut expected) = (Vec::new(), String::new());
                for step in 0..5 {
                    for key in &keys {
                        let value = format!("{number}.{round}.{step}");
                        lines.push(format!(
                            "SET {{{key}}}{number} {value}\nGET {{{key}}}{number}\nINCR {{{key}}}n{number}"
                        ));
                        expected += &format!("+OK\r\n${}\r\n{value}\r\n:{}\r\n", value.len(), round * 5 + step + 1);
                    }
                }
                client.ask(&lines.join("\n"), &expected).await;
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    stop.store(true, SeqCst);
    let moves = moving.await.unwrap();
    assert!(moves > 50, "only {moves} moves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_counted_once_while_slots_move() {
    let several = Arc::new(three().await);
    let mut client = several.client(0).await;
    let keys: Vec<String> = (0..60).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        client.ask(&format!("SET {key} 1"), "+OK\r\n").await;
    }
    let slots: BTreeSet<_> = keys.iter().map(|key| Slot::of(key.as_bytes())).collect();
    let slots = slots.into_iter().map(|slot| (slot, slot.index() / 100 % 3)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let moving = tokio::spawn(move_about(several.clone(), slots, stop.clone()));
    for _ in 0..30 {
        client.ask("EXISTS key:1\nDBSIZE", ":1\r\n:60\r\n").await;
    }
    stop.store(true, SeqCst);
    assert!(moving.await.unwrap() > 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shuts_down_answers_what_it_has_read() {
    let several = three().await;
    let mut client = several.client(0).await;
    let large = key_of(1, 3);
    let counter = format!("{{{large}}}:n");
    // The largest that goes by the usual link. With 64 MiB of replies not sent the node executes no more for now.
    let value = "v".repeat(255 << 10);
    client.ask(&format!("SET {large} {value}\nSET {counter} 0"), "+OK\r\n+OK\r\n").await;
    several.nodes[1].tap.open.send_replace(false);
    client.send(&format!("INCR {counter}\n{}INCR {counter}", format!("GET {large}\n").repeat(400))).await;
    several.until_held(1, &counter, b"1").await;
    several.nodes[1].shutdown.send_replace(true);
    several.nodes[1].tap.open.send_replace(true);
    client.receive(":1\r\n").await;
    let reply = format!("${}\r\n{value}\r\n", value.len());
    for _ in 0..400 {
        client.receive(&reply).await;
    }
    client.receive(":2\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_link_is_said_unless_it_does_no_harm() {
    let several = three().await;
    let mut client = several.client(0).await;
    let key = key_of(1, 3);
    let slot = Slot::of(key.as_bytes());
    client.ask(&format!("SET {key} 5"), "+OK\r\n").await;
    let arrived = several.nodes[1].tap.pieces.load(SeqCst);
    several.nodes[1].tap.open.send_replace(false);
    client.send(&format!("GET {key}\nINCR {key}\nDEL {key}x\nGET {key}\nSET {key} 9\nPING")).await;
    several.nodes[1].tap.until_arrived(arrived + 1).await;
    // The node executes all of it, and is lost with its answers.
    several.until_held(1, &key, b"9").await;
    several.nodes[2].routes.set(slot, Some(ME));
    several.hand_over(slot, 1, 2).await;
    several.nodes[0].links.disconnect(peer(1));
    let lost = "-INDETERMINATE the node that executed the command was lost before it answered; it may or may not have taken effect\r\n";
    let other = Slot::of(format!("{key}x").as_bytes()).index() / 100 % 3;
    let deleted = if other == 1 { lost } else { ":0\r\n" };
    client.receive(&format!("$1\r\n9\r\n{lost}{deleted}$1\r\n9\r\n+OK\r\n+PONG\r\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_is_sent_again() {
    let several = three().await;
    let mut client = several.client(0).await;
    let key = key_of(1, 3);
    // A session whose connections cannot be opened: nothing of it has an unknown outcome.
    several.nodes[0].links.connect(peer(1), || Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }));
    client.send(&format!("INCR {key}")).await;
    several.connect(0, 1);
    client.receive(":1\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_serves_is_waited_for_and_then_refused() {
    let several = three().await;
    let mut client = several.client(0).await;
    let (gone, here) = (key_of(1, 3), key_of(0, 3));
    let slot = Slot::of(gone.as_bytes());
    several.nodes[0].routes.set(slot, None);
    let start = Instant::now();
    client
        .ask(
            &format!("SET {here} 1\nGET {gone}\nGET {here}"),
            "+OK\r\n-CLUSTERDOWN Hash slot not served\r\n$1\r\n1\r\n",
        )
        .await;
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(1900) && waited < Duration::from_secs(10), "{waited:?}");
    client.send(&format!("SET {gone} 1\nGET {gone}")).await;
    several.route(slot, 1);
    several.announce();
    client.receive("+OK\r\n$1\r\n1\r\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_point_at_each_other_do_not_loop() {
    let several = three().await;
    let mut client = several.client(0).await;
    let key = key_of(1, 3);
    let slot = Slot::of(key.as_bytes());
    several.nodes[1].store.with_replica(slot, |replica| assert!(replica.stop()));
    several.nodes[1].routes.set(slot, Some(peer(2)));
    several.nodes[2].routes.set(slot, Some(peer(0)));
    client.ask(&format!("INCR {key}"), "-CLUSTERDOWN Hash slot not served\r\n").await;
    // Node 2 was always asked with two hops behind the request, and passed nothing on.
    assert_eq!(several.nodes[0].tap.pieces.load(SeqCst), 0);
    let asked = several.nodes[2].tap.pieces.load(SeqCst);
    assert!((1..600).contains(&asked), "{asked} requests to node 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_answered_when_enough_have_it() {
    let several = Several::start(3, 2, 2, Port::Proxy).await;
    for owner in [0, 1] {
        let (mut client, key) = (several.client(0).await, key_of(owner, 3));
        let slot = Slot::of(key.as_bytes());
        let store = several.nodes[owner].store.clone();
        client
            .ask(&format!("SET {key} 1\nGET {key}"), "-NOREPLICAS Not enough good replicas to write.\r\n$-1\r\n")
            .await;
        several.replicate(owner, slot, Peer(9));
        let shard = (slot.index() / 64) as u16;
        client.send(&format!("SET {key} 1\nGET {key}")).await;
        timeout(PATIENCE, async {
            while store.lane_bytes(Peer(9)) == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        several.nodes[owner].acks.acknowledge(Peer(9), [Mark { shard, after: 0, seq: 1 }], &[]);
        client.receive("+OK\r\n$1\r\n1\r\n").await;
        client.ask(&format!("INCR {key}\nGET {key}"), "-INDETERMINATE applied on 1 of 2 replicas\r\n$1\r\n2\r\n").await;
        // What a peer has up to a write's number says nothing of it when the copy that took it in is gone.
        let before = store.lane_bytes(Peer(9));
        client.send(&format!("INCR {key}")).await;
        timeout(PATIENCE, async {
            while store.lane_bytes(Peer(9)) == before {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        store.with_replica(slot, |replica| replica.forget());
        several.nodes[owner].acks.acknowledge(Peer(9), [Mark { shard, after: 0, seq: 9 }], &[]);
        let lost = "-INDETERMINATE this node has lost its copy since; how many nodes have the write is not known\r\n";
        client.receive(lost).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_counts_copies_here_and_elsewhere() {
    let several = Several::start(3, 1, 2, Port::Proxy).await;
    let mut client = several.client(0).await;
    for owner in [0, 1] {
        let key = key_of(owner, 3);
        let slot = Slot::of(key.as_bytes());
        let shard = (slot.index() / 64) as u16;
        several.replicate(owner, slot, Peer(9));
        client.ask(&format!("SET {key} 1\nWAIT 0 0\nWAIT 1 50"), "+OK\r\n:0\r\n:0\r\n").await;
        client.send("WAIT 1 0").await;
        several.nodes[owner].acks.acknowledge(Peer(9), [Mark { shard, after: 0, seq: 9 }], &[]);
        client.receive(":1\r\n").await;
        client.ask("WAIT 1 0", ":1\r\n").await;
    }
    several.nodes[0].links.disconnect(peer(1));
    let line = "-INDETERMINATE a node was lost since these writes; how many nodes have them is not known\r\n";
    client.ask("WAIT 1 0", line).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_ever_takes_no_place_on_a_link() {
    let several = Several::start(2, 1, 1, Port::Proxy).await;
    let key = key_of(1, 2);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut client = several.client(0).await;
        client.ask(&format!("SET {key} 1"), "+OK\r\n").await;
        client.send("WAIT 1 0").await;
        waiting.push(client);
    }
    // More than a link keeps in mind behind a reply that has not come.
    let requests = vec![format!("GET {key}"); 10_000].join("\n");
    for _ in 0..2 {
        let mut client = several.client(0).await;
        for _ in 0..14 {
            client.ask(&requests, &"$1\r\n1\r\n".repeat(10_000)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_aware_clients_are_sent_to_who_acts() {
    let several = Several::start(3, 1, 1, Port::Cluster).await;
    let mut client = several.client(0).await;
    let (here, there) = (key_of(0, 3), key_of(1, 3));
    let slot = Slot::of(there.as_bytes());
    client
        .ask(
            &format!("SET {here} 1\nGET {there}\nASKING\nREADONLY\nGET {there}"),
            &format!("+OK\r\n-MOVED {slot} node1:7379\r\n+OK\r\n+OK\r\n-MOVED {slot} node1:7379\r\n"),
        )
        .await;
    // What is asked about all keys is asked about those of this node: such clients ask every node.
    several
        .client(1)
        .await
        .ask(&format!("SET {there} 1\nDBSIZE\nKEYS *"), &format!("+OK\r\n:1\r\n*1\r\n${}\r\n{there}\r\n", there.len()))
        .await;
    client.ask("DBSIZE\nRANDOMKEY", &format!(":1\r\n${}\r\n{here}\r\n", here.len())).await;
    client.ask("SCAN 0", &format!("*2\r\n$1\r\n0\r\n*1\r\n${}\r\n{here}\r\n", here.len())).await;
    client.ask(&format!("MGET {here} {there}"), "-CROSSSLOT Keys in request don't hash to the same slot\r\n").await;
}

/// A frame of a link: what its head says behind the checks and the length, and its body.
fn frame(fields: &[u8], body: &[u8]) -> Vec<u8> {
    let numbers = [body.len() as u32, xxh3_64(body) as u32].map(u32::to_le_bytes).concat();
    let head = [&numbers, fields].concat();
    [&(xxh3_64(&head) as u32).to_le_bytes()[..], &head, body].concat()
}

/// A peer that executes as many requests of a group as it is told, and refuses the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_where_it_was_refused() {
    let several = three().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    several.nodes[0].links.connect(peer(1), move || Box::pin(TcpStream::connect(address)));
    let fake = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut executed, mut taken): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
        let mut refuses = false;
        while executed.len() < 6 {
            let mut head = [0; 26];
            stream.read_exact(&mut head).await.unwrap();
            let mut body = vec![0; u32::from_le_bytes(head[4..8].try_into().unwrap()) as usize];
            stream.read_exact(&mut body).await.unwrap();
            assert_eq!(head[..], frame(&head[12..], &body)[..26]);
            let (id, flags, hops) = (&head[12..16], head[17], head[19]);
            assert_eq!(hops, 1);
            taken += 1;
            // Every third request is refused, and with it the rest of its group.
            refuses |= taken % 3 == 0;
            let reply = match refuses {
                true => String::new(),
                false => format!(":{}\r\n", executed.len() + 1),
            };
            let reply = frame(&[id, &[u8::from(refuses)]].concat(), reply.as_bytes());
            if !refuses {
                executed.push(body);
            }
            if flags & 1 == 0 {
                refuses = false;
            }
            stream.write_all(&reply).await.unwrap();
        }
        executed
    });
    let key = key_of(1, 3);
    let mut client = several.client(0).await;
    let lines: Vec<String> = (1..=6).map(|number| format!("INCRBY {key} {number}")).collect();
    client.ask(&lines.join("\n"), ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n").await;
    let executed = timeout(PATIENCE, fake).await.unwrap().unwrap();
    for (number, request) in executed.iter().enumerate() {
        assert!(request.ends_with(format!("$1\r\n{}\r\n", number + 1).as_bytes()), "{number}: {request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_a_link_and_nothing_else() {
    let several = three().await;
    let command = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
    let slot = Slot::of(b"a").number().to_le_bytes();
    let head = |kind, slot: [u8; 2]| [1, 0, 0, 0, kind, 0, 1, 0, slot[0], slot[1], 0, 0, 0, 0];
    let (mut damaged, mut too_large) = (frame(&head(0, slot), command), frame(&head(0, slot), command));
    *damaged.last_mut().unwrap() ^= 1;
    too_large[7] = 0x7f;
    let check = xxh3_64(&too_large[4..26]) as u32;
    too_large[..4].copy_from_slice(&check.to_le_bytes());
    let frames = [
        vec![0xff; 26],
        vec![0; 26],
        damaged,
        too_large,
        frame(&head(9, slot), command),
        frame(&head(0, [0xff; 2]), command),
        frame(&head(0, [0; 2]), command),
        frame(&head(0, slot), b"*9\r\n$3\r\n"),
        frame(&head(1, [0; 2]), &[0xff; 4]),
    ];
    for frame in frames {
        let mut stream = TcpStream::connect(several.nodes[1].tap.address).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the link ends");
        assert_eq!(rest, b"");
    }
    let mut stream = TcpStream::connect(several.nodes[1].tap.address).await.unwrap();
    stream.write_all(&frame(&head(0, slot), command)).await.unwrap();
    timeout(PATIENCE, stream.read_exact(&mut [0; 17])).await.expect("what is no garbage is answered").unwrap();
    let key = key_of(1, 3);
    several.client(0).await.ask(&format!("SET {key} 1\nGET {key}"), "+OK\r\n$1\r\n1\r\n").await;
    several.nodes[1].store.with_replica(Slot::of(key.as_bytes()), |replica| assert!(replica.is_of(Origin(2))));
}
