//! A node's client side on a free port, with settings, clock and statistics that a test can hold in its hand.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use ring::{
    id::{NodeId, Origin},
    member::{Descriptor, Meta, Standing},
    slot::{SLOTS, Slot},
    view::Epoch,
};
use server::{
    clients::Clients,
    clock::Clock,
    command::Table,
    connection::{Bounds, serve},
    router::{Cluster, Router, Services},
    services::{Information, SettingError, SettingFault, Settings, Statistics, Tally},
    session::Port,
    store::{Policy, Settings as StoreSettings, Store},
    topology::{self, Topologies, Topology},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

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
            clock: Arc::new(TestClock(Instant::now())),
            clients: clients.clone(),
            settings: settings.clone(),
            information: Arc::new(TestInformation),
            statistics: statistics.clone(),
            topology: topology.clone(),
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

/// A cluster of one node, which acts for every slot.
fn alone() -> Topology {
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
        zone: "default".into(),
        weight: 1,
        joined_unix_ms: 0,
        descriptor: Descriptor { format: 1, replicas: 1, slots: SLOTS as u16, vnodes: 256, headroom: 50 },
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
    };
    Store::new(settings)
}

struct TestClock(Instant);

impl Clock for TestClock {
    fn unix_ms(&self) -> u64 {
        1_700_000_000_123 + self.0.elapsed().as_millis() as u64
    }

    fn monotonic_us(&self) -> u64 {
        self.0.elapsed().as_micros() as u64
    }
}

/// Some settings of Redis, as texts.
pub struct TestSettings(Mutex<BTreeMap<&'static str, String>>);

impl TestSettings {
    fn new(given: &[(&'static str, &str)]) -> TestSettings {
        let defaults = [
            ("maxclients", "10000"),
            ("maxmemory", "0"),
            ("port", "6379"),
            ("proto-max-bulk-len", "536870912"),
            ("protected-mode", "yes"),
            ("requirepass", ""),
        ];
        let all = defaults.iter().chain(given);
        TestSettings(Mutex::new(all.map(|(name, value)| (*name, (*value).to_owned())).collect()))
    }

    fn value(&self, name: &str) -> String {
        self.0.lock()[name].clone()
    }
}

impl Settings for TestSettings {
    fn all(&self) -> Vec<(&'static str, String)> {
        self.0.lock().iter().map(|(name, value)| (*name, value.clone())).collect()
    }

    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError> {
        let mut settings = self.0.lock();
        for (name, value) in changes {
            let name = String::from_utf8_lossy(name).into_owned();
            let value = String::from_utf8_lossy(value).into_owned();
            let lower = name.to_lowercase();
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
            return Err(SettingError { name, fault });
        }
        Ok(())
    }

    fn password(&self) -> Option<Arc<str>> {
        Some(self.value("requirepass")).filter(|password| !password.is_empty()).map(Arc::from)
    }

    fn max_clients(&self) -> usize {
        self.value("maxclients").parse().unwrap()
    }

    fn is_protected(&self) -> bool {
        self.value("protected-mode") == "yes"
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
}

/// Everything that was counted.
#[derive(Default)]
pub struct TestStatistics {
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub total: Mutex<BTreeMap<&'static str, [u64; 3]>>,
    pub batches: AtomicU64,
}

impl Statistics for TestStatistics {
    fn record(&self, tally: &Tally) {
        self.batches.fetch_add(1, Relaxed);
        let mut total = self.total.lock();
        for calls in &tally.calls {
            let name = Table::of_node().commands()[usize::from(calls.command)].name;
            let sums = total.entry(name).or_default();
            for (sum, count) in sums.iter_mut().zip([calls.succeeded, calls.failed, calls.rejected]) {
                *sum += u64::from(count);
            }
        }
    }

    fn connection(&self, accepted: bool) {
        if accepted { &self.accepted } else { &self.refused }.fetch_add(1, Relaxed);
    }
}
