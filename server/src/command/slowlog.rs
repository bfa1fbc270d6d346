//! `SLOWLOG` and `COMMANDLOG`: the latest commands that took long or were large.

use super::{Command, Flags, Keys, OnNode, Run, describe};
use crate::{
    resp::{Reply, Request},
    types::parse_integer,
    watch::{Entry, Log, Which},
};

/// So many entries are returned if nobody says how many.
const USUAL_COUNT: usize = 10;

/// The subcommands of `SLOWLOG`.
pub(super) const SLOWLOG: &[Command] = &[
    subcommand("slowlog|get", -2, |context, request| {
        let log = context.router.services().watch.log(Which::Slow);
        match request.len() {
            2 => entries(log, USUAL_COUNT),
            3 => get(log, request.arg(2)),
            _ => describe::wrong_subcommand(request),
        }
        .into()
    }),
    help("slowlog|help"),
    subcommand("slowlog|len", 2, |context, _| len(context.router.services().watch.log(Which::Slow)).into()),
    subcommand("slowlog|reset", 2, |context, _| {
        context.router.services().watch.log(Which::Slow).clear();
        Reply::OK.into()
    }),
];

/// The subcommands of `COMMANDLOG`.
pub(super) const COMMANDLOG: &[Command] = &[
    subcommand("commandlog|get", 4, |context, request| {
        let watch = &context.router.services().watch;
        named(request, 3).map_or(NO_SUCH_LOG, |which| get(watch.log(which), request.arg(2))).into()
    }),
    help("commandlog|help"),
    subcommand("commandlog|len", 3, |context, request| {
        named(request, 2).map_or(NO_SUCH_LOG, |which| len(context.router.services().watch.log(which))).into()
    }),
    subcommand("commandlog|reset", 3, |context, request| {
        let Some(which) = named(request, 2) else { return NO_SUCH_LOG.into() };
        context.router.services().watch.log(which).clear();
        Reply::OK.into()
    }),
];

const FOR_ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

const NO_SUCH_LOG: Reply<'static> =
    Reply::error("ERR type should be one of the following: slow, large-request, large-reply");

const fn subcommand(name: &'static str, arity: i8, run: OnNode) -> Command {
    Command::new(name, arity, FOR_ADMIN, Keys::NONE, Run::Node(run))
}

const fn help(name: &'static str) -> Command {
    let run: OnNode = |context, request| describe::help(context, request).into();
    Command::new(name, 2, Flags::LOADING.and(Flags::STALE), Keys::NONE, Run::Node(run))
}

fn named(request: &Request<'_>, place: usize) -> Option<Which> {
    Which::parse(request.arg(place))
}

fn len(log: &Log) -> Reply<'static> {
    Reply::Integer(log.len() as i64)
}

/// So many entries; -1: all.
fn get(log: &Log, count: &[u8]) -> Reply<'static> {
    match parse_integer(count) {
        Some(-1) => entries(log, usize::MAX),
        Some(count @ 0..) => entries(log, usize::try_from(count).unwrap_or(usize::MAX)),
        _ => Reply::error("ERR count should be greater than or equal to -1"),
    }
}

fn entries(log: &Log, count: usize) -> Reply<'static> {
    Reply::Array(log.latest(count).into_iter().map(entry).collect())
}

fn entry(entry: Entry) -> Reply<'static> {
    Reply::Array(vec![
        Reply::Integer(entry.id as i64),
        Reply::Integer(entry.unix_s as i64),
        Reply::Integer(entry.value as i64),
        Reply::Array(entry.arguments.into_iter().map(Reply::Blob).collect()),
        Reply::Text(entry.client.into()),
        Reply::Blob(entry.client_name),
    ])
}
