//! `COMMAND`: what the node understands, and the errors for what it does not.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Answer, Command, Context, Flags, Keys, OnNode, Run, SYNTAX_ERROR, Table, docs};
use crate::{
    resp::{Output, OwnedRequest, Protocol, Reply, Request},
    types::{Budget, Glob, TooComplex},
};

/// Names and arguments are quoted in errors up to this length.
const QUOTED_BYTES: usize = 128;

/// The subcommands of `COMMAND`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    subcommand("command|count", 2, |context, _| Reply::Integer(context.router.table().commands().len() as i64).into()),
    subcommand("command|docs", -2, |context, request| {
        docs_of(context.router.table(), request, context.session.protocol()).into()
    }),
    subcommand("command|getkeys", -3, |context, request| keys(context.router.table(), request, false).into()),
    subcommand("command|getkeysandflags", -3, |context, request| keys(context.router.table(), request, true).into()),
    subcommand("command|help", 2, |context, request| help(context, request).into()),
    subcommand("command|info", -2, info_of),
    subcommand("command|list", -2, |context, request| list(context.router.table(), request).into()),
];

const fn subcommand(name: &'static str, arity: i8, run: OnNode) -> Command {
    Command::new(name, arity, Flags::LOADING.and(Flags::STALE), Keys::NONE, Run::Node(run))
}

/// `COMMAND` without a subcommand.
pub(super) fn all<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    Reply::Array(context.router.table().commands().iter().map(|command| info(command)).collect()).into()
}

fn info_of<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    if request.len() == 2 {
        return all(context, request);
    }
    let mut encoded = EncodedOnce::new(context.session.protocol());
    let table = context.router.table();
    let one = |name| table.find_full(name).map_or(Reply::Null, |(_, command)| encoded.get(command, || info(command)));
    Reply::Array(request.args_from(2).map(one).collect()).into()
}

/// What was told of commands already, encoded. A request may name a command again and again, in a few bytes each time, and
/// its description has hundreds of values.
struct EncodedOnce {
    protocol: Protocol,
    encoded: BTreeMap<&'static str, Bytes>,
}

impl EncodedOnce {
    fn new(protocol: Protocol) -> EncodedOnce {
        EncodedOnce { protocol, encoded: BTreeMap::new() }
    }

    fn get(&mut self, command: &'static Command, describe: impl FnOnce() -> Reply<'static>) -> Reply<'static> {
        let encode = || {
            let mut output = Output::default();
            output.reply(describe(), self.protocol);
            output.into_bytes()
        };
        Reply::Encoded(self.encoded.entry(command.name).or_insert_with(encode).clone())
    }
}

/// One command as `COMMAND INFO` shows it.
fn info(command: &Command) -> Reply<'static> {
    let (first, last, step) = command.keys.range();
    let described = docs::of(command.name);
    let subcommands: Vec<_> = command.subcommands.iter().map(info).collect();
    Reply::Array(vec![
        Reply::Text(command.name.into()),
        Reply::Integer(command.arity.into()),
        Reply::Set(command.all_flags().words().map(Reply::Simple).collect()),
        Reply::Integer(first.into()),
        Reply::Integer(last.into()),
        Reply::Integer(step.into()),
        described.map_or(Reply::Set(vec![]), docs::Description::categories),
        described.map_or(Reply::Set(vec![]), docs::Description::tips),
        described.map_or(Reply::Set(vec![]), docs::Description::key_specs),
        Reply::Array(subcommands),
    ])
}

/// `COMMAND DOCS`; names that are none are left out, as in Redis.
fn docs_of(table: &Table, request: &Request<'_>, protocol: Protocol) -> Reply<'static> {
    if request.len() == 2 {
        return Reply::Map(table.commands().iter().filter_map(|command| documented(command)).collect());
    }
    let mut encoded = EncodedOnce::new(protocol);
    let named = request.args_from(2).filter_map(|name| table.find_full(name).map(|(_, command)| command));
    let described = named.filter(|command| docs::of(command.name).is_some());
    let one = |command: &'static Command| {
        let value = || documented(command).map_or(Reply::Null, |(_, value)| value);
        (Reply::Text(command.name.into()), encoded.get(command, value))
    };
    Reply::Map(described.map(one).collect())
}

