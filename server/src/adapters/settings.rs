//! `CONFIG` over the configuration that the node was started with.
//!
//! A setting has the name of its flag. Beside these stand settings of Redis that tools ask for and that have one true
//! answer here ([`fixed`]): nothing is ever saved, there are sixteen databases. What has no true answer is not a setting.

mod fixed;
mod watching;

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use parking_lot::RwLock;

use crate::{
    clients::Limits,
    config::{self, CLIENT_SETTINGS, ClientChange, Config, DebugAllowed, LogLevel, Secret, WATCH_SETTINGS},
    listeners::{self, Addresses},
    logging, process,
    services::{SettingError, SettingFault, Settings},
    store::{Policy, Store, Tuning},
    types::{MAX_STRING_BYTES, parse_integer},
    watch::Watch,
};

/// Redis does not let `proto-max-bulk-len` go below this.
const LEAST_BULK_BYTES: u64 = 1 << 20;

/// The settings of a node. Limits of memory are kept by the store itself.
#[derive(Debug)]
pub struct NodeSettings {
    config: Config,
    addresses: Addresses,
    store: Arc<Store>,
    watch: Arc<Watch>,
    client_limits: Limits,
    changeable: RwLock<Changeable>,
}

#[derive(Clone, Debug)]
struct Changeable {
    password: Option<Secret>,
    max_clients: usize,
    max_bulk_bytes: u32,
    log_level: LogLevel,
    /// What was changed since the start, by the names of the flags.
    changed: BTreeSet<&'static str>,
}

/// A change that was checked and cannot fail any more.
enum Change {
    MaxMemory(u64),
    Policy(Policy),
    Samples(u8),
    LogFactor(u32),
    DecayMinutes(u32),
    MaxClients(usize),
    Password(Option<Secret>),
    MaxBulkBytes(u32),
    LogLevel(LogLevel),
    Clients(&'static str, ClientChange),
    Watch(usize, i64),
}

/// Reads the new value of a setting, or says what is wrong with it, in the words of Redis.
type Read = fn(&str) -> Result<Change, String>;

const CHANGEABLE: [(&str, Read); 10] = [
    ("lfu-decay-time", decay_minutes),
    ("lfu-log-factor", log_factor),
    ("log-level", log_level),
    ("loglevel", log_level_of_redis),
    ("maxclients", max_clients),
    ("maxmemory", max_memory),
    ("maxmemory-policy", policy),
    ("maxmemory-samples", samples),
    ("proto-max-bulk-len", max_bulk_bytes),
    ("requirepass", password),
];

impl NodeSettings {
    /// The settings of a node that was told this and listens there.
    pub fn new(config: Config, addresses: Addresses, store: Arc<Store>, watch: Arc<Watch>) -> NodeSettings {
        watching::begin(&watch, config.watching);
        let changeable = RwLock::new(Changeable {
            password: config.requirepass.clone(),
            max_clients: config.maxclients,
            max_bulk_bytes: config.max_bulk_bytes,
            log_level: config.log_level,
            changed: BTreeSet::new(),
        });
        let client_limits = Limits::new(config.clients, config.protected_mode);
        NodeSettings { config, addresses, store, watch, client_limits, changeable }
    }

    /// The limit of memory, and what happens there.
    #[cfg(test)]
    pub(super) fn store_limit(&self) -> (u64, Policy) {
        (self.store.max_memory_bytes(), self.store.policy())
    }

    /// Understands one change.
    fn read(&self, name: &[u8], value: &[u8]) -> Result<Change, SettingFault> {
        let value = std::str::from_utf8(value).map_err(|_| SettingFault::Invalid("must be UTF-8 text".to_owned()))?;
        if let Some(place) = watched(name) {
            let value = config::watch_value(place, value).map_err(SettingFault::Invalid)?;
            return Ok(Change::Watch(place, value));
        }
        let known = CLIENT_SETTINGS.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(&known) = known
            && let Some(change) = ClientChange::read(known, value)
        {
            return change.map(|change| Change::Clients(known, change)).map_err(SettingFault::Invalid);
        }
        let read = changeable(name).ok_or(SettingFault::Unknown)?;
        read(value).map_err(SettingFault::Invalid)
    }

