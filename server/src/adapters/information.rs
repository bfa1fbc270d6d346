//! The figures of a node, gathered from the parts that own them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ring::{
    member::Standing,
    replica::Role,
    slot::{SLOTS, Slot},
};

use crate::{
    admin::{Readiness, Status},
    clients::Clients,
    clock::Clock,
    config::Config,
    info::{self, Circlet, Info, Keyspace, Lane, Memory, Rates, Sections, Server, Volume},
    life::Life,
    listeners::Addresses,
    metrics::{Metrics, Snapshot, Totals},
    process,
    services::{Information, MemoryFigures, Settings},
    session::Port,
    store::Store,
    topology::{Topologies, Topology},
    types::{DATABASES, Database},
};

use parking_lot::Mutex;

/// Who knows the lanes: one figure per peer.
pub trait Lanes: Send + Sync {
    /// The lanes as they are now.
    fn lanes(&self) -> Vec<Lane>;
}

/// For a node without peers.
impl Lanes for () {
    fn lanes(&self) -> Vec<Lane> {
        Vec::new()
    }
}

/// Where the figures come from.
#[derive(Clone)]
pub struct Sources {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// The settings as they are now.
    pub settings: Arc<dyn Settings>,
    /// What commands did.
    pub metrics: Arc<Metrics>,
    /// What is held.
    pub store: Arc<Store>,
    /// Who is there.
    pub topology: Arc<Topologies>,
    /// What is on its way.
    pub lanes: Arc<dyn Lanes>,
    /// What has happened to the node.
    pub life: Arc<Life>,
}

/// Answers `INFO`, `/metrics` and `/ready`.
pub struct NodeInformation {
    sources: Sources,
    fixed: Fixed,
    peak_bytes: AtomicU64,
    rates: Mutex<Rates>,
    /// What the store had counted when the statistics were reset.
    forgotten: Mutex<Totals>,
}

/// What does not change as long as the node runs.
#[derive(Debug)]
struct Fixed {
    cluster_name: String,
    replicas: u8,
    write_acks: u8,
    threads: usize,
    addresses: Addresses,
    run_id: String,
    os: String,
    executable: String,
    config_file: String,
    machine_bytes: u64,
    started_us: u64,
}

impl NodeInformation {
    /// The figures of a node that starts now. `run_id` names this boot, in 40 hexadecimal digits.
    pub fn new(config: &Config, addresses: Addresses, run_id: String, sources: Sources) -> NodeInformation {
        let fixed = Fixed {
            cluster_name: config.cluster_name.clone(),
            replicas: config.replicas,
            write_acks: config.write_acks,
            threads: config.threads,
            addresses,
            run_id,
            os: process::operating_system(),
            executable: process::executable(),
            config_file: config.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
            machine_bytes: process::machine_bytes(),
            started_us: sources.clock.monotonic_us(),
        };
        let (peak_bytes, rates, forgotten) = (AtomicU64::new(0), Mutex::default(), Mutex::default());
        NodeInformation { sources, fixed, peak_bytes, rates, forgotten }
    }

    /// Looks how much memory is used, for the peak, and what was done, for what is done a second. As in Redis these are
    /// of regular samples: call it about ten times a second.
    pub fn sample(&self) -> u64 {
        let Totals { calls, input_bytes, output_bytes, .. } = self.sources.metrics.totals();
        let volume = Volume { calls, input_bytes, output_bytes };
        self.rates.lock().sample(self.sources.clock.monotonic_us(), volume);
        self.note_peak()
    }

    fn note_peak(&self) -> u64 {
        let used = self.sources.store.memory_bytes() + self.sources.store.other_bytes();
        self.peak_bytes.fetch_max(used, Relaxed);
        used
    }

