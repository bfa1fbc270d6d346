//! One slot, lent to a command under the lock of its shard.

use bytes::Bytes;
use ring::{
    dot::Dot,
    effect::{Cause, Op},
    hlc::HlcClock,
    replica::{Entries, Replica},
    slot::Slot,
};

use super::{
    Access,
    entries::SlotEntries,
    entry::{Content, Entry, Source},
    index::Place,
    outbox::EffectWriter,
    shard::{self, Random, Totals},
    uses::Tracking,
};
use crate::types::{Database, Kind, Value};

/// So many entries are drawn in search of one of the database.
const MAX_DRAWS: usize = 64;

/// One slot, lent to a command: one that this node acts for, or to a reading command a copy that follows.
///
/// Whatever is written becomes one effect with one dot when the loan ends. A key past its deadline is never shown;
/// meeting one removes it, by effect, as every removal. Keys are those of the database that is set.
#[derive(Debug)]
pub struct SlotTxn<'a> {
    pub(super) replica: &'a mut Replica<SlotEntries>,
    pub(super) clock: &'a mut HlcClock,
    pub(super) writer: &'a mut EffectWriter,
    pub(super) totals: &'a mut Totals,
    pub(super) random: &'a mut Random,
    pub(super) earliest_deadline: &'a mut u64,
    /// The time of day: what is past its deadline is gone.
    pub(super) now: u64,
    /// The time that versions are made of. Uses are noted by it too: copies that follow know them from versions, and a
    /// clock that was set must not make the latest look like the oldest.
    pub(super) version_now: u64,
    pub(super) access: Access,
    pub(super) tracking: Tracking,
    /// The dot of the effect, from the first write on.
    pub(super) dot: Option<Dot>,
    /// The entry of which a use was noted last.
    pub(super) used: Option<Place>,
    /// What the slot held before the first change; as long as there is none, nothing is counted.
    pub(super) before: Option<shard::Held>,
    /// Whether this node acts for the slot. A copy that follows is only read: what is past its deadline is hidden, and
    /// stays until the acting node removes it.
    pub(super) acts: bool,
    /// Whether anybody is to be told.
    pub(super) ships: bool,
    /// How many other copies are told and count.
    pub(super) counting_copies: usize,
}