/// A command and what it is for, subcommands included.
fn documented(command: &'static Command) -> Option<(Reply<'static>, Reply<'static>)> {
    let mut fields = docs::of(command.name)?.reply();
    if !command.subcommands.is_empty() {
        let subcommands = Reply::Map(command.subcommands.iter().filter_map(documented).collect());
        fields.push((Reply::Text("subcommands".into()), subcommands));
    }
    Some((Reply::Text(command.name.into()), Reply::Map(fields)))
}

/// `… HELP` of the command that a request names.
pub(super) fn help(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    context.router.table().find(request.arg(0)).map_or(Reply::Array(vec![]), |(_, command)| docs::help(command))
}

/// The keys of a whole command line, and what becomes of each if that is asked for too.
fn keys(table: &Table, request: &Request<'_>, with_flags: bool) -> Reply<'static> {
    let line = OwnedRequest::new(request.args_from(2));
    let line = line.as_request();
    let Ok((_, command)) = table.meant(&line) else { return Reply::error("ERR Invalid command specified") };
    if command.keys.range().0 == 0 && !command.keys.move_about() {
        return Reply::error("ERR The command has no key arguments");
    }
    if !command.accepts(line.len()) {
        return Reply::error("ERR Invalid number of arguments specified for command");
    }
    let places: Vec<usize> = command.keys.places(&line).collect();
    if places.is_empty() || !command.keys.are_all_there(&line) {
        return Reply::error("ERR Invalid arguments specified for command");
    }
    let key = |(number, &place): (usize, &usize)| {
        let key = Reply::Blob(line.arg(place).to_vec());
        if !with_flags {
            return key;
        }
        let flags = flags_of_key(command, &line, place, number).iter().map(|&flag| Reply::Simple(flag)).collect();
        Reply::Array(vec![key, Reply::Set(flags)])
    };
    Reply::Array(places.iter().enumerate().map(key).collect())
}

/// What becomes of a key. `SET` reads it too if it is asked for the old value.
fn flags_of_key(command: &Command, line: &Request<'_>, place: usize, number: usize) -> &'static [&'static str] {
    if command.name == "set" {
        let returns_old = line.args_from(3).any(|word| word.eq_ignore_ascii_case(b"get"));
        return if returns_old { &["RW", "access", "update"] } else { &["OW", "update"] };
    }
    docs::of(command.name).map_or(&[], |described| described.key_flags(place, number))
}

/// Which commands `COMMAND LIST` names.
enum Filter<'a> {
    All,
    None,
    Category(&'a [u8]),
    Pattern(Vec<u8>),
}

impl<'a> Filter<'a> {
    fn parse(request: &Request<'a>) -> Option<Filter<'a>> {
        if request.len() == 2 {
            return Some(Filter::All);
        }
        if request.len() != 5 || !request.arg(2).eq_ignore_ascii_case(b"filterby") {
            return None;
        }
        let value = request.arg(4);
        match request.arg(3).to_ascii_lowercase().as_slice() {
            b"module" => Some(Filter::None),
            b"aclcat" => Some(Filter::Category(value)),
            b"pattern" => Some(Filter::Pattern(value.to_ascii_lowercase())),
            _ => None,
        }
    }

    fn keeps(&self, command: &Command, budget: &mut Budget) -> Result<bool, TooComplex> {
        match self {
            Filter::All => Ok(true),
            Filter::None => Ok(false),
            Filter::Category(name) => {
                Ok(docs::of(command.name).is_some_and(|described| described.is_in_category(name)))
            }
            Filter::Pattern(pattern) => Glob::new(pattern).matches(command.name.as_bytes(), budget),
        }
    }
}

fn list(table: &Table, request: &Request<'_>) -> Reply<'static> {
    let Some(filter) = Filter::parse(request) else { return SYNTAX_ERROR };
    let (mut names, mut budget) = (Vec::new(), Budget::default());
    for command in table.all() {
        match filter.keeps(command, &mut budget) {
            Ok(true) => names.push(Reply::Text(command.name.into())),
            Ok(false) => {}
            Err(TooComplex) => return Reply::error("ERR pattern is too complex"),
        }
    }
    Reply::Array(names)
}

/// The error for a subcommand that takes other arguments than it was given, or is none, where only it can tell.
pub(super) fn wrong_subcommand(request: &Request<'_>) -> Reply<'static> {
    let command = quoted(request.arg(0), QUOTED_BYTES).to_ascii_uppercase();
    let subcommand = quoted(request.arg(1), QUOTED_BYTES);
    let before = b"ERR unknown subcommand or wrong number of arguments for '";
    Reply::error_of(&[&before[..], subcommand, b"'. Try ", &command, b" HELP."].concat())
}

/// The error for a subcommand that there is not.
pub(crate) fn unknown_subcommand(command: &Command, subcommand: &[u8]) -> Reply<'static> {
    let after = format!("'. Try {} HELP.", command.name.to_ascii_uppercase());
    Reply::error_about("ERR unknown subcommand '", quoted(subcommand, QUOTED_BYTES), &after)
}

/// The error for a command that there is not, with the beginning of its arguments.
pub(crate) fn unknown_command(request: &Request<'_>) -> Reply<'static> {
    let mut arguments = Vec::new();
    for argument in request.args_from(1) {
        if arguments.len() >= QUOTED_BYTES {
            break;
        }
        let quoted = quoted(argument, QUOTED_BYTES - arguments.len());
        arguments.extend([b"'", quoted, b"' "].concat());
    }
    let name = quoted(request.arg(0), QUOTED_BYTES);
    Reply::error_of(&[b"ERR unknown command '", name, b"', with args beginning with: ", &arguments].concat())
}

/// The beginning of a text, up to a zero byte as C has it.
fn quoted(text: &[u8], max_bytes: usize) -> &[u8] {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    &text[..text.len().min(max_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(reply: Reply<'_>, protocol: Protocol) -> Vec<u8> {
        let mut output = Output::default();
        output.reply(reply, protocol);
        output.to_vec()
    }

    #[test]
    fn a_command_that_is_named_again_is_described_once() {
        let table = Table::of_node();
        let request = OwnedRequest::new([&b"command"[..], b"docs", b"GET", b"client", b"no", b"get"].into_iter());
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            let reply = docs_of(table, &request.as_request(), protocol);
            let Reply::Map(pairs) = &reply else { panic!("{reply:?} is no map") };
            let [(_, Reply::Encoded(first)), _, (_, Reply::Encoded(again))] = &pairs[..] else { panic!("{pairs:?}") };
            assert_eq!(first.as_ptr(), again.as_ptr());
            let one = |name: &[u8]| table.find_full(name).and_then(|(_, command)| documented(command)).unwrap();
            let wanted = Reply::Map(vec![one(b"get"), one(b"client"), one(b"get")]);
            assert_eq!(bytes(reply, protocol), bytes(wanted, protocol));
        }
    }

    #[test]
    fn what_is_encoded_is_what_would_be_told() {
        for command in Table::of_node().all() {
            for protocol in [Protocol::Resp2, Protocol::Resp3] {
                let mut encoded = EncodedOnce::new(protocol);
                let wanted = bytes(info(command), protocol);
                assert_eq!(bytes(encoded.get(command, || info(command)), protocol), wanted);
                assert_eq!(bytes(encoded.get(command, || panic!("again")), protocol), wanted);
            }
        }
    }
}
