//! What the benchmarks share; above all the load generator `circlet-bench`.

pub mod bench;
