//! What the connections of clients may take up: settings with the names, units and errors of Redis, read by the same
//! functions whether they are typed at the start or given to `CONFIG SET`.

use std::ops::RangeInclusive;

use super::{
    error::ConfigError,
    typed::Typed,
    value::{self, bytes},
};
use crate::types::parse_integer;

/// Their names, in the order of the alphabet.
pub const CLIENT_SETTINGS: [&str; 6] = [
    "client-output-buffer-limit",
    "client-query-buffer-limit",
    "maxmemory-clients",
    "protected-mode",
    "tcp-keepalive",
    "timeout",
];

/// The largest request that a node passes on to another has so many bytes, so no node takes a larger one.
const QUERY_BUFFER_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 30;

/// The classes of clients that Redis tells apart. Here every client is a normal one.
const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// What the connections of clients may take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientLimits {
    /// A client that asks nothing for longer is disconnected; 0: never.
    pub idle_secs: u32,
    /// After so much silence the kernel asks whether the client is still there; 0: never.
    pub keep_alive_secs: u32,
    /// The longest request, in bytes.
    pub query_buffer_bytes: u64,
    /// What all connections together may take up.
    pub memory: ClientMemory,
    /// What may wait for a client of each class: normal, replica, subscriber. Here every client is a normal one.
    pub output: [OutputLimit; 3],
}

/// What all connections together may take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientMemory {
    /// So many bytes; 0: no limit.
    Bytes(u64),
    /// So much of a hundred of `maxmemory`; without that no limit.
    Percent(u8),
}

/// Above what a client is disconnected that does not read its replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutputLimit {
    /// At once with so many bytes; 0: no limit.
    pub hard_bytes: u64,
    /// With so many bytes for a while; 0: no limit.
    pub soft_bytes: u64,
    /// How long that while is, in seconds.
    pub soft_secs: u32,
}

/// One setting that was given another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientChange {
    /// `timeout`.
    Idle(u32),
    /// `tcp-keepalive`.
    KeepAlive(u32),
    /// `client-query-buffer-limit`.
    QueryBuffer(u64),
    /// `maxmemory-clients`.
    Memory(ClientMemory),
    /// `client-output-buffer-limit`: classes by their places, and what they get.
    Output(Vec<(usize, OutputLimit)>),
    /// `protected-mode`.
    Protected(bool),
}

impl ClientChange {
    /// Reads the new value of the setting of this name (in lower case), in the words of Redis where it cannot be. None
    /// if the setting is not one of these.
    pub fn read(name: &str, value: &str) -> Option<Result<ClientChange, String>> {
        Some(match name {
            "client-output-buffer-limit" => output_limits(value).map(ClientChange::Output),
            "client-query-buffer-limit" => query_buffer(value).map(ClientChange::QueryBuffer),
            "maxmemory-clients" => memory(value).map(ClientChange::Memory),
            "protected-mode" => yes_no(value).map(ClientChange::Protected),
            "tcp-keepalive" => seconds(value).map(ClientChange::KeepAlive),
            "timeout" => seconds(value).map(ClientChange::Idle),
            _ => return None,
        })
    }
}

impl Default for ClientLimits {
    /// What holds if nothing else is said.
    fn default() -> ClientLimits {
        ClientLimits::resolve(&Typed::default()).expect("the defaults can be read")
    }
}

