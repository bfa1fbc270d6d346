//! What one node found out about the copies of its slots, as it travels to the node that was asked.
//!
//! ```text
//!   u32 length · set of unserved slots · u64 slots · u64 copies · u64 keys · u64 bytes · u64 problems per kind · problems
//!   problem: u16 slot · node id · u8 kind
//! ```

use bytes::{Buf, Bytes, TryGetError};
use ring::{
    codec::Malformed,
    id::NodeId,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};

use crate::{resp::Output, store::Finding};

/// So many problems are named; the others are only counted.
const MOST_NAMED: usize = 1000;

/// What may be wrong with a copy, with the names under which it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Problem {
    /// Its node did not answer.
    Silent = 0,
    /// There is none.
    Absent = 1,
    /// It lacks something that it knows of.
    Behind = 2,
    /// It has incorporated something else.
    Context = 3,
    /// It has incorporated the same and has other entries.
    Entries = 4,
    /// It has the same entries with other values.
    Content = 5,
    /// Its entries are not those that it was told.
    Spoilt = 6,
}

impl Problem {
    pub(crate) const ALL: [(Problem, &str); 7] = [
        (Problem::Silent, "silent"),
        (Problem::Absent, "absent"),
        (Problem::Behind, "behind"),
        (Problem::Context, "context"),
        (Problem::Entries, "entries"),
        (Problem::Content, "content"),
        (Problem::Spoilt, "spoilt"),
    ];

    /// What was found, if it is a problem; a copy of which nothing was heard is one.
    pub(crate) fn of(finding: Option<Finding>) -> Option<Problem> {
        match finding {
            None => Some(Problem::Silent),
            Some(Finding::Equal) => None,
            Some(Finding::Absent) => Some(Problem::Absent),
            Some(Finding::Behind) => Some(Problem::Behind),
            Some(Finding::Context) => Some(Problem::Context),
            Some(Finding::Entries) => Some(Problem::Entries),
            Some(Finding::Content) => Some(Problem::Content),
            Some(Finding::Spoilt) => Some(Problem::Spoilt),
        }
    }

    /// Whether two copies are different, and not only late or out of reach.
    pub(crate) fn is_divergence(self) -> bool {
        matches!(self, Problem::Context | Problem::Entries | Problem::Content | Problem::Spoilt)
    }
}

/// What was found out about some slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verified {
    /// Slots that nobody looked through.
    pub(crate) unserved: SlotSet,
    /// Slots that were looked through.
    pub(crate) slots: u64,
    /// Copies of these that are equal to those of who acts, and these themselves.
    pub(crate) copies: u64,
    /// Entries of these slots, each counted once.
    pub(crate) keys: u64,
    /// The bytes that they take, counted once.
    pub(crate) bytes: u64,
    /// Problems by kind.
    pub(crate) counts: [u64; Problem::ALL.len()],
    /// The first of them.
    pub(crate) named: Vec<(Slot, NodeId, Problem)>,
}

impl Default for Verified {
    fn default() -> Verified {
        let unserved = SlotSet::new(SLOTS);
        Verified { unserved, slots: 0, copies: 0, keys: 0, bytes: 0, counts: Default::default(), named: Vec::new() }
    }
}

impl Verified {
    /// Takes note of a problem.
    pub(crate) fn note(&mut self, slot: Slot, node: NodeId, problem: Problem) {
        self.counts[problem as usize] += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push((slot, node, problem));
        }
    }

    /// Adds what was found out about other slots; which of all were not looked through the caller knows.
    pub(crate) fn add(&mut self, other: Verified) {
        self.slots += other.slots;
        self.copies += other.copies;
        self.keys += other.keys;
        self.bytes += other.bytes;
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.named.extend(other.named);
        self.named.truncate(MOST_NAMED);
    }

    /// Appends it to a frame.
    pub(crate) fn encode(&self, out: &mut Output) {
        let mut set = Vec::new();
        self.unserved.encode(&mut set);
        out.raw(&(set.len() as u32).to_le_bytes());
        out.raw(&set);
        let numbers = [self.slots, self.copies, self.keys, self.bytes].into_iter().chain(self.counts);
        numbers.for_each(|number| out.raw(&number.to_le_bytes()));
        for (slot, node, problem) in &self.named {
            out.raw(&slot.number().to_le_bytes());
            out.raw(node.as_bytes());
            out.raw(&[*problem as u8]);
        }
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Verified, Malformed> {
        let mut body = body.clone();
        let set_bytes = body.try_get_u32_le().map_err(short)? as usize;
        if set_bytes > body.len() {
            return Err(Malformed("a set of slots that ends early"));
        }
        let unserved = SlotSet::decode(&body.split_to(set_bytes), SLOTS)?;
        let mut number = || body.try_get_u64_le().map_err(short);
        let (slots, copies, keys, bytes) = (number()?, number()?, number()?, number()?);
        let mut counts = [0; Problem::ALL.len()];
        for count in &mut counts {
            *count = number()?;
        }
        let mut named = Vec::new();
        while body.has_remaining() && named.len() < MOST_NAMED {
            let slot = Slot::new(body.try_get_u16_le().map_err(short)?).ok_or(Malformed("there is no such slot"))?;
            let mut node = [0; 20];
            body.try_copy_to_slice(&mut node).map_err(short)?;
            let problem = Problem::ALL.get(usize::from(body.try_get_u8().map_err(short)?));
            let (problem, _) = problem.ok_or(Malformed("an unknown problem"))?;
            named.push((slot, NodeId::from_bytes(node), *problem));
        }
        match body.has_remaining() {
            true => Err(Malformed("more problems than are named")),
            false => Ok(Verified { unserved, slots, copies, keys, bytes, counts, named }),
        }
    }
}

fn short(_: TryGetError) -> Malformed {
    Malformed("an answer that ends early")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_found_is_read_as_it_was_written(
            unserved in prop::collection::vec(0u16..16384, 0..5), numbers: [u32; 11],
            named in prop::collection::vec((0u16..16384, any::<u64>(), 0..Problem::ALL.len()), 0..5),
        ) {
            let [slots, copies, keys, bytes, counts @ ..] = numbers.map(u64::from);
            let mut verified = Verified { slots, copies, keys, bytes, counts, ..Verified::default() };
            unserved.iter().for_each(|&slot| { verified.unserved.insert(Slot::new(slot).unwrap()); });
            let named = named.iter().map(|&(slot, node, problem)| {
                (Slot::new(slot).unwrap(), NodeId::from_seed(node), Problem::ALL[problem].0)
            });
            verified.named = named.collect();
            let mut out = Output::default();
            verified.encode(&mut out);
            prop_assert_eq!(Verified::decode(&out.into_bytes()).unwrap(), verified);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Verified::decode(&Bytes::from(bytes)).is_ok();
        }
    }
}
