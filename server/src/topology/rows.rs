//! `CLUSTER SLOTS` and `CLUSTER SHARDS`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use bytes::Bytes;
use ring::{
    member::Standing,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};

use super::{ENCODED, Encoded, HOLDERS, Holders, NOBODY, Node, Topology};
use crate::resp::{Output, Protocol, Reply};

impl Topology {
    /// `CLUSTER SLOTS` for a client that reached this node at `local`, encoded. All clients ask for it again
    /// when they are redirected, mostly at the same time, and it may be long: it is encoded once.
    pub fn encoded_slots(&self, protocol: Protocol, local: SocketAddr) -> Bytes {
        let local_matters = self.my_node().is_some_and(|node| node.meta.announce_host.is_empty());
        let wanted = (protocol, local_matters.then(|| local.ip()));
        if let Some(bytes) = self.already_encoded(wanted) {
            return bytes;
        }
        // Not under the lock: two clients may encode the same, and none waits.
        let mut output = Output::default();
        output.reply(self.slots(local), protocol);
        let bytes = output.into_bytes();
        let mut encoded = self.encoded.lock();
        if encoded.len() == ENCODED {
            encoded.remove(0);
        }
        encoded.push(Encoded { protocol: wanted.0, local: wanted.1, bytes: bytes.clone() });
        bytes
    }

    /// `CLUSTER SLOTS` for a client that reached this node at `local`.
    pub fn slots(&self, local: SocketAddr) -> Reply<'static> {
        let openings = self.openings();
        let opening_rows = openings.iter().map(|slot| {
            let [acting, ..] = self.holders[slot.index()];
            let mut alone = [NOBODY; HOLDERS];
            alone[0] = acting;
            self.slots_row(slot.number()..=slot.number(), alone, local)
        });
        let rows = self.runs(&openings).into_iter().map(|(slots, holders)| self.slots_row(slots, holders, local));
        Reply::Array(opening_rows.chain(rows).collect())
    }

    /// `CLUSTER SHARDS` for a client that reached this node at `local`: one shard per node.
    pub fn shards(&self, local: SocketAddr) -> Reply<'static> {
        let shard = |(node, slots): (&Node, Vec<RangeInclusive<u16>>)| {
            let described = self.shard_node(node, slots.is_empty(), local);
            let slots = slots.iter().flat_map(|range| [number(*range.start()), number(*range.end())]);
            Reply::Map(vec![
                (text("slots"), Reply::Array(slots.collect())),
                (text("nodes"), Reply::Array(vec![described])),
            ])
        };
        Reply::Array(self.acted_for().map(shard).collect())
    }

    fn already_encoded(&self, (protocol, local): (Protocol, Option<IpAddr>)) -> Option<Bytes> {
        let encoded = self.encoded.lock();
        let known = encoded.iter().find(|known| (known.protocol, known.local) == (protocol, local))?;
        Some(known.bytes.clone())
    }

    /// Of each node that acts for any slot the first.
    fn openings(&self) -> SlotSet {
        let mut openings = SlotSet::new(SLOTS);
        let mut has_opened = [false; NOBODY as usize];
        for slot in Slot::all() {
            let [acting, ..] = self.holders[slot.index()];
            if acting != NOBODY && !std::mem::replace(&mut has_opened[usize::from(acting)], true) {
                openings.insert(slot);
            }
        }
        openings
    }

    /// The runs of neighbouring slots that have the same holders, without the opening ones and those without holders.
    fn runs(&self, openings: &SlotSet) -> Vec<(RangeInclusive<u16>, Holders)> {
        let mut runs: Vec<(RangeInclusive<u16>, Holders)> = Vec::new();
        for slot in Slot::all() {
            let holders = self.holders[slot.index()];
            if holders[0] == NOBODY || openings.contains(slot) {
                continue;
            }
            match runs.last_mut() {
                Some((range, same)) if *same == holders && range.end() + 1 == slot.number() => {
                    *range = *range.start()..=slot.number();
                }
                _ => runs.push((slot.number()..=slot.number(), holders)),
            }
        }
        runs
    }

    fn slots_row(&self, slots: RangeInclusive<u16>, holders: Holders, local: SocketAddr) -> Reply<'static> {
        let mut row = vec![number(*slots.start()), number(*slots.end())];
        row.extend(self.row(holders).map(|node| self.slots_node(node, local)));
        Reply::Array(row)
    }

    /// Host, port, identity, and nothing more to know.
    fn slots_node(&self, node: &Node, local: SocketAddr) -> Reply<'static> {
        let told = self.told(node, local);
        let host = Reply::Text(told.host.into_owned().into());
        Reply::Array(vec![host, number(told.port), Reply::Text(node.id.to_string().into()), Reply::Map(vec![])])
    }

    /// An offset of replication is that of one copy behind another within a shard; a shard of one node has none.
    fn shard_node(&self, node: &Node, acts_for_nothing: bool, local: SocketAddr) -> Reply<'static> {
        let told = self.told(node, local);
        let health = match node.standing {
            Standing::Down | Standing::Removed | Standing::Left => "fail",
            Standing::Joining if acts_for_nothing => "loading",
            Standing::Joining | Standing::Up | Standing::Leaving => "online",
        };
        let host = || Reply::Text(told.host.to_string().into());
        let mut fields = vec![
            (text("id"), Reply::Text(node.id.to_string().into())),
            (text("port"), number(told.port)),
            (text("ip"), host()),
            (text("endpoint"), host()),
        ];
        if told.is_named() {
            fields.push((text("hostname"), host()));
        }
        fields.extend([
            (text("role"), text("master")),
            (text("replication-offset"), Reply::Integer(0)),
            (text("health"), text(health)),
        ]);
        Reply::Map(fields)
    }
}

fn text(text: &'static str) -> Reply<'static> {
    Reply::Text(text.into())
}

fn number(number: u16) -> Reply<'static> {
    Reply::Integer(number.into())
}
