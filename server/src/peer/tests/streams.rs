//! Frames, their order, their limits, and the end of a session.

use tokio::sync::mpsc::{Receiver, Sender};

use super::*;

const ROUNDS: u64 = 300;

fn numbered(id: u64) -> Frame {
    frame(id, if id.is_multiple_of(100) { PAYLOAD_LIMIT_BYTES } else { id as usize * 7 })
}

/// Sends all frames and gives the end back: if it were dropped, the session would be over.
async fn send_all(send: Sender<Frame>) -> Sender<Frame> {
    for id in 0..ROUNDS {
        send.send(numbered(id)).await.unwrap();
    }
    send
}

async fn receive_all(mut receive: Receiver<Frame>) -> Receiver<Frame> {
    for id in 0..ROUNDS {
        assert!(receive.recv().await == Some(numbered(id)), "frame {id} is not what was sent");
    }
    receive
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_cross_in_order_on_all_streams_both_ways() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, two) = meet(&mut a, &mut b).await;
    assert_eq!((one.peer, two.peer), (b.id, a.id));
    assert_eq!((&one.address, &two.address), (&b.address, &a.address));
    assert_eq!((one.dialled.as_ref(), two.dialled), (Some(&b.address), None));
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for (here, there) in [(one.control, two.control), (one.lane, two.lane), (one.bulk, two.bulk)] {
        for (send, receive) in [(here.send, there.receive), (there.send, here.receive)] {
            senders.push(tokio::spawn(send_all(send)));
            receivers.push(tokio::spawn(receive_all(receive)));
        }
    }
    let mut ends = Vec::new();
    for (sender, receiver) in senders.into_iter().zip(receivers) {
        ends.push((in_time(sender).await.unwrap(), in_time(receiver).await.unwrap()));
    }
    a.nothing_else();
    b.nothing_else();
}

#[tokio::test]
async fn a_stream_on_which_nothing_whole_comes_ends_its_session() {
    let soon = Duration::from_millis(300);
    let (mut a, mut b) = (node_with(1, |config| config.silence = soon).await, node(2).await);
    let (one, two) = meet(&mut a, &mut b).await;
    // The other one speaks as seldom as a node that waits for long may.
    let (session, why) = a.down().await;
    assert_eq!(session, one.id);
    assert!(why.starts_with("nothing whole came on the ") && why.ends_with(" stream for 300ms"), "{why}");
    assert_eq!(b.down().await.0, two.id);
}

#[tokio::test]
async fn who_has_nothing_to_say_stays_in_session() {
    let soon = Duration::from_millis(500);
    let (mut a, mut b) =
        (node_with(1, |config| config.silence = soon).await, node_with(2, |config| config.silence = soon).await);
    let (mut one, two) = meet(&mut a, &mut b).await;
    // Some times the silence that would end it.
    assert!(timeout(4 * soon, a.down()).await.is_err());
    two.bulk.send.send(frame(1, 10)).await.unwrap();
    assert_eq!(receive(&mut one.bulk).await, frame(1, 10));
    b.nothing_else();
}

#[tokio::test]
async fn a_node_that_goes_is_noticed_once() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (mut one, two) = meet(&mut a, &mut b).await;
    drop((b, two));
    assert_eq!(a.down().await.0, one.id);
    assert!(in_time(one.control.receive.recv()).await.is_none());
    in_time(one.lane.send.closed()).await;
    a.nothing_else();
}

#[tokio::test]
async fn each_stream_takes_the_session_with_it() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    for stream in ["control", "lane", "bulk"] {
        let (one, two) = meet(&mut a, &mut b).await;
        let (id, mut left) = (two.id, vec![two.control, two.lane, two.bulk]);
        drop(left.remove(["control", "lane", "bulk"].iter().position(|name| *name == stream).unwrap()));
        let (down, why) = b.down().await;
        assert_eq!((down, why), (id, format!("this side let go of the {stream} stream")));
        assert_eq!(a.down().await.0, one.id);
        for mut half in left {
            in_time(half.send.closed()).await;
            assert!(in_time(half.receive.recv()).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_session_that_is_closed_goes_down_on_both_sides_with_its_reason() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, two) = meet(&mut a, &mut b).await;
    b.peering.close(two.id, "nothing heard for 500 ms");
    b.peering.close(two.id, "again");
    assert_eq!(b.down().await, (two.id, "nothing heard for 500 ms".to_owned()));
    assert_eq!(a.down().await.0, one.id);
    // Names are not given again.
    let (next, _two) = meet(&mut a, &mut b).await;
    assert!(next.id > one.id);
    b.peering.close(two.id, "a session that is over");
    next.control.send.send(frame(1, 1)).await.unwrap();
}

#[tokio::test]
async fn a_frame_that_is_too_long_ends_the_session() {
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, two) = meet(&mut a, &mut b).await;
    one.lane.send.send(frame(1, PAYLOAD_LIMIT_BYTES + 1)).await.unwrap();
    assert_eq!(b.down().await, (two.id, "the peer closed the lane stream".to_owned()));
    assert_eq!(a.down().await.0, one.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_makes_the_sender_wait_and_nobody_else() {
    const MIB: usize = 1 << 20;
    let (mut a, mut b) = (node(1).await, node(2).await);
    let (one, mut two) = meet(&mut a, &mut b).await;
    // Nobody reads the lane: at some frame its sender has to wait. Two queues of 16 frames, one window of 8 MiB and
    // what is between them on the way fit into 64 MiB, far below what is sent in all.
    let mut sent = 0;
    while timeout(Duration::from_secs(2), one.lane.send.reserve()).await.is_ok() {
        one.lane.send.try_send(frame(sent, MIB)).unwrap();
        sent += 1;
        assert!(sent < 64, "the sender is not made to wait");
    }
    // The other streams do not wait for it.
    one.control.send.send(frame(1, 100)).await.unwrap();
    assert_eq!(receive(&mut two.control).await, frame(1, 100));
    one.bulk.send.send(frame(2, MIB)).await.unwrap();
    assert_eq!(receive(&mut two.bulk).await, frame(2, MIB));
    let rest = sent + 200;
    let sender = tokio::spawn(async move {
        for id in sent..rest {
            one.lane.send.send(frame(id, MIB)).await.unwrap();
        }
        one.lane
    });
    for id in 0..rest {
        assert!(receive(&mut two.lane).await == frame(id, MIB), "frame {id} is not what was sent");
    }
    in_time(sender).await.unwrap();
}
