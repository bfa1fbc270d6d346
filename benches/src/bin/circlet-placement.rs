//! Balance and movement of placement over random clusters, against their bars.
//!
//! Four groups of draws, each of `--draws` clusters with 3 to 50 nodes and 1 to 3 copies: equal nodes of one zone for
//! balance, and then a join and a leave of each for movement; random weights none of which deserves more than one
//! copy of each slot; random zones. Then the time of one table of 50 nodes. The last lines name each bar and whether
//! it holds; if one does not, the exit code is 1. Equal seeds draw equal clusters.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use ring::{
    id::NodeId,
    plan::Plan,
    table::{Load, Placed, Settings, Share, Table},
};

/// Measures balance and movement of placement over random clusters.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What the random clusters are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many clusters each group has
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    draws: u32,
    /// Vnodes per unit of weight, instead of the default
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    vnodes: Option<u32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut bars = equal_nodes(&arguments);
    bars.extend(weights(&arguments));
    bars.extend(zones(&arguments));
    bars.push(speed(&arguments));
    println!();
    bars.iter().for_each(Bar::print);
    if bars.iter().all(|bar| bar.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What must hold, and whether it does.
struct Bar {
    what: &'static str,
    figure: String,
    holds: bool,
}

impl Bar {
    fn print(&self) {
        println!("{:<62} {:>22}  {}", self.what, self.figure, if self.holds { "holds" } else { "falls short" });
    }
}

/// Equal nodes of one zone: max/mean of both loads, then one node joins and leaves again.
fn equal_nodes(arguments: &Arguments) -> Vec<Bar> {
    let mut random = Random(arguments.seed);
    let (mut first, mut copies, mut join, mut leave) = (Figures::new(), Figures::new(), Figures::new(), Figures::new());
    for _ in 0..arguments.draws {
        let (mut nodes, settings) = random.cluster(arguments, |_| (0, 1));
        let before = Table::compute(&nodes, &settings);
        first.push(before.loads().map(first_part).fold(0.0, f64::max));
        copies.push(before.loads().map(copies_part).fold(0.0, f64::max));
        nodes.push(random.node(0, 1));
        let after = Table::compute(&nodes, &settings);
        join.push(moved_per_ideal(&before, &after));
        leave.push(moved_per_ideal(&after, &before));
    }
    println!("{} clusters of equal nodes", arguments.draws);
    first.print("max/mean of slots a node is first in");
    copies.print("max/mean of copies held");
    join.print("join: moved / ideal");
    leave.print("leave: moved / ideal");
    vec![
        balance_bar("first owners: max/mean at most 1.05 in 99 % of draws", &first),
        balance_bar("copies: max/mean at most 1.05 in 99 % of draws", &copies),
        most_bar("join: moved / ideal at most 1.25 in every draw", &join, 1.25),
        most_bar("leave: moved / ideal at most 1.25 in every draw", &leave, 1.25),
    ]
}

/// Random weights of which none deserves more than a copy of each slot.
fn weights(arguments: &Arguments) -> Vec<Bar> {
    let mut random = Random(arguments.seed ^ 0x77);
    let (mut first, mut copies, mut join) = (Figures::new(), Figures::new(), Figures::new());
    while copies.0.len() < arguments.draws as usize {
        let (mut nodes, settings) = random.cluster(arguments, |random| (0, 1 + random.below(8) as u32));
        let total: u32 = nodes.iter().map(|node| node.weight).sum();
        if nodes.iter().any(|node| node.weight * settings.replicas as u32 > total) {
            continue;
        }
        let table = Table::compute(&nodes, &settings);
        let deviation = |load: fn(Load) -> u32, copies: usize| {
            let parts = table.loads().map(move |(node, loads, _)| off(load(loads), copies, node.weight, total));
            parts.fold(0.0, f64::max)
        };
        first.push(deviation(|load| load.first, 1));
        copies.push(deviation(|load| load.copies, settings.replicas));
        let weight = 1 + random.below(8) as u32;
        nodes.push(random.node(0, weight));
        join.push(moved_per_ideal(&table, &Table::compute(&nodes, &settings)));
    }
    println!("{} clusters of nodes with weights 1 to 8", arguments.draws);
    first.print("largest deviation of slots a node is first in");
    copies.print("largest deviation of copies held");
    join.print("join: moved / ideal (no bar)");
    vec![
        most_bar("weights: first owners within 5 % of the share", &first, 0.05),
        most_bar("weights: copies within 5 % of the share", &copies, 0.05),
    ]
}

/// Random zones: as many of them in each slot as can be.
fn zones(arguments: &Arguments) -> Vec<Bar> {
    let mut random = Random(arguments.seed ^ 0x2e);
    let (mut copies, mut join) = (Figures::new(), Figures::new());
    let mut crowded = 0;
    for _ in 0..arguments.draws {
        let zones = 2 + random.below(5);
        let (mut nodes, settings) = random.cluster(arguments, |random| (random.below(zones), 1));
        let table = Table::compute(&nodes, &settings);
        crowded += table.slots().filter(|&slot| zones_of(&table, slot) < wanted_zones(&table)).count();
        copies.push(table.loads().map(copies_part).fold(0.0, f64::max));
        let zone = random.below(zones);
        nodes.push(random.node(zone, 1));
        join.push(moved_per_ideal(&table, &Table::compute(&nodes, &settings)));
    }
    println!("{} clusters of 2 to 6 zones of random sizes", arguments.draws);
    copies.print("max/mean of copies held (no bar: balance yields)");
    join.print("join: moved / ideal (no bar: balance yields)");
    let what = "zones: distinct wherever there are enough";
    vec![Bar { what, figure: format!("{crowded} slots are not"), holds: crowded == 0 }]
}

/// How many zones are among the owners of this slot, counted by name.
fn zones_of(table: &Table, slot: ring::slot::Slot) -> usize {
    let zone = |id| table.nodes().iter().find(|node| node.id == id).map(|node| &node.zone);
    let mut zones: Vec<_> = table.owners(slot).filter_map(zone).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.len()
}

fn wanted_zones(table: &Table) -> usize {
    let mut zones: Vec<_> = table.nodes().iter().map(|node| &node.zone).collect();
    zones.sort_unstable();
    zones.dedup();
    zones.len().min(table.depth())
}

/// The time of one table of 50 nodes: the median of many, for the slowest number of copies.
fn speed(arguments: &Arguments) -> Bar {
    let mut random = Random(arguments.seed ^ 0x50);
    let nodes: Vec<Placed> = (0..50).map(|_| random.node(0, 1)).collect();
    let mut slowest = Duration::ZERO;
    for replicas in 1..=3 {
        let settings = settings(arguments, replicas);
        let mut times: Vec<Duration> = (0..41).map(|_| time(|| Table::compute(&nodes, &settings))).collect();
        times.sort_unstable();
        slowest = slowest.max(times[times.len() / 2]);
    }
    let holds = slowest < Duration::from_millis(5);
    Bar { what: "a table of 50 nodes in less than 5 ms", figure: format!("{slowest:.2?}"), holds }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed()
}

fn balance_bar(what: &'static str, figures: &Figures) -> Bar {
    let within = figures.0.iter().filter(|&&figure| figure <= 1.05).count();
    let part = within as f64 / figures.0.len() as f64;
    Bar { what, figure: format!("{:.1} %, worst {:.4}", part * 100.0, figures.at(1.0)), holds: part >= 0.99 }
}

fn most_bar(what: &'static str, figures: &Figures, most: f64) -> Bar {
    let worst = figures.at(1.0);
    Bar { what, figure: format!("worst {worst:.4}"), holds: worst <= most }
}

fn first_part((_, load, share): (&Placed, Load, Share)) -> f64 {
    f64::from(load.first) * 1000.0 / share.first_milli(ring::slot::SLOTS) as f64
}

fn copies_part((_, load, share): (&Placed, Load, Share)) -> f64 {
    f64::from(load.copies) * 1000.0 / share.copies_milli(ring::slot::SLOTS) as f64
}

/// How far a load is from the part of these copies that the weight asks for, reckoned apart from the table's own idea
/// of shares. One division of whole numbers, so that a load exactly at the bound is at the bound.
fn off(load: u32, copies: usize, weight: u32, total: u32) -> f64 {
    let (load, fair) = (u64::from(load * total), copies as u64 * ring::slot::SLOTS as u64 * u64::from(weight));
    load.abs_diff(fair) as f64 / fair as f64
}

fn moved_per_ideal(old: &Table, new: &Table) -> f64 {
    Plan::between(old, new).moved_per_ideal_permille().map_or(1.0, |permille| permille as f64 / 1000.0)
}

fn settings(arguments: &Arguments, replicas: usize) -> Settings {
    let settings = Settings::new(replicas);
    Settings { vnodes: arguments.vnodes.unwrap_or(settings.vnodes), ..settings }
}

/// One figure a draw.
struct Figures(Vec<f64>);

impl Figures {
    fn new() -> Figures {
        Figures(Vec::new())
    }

    fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The figure that this part of the draws does not exceed.
    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len()) - 1]
    }

    fn print(&self, what: &str) {
        let [median, most, nearly, worst] = [0.5, 0.9, 0.99, 1.0].map(|part| self.at(part));
        println!("  {what:<52} p50 {median:.3}  p90 {most:.3}  p99 {nearly:.3}  worst {worst:.3}");
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn node(&mut self, zone: u64, weight: u32) -> Placed {
        Placed { id: NodeId::from_seed(self.next()), zone: format!("zone-{zone}"), weight }
    }

    /// 3 to 50 nodes, zone and weight as given, and 1 to 3 copies.
    fn cluster(&mut self, arguments: &Arguments, draw: impl Fn(&mut Random) -> (u64, u32)) -> (Vec<Placed>, Settings) {
        let (count, replicas) = (3 + self.below(48), 1 + self.below(3) as usize);
        let mut node = || {
            let (zone, weight) = draw(self);
            self.node(zone, weight)
        };
        ((0..count).map(|_| node()).collect(), settings(arguments, replicas))
    }
}
