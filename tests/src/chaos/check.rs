//! What must hold of a history and of what is there at its end.

use std::{collections::BTreeMap, ops::Range};

use super::history::{Act, End, Event};

/// What was found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Findings {
    /// Commands, those that were not executed, and those of which nobody knows.
    pub commands: u64,
    /// Not executed.
    pub failed: u64,
    /// Not known.
    pub unknown: u64,
    /// Reads older than what their client had been told before, and by how much at most, in milliseconds.
    pub stale: u64,
    /// The oldest of them.
    pub stale_ms: u64,
    /// Acknowledged writes that are gone though they were promised to stay.
    pub lost: u64,
    /// Acknowledged writes that are gone as they may: shortly before a crash, on one node.
    pub lost_as_promised: u64,
    /// Keys that are back although their removal was acknowledged.
    pub resurrected: u64,
    /// Values that nobody wrote, or that nodes disagree about.
    pub wrong: u64,
    /// What was found, in words; the first few.
    pub problems: Vec<String>,
}

/// What a key is at the end, as each host sees it: the version, 0 if there is none; none if it is no version.
pub(super) type Final = Vec<Option<u64>>;

/// When a write may be lost that one node alone had to acknowledge: shortly before a process was killed.
pub(super) type Excused = [Range<u64>];

/// So many problems are told in words.
const TOLD: usize = 10;

impl Findings {
    fn tell(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < TOLD {
            self.problems.push(problem());
        }
    }

    /// Whether everything held that is promised.
    pub fn is_clean(&self) -> bool {
        self.lost + self.resurrected + self.wrong == 0
    }
}

/// Compares what clients were told with what is there.
///
/// One client writes a key, one write after the other. The last acknowledged one has to be there, or one behind it, or one
/// of which nobody knows, whenever that was sent: it may have been executed late.
pub(super) fn check(events: &[Event], finals: &BTreeMap<usize, Final>, excused: &Excused) -> Findings {
    let mut found = Findings { commands: events.len() as u64, ..Findings::default() };
    let mut keys: BTreeMap<usize, Vec<&Event>> = finals.keys().map(|&key| (key, Vec::new())).collect();
    for event in events {
        keys.entry(event.key).or_default().push(event);
        found.failed += u64::from(event.end == End::Failed);
        found.unknown += u64::from(event.end == End::Unknown);
    }
    for (key, events) in &keys {
        stale_reads(*key, events, excused, &mut found);
        if let Some(last) = finals.get(key) {
            last_state(*key, events, last, excused, &mut found);
        }
    }
    found
}

/// Reads that show less than their client had been told and might rely on, and values that nobody wrote.
fn stale_reads(key: usize, events: &[&Event], excused: &Excused, found: &mut Findings) {
    let mut acknowledged: Vec<&Event> = Vec::new();
    for event in events {
        match (event.act, event.end) {
            (Act::Set | Act::Delete, End::Ok) => acknowledged.push(event),
            (Act::Get, End::Ok) => {
                if event.version != 0 && !events.iter().any(|write| writes(write, event.version)) {
                    found.wrong += 1;
                    found.tell(|| format!("key {key}: read version {}, which nobody wrote", event.version));
                }
                let Some(last) = acknowledged.last() else { continue };
                let is_removed = last.act == Act::Delete;
                if event.version >= last.version || (event.version == 0 && is_removed) {
                    continue;
                }
                // It is as old as the first write that it does not show.
                let might_be_lost = |write: &Event| excused.iter().any(|time| time.contains(&write.to_us));
                let mut missed = acknowledged.iter().filter(|write| write.version > event.version);
                let Some(missed) = missed.find(|write| !might_be_lost(write)) else { continue };
                found.stale += 1;
                found.stale_ms = found.stale_ms.max(event.from_us.saturating_sub(missed.to_us) / 1000);
            }
            _ => {}
        }
    }
}

fn writes(event: &Event, version: u64) -> bool {
    event.act == Act::Set && event.version == version
}

