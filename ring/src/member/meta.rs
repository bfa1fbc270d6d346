//! What a node says about itself once: its names and addresses, and what the cluster must agree on.
//!
//! ```text
//! meta        u16 format · text name · text version · text host · 4 × u16 port · text announce host
//!             2 × u16 announce port · text zone · u32 weight · u64 joined · descriptor
//! text        u8 length · UTF-8
//! descriptor  u8 replicas · u16 slots · u16 vnodes · u16 headroom · u8 partition
//! ```

use alloc::{string::String, vec::Vec};

use crate::{
    codec::{Malformed, Reader},
    slot::SLOTS,
};

/// How long a name, a host or a zone is at most: a host name of the DNS has up to 253 characters.
pub const MAX_TEXT_BYTES: usize = 255;

/// How heavy a node is at most. A node has 256 tokens per unit, and all tokens of a ring are sorted in memory.
pub const MAX_WEIGHT: u32 = crate::table::MAX_WEIGHT;

/// What a node says about itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Meta {
    /// The node's name, for people.
    pub name: String,
    /// The version of its program, for people.
    pub version: String,
    /// The host under which other nodes reach it.
    pub host: String,
    /// The port for any client.
    pub port: u16,
    /// The port for clients that know the cluster.
    pub cluster_port: u16,
    /// The port for other nodes.
    pub peer_port: u16,
    /// The port for people and monitoring.
    pub admin_port: u16,
    /// The host that clients are told; empty where they are told what they reached a node by.
    pub announce_host: String,
    /// The port that clients are told, 0 if it is `port`.
    pub announce_port: u16,
    /// The cluster port that clients are told, 0 if it is `cluster_port`.
    pub announce_cluster_port: u16,
    /// Copies of one slot go to different zones where there are enough.
    pub zone: String,
    /// The node's share, in units.
    pub weight: u32,
    /// When the node joined, in milliseconds since the Unix epoch. The member that joined first speaks the verdicts.
    pub joined_unix_ms: u64,
    /// What it holds to be the shape of the cluster.
    pub descriptor: Descriptor,
}

/// What must be the same on every node: with other values it would compute other owners for the same slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Descriptor {
    /// The version of the formats on the wire.
    pub format: u16,
    /// Copies of each slot.
    pub replicas: u8,
    /// How many slots the ring has.
    pub slots: u16,
    /// Tokens per unit of weight.
    pub vnodes: u16,
    /// How far above its share a node is loaded, in thousandths of the share.
    pub headroom: u16,
    /// Who goes on when the network splits.
    pub partition: Partition,
}

/// Who goes on when the network splits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Partition {
    /// Every side: what both write is merged when they meet, of two versions of a value the later one stays.
    #[default]
    Available,
    /// The side that has more than half of all members, those that were given up included until they are forgotten.
    Majority,
}

impl Partition {
    /// All policies.
    pub const ALL: [Partition; 2] = [Partition::Available, Partition::Majority];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Partition::Available => "available",
            Partition::Majority => "majority",
        }
    }
}

