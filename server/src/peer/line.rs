//! One stream between two nodes: first a few greetings, then frames, both ways.

use std::{
    fmt,
    future::{pending, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, Receiver, Sender, WeakSender},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Frame, Half, PAYLOAD_LIMIT_BYTES,
    channel::{self, MESSAGE_LIMIT_BYTES},
    hub::Notice,
    socket::{Leash, Socket},
    tie::Tie,
    wire::{self, Packet, packet::Body, peer_client::PeerClient},
};

/// A frame that only says that its sender is there.
const BEAT: u8 = u8::MAX;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Control,
    Lane,
    Bulk,
}

impl Purpose {
    /// How many frames wait in each direction. It bounds memory together with the size of a frame, and it is small
    /// where frames are large.
    fn depth(self) -> usize {
        match self {
            Purpose::Control => 64,
            Purpose::Lane => 16,
            Purpose::Bulk => 4,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Purpose::Control => "control",
            Purpose::Lane => "lane",
            Purpose::Bulk => "bulk",
        })
    }
}

/// What leaves on a stream, in the form that the server side wants.
pub(super) type Outbound = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;

/// An open stream that is not yet part of a session.
pub(super) struct Line {
    purpose: Purpose,
    greetings: Sender<Result<Packet, Status>>,
    frames: Sender<Frame>,
    heard: Streaming<Packet>,
    /// The dialler's side of HTTP/2. It would close the connection if it were dropped.
    channel: Option<Channel>,
}

/// Why nothing more is heard on a stream.
#[derive(Debug)]
pub(super) enum Silence {
    /// The acceptor did not take the dialler's proof.
    ProofRefused,
    /// The acceptor has another session with the dialler, and that one stays.
    Superseded,
    /// The acceptor did not understand what the dialler said lately, and waits before it meets it again.
    Paused,
    /// The stream ended or broke, or something came that does not belong there.
    Broken(String),
}

/// The sending side of a stream that is about to be opened.
pub(super) struct Mouth {
    purpose: Purpose,
    greetings: Sender<Result<Packet, Status>>,
    frames: Sender<Frame>,
}

impl Mouth {
    /// The sending side and what it sends: greetings, and when [`Line::into_half`] has ended these, frames.
    pub(super) fn open(purpose: Purpose) -> (Mouth, Outbound) {
        let (greetings, greeted) = mpsc::channel(4);
        let (frames, framed) = mpsc::channel(purpose.depth());
        let outbound = ReceiverStream::new(greeted).chain(outgoing(purpose, framed));
        (Mouth { purpose, greetings, frames }, Box::pin(outbound))
    }

    /// The stream, now that its other direction is there.
    pub(super) fn line(self, heard: Streaming<Packet>, channel: Option<Channel>) -> Line {
        Line { purpose: self.purpose, greetings: self.greetings, frames: self.frames, heard, channel }
    }
}

impl Line {
    /// Opens a stream on a connection of its own.
    pub(super) async fn dial(stream: TcpStream, purpose: Purpose) -> Result<(Line, Leash), Silence> {
        let address = stream.peer_addr().map_err(broken)?;
        let socket = Socket::dialled(stream, address);
        let leash = socket.leash();
        let channel = channel::over(socket);
        let mut client = PeerClient::new(channel.clone()).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
        let (mouth, outbound) = Mouth::open(purpose);
        let outbound = Packets(outbound);
        let opened = match purpose {
            Purpose::Control => client.control(outbound).await,
            Purpose::Lane => client.lane(outbound).await,
            Purpose::Bulk => client.bulk(outbound).await,
        };
        Ok((mouth.line(opened.map_err(silence)?.into_inner(), Some(channel)), leash))
    }

    /// Says something before the frames.
    pub(super) async fn say(&self, body: Body) -> Result<(), Silence> {
        let said = self.greetings.send(Ok(Packet { body: Some(body) })).await;
        said.map_err(|_| Silence::Broken("the connection was lost".to_owned()))
    }

