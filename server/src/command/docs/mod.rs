//! What the commands are for, apart from the table that executes them: what `COMMAND DOCS` and `COMMAND INFO` tell
//! beyond it, and the texts of `… HELP`. It is read once, by the first who asks.
//!
//! One text file a group, named like the group. An entry is a command or subcommand:
//!
//! ```text
//! name arity since
//!   Its summary, one sentence.
//!   complexity: what it costs
//!   flags: the words of COMMAND INFO
//!   categories: those of ACLs
//!   tip: what a client that knows several nodes has to know; one line each
//!   keys: what becomes of them: where they begin, how they go on; one line each ([`keys`])
//!   arguments: a tree ([`arguments`])
//! ```
//!
//! Name, arity, flags, categories, keys and arguments are those of Valkey 9.1, since clients are generated from them.

mod arguments;
mod keys;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

use self::{arguments::Argument, keys::KeySpec};
use crate::resp::Reply;

/// The groups and their texts.
const GROUPS: [(&str, &str); 5] = [
    ("cluster", include_str!("cluster.txt")),
    ("connection", include_str!("connection.txt")),
    ("generic", include_str!("generic.txt")),
    ("server", include_str!("server.txt")),
    ("string", include_str!("string.txt")),
];

/// What one command is for.
#[derive(Debug, Default)]
pub(super) struct Description {
    name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the table has it as well, and a test compares"))]
    arity: i8,
    group: &'static str,
    since: &'static str,
    summary: &'static str,
    complexity: Option<&'static str>,
    doc_flags: Vec<&'static str>,
    flags: Vec<&'static str>,
    categories: Vec<&'static str>,
    tips: Vec<&'static str>,
    keys: Vec<KeySpec>,
    arguments: &'static str,
    help: OnceLock<Vec<String>>,
}

/// All descriptions by name; a subcommand is named `command|subcommand`.
fn all() -> &'static BTreeMap<&'static str, Description> {
    static ALL: LazyLock<BTreeMap<&'static str, Description>> = LazyLock::new(|| {
        let entries =
            GROUPS.iter().flat_map(|(group, text)| text.split("\n\n").map(|entry| (*group, entry.trim_end())));
        let entries = entries.filter(|(_, entry)| !entry.is_empty() && !entry.starts_with('#'));
        let descriptions = entries.map(|(group, entry)| Description::parse(group, entry));
        descriptions.map(|description| (description.name, description)).collect()
    });
    &ALL
}

/// The description of a command.
pub(super) fn of(name: &str) -> Option<&'static Description> {
    all().get(name)
}

/// The lines of `… HELP` of a command that has subcommands: those that there are, with what they take and do.
pub(super) fn help(command: &'static super::Command) -> Reply<'static> {
    let Some(description) = of(command.name) else { return Reply::Array(vec![]) };
    let lines = description.help.get_or_init(|| {
        let name = command.name.to_ascii_uppercase();
        let mut lines = vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
        for sub in command.subcommands {
            let Some(description) = of(sub.name) else { continue };
            let usage = arguments::usage(&description.arguments());
            let line = format!("{} {usage}", sub.subcommand_name().to_ascii_uppercase());
            lines.push(line.trim_end().to_owned());
            lines.push(format!("    {}", description.summary));
        }
        lines
    });
    Reply::Array(lines.iter().map(|line| Reply::Simple(line)).collect())
}

impl Description {
    /// Reads an entry. The texts are constants, so that one that cannot be read is seen by the first test.
    fn parse(group: &'static str, entry: &'static str) -> Description {
        let mut lines = entry.lines();
        let mut head = lines.next().unwrap_or_default().split(' ');
        let mut next = || head.next().unwrap_or_else(|| panic!("name, arity and since are lacking in {entry}"));
        let (name, arity, since) = (next(), next(), next());
        let arity = arity.parse().unwrap_or_else(|_| panic!("the arity of {name} is a number"));
        let summary = lines.next().unwrap_or_default().trim();
        let mut description = Description { name, arity, group, since, summary, ..Description::default() };
        for line in lines {
            let Some((field, value)) = line.trim().split_once(": ") else { continue };
            let words = || value.split(' ').collect();
            match field {
                "complexity" => description.complexity = Some(value),
                "doc-flags" => description.doc_flags = words(),
                "flags" => description.flags = words(),
                "categories" => description.categories = words(),
                "tip" => description.tips.push(value),
                "keys" => description.keys.push(KeySpec::parse(value)),
                // The rest of the entry, over all of its lines.
                "arguments" => description.arguments = entry.split_once("arguments:").map_or("", |(_, rest)| rest),
                _ => panic!("{field} of {name} is no field"),
            }
        }
        description
    }

    fn arguments(&'static self) -> Vec<Argument> {
        arguments::parse(self.arguments)
    }

    /// The categories.
    pub(super) fn categories(&'static self) -> Reply<'static> {
        Reply::Set(self.categories.iter().map(|&name| Reply::Simple(name)).collect())
    }

    /// Whether it is in a category, named in any case.
    pub(super) fn is_in_category(&self, name: &[u8]) -> bool {
        self.categories.iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(name))
    }

    /// The tips.
    pub(super) fn tips(&'static self) -> Reply<'static> {
        Reply::Set(self.tips.iter().map(|&tip| Reply::Text(tip.into())).collect())
    }

    /// The key specifications.
    pub(super) fn key_specs(&self) -> Reply<'static> {
        Reply::Set(self.keys.iter().map(KeySpec::reply).collect())
    }

    /// What becomes of the key at this place of a request; `number` says which of the keys it is.
    pub(super) fn key_flags(&self, place: usize, number: usize) -> &[&'static str] {
        let found = self.keys.iter().find(|spec| spec.covers(place, number));
        found.or(self.keys.last()).map_or(&[], |spec| &spec.flags)
    }

    /// The entry of `COMMAND DOCS`, without its subcommands.
    pub(super) fn reply(&'static self) -> Vec<(Reply<'static>, Reply<'static>)> {
        let text = |text: &'static str| Reply::Text(text.into());
        let mut fields =
            vec![("summary", text(self.summary)), ("since", text(self.since)), ("group", text(self.group))];
        fields.extend(self.complexity.map(|complexity| ("complexity", text(complexity))));
        if !self.doc_flags.is_empty() {
            let flags = self.doc_flags.iter().map(|&flag| Reply::Simple(flag)).collect();
            fields.push(("doc_flags", Reply::Set(flags)));
        }
        let arguments = self.arguments();
        if !arguments.is_empty() {
            fields.push(("arguments", arguments::reply(&arguments)));
        }
        fields.into_iter().map(|(name, value)| (text(name), value)).collect()
    }
}