    /// All figures, for whoever came in by this port.
    pub fn info(&self, port: Port) -> Info {
        let held = Held::look(&self.sources.store, self.sources.clock.unix_ms());
        Info {
            server: self.server(port),
            clients: self.clients(),
            memory: self.memory_now(),
            stats: self.stats(),
            rates: self.rates.lock().per_second(),
            cpu: process::cpu(),
            cluster_enabled: port == Port::Cluster,
            keyspace: held.databases.to_vec(),
            circlet: self.circlet(&held),
        }
    }

    fn server(&self, port: Port) -> Server {
        let (fixed, clock) = (&self.fixed, &self.sources.clock);
        let tcp_port = match port {
            Port::Proxy => fixed.addresses.client.port(),
            Port::Cluster => fixed.addresses.cluster.port(),
        };
        Server {
            os: fixed.os.clone(),
            process_id: std::process::id(),
            run_id: fixed.run_id.clone(),
            tcp_port,
            listeners: vec![("tcp", fixed.addresses.client), ("tcp-cluster", fixed.addresses.cluster)],
            executable: fixed.executable.clone(),
            config_file: fixed.config_file.clone(),
            unix_us: clock.unix_us(),
            uptime: Duration::from_micros(clock.monotonic_us().saturating_sub(fixed.started_us)),
            threads: fixed.threads,
        }
    }

    fn clients(&self) -> info::Clients {
        let (clients, now_us) = (&self.sources.clients, self.sources.clock.monotonic_us());
        let (waiting, (recent_input, recent_output)) = (clients.waiting(), clients.recent_peaks(now_us / 1_000_000));
        let (paused, left_us) = clients.paused_at(now_us).unwrap_or_default();
        let count_of = |port| self.sources.clients.count_of(port) as u64;
        info::Clients {
            connected: count_of(Port::Proxy),
            connected_cluster: count_of(Port::Cluster),
            maxclients: self.sources.settings.max_clients() as u64,
            blocked: waiting.blocked as u64,
            up_to_a_time: waiting.up_to_a_time as u64,
            recent_input: recent_input as u64,
            recent_output: recent_output as u64,
            paused: paused.name(),
            paused_ms: left_us.div_ceil(1000),
        }
    }

    fn memory_now(&self) -> Memory {
        let used = self.note_peak();
        Memory {
            used,
            used_peak: self.peak_bytes.load(Relaxed),
            resident: process::resident_bytes(),
            machine: self.fixed.machine_bytes,
            clients: self.sources.clients.memory_bytes(),
            maxmemory: self.sources.store.max_memory_bytes(),
            maxmemory_policy: self.sources.store.policy().name(),
            allocator: process::allocator(),
        }
    }

    /// Lookups and removals are counted where they happen, in the store.
    fn stats(&self) -> Snapshot {
        let mut stats = self.sources.metrics.snapshot();
        // In this order: what is counted now is no less than what was counted when it was forgotten.
        let before = *self.forgotten.lock();
        let held = self.counted_by_store();
        stats.totals = Totals {
            hits: held.hits - before.hits,
            misses: held.misses - before.misses,
            expired: held.expired - before.expired,
            evicted: held.evicted - before.evicted,
            ..stats.totals
        };
        stats
    }

    fn counted_by_store(&self) -> Totals {
        let held = self.sources.store.totals();
        let (hits, misses) = (held.hits, held.misses);
        Totals { hits, misses, expired: held.expired, evicted: held.evicted, ..Totals::default() }
    }

    fn circlet(&self, held: &Held) -> Circlet {
        let (fixed, topology) = (&self.fixed, self.sources.topology.current());
        Circlet {
            node_id: topology.me().to_string(),
            cluster_name: fixed.cluster_name.clone(),
            zone: topology.my_node().map(|node| node.meta.zone.clone()).unwrap_or_default(),
            epoch: topology.epoch().height.bits(),
            replicas: fixed.replicas,
            write_acks: fixed.write_acks,
            ready: topology.is_ready(),
            members: members(&topology),
            slots: held.roles.to_vec(),
            lanes: self.sources.lanes.lanes(),
            life: self.sources.life.counted(),
            context_origins: held.context_origins,
        }
    }
}

