//! What one machine does when it hears late: in production effects and snapshots are in the copy before the machine
//! hears of them, and whatever else it hears comes in between.

use ring::{
    context::SlotContext,
    control::{Body, Control, FetchId, Held, Input, Message, Output, Slots, Targets},
    effect::{EffectRef, Op},
    fold::Fold,
    hlc::HlcClock,
    id::{NodeId, Origin, Peer},
    replica::{Entries, Joined, Received, Replica, Role},
    slot::Slot,
    slot_set::SlotSet,
};

use crate::entries::Map;

const ME: Peer = Peer(0);
const ONE: Peer = Peer(1);
const TWO: Peer = Peer(2);

/// One node, of which the test plays all others.
struct Node {
    control: Control,
    copy: Copy,
    clock: HlcClock,
}

struct Copy(Replica<Map>);

impl Slots for Copy {
    type Entries = Map;

    fn with<R>(&mut self, _: Slot, f: impl FnOnce(&mut Replica<Map>) -> R) -> R {
        f(&mut self.0)
    }
}

impl Node {
    fn new(targets: &[Peer]) -> Node {
        let control = Control::new(ME, id(ME), 1, 1, 1);
        let mut node =
            Node { control, copy: Copy(Replica::absent(slot(), Map::default())), clock: HlcClock::default() };
        let mut owners = Targets::none(1);
        owners.set(slot(), targets.iter().copied());
        node.hears(Input::MayOpen(true));
        node.hears(Input::Targets(owners));
        node
    }

    /// A node that is the only one ready, in session with the other two, who are about to answer its question.
    fn opening() -> (Node, u64) {
        let mut node = Node::new(&[ONE]);
        node.meets(ONE, false);
        node.meets(TWO, false);
        let mut owners = Targets::none(1);
        owners.set(slot(), [ME]);
        let said = node.hears(Input::Targets(owners));
        let attempt = attempt(&said).unwrap();
        (node, attempt)
    }

    fn hears(&mut self, input: Input) -> Vec<Output> {
        self.control.handle(input, &mut self.copy);
        std::iter::from_fn(|| self.control.poll_output()).collect()
    }

    fn meets(&mut self, peer: Peer, is_ready: bool) -> Vec<Output> {
        let ready = if is_ready { SlotSet::full(1) } else { SlotSet::new(1) };
        self.hears(Input::SessionUp { peer, id: id(peer), ready })
    }

    fn is_told(&mut self, from: Peer, body: Body) -> Vec<Output> {
        self.hears(Input::Message { from, message: Message { slot: slot(), body } })
    }

    fn is_answered(&mut self, from: Peer, attempt: u64, copy: Option<&Replica<Map>>) -> Vec<Output> {
        let holds = copy.map(|copy| Held { seen: copy.seen().clone(), fold: copy.digest().fold });
        self.is_told(from, Body::Stopped { id: attempt, holds, pullers: Vec::new() })
    }

    /// All that the peer shipped before it answered is in.
    fn is_marked(&mut self, from: Peer, id: u64) -> Vec<Output> {
        self.hears(Input::Marked { slot: slot(), from, id })
    }

    /// The lane takes an effect in; the machine has not heard of it.
    fn takes_in(&mut self, from: Peer, effect: &[u8]) -> Received {
        self.copy.0.receive(from, effect, &EffectRef::decode(effect).unwrap(), &mut self.clock)
    }

    /// A snapshot is joined; the machine has not heard of it.
    fn joins(&mut self, copy: &Replica<Map>) -> Joined {
        let (seen, entries) = copy.snapshot();
        self.copy.0.join(&seen, entries, &mut self.clock)
    }
}

/// The other node that acts, with what it executed.
fn acting() -> (Replica<Map>, HlcClock) {
    let mut copy = Replica::absent(slot(), Map::default());
    copy.open_empty(Origin(77));
    copy.act();
    (copy, HlcClock::default())
}

fn executes(copy: &mut Replica<Map>, clock: &mut HlcClock, key: &[u8]) -> Vec<u8> {
    let header = copy.stamp(clock, 0);
    let op = Op::Put { key, kind: 0, value: b"", deadline: 0 };
    let (entries, fold) = copy.entries_mut();
    entries.apply(header.dot, &op, fold);
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    op.encode(&mut bytes);
    bytes
}

fn slot() -> Slot {
    Slot::new(0).unwrap()
}

fn id(peer: Peer) -> NodeId {
    NodeId::from_bytes([peer.index() as u8 + 1; 20])
}

