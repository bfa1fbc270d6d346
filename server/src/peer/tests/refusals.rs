//! Who may not talk to whom, and what is said of it.

use super::*;
use crate::peer::{
    greeting::PROTOCOL,
    line::{Line, Purpose},
    wire::{self, packet::Body},
};

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text).unwrap())
}

/// Lets a node dial a usual one, and hands over what each is told.
async fn refused(change: impl FnOnce(&mut PeeringConfig)) -> (Refusal, Refusal) {
    let (mut dialler, mut acceptor) = (node_with(1, change).await, node(2).await);
    refusals_of_both(&mut dialler, &mut acceptor).await
}

async fn refusals_of_both(dialler: &mut Node, acceptor: &mut Node) -> (Refusal, Refusal) {
    dialler.dial(acceptor);
    let (here, there) = (dialler.event().await, acceptor.event().await);
    dialler.nothing_else();
    acceptor.nothing_else();
    let PeerEvent::Refused { address, dialled: true, why: here } = here else { panic!("not refused: {here:?}") };
    assert_eq!(address, acceptor.address);
    let PeerEvent::Refused { address, dialled: false, why: there } = there else { panic!("not refused: {there:?}") };
    assert_eq!(address, dialler.address);
    (here, there)
}

#[tokio::test]
async fn another_cluster() {
    let (here, there) = refused(|config| config.cluster_name = "other".to_owned()).await;
    assert_eq!(here, Refusal::Cluster { ours: "other".to_owned(), theirs: "test".to_owned() });
    assert_eq!(there, Refusal::Cluster { ours: "test".to_owned(), theirs: "other".to_owned() });
    let event = PeerEvent::Refused { address: "10.0.0.5:7946".to_owned(), dialled: true, why: here };
    assert_eq!(event.to_string(), "peer at 10.0.0.5:7946 is of cluster `test`, this node is of `other`");
}

#[tokio::test]
async fn other_settings() {
    let (here, there) = refused(|config| config.descriptor = b"replicas=3".to_vec()).await;
    assert!(matches!(here, Refusal::Descriptor { theirs, .. } if theirs == "replicas=2"));
    assert!(matches!(there, Refusal::Descriptor { theirs, .. } if theirs == "replicas=3"));
}

#[tokio::test]
async fn a_clock_far_from_this_nodes() {
    let far_ms = NOW_MS + 2 * DAY_MS;
    let (mut dialler, mut acceptor) = (node_at(1, ManualClock::new(far_ms), |_| {}).await, node(2).await);
    for _ in 0..2 {
        let told = refusals_of_both(&mut dialler, &mut acceptor).await;
        assert_eq!(told, (Refusal::ClockBehind { by_ms: 2 * DAY_MS }, Refusal::ClockAhead { by_ms: 2 * DAY_MS }));
        // Its versions go on from where they began, so that setting the clock alone changes nothing.
        dialler.clock.set_unix_ms(NOW_MS);
        acceptor.clock.set_unix_ms(far_ms);
    }
}

#[tokio::test]
async fn a_clock_that_jumps_is_no_reason() {
    let (mut dialler, mut acceptor) = (node(1).await, node(2).await);
    dialler.clock.set_unix_ms(NOW_MS + 400 * DAY_MS);
    acceptor.clock.set_unix_ms(1);
    meet(&mut dialler, &mut acceptor).await;
}

#[tokio::test]
async fn who_said_what_no_peer_says_is_met_again_after_a_pause() {
    let (mut dialler, mut acceptor) = (node(1).await, node(2).await);
    let (one, two) = meet(&mut dialler, &mut acceptor).await;
    acceptor.peering.close_for_nonsense(two.id, "nonsense");
    assert_eq!(acceptor.down().await, (two.id, "nonsense".to_owned()));
    assert_eq!(dialler.down().await.0, one.id);
    let told = refusals_of_both(&mut dialler, &mut acceptor).await;
    assert_eq!(told, (Refusal::PausedThere, Refusal::PausedHere));
    // Who pauses does not dial either.
    acceptor.dial(&dialler);
    let event = acceptor.event().await;
    assert!(matches!(event, PeerEvent::Refused { dialled: true, why: Refusal::PausedHere, .. }), "{event:?}");
    acceptor.clock.advance(Duration::from_millis(300));
    meet(&mut dialler, &mut acceptor).await;
}

#[tokio::test]
async fn another_secret() {
    let wrong = refused(|config| config.secret = secret("b secret")).await;
    assert_eq!(wrong, (Refusal::SecretDiffers, Refusal::SecretDiffers));
    let missing = refused(|config| config.secret = None).await;
    assert_eq!(missing, (Refusal::SecretMissingHere, Refusal::SecretMissingThere));
}

#[tokio::test]
async fn no_secret_on_both_sides_is_no_reason() {
    let mut a = node_with(1, |config| config.secret = None).await;
    let mut b = node_with(2, |config| config.secret = None).await;
    let (one, mut two) = meet(&mut a, &mut b).await;
    one.lane.send.send(frame(1, 10)).await.unwrap();
    assert_eq!(receive(&mut two.lane).await, frame(1, 10));
}