    /// Whether the setting can be changed at all.
    fn check_name(&self, name: &[u8]) -> Result<(), SettingFault> {
        let is_of_clients = CLIENT_SETTINGS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if is_of_clients || changeable(name).is_some() || watched(name).is_some() {
            return Ok(());
        }
        let is_known = self.all().iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        Err(if is_known { SettingFault::Immutable } else { SettingFault::Unknown })
    }

    fn make(&self, changeable: &mut Changeable, change: Change) {
        changeable.changed.insert(change.name());
        match change {
            Change::MaxMemory(bytes) => self.store.limit_memory(bytes, self.store.policy()),
            Change::Policy(policy) => self.store.limit_memory(self.store.max_memory_bytes(), policy),
            Change::Samples(samples) => self.store.tune(Tuning { samples, ..self.store.tuning() }),
            Change::LogFactor(log_factor) => self.store.tune(Tuning { log_factor, ..self.store.tuning() }),
            Change::DecayMinutes(decay_minutes) => self.store.tune(Tuning { decay_minutes, ..self.store.tuning() }),
            Change::MaxClients(count) => changeable.max_clients = count,
            Change::Password(password) => changeable.password = password,
            Change::MaxBulkBytes(bytes) => changeable.max_bulk_bytes = bytes,
            Change::Clients(_, change) => self.client_limits.change(change),
            Change::LogLevel(level) => {
                logging::set_level(level);
                changeable.log_level = level;
            }
            Change::Watch(place, value) => watching::set(&self.watch, place, value),
        }
    }
}

impl Settings for NodeSettings {
    fn all(&self) -> Vec<(&'static str, String)> {
        let (config, addresses) = (&self.config, &self.addresses);
        let Changeable { password, max_clients, max_bulk_bytes, log_level, .. } = self.changeable.read().clone();
        let Tuning { samples, log_factor, decay_minutes } = self.store.tuning();
        let mut all = vec![
            ("admin-port", addresses.admin.port().to_string()),
            ("availability-zone", config.zone.clone()),
            ("bind", config.bind.to_string()),
            ("cluster-name", config.cluster_name.clone()),
            ("cluster-port", addresses.cluster.port().to_string()),
            ("enable-debug-command", config.debug.name().to_owned()),
            ("lfu-decay-time", decay_minutes.to_string()),
            ("lfu-log-factor", log_factor.to_string()),
            ("log-format", config.log_format.name().to_owned()),
            ("log-level", log_level.name().to_owned()),
            ("loglevel", name_of_redis(log_level).to_owned()),
            ("maxclients", max_clients.to_string()),
            ("maxmemory", self.store.max_memory_bytes().to_string()),
            ("maxmemory-policy", self.store.policy().name().to_owned()),
            ("maxmemory-samples", samples.to_string()),
            ("peer-port", addresses.peer.port().to_string()),
            ("port", addresses.client.port().to_string()),
            ("proto-max-bulk-len", max_bulk_bytes.to_string()),
            ("replicas", config.replicas.to_string()),
            ("requirepass", password.map(|password| password.reveal().to_owned()).unwrap_or_default()),
            ("tcp-backlog", listeners::BACKLOG.to_string()),
            ("threads", config.threads.to_string()),
            ("weight", config.weight.to_string()),
            ("write-acks", config.write_acks.to_string()),
            ("zone", config.zone.clone()),
        ];
        all.extend(self.client_limits.settings());
        all.extend(watching::all(&self.watch));
        all.extend(fixed::FIXED.map(|(name, value)| (name, value.to_owned())));
        let value = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let aliases = fixed::ALIASES.map(|(alias, name)| (alias, value(name).unwrap_or_default()));
        all.extend(aliases);
        all.sort_unstable();
        all
    }

    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError> {
        let error = |name: &[u8], fault| SettingError { name: name.to_vec(), fault };
        for (name, _) in changes {
            self.check_name(fixed::real_name(name)).map_err(|fault| error(name, fault))?;
        }
        let read = |(name, value): &(&[u8], &[u8])| {
            self.read(fixed::real_name(name), value).map_err(|fault| error(name, fault))
        };
        let changes: Vec<Change> = changes.iter().map(read).collect::<Result<_, _>>()?;
        // Under the lock, so that of two changes at a time one is wholly before the other.
        let mut changeable = self.changeable.write();
        changes.into_iter().for_each(|change| self.make(&mut changeable, change));
        Ok(())
    }

