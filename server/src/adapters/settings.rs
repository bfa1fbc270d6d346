//! `CONFIG` over the configuration that the node was started with.
//!
//! A setting has the name of its flag. Beside these stand settings of Redis that tools ask for and that have one true
//! answer here: nothing is ever saved, there is one database, idle clients are not disconnected. What has no true
//! answer is not a setting.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    config::{self, Config, EvictionPolicy, LogLevel, Secret},
    listeners::{self, Addresses},
    logging, process,
    services::{SettingError, SettingFault, Settings},
    store::{Policy, Store},
    types::MAX_STRING_BYTES,
};

/// Redis does not let `proto-max-bulk-len` go below this.
const LEAST_BULK_BYTES: u64 = 1 << 20;

/// The settings of a node. Limits of memory are kept by the store itself.
#[derive(Debug)]
pub struct NodeSettings {
    config: Config,
    addresses: Addresses,
    store: Arc<Store>,
    changeable: RwLock<Changeable>,
}

#[derive(Clone, Debug)]
struct Changeable {
    password: Option<Secret>,
    max_clients: usize,
    max_bulk_bytes: u32,
    log_level: LogLevel,
}

/// A change that was checked and cannot fail any more.
enum Change {
    MaxMemory(u64),
    Policy(Policy),
    MaxClients(usize),
    Password(Option<Secret>),
    MaxBulkBytes(u32),
    LogLevel(LogLevel),
}

/// Reads the new value of a setting, or says what is wrong with it, in the words of Redis.
type Read = fn(&str) -> Result<Change, String>;

const CHANGEABLE: [(&str, Read); 6] = [
    ("log-level", log_level),
    ("maxclients", max_clients),
    ("maxmemory", max_memory),
    ("maxmemory-policy", policy),
    ("proto-max-bulk-len", max_bulk_bytes),
    ("requirepass", password),
];

impl NodeSettings {
    /// The settings of a node that was told this and listens there.
    pub fn new(config: Config, addresses: Addresses, store: Arc<Store>) -> NodeSettings {
        let changeable = RwLock::new(Changeable {
            password: config.requirepass.clone(),
            max_clients: config.maxclients,
            max_bulk_bytes: MAX_STRING_BYTES as u32,
            log_level: config.log_level,
        });
        NodeSettings { config, addresses, store, changeable }
    }

    /// The limit of memory, and what happens there.
    #[cfg(test)]
    pub(super) fn store_limit(&self) -> (u64, Policy) {
        (self.store.max_memory_bytes(), self.store.policy())
    }

    /// Understands one change.
    fn read(&self, name: &[u8], value: &[u8]) -> Result<Change, SettingFault> {
        let read = changeable(name).ok_or(SettingFault::Unknown)?;
        let value = std::str::from_utf8(value).map_err(|_| SettingFault::Invalid("must be UTF-8 text".to_owned()))?;
        read(value).map_err(SettingFault::Invalid)
    }

