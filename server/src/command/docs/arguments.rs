//! The arguments of a command as a tree, written in one line.
//!
//! ```text
//! key:key value:string            values, each with name and type
//! key:key#1    version:integer#   of another key specification than the first; of none
//! EX seconds:integer              a value behind a word
//! NX          get=GET             a word alone; where it is not named like itself, or is followed by something
//! how=(A|B x:string)              one of these
//! pair={key:key value:string}     these together
//! [NX]                            may be left out
//! key:key...  PREFIX p:string+... again and again; with its word each time
//! NX@2.6.12   old:string<2.8.12   since this version; not advised since
//! addr:string'ip:port'            shown under another name
//! ```

use std::borrow::Cow;

use crate::resp::Reply;

/// One argument.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Argument {
    name: Cow<'static, str>,
    kind: &'static str,
    display: Option<&'static str>,
    key_spec: Option<i64>,
    token: Option<&'static str>,
    since: Option<&'static str>,
    deprecated_since: Option<&'static str>,
    is_optional: bool,
    is_multiple: bool,
    is_multiple_with_token: bool,
    arguments: Vec<Argument>,
}

/// Reads a line. It is a constant, so that a test reads all of them: what is wrong ends the program.
pub(super) fn parse(text: &'static str) -> Vec<Argument> {
    let mut parser = Parser { rest: text };
    let arguments = parser.sequence();
    assert!(parser.rest.is_empty(), "nobody knows what {} means", parser.rest);
    arguments
}

struct Parser {
    rest: &'static str,
}

impl Parser {
    fn sequence(&mut self) -> Vec<Argument> {
        let mut arguments = Vec::new();
        loop {
            self.skip_spaces();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return arguments;
            }
            arguments.push(self.item());
        }
    }

    fn item(&mut self) -> Argument {
        if !self.takes("[") {
            return self.argument();
        }
        let argument = self.argument();
        self.expect("]");
        Argument { is_optional: true, ..argument }
    }

    fn argument(&mut self) -> Argument {
        let word = self.word();
        let mut argument = if self.takes(":") {
            Argument { name: word.into(), kind: self.word(), ..Argument::default() }
        } else if self.takes("=(") {
            Argument { name: word.into(), kind: "oneof", arguments: self.alternatives(), ..Argument::default() }
        } else if self.takes("={") {
            let arguments = self.sequence();
            self.expect("}");
            Argument { name: word.into(), kind: "block", arguments, ..Argument::default() }
        } else if self.takes("=") {
            Argument { name: word.into(), kind: "pure-token", token: Some(self.word()), ..Argument::default() }
        } else if self.skip_spaces() {
            return Argument { token: Some(word), ..self.argument() };
        } else {
            let name = word.to_ascii_lowercase().into();
            Argument { name, kind: "pure-token", token: Some(word), ..Argument::default() }
        };
        self.marks(&mut argument);
        argument
    }

    fn alternatives(&mut self) -> Vec<Argument> {
        let mut arguments = vec![self.item()];
        while self.takes("|") {
            arguments.push(self.item());
        }
        self.expect(")");
        arguments
    }

    /// What stands behind an argument.
    fn marks(&mut self, argument: &mut Argument) {
        if self.takes("'") {
            let (display, rest) = self.rest.split_once('\'').unwrap_or_else(|| panic!("{} has no '", self.rest));
            (argument.display, self.rest) = (Some(display), rest);
        }
        argument.key_spec = match self.takes("#") {
            true => self.while_in("0123456789").parse().ok(),
            false => (argument.kind == "key").then_some(0),
        };
        argument.is_multiple_with_token = self.takes("+");
        argument.is_multiple = self.takes("...");
        argument.since = self.takes("@").then(|| self.while_in("0123456789."));
        argument.deprecated_since = self.takes("<").then(|| self.while_in("0123456789."));
    }

    fn word(&mut self) -> &'static str {
        let is_end = |char: char| char.is_whitespace() || ":=|()[]{}.+@<'#".contains(char);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        assert!(end > 0, "a word is lacking before {}", self.rest);
        self.take(end)
    }

    fn while_in(&mut self, chars: &str) -> &'static str {
        let end = self.rest.find(|char| !chars.contains(char)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn take(&mut self, bytes: usize) -> &'static str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn takes(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, text: &str) {
        assert!(self.takes(text), "{text} is lacking before {}", self.rest);
    }

    /// Whether there were any.
    fn skip_spaces(&mut self) -> bool {
        let rest = self.rest.trim_start();
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }
}

