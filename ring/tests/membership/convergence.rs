//! Nodes that gossip over bad links come to the same view, within a bounded number of rounds after the links are good.

use crate::cluster::{Cluster, SLOTS};
use ring::{
    member::{Standing, State},
    verdict::Config,
};

const QUICK: Config =
    Config { rebuild_delay_ms: 3_000, report_after_ms: 1_000, forget_after_ms: 20_000, needs_majority: false };

fn cluster(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, QUICK);
    let size = 3 + cluster.random(18);
    (0..size).for_each(|_| assert!(cluster.start() < 20));
    cluster.loss_percent = cluster.random(50);
    cluster
}

/// Any change that a node can make to its own facts.
fn change_something(cluster: &mut Cluster) {
    let running = cluster.running();
    let node = running[cluster.random(running.len() as u64) as usize];
    match cluster.random(6) {
        0 => cluster.say_state(node, State::Up),
        1 => cluster.set_all_ready(node),
        _ => {
            let (slot, is_ready) = (cluster.random(SLOTS as u64) as usize, cluster.random(3) > 0);
            cluster.set_ready(node, slot, is_ready);
        }
    }
}

/// Cuts the cluster in two at random.
fn split(cluster: &mut Cluster) {
    let side: Vec<bool> = (0..cluster.nodes.len()).map(|_| cluster.random(2) == 0).collect();
    for a in 0..side.len() {
        (0..a).filter(|&b| side[a] != side[b]).for_each(|b| cluster.set_link(a, b, false));
    }
}

/// How many rounds good links may take. Gossip infects exponentially; every node also asks one other in each round,
/// and with deltas that carry one namespace at a time a straggler may need a round per node.
fn bound(nodes: usize) -> u64 {
    4 * u64::from(nodes.ilog2()) + 2 * nodes as u64
}

#[test]
fn facts_reach_everybody_after_loss_and_partition() {
    for seed in 0..60 {
        let mut cluster = cluster(seed);
        for _ in 0..30 {
            match cluster.random(8) {
                0 => split(&mut cluster),
                1 => cluster.mend_all(),
                _ => change_something(&mut cluster),
            }
            cluster.rounds_without_judges(1);
        }
        cluster.mend_all();
        cluster.loss_percent = 0;
        let bound = bound(cluster.nodes.len());
        let took = (0..=bound).find(|_| {
            let agree = cluster.agree();
            cluster.rounds_without_judges(u64::from(!agree));
            agree
        });
        assert!(took.is_some(), "seed {seed}: {} nodes differ after {bound} rounds", cluster.nodes.len());
        assert_eq!(cluster.nodes[0].view.members().len(), cluster.nodes.len(), "seed {seed}");
    }
}

/// The whole story: kills, restarts, leaves, splits short and long, with judges at work.
#[test]
fn the_living_are_in_and_the_dead_are_out_once_it_is_quiet() {
    let mut trace = String::new();
    for seed in 0..16 {
        let mut cluster = cluster(1_000 + seed);
        for _ in 0..40 {
            let node = cluster.random(cluster.nodes.len() as u64) as usize;
            match cluster.random(10) {
                0 => split(&mut cluster),
                1 => cluster.mend_all(),
                2 if cluster.running().len() > 2 => cluster.kill(node),
                3 if !cluster.nodes[node].is_running => cluster.restart(node),
                4 => cluster.rounds(30),
                5 if seed % 4 == 0 => cluster.rounds(250),
                _ => change_something(&mut cluster),
            }
            cluster.rounds(3);
        }
        cluster.mend_all();
        cluster.loss_percent = 0;
        // The longest hold is ten minutes and keeps the living out; here few strikes come together.
        let deadline_ms = cluster.now_ms + 700_000;
        while cluster.now_ms < deadline_ms && !is_settled(&mut cluster) {
            cluster.rounds(5);
        }
        assert!(is_settled(&mut cluster), "seed {seed}: not settled\n{}", cluster.trace);
        cluster.rounds(50);
        assert!(is_settled(&mut cluster), "seed {seed}: settled, then moved\n{}", cluster.trace);
        trace.push_str(&cluster.trace);
    }
    assert_all_happened(&trace, &["is down", "is back", "is removed", "forgets", "is over", "higher incarnation"]);
}

