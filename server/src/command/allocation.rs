//! `MEMORY`, what it tells of the whole node.

use super::{Command, Flags, Keys, OnNode, Run, describe, memory};
use crate::{resp::Reply, services::MemoryFigures};

/// The subcommands of `MEMORY`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    subcommand("memory|doctor", Flags::NONE, |context, _| {
        Reply::Verbatim(doctor(&context.router.services().information.memory())).into()
    }),
    subcommand("memory|help", Flags::LOADING.and(Flags::STALE), |context, request| {
        describe::help(context, request).into()
    }),
    subcommand("memory|malloc-stats", Flags::LOADING, |context, _| {
        Reply::Verbatim(context.router.services().information.allocator_report()).into()
    }),
    subcommand("memory|purge", Flags::LOADING, |context, _| {
        match context.router.services().information.purge() {
            true => Reply::OK,
            false => Reply::error("ERR Error purging dirty pages"),
        }
        .into()
    }),
    subcommand("memory|stats", Flags::NONE, |context, _| stats(&context.router.services().information.memory()).into()),
    memory::USAGE,
];

const fn subcommand(name: &'static str, flags: Flags, run: OnNode) -> Command {
    Command::new(name, 2, flags, Keys::NONE, Run::Node(run))
}

/// The figures that are measured, by the names of Redis.
fn stats(memory: &MemoryFigures) -> Reply<'static> {
    let number = |number: u64| Reply::Integer(number as i64);
    let ratio = |of: u64, by: u64| Reply::Double(if by == 0 { 0.0 } else { of as f64 / by as f64 });
    let mut fields = vec![
        ("peak.allocated", number(memory.used_peak)),
        ("total.allocated", number(memory.used)),
        ("keys.count", number(memory.keys)),
        ("keys.bytes-per-key", number(memory.used / memory.keys.max(1))),
        ("peak.percentage", Reply::Double(100.0 * memory.used as f64 / memory.used_peak.max(1) as f64)),
    ];
    if let Some([allocated, active, resident]) = memory.allocator {
        fields.extend([
            ("allocator.allocated", number(allocated)),
            ("allocator.active", number(active)),
            ("allocator.resident", number(resident)),
            ("allocator-fragmentation.ratio", ratio(active, allocated)),
            ("allocator-fragmentation.bytes", number(active.saturating_sub(allocated))),
            ("allocator-rss.ratio", ratio(resident, active)),
            ("allocator-rss.bytes", number(resident.saturating_sub(active))),
            ("rss-overhead.ratio", ratio(memory.resident, resident)),
            ("rss-overhead.bytes", Reply::Integer(memory.resident as i64 - resident as i64)),
        ]);
    }
    fields.push(("fragmentation", ratio(memory.resident, memory.used)));
    fields.push(("fragmentation.bytes", Reply::Integer(memory.resident as i64 - memory.used as i64)));
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::Text(name.into()), value)).collect())
}

/// Less data than this says nothing about memory.
const LEAST_TELLING_BYTES: u64 = 5 << 20;

/// Sentences about what is unusual.
fn doctor(memory: &MemoryFigures) -> String {
    if memory.used < LEAST_TELLING_BYTES {
        return "There is hardly any data, so the figures of memory say nothing yet.\n".to_owned();
    }
    let mut found = Vec::new();
    if memory.used_peak > memory.used / 2 * 3 {
        found.push("There was half as much data again at some time: memory of that time may still be held.");
    }
    if memory.allocator.is_some_and(|[allocated, active, _]| active > allocated / 10 * 13) {
        found.push("The pages of the allocator have many holes: keys of other sizes come than have gone.");
    }
    if memory.maxmemory > 0 && memory.used > memory.maxmemory / 20 * 19 {
        found.push("The limit is nearly reached: keys are evicted, or writes refused, by maxmemory-policy.");
    }
    if found.is_empty() {
        found.push("Nothing unusual.");
    }
    found.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_says_what_is_unusual() {
        let healthy = MemoryFigures { used: 10 << 20, used_peak: 11 << 20, ..MemoryFigures::default() };
        let check = |figures: MemoryFigures, part: &str| {
            let text = doctor(&figures);
            assert!(text.contains(part), "{text}");
        };
        check(MemoryFigures::default(), "hardly any data");
        check(healthy.clone(), "Nothing unusual");
        check(MemoryFigures { used_peak: 20 << 20, ..healthy.clone() }, "at some time");
        check(MemoryFigures { allocator: Some([10, 20, 30]), ..healthy.clone() }, "holes");
        check(MemoryFigures { maxmemory: 10 << 20, ..healthy }, "nearly reached");
    }
}
