//! Who may come in.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::AsRawFd,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Bounds, Connection, account::end_the_largest};
use crate::{
    clients::{Arrival, Waits},
    listeners::{self, is_private},
    logging::Seldom,
    router::Router,
    session::Port,
};

/// After an accept that failed (mostly: no file descriptor is free), the next is tried after this time. No event says
/// when one will be free.
const RETRY: Duration = Duration::from_millis(100);

/// Clients that ask nothing for too long are looked for after this time again, as often as Redis does.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut says_short_of_files = Seldom::new();
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
                    if let Some(unsaid) = says_short_of_files.may() {
                        tracing::warn!(%error, unsaid, "cannot accept clients; those that are connected are served");
                    }
                    until_worth_another_try(&mut tasks).await;
                }
            },
            _ = looks.tick() => look_after_clients(&router, port),
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

/// Waits until a client has gone, whose file is free then, or for a while.
async fn until_worth_another_try(tasks: &mut JoinSet<()>) {
    tokio::select! {
        () = sleep(RETRY) => {}
        Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
    }
}

/// Disconnects clients of this port that ask nothing for too long, as `timeout` says, and looks how large buffers are.
/// Whoever waits for a pause or in a command that blocks, or has replies to take, is not idle.
fn look_after_clients(router: &Router, port: Port) {
    let services = router.services();
    let (clients, limits) = (&services.clients, services.settings.client_limits());
    let now_us = services.clock.monotonic_us();
    let idle_secs = u64::from(limits.idle_secs());
    if idle_secs > 0 {
        let is_idle = |client: &crate::clients::Client| {
            client.waits() == Waits::Not && client.buffers().output_memory == 0 && client.idle_secs(now_us) > idle_secs
        };
        for client in clients.all().iter().filter(|client| client.port() == port && is_idle(client)) {
            tracing::debug!(client = client.id(), "disconnected: it asked nothing for too long");
            client.kill();
        }
    }
    if port == Port::Proxy {
        clients.sample(now_us / 1_000_000);
    }
    end_the_largest(services);
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
    let limits = services.settings.client_limits();
    if limits.is_protected() && services.settings.password().is_none() && !is_private(peer.ip()) {
        refuse(stream, PROTECTED)?;
        return Ok(None);
    }
    listeners::keep_alive(&stream, limits.all().keep_alive_secs)?;
    let (local, file) = (stream.local_addr()?, stream.as_raw_fd());
    let arrival = Arrival { peer, local, port, at_us: services.clock.monotonic_us(), file };
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
}
