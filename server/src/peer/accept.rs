//! The accepting side of the three streams.

use std::sync::Arc;

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    PeerEvent, Refusal,
    channel::{self, MESSAGE_LIMIT_BYTES},
    core::Core,
    dial::STEP_TIMEOUT,
    greet::{self, Met, Miss},
    greeting,
    line::{Line, Mouth, Outbound, Purpose, Silence},
    proof::Claim,
    socket::{Caller, Socket},
    tie::{Acquaintance, Tie},
    wire::{
        self, Packet,
        packet::Body,
        peer_server::{Peer, PeerServer},
    },
};

/// Serves the HTTP/2 connections that come through the channel.
pub(super) async fn serve(core: Arc<Core>, sockets: mpsc::Receiver<std::io::Result<Socket>>) {
    let service = PeerServer::new(Service(core)).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    let served = channel::server().add_service(service).serve_with_incoming(ReceiverStream::new(sockets)).await;
    if let Err(error) = served {
        tracing::error!("the peer port is no longer served: {error}");
    }
}

struct Service(Arc<Core>);

impl Service {
    /// Answers at once that the stream is open; what is said on it is another task's.
    fn open(&self, purpose: Purpose, request: Request<Streaming<Packet>>) -> Result<Response<Outbound>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Status::internal("a connection without an address"))?;
        let (mouth, outbound) = Mouth::open(purpose);
        let line = mouth.line(request.into_inner(), None);
        let core = self.0.clone();
        match purpose {
            Purpose::Control => self.0.spawn(async move { greet(&core, line, caller).await }),
            Purpose::Lane => self.0.spawn(async move { attach(&core, line, caller, purpose, Claim::Lane).await }),
            Purpose::Bulk => self.0.spawn(async move { attach(&core, line, caller, purpose, Claim::Bulk).await }),
        }
        Ok(Response::new(outbound))
    }
}

#[tonic::async_trait]
impl Peer for Service {
    type ControlStream = Outbound;
    type LaneStream = Outbound;
    type BulkStream = Outbound;

    async fn control(&self, request: Request<Streaming<Packet>>) -> Result<Response<Outbound>, Status> {
        self.open(Purpose::Control, request)
    }

    async fn lane(&self, request: Request<Streaming<Packet>>) -> Result<Response<Outbound>, Status> {
        self.open(Purpose::Lane, request)
    }

    async fn bulk(&self, request: Request<Streaming<Packet>>) -> Result<Response<Outbound>, Status> {
        self.open(Purpose::Bulk, request)
    }
}

/// Greets a dialler and opens a session with it.
async fn greet(core: &Core, mut line: Line, caller: Caller) {
    let mut from = caller.address.to_string();
    let greeted = timeout(STEP_TIMEOUT, greet::as_acceptor(core, &mut line, &mut from)).await;
    match greeted {
        Ok(Ok(Some(met))) => open(core, line, caller, met).await,
        Ok(Ok(None)) => {}
        Ok(Err(miss)) => tell(core, from, miss).await,
        Err(_) => tracing::debug!("{from} did not finish its greeting"),
    }
}

/// Tells of a dialler that was refused.
async fn tell(core: &Core, address: String, miss: Miss) {
    let why = match miss {
        Miss::Refused(why) => why,
        Miss::Gone(why) => return tracing::debug!("{address} left during its greeting: {why}"),
        Miss::Superseded(_) => return,
    };
    let proved = matches!(why, Refusal::SameIdentity { .. } | Refusal::IdentityTaken { .. });
    let event = PeerEvent::Refused { address, dialled: false, why };
    if proved {
        // Nobody listens any more when the node is about to stop.
        let _ = core.events.send(event).await;
    } else {
        // A stranger who comes again and again must not keep the news of peers waiting.
        let _ = core.events.try_send(event);
    }
}

async fn open(core: &Core, line: Line, caller: Caller, met: Met) {
    let Met { theirs, rank, key, proof } = met;
    let with =
        Acquaintance { peer: theirs.node, boot: theirs.boot, rank, key, address: theirs.advertise, dialled: None };
    let Some(tie) = core.offer(with).await else {
        return line.refuse(Silence::Superseded).await;
    };
    caller.leash.tie_to(tie.ended());
    match timeout(STEP_TIMEOUT, streams(&tie, &line, proof)).await {
        Ok(Some([lane, bulk])) => core.complete(tie, [line, lane, bulk]).await,
        Ok(None) | Err(_) => core.abandon(tie, "its streams were not opened").await,
    }
}

/// Sends the proof and waits for the other two streams, if the session lives so long.
async fn streams(tie: &Tie, line: &Line, proof: Vec<u8>) -> Option<[Line; 2]> {
    let (lane, bulk) = (tie.expect(Purpose::Lane), tie.expect(Purpose::Bulk));
    line.say(Body::Proof(wire::Proof { proof: proof.into(), lost: false, taken: false })).await.ok()?;
    tokio::select! {
        both = async { tokio::try_join!(lane, bulk) } => both.ok().map(|(lane, bulk)| [lane, bulk]),
        () = tie.ended().wait() => None,
    }
}

/// Lets a stream join the session that it proves to belong to.
async fn attach(core: &Core, mut line: Line, caller: Caller, purpose: Purpose, claim: Claim<'_>) {
    let heard = timeout(STEP_TIMEOUT, line.hear()).await;
    let Ok(Ok(Body::Attach(wire::Attach { session, proof }))) = heard else { return };
    let tie = greeting::name(&session).and_then(|name| core.registry.named(name));
    let Some(tie) = tie.filter(|tie| tie.key.verify(claim, &proof)) else {
        return line.refuse(Silence::Broken("there is no such session, or it was not proved".to_owned())).await;
    };
    let Some(seat) = tie.take_seat(purpose) else {
        return line.refuse(Silence::Broken(format!("the session has its {purpose} stream"))).await;
    };
    caller.leash.tie_to(tie.ended());
    if line.say(Body::Attached(wire::Attached {})).await.is_ok() {
        // The session may be over.
        let _ = seat.send(line);
    }
}
