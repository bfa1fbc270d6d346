//! What follows from the one random number of a process.
//!
//! Identities are shown to everybody, and the seed of the store's hashes must stay secret: so each is one end of a
//! function that nobody turns back (SHA-256), and none tells anything about another.

use ring::id::NodeId;
use sha2::{Digest, Sha256};

fn branch(seed: u64, purpose: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(purpose).finalize().into()
}

/// A number for this purpose.
pub fn number(seed: u64, purpose: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = branch(seed, purpose);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// An identity for this purpose.
pub fn identity(seed: u64, purpose: &str) -> NodeId {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&branch(seed, purpose)[..20]);
    NodeId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_and_seeds_have_nothing_in_common() {
        let all = [number(1, "store"), number(2, "store"), number(1, "control")];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        let shown = identity(1, "store").to_string();
        assert!(!shown.contains(&format!("{:016x}", number(1, "node"))));
        assert_ne!(identity(1, "node"), identity(1, "run"));
        assert_eq!(number(1, "store"), all[0]);
    }
}
