//! The greeting, from both sides: who are you, and do you know the secret?

use ring::id::NodeId;

use super::{
    Refusal,
    core::Core,
    greeting::Greeting,
    line::{Line, Silence},
    proof::{SessionKey, Side, Transcript},
    rank::Rank,
    wire::{self, packet::Body},
};

/// Why a greeting led to no session.
pub(super) enum Miss {
    /// The two must not talk.
    Refused(Refusal),
    /// There is a session with this peer already.
    Superseded(NodeId),
    /// The peer went away or made no sense.
    Gone(String),
}

impl From<Refusal> for Miss {
    fn from(why: Refusal) -> Miss {
        Miss::Refused(why)
    }
}

impl From<std::io::Error> for Miss {
    fn from(error: std::io::Error) -> Miss {
        Miss::Gone(error.to_string())
    }
}

impl Miss {
    /// What it means that this peer says no more.
    pub(super) fn of(silence: Silence, peer: Option<NodeId>) -> Miss {
        match (silence, peer) {
            (Silence::ProofRefused, _) => Miss::Refused(Refusal::SecretDiffers),
            (Silence::Superseded, Some(peer)) => Miss::Superseded(peer),
            (Silence::Superseded, None) => Miss::Refused(Refusal::Malformed("a verdict before the greeting")),
            (Silence::Paused, _) => Miss::Refused(Refusal::PausedThere),
            (Silence::Broken(why), _) => Miss::Gone(why),
        }
    }
}

/// Both have proved themselves.
pub(super) struct Met {
    pub(super) theirs: Greeting,
    pub(super) rank: Rank,
    pub(super) key: SessionKey,
    /// The acceptor's proof, which it has yet to send; the dialler has it.
    pub(super) proof: Vec<u8>,
}

/// Greets as the one who dialled.
pub(super) async fn as_dialler(core: &Core, line: &mut Line, expect: Option<NodeId>) -> Result<Met, Miss> {
    let ours = core.greeting(core.next_attempt(), None)?;
    let gone = |silence| Miss::of(silence, None);
    line.say(Body::Hello(ours.to_wire())).await.map_err(gone)?;
    let Body::Hello(hello) = line.hear().await.map_err(gone)? else { return Err(out_of_turn()) };
    let theirs = Greeting::from_wire(hello)?;
    if ours.is_mirrored_by(&theirs) {
        return Err(Refusal::Ourselves.into());
    }
    ours.agrees_with(&theirs)?;
    if let Some(expected) = expect.filter(|expected| *expected != theirs.node) {
        return Err(Refusal::Unexpected { expected, found: theirs.node }.into());
    }
    let peer = theirs.node;
    if core.registry.taken_by_another_boot(peer, &theirs.boot) {
        let proof = prove_taken(core, &ours, &theirs);
        line.say(Body::Proof(wire::Proof { proof, lost: false, taken: true })).await.map_err(gone)?;
        // Whoever closes now may cut off what was just said; the acceptor closes when it has read it.
        let _ = line.hear().await;
        return Err(Refusal::IdentityClaimed { node: peer }.into());
    }
    if core.registry.alive_with(peer).is_some_and(|held| held.tie.incarnation >= theirs.incarnation) {
        return Err(Miss::Superseded(peer));
    }
    if core.is_paused(&theirs) {
        return Err(Refusal::PausedHere.into());
    }
    let lost = theirs.holds.is_some_and(|name| core.registry.named(name).is_none());
    prove_and_verify(core, line, &ours, theirs, lost).await
}

/// The dialler's proof of having no use for the acceptor.
fn prove_taken(core: &Core, ours: &Greeting, theirs: &Greeting) -> bytes::Bytes {
    let (dialler, acceptor) = (ours.transcript(), theirs.transcript());
    let transcript = Transcript { secret: core.secret(), dialler: &dialler, acceptor: &acceptor };
    transcript.prove(Side::Dialler, true).to_vec().into()
}

