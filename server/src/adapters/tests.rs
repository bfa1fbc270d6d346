//! The adapters over real parts.

use std::{sync::Arc, time::Duration};

use ring::{
    hlc::Hlc,
    id::{NodeId, Origin},
    member::{Descriptor, Meta, Partition, Standing},
    slot::{SLOTS, Slot},
    view::Epoch,
};

use super::*;
use crate::{
    admin::{Readiness, Status},
    clients::{Arrival, Clients, Paused},
    clock::ManualClock,
    config::{self, Asked, Machine},
    info::Lane,
    listeners::Addresses,
    metrics::Metrics,
    resp::Reply,
    services::{Calls, Information, SettingError, Settings, Statistics, Tally},
    session::Port,
    store::{Policy, Settings as StoreSettings, Store},
    topology::{Node, Topologies, Topology},
};

const NOW: u64 = 1_800_000_000_000;

fn config(arguments: &[&str]) -> config::Config {
    let arguments = ["circlet", "server"].iter().chain(arguments).map(Into::into);
    match config::parse(arguments, &|_| None, &Machine { memory_bytes: None, cores: 2 }) {
        Ok(Asked::Server(config)) => *config,
        _ => panic!("these arguments are right"),
    }
}

fn addresses() -> Addresses {
    let address = |port| ([127, 0, 0, 1], port).into();
    Addresses { client: address(1), cluster: address(2), peer: address(3), admin: address(4) }
}

/// A store that acts for one slot.
fn store(slot: Slot) -> Arc<Store> {
    let policy = Policy::NoEviction;
    let store = Store::new(StoreSettings {
        seed: 1,
        max_memory_bytes: 0,
        policy,
        lane_window_bytes: 0,
        events: Arc::new(()),
        versions: None,
    });
    store.with_replica(slot, |replica| {
        replica.open_empty(Origin(1));
        replica.act();
    });
    Arc::new(store)
}

fn settings(arguments: &[&str]) -> NodeSettings {
    NodeSettings::new(config(arguments), addresses(), store(Slot::of(b"a")), Arc::default())
}

