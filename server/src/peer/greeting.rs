//! What a node says of itself when it meets another, and what must agree.

use bytes::Bytes;
use ring::{
    hlc::Hlc,
    id::{Incarnation, NodeId},
};

use super::{
    Refusal,
    proof::{NAME_BYTES, Name, Nonce},
    wire,
};
use crate::clock::MAX_AHEAD_MS;

/// The version of the peer protocol. Nodes of different versions refuse each other.
pub(super) const PROTOCOL: u32 = 4;

/// The longest cluster name.
const CLUSTER_LIMIT_BYTES: usize = 256;
/// The longest advertised address: the longest host name, a colon and a port.
const ADVERTISE_LIMIT_BYTES: usize = 253 + 6;
/// The longest descriptor.
const DESCRIPTOR_LIMIT_BYTES: usize = 4096;
/// The latest time that a version can have, in the year 2577.
const LAST_MS: u64 = Hlc::LAST.unix_ms();

/// One node's greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Greeting {
    pub(super) cluster: String,
    pub(super) descriptor: Bytes,
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    /// Drawn at the start of this boot.
    pub(super) boot: [u8; 16],
    pub(super) advertise: String,
    /// Whether the node has a secret.
    pub(super) secret: bool,
    pub(super) nonce: Nonce,
    /// The dialler's count of greetings; 0 from the acceptor.
    pub(super) attempt: u64,
    /// The session that the acceptor has with the dialler.
    pub(super) holds: Option<Name>,
    /// The time that the node's versions are made of.
    pub(super) version_ms: u64,
    /// What it holds the versions of others against.
    pub(super) latest_ms: u64,
}

impl Greeting {
    /// Reads what a stranger sent. Nothing larger than its limit is kept.
    pub(super) fn from_wire(hello: wire::Hello) -> Result<Greeting, Refusal> {
        if hello.protocol != PROTOCOL {
            return Err(Refusal::Protocol { ours: PROTOCOL, theirs: hello.protocol });
        }
        let greeting = Greeting {
            cluster: hello.cluster,
            descriptor: hello.descriptor,
            node: NodeId::from_bytes(array(&hello.node, "the node id has the wrong length")?),
            incarnation: Incarnation(hello.incarnation),
            boot: array(&hello.boot, "the name of the boot has the wrong length")?,
            advertise: hello.advertise,
            secret: hello.secret,
            nonce: array(&hello.nonce, "the nonce has the wrong length")?,
            attempt: hello.attempt,
            holds: if hello.holds.is_empty() {
                None
            } else {
                Some(array(&hello.holds, "the held session has the wrong length")?)
            },
            version_ms: hello.version_ms,
            latest_ms: hello.latest_ms,
        };
        greeting.check().map_err(Refusal::Malformed)?;
        Ok(greeting)
    }

    /// The greeting as it is sent.
    pub(super) fn to_wire(&self) -> wire::Hello {
        wire::Hello {
            protocol: PROTOCOL,
            cluster: self.cluster.clone(),
            descriptor: self.descriptor.clone(),
            node: Bytes::copy_from_slice(self.node.as_bytes()),
            incarnation: self.incarnation.0,
            boot: Bytes::copy_from_slice(&self.boot),
            advertise: self.advertise.clone(),
            secret: self.secret,
            nonce: Bytes::copy_from_slice(&self.nonce),
            attempt: self.attempt,
            holds: Bytes::copy_from_slice(self.holds.as_ref().map_or(&[], |name| name)),
            version_ms: self.version_ms,
            latest_ms: self.latest_ms,
        }
    }

