//! The deadlines of one slot, in order.
//!
//! `(deadline, hash of the key)`, kept beside the index: whatever is due is found without looking at anything else, a
//! changed deadline leaves nothing stale behind, any one can be drawn, and a slot without deadlines pays nothing. (A
//! timing wheel would be cheaper to insert into but keeps an item for each deadline that was ever replaced; Redis'
//! sampling visits live keys over and over and leaves a share of the dead ones; from a B-tree nothing can be drawn.)
//!
//! A slot has a few dozen as a rule: a sorted list of 16 bytes each, in which an insert moves less than it would cost
//! to walk a tree. A slot with more than [`MAX_LIST`] has a list of such lists. All of them run backwards, so that the
//! first deadline, which goes first, goes from an end.

use std::collections::VecDeque;

use super::{entry::size_class, shard::Random};

/// Longer lists are split: an insert moves 8 KiB at most, and the places of the lists.
const MAX_LIST: usize = 512;
/// A list that shrinks below this joins a neighbour, where that leaves room to grow.
const HALF_LIST: usize = MAX_LIST / 2;
const MAX_JOINED: usize = MAX_LIST / 4 * 3;
/// Fewer deadlines than this are one list again.
const MIN_LISTS: usize = MAX_LIST / 4;
/// Two neighbours are together longer than half a list, so that at least a quarter of all draws hit; of so many one
/// does, as good as always.
const DRAWS: usize = 64;

/// A deadline and the hash of its key.
type Element = (u64, u64);

/// Deadlines with the hashes of their keys.
#[derive(Debug)]
pub(super) enum Deadlines {
    List(Vec<Element>),
    Lists(Box<Lists>),
}

/// Lists of which each begins below the end of the one before; none is empty.
#[derive(Debug)]
pub(super) struct Lists {
    lists: VecDeque<Vec<Element>>,
    len: usize,
    /// What the lists take, without the places in which they stand.
    list_bytes: usize,
}

impl Deadlines {
    pub(super) const fn new() -> Deadlines {
        Deadlines::List(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Deadlines::List(list) => list.len(),
            Deadlines::Lists(lists) => lists.len,
        }
    }

    pub(super) fn allocated_bytes(&self) -> usize {
        match self {
            Deadlines::List(list) => bytes_of(list),
            Deadlines::Lists(lists) => lists.allocated_bytes(),
        }
    }

    /// The earliest deadline with its key's hash.
    pub(super) fn first(&self) -> Option<Element> {
        match self {
            Deadlines::List(list) => list.last().copied(),
            Deadlines::Lists(lists) => lists.lists.back().and_then(|list| list.last()).copied(),
        }
    }

    /// Any deadline with its key's hash; each is as likely.
    pub(super) fn random(&self, random: &mut Random) -> Option<Element> {
        match self {
            Deadlines::List(list) => {
                let at = random.next().checked_rem(list.len() as u64)?;
                Some(list[at as usize])
            }
            Deadlines::Lists(lists) => lists.random(random),
        }
    }

    pub(super) fn insert(&mut self, deadline: u64, hash: u64) {
        let element = (deadline, hash);
        match self {
            Deadlines::List(list) if list.len() < MAX_LIST => drop(insert(list, element)),
            Deadlines::List(list) => {
                let list = std::mem::take(list);
                let (len, list_bytes) = (list.len(), bytes_of(&list));
                let mut lists = Lists { lists: VecDeque::from([list]), len, list_bytes };
                lists.insert(element);
                *self = Deadlines::Lists(Box::new(lists));
            }
            Deadlines::Lists(lists) => lists.insert(element),
        }
    }

    pub(super) fn remove(&mut self, deadline: u64, hash: u64) {
        let element = (deadline, hash);
        match self {
            Deadlines::List(list) => drop(remove(list, element)),
            Deadlines::Lists(lists) => {
                lists.remove(element);
                if lists.len < MIN_LISTS {
                    *self = Deadlines::List(lists.lists.iter().flatten().copied().collect());
                }
            }
        }
    }
}

impl Lists {
    fn allocated_bytes(&self) -> usize {
        size_class(size_of::<Lists>()) + size_class(self.lists.capacity() * size_of::<Vec<Element>>()) + self.list_bytes
    }

    fn random(&self, random: &mut Random) -> Option<Element> {
        // Of all places that a full list would have one is drawn, until there is something at it.
        let mut draw = || {
            let random = random.next();
            let list = &self.lists[(random >> 32) as usize % self.lists.len()];
            list.get(random as u32 as usize % MAX_LIST).copied()
        };
        (0..DRAWS).find_map(|_| draw()).or_else(|| self.lists.front()?.first().copied())
    }

    fn insert(&mut self, element: Element) {
        let mut at = self.list_of(element);
        let list = &mut self.lists[at];
        if list.len() == MAX_LIST {
            if at == 0 && element > list[0] {
                // Deadlines that follow upon each other leave full lists behind.
                self.lists.push_front(Vec::new());
            } else {
                at = self.split(at, element);
            }
        }
        self.change(at, |list| insert(list, element));
    }

    /// Splits a list, to which an element is to be added, and says which half the element belongs to.
    fn split(&mut self, at: usize, element: Element) -> usize {
        let mut lower = Vec::new();
        self.change(at, |list| {
            lower = list.split_off(HALF_LIST);
            list.shrink_to(MAX_LIST / 8 * 5);
            true
        });
        let belongs_below = element < self.lists[at][HALF_LIST - 1];
        self.len += lower.len();
        self.list_bytes += bytes_of(&lower);
        self.lists.insert(at + 1, lower);
        at + usize::from(belongs_below)
    }

