//! All commands, found by name.

use std::sync::LazyLock;

use super::{Command, FAMILIES, key, unknown_command, unknown_subcommand};
use crate::resp::{Reply, Request};

/// Longer names are no commands.
const MAX_NAME_BYTES: usize = 16;

/// A name in lower case, padded with zeros, as a number: two names are compared by two machine words.
type Name = u128;

/// The commands of a node. A command's place in it names the command in statistics.
///
/// It is an open hash table with at least four places per command. A lookup folds the name to lower case in a register,
/// multiplies once and compares once as a rule; it allocates nothing. Subcommands stand behind all commands, and those
/// of one command side by side.
pub struct Table {
    commands: Vec<&'static Command>,
    /// How many of them are no subcommands.
    top_level: usize,
    /// For each of these, where its subcommands begin.
    subcommands: Vec<u16>,
    places: Vec<(Name, u16)>,
    shift: u32,
}

impl Table {
    /// The table of these families. Panics if two commands have one name, or a name is too long: the families are
    /// constants, so the first test sees it.
    pub fn new(families: &[&'static [Command]]) -> Table {
        let commands: Vec<_> = families.iter().flat_map(|family| family.iter()).collect();
        let top_level = commands.len();
        let size = (top_level * 4).next_power_of_two().max(64);
        let shift = 64 - size.trailing_zeros();
        let mut table =
            Table { commands: Vec::new(), top_level, subcommands: Vec::new(), places: vec![(0, 0); size], shift };
        for &command in &commands {
            table.insert(command);
        }
        for command in commands {
            table.subcommands.push(table.commands.len() as u16);
            table.commands.extend(command.subcommands);
        }
        table
    }

    /// The table of [`FAMILIES`].
    pub fn of_node() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(FAMILIES));
        &TABLE
    }

    /// The table of what nodes ask each other for: the commands of clients, and some that no client can call.
    pub(crate) fn of_links() -> &'static Table {
        static TABLE: LazyLock<Table> = LazyLock::new(|| {
            let families: Vec<_> = FAMILIES.iter().copied().chain([key::LINK_COMMANDS]).collect();
            Table::new(&families)
        });
        &TABLE
    }

    /// The command that a request means, a subcommand where it names one, and its place; or the error.
    #[inline]
    pub fn meant(&self, request: &Request<'_>) -> Result<(u16, &'static Command), Reply<'static>> {
        match self.find(request.arg(0)) {
            Some((place, command)) if command.subcommands.is_empty() => Ok((place, command)),
            Some((place, command)) => self.subcommand(place, command, request),
            None => Err(unknown_command(request)),
        }
    }

    #[cold]
    fn subcommand(
        &self,
        place: u16,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Result<(u16, &'static Command), Reply<'static>> {
        if request.len() == 1 {
            return Ok((place, command));
        }
        self.subcommand_of(place, command, request.arg(1)).ok_or_else(|| unknown_subcommand(command, request.arg(1)))
    }

    fn subcommand_of(&self, place: u16, command: &'static Command, name: &[u8]) -> Option<(u16, &'static Command)> {
        let is = |one: &Command| one.subcommand_name().as_bytes().eq_ignore_ascii_case(name);
        let at = command.subcommands.iter().position(is)?;
        Some((self.subcommands[usize::from(place)] + at as u16, &command.subcommands[at]))
    }

    /// The command of this name, in any case, and its place; a subcommand is named `command|subcommand`.
    pub fn find_full(&self, name: &[u8]) -> Option<(u16, &'static Command)> {
        let mut parts = name.splitn(2, |&byte| byte == b'|');
        let (place, command) = self.find(parts.next()?)?;
        match parts.next() {
            Some(name) => self.subcommand_of(place, command, name),
            None => Some((place, command)),
        }
    }

    /// The command of this name, in any case, and its place; no subcommand.
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

    /// All commands, subcommands included, by their places.
    pub fn all(&self) -> &[&'static Command] {
        &self.commands
    }

    /// All commands that are no subcommands.
    pub fn commands(&self) -> &[&'static Command] {
        &self.commands[..self.top_level]
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
    use crate::resp::OwnedRequest;
    use proptest::prelude::*;

    #[test]
    fn every_command_is_found_in_any_case() {
        let table = Table::of_node();
        for (place, command) in table.all().iter().enumerate() {
            assert_eq!(command.name, command.name.to_ascii_lowercase());
            for name in [command.name.to_owned(), command.name.to_uppercase()] {
                let (found, same) = table.find_full(name.as_bytes()).unwrap();
                assert_eq!((usize::from(found), same.name), (place, command.name));
            }
        }
    }

    #[test]
    fn a_subcommand_is_named_by_its_command() {
        for command in Table::of_node().commands() {
            for sub in command.subcommands {
                assert_eq!(sub.name.split_once('|').map(|(first, _)| first), Some(command.name), "{}", sub.name);
                assert!(sub.subcommands.is_empty(), "{}", sub.name);
            }
        }
    }

    #[test]
    fn a_request_means_a_subcommand_where_it_names_one() {
        let check = |line: &str, expected: Result<&str, &str>| {
            let request = OwnedRequest::new(line.split(' ').map(str::as_bytes));
            match (Table::of_node().meant(&request.as_request()), expected) {
                (Ok((_, command)), Ok(name)) => assert_eq!(command.name, name),
                (Err(Reply::Encoded(text)), Err(expected)) => {
                    assert_eq!(String::from_utf8_lossy(&text), format!("-{expected}\r\n"));
                }
                (meant, _) => panic!("{line}: {:?}", meant.map(|(_, command)| command.name)),
            }
        };
        check("get a", Ok("get"));
        check("CLIENT Id", Ok("client|id"));
        check("client", Ok("client"));
        check("client nothing", Err("ERR unknown subcommand 'nothing'. Try CLIENT HELP."));
        check("nothing", Err("ERR unknown command 'nothing', with args beginning with: "));
    }

    #[test]
    fn what_nodes_ask_each_other_for_is_no_command_of_clients() {
        for command in key::LINK_COMMANDS {
            assert!(Table::of_node().find(command.name.as_bytes()).is_none(), "{}", command.name);
            assert!(Table::of_links().find(command.name.as_bytes()).is_some(), "{}", command.name);
            assert!(command.run.on_slot().is_some(), "{}", command.name);
        }
        assert!(Table::of_links().find(b"get").is_some());
    }

    proptest! {
        #[test]
        fn nothing_else_is_found(name in prop_oneof!["[a-zA-Z]{0,20}", "(get|ping|info)[\\x00-\\x20]{0,2}"]) {
            let twin = Table::of_node().commands().iter().any(|command| command.name.eq_ignore_ascii_case(&name));
            prop_assert_eq!(Table::of_node().find(name.as_bytes()).is_some(), twin);
        }
    }
}