impl SlotTxn<'_> {
    /// The time of the command, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.replica.slot()
    }

    /// How many other copies of the slot are told of its writes and count for them.
    pub fn counting_copies(&self) -> usize {
        self.counting_copies
    }

    /// The database that keys are of.
    pub fn database(&self) -> Database {
        self.access.database
    }

    /// The database with this number, if there is one for this command.
    pub fn database_of(&self, number: i64) -> Option<Database> {
        let number = u64::try_from(number).ok().filter(|&number| number < self.access.databases as u64)?;
        Database::new(number)
    }

    /// From now on keys are of this database.
    pub fn select(&mut self, database: Database) {
        self.access.database = database;
    }

    /// From now on the command sees this, and leaves that behind.
    pub fn with(&mut self, access: Access) {
        self.access = access;
    }

    /// How many keys the database has. As in Redis, those past their deadline count until they are removed.
    pub fn len(&self) -> usize {
        self.entries().held(self.access.database).keys
    }

    /// Whether the database has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A random number, for commands that draw.
    pub fn random(&mut self) -> u64 {
        self.random.next()
    }

    // --- reading ---

    /// The value of a key, as a command reads it: counts as a use of the entry, and as a hit or a miss.
    pub fn value(&mut self, key: &[u8]) -> Option<Value<'_>> {
        let found = self.live(&self.access.database.name(key));
        let Some((_, place)) = found else {
            self.totals.misses += 1;
            return None;
        };
        self.totals.hits += 1;
        self.note_use(place);
        Some(self.entries().entry(place).value())
    }

    #[inline]
    pub(super) fn note_use(&mut self, place: Place) {
        let (tracking, now, random) = (self.tracking(), self.version_now, &mut *self.random);
        self.used = Some(place);
        self.replica.entries_mut().0.note_use(place, |old| tracking.used(old, now, random));
    }

    /// The value of a key, without a trace; several may be looked at together.
    pub fn peek(&self, key: &[u8]) -> Option<Value<'_>> {
        view(self.entries(), self.now, &self.access.database.name(key)).map(Entry::value)
    }

    /// When a key's value ends, in milliseconds since the Unix epoch, 0 for never; none if there is no such key.
    /// Without a trace.
    pub fn deadline(&self, key: &[u8]) -> Option<u64> {
        view(self.entries(), self.now, &self.access.database.name(key)).map(Entry::deadline)
    }

    /// The value of a key and when it ends, as a command reads them that goes on to write. Without a trace.
    pub fn value_and_deadline(&self, key: &[u8]) -> Option<(Value<'_>, u64)> {
        view(self.entries(), self.now, &self.access.database.name(key)).map(|entry| (entry.value(), entry.deadline()))
    }

    /// Whether there is such a key. Without a trace.
    pub fn contains(&self, key: &[u8]) -> bool {
        view(self.entries(), self.now, &self.access.database.name(key)).is_some()
    }

    /// Shows keys from a position on until `count` were looked at, and returns the position to go on from, 0 at the
    /// end. Positions are below 2^[`SlotTxn::POSITION_BITS`] and stay valid whatever changes: a key that exists from
    /// the first call to the last is shown exactly once.
    pub fn scan(&self, position: u64, count: usize, mut show: impl FnMut(&[u8], Value<'_>)) -> u64 {
        self.entries().index().walk(position, count, |entry| {
            if let Some(key) = self.shown(entry) {
                show(key, entry.value());
            }
        })
    }

    /// How many bits a position of [`SlotTxn::scan`] takes.
    pub const POSITION_BITS: u32 = super::index::POSITION_BITS;

    /// Every key, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries().index().iter().filter_map(|entry| self.shown(entry))
    }

    /// The key of an entry, if it is of this database and not past its deadline.
    fn shown<'e>(&self, entry: &'e Entry) -> Option<&'e [u8]> {
        let (database, key) = Database::of(entry.key());
        (database == self.access.database && !past(entry.deadline(), self.now)).then_some(key)
    }

    /// A key; each is about as likely.
    pub fn random_key(&mut self) -> Option<&[u8]> {
        let place = self.random_place()?;
        Some(Database::of(self.entries().entry(place).key()).1)
    }

    fn random_place(&mut self) -> Option<Place> {
        for _ in 0..MAX_DRAWS {
            if self.is_empty() {
                return None;
            }
            let random = self.random.next();
            let place = self.entries().index().random(random)?;
            let entry = self.entries().entry(place);
            let (hash, dead) = (self.entries().hash(entry.key()), past(entry.deadline(), self.now));
            match dead {
                false if Database::of(entry.key()).0 == self.access.database => return Some(place),
                false => {}
                // A dead key that is drawn is removed, so a slot full of them comes to an end.
                true if self.acts => self.drop_entry(hash, place, Cause::Expire),
                true => {}
            }
        }
        // The database has few keys among many of others: the first one that is met.
        let entry = self.entries().index().iter().find(|entry| self.shown(entry).is_some())?;
        self.entries().find(self.entries().hash(entry.key()), entry.key())
    }

    // --- writing ---

    /// Gives a key a string, with a deadline or 0 for none. A deadline that has come removes the key instead.
    pub fn put(&mut self, key: &[u8], value: &[u8], deadline: u64) {
        self.put_content(key, Content { kind: Kind::String, value: Source::Copied(value), deadline });
    }

    /// Gives an existing key another deadline, 0 for none; one that has come removes it. False if there is no such key.
    pub fn set_deadline(&mut self, key: &[u8], deadline: u64) -> bool {
        let name = self.access.database.name(key);
        let Some((hash, place)) = self.live(&name) else { return false };
        if past(deadline, self.now) {
            self.drop_entry(hash, place, Cause::Delete);
            return true;
        }
        let dot = self.stamp();
        if self.ships {
            ship_put(self.writer, &name, self.replica.entries().entry(place), deadline);
        }
        let tracking = self.tracking();
        let (entries, fold) = self.replica.entries_mut();
        // A command that read the value first, or looked for the key, uses it once.
        let uses = match entries.entry(place).uses() {
            noted if self.used == Some(place) => noted,
            old => tracking.used(old, self.version_now, self.random),
        };
        entries.set_deadline(hash, place, deadline, dot, uses, fold);
        self.note_deadline(deadline);
        true
    }

    /// Removes a key; false if there was none.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let found = self.live(&self.access.database.name(key));
        if let Some((hash, place)) = found {
            self.drop_entry(hash, place, Cause::Delete);
        }
        found.is_some()
    }

    /// Removes every key of the database.
    pub fn clear(&mut self) {
        let keys = self.len();
        if keys == self.entries().len() {
            return self.clear_all();
        }
        for (hash, name) in self.names_of(self.access.database) {
            if let Some(place) = self.entries().find(hash, &name) {
                self.drop_entry(hash, place, Cause::Delete);
            }
        }
    }

    /// Exchanges the keys of two databases. Linear in the number of their entries.
    pub fn swap(&mut self, one: Database, other: Database) {
        if one == other {
            return;
        }
        let mut moved = Vec::new();
        for (from, to) in [(one, other), (other, one)] {
            for (hash, name) in self.names_of(from) {
                let Some(place) = self.entries().find(hash, &name) else { continue };
                let entry = self.entries().entry(place);
                let value = match entry.value() {
                    Value::Small(bytes) => Source::Shared(Bytes::copy_from_slice(bytes)),
                    Value::Large(bytes) => Source::Shared(bytes.clone()),
                };
                let content = Content { kind: entry.kind(), value, deadline: entry.deadline() };
                moved.push((to, Database::of(&name).1.to_vec(), content, entry.uses()));
                self.drop_entry(hash, place, Cause::Delete);
            }
        }
        let current = self.access.database;
        for (to, key, content, uses) in moved {
            self.select(to);
            self.put_content(&key, content);
            self.note(&key, uses);
        }
        self.select(current);
    }

    /// The names of a database's entries, with their hashes.
    fn names_of(&self, database: Database) -> Vec<(u64, Box<[u8]>)> {
        if self.entries().held(database).keys == 0 {
            return Vec::new();
        }
        let names = self.entries().index().iter().map(Entry::key).filter(|name| Database::of(name).0 == database);
        names.map(|name| (self.entries().hash(name), name.into())).collect()
    }

    /// Removes every key of every database.
    pub fn clear_all(&mut self) {
        if self.entries().is_empty() {
            return;
        }
        self.stamp();
        if self.ships {
            self.writer.push(&Op::Clear { seen: self.replica.seen().clone() });
        }
        // Held implies covered, so all that is here goes.
        let (entries, fold) = self.replica.entries_mut();
        entries.clear();
        *fold = ring::fold::Fold::default();
    }

    // --- for the store's own work ---

    /// Removes up to `limit` entries whose deadline has come; returns how many.
    pub(super) fn expire(&mut self, limit: usize) -> usize {
        let mut count = 0;
        while count < limit
            && let Some((hash, place)) = self.entries().due(self.now)
        {
            self.drop_entry(hash, place, Cause::Expire);
            count += 1;
        }
        count
    }

    /// Removes an entry to make room; one that is dead already went by its deadline.
    pub(super) fn evict(&mut self, hash: u64, place: Place) {
        let is_dead = past(self.entries().entry(place).deadline(), self.now);
        self.drop_entry(hash, place, if is_dead { Cause::Expire } else { Cause::Evict });
    }

    pub(super) fn entries(&self) -> &SlotEntries {
        self.replica.entries()
    }

    /// Where an entry is; one that is past its deadline is removed, where this node may.
    pub(super) fn live(&mut self, name: &[u8]) -> Option<(u64, Place)> {
        let hash = self.entries().hash(name);
        let place = self.entries().find(hash, name)?;
        if past(self.entries().entry(place).deadline(), self.now) {
            if self.acts {
                self.drop_entry(hash, place, Cause::Expire);
            }
            return None;
        }
        Some((hash, place))
    }

    pub(super) fn put_content(&mut self, key: &[u8], mut content: Content<'_>) {
        if past(content.deadline, self.now) {
            self.remove(key);
            return;
        }
        let dot = self.stamp();
        let name = self.access.database.name(key);
        let shared = content.value.share().cloned();
        if self.ships {
            let (kind, value, deadline) = (content.kind as u8, content.value.as_slice(), content.deadline);
            push_put(self.writer, &Op::Put { key: &name, kind, value, deadline }, shared);
        }
        self.note_deadline(content.deadline);
        let (tracking, now, random) = (self.tracking(), self.version_now, &mut *self.random);
        let (entries, fold) = self.replica.entries_mut();
        let hash = entries.hash(&name);
        entries.put(hash, &name, content, dot, |old| tracking.written(old, now, random), fold);
    }

    pub(super) fn drop_entry(&mut self, hash: u64, place: Place, cause: Cause) {
        self.stamp();
        let (entries, fold) = self.replica.entries_mut();
        if self.ships {
            let entry = entries.entry(place);
            self.writer.push(&Op::Drop { key: entry.key(), saw: entries.dot(entry), cause });
        }
        entries.remove(hash, place, fold);
        match cause {
            Cause::Delete => {}
            Cause::Expire => self.totals.expired += 1,
            Cause::Evict => self.totals.evicted += 1,
        }
    }

    /// The dot of this loan's effect, given at its first write.
    fn stamp(&mut self) -> Dot {
        debug_assert!(self.acts, "a copy that follows is only read");
        if let Some(dot) = self.dot {
            return dot;
        }
        self.open_books();
        let header = self.replica.stamp(self.clock, self.version_now);
        if self.ships {
            self.writer.start(&header);
        }
        self.dot = Some(header.dot);
        header.dot
    }

    /// Before anything is changed that counts: what the slot holds until then.
    pub(super) fn open_books(&mut self) {
        if self.before.is_none() {
            self.before = Some(shard::Held::by(self.replica));
        }
    }

    fn note_deadline(&mut self, deadline: u64) {
        if deadline != 0 {
            *self.earliest_deadline = deadline.min(*self.earliest_deadline);
        }
    }
}

