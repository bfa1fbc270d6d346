//! Values on their way from one key to another, and what is asked about an entry as a whole.

use bytes::Bytes;
use ring::dot::Dot;

use super::{
    entry::{Content, Source},
    txn::{SlotTxn, view},
};
use crate::types::{Database, Kind, Value};

impl SlotTxn<'_> {
    /// How many databases there are for this command.
    pub fn databases(&self) -> usize {
        self.access.databases
    }

    /// What the value of a key is; none if there is no such key. Without a trace.
    pub fn kind(&self, key: &[u8]) -> Option<Kind> {
        view(self.entries(), self.now, &self.access.database.name(key)).map(|entry| entry.kind())
    }

    /// Counts as a use of a key, also for a command that leaves no trace otherwise; false if there is no such key.
    pub fn touch(&mut self, key: &[u8]) -> bool {
        let leaves_no_trace = std::mem::replace(&mut self.access.leaves_no_trace, false);
        let found = self.value(key).is_some();
        self.access.leaves_no_trace = leaves_no_trace;
        found
    }

    /// Whether there is such a key, asked by a command that may go on to write it: counts as a use of the entry, as in
    /// Redis, and neither as a hit nor as a miss.
    pub fn finds(&mut self, key: &[u8]) -> bool {
        let found = self.live(&self.access.database.name(key));
        if let Some((_, place)) = found {
            self.note_use(place);
        }
        found.is_some()
    }

    /// Whether there is such a key, asked by a command that reads something else of it than its value: counts as a hit or a
    /// miss, and not as a use.
    pub fn sees(&mut self, key: &[u8]) -> bool {
        let found = self.live(&self.access.database.name(key)).is_some();
        match found {
            true => self.totals.hits += 1,
            false => self.totals.misses += 1,
        }
        found
    }

    /// Gives a key a value of this kind, with a deadline or 0 for none. A deadline that has come removes the key instead.
    pub fn put_kind(&mut self, key: &[u8], kind: Kind, value: Vec<u8>, deadline: u64) {
        self.put_content(key, Content { kind, value: Source::Shared(value.into()), deadline });
    }

    /// Gives another key, or the same of another database, the value of a key with its deadline; false if there is no
    /// such key. A large value is not copied.
    pub fn copy(&mut self, key: &[u8], database: Database, to: &[u8]) -> bool {
        let Some(entry) = view(self.entries(), self.now, &self.access.database.name(key)) else { return false };
        let value = match entry.value() {
            Value::Small(bytes) => Bytes::copy_from_slice(bytes),
            Value::Large(bytes) => bytes.clone(),
        };
        let content = Content { kind: entry.kind(), value: Source::Shared(value), deadline: entry.deadline() };
        self.within(database, |txn| txn.put_content(to, content));
        true
    }

    /// Does something on keys of another database.
    pub fn within<R>(&mut self, database: Database, run: impl FnOnce(&mut Self) -> R) -> R {
        let current = std::mem::replace(&mut self.access.database, database);
        let result = run(self);
        self.access.database = current;
        result
    }

    /// The version of a key's value; none if there is no such key. Without a trace.
    pub fn version(&self, key: &[u8]) -> Option<Dot> {
        let entry = view(self.entries(), self.now, &self.access.database.name(key))?;
        Some(self.entries().dot(entry))
    }

    /// How many bytes the allocator gives for a key with its value and its place in the index; none if there is no such
    /// key. Without a trace.
    pub fn bytes_of(&self, key: &[u8]) -> Option<usize> {
        let entry = view(self.entries(), self.now, &self.access.database.name(key))?;
        Some(entry.allocated_bytes() + size_of_val(entry))
    }
}
