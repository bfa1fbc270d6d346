//! What is typed and what it means, through the front door.

use std::{collections::BTreeMap, fs, net::IpAddr, time::Duration};

use super::*;
use crate::{
    config::{Endpoint, LogFormat, LogLevel, Secret},
    types::{Policy, Tuning},
};

const MACHINE: Machine = Machine { memory_bytes: Some(4000), cores: 6 };

/// Parses a command line of words, beside these variables.
fn asked(line: &[&str], variables: &[(&str, &str)]) -> Result<Asked, Refused> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let arguments = ["circlet"].iter().chain(line).map(OsString::from);
    parse(arguments, &|name| variables.get(name).map(OsString::from), &MACHINE)
}

fn server(flags: &[&str], variables: &[(&str, &str)]) -> Config {
    let line: Vec<&str> = ["server"].iter().chain(flags).copied().collect();
    match asked(&line, variables) {
        // Where it came from is not what it says.
        Ok(Asked::Server(config)) => Config { file: None, ..*config },
        other => panic!("{line:?}: {other:?}"),
    }
}

/// The one line that refuses this.
fn refusal(line: &[&str], variables: &[(&str, &str)]) -> String {
    match asked(line, variables) {
        Err(Refused::Bad(error)) => error.to_string(),
        other => panic!("{line:?} {variables:?}: {other:?}"),
    }
}

/// A file of this content, and its path as text.
fn file(content: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), content).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

/// For every setting a value that is not its default.
fn other_values(secret_file: &str) -> Vec<(&'static str, String)> {
    let values = [
        ("bind", "127.0.0.1"),
        ("advertise", "node-a:1"),
        ("port", "1"),
        ("cluster-port", "2"),
        ("peer-port", "3"),
        ("admin-port", "4"),
        ("seeds", "a:1,[::1]:2"),
        ("node-id", "00112233445566778899aabbccddeeff00112233"),
        ("cluster-name", "other"),
        ("replicas", "3"),
        ("write-acks", "2"),
        ("partition", "majority"),
        ("maxmemory", "1gb"),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory-samples", "5"),
        ("lfu-log-factor", "0"),
        ("lfu-decay-time", "0"),
        ("zone", "b"),
        ("weight", "2"),
        ("announce-host", "cache.example"),
        ("announce-port", "5"),
        ("announce-cluster-port", "6"),
        ("requirepass", "hush"),
        ("requirepass-file", secret_file),
        ("cluster-secret", "hush"),
        ("cluster-secret-file", secret_file),
        ("protected-mode", "no"),
        ("data-dir", "/tmp/circlet"),
        ("threads", "3"),
        ("maxclients", "7"),
        ("timeout", "9"),
        ("tcp-keepalive", "60"),
        ("client-query-buffer-limit", "2mb"),
        ("client-output-buffer-limit", "normal 1mb 0 0"),
        ("maxmemory-clients", "5%"),
        ("proto-max-bulk-len", "1mb"),
        ("enable-debug-command", "local"),
        ("commandlog-execution-slower-than", "-1"),
        ("commandlog-large-reply-max-len", "0"),
        ("commandlog-large-request-max-len", "1"),
        ("commandlog-reply-larger-than", "1"),
        ("commandlog-request-larger-than", "1"),
        ("commandlog-slow-execution-max-len", "1"),
        ("latency-monitor-threshold", "1"),
        ("log-level", "debug"),
        ("log-format", "json"),
        ("rebuild-delay", "1s"),
        ("rebalance-rate", "1mb"),
        ("shutdown-timeout", "1s"),
    ];
    values.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}

#[test]
fn no_setting_is_accepted_and_ignored() {
    let (_kept, secret_file) = file("hush\n");
    let values = other_values(&secret_file);
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>());
    let default = server(&[], &[]);
    for (name, value) in &values {
        let by_flag = server(&[&format!("--{name}"), value], &[]);
        assert_ne!(by_flag, default, "--{name} changes nothing");
        let variable = setting(name).unwrap().variable();
        assert_eq!(server(&[], &[(&variable, value)]), by_flag, "{variable}");
        let (_kept, path) = file(&format!("{name} = {value:?}"));
        assert_eq!(server(&["--config", &path], &[]), by_flag, "{name} in a file");
        assert_eq!(server(&[], &[("CIRCLET_CONFIG", &path)]), by_flag, "{name} in a file");
    }
}