    /// The limits, which bind this node's own greeting as well.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.cluster.len() > CLUSTER_LIMIT_BYTES {
            return Err("the cluster name is too long");
        }
        if self.descriptor.len() > DESCRIPTOR_LIMIT_BYTES {
            return Err("the cluster settings are too long");
        }
        if self.incarnation > Incarnation::MAX {
            return Err("the incarnation is out of range");
        }
        if self.version_ms > self.latest_ms || self.latest_ms > LAST_MS {
            return Err("the time is out of range");
        }
        let port = self.advertise.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let plain = self.advertise.bytes().all(|byte| byte.is_ascii_graphic());
        if self.advertise.len() > ADVERTISE_LIMIT_BYTES || !plain || port.unwrap_or(0) == 0 {
            return Err("the advertised address is not host:port");
        }
        Ok(())
    }

    /// Every claim, in a form that no other list of claims has. This is what proofs are made over.
    pub(super) fn transcript(&self) -> Vec<u8> {
        let parts: [&[u8]; 13] = [
            &PROTOCOL.to_le_bytes(),
            self.cluster.as_bytes(),
            &self.descriptor,
            self.node.as_bytes(),
            &self.incarnation.0.to_le_bytes(),
            &self.boot,
            self.advertise.as_bytes(),
            &[u8::from(self.secret)],
            &self.nonce,
            &self.attempt.to_le_bytes(),
            self.holds.as_ref().map_or(&[], |name| name),
            &self.version_ms.to_le_bytes(),
            &self.latest_ms.to_le_bytes(),
        ];
        let mut transcript = Vec::with_capacity(256);
        for part in parts {
            transcript.extend_from_slice(&(part.len() as u32).to_le_bytes());
            transcript.extend_from_slice(part);
        }
        transcript
    }

    /// What can be refused on the peer's word alone. Both sides look at the same two greetings, so both find it.
    pub(super) fn agrees_with(&self, theirs: &Greeting) -> Result<(), Refusal> {
        if self.cluster != theirs.cluster {
            return Err(Refusal::Cluster { ours: shown(&self.cluster), theirs: shown(&theirs.cluster) });
        }
        match (self.secret, theirs.secret) {
            (true, false) => return Err(Refusal::SecretMissingThere),
            (false, true) => return Err(Refusal::SecretMissingHere),
            _ => {}
        }
        if self.descriptor != theirs.descriptor {
            let text = |descriptor: &[u8]| shown(&String::from_utf8_lossy(descriptor));
            return Err(Refusal::Descriptor { ours: text(&self.descriptor), theirs: text(&theirs.descriptor) });
        }
        self.is_in_time_with(theirs)
    }

    /// Whether each side's versions would be taken in by the other.
    fn is_in_time_with(&self, theirs: &Greeting) -> Result<(), Refusal> {
        let by_ms = theirs.version_ms.saturating_sub(self.latest_ms);
        if by_ms > MAX_AHEAD_MS {
            return Err(Refusal::ClockAhead { by_ms });
        }
        let by_ms = self.version_ms.saturating_sub(theirs.latest_ms);
        if by_ms > MAX_AHEAD_MS {
            return Err(Refusal::ClockBehind { by_ms });
        }
        Ok(())
    }

    /// Whether the other is this very boot, reached through an address of its own.
    pub(super) fn is_mirrored_by(&self, theirs: &Greeting) -> bool {
        self.node == theirs.node && self.boot == theirs.boot
    }

    /// What is believed only from a peer that has proved itself, because it may end this node.
    pub(super) fn differs_in_identity(&self, theirs: &Greeting) -> Result<(), Refusal> {
        if self.node == theirs.node {
            let (ours, theirs) = (self.incarnation, theirs.incarnation);
            return Err(Refusal::SameIdentity { node: self.node, ours, theirs });
        }
        Ok(())
    }
}

/// A stranger's text for a log: printable, and not longer than a line.
fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(120).collect();
    if text.escape_debug().nth(120).is_some() {
        shown.push('…');
    }
    shown
}

fn array<const N: usize>(bytes: &[u8], wrong: &'static str) -> Result<[u8; N], Refusal> {
    bytes.try_into().map_err(|_| Refusal::Malformed(wrong))
}