/// The dialler's proof, then the acceptor's.
async fn prove_and_verify(
    core: &Core,
    line: &mut Line,
    ours: &Greeting,
    theirs: Greeting,
    lost: bool,
) -> Result<Met, Miss> {
    let (dialler, acceptor) = (ours.transcript(), theirs.transcript());
    let transcript = Transcript { secret: core.secret(), dialler: &dialler, acceptor: &acceptor };
    let peer = theirs.node;
    let gone = |silence| match Miss::of(silence, Some(peer)) {
        // The peer ends this greeting without a word when another session between the two has come about meanwhile.
        Miss::Gone(_) if core.registry.alive_with(peer).is_some() => Miss::Superseded(peer),
        miss => miss,
    };
    let proof = transcript.prove(Side::Dialler, false).to_vec().into();
    line.say(Body::Proof(wire::Proof { proof, lost, taken: false })).await.map_err(gone)?;
    let Body::Proof(wire::Proof { proof, taken, .. }) = line.hear().await.map_err(gone)? else {
        return Err(out_of_turn());
    };
    if !transcript.verify(Side::Acceptor, taken, &proof) {
        return Err(Refusal::SecretDiffers.into());
    }
    if taken {
        return Err(Refusal::IdentityTaken { node: ours.node }.into());
    }
    ours.differs_in_identity(&theirs)?;
    let rank = Rank { incarnation: theirs.incarnation, dialler: ours.node, attempt: ours.attempt };
    Ok(Met { rank, key: transcript.key(), theirs, proof: proof.to_vec() })
}

/// Greets as the one who was dialled. `from` becomes the address that the dialler gives itself.
///
/// `None` stands for a dialler that turns out to be this very node: the dialling side of it says so.
pub(super) async fn as_acceptor(core: &Core, line: &mut Line, from: &mut String) -> Result<Option<Met>, Miss> {
    let gone = |silence| Miss::of(silence, None);
    let Body::Hello(hello) = line.hear().await.map_err(gone)? else { return Err(out_of_turn()) };
    let theirs = match Greeting::from_wire(hello) {
        Ok(theirs) => theirs,
        Err(why) => {
            // The dialler draws its own conclusion from this greeting.
            line.say(Body::Hello(core.greeting(0, None)?.to_wire())).await.map_err(gone)?;
            return Err(why.into());
        }
    };
    from.clone_from(&theirs.advertise);
    // An earlier boot cannot know the session of a later one, and must not be asked.
    let held =
        core.registry.alive_with(theirs.node).filter(|held| held.up && held.tie.incarnation == theirs.incarnation);
    let ours = core.greeting(0, held.as_ref().map(|held| held.tie.name))?;
    line.say(Body::Hello(ours.to_wire())).await.map_err(gone)?;
    if ours.is_mirrored_by(&theirs) {
        return Ok(None);
    }
    ours.agrees_with(&theirs)?;
    let Body::Proof(wire::Proof { proof, lost, taken }) = line.hear().await.map_err(gone)? else {
        return Err(out_of_turn());
    };
    let (dialler, acceptor) = (theirs.transcript(), ours.transcript());
    let transcript = Transcript { secret: core.secret(), dialler: &dialler, acceptor: &acceptor };
    if !transcript.verify(Side::Dialler, taken, &proof) {
        line.refuse(Silence::ProofRefused).await;
        return Err(Refusal::SecretDiffers.into());
    }
    let proof = transcript.prove(Side::Acceptor, false).to_vec();
    if let Err(same) = ours.differs_in_identity(&theirs) {
        // The other boot must be able to believe it as well.
        line.say(Body::Proof(wire::Proof { proof: proof.into(), lost: false, taken: false })).await.map_err(gone)?;
        return Err(same.into());
    }
    if taken {
        return Err(Refusal::IdentityTaken { node: ours.node }.into());
    }
    if core.registry.taken_by_another_boot(theirs.node, &theirs.boot) {
        let proof = transcript.prove(Side::Acceptor, true).to_vec().into();
        line.say(Body::Proof(wire::Proof { proof, lost: false, taken: true })).await.map_err(gone)?;
        return Err(Refusal::IdentityClaimed { node: theirs.node }.into());
    }
    if core.is_paused(&theirs) {
        line.refuse(Silence::Paused).await;
        return Err(Refusal::PausedHere.into());
    }
    if let Some(held) = held.filter(|_| lost) {
        held.tie.end("the peer lost it and connects again");
    }
    let rank = Rank { incarnation: theirs.incarnation, dialler: theirs.node, attempt: theirs.attempt };
    Ok(Some(Met { rank, key: transcript.key(), theirs, proof }))
}

fn out_of_turn() -> Miss {
    Miss::Refused(Refusal::Malformed("something out of turn in the greeting"))
}
