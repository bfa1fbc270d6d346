//! Whoever dials whom and when: at most one session per pair, the same on both sides.

use tokio::{io::copy_bidirectional, net::TcpStream, sync::watch};

use super::*;

/// One side of a pair, as its node's other parts see it.
#[derive(Default)]
struct Seen {
    session: Option<Session>,
    /// Results of this side's dials.
    dials: u32,
}

impl Seen {
    /// Takes an event, and checks that it may come now.
    fn take(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Up(session) => {
                self.dials += u32::from(session.dialled.is_some());
                assert!(self.session.is_none(), "two sessions with one peer are up");
                self.session = Some(session);
            }
            PeerEvent::Down { session, .. } => {
                let up = self.session.take().map(|session| session.id);
                assert_eq!(up, Some(session), "a session goes down that is not up");
            }
            PeerEvent::Superseded { .. } => self.dials += 1,
            other => panic!("{other}"),
        }
    }
}

/// Takes events until each dial has its result and both sides have the two ends of one session.
async fn agreed(a: &mut Node, b: &mut Node, dials: (u32, u32)) -> (Session, Session) {
    let (mut here, mut there) = (Seen::default(), Seen::default());
    let mut asked = 0;
    loop {
        let complete = (here.dials, there.dials) == dials;
        if let (true, Some(one), Some(two)) = (complete, &here.session, &mut there.session) {
            asked += 1;
            // Fails if the session has just ended; its end is then among the next events.
            let _ = one.control.send.send(frame(asked, 1)).await;
            tokio::select! {
                heard = two.control.receive.recv() => if heard == Some(frame(asked, 1)) {
                    return (here.session.unwrap(), there.session.unwrap());
                },
                event = a.events.recv() => { here.take(event.unwrap()); continue }
                event = b.events.recv() => { there.take(event.unwrap()); continue }
            }
        }
        tokio::select! {
            event = a.event() => here.take(event),
            event = b.event() => there.take(event),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dial_at_once() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    for round in 0..60 {
        // Not always in the same order.
        if round % 2 == 0 {
            a.dial(&b);
            b.dial(&a);
        } else {
            b.dial(&a);
            a.dial(&b);
        }
        let (one, two) = in_time(agreed(&mut a, &mut b, (1, 1))).await;
        a.nothing_else();
        b.nothing_else();
        a.peering.close(one.id, "next round");
        assert_eq!((a.down().await.0, b.down().await.0), (one.id, two.id));
    }
}

#[tokio::test]
async fn a_dial_to_a_peer_that_is_connected_changes_nothing() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, mut two) = meet(&mut a, &mut b).await;
    a.dial(&b);
    assert!(matches!(a.event().await, PeerEvent::Superseded { peer, .. } if peer == b.id));
    b.dial(&a);
    assert!(matches!(b.event().await, PeerEvent::Superseded { peer, .. } if peer == a.id));
    one.control.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut two.control).await, frame(1, 1));
    a.nothing_else();
    b.nothing_else();
}

#[tokio::test]
async fn the_same_address_is_not_dialled_twice_at_once() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    a.dial(&b);
    a.dial(&b);
    let (_one, _two) = (a.up().await, b.up().await);
    a.nothing_else();
}

#[tokio::test]
async fn the_next_boot_of_a_peer_is_met_when_the_session_of_the_former_is_over() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (mut one, mut two) = meet(&mut a, &mut b).await;
    let mut next = node_with(2, |config| config.incarnation = Incarnation(2000)).await;

    // Whoever dials: the node that is at work is not cut off, and the other one is told.
    let taken = Refusal::IdentityTaken { node: b.id };
    let claimed = Refusal::IdentityClaimed { node: b.id };
    next.dial(&a);
    assert!(matches!(next.event().await, PeerEvent::Refused { why, .. } if why == taken));
    assert!(matches!(a.event().await, PeerEvent::Refused { why, .. } if why == claimed));
    a.dial(&next);
    assert!(matches!(next.event().await, PeerEvent::Refused { why, .. } if why == taken));
    assert!(matches!(a.event().await, PeerEvent::Refused { why, .. } if why == claimed));
    two.lane.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut one.lane).await, frame(1, 1));
    a.nothing_else();
    b.nothing_else();

    // It has been silent for the suspect time, say.
    a.peering.close(one.id, "silent");
    assert_eq!((a.down().await.0, b.down().await.0), (one.id, two.id));
    next.dial(&a);
    two = next.up().await;
    one = a.up().await;
    assert_eq!((one.incarnation, two.incarnation), (Incarnation(2000), Incarnation(1000)));
    two.lane.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut one.lane).await, frame(1, 1));
    a.nothing_else();
}

/// Passes connections on to an address until told to freeze; then they stay open and nothing moves.
async fn passage(to: String) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (freeze, frozen) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let (to, mut frozen) = (to.clone(), frozen.clone());
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut from, &mut there) => {}
                    _ = frozen.changed() => {}
                }
                // Held open, with nobody who reads or writes.
                let () = std::future::pending().await;
            });
        }
    });
    (address, freeze)
}

/// The link breaks without a word, one side notices, and that side dials.
async fn redial_after_a_break(first: u8, second: u8) {
    let (mut a, mut b) = (node(first).await, node(second).await);
    let (address, freeze) = passage(b.address.clone()).await;
    a.peering.dial(address, Some(b.id));
    let (one, two) = (a.up().await, b.up().await);
    freeze.send_replace(true);
    b.peering.close(two.id, "nothing heard");
    assert_eq!(b.down().await.0, two.id);
    b.dial(&a);
    let two = b.up().await;
    let (down, why) = a.down().await;
    assert_eq!((down, why.as_str()), (one.id, "the peer lost it and connects again"));
    let mut one = a.up().await;
    two.lane.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut one.lane).await, frame(1, 1));
}

#[tokio::test]
async fn whoever_notices_a_break_first_may_dial() {
    redial_after_a_break(1, 2).await;
    redial_after_a_break(2, 1).await;
}

#[tokio::test]
async fn a_dialler_that_comes_again_replaces_its_own_session() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (address, freeze) = passage(b.address.clone()).await;
    a.peering.dial(address, Some(b.id));
    let (one, two) = (a.up().await, b.up().await);
    freeze.send_replace(true);
    a.peering.close(one.id, "nothing heard");
    assert_eq!(a.down().await.0, one.id);
    a.dial(&b);
    let mut one = a.up().await;
    assert_eq!(b.down().await.0, two.id);
    let two = b.up().await;
    two.bulk.send.send(frame(1, 1)).await.unwrap();
    assert_eq!(receive(&mut one.bulk).await, frame(1, 1));
}
