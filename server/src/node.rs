//! One node: its parts wired together, from bound listeners to an orderly end.
//!
//! ```text
//!   control thread     control task, transport between nodes
//!   data threads       clients, forwarded requests, expiry, eviction, admin
//! ```
//!
//! The control task has a thread of its own: when clients keep every data thread busy its heartbeats still leave in
//! time, and no peer takes a busy node for a dead one.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket},
    sync::Arc,
    thread,
    time::Duration,
};

use ring::{
    boot,
    id::{MAX_PEERS, Peer},
    member::{Descriptor, Meta},
    slot::SLOTS,
    table,
    view::Epoch,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::{Notify, mpsc, oneshot, watch},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    adapters::{NodeInformation, NodeSettings, PeerLanes, Sources},
    admin,
    clients::Clients,
    clock::{Clock, SystemClock},
    command::Table,
    config::Config,
    connection::{self, Bounds},
    control::{self, Parts},
    forward::{self, Links},
    life::Life,
    listeners::Addresses,
    metrics::Metrics,
    peer::{Peering, PeeringConfig, RawLink},
    replica::{acks::Acks, audits::Audits},
    router::{Cluster, Router, Services},
    routes::Routes,
    seed,
    session::Port,
    start::Start,
    store::{Events, Settings, Store},
    topology::{Topologies, Topology},
    watch::Watch,
};

/// How much may wait for one peer before its lane is closed.
const LANE_WINDOW_BYTES: usize = 64 << 20;

/// How often entries past their deadline are looked for and room is made, and how many go at a time: about a
/// millisecond's work.
const TIDY_EVERY: Duration = Duration::from_millis(10);
const EXPIRE_BUDGET: usize = 2_000;
const EVICT_BUDGET: usize = 500;

/// How often the memory is looked at for its peak.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// The version of everything that nodes tell each other; nodes of another one are refused.
const FORMAT: u16 = 3;

/// A session in which a stream is silent for so long is over. Heartbeats on the control stream show a dead peer much earlier.
const SESSION_SILENCE: Duration = Duration::from_secs(10);

/// Wakes lane senders and reports overflows, from under the locks of the store.
struct LaneEvents {
    wakes: Arc<[Arc<Notify>]>,
    overflows: mpsc::UnboundedSender<Peer>,
}

impl Events for LaneEvents {
    fn wake(&self, peer: Peer) {
        self.wakes[peer.index()].notify_one();
    }

    fn overflowed(&self, peer: Peer) {
        // The control task is gone only when the node ends.
        let _ = self.overflows.send(peer);
    }
}