    /// Says that the greeting ends here. The dialler closes the connection.
    pub(super) async fn refuse(&self, why: Silence) {
        let status = match why {
            Silence::ProofRefused => Status::permission_denied("the proof of the cluster secret is wrong"),
            Silence::Superseded => Status::already_exists("another session stays"),
            Silence::Paused => Status::failed_precondition("too soon after what was said lately"),
            Silence::Broken(why) => Status::invalid_argument(why),
        };
        // Whoever has left need not be told.
        let _ = self.greetings.send(Err(status)).await;
    }

    /// Hears something before the frames.
    pub(super) async fn hear(&mut self) -> Result<Body, Silence> {
        match self.heard.message().await {
            Ok(Some(Packet { body: Some(body) })) => Ok(body),
            Ok(Some(_)) => Err(Silence::Broken("it said something that this version does not know".to_owned())),
            Ok(None) => Err(Silence::Broken("it closed the connection".to_owned())),
            Err(status) => Err(silence(status)),
        }
    }

    /// Turns to frames. The stream is part of the session from now on, and its end ends the session.
    ///
    /// Each side says something on every stream five times in `silence`, if only that it is there. Whoever hears nothing
    /// whole for that long ends the session: a damaged length, which gRPC does not check, would let it wait for ever, or
    /// swallow what comes.
    pub(super) fn into_half(self, tie: &Arc<Tie>, hub: &Sender<Notice>, silence: Duration) -> Half {
        let Line { purpose, greetings, frames, heard, channel } = self;
        drop(greetings);
        let (deliver, receive) = mpsc::channel(purpose.depth());
        let (tie, hub) = (tie.clone(), hub.clone());
        // Whoever lets go of its end is not to be kept by this.
        let beats = beat(frames.downgrade(), silence / 5);
        tokio::spawn(async move {
            tokio::select! {
                over = carry(purpose, heard, deliver, silence) => match over {
                    Over::Gone(why) => tie.end(&why),
                    Over::Nonsense(why) => tie.end_for_nonsense(&why),
                },
                () = beats => {}
                () = tie.ended().wait() => {}
            }
            drop(channel);
            // The hub is gone only when the whole node is.
            let _ = hub.send(Notice::Ended(tie)).await;
        });
        Half { send: frames, receive }
    }
}

/// What the client side sends. Only an acceptor refuses with a status.
///
/// A type with a name: of a boxed stream the compiler does not see that the future of a request that takes it may move
/// between threads (rust-lang/rust#96865).
struct Packets(Outbound);

impl Stream for Packets {
    type Item = Packet;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Packet>> {
        self.0.poll_next_unpin(context).map(|packet| packet.and_then(Result::ok))
    }
}

/// Why no frames come any more.
enum Over {
    /// One of the sides is gone, or what is between them broke.
    Gone(String),
    /// The peer sent what no peer sends.
    Nonsense(String),
}

/// Says again and again that this side is there. A queue that is full says so by itself. It does not end before the session
/// does.
async fn beat(frames: WeakSender<Frame>, every: Duration) {
    loop {
        sleep(every).await;
        match frames.upgrade() {
            Some(frames) => drop(frames.try_send(Frame { kind: BEAT, id: 0, payload: Bytes::new() })),
            None => pending().await,
        }
    }
}

/// Hands frames on as they come, and says why that ended.
async fn carry(purpose: Purpose, mut heard: Streaming<Packet>, deliver: Sender<Frame>, silence: Duration) -> Over {
    loop {
        let packet = tokio::select! {
            packet = timeout(silence, heard.message()) => match packet {
                Ok(packet) => packet,
                Err(_) => return Over::Gone(format!("nothing whole came on the {purpose} stream for {silence:?}")),
            },
            () = deliver.closed() => return Over::Gone(format!("this side let go of the {purpose} stream")),
        };
        let frame = match packet {
            Ok(Some(packet)) => packet.body,
            Ok(None) => return Over::Gone(format!("the peer closed the {purpose} stream")),
            Err(status) => return Over::Gone(format!("the {purpose} stream broke: {}", told(&status))),
        };
        let Some(frame) = frame.and_then(incoming) else {
            return Over::Nonsense(format!("something came on the {purpose} stream that is no frame, or was damaged"));
        };
        if frame.kind != BEAT && deliver.send(frame).await.is_err() {
            return Over::Gone(format!("this side let go of the {purpose} stream"));
        }
    }
}

