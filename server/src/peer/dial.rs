//! The dialling side: one try, one result.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ring::id::NodeId;
use tokio::{net::TcpStream, time::timeout};

use super::{
    PeerEvent,
    core::Core,
    greet::{self, Met, Miss},
    line::{Line, Purpose, Silence},
    proof::Claim,
    socket::Leash,
    tie::{Acquaintance, Tie},
    wire::{self, packet::Body},
};
use crate::listeners::tune;

/// How long a name may take to resolve and a host to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long each of the two steps may take that follow: the greeting, and opening the other two streams.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many addresses may be dialled at a time.
const DIALS: usize = 256;

/// Dials once, unless this address is being dialled already: then that dial's result is this one's.
pub(super) fn once(core: &Arc<Core>, address: String, expect: Option<NodeId>) {
    let mut dialling = core.dialling.lock();
    if dialling.contains(&address) {
        return;
    }
    if dialling.len() >= DIALS {
        drop(dialling);
        let why = format!("{DIALS} addresses are being dialled already");
        // A caller that floods both this and its own queue of events learns it from neither.
        let _ = core.events.try_send(PeerEvent::Unreachable { address, why });
        return;
    }
    dialling.insert(address.clone());
    drop(dialling);
    let shared = core.clone();
    core.spawn(async move {
        let result = open(&shared, &address, expect).await;
        // First, so that whoever hears of the result may dial again.
        shared.dialling.lock().remove(&address);
        match result {
            Ok((tie, lines)) => shared.complete(tie, lines).await,
            Err(miss) => drop(shared.events.send(told(address, miss)).await),
        }
    });
}

/// Connects, setting what every connection of ours wants.
pub(super) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()))
    })??;
    tune(&stream)?;
    Ok(stream)
}

fn told(address: String, miss: Miss) -> PeerEvent {
    match miss {
        Miss::Refused(why) => PeerEvent::Refused { address, dialled: true, why },
        Miss::Superseded(peer) => PeerEvent::Superseded { address, peer },
        Miss::Gone(why) => PeerEvent::Unreachable { address, why },
    }
}

/// A session with whoever is there, all streams open.
async fn open(core: &Core, address: &str, expect: Option<NodeId>) -> Result<(Arc<Tie>, [Line; 3]), Miss> {
    let stream = connect(address).await?;
    let reached = stream.peer_addr()?;
    let (line, leash, met) = in_time("the greeting", greeted(core, stream, expect)).await?;
    let peer = met.theirs.node;
    let tie = core.offer(acquaintance(met, reached, address)).await.ok_or(Miss::Superseded(peer))?;
    leash.tie_to(tie.ended());
    match in_time("opening the streams", joined(&tie)).await {
        Ok((lane, bulk)) => Ok((tie, [line, lane, bulk])),
        Err(miss) => Err(give_up(core, tie, miss).await),
    }
}

/// Greets over a control stream.
async fn greeted(core: &Core, stream: TcpStream, expect: Option<NodeId>) -> Result<(Line, Leash, Met), Miss> {
    let (mut line, leash) = Line::dial(stream, Purpose::Control).await.map_err(|why| Miss::of(why, None))?;
    let met = greet::as_dialler(core, &mut line, expect).await?;
    Ok((line, leash, met))
}

/// Opens the other two streams of a session.
async fn joined(tie: &Tie) -> Result<(Line, Line), Miss> {
    let both = tokio::try_join!(join(tie, Purpose::Lane), join(tie, Purpose::Bulk));
    both.map_err(|silence| Miss::of(silence, Some(tie.peer)))
}

fn acquaintance(met: Met, reached: SocketAddr, dialled: &str) -> Acquaintance {
    Acquaintance {
        peer: met.theirs.node,
        boot: met.theirs.boot,
        rank: met.rank,
        key: met.key,
        // A name may resolve to many nodes, and the advertised address may hold elsewhere only. This one is true.
        address: reached.to_string(),
        dialled: Some(dialled.to_owned()),
    }
}

/// Opens one of them.
async fn join(tie: &Tie, purpose: Purpose) -> Result<Line, Silence> {
    let stream = connect(&tie.address).await.map_err(|error| Silence::Broken(error.to_string()))?;
    let (mut line, leash) = Line::dial(stream, purpose).await?;
    // The acceptor may send frames as soon as it has taken the stream, so the limit for strangers ends here.
    leash.tie_to(tie.ended());
    let claim = if purpose == Purpose::Lane { Claim::Lane } else { Claim::Bulk };
    let (session, proof) = (tie.name.to_vec().into(), tie.key.prove(claim).to_vec().into());
    line.say(Body::Attach(wire::Attach { session, proof })).await?;
    match line.hear().await? {
        Body::Attached(_) => Ok(line),
        _ => Err(Silence::Broken(format!("it broke the peer protocol while the {purpose} stream was opened"))),
    }
}

/// Ends a session that did not come about. If that is because another one with the same peer did, this is not worth
/// an error.
async fn give_up(core: &Core, tie: Arc<Tie>, miss: Miss) -> Miss {
    let peer = tie.peer;
    let replaced = core.registry.alive_with(peer).is_some_and(|held| held.tie.id != tie.id);
    core.abandon(tie, "its streams could not be opened").await;
    if replaced { Miss::Superseded(peer) } else { miss }
}

async fn in_time<T>(what: &str, step: impl Future<Output = Result<T, Miss>>) -> Result<T, Miss> {
    let late = |_| Miss::Gone(format!("{what} took longer than {} s", STEP_TIMEOUT.as_secs()));
    timeout(STEP_TIMEOUT, step).await.map_err(late)?
}
