//! The four listeners of a node, bound before anything else happens.
//!
//! All are bound in one step and in a fixed order, so that a port in use ends the program before it has told anybody
//! that it exists. Binding does not accept: whoever connects early waits in the backlog until the node serves.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::config::Ports;

/// Connections that may wait to be accepted, as Redis has it; the kernel lowers it to its `somaxconn`.
pub(crate) const BACKLOG: i32 = 511;

/// A silent peer is asked after this time whether it is still there, as Redis does.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(300);

/// How long to wait for an answer before asking again; after three the connection is closed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(100);

/// Linux asks no later than this.
const KEEP_ALIVE_MOST: Duration = Duration::from_secs(32_767);

/// Listening sockets, not blocking, for a runtime to take over.
#[derive(Debug)]
pub struct Listeners {
    /// Redis protocol for any client.
    pub client: TcpListener,
    /// Redis protocol for cluster-aware clients.
    pub cluster: TcpListener,
    /// Traffic between nodes.
    pub peer: TcpListener,
    /// HTTP.
    pub admin: TcpListener,
}

/// The addresses that the listeners got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// Redis protocol for any client.
    pub client: SocketAddr,
    /// Redis protocol for cluster-aware clients.
    pub cluster: SocketAddr,
    /// Traffic between nodes.
    pub peer: SocketAddr,
    /// HTTP.
    pub admin: SocketAddr,
}

/// An address that cannot be listened on, and the flag that asks for it.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {}: cannot listen on {address}: {source}", address.port())]
pub struct BindError {
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl Listeners {
    /// Binds all four; port 0 takes a free one.
    pub fn bind(bind: IpAddr, ports: Ports) -> Result<Listeners, BindError> {
        let listen = |flag, port| {
            let address = SocketAddr::new(bind, port);
            listen(address).map_err(|source| BindError { flag, address, source })
        };
        Ok(Listeners {
            client: listen("--port", ports.client)?,
            cluster: listen("--cluster-port", ports.cluster)?,
            peer: listen("--peer-port", ports.peer)?,
            admin: listen("--admin-port", ports.admin)?,
        })
    }

    /// The addresses that were taken.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            client: self.client.local_addr()?,
            cluster: self.cluster.local_addr()?,
            peer: self.peer.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }
}

impl Addresses {
    /// Writes one line per listener, `listening <what> <address>`. Scripts read them.
    pub fn announce(&self, out: &mut impl Write) -> io::Result<()> {
        let listeners =
            [("client", self.client), ("cluster", self.cluster), ("peer", self.peer), ("admin", self.admin)];
        for (what, address) in listeners {
            writeln!(out, "listening {what} {address}")?;
        }
        out.flush()
    }
}

/// Sets what every connection of ours wants, accepted or made: small replies leave at once, and a peer that vanished
/// without a word is noticed. Accepted connections have it from their listener on Linux; setting it costs two system
/// calls per connection where that is not so.
pub fn tune<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_IDLE).with_interval(KEEP_ALIVE_INTERVAL).with_retries(3);
    socket.set_tcp_keepalive(&keep_alive)
}

/// Asks a silent client after this time whether it is still there, and again after a third of it; 0: never. An accepted
/// connection has the default from its listener already.
pub(crate) fn keep_alive<'a>(socket: impl Into<SockRef<'a>>, seconds: u32) -> io::Result<()> {
    let (idle, socket) = (Duration::from_secs(seconds.into()), socket.into());
    if idle == KEEP_ALIVE_IDLE {
        return Ok(());
    }
    if seconds == 0 {
        return socket.set_keepalive(false);
    }
    // The kernel takes no longer times.
    let (idle, interval) = (idle.min(KEEP_ALIVE_MOST), (idle / 3).clamp(Duration::from_secs(1), KEEP_ALIVE_MOST));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(3))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted node must not wait for the kernel to forget the connections of the one before it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    tune(&socket)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether an address is this machine's, or of a network that the internet does not route to.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    const FREE: Ports = Ports { client: 0, cluster: 0, peer: 0, admin: 0 };
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn each_listener_gets_a_port_and_a_line() {
        let listeners = Listeners::bind(HERE, FREE).unwrap();
        let addresses = listeners.addresses().unwrap();
        let mut lines = Vec::new();
        addresses.announce(&mut lines).unwrap();
        let wanted = format!(
            "listening client {}\nlistening cluster {}\nlistening peer {}\nlistening admin {}\n",
            addresses.client, addresses.cluster, addresses.peer, addresses.admin
        );
        assert_eq!(String::from_utf8(lines).unwrap(), wanted);
        for address in [addresses.client, addresses.cluster, addresses.peer, addresses.admin] {
            assert!(TcpStream::connect(address).is_ok());
        }
    }

    #[test]
    fn a_port_in_use_is_named_with_its_flag() {
        let taken = Listeners::bind(HERE, FREE).unwrap().admin;
        let port = taken.local_addr().unwrap().port();
        let refused = Listeners::bind(HERE, Ports { peer: port, ..FREE }).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("--peer-port {port}: cannot listen on 127.0.0.1:{port}: ")), "{refused}");
    }

    #[test]
    fn a_port_is_free_again_right_after_its_connections() {
        let listeners = Listeners::bind(HERE, FREE).unwrap();
        let address = listeners.client.local_addr().unwrap();
        let caller = TcpStream::connect(address).unwrap();
        listeners.client.set_nonblocking(false).unwrap();
        // This side closes first, so its end of the connection lingers in TIME_WAIT.
        drop(listeners.client.accept().unwrap());
        drop(listeners);
        drop(caller);
        assert!(Listeners::bind(HERE, Ports { client: address.port(), ..FREE }).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn accepted_connections_are_tuned_as_their_listener() {
        let listener = Listeners::bind(HERE, FREE).unwrap().client;
        listener.set_nonblocking(false).unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), KEEP_ALIVE_IDLE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn silent_clients_are_asked_after_the_time_that_is_set() {
        let listener = Listeners::bind(HERE, FREE).unwrap().client;
        listener.set_nonblocking(false).unwrap();
        let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        keep_alive(&accepted, 60).unwrap();
        let times = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
        assert_eq!(times, (Duration::from_secs(60), Duration::from_secs(20)));
        keep_alive(&accepted, i32::MAX as u32).unwrap();
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_MOST);
        keep_alive(&accepted, 0).unwrap();
        assert!(!socket.keepalive().unwrap());
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
