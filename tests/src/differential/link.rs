//! A connection to one of the two servers.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::command::Command;
use super::reply::Reply;

/// How long a reply is waited for: far more than any needs, so that only a server that hangs meets it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests up to this size fit the socket's buffers, so that nobody has to read replies while they are sent.
const SENT_AT_ONCE: usize = 32 << 10;

/// How the replies to a batch ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With the reply to the batch's last, known command.
    Complete,
    /// The server closed.
    Closed,
    /// Something else, in words.
    Broken(String),
}

/// The replies to a batch.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) replies: Vec<Reply>,
    pub(super) end: End,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    protocol: u8,
    input: BufReader<TcpStream>,
}

impl Link {
    /// Connects and switches to the version of the protocol.
    pub(super) fn connect(address: SocketAddr, protocol: u8) -> io::Result<Link> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut link = Link { address, protocol, input: BufReader::new(stream) };
        if protocol == 3 {
            link.ask(&Command::line("HELLO 3"))?;
        }
        Ok(link)
    }

    /// Connects again.
    pub(super) fn reconnect(&mut self) -> io::Result<()> {
        *self = Link::connect(self.address, self.protocol)?;
        Ok(())
    }

    /// One command and its reply.
    pub(super) fn ask(&mut self, command: &Command) -> io::Result<Reply> {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.input.get_mut().write_all(&bytes)?;
        Reply::read(&mut self.input)
    }

    /// Reads up to the reply that is this mark.
    fn read_to(&mut self, mark: &[u8]) -> Answers {
        let mut replies = Vec::new();
        let end = loop {
            match Reply::read(&mut self.input) {
                Ok(Reply::Text(b'$', text)) if text == mark => break End::Complete,
                Ok(reply) => replies.push(reply),
                Err(error) if is_closed(&error) => break End::Closed,
                Err(error) => break End::Broken(error.to_string()),
            }
        };
        Answers { replies, end }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

/// Sends both their commands, each followed by an `ECHO` of the mark, and reads the replies up to that.
pub(super) fn exchange(links: [&mut Link; 2], commands: [&[&Command]; 2], mark: &str) -> io::Result<[Answers; 2]> {
    let requests = commands.map(|commands| encode(commands, mark));
    let mut streams = Vec::new();
    for link in &links {
        streams.push(link.input.get_ref().try_clone()?);
    }
    thread::scope(|scope| {
        for (mut stream, request) in streams.into_iter().zip(&requests) {
            // An error shows as a connection without replies.
            if request.len() <= SENT_AT_ONCE {
                drop(stream.write_all(request));
            } else {
                scope.spawn(move || drop(stream.write_all(request)));
            }
        }
        Ok(links.map(|link| link.read_to(mark.as_bytes())))
    })
}

fn encode(commands: &[&Command], mark: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    commands.iter().for_each(|command| command.encode(&mut bytes));
    Command::new("ECHO").arg(mark).encode(&mut bytes);
    bytes
}
