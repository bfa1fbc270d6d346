//! The entries of one slot, and the rules by which effects and snapshots change them.
//!
//! What is called a key here is an entry's name: the key with its database ([`Database::name`]).

use bytes::Bytes;
use hashbrown::HashTable;
use ring::{
    context::{Keep, SlotContext, join_rule},
    dot::Dot,
    effect::Op,
    fold::Fold,
    id::Origin,
    replica::Entries,
};

use super::{
    deadlines::Deadlines,
    entry::{Content, Entry, PackedDot, PackedOrigin, Source, size_class},
    index::{Index, Place, hash_key},
    shard::Random,
    snapshot::SlotSnapshot,
    uses::Uses,
};
use crate::types::{DATABASES, Database, Kind};

/// A slot's table of origins; one that finds no place stands in the entry itself.
const MAX_ORIGINS: usize = 256;

/// The entries of one slot.
#[derive(Debug)]
pub struct SlotEntries {
    index: Index,
    deadlines: Deadlines,
    /// The sum of all deadlines.
    deadline_sum: u128,
    origins: Vec<Origin>,
    entry_bytes: usize,
    /// How many entries the databases have beside the first; none as long as they have none.
    others: Option<Box<PerDatabase>>,
}

/// Entries, and those with a deadline, by database; the first one's are not kept.
type PerDatabase = [Held; DATABASES];

/// How many entries are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// All, those past their deadline included.
    pub keys: usize,
    /// Those with a deadline.
    pub expires: usize,
    /// The sum of their deadlines, in milliseconds since 1970.
    pub deadlines: u128,
}

impl SlotEntries {
    pub(super) fn new(seed: u64) -> SlotEntries {
        SlotEntries {
            index: Index::new(seed),
            deadlines: Deadlines::new(),
            deadline_sum: 0,
            origins: Vec::new(),
            entry_bytes: 0,
            others: None,
        }
    }

    /// How many entries are held, those past their deadline included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// How many entries have a deadline.
    pub fn expires(&self) -> usize {
        self.deadlines.len()
    }

    /// How many entries a database has.
    pub fn held(&self, database: Database) -> Held {
        let all = || Held { keys: self.len(), expires: self.expires(), deadlines: self.deadline_sum };
        match &self.others {
            None if database != Database::FIRST => Held::default(),
            None => all(),
            Some(others) if database != Database::FIRST => others[database.index()],
            Some(others) => others.iter().fold(all(), |left, other| Held {
                keys: left.keys - other.keys,
                expires: left.expires - other.expires,
                deadlines: left.deadlines - other.deadlines,
            }),
        }
    }

    /// How many bytes the entries take with their index, deadlines and origins, as the allocator gives them.
    pub fn bytes(&self) -> usize {
        let origins = size_class(self.origins.capacity() * size_of::<Origin>());
        let others = if self.others.is_some() { size_class(size_of::<PerDatabase>()) } else { 0 };
        self.entry_bytes + self.index.allocated_bytes() + self.deadlines.allocated_bytes() + origins + others
    }

    #[cfg(test)]
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// The fold of all entries, computed anew: what the fold kept by every change has to be.
    pub fn recomputed_fold(&self) -> Fold {
        let mut fold = Fold::default();
        self.index.iter().for_each(|entry| fold.toggle(entry.key(), self.dot(entry)));
        fold
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        hash_key(self.index.seed(), key)
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.index.find(hash, key)
    }

    /// Says that this key is about to be looked up.
    pub(super) fn prefetch(&self, key: &[u8]) {
        // The first entry with the key's tag is the one, but for one in 128.
        let _ = self.index.find_by(self.hash(key), |entry| {
            entry.prefetch();
            true
        });
    }

    pub(super) fn entry(&self, place: Place) -> &Entry {
        self.index.entry(place)
    }

    pub(super) fn note_use(&mut self, place: Place, used: impl FnOnce(Uses) -> Uses) {
        self.index.entry_mut(place).note_use(used);
    }

    /// Gives an entry other bytes for its large value and returns those that it had; its version stays. Only for a moment
    /// in which nobody looks. A value that is not large is left alone.
    pub(super) fn exchange(&mut self, place: Place, value: Bytes) -> Bytes {
        let entry = self.index.entry_mut(place);
        let before = entry.allocated_bytes();
        let old = entry.exchange(value);
        self.entry_bytes = self.entry_bytes - before + entry.allocated_bytes();
        old
    }

    /// The version of an entry.
    pub(super) fn dot(&self, entry: &Entry) -> Dot {
        let packed = entry.dot();
        let origin = match packed.origin {
            PackedOrigin::Index(index) => self.origins[usize::from(index)],
            PackedOrigin::Wide(origin) => origin,
        };
        Dot::new(packed.hlc, origin)
    }

