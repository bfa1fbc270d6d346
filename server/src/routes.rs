//! Where commands for a slot go, as the control task last said, read by every connection without a lock.

use std::sync::atomic::{AtomicU8, Ordering};

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
    changes: watch::Sender<u64>,
}

impl Default for Routes {
    fn default() -> Routes {
        Routes { slots: (0..SLOTS).map(|_| AtomicU8::new(NOWHERE)).collect(), changes: watch::Sender::new(0) }
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
