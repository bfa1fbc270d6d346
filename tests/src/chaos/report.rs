//! The report: a table, and how much was executed second by second.

use super::run::Outcome;

const COLUMNS: [&str; 12] = [
    "fault",
    "nodes/copies/acks",
    "partition",
    "commands",
    "failed",
    "unknown",
    "stale",
    "(ms)",
    "lost",
    "back",
    "longest ms",
    "clean ms",
];

/// A table with a line for each run, and the curve of each below.
pub fn table(runs: &[(String, String, String, Outcome)]) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for (fault, shape, partition, outcome) in runs {
        let found = &outcome.findings;
        let clean = outcome.clean_ms.map_or_else(|| "never".to_owned(), |clean| clean.to_string());
        let figures = [found.commands, found.failed, found.unknown, found.stale, found.stale_ms].map(|n| n.to_string());
        let [commands, failed, unknown, stale, stale_ms] = figures;
        let lost = format!("{}+{}", found.lost + found.wrong, found.lost_as_promised);
        let unavailable = outcome.unavailable_ms.to_string();
        rows.push([
            fault.clone(),
            shape.clone(),
            partition.clone(),
            commands,
            failed,
            unknown,
            stale,
            stale_ms,
            lost,
            found.resurrected.to_string(),
            unavailable,
            clean,
        ]);
    }
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        text += &format!("{}\n", cells.join("  "));
    }
    text += "\nlost: what was acknowledged and is gone, or wrong + what may be lost since one node alone had it when it failed\n";
    text += "executed, second by second; the fault lasts from ( to )\n";
    for (fault, shape, partition, outcome) in runs {
        text += &format!("{fault} {shape} {partition}: {}\n", curve(outcome));
    }
    text
}

/// Eight heights for what was executed in a second.
fn curve(outcome: &Outcome) -> String {
    const HEIGHTS: [char; 9] = ['_', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = outcome.curve.iter().copied().max().unwrap_or(0).max(1);
    let (from, to) = outcome.fault_seconds;
    let mut text = String::new();
    for (second, &count) in outcome.curve.iter().enumerate() {
        if second as u64 == from {
            text.push('(');
        }
        text.push(HEIGHTS[(count * 8).div_ceil(most).min(8) as usize]);
        if second as u64 == to {
            text.push(')');
        }
    }
    text
}