    /// Whether the setting can be changed at all.
    fn check_name(&self, name: &[u8]) -> Result<(), SettingFault> {
        if changeable(name).is_some() {
            return Ok(());
        }
        let is_known = self.all().iter().any(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        Err(if is_known { SettingFault::Immutable } else { SettingFault::Unknown })
    }

    fn make(&self, changeable: &mut Changeable, change: Change) {
        match change {
            Change::MaxMemory(bytes) => self.store.limit_memory(bytes, self.store.policy()),
            Change::Policy(policy) => self.store.limit_memory(self.store.max_memory_bytes(), policy),
            Change::MaxClients(count) => changeable.max_clients = count,
            Change::Password(password) => changeable.password = password,
            Change::MaxBulkBytes(bytes) => changeable.max_bulk_bytes = bytes,
            Change::LogLevel(level) => {
                logging::set_level(level);
                changeable.log_level = level;
            }
        }
    }
}

impl Settings for NodeSettings {
    fn all(&self) -> Vec<(&'static str, String)> {
        let (config, addresses) = (&self.config, &self.addresses);
        let Changeable { password, max_clients, max_bulk_bytes, log_level } = self.changeable.read().clone();
        vec![
            ("admin-port", addresses.admin.port().to_string()),
            ("appendonly", "no".to_owned()),
            ("bind", config.bind.to_string()),
            ("cluster-name", config.cluster_name.clone()),
            ("cluster-port", addresses.cluster.port().to_string()),
            ("databases", "1".to_owned()),
            ("log-level", log_level.name().to_owned()),
            ("maxclients", max_clients.to_string()),
            ("maxmemory", self.store.max_memory_bytes().to_string()),
            ("maxmemory-policy", self.store.policy().name().to_owned()),
            ("peer-port", addresses.peer.port().to_string()),
            ("port", addresses.client.port().to_string()),
            ("protected-mode", if config.protected_mode { "yes" } else { "no" }.to_owned()),
            ("proto-max-bulk-len", max_bulk_bytes.to_string()),
            ("replicas", config.replicas.to_string()),
            ("requirepass", password.map(|password| password.reveal().to_owned()).unwrap_or_default()),
            ("save", String::new()),
            ("tcp-backlog", listeners::BACKLOG.to_string()),
            ("tcp-keepalive", listeners::KEEP_ALIVE_IDLE.as_secs().to_string()),
            ("threads", config.threads.to_string()),
            ("timeout", "0".to_owned()),
            ("weight", config.weight.to_string()),
            ("write-acks", config.write_acks.to_string()),
            ("zone", config.zone.clone()),
        ]
    }

    fn change(&self, changes: &[(&[u8], &[u8])]) -> Result<(), SettingError> {
        let error = |name: &[u8], fault| SettingError { name: String::from_utf8_lossy(name).into_owned(), fault };
        for (name, _) in changes {
            self.check_name(name).map_err(|fault| error(name, fault))?;
        }
        let read = |(name, value): &(&[u8], &[u8])| self.read(name, value).map_err(|fault| error(name, fault));
        let changes: Vec<Change> = changes.iter().map(read).collect::<Result<_, _>>()?;
        // Under the lock, so that of two changes at a time one is wholly before the other.
        let mut changeable = self.changeable.write();
        changes.into_iter().for_each(|change| self.make(&mut changeable, change));
        Ok(())
    }

    fn password(&self) -> Option<Arc<str>> {
        self.changeable.read().password.as_ref().map(|password| password.reveal().into())
    }

    fn max_clients(&self) -> usize {
        self.changeable.read().max_clients
    }

    fn is_protected(&self) -> bool {
        self.config.protected_mode
    }

    fn max_bulk_bytes(&self) -> u32 {
        self.changeable.read().max_bulk_bytes
    }
}

/// The policy of the store that the configuration means.
impl From<EvictionPolicy> for Policy {
    fn from(policy: EvictionPolicy) -> Policy {
        match policy {
            EvictionPolicy::NoEviction => Policy::NoEviction,
            EvictionPolicy::AllkeysLru => Policy::AllKeysLru,
        }
    }
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
    let one_of = || "argument(s) must be one of the following: noeviction, allkeys-lru".to_owned();
    Policy::parse(text).map(Change::Policy).ok_or_else(one_of)
}

/// As many as the operating system has open files for; its limit is raised if it has to be.
fn max_clients(text: &str) -> Result<Change, String> {
    let count: i64 = text.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
    let Some(count) = u32::try_from(count).ok().filter(|&count| count > 0) else {
        return Err("argument must be between 1 and 4294967295 inclusive".to_owned());
    };
    let needed = u64::from(count) + process::FILES_BESIDE_CLIENTS;
    let allowed = process::raise_open_files(needed).map_err(|error| error.to_string())?;
    suffice(allowed, needed)?;
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