/// Runs a node until it has left. `ready` is called once, when it first serves every slot that it should.
pub async fn run(start: Start, leave: watch::Receiver<bool>, ready: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let Start { config, identity, listeners, seed } = start;
    let addresses = listeners.addresses()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let incarnation = boot::incarnation(clock.version_ms(), None);
    let wakes: Arc<[Arc<Notify>]> = (0..MAX_PEERS).map(|_| Arc::new(Notify::new())).collect();
    let (overflowed, overflows) = mpsc::unbounded_channel();
    let store = Arc::new(Store::new(Settings {
        seed: seed::number(seed, "store"),
        max_memory_bytes: config.maxmemory_bytes,
        policy: config.maxmemory_policy,
        lane_window_bytes: LANE_WINDOW_BYTES,
        events: Arc::new(LaneEvents { wakes: wakes.clone(), overflows: overflowed }),
        versions: Some(clock.versions().clone()),
    }));
    store.tune(config.maxmemory_tuning);
    let (routes, acks, links) =
        (Arc::new(Routes::default()), Arc::new(Acks::new(config.write_acks > 1)), Arc::new(Links::new(config.threads)));
    let (tell_spoilt, spoilt) = mpsc::unbounded_channel();
    let (order, orders) = mpsc::channel(16);
    let audits = Arc::new(Audits::new(tell_spoilt));
    let clients = Arc::new(Clients::default());
    let life = Arc::new(Life::default());
    let meta = meta(&config, &addresses, &*clock);
    let me = identity.node_id;
    let topologies = Arc::new(Topologies::new(Topology::new(me, Epoch::default(), Vec::new())));
    let watch = Arc::new(Watch::default());
    let settings = Arc::new(NodeSettings::new(config.clone(), addresses, store.clone(), watch.clone()));
    let names: Vec<_> = Table::of_node().all().iter().map(|command| command.name).collect();
    let metrics = Arc::new(Metrics::new(config.threads, &names));
    let information = Arc::new(NodeInformation::new(
        &config,
        addresses,
        seed::identity(seed, "run").to_string(),
        Sources {
            clock: clock.clone(),
            clients: clients.clone(),
            settings: settings.clone(),
            metrics: metrics.clone(),
            store: store.clone(),
            topology: topologies.clone(),
            lanes: Arc::new(PeerLanes {
                life: life.clone(),
                acks: acks.clone(),
                store: store.clone(),
                topologies: topologies.clone(),
            }),
            life: life.clone(),
        },
    ));
    let services = Services {
        clock: clock.clone(),
        clients,
        settings,
        information: information.clone(),
        statistics: metrics,
        topology: topologies.clone(),
        watch: watch.clone(),
    };
    let cluster = Cluster {
        routes: routes.clone(),
        links: links.clone(),
        acks: acks.clone(),
        audits: audits.clone(),
        orders: order,
        redirects: topologies.clone(),
        write_acks: usize::from(config.write_acks),
        replicas: usize::from(config.replicas),
    };
    let router = Arc::new(Router::new(Table::of_node(), store.clone(), services, cluster));

    let (raw_links, opened) = mpsc::channel(64);
    let (events_in, events) = mpsc::channel(256);
    let peering = PeeringConfig {
        me,
        incarnation,
        cluster_name: config.cluster_name.clone(),
        secret: config.cluster_secret.clone(),
        descriptor: descriptor_text(&meta.descriptor).into_bytes(),
        advertise: format!("{}:{}", meta.host, meta.peer_port),
        is_protected: config.protected_mode,
        silence: SESSION_SILENCE,
    };
    let (shut, shutting) = watch::channel(false);
    let serving = [(listeners.client, Port::Proxy), (listeners.cluster, Port::Cluster)].map(|(listener, port)| {
        let listener = TcpListener::from_std(listener)?;
        let clients = connection::serve(listener, router.clone(), port, Bounds::default(), shutting.clone());
        io::Result::Ok(tokio::spawn(clients))
    });
    tokio::spawn(admin::serve(TcpListener::from_std(listeners.admin)?, information.clone()));
    tokio::spawn(tidy(store.clone(), clock.clone(), watch));
    // Peers' requests are served to the very end: until everything is handed on, this node acts.
    let (end_links, links_ending) = watch::channel(false);
    tokio::spawn(serve_links(opened, router, links_ending));
    tokio::spawn(sample_memory(information));
    announce_ready(topologies.changes(), ready);

    let [proxy, cluster] = serving;
    let (proxy, cluster) = (proxy?, cluster?);
    let cut_off = [proxy.abort_handle(), cluster.abort_handle()];
    let (gone, clients_gone) = watch::channel(false);
    tokio::spawn(async move {
        // One that panicked has no clients either.
        let _ = (proxy.await, cluster.await);
        gone.send_replace(true);
    });
    let data = Handle::current();
    let ended = on_its_own_thread(move || async move {
        let listener = TcpListener::from_std(listeners.peer)?;
        let (accepted, links_accepted) = mpsc::channel(64);
        let peering = Peering::start(peering, clock.clone(), listener, accepted, events_in)?;
        tokio::spawn(hand_over(links_accepted, raw_links));
        let parts = Parts {
            me,
            incarnation,
            meta,
            seeds: config.seeds,
            rebuild_delay: config.rebuild_delay,
            rebalance_rate_bytes: config.rebalance_rate_bytes,
            shutdown_timeout: config.shutdown_timeout,
            seed: seed::number(seed, "control"),
            clock,
            store,
            routes,
            acks,
            audits,
            spoilt,
            orders,
            life,
            links,
            wakes,
            overflows,
            peering,
            events,
            data,
            topologies,
            leave,
            dismiss: shut,
            clients_gone,
        };
        Ok(control::run(parts).await)
    });
    let ended = ended.await;
    end_links.send_replace(true);
    // A client that has not gone is not waited for: everything it could ask for is.
    cut_off.iter().for_each(AbortHandle::abort);
    drop(identity);
    ended?.map_err(io::Error::other)
}

/// Runs a future on a thread with a runtime of its own. Dropping what this returns does not stop it; it ends with the
/// process.
async fn on_its_own_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>>,
{
    let (done, result) = oneshot::channel();
    thread::Builder::new().name("circlet-control".to_owned()).spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        // Nobody waits for the result when the node is cut off by a second signal.
        let _ = done.send(runtime.and_then(|runtime| runtime.block_on(work())));
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the control thread ended without a word")))
}