    fn allows_debug(&self, is_local: bool) -> bool {
        match self.config.debug {
            DebugAllowed::No => false,
            DebugAllowed::Local => is_local,
            DebugAllowed::Yes => true,
        }
    }

    fn rewrite(&self) -> Result<(), String> {
        let file = self.config.file.as_ref().ok_or("The server is running without a config file")?;
        let (changed, all) = (self.changeable.read().changed.clone(), self.all());
        let value = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let mut settings: Vec<_> = changed.iter().map(|&name| (name, value(name))).collect();
        if let Some((_, password)) = settings.iter_mut().find(|(name, _)| *name == "requirepass") {
            // No password is no setting, and one in a file of its own would contradict.
            *password = password.take().filter(|password| !password.is_empty());
            settings.push(("requirepass-file", None));
        }
        // What happens at the limit follows from the limit, where nobody says it: a node that refused writes would throw
        // keys away after its next start.
        if changed.contains("maxmemory") && !changed.contains("maxmemory-policy") {
            settings.push(("maxmemory-policy", value("maxmemory-policy")));
        }
        config::rewrite(file, &settings).map_err(|why| format!("Rewriting config file: {why}"))
    }

    fn password(&self) -> Option<Arc<str>> {
        self.changeable.read().password.as_ref().map(|password| password.reveal().into())
    }

    fn max_clients(&self) -> usize {
        self.changeable.read().max_clients
    }

    fn client_limits(&self) -> &Limits {
        &self.client_limits
    }

    fn max_client_memory_bytes(&self) -> u64 {
        self.client_limits.all().memory_bytes(self.store.max_memory_bytes())
    }

    fn max_bulk_bytes(&self) -> u32 {
        self.changeable.read().max_bulk_bytes
    }
}

impl Change {
    /// The setting that is changed.
    fn name(&self) -> &'static str {
        match self {
            Change::MaxMemory(_) => "maxmemory",
            Change::Policy(_) => "maxmemory-policy",
            Change::Samples(_) => "maxmemory-samples",
            Change::LogFactor(_) => "lfu-log-factor",
            Change::DecayMinutes(_) => "lfu-decay-time",
            Change::MaxClients(_) => "maxclients",
            Change::Password(_) => "requirepass",
            Change::MaxBulkBytes(_) => "proto-max-bulk-len",
            Change::LogLevel(_) => "log-level",
            Change::Clients(name, _) => name,
            Change::Watch(place, _) => WATCH_SETTINGS[*place].0,
        }
    }
}

/// The place of a setting among those of what is watched.
fn watched(name: &[u8]) -> Option<usize> {
    WATCH_SETTINGS.iter().position(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn changeable(name: &[u8]) -> Option<Read> {
    CHANGEABLE.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes())).map(|&(_, read)| read)
}

fn memory(text: &str) -> Result<u64, String> {
    config::bytes(text).map_err(|_| "argument must be a memory value".to_owned())
}

fn max_memory(text: &str) -> Result<Change, String> {
    memory(text).map(Change::MaxMemory)
}

fn policy(text: &str) -> Result<Change, String> {
    let one_of = || format!("argument(s) must be one of the following: {}", Policy::names());
    Policy::parse(text).map(Change::Policy).ok_or_else(one_of)
}