/// A test in which something never happens does not test it.
fn assert_all_happened(trace: &str, events: &[&str]) {
    for event in events {
        assert!(trace.contains(event), "no run came so far that somebody said: {event}");
    }
}

/// All agree, everyone who runs is live and in reach, everyone else is given up or forgotten.
fn is_settled(cluster: &mut Cluster) -> bool {
    let agree = cluster.agree();
    let running = cluster.running();
    let living: Vec<_> = running.iter().map(|&node| cluster.nodes[node].id).collect();
    let view = &cluster.nodes[running[0]].view;
    let live = view.members().iter().filter(|member| member.standing().is_live());
    agree
        && live.clone().map(|member| member.id).eq(living)
        && live.clone().all(|member| member.unreachable_for.is_empty())
}

/// However long a split lasts, whoever is on the larger side stays where slots are placed, on every node of that side:
/// while it lasts and while it heals.
#[test]
fn the_larger_side_stays_put_when_a_split_heals() {
    let mut trace = String::new();
    for seed in 0..60 {
        let mut cluster = Cluster::new(seed, QUICK);
        let size = 3 + cluster.random(6) as usize;
        (0..size).for_each(|_| assert!(cluster.start() < 20));
        cluster.rounds(20);
        let smaller = 1 + cluster.random((size as u64 - 1) / 2) as usize;
        let first = cluster.random(size as u64) as usize;
        let is_smaller = |node: usize| (node + size - first) % size < smaller;
        // Short, long enough to be given up, to be removed, to be forgotten.
        for split_rounds in [5, 30, 160, 300] {
            for a in 0..size {
                (0..size).filter(|&b| is_smaller(a) != is_smaller(b)).for_each(|b| cluster.set_link(a, b, false));
            }
            for round in 0..split_rounds + 40 {
                if round == split_rounds {
                    cluster.mend_all();
                }
                cluster.rounds(1);
                let larger: Vec<usize> = (0..size).filter(|&node| !is_smaller(node)).collect();
                for &node in &larger {
                    let placed: Vec<_> = cluster.nodes[node].view.placed().map(|(id, ..)| id).collect();
                    let stays = larger.iter().all(|&other| placed.contains(&cluster.nodes[other].id));
                    assert!(
                        stays,
                        "seed {seed}, split for {split_rounds}, round {round}, {smaller} of {size} cut off\n{}",
                        cluster.trace
                    );
                }
            }
        }
        trace.push_str(&cluster.trace);
    }
    assert_all_happened(&trace, &["is back", "is held", "is removed", "goes on as", "higher incarnation"]);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let mut cluster = cluster(seed);
        cluster.rounds(20);
        split(&mut cluster);
        cluster.rounds(40);
        cluster.mend_all();
        cluster.rounds(40);
        cluster.trace
    };
    assert_eq!(run(7), run(7));
    assert!(run(7).contains("is down"));
}

#[test]
fn one_bad_link_moves_nothing() {
    let mut cluster = Cluster::new(1, QUICK);
    (0..5).for_each(|_| assert!(cluster.start() < 20));
    cluster.rounds(10);
    cluster.set_link(0, 4, false);
    cluster.rounds(200);
    assert!(cluster.agree());
    let view = &cluster.nodes[0].view;
    assert!(view.members().iter().all(|member| member.standing() == Standing::Joining));
    let reported = |node: usize| view.members()[node].unreachable_for.clone();
    assert_eq!((reported(4), reported(0)), (vec![cluster.nodes[0].id], vec![cluster.nodes[4].id]));
}

#[test]
fn a_lone_survivor_goes_on() {
    let mut cluster = Cluster::new(1, QUICK);
    (0..3).for_each(|_| assert!(cluster.start() < 20));
    cluster.rounds(10);
    cluster.kill(0);
    cluster.kill(1);
    cluster.rounds(20);
    assert!(cluster.agree());
    let view = &cluster.nodes[2].view;
    assert_eq!(view.placed().map(|(id, ..)| id).collect::<Vec<_>>(), [cluster.nodes[2].id]);
    assert_eq!(view.majority(), 2, "those that were given up still count");
}
