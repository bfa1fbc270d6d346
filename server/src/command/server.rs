//! Commands about the node.

use std::time::Duration;

use ring::id::MAX_PEERS;

use super::{Answer, Command, Context, Flags, Keys, NOT_AN_INTEGER, NodeCommand, Run};
use crate::{
    resp::{Reply, Request},
    types::parse_integer,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    node("command", -1, Flags::LOADING.and(Flags::STALE), &["@connection"], NodeCommand::Command),
    node("config", -2, Flags::NONE, &[], NodeCommand::Config),
    node("info", -1, Flags::LOADING.and(Flags::STALE), &["@dangerous"], NodeCommand::Info),
    node("time", 1, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), &[], NodeCommand::Time),
    node("wait", 3, Flags::NOSCRIPT, &["@connection"], NodeCommand::Wait),
];

const fn node(
    name: &'static str,
    arity: i8,
    flags: Flags,
    categories: &'static [&'static str],
    run: NodeCommand,
) -> Command {
    Command { name, arity, flags, keys: Keys::NONE, categories, run: Run::Node(run) }
}

pub(super) fn info(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let sections: Vec<_> = request.args_from(1).collect();
    Reply::Verbatim(context.router.services().information.text(&sections, context.session.port()))
}

pub(super) fn time(context: &Context<'_>) -> Reply<'static> {
    // The clock tells milliseconds; the last three digits are therefore zeros.
    let now_ms = context.router.services().clock.unix_ms();
    let text = |number: u64| Reply::Text(number.to_string().into());
    Reply::Array(vec![text(now_ms / 1000), text(now_ms % 1000 * 1000)])
}

/// How many other nodes have what this connection wrote, as soon as so many have it as are asked for, and when the time is
/// over. A time of 0 means for ever.
pub(super) fn wait(context: &Context<'_>, request: &Request<'_>) -> Answer<'static> {
    let Some(replicas) = parse_integer(request.arg(1)) else { return NOT_AN_INTEGER.into() };
    let Some(timeout_ms) = parse_integer(request.arg(2)) else {
        return Reply::error("ERR timeout is not an integer or out of range").into();
    };
    let Ok(timeout_ms) = u64::try_from(timeout_ms) else { return Reply::error("ERR timeout is negative").into() };
    let time = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
    let wanted = usize::try_from(replicas).unwrap_or(0).min(MAX_PEERS);
    let (written, client) = (context.session.written(), context.session.client().id());
    Answer::Later(context.router.wait(written, client, wanted, time))
}
