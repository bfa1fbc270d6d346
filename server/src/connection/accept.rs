//! Who may come in.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{Bounds, Connection};
use crate::{clients::Arrival, router::Router, session::Port};

/// After an accept that failed (mostly: no file descriptor is free), the next is tried after this time. No event says
/// when one will be free.
const RETRY: Duration = Duration::from_millis(100);

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
    is set for the default user. In this mode connections are only accepted from the loopback interface and from private \
    addresses. If you want to connect from external computers you may adopt one of the following solutions: 1) Just \
    disable protected mode sending the command 'CONFIG SET protected-mode no' from such an address, however MAKE SURE the \
    node is not publicly accessible from internet if you do so. 2) Alternatively you can start the node with the \
    '--protected-mode no' option. 3) Set up an authentication password for the default user with the '--requirepass' \
    option. NOTE: You only need to do one of the above things in order for the server to start accepting connections \
    from the outside.\r\n";

/// Accepts clients and serves them, until `shutdown` becomes true; then closes the listener, lets every client go
/// between two commands, and returns when the last one has gone. Dropping it cuts them off.
pub async fn serve(
    listener: TcpListener,
    router: Arc<Router>,
    port: Port,
    bounds: Bounds,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    // A sender that is gone asks for the same.
    let mut asked = pin!(async move { drop(shutdown.wait_for(|is_shutting_down| *is_shutting_down).await) });
    loop {
        tokio::select! {
            () = &mut asked => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(connection) = admit(stream, peer, &router, port, bounds) {
                        tasks.spawn(connection.run());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    sleep(RETRY).await;
                }
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    for (stream, peer) in let_in(listener) {
        if let Some(connection) = admit(stream, peer, &router, port, bounds) {
            tasks.spawn(connection.run());
        }
    }
    router.services().clients.close_idle();
    while tasks.join_next().await.is_some() {}
}

/// Closes the listener. Whoever the kernel has let in already would be cut off with it and is returned. The kernel is
/// asked until it has nobody left, not the runtime, which hears of the last ones a moment later.
fn let_in(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let mut accepted = Vec::new();
    loop {
        match listener.accept() {
            Ok(client) => accepted.push(client),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(_) => break,
        }
    }
    drop(listener);
    let known = |(stream, peer): (std::net::TcpStream, _)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    };
    accepted.into_iter().filter_map(known).collect()
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Arc<Router>,
    port: Port,
    bounds: Bounds,
) -> Option<Connection<TcpStream>> {
    match try_admit(stream, peer, router, port, bounds) {
        Ok(connection) => {
            router.services().statistics.connection(connection.is_some());
            connection
        }
        Err(error) => {
            tracing::debug!(%error, %peer, "a client went away while it was accepted");
            None
        }
    }
}

fn try_admit(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Arc<Router>,
    port: Port,
    bounds: Bounds,
) -> io::Result<Option<Connection<TcpStream>>> {
    let services = router.services();
    // Replies are written whole, so there is nothing to wait for and collect.
    stream.set_nodelay(true)?;
    if services.settings.is_protected() && services.settings.password().is_none() && !is_private(peer.ip()) {
        refuse(stream, PROTECTED)?;
        return Ok(None);
    }
    let arrival = Arrival { peer, local: stream.local_addr()?, port, at_us: services.clock.monotonic_us() };
    match services.clients.register(arrival, services.settings.max_clients()) {
        Some(registration) => Ok(Some(Connection::new(stream, registration, router.clone(), bounds))),
        None => {
            refuse(stream, TOO_MANY)?;
            Ok(None)
        }
    }
}

/// Says why, as far as that goes without waiting: whoever is not let in must not cost anything.
fn refuse(stream: TcpStream, text: &[u8]) -> io::Result<()> {
    use std::io::Write;
    stream.into_std()?.write_all(text)
}

/// Whether an address is this machine's, or of a network that the internet does not route to.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_the_kernel_has_let_in_is_not_cut_off_with_the_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // The runtime does not get to hear of them.
        let clients: Vec<_> = (0..10).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let accepted = let_in(listener);
        let peers: Vec<_> = accepted.iter().map(|&(_, peer)| peer).collect();
        assert_eq!(peers, clients.iter().map(|client| client.local_addr().unwrap()).collect::<Vec<_>>());
        assert!(std::net::TcpStream::connect(address).is_err(), "nobody else comes in");
    }

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "0.0.0.0"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }
}
