//! What operators ask about the cluster, and any node answers for all: `CLUSTER EXPLAIN`, `FRESHNESS` and `PLAN`.
//!
//! Each node is asked how it stands, all at the same time; one that does not answer is named. The answers are of slightly
//! different moments, so a copy that is a few effects behind another one is nothing unusual while there are writes. Nothing is
//! changed by any of this.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use ring::{
    describe,
    id::NodeId,
    plan::Plan,
    replica::Role,
    slot::{SLOTS, Slot},
    table::{Placed, Table},
};

use super::Router;
use crate::{
    command::Later,
    forward::{
        Asked,
        tell::{LagTold, Question, decode_copy, decode_lags, decode_sizes, encode_copy, encode_lags, encode_sizes},
    },
    resp::{Output, Reply},
    store::CopyFigures,
    types::Database,
};

/// A change of the cluster that is only thought of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// So many nodes of weight 1 join, in this zone, or in that of the node that is asked.
    Join(u16, Option<String>),
    /// These nodes leave.
    Leave(Vec<NodeId>),
}

const NO_RING: Reply<'static> = Reply::error("ERR this node knows no ring yet");

impl Router {
    /// Answers another node.
    pub(crate) fn tell_here(&self, slot: Slot, question: &Question, out: &mut Output) {
        match question {
            Question::Copy(name) => encode_copy(&self.copy_here(slot, name), out),
            Question::Sizes => encode_sizes(&self.store.acting_bytes(), out),
            Question::Lags => encode_lags(&self.lags_here(), out),
        }
    }

    fn copy_here(&self, slot: Slot, name: &[u8]) -> CopyFigures {
        self.store.copy_figures(slot, name, self.services.clock.unix_ms())
    }

    fn lags_here(&self) -> Vec<LagTold> {
        let topology = self.services.topology.current();
        let peers: BTreeMap<NodeId, _> = self.cluster.audits.peers().into_iter().map(|(peer, id)| (id, peer)).collect();
        let now_us = self.services.clock.monotonic_us();
        let acks = &self.cluster.acks;
        let others = topology.nodes().iter().map(|node| node.id).filter(|&id| id != topology.me());
        let lag = |node: NodeId| {
            let peer = peers.get(&node).copied();
            let waiting = |peer| self.store.lane_bytes(peer) as u64 + acks.on_their_way_bytes(peer);
            let seen = peer.map(|peer| acks.lags().look(peer, now_us)).unwrap_or_default();
            LagTold {
                node,
                is_connected: peer.is_some(),
                waiting_bytes: peer.map_or(0, waiting),
                batches: seen.batches as u64,
                p50_us: seen.p50_us,
                p99_us: seen.p99_us,
                max_us: seen.max_us,
                oldest_us: seen.oldest_us,
            }
        };
        others.map(lag).collect()
    }

    /// Asks every node of the cluster; this one answers for itself. None where nothing was answered.
    async fn ask_everybody<T>(
        &self,
        client: u64,
        slot: Slot,
        question: Question,
        here: impl FnOnce() -> T,
        read: impl Fn(&bytes::Bytes) -> Option<T>,
    ) -> Vec<(NodeId, Option<T>)> {
        let topology = self.services.topology.current();
        let peers = self.cluster.audits.peers();
        let others = topology.nodes().iter().filter(|node| node.id != topology.me());
        let asks = others.map(async |node| {
            let peer = peers.iter().find(|(_, id)| *id == node.id);
            let told = match peer {
                None => None,
                Some(&(peer, _)) => match self.ask_tell(peer, client, slot, &question).await {
                    Asked::Answered(body) => read(&body),
                    Asked::Failed | Asked::Lost => None,
                },
            };
            (node.id, told)
        });
        let mut told = futures_util::future::join_all(asks).await;
        told.push((topology.me(), Some(here())));
        told.sort_by_key(|(node, _)| *node);
        told
    }

