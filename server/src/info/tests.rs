//! Both texts of one set of figures.

use super::*;
use crate::metrics::{CommandSnapshot, Percentiles, Totals};

/// Figures of a node that has served a little.
pub(crate) fn example() -> Info {
    let latency_us = Percentiles { p50: 1, p99: 2, p999: 8 };
    let get = CommandSnapshot { name: "get", calls: 4, duration_us: 10, rejected: 1, failed: 2, latency_us };
    let set = CommandSnapshot { name: "config|set", calls: 0, rejected: 3, ..get.clone() };
    let errors = vec![("ERR".to_owned(), 2), ("WRONGTYPE".to_owned(), 1)];
    Info {
        server: Server { tcp_port: 6379, unix_us: 7, uptime: Duration::from_secs(90_000), ..Server::default() },
        clients: Clients { connected: 2, connected_cluster: 1, maxclients: 10, ..Clients::default() },
        memory: Memory { used: 2048, resident: 4096, maxmemory_policy: "noeviction", ..Memory::default() },
        stats: Snapshot { totals: Totals { hits: 3, ..Totals::default() }, commands: vec![get, set], errors },
        rates: Volume { calls: 3, input_bytes: 1536, output_bytes: 0 },
        cpu: Cpu { system: Duration::from_millis(1500), user: Duration::from_millis(2) },
        cluster_enabled: false,
        keyspace: vec![
            Keyspace { keys: 5, expires: 2, average_ttl_ms: 1500 },
            Keyspace::default(),
            Keyspace { keys: 1, ..Keyspace::default() },
        ],
        circlet: Circlet {
            cluster_name: "circlet".to_owned(),
            members: vec![("up", 3)],
            slots: vec![("acting", 5461)],
            lanes: vec![Lane { peer: "ab".to_owned(), connected: true, unacknowledged_bytes: 9 }],
            ..Circlet::default()
        },
    }
}

fn text(sections: &[&str]) -> String {
    example().text(Sections::named(sections.iter().map(|name| name.as_bytes())))
}

#[test]
fn sections_look_as_in_redis() {
    let cases = [
        ("cluster", "# Cluster\r\ncluster_enabled:0\r\n"),
        ("KEYSPACE", "# Keyspace\r\ndb0:keys=5,expires=2,avg_ttl=1500\r\ndb2:keys=1,expires=0,avg_ttl=0\r\n"),
        ("modules", "# Modules\r\n"),
        ("errorstats", "# Errorstats\r\nerrorstat_ERR:count=2\r\nerrorstat_WRONGTYPE:count=1\r\n"),
        ("latencystats", "# Latencystats\r\nlatency_percentiles_usec_get:p50=1,p99=2,p99.9=8\r\n"),
        (
            "commandstats",
            "# Commandstats\r\ncmdstat_get:calls=4,usec=10,usec_per_call=2.50,rejected_calls=1,failed_calls=2\r\n\
             cmdstat_config|set:calls=0,usec=10,usec_per_call=0.00,rejected_calls=3,failed_calls=2\r\n",
        ),
        ("nonsense", ""),
    ];
    for (section, wanted) in cases {
        assert_eq!(text(&[section]), wanted);
    }
    let stats = text(&["stats"]);
    for field in ["instantaneous_ops_per_sec:3", "instantaneous_input_kbps:1.50", "total_error_replies:3"] {
        assert!(stats.lines().any(|line| line == field), "{field} is not in {stats}");
    }
    assert!(text(&["replication"]).starts_with("# Replication\r\nrole:master\r\nconnected_slaves:0\r\n"));
    assert!(text(&["cpu"]).starts_with("# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:0.002000\r\n"));
    let memory = text(&["memory"]);
    assert!(memory.contains("used_memory:2048\r\nused_memory_human:2.00K\r\n"), "{memory}");
    assert!(!memory.contains("allocator"), "an allocator that says nothing is not written about: {memory}");
}

#[test]
fn a_section_is_one_that_was_asked_for() {
    let names = |sections: &[&str]| -> Vec<String> {
        text(sections).lines().filter_map(|line| line.strip_prefix("# ").map(str::to_owned)).collect()
    };
    let usual = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules", "Errorstats"];
    let usual = [&usual[..], &["Cluster", "Keyspace", "Circlet"]].concat();
    assert_eq!(names(&[]), usual);
    assert_eq!(names(&["default"]), usual);
    assert_eq!(names(&["all"]).len(), 14);
    assert_eq!(names(&["Everything", "cpu"]).len(), 14);
    assert_eq!(names(&["keyspace", "cpu"]), ["CPU", "Keyspace"]);
    assert_eq!(text(&["cpu", "cluster"]).matches("\r\n\r\n").count(), 1);
}

#[test]
fn prometheus_reads_each_family_once() {
    let page = example().prometheus();
    for line in [
        "circlet_command_duration_seconds{command=\"get\",quantile=\"0.99\"} 0.000002",
        "circlet_command_duration_seconds_sum{command=\"get\"} 0.00001",
        "circlet_command_duration_seconds_count{command=\"get\"} 4",
        "circlet_commands_rejected_total{command=\"config|set\"} 3",
        "circlet_keyspace_hits_total 3",
        "circlet_error_replies_total{code=\"ERR\"} 2",
        "circlet_database_keys{database=\"2\"} 1",
        "circlet_keys 6",
        "circlet_slots{role=\"acting\"} 5461",
        "circlet_lane_unacknowledged_bytes{peer=\"ab\"} 9",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}\n{page}");
    }
    let mut families: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