    fn remove(&mut self, element: Element) {
        let at = self.list_of(element);
        if !self.change(at, |list| remove(list, element)) || self.lists[at].len() >= HALF_LIST {
            return;
        }
        if self.lists[at].is_empty() {
            self.lists.remove(at);
        } else if !self.join(at) && at > 0 {
            self.join(at - 1);
        }
        if self.lists.len() < self.lists.capacity() / 4 {
            self.lists.shrink_to(self.lists.len() * 2);
        }
    }

    /// Joins a list with the next one, if there is one and both together leave room.
    fn join(&mut self, at: usize) -> bool {
        let next_len = self.lists.get(at + 1).map_or(usize::MAX, Vec::len);
        if next_len > MAX_JOINED - self.lists[at].len().min(MAX_JOINED) {
            return false;
        }
        let next = self.lists.remove(at + 1).expect("it was there a moment ago");
        self.len -= next.len();
        self.list_bytes -= bytes_of(&next);
        self.change(at, |list| {
            list.reserve_exact(next.len());
            list.extend(next);
            true
        })
    }

    /// The list that holds an element, or would.
    fn list_of(&self, element: Element) -> usize {
        // None of the lists is empty.
        let behind = self.lists.partition_point(|list| list.last().is_some_and(|&last| last > element));
        behind.min(self.lists.len() - 1)
    }

    /// Changes a list and keeps count.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Vec<Element>) -> bool) -> bool {
        let list = &mut self.lists[at];
        let (len, bytes) = (list.len(), bytes_of(list));
        let changed = change(list);
        self.len = self.len - len + list.len();
        self.list_bytes = self.list_bytes - bytes + bytes_of(list);
        changed
    }
}

fn bytes_of(list: &Vec<Element>) -> usize {
    size_class(list.capacity() * size_of::<Element>())
}

/// Adds an element to a list that runs backwards; false if it is in already.
fn insert(list: &mut Vec<Element>, element: Element) -> bool {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(4));
    }
    let place = list.binary_search_by(|other| element.cmp(other));
    if let Err(at) = place {
        list.insert(at, element);
    }
    place.is_err()
}

/// Takes an element out of a list that runs backwards; false if it is not in.
fn remove(list: &mut Vec<Element>, element: Element) -> bool {
    let place = list.binary_search_by(|other| element.cmp(other));
    if let Ok(at) = place {
        list.remove(at);
    }
    if list.is_empty() || list.len() < list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
    place.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    /// Whether the books are right and the lists as long as they should be.
    fn check(deadlines: &Deadlines) {
        let Deadlines::Lists(kept) = deadlines else { return };
        let lens: Vec<usize> = kept.lists.iter().map(Vec::len).collect();
        assert_eq!((kept.len, kept.list_bytes), (lens.iter().sum(), kept.lists.iter().map(bytes_of).sum()));
        assert!(lens.iter().all(|&len| (1..=MAX_LIST).contains(&len)), "{lens:?}");
        assert!(kept.lists.iter().flatten().is_sorted_by(|one, next| one > next));
        assert!(lens.windows(2).all(|pair| pair[0] + pair[1] > HALF_LIST), "{lens:?}");
    }

    proptest! {
        #[test]
        fn deadlines_are_a_sorted_set(steps in prop::collection::vec((any::<bool>(), 0u64..900, 0u64..2), 0..3000), grow in 0u64..4000) {
            let (mut deadlines, mut twin) = (Deadlines::new(), BTreeSet::new());
            for number in 0..grow {
                // In order, against it and from both sides.
                let number = match grow % 3 { 0 => number, 1 => grow - number, _ => number % 2 * grow + number };
                deadlines.insert(number, 7);
                twin.insert((number, 7));
            }
            for (insert, deadline, hash) in steps {
                if insert {
                    deadlines.insert(deadline, hash);
                    twin.insert((deadline, hash));
                } else {
                    deadlines.remove(deadline, hash);
                    twin.remove(&(deadline, hash));
                }
                prop_assert_eq!((deadlines.first(), deadlines.len()), (twin.first().copied(), twin.len()));
            }
            check(&deadlines);
            let mut random = Random::new(3);
            while let Some((deadline, hash)) = deadlines.random(&mut random) {
                prop_assert!(twin.remove(&(deadline, hash)));
                deadlines.remove(deadline, hash);
                prop_assert_eq!((deadlines.first(), deadlines.len()), (twin.first().copied(), twin.len()));
                if twin.len() % 64 == 0 {
                    check(&deadlines);
                }
            }
            prop_assert!(twin.is_empty());
            prop_assert_eq!(deadlines.allocated_bytes(), 0);
        }
    }

    #[test]
    fn every_deadline_is_drawn_as_often() {
        let mut random = Random::new(5);
        for count in [1, 40, MAX_LIST as u64 + 1, 3000] {
            let mut deadlines = Deadlines::new();
            // One stands far from the others.
            (0..count).for_each(|number| deadlines.insert(if number == 0 { u64::MAX } else { number }, number));
            let mut drawn = vec![0; count as usize];
            (0..count * 200).for_each(|_| {
                let (_, number) = deadlines.random(&mut random).unwrap();
                drawn[number as usize] += 1;
            });
            assert!(drawn.iter().all(|times| (120..280).contains(times)), "{count}: {drawn:?}");
        }
        assert_eq!(Deadlines::new().random(&mut random), None);
    }
}