/// A copy of a slot that is only read, on whichever node holds it.
#[derive(Clone, Copy, Debug)]
pub struct SlotView<'a> {
    pub(super) replica: &'a Replica<SlotEntries>,
    pub(super) now: u64,
}

impl<'a> SlotView<'a> {
    /// The copy: its role, its context, its digest.
    pub fn replica(self) -> &'a Replica<SlotEntries> {
        self.replica
    }

    /// The value of a key of the first database; nothing past its deadline is shown.
    pub fn value(self, key: &[u8]) -> Option<Value<'a>> {
        view(self.replica.entries(), self.now, &Database::FIRST.name(key)).map(Entry::value)
    }

    /// When the value of a key of the first database ends, 0 for never; none if there is no such key.
    pub fn deadline(self, key: &[u8]) -> Option<u64> {
        view(self.replica.entries(), self.now, &Database::FIRST.name(key)).map(Entry::deadline)
    }

    /// Every key of a database, in no order.
    pub fn keys(self, of: Database) -> impl Iterator<Item = &'a [u8]> {
        let live = move |entry: &&Entry| !past(entry.deadline(), self.now);
        let names = self.replica.entries().index().iter().filter(live).map(Entry::key);
        names.map(Database::of).filter(move |&(database, _)| database == of).map(|(_, key)| key)
    }
}

pub(super) fn view<'e>(entries: &'e SlotEntries, now: u64, name: &[u8]) -> Option<&'e Entry> {
    let place = entries.find(entries.hash(name), name)?;
    Some(entries.entry(place)).filter(|entry| !past(entry.deadline(), now))
}

fn past(deadline: u64, now: u64) -> bool {
    deadline != 0 && deadline <= now
}

fn ship_put(writer: &mut EffectWriter, key: &[u8], entry: &Entry, deadline: u64) {
    let (value, shared) = match entry.value() {
        Value::Small(bytes) => (bytes, None),
        Value::Large(bytes) => (&bytes[..], Some(bytes.clone())),
    };
    push_put(writer, &Op::Put { key, kind: entry.kind() as u8, value, deadline }, shared);
}

fn push_put(writer: &mut EffectWriter, op: &Op<'_>, shared: Option<Bytes>) {
    match shared {
        Some(value) => writer.push_shared(op, value),
        None => writer.push(op),
    }
}
