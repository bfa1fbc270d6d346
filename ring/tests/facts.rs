//! Facts against a naive twin, and against peers that send anything at all.

// The lint knows tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use ring::{
    facts::{
        Change, Delta, Digest, Fact, Facts, Grave, MAX_GRAVES, MAX_KEY_BYTES, MAX_KEYS, MAX_NAMESPACE_BYTES,
        MAX_NAMESPACES, MAX_VALUE_BYTES, Row, Section,
    },
    id::{Incarnation, NodeId},
};

const NODES: usize = 4;

fn id(node: usize) -> NodeId {
    NodeId::from_bytes([node as u8; 20])
}

/// The twin: every node keeps whole copies and takes over whichever is newer.
#[derive(Clone, Default)]
struct Twin(BTreeMap<NodeId, Copy>);

/// Incarnation, version, entries.
type Copy = (u64, u64, BTreeMap<Vec<u8>, Vec<u8>>);

impl Twin {
    fn mine(&mut self, node: usize) -> &mut Copy {
        self.0.entry(id(node)).or_insert((1, 1, BTreeMap::new()))
    }

    fn take(&mut self, other: &Twin) {
        for (node, theirs) in &other.0 {
            match self.0.get(node) {
                Some(mine) if (mine.0, mine.1) >= (theirs.0, theirs.1) => {}
                _ => drop(self.0.insert(*node, theirs.clone())),
            }
        }
    }

    fn contents(&self) -> Contents {
        self.0.iter().map(|(node, (incarnation, _, entries))| (*node, (*incarnation, entries.clone()))).collect()
    }
}

type Contents = BTreeMap<NodeId, (u64, BTreeMap<Vec<u8>, Vec<u8>>)>;

fn contents(facts: &Facts) -> Contents {
    let entries =
        |namespace: &ring::facts::Namespace| namespace.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    facts.nodes().map(|(node, namespace)| (node, (namespace.incarnation().0, entries(namespace)))).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Set(usize, u8, Vec<u8>),
    Withdraw(usize, u8),
    Raise(usize),
    Exchange(usize, usize),
    Push(usize, usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (node(), 0u8..6, prop::collection::vec(any::<u8>(), 0..3)).prop_map(|(n, k, v)| Step::Set(n, k, v)),
        2 => (node(), 0u8..6).prop_map(|(n, k)| Step::Withdraw(n, k)),
        1 => node().prop_map(Step::Raise),
        3 => (node(), node()).prop_map(|(a, b)| Step::Exchange(a, b)),
        3 => (node(), node(), 0u64..8).prop_map(|(a, b, back)| Step::Push(a, b, back)),
    ]
}

fn travel(delta: &Delta) -> Delta {
    let mut bytes = Vec::new();
    delta.encode(&mut bytes);
    assert_eq!(bytes.len(), delta.encoded_len());
    Delta::decode(&bytes).unwrap()
}

/// One exchange in both directions. Digests travel as bytes, too.
fn exchange(a: &mut Facts, b: &mut Facts, limit_bytes: usize) {
    for _ in 0..2 {
        let mut bytes = Vec::new();
        a.digest().encode(&mut bytes);
        let digest = Digest::decode(&bytes).unwrap();
        assert_eq!(digest, a.digest());
        let delta = b.delta_for(&digest, limit_bytes);
        a.apply(travel(&delta));
        std::mem::swap(a, b);
    }
}

