//! Proofs of the cluster secret, and the keys that follow from a greeting.
//!
//! Each side draws a nonce, and each proves the secret by an HMAC-SHA256 (RFC 2104) over *both* greetings with all
//! that they claim: identity, incarnation, address, settings. So a proof is worth nothing in another greeting, and
//! nobody between the two can change a claim. The roles are part of what is signed; a proof sent back to its author
//! proves nothing. The dialler goes first, so that an open port gives a stranger nothing to try guesses on.
//!
//! From the same input follows the key of the session; the other streams show that they have it. Without a secret the
//! key of the HMAC is empty: proofs then hold for whoever saw the greeting, and keep apart no more than mistakes.
//!
//! Caveats: this proves who is there when a connection opens. Nothing is encrypted, and someone who can alter the
//! traffic in flight can do so. And someone who is dialled can try guesses on the dialler's proof at leisure, so the
//! secret should be a drawn one, not a word.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a proof.
pub(super) const PROOF_BYTES: usize = 32;
/// Bytes of a session's name.
pub(super) const NAME_BYTES: usize = 16;

/// Random bytes used once.
pub(super) type Nonce = [u8; 32];
/// What a proof looks like.
pub(super) type Proof = [u8; PROOF_BYTES];
/// What both sides call a session. No secret.
pub(super) type Name = [u8; NAME_BYTES];

/// Random bytes from the operating system. They guard a secret, so they follow from no seed.
pub(super) fn drawn<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

/// Which side of a greeting proves something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Who opened the connection.
    Dialler,
    /// Who took it.
    Acceptor,
}

/// Both greetings as bytes, the dialler's first, under the cluster's secret.
pub(super) struct Transcript<'a> {
    pub(super) secret: &'a [u8],
    pub(super) dialler: &'a [u8],
    pub(super) acceptor: &'a [u8],
}

impl Transcript<'_> {
    /// Proves the secret; `taken` says that there is no session for this boot, since that may end it.
    pub(super) fn prove(&self, side: Side, taken: bool) -> Proof {
        finish(self.mac(side, taken))
    }

    /// Whether the other side has proved it. Takes the same time whatever is wrong.
    pub(super) fn verify(&self, side: Side, taken: bool, proof: &[u8]) -> bool {
        self.mac(side, taken).verify_slice(proof).is_ok()
    }

    /// The key of the session.
    pub(super) fn key(&self) -> SessionKey {
        SessionKey(finish(mac(self.secret, b"session", &[self.dialler, self.acceptor])))
    }

    fn mac(&self, side: Side, taken: bool) -> Hmac<Sha256> {
        let label: &[u8] = match (side, taken) {
            (Side::Dialler, false) => b"dialler",
            (Side::Acceptor, false) => b"acceptor",
            (Side::Dialler, true) => b"dialler, taken",
            (Side::Acceptor, true) => b"acceptor, taken",
        };
        mac(self.secret, label, &[self.dialler, self.acceptor])
    }
}

/// What the two sides of a session share, and nobody else.
#[derive(Clone)]
pub(super) struct SessionKey([u8; 32]);

/// What a connection of a session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim<'a> {
    /// To be its lane stream.
    Lane,
    /// To be its bulk stream.
    Bulk,
    /// To be a raw link; the nonce is the acceptor's.
    RawLink(&'a Nonce),
    /// To have granted that raw link.
    RawLinkGranted(&'a Nonce),
}

impl SessionKey {
    /// The session's name.
    pub(super) fn name(&self) -> Name {
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&finish(mac(&self.0, b"name", &[]))[..NAME_BYTES]);
        name
    }

    /// Proves a claim.
    pub(super) fn prove(&self, claim: Claim<'_>) -> Proof {
        finish(self.mac(claim))
    }

    /// Whether the claim is proved. Takes the same time whatever is wrong.
    pub(super) fn verify(&self, claim: Claim<'_>, proof: &[u8]) -> bool {
        self.mac(claim).verify_slice(proof).is_ok()
    }

    fn mac(&self, claim: Claim<'_>) -> Hmac<Sha256> {
        match claim {
            Claim::Lane => mac(&self.0, b"lane", &[]),
            Claim::Bulk => mac(&self.0, b"bulk", &[]),
            Claim::RawLink(nonce) => mac(&self.0, b"raw link", &[nonce]),
            Claim::RawLinkGranted(nonce) => mac(&self.0, b"raw link granted", &[nonce]),
        }
    }
}

/// A MAC over a label and parts, each with its length in front so that no two lists look alike.
fn mac(key: &[u8], label: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in [label].iter().chain(parts) {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

fn finish(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSCRIPT: Transcript<'_> = Transcript { secret: b"secret", dialler: b"hello", acceptor: b"hi" };

    #[test]
    fn a_proof_holds_for_its_greeting_its_secret_and_its_side_only() {
        let proof = TRANSCRIPT.prove(Side::Dialler, false);
        assert!(TRANSCRIPT.verify(Side::Dialler, false, &proof));
        assert!(!TRANSCRIPT.verify(Side::Acceptor, false, &proof), "sent back to its author");
        assert!(!TRANSCRIPT.verify(Side::Dialler, true, &proof), "made to say something else");
        for other in [
            Transcript { secret: b"Secret", ..TRANSCRIPT },
            Transcript { secret: b"", ..TRANSCRIPT },
            Transcript { dialler: b"hell", acceptor: b"ohi", ..TRANSCRIPT },
            Transcript { dialler: b"hi", acceptor: b"hello", ..TRANSCRIPT },
        ] {
            assert!(!other.verify(Side::Dialler, false, &proof));
            assert_ne!(other.key().name(), TRANSCRIPT.key().name());
        }
        assert!(
            !TRANSCRIPT.verify(Side::Dialler, false, &proof[..31]) && !TRANSCRIPT.verify(Side::Dialler, false, b"")
        );
    }

    #[test]
    fn each_connection_of_a_session_needs_a_proof_of_its_own() {
        let key = TRANSCRIPT.key();
        let (one, two) = ([1; 32], [2; 32]);
        let claims =
            [Claim::Lane, Claim::Bulk, Claim::RawLink(&one), Claim::RawLink(&two), Claim::RawLinkGranted(&one)];
        for proved in claims {
            for claimed in claims {
                assert_eq!(key.verify(claimed, &key.prove(proved)), claimed == proved, "{proved:?} for {claimed:?}");
            }
        }
    }
}
