//! Where commands for a slot go, as the control task last said, read by every connection without a lock.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ring::{
    id::Peer,
    slot::{SLOTS, Slot},
};
use tokio::sync::watch;

/// The index under which this node knows itself.
pub const ME: Peer = Peer(0);

const NOWHERE: u8 = u8::MAX;

/// Where commands for a slot go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// This node acts for it, or is about to.
    Here,
    /// That peer acts for it, as far as this node knows.
    There(Peer),
    /// Nobody in reach is known to hold it.
    Nowhere,
}

/// Where commands go, for every slot.
#[derive(Debug)]
pub struct Routes {
    slots: Box<[AtomicU8]>,
    /// Nothing is served from here: the cluster is where the majority is.
    is_down: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Default for Routes {
    fn default() -> Routes {
        let slots = (0..SLOTS).map(|_| AtomicU8::new(NOWHERE)).collect();
        Routes { slots, is_down: AtomicBool::new(false), changes: watch::Sender::new(0) }
    }
}

impl Routes {
    /// Where commands for the slot go now.
    #[inline]
    pub fn of(&self, slot: Slot) -> Where {
        match self.slots[slot.index()].load(Ordering::Acquire) {
            NOWHERE => Where::Nowhere,
            peer if peer == ME.0 => Where::Here,
            peer => Where::There(Peer(peer)),
        }
    }

    /// Whether this node is cut off from the majority of the members, where that is asked for: nothing is served.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    /// Says whether it is; true if it was not before. Call [`Routes::announce`] behind it.
    pub fn set_down(&self, is_down: bool) -> bool {
        self.is_down.swap(is_down, Ordering::AcqRel) != is_down
    }

    /// Says where commands for the slot go from now on. Call [`Routes::announce`] behind a batch of these.
    pub fn set(&self, slot: Slot, to: Option<Peer>) {
        self.slots[slot.index()].store(to.map_or(NOWHERE, |peer| peer.0), Ordering::Release);
    }

    /// Wakes whoever waits for a change.
    pub fn announce(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// To wait for changes: what is announced after this call is not missed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Another number after each announced change.
    pub fn version(&self) -> u64 {
        *self.changes.borrow()
    }

    /// How many slots nobody in reach is known to hold.
    pub fn unserved(&self) -> usize {
        Slot::all().filter(|&slot| self.of(slot) == Where::Nowhere).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_what_was_said_last() {
        let routes = Routes::default();
        let slot = Slot::of(b"foo");
        assert_eq!((routes.of(slot), routes.unserved()), (Where::Nowhere, SLOTS));
        routes.set(slot, Some(ME));
        assert_eq!(routes.of(slot), Where::Here);
        routes.set(slot, Some(Peer(3)));
        assert_eq!((routes.of(slot), routes.unserved()), (Where::There(Peer(3)), SLOTS - 1));
        routes.set(slot, None);
        assert_eq!(routes.of(slot), Where::Nowhere);
    }
}