fn samples(text: &str) -> Result<Change, String> {
    integer(text, Tuning::SAMPLES).map(|samples| Change::Samples(samples as u8))
}

fn log_factor(text: &str) -> Result<Change, String> {
    integer(text, Tuning::COUNTING).map(|factor| Change::LogFactor(factor as u32))
}

fn decay_minutes(text: &str) -> Result<Change, String> {
    integer(text, Tuning::COUNTING).map(|minutes| Change::DecayMinutes(minutes as u32))
}

fn integer(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let integer = parse_integer(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    let within = u64::try_from(integer).ok().filter(|integer| range.contains(integer));
    within.ok_or_else(|| format!("argument must be between {} and {} inclusive", range.start(), range.end()))
}

/// As many as the operating system has open files for; its limit is raised if it has to be.
fn max_clients(text: &str) -> Result<Change, String> {
    let count = parse_integer(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    let Some(count) = u32::try_from(count).ok().filter(|&count| count > 0) else {
        return Err("argument must be between 1 and 4294967295 inclusive".to_owned());
    };
    let needed = u64::from(count) + process::FILES_BESIDE_CLIENTS;
    let allowed = process::raise_open_files(needed).map_err(|error| error.to_string())?;
    // No more than a node may be started with.
    suffice(allowed.min(config::MOST_CLIENTS + process::FILES_BESIDE_CLIENTS), needed)?;
    Ok(Change::MaxClients(count as usize))
}

/// Whether so many open files are enough.
fn suffice(allowed: u64, needed: u64) -> Result<(), String> {
    if allowed >= needed {
        return Ok(());
    }
    let possible = allowed.saturating_sub(process::FILES_BESIDE_CLIENTS);
    Err(format!("The operating system is not able to handle the specified number of clients, try with {possible}"))
}

fn max_bulk_bytes(text: &str) -> Result<Change, String> {
    let range = LEAST_BULK_BYTES..=MAX_STRING_BYTES as u64;
    let bytes = memory(text)?;
    if !range.contains(&bytes) {
        return Err(format!("argument must be between {} and {} inclusive", range.start(), range.end()));
    }
    Ok(Change::MaxBulkBytes(bytes as u32))
}

/// An empty password is none.
fn password(text: &str) -> Result<Change, String> {
    if text.is_empty() {
        Ok(Change::Password(None))
    } else {
        Secret::new(text).map(|secret| Change::Password(Some(secret)))
    }
}

fn log_level(text: &str) -> Result<Change, String> {
    LogLevel::parse(text).map(Change::LogLevel).map_err(|_| {
        format!("argument(s) must be one of the following: {}", LogLevel::ALL.map(LogLevel::name).join(", "))
    })
}

/// The levels that Redis knows. It has no name for our `error`, and says `nothing` where we still write errors.
const LEVELS_OF_REDIS: [(&str, LogLevel); 4] =
    [("debug", LogLevel::Trace), ("verbose", LogLevel::Debug), ("notice", LogLevel::Info), ("warning", LogLevel::Warn)];

fn log_level_of_redis(text: &str) -> Result<Change, String> {
    let level = LEVELS_OF_REDIS.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    level.map(|&(_, level)| Change::LogLevel(level)).ok_or_else(|| {
        format!("argument(s) must be one of the following: {}", LEVELS_OF_REDIS.map(|(name, _)| name).join(", "))
    })
}

fn name_of_redis(level: LogLevel) -> &'static str {
    LEVELS_OF_REDIS.iter().find(|(_, known)| *known == level).map_or("warning", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_clients_than_open_files_are_refused() {
        let why = "The operating system is not able to handle the specified number of clients, try with";
        assert_eq!(suffice(1256, 1256), Ok(()));
        assert_eq!(suffice(1256, 1257), Err(format!("{why} 1000")));
        assert_eq!(suffice(9, 300), Err(format!("{why} 0")));
    }
}