impl Meta {
    /// Appends it. Texts above [`MAX_TEXT_BYTES`] are cut; the configuration refuses them before.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u16(out, self.descriptor.format);
        [&self.name, &self.version, &self.host].iter().for_each(|text| put_text(out, text));
        [self.port, self.cluster_port, self.peer_port, self.admin_port].iter().for_each(|&port| put_u16(out, port));
        put_text(out, &self.announce_host);
        [self.announce_port, self.announce_cluster_port].iter().for_each(|&port| put_u16(out, port));
        put_text(out, &self.zone);
        out.extend_from_slice(&self.weight.to_le_bytes());
        out.extend_from_slice(&self.joined_unix_ms.to_le_bytes());
        out.push(self.descriptor.replicas);
        [self.descriptor.slots, self.descriptor.vnodes, self.descriptor.headroom].iter().for_each(|&n| put_u16(out, n));
        out.push(self.descriptor.partition as u8);
    }

    /// Reads it and checks that a table can be computed from it.
    pub fn decode(bytes: &[u8]) -> Result<Meta, Malformed> {
        let reader = &mut Reader(bytes);
        let format = reader.u16()?;
        // Fields are read in the order in which they stand here, which is the order on the wire.
        let meta = Meta {
            name: text(reader)?,
            version: text(reader)?,
            host: text(reader)?,
            port: reader.u16()?,
            cluster_port: reader.u16()?,
            peer_port: reader.u16()?,
            admin_port: reader.u16()?,
            announce_host: text(reader)?,
            announce_port: reader.u16()?,
            announce_cluster_port: reader.u16()?,
            zone: text(reader)?,
            weight: reader.u32()?,
            joined_unix_ms: reader.u64()?,
            descriptor: Descriptor {
                format,
                replicas: reader.u8()?,
                slots: reader.u16()?,
                vnodes: reader.u16()?,
                headroom: reader.u16()?,
                partition: partition(reader)?,
            },
        };
        reader.end()?;
        meta.check()
    }

    fn check(self) -> Result<Meta, Malformed> {
        match &self {
            meta if meta.weight == 0 || meta.weight > MAX_WEIGHT => Err(Malformed("weight out of range")),
            meta if meta.descriptor.replicas == 0 => Err(Malformed("no replicas")),
            meta if meta.descriptor.vnodes == 0 => Err(Malformed("no vnodes")),
            meta if meta.descriptor.slots == 0 || usize::from(meta.descriptor.slots) > SLOTS => {
                Err(Malformed("number of slots out of range"))
            }
            _ => Ok(self),
        }
    }
}

fn partition(reader: &mut Reader<'_>) -> Result<Partition, Malformed> {
    let number = usize::from(reader.u8()?);
    Partition::ALL.get(number).copied().ok_or(Malformed("unknown policy for partitions"))
}

fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let len = usize::from(reader.u8()?);
    let text = core::str::from_utf8(reader.take(len)?).map_err(|_| Malformed("text is not UTF-8"))?;
    // Texts end up in replies, logs and metrics, line by line.
    if text.chars().any(char::is_control) { Err(Malformed("control character in a text")) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    fn meta() -> impl Strategy<Value = Meta> {
        let text = || "[a-z.é-]{0,40}";
        let names = (text(), text(), text(), text(), text());
        let policy = (1u16.., prop::sample::select(&Partition::ALL[..]));
        (names, any::<[u16; 6]>(), 1..=MAX_WEIGHT, any::<u64>(), 1u8.., 1..=SLOTS as u16, any::<[u16; 2]>(), policy)
            .prop_map(
                |(
                    (name, version, host, announce_host, zone),
                    ports,
                    weight,
                    joined_unix_ms,
                    replicas,
                    slots,
                    [format, headroom],
                    (vnodes, partition),
                )| Meta {
                    name,
                    version,
                    host,
                    port: ports[0],
                    cluster_port: ports[1],
                    peer_port: ports[2],
                    admin_port: ports[3],
                    announce_host,
                    announce_port: ports[4],
                    announce_cluster_port: ports[5],
                    zone,
                    weight,
                    joined_unix_ms,
                    descriptor: Descriptor { format, replicas, slots, vnodes, headroom, partition },
                },
            )
    }

    proptest! {
        #[test]
        fn a_meta_is_read_as_it_was_written_and_never_half(meta in meta(), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            meta.encode(&mut bytes);
            prop_assert_eq!(Meta::decode(&bytes), Ok(meta));
            prop_assert!(Meta::decode(&bytes[..cut.index(bytes.len())]).is_err());
        }

        #[test]
        fn noise_is_refused_or_checked(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(meta) = Meta::decode(&bytes) {
                prop_assert!(meta.weight > 0 && meta.descriptor.vnodes > 0);
            }
        }

        #[test]
        fn a_long_text_is_cut_between_characters(len in 250usize..260) {
            let mut bytes = Vec::new();
            put_text(&mut bytes, &format!("{}é", "x".repeat(len)));
            prop_assert!(text(&mut Reader(&bytes)).is_ok());
        }
    }
}