impl Information for NodeInformation {
    fn text(&self, sections: &[&[u8]], port: Port) -> String {
        self.info(port).text(Sections::named(sections.iter().copied()))
    }

    fn reset(&self) {
        self.sources.metrics.reset();
        *self.forgotten.lock() = self.counted_by_store();
        *self.rates.lock() = Rates::default();
    }

    fn memory(&self) -> MemoryFigures {
        let Memory { used, used_peak, maxmemory, resident, allocator, .. } = self.memory_now();
        let allocator = allocator.map(|found| [found.allocated, found.active, found.resident]);
        let keys =
            Held::look(&self.sources.store, self.sources.clock.unix_ms()).databases.iter().map(|held| held.keys).sum();
        MemoryFigures { used, used_peak, maxmemory, resident, allocator, keys }
    }

    fn allocator_report(&self) -> String {
        process::allocator_report()
    }

    fn purge(&self) -> bool {
        process::purge()
    }
}

impl Status for NodeInformation {
    fn readiness(&self) -> Readiness {
        let topology = self.sources.topology.current();
        if topology.is_ready() {
            return Readiness::Ready;
        }
        let ready = topology.my_node().map_or(0, |node| node.ready);
        Readiness::NotReady(format!("{ready} slots are complete here, and others are still on their way"))
    }

    fn metrics(&self) -> String {
        self.info(Port::Proxy).prometheus()
    }
}

impl fmt::Debug for NodeInformation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeInformation").field("fixed", &self.fixed).finish_non_exhaustive()
    }
}

/// What a look at every slot shows. It takes each slot's lock for a moment, well below a millisecond for all of them.
struct Held {
    databases: [Keyspace; DATABASES],
    context_origins: u64,
    roles: [(&'static str, u64); 4],
}

impl Held {
    fn look(store: &Store, now_unix_ms: u64) -> Held {
        let roles = [("acting", 0), ("following", 0), ("pulling", 0), ("releasing", 0)];
        let mut held = Held { databases: [Keyspace::default(); DATABASES], context_origins: 0, roles };
        let mut deadlines = [0u128; DATABASES];
        for slot in Slot::all() {
            // Nothing that is counted here depends on the time.
            store.read(slot, 0, |copy| {
                let (copy, entries) = (copy.replica(), copy.replica().entries());
                let role = match copy.role() {
                    Role::Absent => return,
                    Role::Acting => 0,
                    Role::Following => 1,
                    Role::Pulling => 2,
                    Role::Releasing => 3,
                };
                held.roles[role].1 += 1;
                held.context_origins = held.context_origins.max(copy.seen().len() as u64);
                if copy.role() == Role::Acting {
                    for (number, sums) in held.databases.iter_mut().enumerate() {
                        let Some(database) = Database::new(number as u64) else { continue };
                        let here = entries.held(database);
                        sums.keys += here.keys as u64;
                        sums.expires += here.expires as u64;
                        deadlines[number] += here.deadlines;
                    }
                }
            });
        }
        for (sums, deadlines) in held.databases.iter_mut().zip(deadlines) {
            let average = deadlines.checked_div(sums.expires.into()).unwrap_or_default();
            // A deadline is below 2^63, so the average is.
            sums.average_ttl_ms = (average as u64).saturating_sub(now_unix_ms);
        }
        debug_assert!(held.roles.iter().map(|(_, slots)| slots).sum::<u64>() <= SLOTS as u64);
        held
    }
}

fn members(topology: &Topology) -> Vec<(&'static str, u64)> {
    let states = [
        ("joining", Standing::Joining),
        ("up", Standing::Up),
        ("leaving", Standing::Leaving),
        ("down", Standing::Down),
    ];
    let count = |standing| topology.nodes().iter().filter(|node| node.standing == standing).count() as u64;
    states.into_iter().map(|(name, standing)| (name, count(standing))).collect()
}