fn two<T>(all: &mut [T], a: usize, b: usize) -> Option<(&mut T, &mut T)> {
    let [a, b] = all.get_disjoint_mut([a, b]).ok()?;
    Some((a, b))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_travel_as_whole_copies_would(steps in prop::collection::vec(step(), 1..80)) {
        let mut facts: Vec<Facts> = (0..NODES).map(|node| Facts::new(id(node), Incarnation(1))).collect();
        let mut twins = vec![Twin::default(); NODES];
        twins.iter_mut().enumerate().for_each(|(node, twin)| twin.mine(node).1 = 1);
        for step in steps {
            match step {
                Step::Set(node, key, value) => {
                    let changed = facts[node].set(&[key], &value).unwrap();
                    let mine = twins[node].mine(node);
                    prop_assert_eq!(mine.2.insert(vec![key], value.clone()) != Some(value), changed);
                    mine.1 += u64::from(changed);
                }
                Step::Withdraw(node, key) => {
                    let mine = twins[node].mine(node);
                    prop_assert_eq!(mine.2.remove(&vec![key]).is_some(), facts[node].withdraw(&[key]));
                    twins[node].mine(node).1 = facts[node].version();
                }
                Step::Raise(node) => {
                    twins[node].mine(node).0 += 1;
                    prop_assert!(facts[node].raise(Incarnation(twins[node].mine(node).0)));
                }
                Step::Exchange(a, b) => {
                    if let Some((a, b)) = two(&mut facts, a, b) { exchange(a, b, usize::MAX) }
                    if let Some((a, b)) = two(&mut twins, a, b) { a.take(b); b.take(a); }
                }
                Step::Push(a, b, back) => {
                    // A push that the receiver has a gap before must change nothing; the twin learns from the result.
                    let Some((from, to)) = two(&mut facts, a, b) else { continue };
                    let delta = from.fresh(from.version().saturating_sub(back));
                    let begins = delta.sections.first().map(|section| (section.incarnation, section.from));
                    let held = to.nodes().find(|(node, _)| *node == id(a)).map(|(_, held)| (held.incarnation(), held.version()));
                    to.apply(travel(&delta));
                    let fits = match (begins, held) {
                        (None, _) => false,
                        (Some((_, from)), None) => from == 0,
                        (Some(begins), Some(held)) if begins.0 == held.0 => begins.1 <= held.1,
                        (Some(begins), Some(held)) => begins.0 > held.0 && begins.1 == 0,
                    };
                    if fits {
                        let mine = twins[a].mine(a).clone();
                        twins[b].take(&Twin(BTreeMap::from([(id(a), mine)])));
                    }
                }
            }
            for (facts, twin) in facts.iter().zip(&twins) {
                prop_assert_eq!(contents(facts), twin.contents());
            }
        }
    }

    /// A delta that was cut leaves something true behind, and enough of them leave everything behind.
    #[test]
    fn small_deltas_arrive_in_the_end(sizes in prop::collection::vec((0..NODES, 1usize..40, 1usize..MAX_VALUE_BYTES), 1..12), withdrawn in 0..NODES) {
        let mut source: Vec<Facts> = (0..NODES).map(|node| Facts::new(id(node), Incarnation(1))).collect();
        for (node, keys, size) in sizes {
            // Beyond the limit of a namespace nothing is taken, which the first test of limits covers.
            (0..keys).for_each(|key| { let _ = source[node].set(&[key as u8], &vec![node as u8; size]); });
        }
        source[withdrawn].withdraw(&[0]);
        let mut all = Facts::new(id(NODES), Incarnation(1));
        source.iter_mut().for_each(|facts| exchange(facts, &mut all, usize::MAX));
        let mut late = Facts::new(id(NODES + 1), Incarnation(1));
        for _ in 0..2 * NODES {
            let delta = all.delta_for(&late.digest(), 1);
            prop_assert!(delta.encoded_len() <= MAX_NAMESPACE_BYTES + 100);
            late.apply(travel(&delta));
        }
        exchange(&mut all, &mut late, 1);
        prop_assert_eq!(contents(&late), contents(&all));
    }

    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Digest::decode(&bytes);
        if let Ok(delta) = Delta::decode(&bytes) {
            Facts::new(id(0), Incarnation(1)).apply(delta);
        }
    }

    #[test]
    fn whatever_is_well_formed_is_taken_in_or_refused(deltas in prop::collection::vec(hostile(), 1..20), damage in any::<(prop::sample::Index, u8)>()) {
        let mut facts = Facts::new(id(0), Incarnation(1));
        facts.set(b"mine", b"stays").unwrap();
        for delta in deltas {
            let mut bytes = Vec::new();
            delta.encode(&mut bytes);
            let at = damage.0.index(bytes.len());
            if let Ok(delta) = Delta::decode(&bytes) {
                facts.apply(delta);
            }
            bytes[at] = damage.1;
            if let Ok(delta) = Delta::decode(&bytes) {
                facts.apply(delta);
            }
            prop_assert_eq!(facts.value(id(0), b"mine"), Some(&b"stays"[..]));
            // Whatever came, what is held can be passed on and is understood.
            let mut other = Facts::new(id(9), Incarnation(1));
            exchange(&mut facts, &mut other, usize::MAX);
            prop_assert!(contents(&facts).iter().all(|(node, held)| *node == id(9) || contents(&other).get(node) == Some(held)));
        }
    }
}