fn last_state(key: usize, events: &[&Event], last: &Final, excused: &Excused, found: &mut Findings) {
    let Some(&Some(version)) = last.first() else {
        found.wrong += 1;
        return found.tell(|| format!("key {key}: what is there is no version: {last:?}"));
    };
    if last.iter().any(|other| *other != Some(version)) {
        found.wrong += 1;
        return found.tell(|| format!("key {key}: nodes disagree: {last:?}"));
    }
    let acknowledged = events.iter().rfind(|event| event.act != Act::Get && event.end == End::Ok);
    let leaves = |event: &Event| match event.act {
        Act::Set => event.version == version,
        Act::Delete => version == 0,
        Act::Get => false,
    };
    let is_there = acknowledged.map_or(version == 0, |event| leaves(event));
    if is_there || events.iter().any(|event| event.end == End::Unknown && leaves(event)) {
        return;
    }
    let Some(acknowledged) = acknowledged else {
        found.wrong += 1;
        return found.tell(|| format!("key {key}: version {version} is there, and nothing was acknowledged"));
    };
    if version != 0 && !events.iter().any(|event| writes(event, version)) {
        found.wrong += 1;
        return found.tell(|| format!("key {key}: version {version} is there, which nobody wrote"));
    }
    // Either all that is missing was acknowledged when it might be lost, or what is there was then known to one node alone,
    // which kept it while it was away.
    let is_excused = |event: &Event| excused.iter().any(|time| time.contains(&event.to_us));
    let removed = || events.iter().filter(|event| event.act == Act::Delete && event.end != End::Failed);
    let state = if version == 0 { removed().map(|event| event.version).max().unwrap_or(0) } else { version };
    let mut missing =
        events.iter().filter(|event| event.act != Act::Get && event.end == End::Ok && event.version > state);
    let is_late = events.iter().any(|event| writes(event, version) && event.end == End::Ok && is_excused(event));
    if is_late || missing.all(|event| is_excused(event)) {
        found.lost_as_promised += 1;
        return;
    }
    match acknowledged.act {
        Act::Delete => found.resurrected += 1,
        Act::Set | Act::Get => found.lost += 1,
    }
    found.tell(|| {
        let (act, to_ms, host) = (acknowledged.act, acknowledged.to_us / 1000, acknowledged.host);
        let wanted = acknowledged.version;
        format!(
            "key {key}: version {version} is there, but {act:?} {wanted} was acknowledged at {to_ms} ms by host {host}"
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, act: Act, version: u64, end: End) -> Event {
        let (from_us, to_us) = (at * 1000, at * 1000 + 500);
        Event { from_us, to_us, key: 1, act, version, end, host: 0, said: None }
    }

    fn checked(events: &[Event], last: &[Option<u64>], excused: &Excused) -> Findings {
        let mut found = check(events, &BTreeMap::from([(1, last.to_vec())]), excused);
        found.problems.clear();
        found
    }

    fn counts(found: &Findings) -> [u64; 5] {
        [found.lost, found.lost_as_promised, found.resurrected, found.wrong, found.stale]
    }

    #[test]
    fn the_last_acknowledged_write_has_to_be_there_or_one_that_nobody_knows_of() {
        let writes = [
            event(1, Act::Set, 1, End::Ok),
            event(2, Act::Set, 2, End::Unknown),
            event(3, Act::Set, 3, End::Ok),
            event(4, Act::Set, 4, End::Failed),
        ];
        let lost = |version| counts(&checked(&writes, &[Some(version); 2], &[]));
        assert_eq!([lost(3), lost(2)], [[0; 5]; 2]);
        assert_eq!([lost(1), lost(0)], [[1, 0, 0, 0, 0]; 2]);
        assert_eq!(lost(9), [0, 0, 0, 1, 0]);
        let at_a_crash = 3_000..4_000;
        assert_eq!(counts(&checked(&writes, &[Some(1)], std::slice::from_ref(&at_a_crash))), [0, 1, 0, 0, 0]);
        assert_eq!(counts(&checked(&writes, &[Some(0)], &[at_a_crash])), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn what_was_removed_stays_away() {
        let writes =
            [event(1, Act::Set, 1, End::Ok), event(2, Act::Delete, 2, End::Ok), event(3, Act::Set, 3, End::Unknown)];
        assert_eq!(counts(&checked(&writes, &[Some(0)], &[])), [0; 5]);
        assert_eq!(counts(&checked(&writes, &[Some(3)], &[])), [0; 5]);
        assert_eq!(counts(&checked(&writes, &[Some(1)], &[])), [0, 0, 1, 0, 0]);
    }

    #[test]
    fn nodes_have_to_agree() {
        let writes = [event(1, Act::Set, 1, End::Ok)];
        assert_eq!(counts(&checked(&writes, &[Some(1), Some(0)], &[])), [0, 0, 0, 1, 0]);
        assert_eq!(counts(&checked(&writes, &[None], &[])), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_read_is_as_old_as_the_first_write_that_it_misses() {
        let events = [
            event(1, Act::Set, 1, End::Ok),
            event(10, Act::Set, 2, End::Ok),
            event(20, Act::Set, 3, End::Ok),
            event(30, Act::Get, 1, End::Ok),
            event(31, Act::Get, 3, End::Ok),
            event(40, Act::Delete, 4, End::Ok),
            event(50, Act::Get, 0, End::Ok),
        ];
        let found = checked(&events, &[Some(0)], &[]);
        assert_eq!((found.stale, found.stale_ms, found.is_clean()), (1, 19, true));
    }
}
