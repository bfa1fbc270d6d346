//! How each kind of value is read. An error says what would be right; the value itself is named by the caller.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
    time::Duration,
};

/// No time in the configuration is longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Longest host name, as DNS has it.
const HOST_LIMIT_BYTES: usize = 253;

/// A host and a port on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A whole number in a range.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let why = || format!("must be a number from {} to {}", range.start(), range.end());
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten().ok_or_else(why)?;
    if range.contains(&number) { Ok(number) } else { Err(why()) }
}

/// A port to listen on; 0 means any free one.
pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, 0..=65535).map(|port| port as u16)
}

/// A port that someone is told.
pub(super) fn told_port(text: &str) -> Result<u16, String> {
    number(text, 1..=65535).map(|port| port as u16)
}

/// `yes` or `no`.
pub(super) fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("must be yes or no".to_owned()),
    }
}

/// A number of bytes, with the units of Redis: `k` is 1000, `kb` is 1024, and so on.
pub fn bytes(text: &str) -> Result<u64, String> {
    let why = || "must be a size such as 0, 100mb or 2gb".to_owned();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(why()),
    };
    if digits.is_empty() {
        return Err(why());
    }
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "is more than 64 bits can count".to_owned())
}

/// A time such as `500ms`, `30s`, `2m`; only zero needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let why = || "must be a time such as 500ms, 30s or 2m".to_owned();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let number: u64 = digits.parse().map_err(|_| why())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if number == 0 => 1,
        _ => return Err(why()),
    };
    let time = Duration::from_millis(number.saturating_mul(unit_ms));
    if time > LONGEST { Err("must be at most 24h".to_owned()) } else { Ok(time) }
}

/// An address to bind to.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "must be an IPv4 or IPv6 address such as 0.0.0.0 or ::".to_owned())
}

/// A name or address of a host.
pub(super) fn host(text: &str) -> Result<String, String> {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = !text.is_empty() && text.len() <= HOST_LIMIT_BYTES && text.bytes().all(name);
    if is_name || text.parse::<Ipv6Addr>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("must be a host name or an address".to_owned())
}

/// `host:port`, `[v6]:port`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let why = || "must be host:port".to_owned();
    let (host_part, port_part) = text.rsplit_once(':').ok_or_else(why)?;
    let bracketed = host_part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.is_none() && host_part.contains(':') {
        return Err("must have its IPv6 address in brackets, as [::1]:7946".to_owned());
    }
    Ok(Endpoint { host: host(bracketed.unwrap_or(host_part)).map_err(|_| why())?, port: told_port(port_part)? })
}

/// `host` or `host:port`.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    if let Ok(host) = host(text) {
        return Ok((host, None));
    }
    endpoint(text).map(|endpoint| (endpoint.host, Some(endpoint.port)))
}

/// Endpoints with commas between them; none is fine.
pub(super) fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(|one| endpoint(one.trim()).map_err(|why| format!("each {why}"))).collect()
}

/// A short name that goes into logs, metrics and messages to peers.
pub(super) fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("must be 1 to 64 letters, digits, dots, dashes or underscores".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_the_units_of_redis() {
        let cases = [("0", 0), ("7", 7), ("7b", 7), ("2k", 2000), ("2kb", 2048), ("3M", 3_000_000), ("3MB", 3 << 20)];
        for (text, bytes_wanted) in cases.into_iter().chain([("1g", 1_000_000_000), ("64gb", 64 << 30)]) {
            assert_eq!(bytes(text), Ok(bytes_wanted), "{text}");
        }
        for text in ["", "mb", "-1", "1.5gb", "1 mb", "10q", "1kbb", "18446744073709551616", "18014398509481984kb"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        let cases = [("0", 0), ("0s", 0), ("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("24h", 86_400_000)];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1.5s", "25h", "30 s", "30sec", "18446744073709551615h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        for text in ["node:7946", "10.0.0.1:1", "[::1]:65535", "a_b-c.example:80"] {
            assert_eq!(endpoint(text).map(|endpoint| endpoint.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "node", ":7946", "node:", "node:0", "node:65536", "::1:7946", "[::1]", "a b:1", "a/b:1"] {
            assert!(endpoint(text).is_err(), "{text}");
        }
        assert_eq!(host_and_port("::1"), Ok(("::1".to_owned(), None)));
        assert_eq!(host_and_port("[::1]:8"), Ok(("::1".to_owned(), Some(8))));
        assert_eq!(host_and_port("a.b"), Ok(("a.b".to_owned(), None)));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in any::<String>()) {
            let _ = (bytes(&text), duration(&text), endpoints(&text), host_and_port(&text), name(&text));
            let _ = (number(&text, 0..=9), yes_no(&text), address(&text));
        }
    }
}