fn value(settings: &NodeSettings, name: &str) -> String {
    settings.all().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn change(settings: &NodeSettings, changes: &[(&str, &str)]) -> Result<(), String> {
    let changes: Vec<_> = changes.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    settings.change(&changes).map_err(|error: SettingError| match error.reply() {
        Reply::Encoded(line) => String::from_utf8_lossy(&line[1..line.len() - 2]).into_owned(),
        other => panic!("{other:?} is no error"),
    })
}

#[test]
fn settings_are_what_the_node_was_told_and_what_was_changed() {
    let settings = settings(&["--requirepass", "old", "--maxclients", "7", "--protected-mode", "no", "--zone", "z"]);
    for (name, wanted) in [
        ("port", "1"),
        ("cluster-port", "2"),
        ("requirepass", "old"),
        ("maxclients", "7"),
        ("protected-mode", "no"),
        ("zone", "z"),
        ("save", ""),
        ("appendonly", "no"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory-samples", "8"),
        ("lfu-log-factor", "10"),
        ("lfu-decay-time", "1"),
        ("proto-max-bulk-len", "536870912"),
    ] {
        assert_eq!(value(&settings, name), wanted, "{name}");
    }
    let changes = [
        ("MaxMemory", "100mb"),
        ("maxmemory-policy", "ALLKEYS-LRU"),
        ("maxmemory-samples", "64"),
        ("lfu-log-factor", "0"),
        ("LFU-decay-time", "2147483647"),
        ("maxclients", "5"),
        ("requirepass", "new"),
        ("proto-max-bulk-len", "1mb"),
        ("log-level", "debug"),
    ];
    assert_eq!(change(&settings, &changes), Ok(()));
    assert_eq!(
        (settings.store_limit(), value(&settings, "maxmemory")),
        ((100 << 20, Policy::AllKeysLru), "104857600".into())
    );
    let tuning = ["maxmemory-samples", "lfu-log-factor", "lfu-decay-time"].map(|name| value(&settings, name));
    assert_eq!(tuning, ["64", "0", "2147483647"]);
    assert_eq!((settings.max_clients(), settings.max_bulk_bytes()), (5, 1 << 20));
    assert_eq!((settings.password().as_deref(), value(&settings, "log-level").as_str()), (Some("new"), "debug"));
    let changes = [("Protected-Mode", "yes"), ("timeout", "5"), ("maxmemory-clients", "10%"), ("tcp-keepalive", "0")];
    assert_eq!(change(&settings, &changes), Ok(()));
    assert_eq!((value(&settings, "timeout").as_str(), value(&settings, "maxmemory-clients").as_str()), ("5", "10%"));
    assert_eq!((settings.client_limits().is_protected(), settings.max_client_memory_bytes()), (true, 10 << 20));
    assert_eq!(change(&settings, &[("requirepass", "")]), Ok(()));
    assert_eq!((settings.password(), value(&settings, "requirepass").as_str()), (None, ""));
}

#[test]
fn settings_are_sorted_and_named_once() {
    let names: Vec<_> = settings(&[]).all().into_iter().map(|(name, _)| name).collect();
    assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
}

#[test]
fn of_changes_one_of_which_is_wrong_none_is_made() {
    let settings = settings(&[]);
    let failed =
        |name: &str, why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    let unknown = |name: &str| format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
    let clients = "argument must be between 1 and 4294967295 inclusive";
    let bulk = "argument must be between 1048576 and 536870912 inclusive";
    let integer = "argument couldn't be parsed into an integer";
    let samples = "argument must be between 1 and 64 inclusive";
    let counting = "argument must be between 0 and 2147483647 inclusive";
    let policies = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
                    volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
    let levels = "argument(s) must be one of the following: error, warn, info, debug, trace";
    for (name, given, wanted) in [
        ("foo", "1", unknown("foo")),
        ("cluster-secret", "1", unknown("cluster-secret")),
        ("Port", "1", failed("Port", "can't set immutable config")),
        ("save", "", failed("save", "can't set immutable config")),
        ("maxmemory", "x", failed("maxmemory", "argument must be a memory value")),
        ("maxmemory", "-1", failed("maxmemory", "argument must be a memory value")),
        ("maxmemory-policy", "allkeys-s3fifo", failed("maxmemory-policy", policies)),
        ("maxmemory-samples", "0", failed("maxmemory-samples", samples)),
        ("maxmemory-samples", "65", failed("maxmemory-samples", samples)),
        ("maxmemory-samples", "5 ", failed("maxmemory-samples", integer)),
        ("lfu-log-factor", "-1", failed("lfu-log-factor", counting)),
        ("lfu-decay-time", "2147483648", failed("lfu-decay-time", counting)),
        ("lfu-decay-time", "1.5", failed("lfu-decay-time", integer)),
        ("maxclients", "0", failed("maxclients", clients)),
        ("maxclients", "4294967296", failed("maxclients", clients)),
        ("maxclients", "x", failed("maxclients", integer)),
        ("proto-max-bulk-len", "1", failed("proto-max-bulk-len", bulk)),
        ("proto-max-bulk-len", "1gb", failed("proto-max-bulk-len", bulk)),
        ("log-level", "loud", failed("log-level", levels)),
        ("timeout", "x", failed("timeout", "argument couldn't be parsed into an integer")),
        ("protected-mode", "x", failed("protected-mode", "argument must be 'yes' or 'no'")),
    ] {
        let (limit, clients) = (settings.store_limit(), settings.max_clients());
        let other = if name.starts_with("maxmemory") { ("maxclients", "3") } else { ("maxmemory", "5") };
        assert_eq!(change(&settings, &[other, (name, given)]), Err(wanted));
        assert_eq!((settings.store_limit(), settings.max_clients()), (limit, clients), "{name}");
    }
    // Names are looked at before values.
    assert_eq!(change(&settings, &[("maxmemory", "x"), ("foo", "1")]), Err(unknown("foo")));
}

#[test]
fn what_was_changed_is_in_the_file_and_understood_at_the_next_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let before = "# ours\nzone = \"north\"\nrequirepass = \"old\"\n";
    std::fs::write(file.path(), before).unwrap();
    let path = file.path().to_str().unwrap();
    let text = || std::fs::read_to_string(path).unwrap();
    let settings = settings(&["--config", path]);
    assert_eq!((settings.rewrite(), text()), (Ok(()), before.to_owned()), "nothing was changed");
    let changes = [("MAXMEMORY", "100mb"), ("slowlog-max-len", "5"), ("loglevel", "warning"), ("requirepass", "")];
    assert_eq!(change(&settings, &changes), Ok(()));
    assert_eq!(settings.rewrite(), Ok(()));
    assert!(text().starts_with("# ours\nzone = \"north\"\n") && !text().contains("old"), "{}", text());
    let next = config(&["--config", path]);
    assert_eq!((next.maxmemory_bytes, next.log_level), (100 << 20, config::LogLevel::Warn));
    assert_eq!((next.watching.0[5], next.requirepass), (5, None));
}

#[test]
fn a_password_is_written_as_it_is() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let settings = settings(&["--config", path]);
    for password in ["007", "+5", "-0", "5", "1e3", "true", "\"'\\\n\u{1}"] {
        assert_eq!(change(&settings, &[("requirepass", password)]), Ok(()));
        assert_eq!(settings.rewrite(), Ok(()));
        let next = config(&["--config", path]);
        assert_eq!(next.requirepass.as_ref().map(config::Secret::reveal), Some(password));
    }
}