/// The name of the attempt to act that this node asks about.
fn attempt(said: &[Output]) -> Option<u64> {
    said.iter().find_map(|output| match output {
        Output::Send { message: Message { body: Body::Acquire { id, .. }, .. }, .. } => Some(*id),
        _ => None,
    })
}

/// The name of the attempt to forget the slot that this node asks about.
fn release(said: &[Output]) -> Option<u64> {
    said.iter().find_map(|output| match output {
        Output::Send { message: Message { body: Body::MayRelease { id, .. }, .. }, .. } => Some(*id),
        _ => None,
    })
}

fn fetch(said: &[Output], whose: Peer) -> Option<FetchId> {
    said.iter().find_map(|output| match output {
        Output::Fetch { fetch, from, .. } if *from == whose => Some(*fetch),
        _ => None,
    })
}

#[test]
fn a_pull_that_hears_late_of_a_gap_asks_before_it_is_ready() {
    let (mut source, mut clock) = acting();
    let mut node = Node::new(&[ONE, ME]);
    node.meets(ONE, true);
    let said = node.is_told(ONE, Body::Registered);
    let first = fetch(&said, ONE).unwrap();
    let joined = node.joins(&source);
    executes(&mut source, &mut clock, b"never arrives");
    let after_a_gap = executes(&mut source, &mut clock, b"x");
    assert_eq!(node.takes_in(ONE, &after_a_gap), Received::Parked);

    let said = node.hears(Input::Fetched { fetch: first, joined: Some(joined) });
    let second = fetch(&said, ONE).expect("what is missing is asked for");
    assert_eq!((node.control.role(slot()), node.copy.0.counts()), (Role::Pulling, false));

    let joined = node.joins(&source);
    node.hears(Input::Fetched { fetch: second, joined: Some(joined) });
    assert_eq!((node.control.role(slot()), node.copy.0.counts()), (Role::Following, true));
    assert!(node.hears(Input::Gap { slot: slot() }).is_empty(), "what was reported is in meanwhile");
}

#[test]
fn an_attempt_to_act_that_begins_anew_waits_for_what_it_asked_for() {
    let (mut source, mut clock) = acting();
    let (mut node, attempt_id) = Node::opening();
    executes(&mut source, &mut clock, b"never arrives");
    let after_a_gap = executes(&mut source, &mut clock, b"x");
    assert_eq!(node.takes_in(ONE, &after_a_gap), Received::Parked);
    let said = node.is_answered(ONE, attempt_id, Some(&source));
    assert_eq!(fetch(&said, ONE), None, "it may be on its way");
    let said = node.is_marked(ONE, attempt_id);
    let asked = fetch(&said, ONE).expect("it is not");

    let said = node.hears(Input::SessionDown { peer: TWO });
    assert!(attempt(&said).is_some(), "everybody is asked again");
    node.hears(Input::Gap { slot: slot() });
    assert!(!node.copy.0.counts(), "the effect is still missing and the copy that has it is on its way");

    let joined = node.joins(&source);
    node.hears(Input::Fetched { fetch: asked, joined: Some(joined) });
    assert!(node.copy.0.counts());
}

#[test]
fn an_attempt_to_act_asks_again_if_a_copy_was_handed_on_before_it_came() {
    let (mut source, mut clock) = acting();
    executes(&mut source, &mut clock, b"x");
    let (mut node, first) = Node::opening();
    node.is_answered(TWO, first, None);
    let said = node.is_answered(ONE, first, Some(&source));
    assert_eq!(fetch(&said, ONE), None, "it may be on its way");
    let said = node.is_marked(ONE, first);
    let asked = fetch(&said, ONE).expect("it is not");
    let said = node.hears(Input::Fetched { fetch: asked, joined: None });
    let second = attempt(&said).expect("two has it now, perhaps");
    assert_eq!(node.control.role(slot()), Role::Following);
    node.is_answered(ONE, second, None);
    node.is_answered(TWO, second, Some(&source));
    let asked = fetch(&node.is_marked(TWO, second), TWO).unwrap();
    let joined = node.joins(&source);
    node.hears(Input::Fetched { fetch: asked, joined: Some(joined) });
    assert_eq!((node.control.role(slot()), node.copy.0.digest()), (Role::Acting, source.digest()));
}