fn hostile() -> impl Strategy<Value = Delta> {
    let number = || prop_oneof![0u64..6, Just(u64::MAX), any::<u64>()];
    let fact = (number(), 0u8..3, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(version, key, value)| Fact {
        version,
        key: Box::new([key]),
        value: value.into(),
    });
    let facts = prop::collection::vec(fact, 0..5).prop_map(|mut facts| {
        facts.sort_by_key(|fact| fact.version);
        facts
    });
    let section = (0usize..3, 0u64..4, number(), number(), number(), facts).prop_map(
        |(node, incarnation, floor, from, to, facts)| Section {
            node: id(node),
            incarnation: Incarnation(incarnation),
            floor,
            from,
            to,
            facts,
        },
    );
    prop::collection::vec(section, 0..4).prop_map(|sections| Delta { sections })
}

#[test]
fn a_stranger_cannot_make_a_node_hold_more_than_the_limits() {
    let mut facts = Facts::new(id(0), Incarnation(1));
    for stranger in 0..1_000u64 {
        let facts_of_stranger = |count: u64, size: usize| {
            let fact = |version| Fact { version, key: version.to_le_bytes().into(), value: vec![7; size].into() };
            (1..=count).map(fact).collect::<Vec<_>>()
        };
        let (count, size) = if stranger % 2 == 0 { (MAX_KEYS as u64 + 50, 1) } else { (40, MAX_VALUE_BYTES) };
        let facts_of_stranger = facts_of_stranger(count, size);
        let (node, incarnation) = (NodeId::from_seed(stranger), Incarnation(1));
        let section = Section { node, incarnation, floor: 0, from: 0, to: count, facts: facts_of_stranger };
        facts.apply(Delta { sections: vec![section] });
    }
    assert_eq!(facts.nodes().len(), MAX_NAMESPACES);
    assert!(facts.refused() >= 1_000 - MAX_NAMESPACES as u64);
    for (_, namespace) in facts.nodes() {
        let bytes: usize = namespace.iter().map(|(key, value)| 12 + key.len() + value.len()).sum();
        assert!(namespace.iter().len() <= MAX_KEYS && bytes <= MAX_NAMESPACE_BYTES);
    }
}

#[test]
fn an_author_is_told_what_does_not_fit() {
    let mut facts = Facts::new(id(0), Incarnation(1));
    assert!(facts.set(&[0; MAX_KEY_BYTES + 1], b"").is_err());
    assert!(facts.set(b"key", &[0; MAX_VALUE_BYTES + 1]).is_err());
    for key in 0..MAX_KEYS as u64 {
        assert_eq!(facts.set(&key.to_le_bytes(), b""), Ok(true));
    }
    assert!(facts.set(b"one more", b"").is_err());
    assert_eq!(facts.set(&0u64.to_le_bytes(), b"another value"), Ok(true));
    assert_eq!(facts.version(), MAX_KEYS as u64 + 2);
}