#[test]
fn without_a_file_nothing_can_be_written() {
    assert_eq!(settings(&[]).rewrite(), Err("The server is running without a config file".to_owned()));
}

#[test]
fn a_setting_has_the_names_that_tools_know() {
    let settings = settings(&[]);
    assert_eq!(change(&settings, &[("SLOWLOG-LOG-SLOWER-THAN", "-1")]), Ok(()));
    for (name, wanted) in [
        ("commandlog-execution-slower-than", "-1"),
        ("slowlog-log-slower-than", "-1"),
        ("loglevel", "notice"),
        ("databases", "16"),
        ("enable-debug-command", "no"),
    ] {
        assert_eq!(value(&settings, name), wanted, "{name}");
    }
    let range = "argument must be between 0 and 9223372036854775807 inclusive";
    let wanted = format!("ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - {range}");
    assert_eq!(change(&settings, &[("slowlog-max-len", "-1")]), Err(wanted));
}

#[test]
fn statistics_start_again_at_zero() {
    let (information, sources, _) = information();
    sources.metrics.errors("ERR", 2);
    assert!(information.text(&[b"stats"], Port::Proxy).contains("keyspace_hits:1\r\n"));
    Information::reset(&information);
    let text = information.text(&[b"everything"], Port::Proxy);
    has(&text, &["keyspace_hits:0", "keyspace_misses:0", "total_commands_processed:0", "total_error_replies:0"]);
    assert!(!text.contains("cmdstat_") && !text.contains("errorstat_"), "{text}");
    assert!(text.contains("db0:keys=2"), "keys are no statistics");
}

struct OneLane;

impl Lanes for OneLane {
    fn lanes(&self) -> Vec<Lane> {
        vec![Lane { peer: "ab".to_owned(), connected: true, unacknowledged_bytes: 2 }]
    }
}

fn topology(is_ready: bool) -> Topology {
    let node = |seed: u64, standing| {
        let descriptor = Descriptor {
            format: 1,
            replicas: 2,
            slots: SLOTS as u16,
            vnodes: 256,
            headroom: 50,
            partition: Partition::Available,
        };
        let meta = Meta {
            name: String::new(),
            version: String::new(),
            host: "here".to_owned(),
            port: 1,
            cluster_port: 2,
            peer_port: 3,
            admin_port: 4,
            announce_host: String::new(),
            announce_port: 0,
            announce_cluster_port: 0,
            zone: "north".to_owned(),
            weight: 1,
            joined_unix_ms: 0,
            descriptor,
        };
        Node { id: NodeId::from_seed(seed), meta, standing, is_connected: true, ready: 5 }
    };
    let nodes = vec![node(1, Standing::Up), node(2, Standing::Joining), node(3, Standing::Up), node(4, Standing::Left)];
    let epoch = Epoch { height: Hlc::from_bits(77).unwrap(), hash: 0 };
    Topology::new(NodeId::from_seed(1), epoch, nodes).with_readiness(is_ready)
}

