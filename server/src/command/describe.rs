//! `COMMAND`: what the node understands, and the errors for what it does not.

use super::{Command, Context, Flags, SYNTAX_ERROR, wrong_arity};
use crate::{
    resp::{Reply, Request},
    types::{Glob, TooComplex},
};

/// Names and arguments are quoted in errors up to this length.
const QUOTED_BYTES: usize = 128;

/// The ACL categories, in the order in which they are listed.
const CATEGORIES: [&str; 21] = [
    "@keyspace",
    "@read",
    "@write",
    "@set",
    "@sortedset",
    "@list",
    "@hash",
    "@string",
    "@bitmap",
    "@hyperloglog",
    "@geo",
    "@stream",
    "@pubsub",
    "@admin",
    "@fast",
    "@slow",
    "@blocking",
    "@dangerous",
    "@connection",
    "@transaction",
    "@scripting",
];

pub(super) fn command(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let table = context.router.table();
    if request.len() == 1 {
        return Reply::Array(table.commands().iter().map(|command| info(command)).collect());
    }
    match (request.arg(1).to_ascii_lowercase().as_slice(), request.len()) {
        (b"count", 2) => Reply::Integer(table.commands().len() as i64),
        (b"count", _) => wrong_arity("command|count"),
        (b"info", 2) => Reply::Array(table.commands().iter().map(|command| info(command)).collect()),
        (b"info", _) => {
            let one = |name| table.find(name).map_or(Reply::Null, |(_, command)| info(command));
            Reply::Array(request.args_from(2).map(one).collect())
        }
        (b"list", _) => list(context, request),
        _ => unknown_subcommand("COMMAND", request.arg(1)),
    }
}

/// One command as `COMMAND INFO` shows it. Tips, key specifications and subcommands are empty: the first three places
/// already say where the keys are, and clients go by them.
fn info(command: &Command) -> Reply<'static> {
    let words = |words: Vec<&'static str>| Reply::Set(words.into_iter().map(Reply::Simple).collect());
    let last = i64::from(command.keys.last);
    Reply::Array(vec![
        Reply::Text(command.name.into()),
        Reply::Integer(command.arity.into()),
        words(command.flags.words().collect()),
        Reply::Integer(command.keys.first.into()),
        Reply::Integer(last),
        Reply::Integer(command.keys.step.into()),
        words(categories(command)),
        Reply::Array(vec![]),
        Reply::Array(vec![]),
        Reply::Array(vec![]),
    ])
}

/// The categories that a command names itself and those that follow from its flags.
fn categories(command: &Command) -> Vec<&'static str> {
    let has = |flag| command.flags.contains(flag);
    let follows = |category: &str| match category {
        "@write" => has(Flags::WRITE),
        "@read" => has(Flags::READONLY),
        "@admin" | "@dangerous" => has(Flags::ADMIN),
        "@fast" => has(Flags::FAST),
        "@slow" => !has(Flags::FAST),
        "@blocking" => has(Flags::BLOCKING),
        _ => false,
    };
    CATEGORIES.into_iter().filter(|category| follows(category) || command.categories.contains(category)).collect()
}

fn list(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let commands = context.router.table().commands();
    let names = |keep: &dyn Fn(&Command) -> Result<bool, TooComplex>| -> Result<Vec<_>, TooComplex> {
        let mut names = Vec::new();
        for command in commands {
            if keep(command)? {
                names.push(Reply::Text(command.name.into()));
            }
        }
        Ok(names)
    };
    if request.len() == 2 {
        return names(&|_| Ok(true)).map_or(SYNTAX_ERROR, Reply::Array);
    }
    if request.len() != 5 || !request.arg(2).eq_ignore_ascii_case(b"filterby") {
        return SYNTAX_ERROR;
    }
    let value = request.arg(4);
    let found = match request.arg(3).to_ascii_lowercase().as_slice() {
        b"module" => Ok(vec![]),
        b"aclcat" => names(&|command| Ok(is_in_category(command, value))),
        b"pattern" => names(&|command| Glob::new(&value.to_ascii_lowercase()).matches(command.name.as_bytes())),
        _ => return SYNTAX_ERROR,
    };
    found.map_or(Reply::error("ERR pattern is too complex"), Reply::Array)
}

fn is_in_category(command: &Command, name: &[u8]) -> bool {
    categories(command).iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(name))
}

/// The error for a subcommand that there is not.
pub(super) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Reply<'static> {
    let subcommand = quoted(subcommand, QUOTED_BYTES);
    Reply::Error(format!("ERR unknown subcommand '{subcommand}'. Try {command} HELP.").into())
}

/// The error for a command that there is not, with the beginning of its arguments.
pub(crate) fn unknown_command(request: &Request<'_>) -> Reply<'static> {
    let name = quoted(request.arg(0), QUOTED_BYTES);
    let mut arguments = String::new();
    for argument in request.args_from(1) {
        if arguments.len() >= QUOTED_BYTES {
            break;
        }
        let quoted = quoted(argument, QUOTED_BYTES - arguments.len());
        arguments.push_str(&format!("'{quoted}' "));
    }
    Reply::Error(format!("ERR unknown command '{name}', with args beginning with: {arguments}").into())
}

/// The beginning of a text, up to a zero byte as C has it.
fn quoted(text: &[u8], max_bytes: usize) -> std::borrow::Cow<'_, str> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(&text[..text.len().min(max_bytes)])
}