#[test]
fn a_higher_incarnation_wins_and_the_lower_one_is_ignored_for_ever() {
    let mut old = Facts::new(id(1), Incarnation(10));
    old.set(b"state", b"old").unwrap();
    old.set(b"only the old one said", b"this").unwrap();
    let mut new = Facts::new(id(1), Incarnation(11));
    new.set(b"state", b"new").unwrap();
    let mut watcher = Facts::new(id(2), Incarnation(1));
    watcher.apply(old.fresh(0));
    let changes = watcher.apply(new.fresh(0));
    assert_eq!(changes[0], Change::Appeared(id(1), Incarnation(11)));
    old.set(b"state", b"a late word").unwrap();
    assert_eq!(watcher.apply(old.fresh(0)), []);
    assert_eq!(watcher.value(id(1), b"state"), Some(&b"new"[..]));
    assert_eq!(watcher.value(id(1), b"only the old one said"), None);
    assert!(watcher.delta_for(&old.digest(), usize::MAX).sections.iter().any(|section| section.node == id(1)));
}

#[test]
fn a_node_hears_of_facts_that_it_did_not_write() {
    let hears = |mine: u64, said: u64, other: u64, other_said: u64| {
        let facts = |incarnation, said| {
            let mut facts = Facts::new(id(1), Incarnation(incarnation));
            (0..said).for_each(|key| assert!(facts.set(&[key as u8], b"").unwrap()));
            facts
        };
        let (mut mine, other) = (facts(mine, said), facts(other, other_said));
        let mut third = Facts::new(id(2), Incarnation(1));
        third.apply(other.fresh(0));
        let heeded = mine.heed(&third.digest());
        let applied = mine.apply(third.delta_for(&mine.digest(), usize::MAX));
        (heeded, applied.into_iter().filter(|change| matches!(change, Change::Myself(_))).collect::<Vec<_>>())
    };
    let myself = |incarnation| vec![Change::Myself(Incarnation(incarnation))];
    assert_eq!(hears(5, 1, 9, 1), (myself(9), myself(9)));
    assert_eq!(hears(5, 1, 5, 2), (myself(5), myself(5)));
    assert_eq!(hears(5, 1, 4, 2), (vec![], vec![]));
    assert_eq!(hears(5, 2, 5, 1), (vec![], vec![]));
}

#[test]
fn a_buried_node_is_not_brought_back_by_a_laggard_but_by_itself() {
    let grave = Grave { incarnation: Incarnation(5), node: id(1) };
    let mut subject = Facts::new(id(1), Incarnation(5));
    subject.set(b"state", b"up").unwrap();
    let (mut laggard, mut others) = (Facts::new(id(2), Incarnation(1)), Facts::new(id(3), Incarnation(1)));
    laggard.apply(subject.fresh(0));
    others.apply(subject.fresh(0));
    assert!(others.bury(grave));
    exchange(&mut laggard, &mut others, usize::MAX);
    assert!(others.value(id(1), b"state").is_none());
    assert_eq!(laggard.heed(&others.digest()), [Change::Buried(grave)]);
    assert!(laggard.bury(grave));
    assert_eq!(laggard.heed(&others.digest()), []);

    assert_eq!(subject.heed(&others.digest()), [Change::Myself(Incarnation(5))]);
    assert!(!subject.bury(grave));
    assert!(subject.raise(Incarnation(6)));
    exchange(&mut subject, &mut others, usize::MAX);
    assert_eq!(others.value(id(1), b"state"), Some(&b"up"[..]));
}

#[test]
fn a_digest_with_more_rows_or_graves_than_a_node_can_hold_is_refused() {
    let check = |rows: usize, graves: usize, fits: bool| {
        let row = Row { node: id(1), incarnation: Incarnation(1), version: 1 };
        let grave = Grave { node: id(1), incarnation: Incarnation(1) };
        let mut bytes = Vec::new();
        Digest { rows: vec![row; rows], graves: vec![grave; graves] }.encode(&mut bytes);
        assert_eq!(Digest::decode(&bytes).is_ok(), fits);
    };
    check(MAX_NAMESPACES, MAX_GRAVES, true);
    check(MAX_NAMESPACES + 1, 0, false);
    check(0, MAX_GRAVES + 1, false);
}
