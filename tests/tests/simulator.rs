//! Short runs of the simulator. `cargo run --release -p circlet-tests --bin circlet-sim` runs many.

use std::thread;

use circlet_tests::sim::{Mutation, World};

/// Histories that violated an invariant once, with what they found. Seeds keep their meaning only as long as the
/// simulator draws the same from them, so each rule has a directed test as well.
const ONCE_VIOLATED: [(u64, &str); 8] = [
    (43_110, "what an attempt to act learnt by a repair was told to nobody"),
    (75_388, "of concurrent versions two copies kept different ones until the next round of compare"),
    (1_032_738, "an effect for a slot that was not here was acknowledged by the next tenure of the copy"),
    (1_068_429, "an effect taken in by a copy that was about to go was acknowledged by its next tenure"),
    (1_227_197, "the same"),
    (1_474_780, "the same"),
    (24_772, "a node that began to act while the puller met it shipped it nothing"),
    (258_931, "two nodes that had not met yet acted at once"),
];

/// Within how many seeds each rule put out of force must be noticed: some ten times what it takes.
const BUDGETS: [(&str, u64); 17] = [
    ("`prev` off", 500),
    ("`after` off", 3_000),
    ("live effects applied while pulling", 500),
    ("overflow of the park forgotten", 20_000),
    ("role by view", 500),
    ("acquire asks view-ready members only", 1_000),
    ("acquire without stop", 500),
    ("acquire without join", 500),
    ("snapshot not atomic", 500),
    ("`not_counting` ignored", 2_000),
    ("release counted in W", 20_000),
    ("release without asking", 5_000),
    ("origin per boot", 20_000),
    ("no compare on connect", 2_000),
    ("compare one-way", 1_000),
    ("fold omitted", 2_000),
    ("pullers not inherited", 20_000),
];

#[test]
fn histories_hold_every_invariant() {
    in_parallel(8_000, |seed| {
        let run = World::run(seed, None, false);
        assert!(run.violation.is_none(), "seed {seed}: {}", run.violation.unwrap());
    });
}

#[test]
fn what_was_violated_once_holds_now() {
    for (seed, what) in ONCE_VIOLATED {
        let run = World::run(seed, None, false);
        assert!(run.violation.is_none(), "seed {seed} ({what}): {}", run.violation.unwrap());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..50 {
        let (a, b) = (World::run(seed, None, true), World::run(seed, None, true));
        assert_eq!((a.fingerprint, a.trace), (b.fingerprint, b.trace), "seed {seed}");
    }
}

#[test]
fn every_rule_is_missed_when_it_is_out_of_force() {
    let mutations = Mutation::all();
    assert_eq!(mutations.len(), BUDGETS.len(), "every rule has a budget");
    in_parallel(mutations.len() as u64, |nth| {
        let (name, mutation) = mutations[nth as usize];
        let (_, budget) = BUDGETS.iter().find(|(known, _)| *known == name).expect("every rule has a budget");
        let noticed = (0..*budget).any(|seed| World::run(seed, Some(mutation), false).violation.is_some());
        assert!(noticed, "{name}: not noticed within {budget} seeds");
    });
}

/// Runs `check` for each number, on as many threads as there are cores.
fn in_parallel(numbers: u64, check: impl Fn(u64) + Sync) {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for first in 0..threads {
            let check = &check;
            scope.spawn(move || (first..numbers).step_by(threads as usize).for_each(check));
        }
    });
}