/// A node with a client on each port, which was told something.
fn information() -> (NodeInformation, Sources, Arc<ManualClock>) {
    let slot = Slot::of(b"a");
    let (store, clock) = (store(slot), Arc::new(ManualClock::new(NOW)));
    let sources = Sources {
        clock: clock.clone(),
        clients: Arc::new(Clients::default()),
        settings: Arc::new(NodeSettings::new(config(&[]), addresses(), store.clone(), Arc::default())),
        metrics: Arc::new(Metrics::new(2, &["get", "set"])),
        store: store.clone(),
        topology: Arc::new(Topologies::new(topology(false))),
        lanes: Arc::new(OneLane),
        life: Arc::default(),
    };
    let information = NodeInformation::new(&config(&[]), addresses(), "f".repeat(40), sources.clone());
    store.execute(slot, NOW, |txn| {
        txn.put(b"a", b"value", 0);
        txn.put(b"b", b"value", NOW + 100_000);
        assert!(txn.value(b"a").is_some() && txn.value(b"none").is_none());
    });
    let set = Calls { command: 1, succeeded: 2, failed: 0, rejected: 0, duration_us: 40 };
    sources.metrics.record(&Tally { calls: vec![set], input_bytes: 7, output_bytes: 9, reads: 3, ..Tally::default() });
    clock.advance(Duration::from_secs(90));
    (information, sources, clock)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|other| other == *line), "{line} is not in {text}");
    }
}

#[test]
fn info_shows_the_figures_of_every_part() {
    let (information, sources, _) = information();
    let arrival = |port| Arrival { peer: addresses().peer, local: addresses().client, port, at_us: 0, file: 3 };
    let _clients = [Port::Proxy, Port::Cluster].map(|port| sources.clients.register(arrival(port), 9).unwrap());
    let text = information.text(&[b"everything"], Port::Proxy);
    let (used, run_id) =
        (format!("used_memory:{}", sources.store.memory_bytes()), format!("run_id:{}", "f".repeat(40)));
    let node_id = format!("node_id:{}", NodeId::from_seed(1));
    has(&text, &[&used, &run_id, &node_id, "redis_version:7.2.4", "uptime_in_seconds:90", "threads:2"]);
    has(&text, &["connected_clients:2", "connected_clients_cluster_port:1", "maxclients:10000"]);
    has(&text, &["keyspace_hits:1", "keyspace_misses:1", "total_commands_processed:2", "total_net_input_bytes:7"]);
    has(&text, &["db0:keys=2,expires=1,avg_ttl=10000", "slots_acting:1", "slots_following:0", "context_origins:1"]);
    has(
        &text,
        &["zone:north", "epoch:77", "replicas:2", "write_acks:1", "ready:0", "members_up:2", "members_joining:1"],
    );
    has(&text, &["lane0:peer=ab,state=connected,unacknowledged_bytes=2"]);
    has(&text, &["blocked_clients:0", "paused_actions:none", "total_reads_processed:3", "evicted_clients:0"]);
    sources.clients.pause(Paused::Writes, sources.clock.monotonic_us(), sources.clock.monotonic_us() + 1_500_000);
    let text = information.text(&[b"clients"], Port::Proxy);
    has(&text, &["paused_reason:client_pause", "paused_actions:write", "paused_timeout_milliseconds:1500"]);
}

#[test]
fn each_port_announces_itself() {
    let (information, ..) = information();
    has(&information.text(&[], Port::Proxy), &["redis_mode:standalone", "cluster_enabled:0", "tcp_port:1"]);
    has(&information.text(&[], Port::Cluster), &["redis_mode:cluster", "cluster_enabled:1", "tcp_port:2"]);
    assert_eq!(information.text(&[b"cluster"], Port::Cluster), "# Cluster\r\ncluster_enabled:1\r\n");
}

#[test]
fn the_peak_of_memory_stays() {
    let (information, sources, _) = information();
    let peak = information.sample();
    assert!(peak > 0);
    sources.store.execute(Slot::of(b"a"), NOW, |txn| txn.clear());
    let memory = information.info(Port::Proxy).memory;
    assert!(memory.used < peak);
    assert_eq!(memory.used_peak, peak);
}

#[test]
fn the_admin_port_tells_the_same() {
    let (information, sources, _) = information();
    assert!(matches!(information.readiness(), Readiness::NotReady(why) if why.starts_with("5 slots")));
    sources.topology.publish(topology(true));
    assert_eq!(information.readiness(), Readiness::Ready);
    has(&Status::metrics(&information), &["circlet_ready 1", "circlet_keys 2", "circlet_members{state=\"up\"} 2"]);
}
