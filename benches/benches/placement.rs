//! How long it takes to compute the table of targets, and the plan from one table to the next.
#![allow(missing_docs)] // the macros of criterion make undocumented items

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ring::{
    id::NodeId,
    plan::Plan,
    table::{Placed, Settings, Table},
};

fn nodes(count: u64, zones: u64) -> Vec<Placed> {
    let node = |seed| Placed { id: NodeId::from_seed(seed), zone: format!("zone-{}", seed % zones), weight: 1 };
    (0..count).map(node).collect()
}

fn placement(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("table");
    for (count, zones, replicas) in [(3, 1, 2), (50, 1, 1), (50, 1, 2), (50, 1, 3), (50, 3, 3)] {
        let (nodes, settings) = (nodes(count, zones), Settings::new(replicas));
        let name = BenchmarkId::from_parameter(format!("{count} nodes, {zones} zones, {replicas} copies"));
        group.bench_function(name, |bench| bench.iter(|| Table::compute(black_box(&nodes), &settings)));
    }
    group.finish();

    let table = |count| Table::compute(&nodes(count, 1), &Settings::new(2));
    let (before, after) = (table(49), table(50));
    bench.bench_function("plan/the fiftieth node joins", |bench| bench.iter(|| Plan::between(&before, &after)));
}

criterion_group!(benches, placement);
criterion_main!(benches);
