//! The address of a node, as a client is told.

use std::{borrow::Cow, fmt, net::IpAddr};

use ring::member::Meta;

/// What Redis says where it knows no host.
const UNKNOWN: &str = "?";

/// The address of a node, as a client is told: always the port for cluster-aware clients, since nobody else asks.
///
/// It prints as Redis prints it, an IPv6 address without brackets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told<'a> {
    pub(super) host: Cow<'a, str>,
    pub(super) port: u16,
}

impl<'a> Told<'a> {
    /// What is announced comes first. Else this node is what the client `reached` it by, which is right behind any name
    /// and on any of its networks, and another one is what it advertises to its peers.
    pub(super) fn of(meta: &'a Meta, reached: Option<IpAddr>) -> Told<'a> {
        let port = if meta.announce_cluster_port == 0 { meta.cluster_port } else { meta.announce_cluster_port };
        let host = match reached {
            _ if !meta.announce_host.is_empty() => checked(&meta.announce_host),
            Some(reached) => reached.to_canonical().to_string().into(),
            None => checked(&meta.host),
        };
        Told { host, port }
    }

    /// Whether the host is a name and not an address.
    pub(super) fn is_named(&self) -> bool {
        self.host != UNKNOWN && self.host.parse::<IpAddr>().is_err()
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A peer says its host itself, and a space or a line break in it would give the lines of `CLUSTER NODES` a meaning that
/// nobody wrote.
fn checked(host: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'%');
    let is_host = !host.is_empty() && host.bytes().all(is_plain);
    Cow::Borrowed(if is_host { host } else { UNKNOWN })
}
