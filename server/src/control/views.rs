//! What follows from a new view: who is known, where slots belong, who is ready for them.

use std::sync::Arc;

use ring::{
    control::{Input, Targets},
    id::NodeId,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
    table::{Placed, Settings, Table},
};

use super::Task;

impl Task {
    pub(super) fn refresh_view(&mut self) {
        if !self.gossip.refresh() {
            return;
        }
        self.viewed_ms = self.now_ms();
        self.update_directory();
        self.update_targets();
        self.update_ready();
    }

    fn update_directory(&mut self) {
        let members: Vec<NodeId> = self.gossip.view().members().iter().map(|member| member.id).collect();
        let gone: Vec<NodeId> = self
            .directory
            .others()
            .filter(|(id, peer)| !members.contains(id) && !self.sessions.contains_key(peer))
            .map(|(id, _)| id)
            .collect();
        for id in gone {
            if let Some(peer) = self.directory.forget(id) {
                self.known_ready.remove(&peer);
                self.machine.handle(Input::Forgotten { peer }, &mut self.copies);
            }
        }
        for id in members {
            if self.directory.admit(id).is_none() {
                tracing::warn!(node = %id.short(), "no more than {} nodes can be known", ring::id::MAX_PEERS);
            }
        }
    }

    fn update_targets(&mut self) {
        let placed: Vec<Placed> = self
            .gossip
            .view()
            .placed()
            .filter(|&(id, ..)| self.directory.peer(id).is_some())
            .map(|(id, zone, weight)| Placed { id, zone: zone.to_owned(), weight })
            .collect();
        if placed == self.placed && self.table.is_some() {
            return;
        }
        let table = Table::compute(&placed, &Settings::new(self.replicas));
        let mut targets = Targets::none(SLOTS);
        for slot in Slot::all() {
            targets.set(slot, table.owners(slot).filter_map(|id| self.directory.peer(id)));
        }
        let names: Vec<_> = placed.iter().map(|node| node.id.short().to_string()).collect();
        tracing::info!(nodes = names.join(" "), "slots are placed anew");
        self.placed = placed;
        self.table = Some(Arc::new(table));
        self.serves_all = None;
        self.machine.handle(Input::Targets(targets), &mut self.copies);
    }

    fn update_ready(&mut self) {
        let nothing = SlotSet::new(SLOTS);
        let mut changed = Vec::new();
        for member in self.gossip.view().members().iter().filter(|member| member.id != self.me) {
            let Some(peer) = self.directory.peer(member.id) else { continue };
            let ready = if member.standing().is_live() { &member.ready } else { &nothing };
            if self.known_ready.get(&peer) != Some(ready) {
                changed.push((peer, member.id, ready.clone()));
            }
        }
        for (peer, id, ready) in changed {
            self.known_ready.insert(peer, ready.clone());
            self.machine.handle(Input::Ready { peer, id, ready }, &mut self.copies);
        }
    }
}
