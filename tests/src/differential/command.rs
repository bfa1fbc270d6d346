//! One command of the run.

use std::fmt;

use super::reply::show;

/// Longer arguments are cut when they are printed.
const SHOWN_BYTES: usize = 80;

/// Commands whose next word is a subcommand.
const CONTAINERS: [&str; 8] = ["CLIENT", "COMMAND", "COMMANDLOG", "CONFIG", "LATENCY", "MEMORY", "OBJECT", "SLOWLOG"];

/// Which part of the commands it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, clap::ValueEnum)]
pub enum Family {
    /// Strings.
    Strings,
    /// Keys and databases.
    Keys,
    /// The connection.
    Connection,
    /// The node, and what is no command.
    Server,
}

/// A command with its arguments, the name included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Command {
    /// The name and what follows.
    pub(super) arguments: Vec<Vec<u8>>,
    /// No reply is expected (`CLIENT REPLY`).
    pub(super) silent: bool,
    /// The connection ends with its reply (`QUIT`).
    pub(super) closes: bool,
}

impl Command {
    /// A command without arguments.
    pub(super) fn new(name: &str) -> Command {
        Command { arguments: vec![name.into()], silent: false, closes: false }
    }

    /// The words of a line as a command.
    pub(super) fn line(line: &str) -> Command {
        let arguments = line.split_whitespace().map(|word| word.into()).collect();
        Command { arguments, silent: false, closes: false }
    }

    /// With a further argument.
    #[must_use]
    pub(super) fn arg(mut self, argument: impl Into<Vec<u8>>) -> Command {
        self.arguments.push(argument.into());
        self
    }

    /// With further arguments.
    #[must_use]
    pub(super) fn args<A: Into<Vec<u8>>>(mut self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// One that is not answered.
    #[must_use]
    pub(super) fn silent(mut self) -> Command {
        self.silent = true;
        self
    }

    /// The argument at this place, empty if there is none.
    pub(super) fn at(&self, place: usize) -> &[u8] {
        self.arguments.get(place).map_or(&[], Vec::as_slice)
    }

    /// The argument at this place in upper case.
    pub(super) fn word(&self, place: usize) -> String {
        String::from_utf8_lossy(&self.at(place).to_ascii_uppercase()).into_owned()
    }

    /// Whether an argument after the name is this word, in any case.
    pub(super) fn has(&self, word: &str) -> bool {
        self.arguments.iter().skip(1).any(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Its name as it stands in tables: a container's with the subcommand; of what looks like no name, a word for that.
    pub(super) fn title(&self) -> String {
        let name = self.word(0);
        if CONTAINERS.contains(&name.as_str()) && self.arguments.len() > 1 {
            return format!("{name}|{}", word_or(&self.word(1), "(none)"));
        }
        word_or(&name, "(no command)").to_owned()
    }

    /// Its bytes on the wire.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", self.arguments.len()).as_bytes());
        for argument in &self.arguments {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, argument) in self.arguments.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            let plain = !argument.is_empty() && argument.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
            let text = show(argument, SHOWN_BYTES);
            if plain { write!(out, "{gap}{text}")? } else { write!(out, "{gap}\"{text}\"")? }
        }
        Ok(())
    }
}

/// The text if it may be a name of something.
fn word_or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    let is_name =
        (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte));
    if is_name { text } else { otherwise }
}