#[test]
fn a_pull_asks_who_serves_if_the_one_who_was_asked_has_handed_the_slot_on() {
    let (mut source, mut clock) = acting();
    let mut node = Node::new(&[TWO, ME]);
    node.meets(ONE, true);
    node.meets(TWO, false);
    let first = fetch(&node.is_told(ONE, Body::Registered), ONE).unwrap();
    let joined = node.joins(&source);
    executes(&mut source, &mut clock, b"never arrives");
    let after_a_gap = executes(&mut source, &mut clock, b"x");
    assert_eq!(node.takes_in(ONE, &after_a_gap), Received::Parked);
    let second = fetch(&node.hears(Input::Fetched { fetch: first, joined: Some(joined) }), ONE).unwrap();
    // One hands the slot on to two, forgets it and then is asked.
    node.hears(Input::Ready { peer: TWO, id: id(TWO), ready: SlotSet::full(1) });
    node.is_told(TWO, Body::Acting);
    let third = fetch(&node.hears(Input::Fetched { fetch: second, joined: None }), TWO).expect("two has it");
    assert_eq!(node.control.role(slot()), Role::Pulling);
    let joined = node.joins(&source);
    node.hears(Input::Fetched { fetch: third, joined: Some(joined) });
    assert_eq!((node.control.role(slot()), node.copy.0.digest()), (Role::Following, source.digest()));
}

#[test]
fn who_acts_ships_to_a_puller_that_it_took_for_ready_when_it_heard_of_it() {
    let (mut node, attempt_id) = Node::opening();
    let ready = |ready| Input::Ready { peer: TWO, id: id(TWO), ready };
    node.hears(ready(SlotSet::full(1)));
    node.is_told(ONE, Body::Stopped { id: attempt_id, holds: None, pullers: vec![id(TWO)] });
    node.hears(ready(SlotSet::new(1)));
    node.is_answered(TWO, attempt_id, None);
    assert_eq!(node.control.role(slot()), Role::Acting);
    assert!(node.copy.0.ship_to().contains(TWO));
}

#[test]
fn what_the_lane_of_a_session_that_is_over_took_in_is_given_up() {
    let (mut source, mut clock) = acting();
    let (mut node, attempt_id) = Node::opening();
    node.is_answered(ONE, attempt_id, None);
    executes(&mut source, &mut clock, b"never arrives");
    let effects: Vec<_> = (0u8..3).map(|key| executes(&mut source, &mut clock, &[key])).collect();

    assert_eq!(node.takes_in(ONE, &effects[0]), Received::Parked);
    node.hears(Input::SessionDown { peer: ONE });
    assert!(node.copy.0.counts(), "the report was lost with the session");

    assert_eq!(node.takes_in(ONE, &effects[1]), Received::Parked);
    node.hears(Input::Gap { slot: slot() });
    assert!(node.copy.0.counts(), "the report outlived the session");

    assert_eq!(node.takes_in(ONE, &effects[2]), Received::Parked);
    node.hears(Input::CompareRound);
    node.control.tick(&mut node.copy);
    assert!(node.copy.0.counts(), "the lane outlived the session, and its report was lost");
}

#[test]
fn who_acts_tells_what_a_snapshot_brought_even_if_nobody_waits_for_it_any_more() {
    let (mut source, mut clock) = acting();
    let (mut node, attempt_id) = Node::opening();
    node.is_answered(ONE, attempt_id, None);
    node.is_answered(TWO, attempt_id, None);
    assert_eq!(node.control.role(slot()), Role::Acting);
    node.hears(Input::Ready { peer: TWO, id: id(TWO), ready: SlotSet::full(1) });

    executes(&mut source, &mut clock, b"x");
    let seen: SlotContext = source.seen().iter().collect();
    let said = node.is_told(ONE, Body::Compare { seen, fold: Fold::default(), answer: true });
    let asked = fetch(&said, ONE).unwrap();
    let joined = node.joins(&source);
    node.hears(Input::SessionDown { peer: ONE });
    let told = Output::CompareRecord { slot: slot(), to: TWO };
    let said = node.hears(Input::Fetched { fetch: asked, joined: Some(joined) });
    assert!(said.contains(&told));
    let said = node.hears(Input::Fetched { fetch: asked, joined: None });
    assert!(!said.contains(&told), "once is enough");
}

#[test]
fn what_comes_by_the_lane_is_waited_for_and_not_fetched() {
    for mark_comes_first in [false, true] {
        let (mut source, mut clock) = acting();
        let (mut node, attempt) = Node::opening();
        let on_its_way = executes(&mut source, &mut clock, b"x");
        node.is_answered(TWO, attempt, None);
        if mark_comes_first {
            node.takes_in(ONE, &on_its_way);
            node.is_marked(ONE, attempt);
        }
        let said = node.is_answered(ONE, attempt, Some(&source));
        assert_eq!((fetch(&said, ONE), node.control.role(slot()) == Role::Acting), (None, mark_comes_first));
        if !mark_comes_first {
            node.takes_in(ONE, &on_its_way);
            let said = node.is_marked(ONE, attempt);
            assert_eq!((fetch(&said, ONE), node.control.role(slot())), (None, Role::Acting));
        }
    }
}

