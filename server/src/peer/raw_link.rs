//! Raw links: TCP connections between peer ports that another protocol takes over.
//!
//! ```text
//!   dialler                        acceptor
//!      │ magic, name of the session ─► │
//!      │ ◄───────────────────── nonce  │
//!      │ proof over the nonce ───────► │
//!      │ ◄──── proof over it as well   │
//!      │ ◄──── whatever comes now ───► │
//! ```
//!
//! The nonce makes each proof good for one connection. All parts have fixed lengths, so neither side can read a byte
//! of what follows.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{
    RawLink, SessionId,
    core::Core,
    dial,
    proof::{self, Claim, NAME_BYTES, Nonce, PROOF_BYTES},
    socket::FIRST_BYTES,
    tie::Tie,
};

/// The first bytes of a raw link. No text protocol begins with a zero.
pub(super) const MAGIC: [u8; FIRST_BYTES] = *b"\0circlet";

/// How long proving takes at most.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens one to the peer of a session.
pub(super) async fn open(core: &Core, session: SessionId) -> io::Result<RawLink> {
    let over = || io::Error::new(io::ErrorKind::NotConnected, "the session with this peer is over");
    let tie = core.registry.numbered(session).ok_or_else(over)?;
    let mut stream = dial::connect(&tie.address).await?;
    let proved = timeout(PROOF_TIMEOUT, prove(&tie, &mut stream)).await;
    proved.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer did not take the raw link in time"))??;
    Ok(RawLink { peer: tie.peer, session: tie.id, stream })
}

async fn prove(tie: &Tie, stream: &mut TcpStream) -> io::Result<()> {
    let mut opening = [0; FIRST_BYTES + NAME_BYTES];
    opening[..FIRST_BYTES].copy_from_slice(&MAGIC);
    opening[FIRST_BYTES..].copy_from_slice(&tie.name);
    stream.write_all(&opening).await?;
    let mut nonce: Nonce = [0; 32];
    stream.read_exact(&mut nonce).await.map_err(refused)?;
    stream.write_all(&tie.key.prove(Claim::RawLink(&nonce))).await?;
    let mut granted = [0; PROOF_BYTES];
    stream.read_exact(&mut granted).await.map_err(refused)?;
    if !tie.key.verify(Claim::RawLinkGranted(&nonce), &granted) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another node is at the address of this peer"));
    }
    Ok(())
}

fn refused(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the peer refused the raw link: {error}"))
}

/// Takes one, after its magic, and hands it on if it is proved.
pub(super) async fn accept(core: &Core, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let Ok(Some(tie)) = timeout(PROOF_TIMEOUT, verify(core, &mut stream)).await else { return };
    // Whoever waits for the hand-over has proved itself and takes no stranger's place.
    drop(permit);
    // Nobody takes raw links any more when the node is about to stop.
    let _ = core.raw_links.send(RawLink { peer: tie.peer, session: tie.id, stream }).await;
}

async fn verify(core: &Core, stream: &mut TcpStream) -> Option<std::sync::Arc<Tie>> {
    let mut name = [0; NAME_BYTES];
    stream.read_exact(&mut name).await.ok()?;
    let tie = core.registry.named(name)?;
    let nonce: Nonce = proof::drawn().ok()?;
    stream.write_all(&nonce).await.ok()?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await.ok()?;
    if !tie.key.verify(Claim::RawLink(&nonce), &proof) {
        return None;
    }
    stream.write_all(&tie.key.prove(Claim::RawLinkGranted(&nonce))).await.ok()?;
    Some(tie)
}