    /// Where a key is, who acts for it, and what each copy has of it.
    pub(crate) fn explain(self: &Arc<Self>, client: u64, database: Database, key: &[u8]) -> Later {
        let (router, slot) = (self.clone(), Slot::of(key));
        let name: bytes::Bytes = database.name(key).to_vec().into();
        Box::pin(async move {
            let here = || router.copy_here(slot, &name);
            let question = Question::Copy(name.clone());
            let copies = router.ask_everybody(client, slot, question, here, |body| decode_copy(body).ok()).await;
            let topology = router.services.topology.current();
            let targets: Vec<_> = topology.table().map(|table| table.owners(slot).collect()).unwrap_or_default();
            Reply::Verbatim(explained(slot, &targets, &copies, router.services.clock.unix_ms()))
        })
    }

    /// How long effects are on their way, for each pair of nodes.
    pub(crate) fn freshness(self: &Arc<Self>, client: u64) -> Later {
        let router = self.clone();
        Box::pin(async move {
            let (slot, here) = (crate::forward::FIRST_SLOT, || router.lags_here());
            let told = router.ask_everybody(client, slot, Question::Lags, here, |body| decode_lags(body).ok()).await;
            Reply::Verbatim(freshness(&told))
        })
    }

    /// What would move if the cluster changed so.
    pub(crate) fn plan(self: &Arc<Self>, client: u64, change: Change) -> Later {
        let router = self.clone();
        Box::pin(async move {
            let topology = router.services.topology.current();
            let Some(before) = topology.table() else { return NO_RING };
            let here = topology.my_node().map_or("", |node| node.meta.zone.as_str());
            let nodes = match changed(before.nodes(), &change, here) {
                Ok(nodes) => nodes,
                Err(unknown) => return Reply::Error(format!("ERR Unknown node {unknown}").into()),
            };
            let after = Table::compute(&nodes, before.settings());
            let (slot, here) = (crate::forward::FIRST_SLOT, || router.store.acting_bytes());
            let told = router.ask_everybody(client, slot, Question::Sizes, here, |body| decode_sizes(body).ok()).await;
            let mut sizes = vec![0; SLOTS];
            for told in told.iter().filter_map(|(_, told)| told.as_ref()) {
                sizes.iter_mut().zip(told).for_each(|(size, more): (&mut u64, _)| *size = size.saturating_add(*more));
            }
            let silent = told.iter().filter(|(_, told)| told.is_none()).map(|(node, _)| *node).collect::<Vec<_>>();
            Reply::Verbatim(planned(before, &after, &sizes, &silent))
        })
    }
}

fn changed(nodes: &[Placed], change: &Change, zone_here: &str) -> Result<Vec<Placed>, NodeId> {
    match change {
        Change::Join(count, zone) => {
            // Identities of nodes that are not there yet: any will do, they are spread alike.
            let new = (1..=u64::from(*count)).map(|number| NodeId::from_seed(u64::MAX - number));
            let zone = zone.as_deref().unwrap_or(zone_here);
            let new = new.map(|id| Placed { id, zone: zone.to_owned(), weight: 1 });
            Ok(nodes.iter().cloned().chain(new).collect())
        }
        Change::Leave(leaving) => {
            let is_known = |id: &&NodeId| nodes.iter().any(|node| node.id == **id);
            match leaving.iter().find(|id| !is_known(id)) {
                Some(unknown) => Err(*unknown),
                None => Ok(nodes.iter().filter(|node| !leaving.contains(&node.id)).cloned().collect()),
            }
        }
    }
}

fn planned(before: &Table, after: &Table, sizes: &[u64], silent: &[NodeId]) -> String {
    let plan = Plan::between(before, after);
    let mut text = String::from("nothing is changed by this\n\nbefore: ");
    text += &describe::table(before);
    text += "\nafter: ";
    text += &describe::table(after);
    // Writing to a string cannot fail.
    let _ = write!(text, "\n{}", describe::plan(&plan));
    let _ = writeln!(text, "{} bytes to move", plan.bytes(|slot| sizes[slot.index()]));
    for node in silent {
        let _ = writeln!(text, "{node} does not say how large its slots are");
    }
    text
}