    /// The earliest deadline of any entry.
    pub(super) fn earliest_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| deadline)
    }

    /// An entry whose deadline has come, with its key's hash.
    pub(super) fn due(&self, now: u64) -> Option<(u64, Place)> {
        let (deadline, hash) = self.deadlines.first().filter(|&(deadline, _)| deadline <= now)?;
        Some((hash, self.place_of(deadline, hash)))
    }

    /// Any entry with a deadline; every one is as likely.
    pub(super) fn random_with_deadline(&self, random: &mut Random) -> Option<Place> {
        self.deadlines.random(random).map(|(deadline, hash)| self.place_of(deadline, hash))
    }

    /// The entry that a deadline belongs to.
    fn place_of(&self, deadline: u64, hash: u64) -> Place {
        let place = self.index.find_by(hash, |entry| entry.deadline() == deadline && self.hash(entry.key()) == hash);
        place.expect("a deadline is taken out with its entry")
    }

    /// Gives a key a new version, whatever it had; `noted` says from what was known of its uses what is known now.
    pub(super) fn put(
        &mut self,
        hash: u64,
        key: &[u8],
        content: Content<'_>,
        dot: Dot,
        noted: impl FnOnce(Option<Uses>) -> Uses,
        fold: &mut Fold,
    ) {
        let packed = self.pack(dot);
        let deadline = content.deadline;
        match self.find(hash, key) {
            Some(place) => {
                let uses = noted(Some(self.entry(place).uses()));
                self.replace(hash, place, deadline, dot, fold, |entry| {
                    if !entry.overwrite(key, &content, packed, uses) {
                        *entry = Entry::new(key, content, packed, uses);
                    }
                });
            }
            None => {
                let entry = Entry::new(key, content, packed, noted(None));
                self.entry_bytes += entry.allocated_bytes();
                self.index.insert(hash, entry);
                self.add_deadline(deadline, hash);
                self.count(key, |held| {
                    held.keys += 1;
                    held.expires += usize::from(deadline != 0);
                    held.deadlines += u128::from(deadline);
                });
                fold.toggle(key, dot);
            }
        }
    }

    /// Gives an entry another deadline, as a new version of the same value.
    pub(super) fn set_deadline(
        &mut self,
        hash: u64,
        place: Place,
        deadline: u64,
        dot: Dot,
        uses: Uses,
        fold: &mut Fold,
    ) {
        let packed = self.pack(dot);
        self.replace(hash, place, deadline, dot, fold, |entry| *entry = entry.with_deadline(deadline, packed, uses));
    }

    pub(super) fn remove(&mut self, hash: u64, place: Place, fold: &mut Fold) {
        let entry = self.index.remove(place);
        self.entry_bytes -= entry.allocated_bytes();
        fold.toggle(entry.key(), self.dot(&entry));
        self.remove_deadline(entry.deadline(), hash);
        self.count(entry.key(), |held| {
            held.keys -= 1;
            held.expires -= usize::from(entry.deadline() != 0);
            held.deadlines -= u128::from(entry.deadline());
        });
        if self.index.len() == 0 {
            self.origins = Vec::new();
        }
    }

    /// Loses an entry or changes its value, and no fold knows; for tests of who finds it.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn spoil(&mut self, name: &[u8], loses_it: bool) -> bool {
        let hash = self.hash(name);
        let Some(place) = self.find(hash, name) else { return false };
        let mut unknown = Fold::default();
        if loses_it {
            self.remove(hash, place, &mut unknown);
            return true;
        }
        let entry = self.entry(place);
        let (kind, deadline, dot, uses) = (entry.kind(), entry.deadline(), self.dot(entry), entry.uses());
        let mut value = entry.value().as_slice().to_vec();
        let Some(last) = value.last_mut() else { return false };
        *last ^= 1;
        let content = Content { kind, value: Source::Copied(&value), deadline };
        self.put(hash, name, content, dot, |_| uses, &mut unknown);
        true
    }

    fn replace(
        &mut self,
        hash: u64,
        place: Place,
        deadline: u64,
        dot: Dot,
        fold: &mut Fold,
        change: impl FnOnce(&mut Entry),
    ) {
        let old = self.index.entry(place);
        let (old_deadline, old_bytes) = (old.deadline(), old.allocated_bytes());
        fold.toggle(old.key(), self.dot(old));
        let entry = self.index.entry_mut(place);
        change(entry);
        fold.toggle(entry.key(), dot);
        self.entry_bytes = self.entry_bytes - old_bytes + entry.allocated_bytes();
        if old_deadline != deadline {
            self.remove_deadline(old_deadline, hash);
            self.add_deadline(deadline, hash);
            self.recount_deadline(place, old_deadline, deadline);
        }
    }

    /// An entry has another deadline, or none any more.
    fn recount_deadline(&mut self, place: Place, old: u64, new: u64) {
        let (database, _) = Database::of(self.index.entry(place).key());
        if database != Database::FIRST
            && let Some(others) = &mut self.others
        {
            let held = &mut others[database.index()];
            held.expires = held.expires + usize::from(new != 0) - usize::from(old != 0);
            held.deadlines = held.deadlines + u128::from(new) - u128::from(old);
        }
    }

    /// Changes the count of the database that a name is in, if that is not the first one.
    fn count(&mut self, name: &[u8], change: impl FnOnce(&mut Held)) {
        let (database, _) = Database::of(name);
        if database == Database::FIRST {
            return;
        }
        let others = self.others.get_or_insert_default();
        change(&mut others[database.index()]);
        if others.iter().all(|held| held.keys == 0) {
            self.others = None;
        }
    }

    /// Removes all entries whose version is as asked for; linear in the number of entries.
    fn remove_if(&mut self, fold: &mut Fold, goes: impl Fn(&[u8], Dot) -> bool) {
        let going = self.index.iter().filter(|entry| goes(entry.key(), self.dot(entry)));
        let going: Vec<Box<[u8]>> = going.map(|entry| entry.key().into()).collect();
        for key in going {
            let hash = self.hash(&key);
            if let Some(place) = self.find(hash, &key) {
                self.remove(hash, place, fold);
            }
        }
    }

    fn pack(&mut self, dot: Dot) -> PackedDot {
        // The last origin is the one that writes now, almost always.
        let index = self.origins.iter().rposition(|&origin| origin == dot.origin).or_else(|| {
            (self.origins.len() < MAX_ORIGINS).then(|| {
                self.origins.push(dot.origin);
                self.origins.len() - 1
            })
        });
        let origin = index.map_or(PackedOrigin::Wide(dot.origin), |index| PackedOrigin::Index(index as u8));
        PackedDot { hlc: dot.hlc, origin }
    }

    fn add_deadline(&mut self, deadline: u64, hash: u64) {
        if deadline != 0 {
            self.deadlines.insert(deadline, hash);
            self.deadline_sum += u128::from(deadline);
        }
    }

    fn remove_deadline(&mut self, deadline: u64, hash: u64) {
        if deadline != 0 {
            self.deadlines.remove(deadline, hash);
            self.deadline_sum -= u128::from(deadline);
        }
    }
}