impl ClientLimits {
    pub(super) fn resolve(typed: &Typed) -> Result<ClientLimits, ConfigError> {
        let unlimited = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_secs: 0 };
        let mut limits = ClientLimits {
            idle_secs: typed.required("timeout", seconds)?,
            keep_alive_secs: typed.required("tcp-keepalive", seconds)?,
            query_buffer_bytes: typed.required("client-query-buffer-limit", query_buffer)?,
            memory: typed.required("maxmemory-clients", memory)?,
            output: [unlimited; 3],
        };
        // What is typed may name some of the classes; the others keep their defaults.
        let default = typed.default_text("client-output-buffer-limit");
        limits.set_output(&output_limits(default).expect("the default can be read"));
        limits.set_output(&typed.required("client-output-buffer-limit", output_limits)?);
        Ok(limits)
    }

    /// Gives classes, by their places, other limits.
    pub fn set_output(&mut self, limits: &[(usize, OutputLimit)]) {
        for &(class, limit) in limits {
            self.output[class] = limit;
        }
    }

    /// What all connections together may take up in bytes, if the data may take up so much (0: no limit); 0: no limit.
    /// As in Redis never so little that nobody could say anything.
    pub fn memory_bytes(&self, max_memory_bytes: u64) -> u64 {
        const LEAST: u64 = 128 << 10;
        let bytes = match self.memory {
            ClientMemory::Bytes(bytes) => bytes,
            ClientMemory::Percent(percent) => (u128::from(max_memory_bytes) * u128::from(percent) / 100) as u64,
        };
        if bytes == 0 { 0 } else { bytes.max(LEAST) }
    }

    /// The text of `maxmemory-clients`.
    pub fn memory_text(&self) -> String {
        match self.memory {
            ClientMemory::Bytes(bytes) => bytes.to_string(),
            ClientMemory::Percent(percent) => format!("{percent}%"),
        }
    }

    /// The text of `client-output-buffer-limit`.
    pub fn output_text(&self) -> String {
        let texts = OUTPUT_CLASSES
            .iter()
            .zip(self.output)
            .map(|(class, limit)| format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_secs));
        texts.collect::<Vec<_>>().join(" ")
    }
}

fn seconds(text: &str) -> Result<u32, String> {
    let number = parse_integer(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    let most = i32::MAX as u32;
    let seconds = u32::try_from(number).ok().filter(|&seconds| seconds <= most);
    seconds.ok_or_else(|| format!("argument must be between 0 and {most} inclusive"))
}

fn query_buffer(text: &str) -> Result<u64, String> {
    let number = bytes(text).map_err(|_| "argument must be a memory value")?;
    if QUERY_BUFFER_BYTES.contains(&number) {
        return Ok(number);
    }
    let (least, most) = QUERY_BUFFER_BYTES.into_inner();
    Err(format!("argument must be between {least} and {most} inclusive"))
}

fn memory(text: &str) -> Result<ClientMemory, String> {
    const TOO_MUCH: &str = "percentage argument must be less or equal to 100";
    match bytes(text) {
        Ok(bytes) if bytes <= i64::MAX as u64 => return Ok(ClientMemory::Bytes(bytes)),
        // Redis keeps percents as numbers below zero, and takes this for one.
        Ok(_) => return Err(TOO_MUCH.to_owned()),
        Err(_) => {}
    }
    match text.strip_suffix('%').and_then(|number| parse_integer(number.as_bytes())) {
        Some(0) => Ok(ClientMemory::Bytes(0)),
        Some(percent @ 1..=100) => Ok(ClientMemory::Percent(percent as u8)),
        Some(101..) => Err(TOO_MUCH.to_owned()),
        _ => Err("argument must be a memory or percent value".to_owned()),
    }
}

fn yes_no(text: &str) -> Result<bool, String> {
    value::yes_no(&text.to_ascii_lowercase()).map_err(|_| "argument must be 'yes' or 'no'".to_owned())
}

/// Four words for each class: its name, the hard limit, the soft limit and its seconds.
fn output_limits(text: &str) -> Result<Vec<(usize, OutputLimit)>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&str> = text.split(' ').collect();
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    words.chunks(4).map(|words| Ok((output_class(words[0])?, output_limit(&words[1..])?))).collect()
}

fn output_class(name: &str) -> Result<usize, String> {
    let name = name.to_ascii_lowercase();
    let name = if name == "replica" { "slave" } else { &name };
    let place = OUTPUT_CLASSES.iter().position(|&class| class == name);
    place.ok_or_else(|| "Invalid client class specified in buffer limit configuration.".to_owned())
}