/// A name as it came, if it can be one.
pub(super) fn name(bytes: &[u8]) -> Option<Name> {
    <[u8; NAME_BYTES]>::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn greeting() -> Greeting {
        Greeting {
            cluster: "a".to_owned(),
            descriptor: Bytes::from_static(b"replicas=2"),
            node: NodeId::from_seed(1),
            incarnation: Incarnation(7),
            boot: [3; 16],
            advertise: "node-1:7946".to_owned(),
            secret: true,
            nonce: [4; 32],
            attempt: 5,
            holds: Some([6; 16]),
            version_ms: NOW,
            latest_ms: NOW + 1,
        }
    }

    fn changed(change: impl FnOnce(&mut Greeting)) -> Greeting {
        let mut greeting = greeting();
        change(&mut greeting);
        greeting
    }

    #[test]
    fn it_is_read_as_it_is_sent() {
        for greeting in [greeting(), changed(|greeting| greeting.holds = None)] {
            assert_eq!(Greeting::from_wire(greeting.to_wire()), Ok(greeting));
        }
    }

    #[test]
    fn each_claim_is_part_of_what_is_proved() {
        for other in [
            changed(|greeting| greeting.cluster.push('b')),
            changed(|greeting| greeting.descriptor = Bytes::new()),
            changed(|greeting| greeting.node = NodeId::from_seed(2)),
            changed(|greeting| greeting.incarnation.0 += 1),
            changed(|greeting| greeting.boot[0] += 1),
            changed(|greeting| greeting.advertise = "node-2:7946".to_owned()),
            changed(|greeting| greeting.secret = false),
            changed(|greeting| greeting.nonce[0] += 1),
            changed(|greeting| greeting.attempt += 1),
            changed(|greeting| greeting.holds = None),
            changed(|greeting| greeting.version_ms -= 1),
            changed(|greeting| greeting.latest_ms += 1),
        ] {
            assert_ne!(other.transcript(), greeting().transcript(), "{other:?}");
        }
    }

    #[test]
    fn a_greeting_out_of_bounds_is_refused() {
        let sent = |change: fn(&mut wire::Hello)| {
            let mut hello = greeting().to_wire();
            change(&mut hello);
            Greeting::from_wire(hello).unwrap_err().to_string()
        };
        assert_eq!(
            sent(|hello| hello.protocol = 9),
            format!("speaks version 9 of the peer protocol, this node speaks {PROTOCOL}")
        );
        for (change, complaint) in [
            (
                (|hello| hello.node = Bytes::from_static(b"short")) as fn(&mut wire::Hello),
                "the node id has the wrong length",
            ),
            (|hello| hello.boot = Bytes::new(), "the name of the boot has the wrong length"),
            (|hello| hello.nonce = Bytes::from(vec![0; 33]), "the nonce has the wrong length"),
            (|hello| hello.holds = Bytes::from(vec![0; 15]), "the held session has the wrong length"),
            (|hello| hello.cluster = "c".repeat(257), "the cluster name is too long"),
            (|hello| hello.descriptor = Bytes::from(vec![0; 4097]), "the cluster settings are too long"),
            (|hello| hello.incarnation = u64::MAX, "the incarnation is out of range"),
            (|hello| hello.latest_ms = NOW - 1, "the time is out of range"),
            (|hello| hello.latest_ms = u64::MAX, "the time is out of range"),
            (|hello| hello.advertise = String::new(), "the advertised address is not host:port"),
            (|hello| hello.advertise = "host".to_owned(), "the advertised address is not host:port"),
            (|hello| hello.advertise = "host:0".to_owned(), "the advertised address is not host:port"),
            (|hello| hello.advertise = "ho st:1".to_owned(), "the advertised address is not host:port"),
            (|hello| hello.advertise = format!("{}:1", "h".repeat(300)), "the advertised address is not host:port"),
        ] {
            assert_eq!(sent(change), format!("broke the peer protocol: {complaint}"));
        }
    }

    #[test]
    fn what_differs_is_said_to_the_operator() {
        let refused = |change: fn(&mut Greeting)| greeting().agrees_with(&changed(change)).unwrap_err().to_string();
        assert_eq!(refused(|theirs| theirs.cluster = "b\n".to_owned()), "is of cluster `b\\n`, this node is of `a`");
        assert_eq!(refused(|theirs| theirs.secret = false), "has no cluster secret, this node has one");
        assert_eq!(
            refused(|theirs| theirs.descriptor = Bytes::from_static(b"replicas=3")),
            "has cluster settings `replicas=3`, this node has `replicas=2`: they must be equal on all nodes"
        );
        let long = refused(|theirs| theirs.cluster = "\u{1}".repeat(256));
        assert!(long.len() < 200, "{long}");
        assert_eq!(greeting().agrees_with(&changed(|theirs| theirs.node = NodeId::from_seed(2))), Ok(()));
    }

    /// A greeting of a node whose versions are made of one time and which holds those of others against another one.
    fn at(version_ms: u64, latest_ms: u64) -> Greeting {
        changed(|greeting| (greeting.version_ms, greeting.latest_ms) = (version_ms, latest_ms))
    }

    #[test]
    fn clocks_that_are_more_than_a_day_apart_are_a_reason_for_both() {
        let (here, there) = (at(NOW, NOW), at(NOW + 2 * DAY_MS - 1, NOW + 2 * DAY_MS - 1));
        assert_eq!(
            here.agrees_with(&there).unwrap_err().to_string(),
            "has a clock 2 days ahead of this node's, and 24 h are allowed: set the one that is wrong and start its node again"
        );
        let behind = there.agrees_with(&here).unwrap_err().to_string();
        assert!(behind.starts_with("has a clock 2 days behind this node's, and 24 h are allowed"), "{behind}");
        let hours = here.agrees_with(&at(NOW + DAY_MS + 1, NOW + DAY_MS + 1)).unwrap_err().to_string();
        assert!(hours.starts_with("has a clock 24 h ahead"), "{hours}");
        assert_eq!(here.agrees_with(&at(NOW + DAY_MS, NOW + DAY_MS)), Ok(()));
        let (first, last) = (at(0, 0), at(LAST_MS, LAST_MS));
        assert!(first.agrees_with(&last).is_err() && last.agrees_with(&first).is_err());
    }

    #[test]
    fn a_node_whose_versions_lag_behind_and_whose_clock_is_right_is_met() {
        let (slept, usual) = (at(NOW - 9 * DAY_MS, NOW), at(NOW, NOW));
        assert_eq!((slept.agrees_with(&usual), usual.agrees_with(&slept)), (Ok(()), Ok(())));
    }

    #[test]
    fn the_same_boot_is_oneself_and_another_with_the_same_id_is_not() {
        let clone = changed(|theirs| theirs.boot[0] += 1);
        assert!(greeting().is_mirrored_by(&greeting()) && !greeting().is_mirrored_by(&clone));
        let same = greeting().differs_in_identity(&clone).unwrap_err().to_string();
        assert!(same.ends_with("incarnation 7 (here: 7): two running nodes share one identity"), "{same}");
        assert_eq!(greeting().differs_in_identity(&changed(|theirs| theirs.node = NodeId::from_seed(2))), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            use prost::Message;
            if let Ok(hello) = wire::Hello::decode(&bytes[..]) {
                let _ = Greeting::from_wire(hello);
            }
        }
    }
}