/// As `COMMAND DOCS` shows them.
pub(super) fn reply(arguments: &[Argument]) -> Reply<'static> {
    Reply::Array(arguments.iter().map(Argument::reply).collect())
}

impl Argument {
    fn reply(&self) -> Reply<'static> {
        let text = |text: &'static str| Reply::Text(text.into());
        let name = || Reply::Text(self.name.clone());
        let mut fields = vec![("name", name()), ("type", text(self.kind))];
        if !matches!(self.kind, "oneof" | "block") {
            fields.push(("display_text", self.display.map_or_else(name, text)));
        }
        fields.extend(self.key_spec.map(|spec| ("key_spec_index", Reply::Integer(spec))));
        fields.extend(self.token.map(|token| ("token", text(token))));
        fields.extend(self.since.map(|since| ("since", text(since))));
        fields.extend(self.deprecated_since.map(|since| ("deprecated_since", text(since))));
        let flags = [
            (self.is_optional, "optional"),
            (self.is_multiple, "multiple"),
            (self.is_multiple_with_token, "multiple_token"),
        ];
        let flags: Vec<_> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, f)| Reply::Simple(f)).collect();
        if !flags.is_empty() {
            fields.push(("flags", Reply::Set(flags)));
        }
        if !self.arguments.is_empty() {
            fields.push(("arguments", reply(&self.arguments)));
        }
        Reply::Map(fields.into_iter().map(|(name, value)| (text(name), value)).collect())
    }

    /// As it is typed: `[EX <seconds>]`.
    fn usage(&self) -> String {
        let inner = match self.kind {
            "pure-token" => String::new(),
            "oneof" => self.arguments.iter().map(Argument::usage).collect::<Vec<_>>().join("|"),
            "block" => usage(&self.arguments),
            _ => format!("<{}>", self.display.unwrap_or(&self.name)),
        };
        let mut text = [self.token.unwrap_or_default(), &inner].join(" ").trim().to_owned();
        if self.is_multiple {
            let again = if self.is_multiple_with_token { &text } else { &inner };
            text = format!("{text} [{again} ...]");
        }
        if self.is_optional { format!("[{text}]") } else { text }
    }
}

/// As they are typed.
pub(super) fn usage(arguments: &[Argument]) -> String {
    arguments.iter().map(Argument::usage).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_and_shown_as_it_is_typed() {
        let check = |text, wanted: &str| assert_eq!(usage(&parse(text)), wanted);
        check("key:key value:string", "<key> <value>");
        check(" key:key\n    value:string", "<key> <value>");
        check("[how=(NX|XX@2.6.12|IFEQ value:string)] [GET]", "[NX|XX|IFEQ <value>] [GET]");
        check("pair={key:key value:string}...", "<key> <value> [<key> <value> ...]");
        check("[PREFIX prefix:string+...]", "[PREFIX <prefix> [PREFIX <prefix> ...]]");
        check("ID id:integer...", "ID <id> [<id> ...]");
        check("get=GET [addr:string'ip:port']", "GET [<ip:port>]");
        check("", "");
    }

    #[test]
    fn marks_are_read() {
        let [one, two, three] = &parse("[a:key#1...@7.0.0] b:key# C c:string+...<6.0")[..] else { panic!("three") };
        assert_eq!((one.key_spec, one.is_optional, one.is_multiple), (Some(1), true, true));
        assert_eq!((one.since, two.key_spec), (Some("7.0.0"), None));
        assert_eq!((three.token, three.is_multiple_with_token), (Some("C"), true));
        assert_eq!(three.deprecated_since, Some("6.0"));
    }

    #[test]
    fn what_is_no_tree_is_noticed() {
        for text in ["a:", "[a:key", "a=(b:key", "a=(b", "a:key)", "a:string'x", "a:key]", "=(a|b)"] {
            assert!(std::panic::catch_unwind(|| parse(text)).is_err(), "{text}");
        }
    }
}
