//! Several client sides in this process, joined by real sockets, and a hand that moves slots between them.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ring::{
    id::{Origin, Peer, PeerSet},
    slot::Slot,
};
use server::{
    connection::Bounds,
    forward::{Links, serve_link},
    replica::{acks::Acks, audits::Audits},
    router::{Cluster, Redirects},
    routes::{ME, Routes},
    session::{Port, Session},
    store::{LaneId, Store},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use crate::node::{Node, empty_store};

/// Longer than anything takes that is waited for here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Some nodes that know each other.
pub struct Several {
    pub nodes: Vec<Member>,
    origins: AtomicU64,
}

/// One of them.
pub struct Member {
    pub node: Node,
    pub store: Arc<Store>,
    pub routes: Arc<Routes>,
    pub links: Arc<Links>,
    pub acks: Arc<Acks>,
    /// Where the others reach it: a tap.
    pub tap: Arc<Tap>,
    /// Set to true, it ends its side of the links to it.
    pub shutdown: watch::Sender<bool>,
}

/// What stands between the others and a node: counts what arrives, and holds replies back when told to.
pub struct Tap {
    pub address: SocketAddr,
    /// How many pieces came in: one for each write of the others, if they are far enough apart.
    pub pieces: AtomicUsize,
    pub open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

/// The name under which one node knows another.
pub fn peer(number: usize) -> Peer {
    Peer(number as u8 + 1)
}

/// Sends cluster-aware clients to a made-up address of whoever acts.
struct Elsewhere(Arc<Routes>);

impl Redirects for Elsewhere {
    fn redirect(&self, slot: Slot, _: &Session) -> Option<String> {
        match self.0.of(slot) {
            server::routes::Where::There(Peer(number)) => Some(format!("node{}:7379", number - 1)),
            _ => None,
        }
    }
}

impl Several {
    /// So many nodes, among which the slots are divided in blocks of a hundred.
    pub async fn start(count: usize, write_acks: usize, replicas: usize, port: Port) -> Several {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Member::start(write_acks, replicas, port).await);
        }
        let several = Several { nodes, origins: AtomicU64::new(100) };
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                several.connect(from, to);
            }
        }
        for slot in Slot::all() {
            let owner = slot.index() / 100 % count;
            several.nodes[owner].store.with_replica(slot, |replica| {
                replica.open_empty(Origin(owner as u64 + 1));
                replica.act();
            });
            several.route(slot, owner);
        }
        several.announce();
        several
    }

    /// Opens the way from one node to another.
    pub fn connect(&self, from: usize, to: usize) {
        let address = self.nodes[to].tap.address;
        self.nodes[from].links.connect(peer(to), move || Box::pin(TcpStream::connect(address)));
    }

    /// Every node learns who acts for a slot; they look when it is announced.
    pub fn route(&self, slot: Slot, owner: usize) {
        for (number, member) in self.nodes.iter().enumerate() {
            member.routes.set(slot, Some(if number == owner { ME } else { peer(owner) }));
        }
    }

    pub fn announce(&self) {
        self.nodes.iter().for_each(|member| member.routes.announce());
    }

    /// A slot, with all that is in it, moves from one node to another; in between nobody acts for it.
    pub async fn hand_over(&self, slot: Slot, from: usize, to: usize) {
        let (from, destination) = (&self.nodes[from], to);
        let to = &self.nodes[to];
        from.store.with_replica(slot, |replica| assert!(replica.stop()));
        tokio::task::yield_now().await;
        let origin = Origin(self.origins.fetch_add(1, SeqCst));
        let (seen, entries) = from.store.snapshot(slot);
        to.store.with_replica(slot, |replica| replica.open(origin));
        to.store.join(slot, origin, &seen, entries, 1_700_000_000_000).unwrap().expect("its tenure goes on");
        to.store.with_replica(slot, |replica| {
            replica.become_ready();
            replica.act();
        });
        from.store.with_replica(slot, |replica| replica.forget());
        self.route(slot, destination);
        tokio::task::yield_now().await;
        self.announce();
    }

    /// The slot's writes on this node are told to a peer, and count when it says so.
    pub fn replicate(&self, on: usize, slot: Slot, to: Peer) -> LaneId {
        let peers: PeerSet = [to].into_iter().collect();
        let lane = self.nodes[on].store.open_lane(to);
        self.nodes[on].acks.begin(to);
        self.nodes[on].store.with_replica(slot, |replica| replica.set_peers(peers, peers));
        lane
    }

    /// Waits until a node's copy has this value.
    pub async fn until_held(&self, node: usize, key: &str, value: &[u8]) {
        let slot = Slot::of(key.as_bytes());
        let held = async {
            let look = || {
                self.nodes[node].store.read(slot, 0, |view| view.value(key.as_bytes()).map(|v| v.as_slice() == value))
            };
            while look() != Some(true) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, held).await.expect("the value in time");
    }

    pub async fn client(&self, number: usize) -> Client {
        Client(TcpStream::connect(self.nodes[number].node.address).await.unwrap())
    }
}

