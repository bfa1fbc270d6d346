//! Where connections go.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::wire::{self, Reply};

/// The addresses given, and what it takes to connect to one.
pub(super) struct Targets {
    pub(super) addresses: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) limit: Duration,
}

impl Targets {
    /// A connection to the target of this number (counted round). A name that resolves to several addresses means all
    /// of them, in turn: `turn` says whose it is.
    pub(super) async fn connect(&self, number: usize, turn: usize) -> io::Result<TcpStream> {
        timeout(self.limit, self.connect_unbounded(number, turn)).await?
    }

    /// The address of this number, as given.
    pub(super) fn name(&self, number: usize) -> &str {
        &self.addresses[number % self.addresses.len()]
    }

    async fn connect_unbounded(&self, number: usize, turn: usize) -> io::Result<TcpStream> {
        let resolved: Vec<_> = lookup_host(self.name(number)).await?.collect();
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the name resolves to nothing");
        let address = resolved.get(turn % resolved.len().max(1)).ok_or_else(nowhere)?;
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if let Some(password) = &self.password {
            authenticate(&mut stream, password).await?;
        }
        Ok(stream)
    }
}

async fn authenticate(stream: &mut TcpStream, password: &str) -> io::Result<()> {
    let mut request = Vec::new();
    wire::request(&[b"AUTH", password.as_bytes()], &mut request);
    stream.write_all(&request).await?;
    let mut input = BytesMut::new();
    loop {
        match wire::reply(&input) {
            Ok(Some((Reply::Status(_), _))) => return Ok(()),
            Ok(None) => {}
            _ => return Err(io::Error::new(io::ErrorKind::PermissionDenied, "AUTH was refused")),
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
