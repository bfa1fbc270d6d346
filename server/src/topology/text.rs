//! `CLUSTER INFO` and `CLUSTER NODES`.

use std::{
    collections::BTreeSet,
    fmt::{self, Write},
    net::SocketAddr,
};

use ring::{member::Standing, slot::Slot};

use super::{Node, Topology};

/// Slots by whether their acting node can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counted {
    /// Somebody holds it.
    assigned: usize,
    /// This node is connected to who acts for it, or acts itself.
    ok: usize,
    /// This node cannot reach who acts for it; others may.
    suspect: usize,
    /// A majority gave up who acts for it.
    failed: usize,
}

impl Topology {
    /// `CLUSTER INFO`.
    pub fn info(&self) -> String {
        let counted = self.count();
        let is_ok = counted.assigned == Slot::all().len() && counted.failed == 0 && !self.is_down;
        let masters: BTreeSet<_> =
            Slot::all().filter_map(|slot| self.holders(slot).next()).map(|node| node.id).collect();
        let epoch = self.epoch.height.bits();
        let mut text = String::new();
        let mut add = |name: &str, value: &dyn fmt::Display| {
            // Writing to a string cannot fail.
            let _ = write!(text, "cluster_{name}:{value}\r\n");
        };
        add("state", &if is_ok { "ok" } else { "fail" });
        add("slots_assigned", &counted.assigned);
        add("slots_ok", &counted.ok);
        add("slots_pfail", &counted.suspect);
        add("slots_fail", &counted.failed);
        add("known_nodes", &self.nodes.len());
        add("size", &masters.len());
        add("current_epoch", &epoch);
        add("my_epoch", &epoch);
        if let Some(messages) = self.messages {
            add("stats_messages_sent", &messages.sent);
            add("stats_messages_received", &messages.received);
        }
        text
    }

    /// `CLUSTER NODES` for a client that reached this node at `local`: one line per node, with the slots that it acts
    /// for. All nodes share one epoch, and nobody pings by itself: the heartbeats run on streams that are always open.
    pub fn nodes_text(&self, local: SocketAddr) -> String {
        let mut text = String::new();
        for (node, runs) in self.acted_for() {
            let (told, bus) = (self.told(node, local), node.meta.peer_port);
            let hostname = if told.is_named() { format!(",{}", told.host) } else { String::new() };
            let (id, flags, epoch) = (node.id, self.flags(node), self.epoch.height.bits());
            let link = if self.is_linked(node) { "connected" } else { "disconnected" };
            let _ = write!(text, "{id} {told}@{bus}{hostname} {flags} - 0 0 {epoch} {link}");
            for slots in runs {
                let _ = match (slots.start(), slots.end()) {
                    (first, last) if first == last => write!(text, " {first}"),
                    (first, last) => write!(text, " {first}-{last}"),
                };
            }
            text.push('\n');
        }
        text
    }

    fn flags(&self, node: &Node) -> &'static str {
        match node.standing {
            _ if node.id == self.me => "myself,master",
            Standing::Down | Standing::Removed | Standing::Left => "master,fail",
            _ if !node.is_connected => "master,fail?",
            Standing::Joining | Standing::Up | Standing::Leaving => "master",
        }
    }

    fn is_linked(&self, node: &Node) -> bool {
        node.id == self.me || node.is_connected
    }

    fn count(&self) -> Counted {
        let mut counted = Counted::default();
        for acting in Slot::all().filter_map(|slot| self.holders(slot).next()) {
            counted.assigned += 1;
            match () {
                () if acting.id != self.me && !acting.standing.is_live() => counted.failed += 1,
                () if !self.is_linked(acting) => counted.suspect += 1,
                () => counted.ok += 1,
            }
        }
        counted
    }
}