fn incoming(body: Body) -> Option<Frame> {
    let Body::Frame(wire::Frame { kind, id, payload, check }) = body else { return None };
    let frame = Frame { kind: u8::try_from(kind).ok()?, id, payload };
    (frame.payload.len() <= PAYLOAD_LIMIT_BYTES && check == check_of(&frame)).then_some(frame)
}

/// Covers all of a frame, so that damage on the way, which TCP's checksum lets pass now and then, stays out of what nodes
/// store: a digest of a slot is of keys and versions, and would not show a damaged value.
fn check_of(frame: &Frame) -> u32 {
    xxh3_64_with_seed(&frame.payload, frame.id ^ u64::from(frame.kind) << 56) as u32
}

/// Frames on their way out. A frame that is too long ends the stream, and with it the session: dropping it alone
/// would break the promise of order.
fn outgoing(purpose: Purpose, frames: Receiver<Frame>) -> impl Stream<Item = Result<Packet, Status>> + Send {
    let fits = move |frame: &Frame| {
        let fits = frame.payload.len() <= PAYLOAD_LIMIT_BYTES;
        if !fits {
            tracing::error!("{frame:?} is too long for the {purpose} stream, which ends");
        }
        ready(fits)
    };
    ReceiverStream::new(frames).take_while(fits).map(|frame| Ok(Packet { body: Some(leaving(frame)) }))
}

fn leaving(frame: Frame) -> Body {
    let check = check_of(&frame);
    let Frame { kind, id, payload } = frame;
    Body::Frame(wire::Frame { kind: kind.into(), id, payload, check })
}

fn silence(status: Status) -> Silence {
    match status.code() {
        Code::PermissionDenied => Silence::ProofRefused,
        Code::AlreadyExists => Silence::Superseded,
        Code::FailedPrecondition => Silence::Paused,
        _ => Silence::Broken(told(&status)),
    }
}

fn broken(error: impl std::error::Error) -> Silence {
    Silence::Broken(chain(&error))
}

/// What a status says, without the words of the protocol around it.
fn told(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => status.message().escape_debug().take(200).collect(),
    }
}

/// The innermost cause: what the operating system said.
fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_arrives_as_it_left_or_not_at_all(
            kind: u8, id: u64, payload in prop::collection::vec(any::<u8>(), 0..600), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let frame = Frame { kind, id, payload: Bytes::from(payload) };
            prop_assert_eq!(incoming(leaving(frame.clone())), Some(frame.clone()));
            let damaged = |change: &dyn Fn(&mut wire::Frame)| {
                let Body::Frame(mut frame) = leaving(frame.clone()) else { unreachable!("a frame leaves as a frame") };
                change(&mut frame);
                incoming(Body::Frame(frame))
            };
            prop_assert_eq!(damaged(&|frame| frame.kind ^= 1 << bit), None);
            prop_assert_eq!(damaged(&|frame| frame.id ^= 1 << at.index(64)), None);
            prop_assert_eq!(damaged(&|frame| frame.check ^= 1 << at.index(32)), None);
            prop_assert_eq!(damaged(&|frame| {
                let mut payload = frame.payload.to_vec();
                match payload.is_empty() {
                    true => payload.push(bit),
                    false => payload[at.index(frame.payload.len())] ^= 1 << bit,
                }
                frame.payload = payload.into();
            }), None);
        }
    }
}
