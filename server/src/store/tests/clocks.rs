//! Versions when somebody sets the clock.

use std::time::Duration;

use ring::effect::EffectRef;

use super::*;
use crate::clock::{Clock, ManualClock};

const KEY: &[u8] = b"a";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A store that makes versions by this clock, acts for the slot of the key and ships to [`PEER`].
fn leader_by(clock: &ManualClock) -> Store {
    let store = Store::new(Settings {
        seed: 42,
        max_memory_bytes: 0,
        policy: Policy::AllKeysLru,
        lane_window_bytes: 1 << 20,
        events: Arc::new(()),
        versions: Some(clock.versions().clone()),
    });
    act(&store, [Slot::of(KEY)].into_iter());
    store.open_lane(PEER);
    store
}

/// Writes the key at the time of the clock; the effect that the others are sent, and the milliseconds of its version.
fn write(store: &Store, clock: &ManualClock, deadline: u64) -> (Vec<u8>, u64) {
    on(store, KEY, clock.unix_ms(), |txn| txn.put(KEY, b"1", deadline));
    let (_, effect) = frames(store, usize::MAX).pop().unwrap();
    let version_ms = EffectRef::decode(&effect).unwrap().header.dot.hlc.unix_ms();
    (effect, version_ms)
}

#[test]
fn versions_do_not_follow_a_clock_that_jumps_and_deadlines_do() {
    let clock = ManualClock::new(NOW);
    let (store, follower) = (leader_by(&clock), follower([Slot::of(KEY)].into_iter()));
    let (effect, version_ms) = write(&store, &clock, NOW + 2 * DAY_MS);
    assert_eq!(version_ms, NOW);
    assert_eq!(follower.receive(PEER, &effect, NOW).unwrap().1, Received::Applied);

    clock.advance(Duration::from_secs(1));
    clock.set_unix_ms(NOW + 3 * DAY_MS);
    on(&store, KEY, clock.unix_ms(), |txn| assert!(!txn.contains(KEY), "its deadline has come"));
    let (effect, version_ms) = write(&store, &clock, 0);
    assert_eq!(version_ms, NOW + 1000);
    assert_eq!(follower.receive(PEER, &effect, NOW + 1000).unwrap().1, Received::Applied);

    clock.advance(Duration::from_secs(1));
    clock.set_unix_ms(NOW - 3 * DAY_MS);
    assert_eq!(write(&store, &clock, 0).1, NOW + 2000);
}

#[test]
fn what_others_say_is_held_against_a_time_of_day_that_has_been_ahead_for_minutes() {
    let (clock, later) = (ManualClock::new(NOW), ManualClock::new(NOW + 2 * DAY_MS));
    let receiver = leader_by(&clock);
    let (effect, _) = write(&leader_by(&later), &later, 0);
    let is_taken = || receiver.receive(PEER, &effect, clock.unix_ms()).is_ok();
    assert!(!is_taken(), "two days ahead");
    clock.set_unix_ms(later.unix_ms());
    assert!(!is_taken(), "it may be a jump, and the others would refuse what came after");
    for _ in 0..3 {
        clock.compare();
        clock.advance(Duration::from_secs(300));
    }
    assert!(is_taken(), "the clock was wrong when this node started");
    assert_eq!(write(&receiver, &clock, 0).1, later.unix_ms(), "versions are above what was heard");
}

#[test]
fn a_clock_that_is_set_changes_nothing_about_what_was_used_last() {
    let clock = ManualClock::new(NOW);
    let store = leader_by(&clock);
    write(&store, &clock, 0);
    clock.set_unix_ms(NOW - 3 * DAY_MS);
    clock.advance(Duration::from_secs(30));
    on(&store, KEY, clock.unix_ms(), |txn| assert_eq!(txn.idle_seconds(KEY), Some(30)));
}

#[test]
fn nothing_is_executed_after_the_time_until_which_the_node_acts() {
    let clock = ManualClock::new(NOW);
    let store = leader_by(&clock);
    let executes = || matches!(store.execute(Slot::of(KEY), clock.unix_ms(), |_| ()), Executed::Done { .. });
    assert_eq!(store.act_until(NOW + 350), u64::MAX);
    clock.advance(Duration::from_millis(350));
    assert!(executes());
    clock.advance(Duration::from_millis(1));
    assert!(!executes());
    clock.set_unix_ms(NOW);
    assert!(!executes(), "a clock that is set back gives no time");
    store.act_until(NOW + 700);
    assert!(executes());
}