#[test]
fn the_defaults() {
    let config = server(&[], &[]);
    assert_eq!(config.bind, IpAddr::from([0, 0, 0, 0]));
    assert_eq!(
        [config.ports.client, config.ports.cluster, config.ports.peer, config.ports.admin],
        [6379, 7379, 7946, 9121]
    );
    assert_eq!((config.replicas, config.write_acks, config.threads, config.maxclients), (2, 1, 6, 10_000));
    assert_eq!((config.maxmemory_bytes, config.maxmemory_policy), (0, Policy::NoEviction));
    assert_eq!(config.maxmemory_tuning, Tuning::default());
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Text));
    assert_eq!((config.rebuild_delay, config.shutdown_timeout), (Duration::from_secs(30), Duration::from_secs(60)));
    assert_eq!(config.rebalance_rate_bytes, Some(64 << 20));
    assert!(config.protected_mode && config.seeds.is_empty() && config.requirepass.is_none());
}

#[test]
fn some_defaults_follow_from_other_settings() {
    assert_eq!(server(&["--replicas", "1"], &[]).rebuild_delay, Duration::ZERO);
    assert_eq!(server(&["--maxmemory", "1mb"], &[]).maxmemory_policy, Policy::AllKeysLru);
    assert_eq!(server(&["--maxmemory", "auto"], &[]).maxmemory_bytes, 3000);
    for (replicas, majority) in [("1", 1), ("2", 2), ("3", 2), ("5", 3), ("7", 4)] {
        assert_eq!(server(&["--replicas", replicas, "--write-acks", "majority"], &[]).write_acks, majority);
    }
    assert_eq!(server(&["--replicas", "5", "--write-acks", "all"], &[]).write_acks, 5);
    assert_eq!(server(&["--rebalance-rate", "0"], &[]).rebalance_rate_bytes, None);
}

