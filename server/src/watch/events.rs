//! What took long, by kinds of events: the latest samples of each, at most one a second.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// So many samples of an event are kept, as in Redis.
const SAMPLES: usize = 160;

/// Something that took long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// When, in seconds since 1970.
    pub unix_s: u64,
    /// How long.
    pub ms: u64,
}

/// The samples of one kind of event; there is at least one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// The latest, in order.
    pub samples: VecDeque<Sample>,
    /// The longest that there ever was.
    pub longest_ms: u64,
    /// All that there ever were, together.
    pub sum_ms: u64,
    /// How many there ever were.
    pub count: u64,
}

/// All kinds of events. The kinds are words of the program, so there are few.
#[derive(Debug, Default)]
pub struct Events(Mutex<BTreeMap<&'static str, Event>>);

impl Events {
    /// Takes a sample in. Of those in one second the longest stays.
    pub fn add(&self, name: &'static str, unix_s: u64, ms: u64) {
        let mut events = self.0.lock();
        let event = events.entry(name).or_default();
        event.longest_ms = event.longest_ms.max(ms);
        event.sum_ms += ms;
        event.count += 1;
        match event.samples.back_mut().filter(|last| last.unix_s == unix_s) {
            Some(last) => last.ms = last.ms.max(ms),
            None => event.samples.push_back(Sample { unix_s, ms }),
        }
        if event.samples.len() > SAMPLES {
            event.samples.pop_front();
        }
    }

    /// All that there are, by name.
    pub fn all(&self) -> Vec<(&'static str, Event)> {
        self.0.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// The event of this name.
    pub fn of(&self, name: &[u8]) -> Option<Event> {
        self.0.lock().iter().find(|(known, _)| known.as_bytes() == name).map(|(_, event)| event.clone())
    }

    /// Forgets the events of these names, all if none is given; how many there were.
    pub fn forget(&self, names: &[&[u8]]) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| !names.is_empty() && !names.contains(&name.as_bytes()));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_second_the_longest_stays() {
        let events = Events::default();
        for (unix_s, ms) in [(1, 5), (1, 9), (1, 2), (2, 4)] {
            events.add("command", unix_s, ms);
        }
        let event = events.of(b"command").unwrap();
        assert_eq!(event.samples, [Sample { unix_s: 1, ms: 9 }, Sample { unix_s: 2, ms: 4 }]);
        assert_eq!((event.longest_ms, event.sum_ms, event.count), (9, 20, 4));
        assert_eq!(events.of(b"Command"), None);
    }

    #[test]
    fn samples_are_bounded_and_forgotten() {
        let events = Events::default();
        (0..500).for_each(|second| events.add("command", second, 1));
        events.add("expire-cycle", 1, 1);
        assert_eq!(events.of(b"command").map(|event| event.samples.len()), Some(SAMPLES));
        assert_eq!((events.forget(&[b"other", b"command"]), events.all().len()), (1, 1));
        assert_eq!((events.forget(&[]), events.all().len()), (1, 0));
    }
}