impl Entries for SlotEntries {
    type Snapshot = SlotSnapshot;

    fn apply(&mut self, dot: Dot, op: &Op<'_>, fold: &mut Fold) {
        match op {
            Op::Put { key, kind, value, deadline } => {
                let hash = self.hash(key);
                // An effect may write a key twice under its one dot: the later operation holds.
                let held = self.find(hash, key).is_some_and(|place| self.dot(self.entry(place)) > dot);
                let kind = Kind::from_number(*kind).expect("effects of unknown kinds are refused on arrival");
                if !held {
                    let content = Content { kind, value: Source::Copied(value), deadline: *deadline };
                    self.put(hash, key, content, dot, |old| Uses::replaced(old, dot.hlc.unix_ms()), fold);
                }
            }
            Op::Drop { key, saw, .. } => {
                let hash = self.hash(key);
                if let Some(place) = self.find(hash, key)
                    && self.dot(self.entry(place)) == *saw
                {
                    self.remove(hash, place, fold);
                }
            }
            Op::Clear { seen } => {
                if self.index.iter().all(|entry| seen.covers(self.dot(entry))) {
                    self.clear();
                    *fold = Fold::default();
                } else {
                    self.remove_if(fold, |_, dot| seen.covers(dot));
                }
            }
        }
    }

    fn snapshot(&self) -> SlotSnapshot {
        SlotSnapshot::of(self)
    }

    fn join(&mut self, theirs: SlotSnapshot, my_seen: &SlotContext, their_seen: &SlotContext, fold: &mut Fold) {
        if !self.is_empty() {
            let seed = self.index.seed();
            let mut held: HashTable<&[u8]> = HashTable::with_capacity(theirs.len());
            for entry in theirs.entries() {
                held.insert_unique(hash_key(seed, entry.key), entry.key, |key| hash_key(seed, key));
            }
            self.remove_if(fold, |key, dot| {
                their_seen.covers(dot) && held.find(hash_key(seed, key), |other| *other == key).is_none()
            });
        }
        for entry in theirs.entries() {
            let hash = self.hash(entry.key);
            let place = self.find(hash, entry.key);
            let mine = place.map(|place| self.dot(self.entry(place)));
            match join_rule(mine, Some(entry.dot), my_seen, their_seen) {
                Keep::Mine => {}
                Keep::Theirs => {
                    let content = Content { kind: entry.kind, value: entry.value.clone(), deadline: entry.deadline };
                    let noted = |old| Uses::replaced(old, entry.dot.hlc.unix_ms());
                    self.put(hash, entry.key, content, entry.dot, noted, fold);
                }
                Keep::Neither => {
                    if let Some(place) = place {
                        self.remove(hash, place, fold);
                    }
                }
            }
        }
    }

    fn clear(&mut self) {
        *self = SlotEntries::new(self.index.seed());
    }
}
