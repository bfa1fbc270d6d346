//! What every way of telling must have in common.

use proptest::prelude::*;
use ring::{
    hlc::Hlc,
    member::{Descriptor, MAX_TEXT_BYTES, Partition},
};

use super::*;
use crate::{
    clients::{Arrival, Clients, Limits},
    resp::{Output, Reply},
    services::{SettingError, Settings},
};

fn local() -> SocketAddr {
    "10.1.1.1:40000".parse().unwrap()
}

fn meta(host: &str, cluster_port: u16) -> Meta {
    Meta {
        name: String::new(),
        version: String::new(),
        host: host.to_owned(),
        port: 6379,
        cluster_port,
        peer_port: 7946,
        admin_port: 9121,
        announce_host: String::new(),
        announce_port: 0,
        announce_cluster_port: 0,
        zone: "default".to_owned(),
        weight: 1,
        joined_unix_ms: 0,
        descriptor: Descriptor {
            format: 1,
            replicas: 2,
            slots: SLOTS as u16,
            vnodes: 256,
            headroom: 50,
            partition: Partition::Available,
        },
    }
}

/// The node of this number: its identity begins with the number, and it is at 10.0.0.number.
fn id(number: u8) -> NodeId {
    let mut bytes = [0; 20];
    bytes[0] = number;
    NodeId::from_bytes(bytes)
}

fn node(number: u8) -> Node {
    let meta = meta(&format!("10.0.0.{number}"), 7000 + u16::from(number));
    Node { id: id(number), meta, standing: Standing::Up, is_connected: true, ready: 0 }
}

fn epoch() -> Epoch {
    Epoch { height: Hlc::from_bits(9).unwrap(), hash: 0 }
}

/// Nodes 1 to `nodes`, of which this one is node 1.
fn empty(nodes: u8) -> Topology {
    Topology::new(id(1), epoch(), (1..=nodes).map(node).collect())
}

/// Node 1 acts for the slots below 8192, node 2 for the others, and each holds copies of the other's.
fn two() -> Topology {
    let mut topology = empty(2);
    for slot in Slot::all() {
        let (first, second) = if slot.number() < 8192 { (id(1), id(2)) } else { (id(2), id(1)) };
        topology.place(slot, Some(first), &[first, second], Some(first));
    }
    topology
}

/// A reply as a client sees it in RESP2.
fn shown(reply: Reply<'static>, protocol: Protocol) -> String {
    let mut output = Output::default();
    output.reply(reply, protocol);
    String::from_utf8(output.into_bytes().to_vec()).unwrap()
}

#[derive(Default)]
struct NoPassword(Limits);