/// Links that peers open arrive on the control thread; from here on they belong to the data threads and their reactor.
async fn hand_over(mut accepted: mpsc::Receiver<RawLink>, to: mpsc::Sender<std::net::TcpStream>) {
    while let Some(link) = accepted.recv().await {
        match link.stream.into_std() {
            Ok(stream) => {
                if to.send(stream).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "a link cannot be handed over"),
        }
    }
}

async fn serve_links(
    mut opened: mpsc::Receiver<std::net::TcpStream>,
    router: Arc<Router>,
    shutting: watch::Receiver<bool>,
) {
    while let Some(stream) = opened.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => drop(tokio::spawn(forward::serve_link(stream, router.clone(), shutting.clone()))),
            Err(error) => tracing::warn!(%error, "a link cannot be served"),
        }
    }
}

/// Removes what is past its deadline and what is too much, in slots that this node acts for. What is dead goes first:
/// it may make the room that is needed.
async fn tidy(store: Arc<Store>, clock: Arc<dyn Clock>, watch: Arc<Watch>) {
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let note = |event, started_us| {
        watch.took(event, clock.monotonic_us().saturating_sub(started_us), clock.unix_ms() / 1000);
    };
    loop {
        ticks.tick().await;
        loop {
            let started_us = clock.monotonic_us();
            let mut more = store.expire_some(clock.unix_ms(), EXPIRE_BUDGET).more;
            note("expire-cycle", started_us);
            if !more {
                let started_us = clock.monotonic_us();
                more = store.evict_some(clock.unix_ms(), EVICT_BUDGET).more;
                note("eviction-cycle", started_us);
            }
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The peak of the memory is that of what was seen.
async fn sample_memory(information: Arc<NodeInformation>) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        information.sample();
    }
}

fn announce_ready(mut topology: watch::Receiver<Arc<Topology>>, ready: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        if topology.wait_for(|topology| topology.is_ready()).await.is_ok() {
            ready();
        }
    });
}

/// What the node says of itself to all others.
fn meta(config: &Config, addresses: &Addresses, clock: &dyn Clock) -> Meta {
    let table = table::Settings::new(usize::from(config.replicas));
    let advertise = config.advertise.as_ref();
    Meta {
        name: config.announce.host.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: advertise.map_or_else(|| own_address(config, addresses), |advertise| advertise.host.clone()),
        port: addresses.client.port(),
        cluster_port: addresses.cluster.port(),
        peer_port: advertise.and_then(|advertise| advertise.port).unwrap_or(addresses.peer.port()),
        admin_port: addresses.admin.port(),
        announce_host: config.announce.host.clone().unwrap_or_default(),
        announce_port: config.announce.port.unwrap_or(0),
        announce_cluster_port: config.announce.cluster_port.unwrap_or(0),
        zone: config.zone.clone(),
        weight: u32::from(config.weight),
        joined_unix_ms: clock.version_ms(),
        descriptor: Descriptor {
            format: FORMAT,
            replicas: config.replicas,
            slots: SLOTS as u16,
            vnodes: table.vnodes as u16,
            headroom: table.tolerance_permille as u16,
            partition: config.partition,
        },
    }
}

/// The settings that all nodes must share, to be read by people when they differ.
fn descriptor_text(descriptor: &Descriptor) -> String {
    let Descriptor { format, replicas, slots, vnodes, headroom, partition } = descriptor;
    let partition = partition.name();
    format!(
        "format={format} replicas={replicas} slots={slots} vnodes={vnodes} headroom={headroom} partition={partition}"
    )
}

/// The address under which others reach this node, if it is not said: the one bound, or the one from which the first
/// seed would be reached. Connecting a datagram socket sends nothing; it only asks the routing table.
fn own_address(config: &Config, addresses: &Addresses) -> String {
    let bound = addresses.peer.ip();
    if !bound.is_unspecified() {
        return bound.to_string();
    }
    let seeds = config.seeds.iter().filter_map(|seed| (seed.host.as_str(), seed.port).to_socket_addrs().ok()).flatten();
    // An address that nobody has, for a node without seeds: it leads to the default route.
    let anywhere = (Ipv4Addr::new(192, 0, 2, 1), 9).into();
    seeds
        .chain([anywhere])
        .find_map(|target| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
            socket.connect(target).ok()?;
            Some(socket.local_addr().ok()?.ip())
        })
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .to_string()
}
