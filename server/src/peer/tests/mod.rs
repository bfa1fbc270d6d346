//! Nodes with real sockets on ports of their own.

mod one_session;
mod port;
mod raw_links;
mod refusals;
mod streams;

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::clock::ManualClock;

/// The time on the clocks of nodes, unless a test says otherwise.
const NOW_MS: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Longer than anything takes on a loaded machine. No test waits for it to pass.
const FAR: Duration = Duration::from_secs(60);

struct Node {
    peering: Peering,
    events: mpsc::Receiver<PeerEvent>,
    raw_links: mpsc::Receiver<RawLink>,
    address: String,
    id: NodeId,
    clock: Arc<ManualClock>,
}

/// A node whose identity is this byte, repeated.
async fn node(id: u8) -> Node {
    node_with(id, |_| {}).await
}

async fn node_with(id: u8, change: impl FnOnce(&mut PeeringConfig)) -> Node {
    node_at(id, ManualClock::new(NOW_MS), change).await
}

async fn node_at(id: u8, clock: ManualClock, change: impl FnOnce(&mut PeeringConfig)) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let id = NodeId::from_bytes([id; 20]);
    let mut config = PeeringConfig {
        me: id,
        incarnation: Incarnation(1000),
        cluster_name: "test".to_owned(),
        secret: Some(Secret::new("a secret").unwrap()),
        descriptor: b"replicas=2".to_vec(),
        advertise: address.clone(),
        is_protected: true,
        silence: FAR,
    };
    change(&mut config);
    let (raw_links_in, raw_links) = mpsc::channel(4);
    let (events_in, events) = mpsc::channel(16);
    let clock = Arc::new(clock);
    let peering = Peering::start(config, clock.clone(), listener, raw_links_in, events_in).unwrap();
    Node { peering, events, raw_links, address, id, clock }
}

impl Node {
    async fn event(&mut self) -> PeerEvent {
        in_time(self.events.recv()).await.expect("the transport has not stopped")
    }

    async fn up(&mut self) -> Session {
        match self.event().await {
            PeerEvent::Up(session) => session,
            other => panic!("not up: {other:?}"),
        }
    }

    async fn down(&mut self) -> (SessionId, String) {
        match self.event().await {
            PeerEvent::Down { session, why, .. } => (session, why),
            other => panic!("not down: {other:?}"),
        }
    }

    fn dial(&self, other: &Node) {
        self.peering.dial(other.address.clone(), Some(other.id));
    }

    fn nothing_else(&mut self) {
        assert!(self.events.try_recv().is_err());
    }
}

async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    timeout(FAR, awaited).await.expect("it takes far too long")
}

async fn meet(dialler: &mut Node, acceptor: &mut Node) -> (Session, Session) {
    dialler.dial(acceptor);
    (dialler.up().await, acceptor.up().await)
}

fn frame(id: u64, bytes: usize) -> Frame {
    Frame { kind: (id % 251) as u8, id, payload: vec![id as u8; bytes].into() }
}

async fn receive(half: &mut Half) -> Frame {
    in_time(half.receive.recv()).await.expect("the session is not over")
}
