//! What is found when a copy is held against another one, entry by entry.

use super::*;

const KEY: &[u8] = b"{a}key";

fn slot() -> Slot {
    Slot::of(KEY)
}

/// Two copies with the same entries.
fn pair() -> (Store, Store) {
    let (leader, follower) = (leader([slot()].into_iter()), follower([slot()].into_iter()));
    on(&leader, KEY, NOW, |txn| {
        (0..50).for_each(|n| txn.put(format!("{{a}}{n}").as_bytes(), format!("value {n}").as_bytes(), 0));
        txn.put(b"{a}large", &[7; 100_000], NOW + 1000);
        txn.put(KEY, b"value", NOW + 2000);
    });
    deliver(&leader, &follower);
    follower.open_lane(PEER);
    (leader, follower)
}

/// Takes over what waits, without claims; the claims.
fn deliver(from: &Store, to: &Store) -> Vec<Claim> {
    let mut claims = Vec::new();
    for (tag, bytes) in frames(from, 1 << 20) {
        match tag {
            TAG_EFFECT => drop(to.receive(PEER, &bytes, NOW).unwrap()),
            TAG_CLAIM => claims.push(Claim::read(&bytes).unwrap().1),
            other => panic!("a frame of tag {other}"),
        }
    }
    claims
}

/// Claims and answers.
fn audit(leader: &Store, follower: &Store) -> (Claimed, Finding) {
    let claimed = leader.claim(slot(), 9, |peers| assert_eq!(peers, [PEER].into_iter().collect())).unwrap();
    assert_eq!(claimed.sent_to, claimed.counting);
    let [claim] = deliver(leader, follower)[..] else { panic!("one claim") };
    let finding = follower.check_claim(PEER, slot(), &claim);
    let answers = frames(follower, 1 << 20);
    let [(TAG_FINDING, body)] = &answers[..] else { panic!("one answer: {answers:?}") };
    let (of_slot, round, said, _) = read_finding(body).unwrap();
    assert_eq!((of_slot, round, said), (slot(), 9, finding));
    (claimed, finding)
}

#[test]
fn equal_copies_are_equal_to_the_last_byte() {
    let (leader, follower) = pair();
    let (claimed, finding) = audit(&leader, &follower);
    assert_eq!((claimed.is_sound, claimed.keys, finding), (true, 52, Finding::Equal));
    assert!(follower.claim(slot(), 1, |_| ()).is_none(), "it does not act");
}

#[test]
fn whatever_is_different_is_found() {
    let (leader, follower) = pair();
    assert!(follower.spoil(slot(), KEY, false));
    assert_eq!(audit(&leader, &follower).1, Finding::Content);
    let (leader, follower) = pair();
    assert!(follower.spoil(slot(), KEY, true) && !follower.spoil(slot(), KEY, true));
    assert_eq!(audit(&leader, &follower).1, Finding::Spoilt);
    // What is written afterwards does not hide it.
    on(&leader, KEY, NOW, |txn| txn.put(b"{a}1", b"other", 0));
    assert_eq!(audit(&leader, &follower).1, Finding::Spoilt);

    let (leader, follower) = pair();
    on(&leader, KEY, NOW, |txn| txn.put(b"{a}1", b"other", 0));
    frames(&leader, 1 << 20);
    assert_eq!(audit(&leader, &follower).1, Finding::Context);
    follower.with_replica(slot(), |replica| replica.forget());
    assert_eq!(audit(&leader, &follower).1, Finding::Absent);
    follower.with_replica(slot(), |replica| replica.open(Origin(5)));
    assert_eq!(audit(&leader, &follower).1, Finding::Behind);
}

#[test]
fn who_acts_finds_itself_and_the_other_copy_is_right() {
    let (leader, follower) = pair();
    assert!(leader.spoil(slot(), KEY, true));
    let (claimed, finding) = audit(&leader, &follower);
    assert_eq!((claimed.is_sound, finding), (false, Finding::Equal));
    // For want of a better copy it is taken as it is.
    leader.settle_books(slot());
    let (claimed, finding) = audit(&leader, &follower);
    assert_eq!((claimed.is_sound, finding), (true, Finding::Entries));
}

#[test]
fn a_fold_that_is_wrong_beside_entries_that_are_right_is_put_right() {
    let (leader, follower) = pair();
    follower.with_replica(slot(), |replica| replica.entries_mut().1.0 ^= 1);
    assert_eq!(audit(&leader, &follower).1, Finding::Equal);
    check_books(&follower);
}

#[test]
fn damaged_records_are_refused() {
    let (leader, follower) = pair();
    leader.claim(slot(), 9, |_| ());
    let (_, claim) = frames(&leader, 1 << 20).pop().unwrap();
    follower.check_claim(PEER, slot(), &Claim::read(&claim).unwrap().1);
    let (_, finding) = frames(&follower, 1 << 20).pop().unwrap();
    for len in 0..claim.len() {
        assert!(Claim::read(&claim[..len]).is_err());
    }
    for len in 0..finding.len() {
        assert!(read_finding(&finding[..len]).is_err());
    }
    assert!(
        Claim::read(&[&claim[..], &[0]].concat()).is_err() && read_finding(&[&finding[..], &[0]].concat()).is_err()
    );
    let mut unknown = finding;
    unknown[10] = 7;
    assert!(read_finding(&unknown).is_err());
}
