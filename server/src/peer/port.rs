//! The peer port: what a connection is, told by its first bytes.
//!
//! ```text
//!   PRI * HT…  the beginning of HTTP/2 (RFC 9113 §3.4)  ──► streams of a session
//!   our magic                                           ──► a raw link
//!   anything else, or nothing for 2 s                   ──► closed
//! ```
//!
//! Until it has proved what it is, a connection holds one of 256 places. When none is free, the next connection is
//! closed at once: a peer dials again, and whoever fills the places keeps them for seconds only.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};

use super::{
    accept,
    core::Core,
    raw_link,
    socket::{FIRST_BYTES, Socket},
};
use crate::logging::Seldom;

/// How many connections may be unproved at a time.
pub(super) const STRANGERS: usize = 256;

/// How long a connection may say nothing.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait after the operating system could not accept, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The first bytes of an HTTP/2 connection.
const HTTP2: [u8; FIRST_BYTES] = *b"PRI * HT";

type Sockets = mpsc::Sender<io::Result<Socket>>;

/// Accepts until the node stops.
pub(super) async fn listen(core: Arc<Core>, listener: TcpListener) {
    let (sockets, accepted) = mpsc::channel(16);
    core.spawn(accept::serve(core.clone(), accepted));
    let places = Arc::new(Semaphore::new(STRANGERS));
    let (mut says_full, mut says_foreign, mut says_failed) = (Seldom::new(), Seldom::new(), Seldom::new());
    loop {
        match listener.accept().await {
            Ok((_, address)) if !core.config.hears(address.ip()) => {
                if let Some(unsaid) = says_foreign.may() {
                    tracing::warn!(
                        unsaid,
                        "{address} is refused, and others like it: without --cluster-secret only loopback and private \
                         addresses are heard, unless --protected-mode is no"
                    );
                }
            }
            Ok((stream, address)) => {
                let Ok(permit) = places.clone().try_acquire_owned() else {
                    if let Some(unsaid) = says_full.may() {
                        tracing::warn!(
                            unsaid,
                            "closes connections, as that from {address}: {STRANGERS} others have not proved themselves"
                        );
                    }
                    continue;
                };
                let (shared, sockets) = (core.clone(), sockets.clone());
                core.spawn(async move { admit(shared, stream, address, permit, sockets).await });
            }
            Err(error) => {
                if let Some(unsaid) = says_failed.may() {
                    tracing::warn!(unsaid, "the peer port cannot accept: {error}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn admit(
    core: Arc<Core>,
    mut stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    sockets: Sockets,
) {
    let mut first = [0; FIRST_BYTES];
    let Ok(Ok(_)) = timeout(SILENCE_TIMEOUT, stream.read_exact(&mut first)).await else { return };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match first {
        HTTP2 => drop(sockets.send(Ok(Socket::accepted(stream, address, first, permit))).await),
        raw_link::MAGIC => raw_link::accept(&core, stream, permit).await,
        _ => tracing::debug!("closed a connection from {address} that speaks no protocol of ours"),
    }
}
