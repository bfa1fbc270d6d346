//! Values that change in a part of them.

use bytes::{Bytes, BytesMut};

use super::{
    entry::{Content, Source},
    txn::SlotTxn,
};
use crate::types::{Kind, Value};

/// The allocator has no memory for the value.
struct NoMemory;

impl SlotTxn<'_> {
    /// Gives the value of a key, none counts as empty, this length, with zeros behind what it was, and changes it; the
    /// deadline stays. A large value is changed where it is, unless a reply or another node is still to get it as it
    /// was; otherwise it is copied. False if there is no memory for it; then nothing was changed.
    #[must_use]
    pub fn change(&mut self, key: &[u8], length: usize, change: impl FnOnce(&mut [u8])) -> bool {
        let (is_large, deadline) =
            self.value_and_deadline(key).map_or((false, 0), |(old, ends)| (matches!(old, Value::Large(_)), ends));
        let lent = if is_large { self.lend(key) } else { None };
        let value = match lent {
            Some(lent) => self.grow(key, lent, length),
            None => copied(self.peek(key).map_or(&[], |value| value.as_slice()), length),
        };
        let Ok(mut value) = value else { return false };
        value.resize(length, 0);
        change(&mut value);
        self.put_content(key, Content { kind: Kind::Raw, value: Source::Shared(value.into()), deadline });
        true
    }

    /// Takes the bytes of a large value, if they are nobody else's. Until they are given back or another value is put
    /// the key has an empty one.
    fn lend(&mut self, key: &[u8]) -> Option<BytesMut> {
        let (_, place) = self.live(&self.access.database.name(key))?;
        self.open_books();
        let entries = self.replica.entries_mut().0;
        match entries.entry(place).value() {
            Value::Large(bytes) if bytes.is_unique() => entries.exchange(place, Bytes::new()).try_into_mut().ok(),
            _ => None,
        }
    }

    /// Lent bytes with room for so many; without memory they are given back.
    fn grow(&mut self, key: &[u8], lent: BytesMut, length: usize) -> Result<Vec<u8>, NoMemory> {
        let mut value = Vec::from(lent);
        if value.try_reserve_exact(length.saturating_sub(value.len())).is_ok() {
            return Ok(value);
        }
        if let Some((_, place)) = self.live(&self.access.database.name(key)) {
            self.replica.entries_mut().0.exchange(place, value.into());
        }
        Err(NoMemory)
    }
}

fn copied(old: &[u8], length: usize) -> Result<Vec<u8>, NoMemory> {
    let mut value = Vec::new();
    value.try_reserve_exact(length).map_err(|_| NoMemory)?;
    value.extend_from_slice(old);
    Ok(value)
}
