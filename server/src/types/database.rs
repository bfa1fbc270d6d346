//! The numbered databases of Redis, and what an entry is called within its slot.
//!
//! Everything below the commands (entries, effects, snapshots, digests) knows one name per entry and no databases. A
//! key of database 0, where nearly all keys are, is its own name. Another database's name begins with two bytes:
//!
//! ```text
//! database 0   key                      if the key does not begin with 0x00
//!              0x00 0x00 · key          if it does
//! database n   0x00 n · key
//! ```
//!
//! So names of different keys or databases differ, databases cost nothing where none is used, and the slot of a key
//! does not depend on its database, as in Valkey's cluster.

use std::ops::Deref;

use smallvec::SmallVec;

/// How many databases there are.
pub const DATABASES: usize = 16;

/// What names begin with that are no keys.
const ESCAPE: u8 = 0;

/// One of the numbered databases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Database(u8);

impl Database {
    /// The database that a connection begins in.
    pub const FIRST: Database = Database(0);

    /// The database with this number, if there is one.
    pub const fn new(number: u64) -> Option<Database> {
        if number < DATABASES as u64 { Some(Database(number as u8)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its number, as a place in a table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Database> {
        (0..DATABASES as u8).map(Database)
    }

    /// What the entry of this key is called.
    #[inline]
    pub fn name(self, key: &[u8]) -> Name<'_> {
        if self.0 == 0 && key.first() != Some(&ESCAPE) {
            return Name::Key(key);
        }
        let mut name = SmallVec::with_capacity(key.len() + 2);
        name.extend_from_slice(&[ESCAPE, self.0]);
        name.extend_from_slice(key);
        Name::Made(name)
    }

    /// The database and the key that a name stands for. A name that none could have been made of (it came from a peer)
    /// counts as a key of the first database, so that it is shown and can be removed.
    #[inline]
    pub fn of(name: &[u8]) -> (Database, &[u8]) {
        match name {
            [ESCAPE, number, key @ ..] if usize::from(*number) < DATABASES => (Database(*number), key),
            key => (Database::FIRST, key),
        }
    }
}

/// What an entry is called within its slot.
#[derive(Clone, Debug)]
pub enum Name<'a> {
    /// The key itself.
    Key(&'a [u8]),
    /// Made for it.
    Made(SmallVec<[u8; 40]>),
}

impl Deref for Name<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Name::Key(key) => key,
            Name::Made(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_are_sixteen() {
        assert_eq!(Database::all().count(), DATABASES);
        assert_eq!(Database::new(15).map(Database::number), Some(15));
        assert_eq!(Database::new(16), None);
    }

    #[test]
    fn a_usual_key_is_its_own_name() {
        assert!(matches!(Database::FIRST.name(b"key"), Name::Key(b"key")));
        assert!(matches!(Database::FIRST.name(b""), Name::Key(b"")));
    }

    proptest! {
        #[test]
        fn a_name_says_database_and_key(number in 0u64..16, key in prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..60)) {
            let database = Database::new(number).unwrap();
            let name = database.name(&key);
            prop_assert_eq!(Database::of(&name), (database, &key[..]));
        }
    }
}