#[test]
fn flags_beat_the_environment_and_that_beats_the_file() {
    let (_kept, path) =
        file("port = 3\nzone = \"file\"\nweight = 9\nseeds = [\"a:1\", \"b:2\"]\nprotected-mode = false\n");
    let variables = [("CIRCLET_PORT", "2"), ("CIRCLET_ZONE", "variable"), ("CIRCLET_CONFIG", path.as_str())];
    let config = server(&["--port", "1"], &variables);
    assert_eq!((config.ports.client, config.zone.as_str(), config.weight), (1, "variable", 9));
    assert_eq!(config.seeds.iter().map(Endpoint::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
    assert!(!config.protected_mode);
}

#[test]
fn every_bad_value_is_refused_in_one_line() {
    let cases = [
        ("bind", "localhost", "must be an IPv4 or IPv6 address such as 0.0.0.0 or ::"),
        ("advertise", "0.0.0.0", "is no address that another node can reach"),
        ("advertise", "a b", "must be host or host:port"),
        ("port", "65536", "must be a number from 0 to 65535"),
        ("port", "+1", "must be a number from 0 to 65535"),
        ("cluster-port", "6379", "is the --port already"),
        ("seeds", "", "must not be empty: without the setting the node starts a cluster of its own"),
        ("seeds", "a:1,b", "each must be host:port"),
        ("node-id", "abc", "must be 40 hexadecimal digits"),
        ("cluster-name", "", "must be 1 to 64 letters, digits, dots, dashes or underscores"),
        ("replicas", "0", "must be a number from 1 to 7"),
        ("replicas", "8", "must be a number from 1 to 7"),
        ("write-acks", "3", "must be a number from 1 to 2 (the --replicas), majority or all"),
        ("write-acks", "0", "must be a number from 1 to 2 (the --replicas), majority or all"),
        ("partition", "minority", "must be available or majority"),
        ("maxmemory", "lots", "must be a size such as 0, 100mb or 2gb, or auto"),
        (
            "maxmemory-policy",
            "allkeys-s3fifo",
            "must be one of volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, \
             allkeys-random, noeviction",
        ),
        ("maxmemory-samples", "65", "must be a number from 1 to 64"),
        ("lfu-log-factor", "2147483648", "must be a number from 0 to 2147483647"),
        ("lfu-decay-time", "1m", "must be a number from 0 to 2147483647"),
        ("weight", "101", "must be a number from 1 to 100"),
        ("announce-host", "", "must be a host name or an address"),
        ("announce-port", "0", "must be a number from 1 to 65535"),
        ("requirepass-file", "/nowhere/at/all", "cannot be read: No such file or directory (os error 2)"),
        ("protected-mode", "maybe", "must be yes or no"),
        ("data-dir", "", "must not be empty"),
        ("threads", "0", "must be a number from 1 to 256"),
        ("maxclients", "0", "must be a number from 1 to 1000000"),
        ("maxmemory", "-1", "must be a size such as 0, 100mb or 2gb, or auto"),
        ("rebuild-delay", "-1s", "must be a time such as 500ms, 30s or 2m"),
        ("proto-max-bulk-len", "1k", "must be a size from 1mb to 512mb"),
        ("enable-debug-command", "maybe", "must be no, local or yes"),
        ("commandlog-execution-slower-than", "-2", "argument must be between -1 and 9223372036854775807 inclusive"),
        ("log-level", "loud", "must be error, warn, info, debug or trace"),
        ("log-format", "xml", "must be text or json"),
        ("rebuild-delay", "30", "must be a time such as 500ms, 30s or 2m"),
        ("rebalance-rate", "fast", "must be a size such as 0, 100mb or 2gb"),
        ("shutdown-timeout", "2d", "must be a time such as 500ms, 30s or 2m"),
    ];
    for (name, value, why) in cases {
        let shown = if value.is_empty() { "\"\"" } else { value };
        assert_eq!(refusal(&["server", &format!("--{name}"), value], &[]), format!("--{name} {shown}: {why}"));
        let variable = setting(name).unwrap().variable();
        assert_eq!(refusal(&["server"], &[(&variable, value)]), format!("{variable}={shown}: {why}"));
        let (_kept, path) = file(&format!("{name} = {value:?}"));
        assert_eq!(refusal(&["server", "--config", &path], &[]), format!("{name} = {shown} in {path}: {why}"));
    }
}

#[test]
fn a_variable_that_kubernetes_made_is_recognised() {
    let line = refusal(&["server"], &[("CIRCLET_PORT", "tcp://10.96.0.12:6379")]);
    assert!(
        line.starts_with("CIRCLET_PORT=tcp://10.96.0.12:6379: must be a number from 0 to 65535 (looks like"),
        "{line}"
    );
    assert!(line.contains("enableServiceLinks"), "{line}");
    assert!(!refusal(&["server", "--port", "tcp://a:1"], &[]).contains("Kubernetes"));
}

#[test]
fn a_hostile_value_stays_on_its_line() {
    let line = refusal(&["server", "--zone", "a\nb\u{1b}[2J"], &[]);
    assert_eq!(line, "--zone a\\nb\\u{1b}[2J: must be 1 to 64 letters, digits, dots, dashes or underscores");
    assert!(refusal(&["server", "--zone", &"x".repeat(5000)], &[]).len() < 200);
}

#[test]
fn a_bad_file_is_refused_in_one_line() {
    let cases = [
        ("prot = 1", "prot in FILE: there is no such setting"),
        ("\nport = 1\nport = 2", "FILE line 3: duplicate key"),
        ("port = 1.5", "port in FILE: cannot be a float"),
        ("seeds = [1]", "seeds in FILE: must be a list of strings"),
        ("[server]\nport = 1", "server in FILE: there is no such setting"),
    ];
    for (content, wanted) in cases {
        let (_kept, path) = file(content);
        assert_eq!(refusal(&["server", "--config", &path], &[]).replace(&path, "FILE"), wanted, "{content:?}");
    }
    let (_kept, path) = file(&format!("# {}", "x".repeat(2 << 20)));
    assert!(refusal(&["server", "--config", &path], &[]).ends_with("is larger than 1048576 bytes"));
    assert!(refusal(&["server", "--config", "/nowhere"], &[]).starts_with("--config /nowhere: cannot be read"));
}

#[test]
fn a_bad_command_line_is_refused_in_one_line() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "circlet: say what to do: server, dev or health (see circlet --help)"),
        (&["serve"], "circlet: unrecognized subcommand 'serve'"),
        (&["server", "--sloppy", "on"], "circlet: unexpected argument '--sloppy' found"),
        (&["server", "--port"], "circlet: a value is required for '--port <PORT>' but none was supplied"),
        (&["dev", "--nodes", "0"], "--nodes 0: must be a number from 1 to 32"),
        (&["dev", "--port", "64536"], "--port 64536: leaves no room: 3 nodes need ports up to 65538"),
    ];
    for (line, wanted) in cases {
        assert_eq!(refusal(line, &[]), wanted);
    }
}