fn output_limit(words: &[&str]) -> Result<OutputLimit, String> {
    let why = || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
    let size = |text: &str| bytes(text).map_err(|_| why());
    let soft_secs = seconds(words[2]).map_err(|_| why())?;
    Ok(OutputLimit { hard_bytes: size(words[0])?, soft_bytes: size(words[1])?, soft_secs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<ClientChange, String> {
        ClientChange::read(name, value).expect("a setting of clients")
    }

    #[test]
    fn values_are_read_as_redis_reads_them() {
        assert_eq!(read("timeout", "30"), Ok(ClientChange::Idle(30)));
        assert_eq!(read("tcp-keepalive", "0"), Ok(ClientChange::KeepAlive(0)));
        assert_eq!(read("client-query-buffer-limit", "2mb"), Ok(ClientChange::QueryBuffer(2 << 20)));
        assert_eq!(read("maxmemory-clients", "5%"), Ok(ClientChange::Memory(ClientMemory::Percent(5))));
        assert_eq!(read("maxmemory-clients", "1mb"), Ok(ClientChange::Memory(ClientMemory::Bytes(1 << 20))));
        assert_eq!(read("protected-mode", "NO"), Ok(ClientChange::Protected(false)));
        let limit = |hard_bytes, soft_bytes, soft_secs| OutputLimit { hard_bytes, soft_bytes, soft_secs };
        assert_eq!(
            read("client-output-buffer-limit", "normal 1mb 2kb 3 Replica 0 0 0"),
            Ok(ClientChange::Output(vec![(0, limit(1 << 20, 2048, 3)), (1, limit(0, 0, 0))]))
        );
        assert_eq!(read("client-output-buffer-limit", ""), Ok(ClientChange::Output(vec![])));
        assert_eq!(ClientChange::read("maxclients", "1"), None);
    }

    #[test]
    fn bad_values_are_refused_in_the_words_of_redis() {
        let number = "argument couldn't be parsed into an integer";
        let range = "argument must be between 0 and 2147483647 inclusive";
        let classes = "Invalid client class specified in buffer limit configuration.";
        let limits = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        for (name, value, why) in [
            ("timeout", "x", number),
            ("timeout", "-1", range),
            ("tcp-keepalive", "2147483648", range),
            ("client-query-buffer-limit", "x", "argument must be a memory value"),
            ("client-query-buffer-limit", "1", "argument must be between 1048576 and 1073741824 inclusive"),
            ("maxmemory-clients", "x", "argument must be a memory or percent value"),
            ("maxmemory-clients", "-1", "argument must be a memory or percent value"),
            ("maxmemory-clients", "-5%", "argument must be a memory or percent value"),
            ("maxmemory-clients", "05%", "argument must be a memory or percent value"),
            ("maxmemory-clients", "9223372036854775808%", "argument must be a memory or percent value"),
            ("maxmemory-clients", "18446744073709551616", "argument must be a memory or percent value"),
            ("maxmemory-clients", "101%", "percentage argument must be less or equal to 100"),
            ("maxmemory-clients", "9223372036854775808", "percentage argument must be less or equal to 100"),
            ("maxmemory-clients", "8589934592gb", "percentage argument must be less or equal to 100"),
            ("protected-mode", "maybe", "argument must be 'yes' or 'no'"),
            ("client-output-buffer-limit", "normal 1", "Wrong number of arguments in buffer limit configuration."),
            ("client-output-buffer-limit", "master 1 2 3", classes),
            ("client-output-buffer-limit", "normal x 2 3", limits),
            ("client-output-buffer-limit", "normal 1 2 -3", limits),
        ] {
            assert_eq!(read(name, value), Err(why.to_owned()), "{name} {value}");
        }
    }
}
