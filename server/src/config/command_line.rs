//! The command line: which command, with which settings.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command, error::ErrorKind};

use super::{
    error::{ConfigError, shown},
    machine::Machine,
    meant::Config,
    settings::{SETTINGS, Scope, Setting, setting},
    typed::{Environment, Typed},
    value,
};

/// Most nodes that `circlet dev` starts in one process.
const MOST_DEV_NODES: u64 = 32;

/// What the program is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Run one node.
    Server(Box<Config>),
    /// Run a local cluster of so many nodes; the ports are those of its first node.
    Dev {
        /// How many nodes.
        nodes: usize,
        /// What they have in common.
        config: Box<Config>,
    },
    /// Ask the node behind this admin port whether it is ready.
    Health {
        /// Name or address of the node.
        host: String,
        /// Its admin port.
        port: u16,
    },
}

/// Why the program does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Help or the version was asked for; this is its text.
    Told(String),
    /// Something is wrong.
    Bad(ConfigError),
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Refused {
        Refused::Bad(error)
    }
}

/// Reads arguments (the program's name first) and the environment.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    machine: &Machine,
) -> Result<Asked, Refused> {
    let matches = program().try_get_matches_from(arguments).map_err(refused)?;
    match matches.subcommand() {
        Some(("server", matches)) => {
            let typed = Typed::collect(matches, environment, &[Scope::Server, Scope::Admin, Scope::Everywhere])?;
            Ok(Asked::Server(Box::new(Config::resolve(&typed, machine)?)))
        }
        Some(("dev", matches)) => dev(matches, environment, machine),
        Some(("health", matches)) => health(matches, environment),
        _ => {
            Err(Refused::Bad(ConfigError::new("circlet", "say what to do: server, dev or health (see circlet --help)")))
        }
    }
}

fn dev(matches: &ArgMatches, environment: Environment<'_>, machine: &Machine) -> Result<Asked, Refused> {
    let nodes = matches.get_one::<String>("nodes").map_or("3", String::as_str);
    let nodes = value::number(nodes, 1..=MOST_DEV_NODES)
        .map_err(|why| ConfigError::new(format!("--nodes {}", shown(nodes)), why))?;
    let typed = Typed::collect(matches, environment, &[Scope::Everywhere])?;
    // The nodes share the machine's memory, so each takes its part of what `--maxmemory auto` finds.
    let part = Machine { memory_bytes: machine.memory_bytes.map(|bytes| bytes / nodes), ..*machine };
    let config = Config::resolve(&typed, &part)?;
    let last_port = u64::from(config.ports.client) + 1000 + nodes - 1;
    if config.ports.client != 0 && last_port > 65535 {
        return Err(typed.refuse("port", format!("leaves no room: {nodes} nodes need ports up to {last_port}")).into());
    }
    Ok(Asked::Dev { nodes: nodes as usize, config: Box::new(config) })
}

fn health(matches: &ArgMatches, environment: Environment<'_>) -> Result<Asked, Refused> {
    let typed = Typed::collect(matches, environment, &[Scope::Admin])?;
    let host = matches.get_one::<String>("host").map_or("127.0.0.1", String::as_str);
    let host = value::host(host).map_err(|why| ConfigError::new(format!("--host {}", shown(host)), why))?;
    Ok(Asked::Health { host, port: typed.required("admin-port", value::told_port)? })
}

fn program() -> Command {
    let config = || option("config", "FILE", "TOML file with the same settings [env: CIRCLET_CONFIG]");
    Command::new("circlet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A distributed in-memory cache that speaks the Redis protocol")
        .subcommand(
            Command::new("server")
                .about("Runs one node")
                .after_help("Flags beat the environment, which beats the file.")
                .arg(config())
                .args(SETTINGS.iter().map(argument)),
        )
        .subcommand(
            Command::new("dev")
                .about("Runs a whole local cluster in one process, on 127.0.0.1")
                .after_help("Node i (from 0) listens on port + i, for cluster-aware clients on port + 1000 + i.")
                .arg(option("nodes", "N", "How many nodes [default: 3]"))
                .arg(config())
                .args(SETTINGS.iter().filter(|setting| setting.scope == Scope::Everywhere).map(argument)),
        )
        .subcommand(
            Command::new("health")
                .about("Exits with 0 when a node is ready, else with 1 and the reason")
                .arg(option("host", "HOST", "Where the node is [default: 127.0.0.1]"))
                .arg(config())
                .args(setting("admin-port").map(argument)),
        )
}

fn argument(setting: &Setting) -> Arg {
    option(setting.name, setting.value, setting.long_help())
}

/// An option whose value is text. It may begin with a dash: a negative number is for us to refuse, by the setting's name.
fn option(name: &'static str, value: &'static str, help: impl Into<String>) -> Arg {
    Arg::new(name).long(name).value_name(value).allow_hyphen_values(true).help(help.into())
}

/// The first line of clap's report says what is wrong; the rest repeats the usage.
fn refused(error: clap::Error) -> Refused {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Refused::Told(text);
    }
    let line = text.lines().next().unwrap_or_default();
    Refused::Bad(ConfigError::new("circlet", line.strip_prefix("error: ").unwrap_or(line)))
}

#[cfg(test)]
mod tests;