impl Member {
    async fn start(write_acks: usize, replicas: usize, port: Port) -> Member {
        let (store, routes) = (Arc::new(empty_store()), Arc::new(Routes::default()));
        let (links, acks) = (Arc::new(Links::new(2)), Arc::new(Acks::new(false)));
        let redirects = Arc::new(Elsewhere(routes.clone()));
        let audits = Arc::new(Audits::new(tokio::sync::mpsc::unbounded_channel().0));
        let cluster = Cluster {
            routes: routes.clone(),
            links: links.clone(),
            acks: acks.clone(),
            audits,
            redirects,
            write_acks,
            replicas,
            ..Cluster::alone()
        };
        let node = Node::of(store.clone(), cluster, &[], port, Bounds::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tap = Tap::start(listener.local_addr().unwrap()).await;
        let (router, shutdown) = (node.router.clone(), watch::Sender::new(false));
        let asked = shutdown.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_link(stream, router.clone(), asked.clone()));
            }
        });
        Member { node, store, routes, links, acks, tap, shutdown }
    }
}

impl Tap {
    async fn start(to: SocketAddr) -> Arc<Tap> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, arrived) = (watch::Sender::new(true), watch::Sender::new(0));
        let tap = Arc::new(Tap { address, pieces: AtomicUsize::new(0), open, arrived });
        let of_tap = tap.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behind = TcpStream::connect(to).await.unwrap();
                tokio::spawn(of_tap.clone().pass(stream, behind));
            }
        });
        tap
    }

    async fn pass(self: Arc<Self>, front: TcpStream, behind: TcpStream) {
        let (mut front_in, mut front_out) = front.into_split();
        let (mut behind_in, mut behind_out) = behind.into_split();
        let requests = async {
            let mut bytes = vec![0; 1 << 20];
            while let Ok(count @ 1..) = front_in.read(&mut bytes).await {
                self.pieces.fetch_add(1, SeqCst);
                behind_out.write_all(&bytes[..count]).await.unwrap();
                self.arrived.send_modify(|arrived| *arrived += 1);
            }
        };
        let replies = async {
            let (mut bytes, mut open) = (vec![0; 1 << 20], self.open.subscribe());
            while let Ok(count @ 1..) = behind_in.read(&mut bytes).await {
                open.wait_for(|open| *open).await.unwrap();
                if front_out.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = requests => {}, () = replies => {} }
    }

    /// Waits until so many pieces have arrived.
    pub async fn until_arrived(&self, pieces: usize) {
        let mut arrived = self.arrived.subscribe();
        timeout(PATIENCE, arrived.wait_for(|arrived| *arrived >= pieces)).await.expect("a request in time").unwrap();
    }
}

/// A client.
pub struct Client(pub TcpStream);

impl Client {
    /// Sends inline commands, one a line.
    pub async fn send(&mut self, lines: &str) {
        let mut bytes = Vec::new();
        for line in lines.lines() {
            let words: Vec<_> = line.split(' ').collect();
            bytes.extend(format!("*{}\r\n", words.len()).bytes());
            words.iter().for_each(|word| bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes()));
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    pub async fn receive(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        let mut got = 0;
        while got < bytes.len() && bytes[..got] == expected.as_bytes()[..got] {
            match timeout(PATIENCE, self.0.read(&mut bytes[got..])).await.expect("a reply in time").unwrap() {
                0 => break,
                count => got += count,
            }
        }
        assert_eq!(String::from_utf8_lossy(&bytes[..got]), expected);
    }

    pub async fn ask(&mut self, lines: &str, expected: &str) {
        self.send(lines).await;
        self.receive(expected).await;
    }

    /// One line of a reply.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(timeout(PATIENCE, self.0.read_u8()).await.expect("a reply in time").unwrap());
        }
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// Every key that a whole iteration with these options meets, as often as it meets it.
    pub async fn scan(&mut self, options: &str) -> Vec<String> {
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        for _ in 0..1000 {
            self.send(format!("SCAN {cursor} {options}").trim_end()).await;
            assert_eq!(self.line().await, "*2");
            self.line().await;
            cursor = self.line().await;
            let count: usize = self.line().await[1..].parse().unwrap();
            for _ in 0..count {
                self.line().await;
                found.push(self.line().await);
            }
            if cursor == "0" {
                return found;
            }
        }
        panic!("no end, at {cursor}");
    }
}

/// Keys of this node's slots, when there are so many nodes.
pub fn keys_of(owner: usize, count: usize) -> impl Iterator<Item = String> {
    let name = move |number: usize| format!("key:{number}");
    (0..).map(name).filter(move |key| Slot::of(key.as_bytes()).index() / 100 % count == owner)
}

pub fn key_of(owner: usize, count: usize) -> String {
    keys_of(owner, count).next().unwrap()
}
