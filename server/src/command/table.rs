//! All commands, found by name.

use std::sync::LazyLock;

use super::{Command, FAMILIES};

/// Longer names are no commands.
const MAX_NAME_BYTES: usize = 16;

/// A name in lower case, padded with zeros, as a number: two names are compared by two machine words.
type Name = u128;

/// The commands of a node. A command's place in it names the command in statistics.
///
/// It is an open hash table with at least four places per command. A lookup folds the name to lower case in a register,
/// multiplies once and compares once as a rule; it allocates nothing.
pub struct Table {
    commands: Vec<&'static Command>,
    places: Vec<(Name, u16)>,
    shift: u32,
}

impl Table {
    /// The table of these families. Panics if two commands have one name, or a name is too long: the families are
    /// constants, so the first test sees it.
    pub fn new(families: &[&'static [Command]]) -> Table {
        let commands: Vec<_> = families.iter().flat_map(|family| family.iter()).collect();
        let size = (commands.len() * 4).next_power_of_two().max(64);
        let mut table = Table { commands: Vec::new(), places: vec![(0, 0); size], shift: 64 - size.trailing_zeros() };
        for command in commands {
            table.insert(command);
        }
        table
    }

    /// The table of [`FAMILIES`].
    pub fn of_node() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(FAMILIES));
        &TABLE
    }

    /// The command of this name, in any case, and its place.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<(u16, &'static Command)> {
        let name = fold(name)?;
        let mut at = self.first_place(name);
        loop {
            match self.places[at] {
                (0, _) => return None,
                (found, place) if found == name => return Some((place, self.commands[usize::from(place)])),
                _ => at = (at + 1) & (self.places.len() - 1),
            }
        }
    }

    /// All commands.
    pub fn commands(&self) -> &[&'static Command] {
        &self.commands
    }

    fn insert(&mut self, command: &'static Command) {
        let name = fold(command.name.as_bytes()).expect("names of commands are short");
        assert!(self.find(command.name.as_bytes()).is_none(), "two commands are named {}", command.name);
        let mut at = self.first_place(name);
        while self.places[at].0 != 0 {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = (name, self.commands.len() as u16);
        self.commands.push(command);
    }

    #[inline]
    fn first_place(&self, name: Name) -> usize {
        let folded = (name as u64) ^ ((name >> 64) as u64).rotate_left(29);
        (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

/// The name in lower case; none if it is empty, too long, or has a byte that no name has.
#[inline]
fn fold(name: &[u8]) -> Option<Name> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut bytes = [0; MAX_NAME_BYTES];
    for (byte, &given) in bytes.iter_mut().zip(name) {
        // A zero byte would make the name equal to a shorter one.
        if given == 0 {
            return None;
        }
        *byte = given.to_ascii_lowercase();
    }
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        let table = Table::of_node();
        for (place, command) in table.commands().iter().enumerate() {
            assert_eq!(command.name, command.name.to_ascii_lowercase());
            for name in [command.name.to_owned(), command.name.to_uppercase()] {
                let (found, same) = table.find(name.as_bytes()).unwrap();
                assert_eq!((usize::from(found), same.name), (place, command.name));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_found(name in prop_oneof!["[a-zA-Z]{0,20}", "(get|ping|info)[\\x00-\\x20]{0,2}"]) {
            let twin = Table::of_node().commands().iter().any(|command| command.name.eq_ignore_ascii_case(&name));
            prop_assert_eq!(Table::of_node().find(name.as_bytes()).is_some(), twin);
        }
    }
}