fn freshness(told: &[(NodeId, Option<Vec<LagTold>>)]) -> String {
    let all = || told.iter().flat_map(|(from, lags)| lags.iter().flatten().map(move |lag| (from, lag)));
    let mut text = String::new();
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "freshness_{name}:{value}\r\n");
    };
    add("nodes", &told.len());
    add("nodes_silent", &told.iter().filter(|(_, lags)| lags.is_none()).count());
    add("p99_us", &all().map(|(_, lag)| lag.p99_us).max().unwrap_or(0));
    add("oldest_us", &all().map(|(_, lag)| lag.oldest_us).max().unwrap_or(0));
    for (from, lag) in all() {
        let LagTold { node, is_connected, waiting_bytes, batches, p50_us, p99_us, max_us, oldest_us } = lag;
        let connected = u8::from(*is_connected);
        add(
            "lane",
            &format_args!(
                "from={from},to={node},connected={connected},unacknowledged_bytes={waiting_bytes},oldest_us={oldest_us},\
             batches={batches},p50_us={p50_us},p99_us={p99_us},max_us={max_us}"
            ),
        );
    }
    for (node, _) in told.iter().filter(|(_, lags)| lags.is_none()) {
        add("silent", node);
    }
    text
}

fn explained(slot: Slot, targets: &[NodeId], copies: &[(NodeId, Option<CopyFigures>)], now_ms: u64) -> String {
    let names = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    let held = || copies.iter().filter_map(|(node, copy)| Some((*node, copy.as_ref()?)));
    let acting: Vec<NodeId> = held().filter(|(_, copy)| copy.role == Role::Acting).map(|(node, _)| node).collect();
    let reference = held().find(|(_, copy)| copy.role == Role::Acting).map(|(_, copy)| copy);
    let mut text = String::new();
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "explain_{name}:{value}\r\n");
    };
    add("slot", &slot);
    add("targets", &names(targets));
    add("acting", &names(&acting));
    for (node, copy) in held().filter(|(_, copy)| copy.role != Role::Absent) {
        let (keys, bytes, origins) = (copy.keys, copy.bytes, copy.seen.len());
        let compared = reference.map_or("unknown", |reference| compared(copy, reference));
        let role = format!("{:?}", copy.role).to_lowercase();
        let mut line =
            format!("node={node},role={role},compared={compared},keys={keys},bytes={bytes},origins={origins}");
        if let Some(entry) = &copy.entry {
            let ttl_ms = match entry.deadline {
                0 => "-1".to_owned(),
                deadline => deadline.saturating_sub(now_ms).to_string(),
            };
            let _ = write!(
                line,
                ",version={:?}@{:016x},value_bytes={},ttl_ms={ttl_ms},idle_seconds={}",
                entry.hlc, entry.origin.0, entry.value_bytes, entry.idle_seconds
            );
            if let Some(frequency) = entry.frequency {
                let _ = write!(line, ",frequency={frequency}");
            }
        }
        add("copy", &line);
    }
    for (node, _) in copies.iter().filter(|(_, copy)| copy.is_none()) {
        add("silent", node);
    }
    text
}

/// How a copy stands to that of who acts.
fn compared(copy: &CopyFigures, reference: &CopyFigures) -> &'static str {
    let (has_all, has_more) = (copy.seen.dominates(&reference.seen), reference.seen.dominates(&copy.seen));
    match (has_all, has_more) {
        (true, true) if copy.digest.fold == reference.digest.fold => "equal",
        (true, true) => "different",
        (false, true) => "behind",
        (true, false) => "ahead",
        (false, false) => "forked",
    }
}