#[test]
fn secrets_come_from_a_file_as_well_and_are_never_shown() {
    let (_kept, path) = file("open sesame\r\n");
    let config = server(&["--requirepass-file", &path, "--cluster-secret", "hush"], &[]);
    assert_eq!(config.requirepass.as_ref().map(Secret::reveal), Some("open sesame"));
    let printed = format!("{config:?}");
    assert!(!printed.contains("sesame") && !printed.contains("hush"), "{printed}");

    // Of two that say something else the stronger counts, of equals none.
    let stronger = server(&["--requirepass-file", &path], &[("CIRCLET_REQUIREPASS", "hush")]);
    assert_eq!(stronger.requirepass.as_ref().map(Secret::reveal), Some("open sesame"));
    let stronger = server(&["--requirepass", "typed"], &[("CIRCLET_REQUIREPASS_FILE", &path)]);
    assert_eq!(stronger.requirepass.as_ref().map(Secret::reveal), Some("typed"));
    let both = refusal(&["server", "--requirepass-file", &path, "--requirepass", "hush"], &[]);
    assert_eq!(both, format!("--requirepass-file {path}: cannot stand beside --requirepass"));
    assert_eq!(refusal(&["server", "--requirepass", ""], &[]), "--requirepass (not shown): must not be empty");
    let long = "hush".repeat(1000);
    assert!(!refusal(&["server"], &[("CIRCLET_CLUSTER_SECRET", &long)]).contains("hush"));
    let (_kept, empty) = file("\n");
    assert!(refusal(&["server", "--cluster-secret-file", &empty], &[]).ends_with("the secret in it must not be empty"));
    let Err(Refused::Told(help)) = asked(&["server", "--help"], &[("CIRCLET_REQUIREPASS", "hush")]) else { panic!() };
    assert!(help.contains("CIRCLET_REQUIREPASS") && !help.contains("hush"));
}

#[test]
fn help_and_version_are_told() {
    let Err(Refused::Told(version)) = asked(&["--version"], &[]) else { panic!() };
    assert_eq!(version, format!("circlet {}\n", env!("CARGO_PKG_VERSION")));
    for line in [&["--help"][..], &["dev", "--help"], &["health", "--help"]] {
        assert!(matches!(asked(line, &[]), Err(Refused::Told(_))));
    }
}

#[test]
fn dev_and_health() {
    let Ok(Asked::Dev { nodes, config }) = asked(&["dev", "--nodes", "5", "--port", "0", "--replicas", "3"], &[])
    else {
        panic!()
    };
    assert_eq!((nodes, config.ports.client, config.replicas), (5, 0, 3));
    let Ok(Asked::Dev { config, .. }) = asked(&["dev", "--nodes", "2", "--maxmemory", "auto"], &[]) else { panic!() };
    assert_eq!(config.maxmemory_bytes, 1500);
    let health = |line: &[&str], variables: &[(&str, &str)]| asked(line, variables).unwrap();
    let wanted = |host: &str, port| Asked::Health { host: host.to_owned(), port };
    assert_eq!(health(&["health"], &[]), wanted("127.0.0.1", 9121));
    assert_eq!(health(&["health", "--host", "::1"], &[("CIRCLET_ADMIN_PORT", "8")]), wanted("::1", 8));
    let (_kept, path) = file("admin-port = 7\nzone = \"b\"");
    assert_eq!(health(&["health", "--config", &path], &[]), wanted("127.0.0.1", 7));
    assert_eq!(refusal(&["health", "--host", "a b"], &[]), "--host a b: must be a host name or an address");
}