impl Settings for NoPassword {
    fn all(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    fn change(&self, _: &[(&[u8], &[u8])]) -> Result<(), SettingError> {
        Ok(())
    }
    fn allows_debug(&self, _: bool) -> bool {
        false
    }
    fn rewrite(&self) -> Result<(), String> {
        Ok(())
    }
    fn password(&self) -> Option<Arc<str>> {
        None
    }
    fn max_clients(&self) -> usize {
        1
    }
    fn client_limits(&self) -> &Limits {
        &self.0
    }
    fn max_client_memory_bytes(&self) -> u64 {
        0
    }
    fn max_bulk_bytes(&self) -> u32 {
        1
    }
}

fn session(port: Port) -> Session {
    let arrival = Arrival { peer: local(), local: local(), port, at_us: 0, file: 3 };
    Session::new(Arc::new(Clients::default()).register(arrival, 1).unwrap().clone(), &NoPassword::default())
}

#[test]
fn slots_open_with_one_row_per_node() {
    let (one, two_id) = (id(1), id(2));
    let (me, other) = (
        format!("*4\r\n$8\r\n10.1.1.1\r\n:7001\r\n$40\r\n{one}\r\n*0\r\n"),
        format!("*4\r\n$8\r\n10.0.0.2\r\n:7002\r\n$40\r\n{two_id}\r\n*0\r\n"),
    );
    let wanted = format!(
        "*4\r\n*3\r\n:0\r\n:0\r\n{me}*3\r\n:8192\r\n:8192\r\n{other}\
         *4\r\n:1\r\n:8191\r\n{me}{other}*4\r\n:8193\r\n:16383\r\n{other}{me}"
    );
    assert_eq!(shown(two().slots(local()), Protocol::Resp2), wanted);
    let resp3 = shown(two().slots(local()), Protocol::Resp3);
    assert_eq!(resp3, wanted.replace("*0\r\n", "%0\r\n"), "what else is known of a node is a map");
}

#[test]
fn shards_are_nodes() {
    let mut topology = two();
    topology.nodes[1].meta.announce_host = "two.example".to_owned();
    topology.nodes[1].standing = Standing::Down;
    let ids = [id(1), id(2)];
    let wanted = format!(
        "*2\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:8191\r\n$5\r\nnodes\r\n*1\r\n%7\r\n$2\r\nid\r\n$40\r\n{}\r\n\
         $4\r\nport\r\n:7001\r\n$2\r\nip\r\n$8\r\n10.1.1.1\r\n$8\r\nendpoint\r\n$8\r\n10.1.1.1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n\
         %2\r\n$5\r\nslots\r\n*2\r\n:8192\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%8\r\n$2\r\nid\r\n$40\r\n{}\r\n\
         $4\r\nport\r\n:7002\r\n$2\r\nip\r\n$11\r\ntwo.example\r\n$8\r\nendpoint\r\n$11\r\ntwo.example\r\n\
         $8\r\nhostname\r\n$11\r\ntwo.example\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$4\r\nfail\r\n",
        ids[0], ids[1]
    );
    assert_eq!(shown(topology.shards(local()), Protocol::Resp3), wanted);
}

#[test]
fn nodes_are_lines() {
    let mut topology = Topology::new(id(1), epoch(), (1..=5).rev().map(node).collect());
    for number in [0, 1, 2, 9] {
        topology.place(Slot::new(number).unwrap(), Some(id(1)), &[], None);
    }
    topology.place(Slot::new(3).unwrap(), Some(id(2)), &[], None);
    topology.nodes[1].is_connected = false;
    topology.nodes[2].standing = Standing::Down;
    topology.nodes[3].meta.announce_host = "four.example".to_owned();
    topology.nodes[3].meta.announce_cluster_port = 80;
    topology.nodes[4].meta.host = "::1 myself".to_owned();
    let ids = [1, 2, 3, 4, 5].map(id);
    let wanted = format!(
        "{} 10.1.1.1:7001@7946 myself,master - 0 0 9 connected 0-2 9\n\
         {} 10.0.0.2:7002@7946 master,fail? - 0 0 9 disconnected 3\n\
         {} 10.0.0.3:7003@7946 master,fail - 0 0 9 connected\n\
         {} four.example:80@7946,four.example master - 0 0 9 connected\n\
         {} ?:7005@7946 master - 0 0 9 connected\n",
        ids[0], ids[1], ids[2], ids[3], ids[4]
    );
    assert_eq!(topology.nodes_text(local()), wanted);
}

#[test]
fn info_counts_slots_by_who_acts() {
    let head =
        |text: String| text.lines().take(8).map(|line| line.split_once(':').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(
        two().with_messages(Messages { sent: 3, received: 4 }).info(),
        "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\ncluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\ncluster_known_nodes:2\r\ncluster_size:2\r\ncluster_current_epoch:9\r\n\
         cluster_my_epoch:9\r\ncluster_stats_messages_sent:3\r\ncluster_stats_messages_received:4\r\n"
    );
    let mut topology = two();
    topology.nodes[1].is_connected = false;
    assert_eq!(head(topology.info()), ["ok", "16384", "8192", "8192", "0", "2", "2", "9"]);
    topology.nodes[1].standing = Standing::Down;
    assert_eq!(head(topology.info()), ["fail", "16384", "8192", "0", "8192", "2", "2", "9"]);
    assert_eq!(head(empty(1).info()), ["fail", "0", "0", "0", "0", "1", "0", "9"]);
}

#[test]
fn a_client_is_sent_only_to_who_surely_acts() {
    let (mine, other) = (Slot::new(0).unwrap(), Slot::new(9000).unwrap());
    let (proxy, cluster) = (session(Port::Proxy), session(Port::Cluster));
    let mut topology = two();
    assert_eq!(topology.redirect(mine, &cluster), None);
    assert_eq!(topology.redirect(other, &cluster).as_deref(), Some("10.0.0.2:7002"));
    assert_eq!(topology.redirect(other, &proxy), None);
    // Its first target is another one, or not known, or it is not known who acts.
    for (acting, target) in [(Some(2), Some(1)), (Some(2), None), (None, Some(2)), (Some(9), Some(9))] {
        topology.place(other, acting.map(id), &[id(2)], target.map(id));
        assert_eq!(topology.redirect(other, &cluster), None, "{acting:?} {target:?}");
        assert!(topology.is_changing(other));
    }
    topology = two();
    topology.nodes[1].is_connected = false;
    assert_eq!(topology.redirect(other, &cluster), None);
    topology = two();
    topology.nodes[1].standing = Standing::Down;
    assert_eq!(topology.redirect(other, &cluster), None);
}

#[test]
fn a_slot_whose_acting_node_is_not_known_has_the_row_of_its_first_copy() {
    let (slot, mut topology) = (Slot::new(5).unwrap(), empty(3));
    topology.place(slot, None, &[id(3), id(1)], Some(id(2)));
    assert_eq!(topology.holders(slot).map(|node| node.id).collect::<Vec<_>>(), [id(3), id(1)]);
    assert!(topology.is_held_here(slot) && !topology.is_held_here(Slot::new(6).unwrap()));
    // More holders than are told are cut, and nobody stands in a row twice.
    let all: Vec<_> = (1..=12).map(id).collect();
    topology = empty(12);
    topology.place(slot, Some(id(4)), &all, None);
    let told: Vec<_> = topology.holders(slot).map(|node| node.id).collect();
    assert_eq!(told, [4, 1, 2, 3, 5, 6, 7, 8].map(id));
}

#[test]
fn this_node_is_told_as_it_was_reached_unless_it_announces_itself() {
    let check = |announced: (&str, u16), reached: &str, wanted: &str| {
        let mut topology = two();
        topology.nodes[0].meta.announce_host = announced.0.to_owned();
        topology.nodes[0].meta.announce_cluster_port = announced.1;
        assert_eq!(topology.told(&topology.nodes[0], reached.parse().unwrap()).to_string(), wanted);
    };
    check(("", 0), "192.168.0.7:6379", "192.168.0.7:7001");
    check(("", 0), "[::ffff:192.168.0.7]:6379", "192.168.0.7:7001");
    check(("", 0), "[fe80::1]:6379", "fe80::1:7001");
    check(("", 30001), "192.168.0.7:6379", "192.168.0.7:30001");
    check(("cache.example", 30001), "192.168.0.7:6379", "cache.example:30001");
}

#[test]
fn who_is_gone_is_not_told() {
    let mut nodes: Vec<Node> = (1..=3).map(node).collect();
    nodes[1].standing = Standing::Left;
    nodes[2].standing = Standing::Removed;
    let topology = Topology::new(id(1), epoch(), nodes);
    assert_eq!(topology.nodes().len(), 1);
    assert_eq!(topology.my_node().unwrap().id, id(1));
}

#[test]
fn encoded_slots_are_kept_by_protocol_and_address_and_bounded() {
    let topology = two();
    let bytes = topology.encoded_slots(Protocol::Resp2, local());
    assert_eq!(bytes, shown(topology.slots(local()), Protocol::Resp2));
    let again = topology.encoded_slots(Protocol::Resp2, "10.1.1.1:1".parse().unwrap());
    assert_eq!(again.as_ptr(), bytes.as_ptr(), "the port of the connection does not count");
    assert_ne!(topology.encoded_slots(Protocol::Resp3, local()), bytes);
    for last in 0..=255u8 {
        let here = SocketAddr::from(([127, 0, 0, last], 1));
        assert_eq!(topology.encoded_slots(Protocol::Resp2, here), shown(topology.slots(here), Protocol::Resp2));
    }
    assert!(topology.encoded.lock().len() <= ENCODED);
}

#[test]
fn whoever_asks_gets_what_was_published_last() {
    let topologies = Topologies::new(empty(1));
    let mut changes = topologies.changes();
    assert_eq!(topologies.current().nodes().len(), 1);
    topologies.publish(two().with_readiness(true).with_picture("o".to_owned()));
    assert!(changes.has_changed().unwrap());
    let current = changes.borrow_and_update().clone();
    assert_eq!((current.nodes().len(), current.is_ready(), current.picture()), (2, true, "o"));
}

/// A cluster of some nodes in which runs of slots have any holders.
fn random() -> impl Strategy<Value = Topology> {
    let run = (1usize..4000, prop::option::weighted(0.9, 1u8..10), prop::collection::vec(1u8..10, 0..4));
    (1u8..9, prop::collection::vec(run, 1..60)).prop_map(|(nodes, runs)| {
        let mut topology = empty(nodes);
        let mut slots = Slot::all();
        for (length, acting, ready) in runs {
            let ready: Vec<_> = ready.into_iter().map(id).collect();
            let acting = acting.map(id);
            slots.by_ref().take(length).for_each(|slot| topology.place(slot, acting, &ready, acting));
        }
        topology
    })
}

/// The rows of `CLUSTER SLOTS`: first slot, last slot, and the identities of the holders.
fn rows(topology: &Topology) -> Vec<(u16, u16, Vec<String>)> {
    let Reply::Array(rows) = topology.slots(local()) else { panic!("rows") };
    let number = |reply: &Reply<'_>| match reply {
        Reply::Integer(number) => *number as u16,
        other => panic!("{other:?}"),
    };
    let identity = |reply: &Reply<'_>| match reply {
        Reply::Array(fields) => match &fields[2] {
            Reply::Text(id) => id.to_string(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let row = |row: &Reply<'_>| match row {
        Reply::Array(fields) => (number(&fields[0]), number(&fields[1]), fields[2..].iter().map(identity).collect()),
        other => panic!("{other:?}"),
    };
    rows.iter().map(row).collect()
}

/// Takes slots that nobody has yet.
fn claim(slots: &mut [Option<String>], id: &str) {
    for slot in slots {
        assert_eq!(slot.replace(id.to_owned()), None, "two have one slot");
    }
}

/// Who acts for each slot by the lines of `CLUSTER NODES`.
fn acting_by_nodes(topology: &Topology) -> Vec<Option<String>> {
    let mut acting = vec![None; SLOTS];
    for line in topology.nodes_text(local()).lines() {
        let words: Vec<_> = line.split(' ').collect();
        for range in &words[8..] {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            claim(&mut acting[first.parse().unwrap()..=last.parse().unwrap()], words[0]);
        }
    }
    acting
}

/// The same by the shards of `CLUSTER SHARDS`.
fn acting_by_shards(topology: &Topology) -> Vec<Option<String>> {
    let mut acting = vec![None; SLOTS];
    let Reply::Array(shards) = topology.shards(local()) else { panic!("shards") };
    for shard in shards {
        let Reply::Map(mut shard) = shard else { panic!("a shard") };
        let (Some((_, Reply::Array(nodes))), Some((_, Reply::Array(slots)))) = (shard.pop(), shard.pop()) else {
            panic!("nodes and slots")
        };
        let [Reply::Map(node)] = &nodes[..] else { panic!("one node") };
        let Reply::Text(id) = &node[0].1 else { panic!("its identity") };
        for range in slots.chunks(2) {
            let [Reply::Integer(first), Reply::Integer(last)] = range else { panic!("pairs") };
            claim(&mut acting[*first as usize..=*last as usize], id);
        }
    }
    acting
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Slot by slot, rows are what the topology says, each held slot is in exactly one of them, and the other two
    /// ways of telling agree.
    #[test]
    fn every_way_of_telling_says_the_same(topology in random()) {
        let mut told: Vec<Option<Vec<String>>> = vec![None; SLOTS];
        let (mut met, mut openings) = (Vec::new(), true);
        for (first, last, holders) in rows(&topology) {
            prop_assert!(first <= last && !holders.is_empty());
            openings &= first == last && holders.len() == 1 && !met.contains(&holders[0]);
            if openings {
                met.push(holders[0].clone());
            }
            prop_assert!(met.contains(&holders[0]), "a node acts in a row and did not open");
            for slot in first..=last {
                prop_assert!(told[usize::from(slot)].replace(holders.clone()).is_none(), "slot {} twice", slot);
            }
        }
        let (by_nodes, by_shards) = (acting_by_nodes(&topology), acting_by_shards(&topology));
        for slot in Slot::all() {
            let wanted: Vec<_> = topology.holders(slot).map(|node| node.id.to_string()).collect();
            let told = told[slot.index()].clone().unwrap_or_default();
            let is_opening = told.len() == 1 && wanted.len() > 1;
            prop_assert!(told == wanted || is_opening && told[0] == wanted[0], "slot {slot}: {told:?} {wanted:?}");
            prop_assert_eq!(by_nodes[slot.index()].as_ref(), wanted.first());
            prop_assert_eq!(by_shards[slot.index()].as_ref(), wanted.first());
        }
    }

    /// Whatever a peer says its host is, a line has the words that it should have.
    #[test]
    fn a_host_adds_no_words_and_no_lines(host in ".{0,30}", length in 0usize..=MAX_TEXT_BYTES) {
        let mut topology = empty(2);
        topology.nodes[1].meta.host = host.chars().chain("x".repeat(length).chars()).collect();
        let text = topology.nodes_text(local());
        prop_assert_eq!(text.lines().count(), 2);
        prop_assert!(text.lines().all(|line| line.split(' ').count() == 8 && line.matches('@').count() == 1));
    }
}
