//! Tokens: points on the ring, and who stands where.
//!
//! The ring is the circle of all 64-bit numbers, walked clockwise, that is upwards. Two kinds of things have a place
//! on it:
//!
//! * a **vnode**, at the hash of its node's identity and its number. A node of weight *w* has *w* times as many
//!   vnodes as one of weight 1, numbered from 0; a change of weight adds or removes the last of them and leaves the
//!   others where they are. The address of a node plays no part, so a restart elsewhere moves nothing.
//! * a **slot**, at an even distance from its neighbours. Slots keep their order on the ring, so what a node owns are
//!   runs of slots, which `CLUSTER SLOTS` lists as ranges. Keys are spread over slots by CRC16 already; to hash the
//!   slot once more would cost clients some sixteen thousand ranges and gain nothing.
//!
//! This is the one place where placement names its hash. Every node must compute the same tokens for ever: another
//! hash is another cluster.

use xxhash_rust::xxh3::xxh3_64;

use crate::id::NodeId;

/// A point on the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// Where the vnode with this number of this node stands: `xxh3_64(node id ‖ number, little-endian)`.
    pub fn of_vnode(node: &NodeId, number: u32) -> Token {
        let mut bytes = [0; 24];
        bytes[..20].copy_from_slice(node.as_bytes());
        bytes[20..].copy_from_slice(&number.to_le_bytes());
        Token(xxh3_64(&bytes))
    }

    /// Where a slot stands on a ring of `slots` slots, a power of two: `index · 2^64 / slots`.
    pub const fn of_slot(index: usize, slots: usize) -> Token {
        debug_assert!(slots.is_power_of_two() && index < slots);
        Token(((index as u128) << (64 - slots.trailing_zeros())) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SLOTS;

    #[test]
    fn slots_stand_in_order_at_even_distances() {
        assert_eq!(Token::of_slot(0, SLOTS), Token(0));
        assert_eq!(Token::of_slot(1, SLOTS), Token(1 << 50));
        assert_eq!(Token::of_slot(SLOTS - 1, SLOTS), Token(0u64.wrapping_sub(1 << 50)));
        assert_eq!(Token::of_slot(3, 4), Token(3 << 62));
        assert_eq!(Token::of_slot(0, 1), Token(0));
    }

    #[test]
    fn vnodes_stand_where_every_released_version_put_them() {
        // Fixed for ever: a node that computes other tokens places every slot elsewhere than its peers.
        let node = NodeId::from_bytes(*b"abcdefghijklmnopqrst");
        assert_eq!(Token::of_vnode(&node, 0), Token(xxh3_64(b"abcdefghijklmnopqrst\0\0\0\0")));
        assert_eq!(Token::of_vnode(&node, 258), Token(xxh3_64(b"abcdefghijklmnopqrst\x02\x01\0\0")));
        assert_eq!(Token::of_vnode(&node, 0), Token(FIRST));
    }

    const FIRST: u64 = 12_124_499_860_430_844_024;
}