#[tokio::test]
async fn two_boots_with_one_identity_both_learn_of_it() {
    let (here, there) = refused(|config| {
        config.me = NodeId::from_bytes([2; 20]);
        config.incarnation = Incarnation(2000);
    })
    .await;
    let node = NodeId::from_bytes([2; 20]);
    let (older, younger) = (Incarnation(1000), Incarnation(2000));
    assert_eq!(here, Refusal::SameIdentity { node, ours: younger, theirs: older });
    assert_eq!(there, Refusal::SameIdentity { node, ours: older, theirs: younger });
}

#[tokio::test]
async fn two_boots_in_one_millisecond_are_two() {
    let (here, _) = refused(|config| config.me = NodeId::from_bytes([2; 20])).await;
    assert!(matches!(here, Refusal::SameIdentity { ours, theirs, .. } if ours == theirs));
}

#[tokio::test]
async fn a_stranger_cannot_claim_this_nodes_identity() {
    let (here, there) = refused(|config| {
        config.me = NodeId::from_bytes([2; 20]);
        config.secret = secret("a guess");
    })
    .await;
    assert_eq!((here, there), (Refusal::SecretDiffers, Refusal::SecretDiffers));
}

#[tokio::test]
async fn oneself() {
    let mut a = node(1).await;
    a.peering.dial(a.address.clone(), None);
    let event = a.event().await;
    assert!(matches!(event, PeerEvent::Refused { dialled: true, why: Refusal::Ourselves, .. }), "{event:?}");
    a.nothing_else();
}

#[tokio::test]
async fn somebody_else_than_expected() {
    let (mut a, b) = (node(1).await, node(2).await);
    let expected = NodeId::from_bytes([3; 20]);
    a.peering.dial(b.address.clone(), Some(expected));
    let event = a.event().await;
    let PeerEvent::Refused { why, .. } = event else { panic!("not refused: {event:?}") };
    assert_eq!(why, Refusal::Unexpected { expected, found: b.id });
}

#[tokio::test]
async fn another_version() {
    let mut a = node(1).await;
    let stream = tokio::net::TcpStream::connect(&a.address).await.unwrap();
    let Ok((mut line, _leash)) = Line::dial(stream, Purpose::Control).await else { panic!("no stream") };
    line.say(Body::Hello(wire::Hello { protocol: 7, ..Default::default() })).await.unwrap();
    // It is answered, so that the other version can say the same to its operator.
    assert!(matches!(in_time(line.hear()).await, Ok(Body::Hello(hello)) if hello.protocol == PROTOCOL));
    let event = a.event().await;
    let PeerEvent::Refused { dialled: false, why, .. } = event else { panic!("not refused: {event:?}") };
    assert_eq!(why, Refusal::Protocol { ours: PROTOCOL, theirs: 7 });
}

#[tokio::test]
async fn nobody() {
    let mut a = node(1).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for address in [free.as_str(), "no port", "", "\r\n:1"] {
        a.peering.dial(address.to_owned(), None);
        let event = a.event().await;
        assert!(matches!(&event, PeerEvent::Unreachable { address: told, .. } if told == address), "{event:?}");
    }
}

#[tokio::test]
async fn a_node_does_not_start_with_what_others_would_refuse() {
    let start = |advertise: &str| {
        let config = PeeringConfig {
            me: NodeId::from_bytes([1; 20]),
            incarnation: Incarnation(1),
            cluster_name: "test".to_owned(),
            secret: None,
            descriptor: Vec::new(),
            advertise: advertise.to_owned(),
            is_protected: true,
            silence: FAR,
        };
        async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Peering::start(config, Arc::new(ManualClock::new(NOW_MS)), listener, mpsc::channel(1).0, mpsc::channel(1).0)
                .map(drop)
                .map_err(|e| e.to_string())
        }
    };
    assert_eq!(start("host:1").await, Ok(()));
    assert_eq!(start("host").await, Err("the advertised address is not host:port".to_owned()));
}

#[test]
fn without_a_secret_only_private_networks_are_heard() {
    let config = |secret: Option<&str>, is_protected| PeeringConfig {
        me: NodeId::from_bytes([1; 20]),
        incarnation: Incarnation(1),
        cluster_name: "circlet".to_owned(),
        secret: secret.map(|secret| Secret::new(secret).unwrap()),
        descriptor: Vec::new(),
        advertise: "127.0.0.1:7946".to_owned(),
        is_protected,
        silence: FAR,
    };
    let (near, far) = ("10.0.0.1".parse().unwrap(), "8.8.8.8".parse().unwrap());
    assert!(config(None, true).hears(near) && !config(None, true).hears(far));
    assert!(config(Some("a long enough secret"), true).hears(far) && config(None, false).hears(far));
}
