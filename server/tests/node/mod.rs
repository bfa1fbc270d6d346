//! A node's client side on a free port, with settings, clock and statistics that a test can hold in its hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use ring::{
    id::{NodeId, Origin},
    member::{Descriptor, Meta, Partition, Standing},
    slot::{SLOTS, Slot},
    view::Epoch,
};
use server::{
    clients::{Clients, Limits},
    clock::{Clock, VersionTime},
    command::Table,
    config::ClientChange,
    connection::{Bounds, serve},
    router::{Cluster, Router, Services},
    services::{Ended, Information, MemoryFigures, SettingError, SettingFault, Settings, Statistics, Tally},
    session::Port,
    store::{Policy, Settings as StoreSettings, Store},
    topology::{self, Topologies, Topology},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything takes that is waited for here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running client side.
pub struct Node {
    pub address: SocketAddr,
    pub router: Arc<Router>,
    pub clients: Arc<Clients>,
    pub settings: Arc<TestSettings>,
    pub statistics: Arc<TestStatistics>,
    pub topology: Arc<Topologies>,
    pub shutdown: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
}

impl Node {
    pub async fn start(settings: &[(&'static str, &str)], port: Port, bounds: Bounds) -> Node {
        Node::of(whole_store().into(), Cluster::alone(), settings, port, bounds).await
    }

    /// The client side of a node with this store, which has these others.
    pub async fn of(
        store: Arc<Store>,
        cluster: Cluster,
        settings: &[(&'static str, &str)],
        port: Port,
        bounds: Bounds,
    ) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = Arc::new(Clients::default());
        let settings = Arc::new(TestSettings::new(settings));
        let statistics = Arc::new(TestStatistics::default());
        let topology = Arc::new(Topologies::new(alone()));
        let max_memory_bytes = settings.value("maxmemory").parse().unwrap();
        let services = Services {
            clock: Arc::new(TestClock(Instant::now(), VersionTime::starting_at(START_UNIX_US))),
            clients: clients.clone(),
            settings: settings.clone(),
            information: Arc::new(TestInformation),
            statistics: statistics.clone(),
            topology: topology.clone(),
            watch: Arc::default(),
        };
        store.limit_memory(max_memory_bytes, Policy::NoEviction);
        let router = Arc::new(Router::new(Table::of_node(), store, services, cluster));
        let (shutdown, shutting_down) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, router.clone(), port, bounds, shutting_down));
        Node { address, router, clients, settings, statistics, topology, shutdown, serving }
    }

    pub async fn simple() -> Node {
        Node::start(&[], Port::Proxy, Bounds::default()).await
    }
}

pub async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(node.address).await.unwrap()
}

/// Reads so many bytes, which have to be these.
pub async fn receive(stream: &mut TcpStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("a reply in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expected));
}

pub async fn ask(stream: &mut TcpStream, request: &[u8], expected: &[u8]) {
    stream.write_all(request).await.unwrap();
    receive(stream, expected).await;
}

/// Reads to the end; what came.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    bytes
}

/// Waits until the node has forgotten every client.
pub async fn gone(node: &Node) {
    let look = async {
        while node.clients.count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.expect("they are forgotten in time");
}

/// A cluster of one node, which acts for every slot.
fn alone() -> Topology {
    alone_in("default")
}

/// The same in this zone.
pub fn alone_in(zone: &str) -> Topology {
    let mut bytes = [0; 20];
    bytes[0] = 1;
    let id = NodeId::from_bytes(bytes);
    let meta = Meta {
        name: String::new(),
        version: String::new(),
        host: "node.example".into(),
        port: 6379,
        cluster_port: 7379,
        peer_port: 7946,
        admin_port: 9121,
        announce_host: String::new(),
        announce_port: 0,
        announce_cluster_port: 0,
        zone: zone.into(),
        weight: 1,
        joined_unix_ms: 0,
        descriptor: Descriptor {
            format: 1,
            replicas: 1,
            slots: SLOTS as u16,
            vnodes: 256,
            headroom: 50,
            partition: Partition::Available,
        },
    };
    let me = topology::Node { id, meta, standing: Standing::Up, is_connected: true, ready: SLOTS };
    let mut topology = Topology::new(id, Epoch::default(), vec![me]);
    Slot::all().for_each(|slot| topology.place(slot, Some(id), &[id], Some(id)));
    topology.with_picture("one node: o\n".into())
}

/// A store that acts for every slot.
fn whole_store() -> Store {
    let store = empty_store();
    for slot in Slot::all() {
        store.with_replica(slot, |replica| {
            replica.open_empty(Origin(1));
            replica.act();
        });
    }
    store
}

/// A store that holds no slot.
pub fn empty_store() -> Store {
    let settings = StoreSettings {
        seed: 7,
        max_memory_bytes: 0,
        policy: Policy::NoEviction,
        lane_window_bytes: 1 << 20,
        events: Arc::new(()),
        versions: None,
    };
    Store::new(settings)
}

const START_UNIX_US: u64 = 1_700_000_000_123_000;

struct TestClock(Instant, VersionTime);

impl Clock for TestClock {
    fn unix_us(&self) -> u64 {
        START_UNIX_US + self.0.elapsed().as_micros() as u64
    }

    fn monotonic_us(&self) -> u64 {
        let us = self.0.elapsed().as_micros() as u64;
        self.1.passed(us);
        us
    }

    fn versions(&self) -> &VersionTime {
        &self.1
    }
}

/// Some settings of Redis, as texts, and those of clients as they are.
pub struct TestSettings {
    texts: Mutex<BTreeMap<&'static str, String>>,
    pub clients: Limits,
}

impl TestSettings {
    fn new(given: &[(&'static str, &str)]) -> TestSettings {
        let clients = Limits::default();
        let of_clients = |(name, value): &(&str, &str)| ClientChange::read(name, value);
        given.iter().filter_map(of_clients).for_each(|change| clients.change(change.unwrap()));
        let defaults = [
            ("enable-debug-command", "no"),
            ("maxclients", "10000"),
            ("maxmemory", "0"),
            ("port", "6379"),
            ("proto-max-bulk-len", "536870912"),
            ("requirepass", ""),
        ];
        let given = given.iter().filter(|(name, value)| ClientChange::read(name, value).is_none());
        let texts = defaults.iter().chain(given).map(|(name, value)| (*name, (*value).to_owned())).collect();
        TestSettings { texts: Mutex::new(texts), clients }
    }

    fn value(&self, name: &str) -> String {
        self.texts.lock()[name].clone()
    }
}

impl Settings for TestSettings {
    fn all(&self) -> Vec<(&'static str, String)> {
        let mut all: Vec<_> = self.texts.lock().iter().map(|(name, value)| (*name, value.clone())).collect();
        all.extend(self.clients.settings());
        all.sort_unstable();
        all
    }

    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError> {
        let mut settings = self.texts.lock();
        for (raw, value) in changes {
            let name = String::from_utf8_lossy(raw).into_owned();
            let value = String::from_utf8_lossy(value).into_owned();
            let lower = name.to_lowercase();
            if let Some(change) = ClientChange::read(&lower, &value) {
                let fault = |why| SettingError { name: raw.to_vec(), fault: SettingFault::Invalid(why) };
                self.clients.change(change.map_err(fault)?);
                continue;
            }
            let fault = match (settings.get_mut(lower.as_str()), lower.as_str()) {
                (None, _) => SettingFault::Unknown,
                (Some(_), "port") => SettingFault::Immutable,
                (Some(_), "maxmemory") if value.parse::<u64>().is_err() => {
                    SettingFault::Invalid("argument must be a memory value".into())
                }
                (Some(setting), _) => {
                    *setting = value;
                    continue;
                }
            };
            return Err(SettingError { name: raw.to_vec(), fault });
        }
        Ok(())
    }

    fn allows_debug(&self, _: bool) -> bool {
        self.value("enable-debug-command") == "yes"
    }

    fn rewrite(&self) -> Result<(), String> {
        Ok(())
    }
    fn password(&self) -> Option<Arc<str>> {
        Some(self.value("requirepass")).filter(|password| !password.is_empty()).map(Arc::from)
    }

    fn max_clients(&self) -> usize {
        self.value("maxclients").parse().unwrap()
    }

    fn client_limits(&self) -> &Limits {
        &self.clients
    }

    fn max_client_memory_bytes(&self) -> u64 {
        self.clients.all().memory_bytes(self.value("maxmemory").parse().unwrap())
    }

    fn max_bulk_bytes(&self) -> u32 {
        self.value("proto-max-bulk-len").parse().unwrap()
    }
}

struct TestInformation;

impl Information for TestInformation {
    fn text(&self, sections: &[&[u8]], _: Port) -> String {
        let names: Vec<_> = sections.iter().map(|name| String::from_utf8_lossy(name)).collect();
        format!("# Sections\r\nasked:{}\r\n", names.join(","))
    }

    fn reset(&self) {}

    fn memory(&self) -> MemoryFigures {
        MemoryFigures::default()
    }

    fn allocator_report(&self) -> String {
        "a report".to_owned()
    }

    fn purge(&self) -> bool {
        true
    }
}

/// Everything that was counted.
#[derive(Default)]
pub struct TestStatistics {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub total: Mutex<BTreeMap<&'static str, [u64; 3]>>,
    pub batches: AtomicU64,
    pub ended: Mutex<Ended>,
}

impl Statistics for TestStatistics {
    fn record(&self, tally: &Tally) {
        // What is not about requests is told when a connection ends.
        self.batches.fetch_add(u64::from(!tally.calls.is_empty()), Relaxed);
        let mut ended = self.ended.lock();
        ended.input += tally.ended.input;
        ended.output += tally.ended.output;
        ended.evicted += tally.ended.evicted;
        drop(ended);
        let mut total = self.total.lock();
        for calls in &tally.calls {
            let name = Table::of_node().all()[usize::from(calls.command)].name;
            let sums = total.entry(name).or_default();
            for (sum, count) in sums.iter_mut().zip([calls.succeeded, calls.failed, calls.rejected]) {
                *sum += u64::from(count);
            }
        }
    }

    fn distribution(&self, _: u16) -> Option<(u64, Vec<(u64, u64)>)> {
        None
    }

    fn connection(&self, accepted: bool) {
        if accepted { &self.accepted } else { &self.refused }.fetch_add(1, Relaxed);
    }
}