#[test]
fn a_mark_without_what_is_lacking_has_it_fetched() {
    for mark_comes_first in [false, true] {
        let (mut source, mut clock) = acting();
        let (mut node, attempt) = Node::opening();
        executes(&mut source, &mut clock, b"never arrives");
        node.is_answered(TWO, attempt, None);
        let said = match mark_comes_first {
            true => [node.is_marked(ONE, attempt), node.is_answered(ONE, attempt, Some(&source))],
            false => [node.is_answered(ONE, attempt, Some(&source)), node.is_marked(ONE, attempt)],
        };
        let asked = fetch(&said.concat(), ONE).unwrap();
        assert_eq!(node.control.role(slot()), Role::Following);
        let joined = node.joins(&source);
        node.hears(Input::Fetched { fetch: asked, joined: Some(joined) });
        assert_eq!(node.control.role(slot()), Role::Acting);
    }
}

#[test]
fn a_copy_that_lags_behind_is_not_waited_for() {
    let (source, _) = acting();
    let (mut ahead, mut clock) = acting();
    let shipped = executes(&mut ahead, &mut clock, b"x");
    let (mut node, attempt) = Node::opening();
    node.takes_in(ONE, &shipped);
    node.is_answered(ONE, attempt, Some(&ahead));
    let said = node.is_answered(TWO, attempt, Some(&source));
    assert_eq!((fetch(&said, TWO), node.control.role(slot())), (None, Role::Acting));
}

#[test]
fn who_is_said_to_act_is_asked_next_but_gets_no_commands_before_it_says_so() {
    let mut node = Node::new(&[TWO, ME]);
    node.meets(TWO, false);
    node.meets(ONE, true);
    let said = node.is_told(ONE, Body::NotActing { acting: Some(id(TWO)) });
    let routes = said.iter().filter(|output| matches!(output, Output::Route { to: Some(TWO), .. }));
    assert_eq!(routes.count(), 0, "{said:?}");
    node.control.tick(&mut node.copy);
    let said: Vec<Output> = std::iter::from_fn(|| node.control.poll_output()).collect();
    let register = Message { slot: slot(), body: Body::Register };
    assert!(said.contains(&Output::Send { to: TWO, message: register }), "{said:?}");
}

#[test]
fn what_a_peer_answered_in_a_former_session_is_void() {
    let (mut other, mut clock) = acting();
    let (mut node, attempt) = Node::opening();
    node.is_answered(ONE, attempt, Some(&other));
    node.hears(Input::SessionDown { peer: ONE });
    // While they do not reach each other the other one acts, and what it executes comes by no lane.
    executes(&mut other, &mut clock, b"x");
    node.meets(ONE, true);
    node.is_answered(TWO, attempt, None);
    node.is_answered(ONE, attempt, Some(&other));
    let asked = fetch(&node.is_marked(ONE, attempt), ONE).expect("it is lacking");
    assert_eq!(node.control.role(slot()), Role::Following);
    let joined = node.joins(&other);
    node.hears(Input::Fetched { fetch: asked, joined: Some(joined) });
    assert_eq!((node.control.role(slot()), node.copy.0.digest()), (Role::Acting, other.digest()));
}

#[test]
fn nothing_is_forgotten_on_the_word_of_a_peer_whose_session_is_over() {
    let (mut node, attempt_id) = Node::opening();
    for peer in [ONE, TWO] {
        node.is_answered(peer, attempt_id, None);
        node.hears(Input::Ready { peer, id: id(peer), ready: SlotSet::full(1) });
    }
    let mine = node.copy.0.digest();
    node.is_told(ONE, Body::Acquire { id: 1, mine });
    let mut owners = Targets::none(1);
    owners.set(slot(), [ONE, TWO]);
    let release = release(&node.hears(Input::Targets(owners))).unwrap();
    node.is_told(ONE, Body::Release { id: release, granted: true });
    assert_eq!(node.control.role(slot()), Role::Releasing);
    node.hears(Input::SessionDown { peer: ONE });
    node.is_told(TWO, Body::Release { id: release, granted: true });
    assert_eq!(node.control.role(slot()), Role::Following);
}
