//! Commands about the node.

use super::{
    Answer, Command, Context, Flags, Keys, OnNode, Run, allocation, config, debug, describe, latency, lolwut, slowlog,
};
use crate::resp::{Reply, Request};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    Command {
        arity: -1,
        run: Run::Node(describe::all),
        ..Command::container("command", Flags::LOADING.and(Flags::STALE), describe::SUBCOMMANDS)
    },
    Command::container("commandlog", Flags::NONE, slowlog::COMMANDLOG),
    Command::container("config", Flags::NONE, config::SUBCOMMANDS),
    node("debug", -2, Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE), debug::debug),
    node("info", -1, Flags::LOADING.and(Flags::STALE), info),
    Command::container("latency", Flags::NONE, latency::SUBCOMMANDS),
    node("lolwut", -1, Flags::READONLY.and(Flags::FAST), lolwut::lolwut),
    Command::container("memory", Flags::NONE, allocation::SUBCOMMANDS),
    node("role", 1, Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST), |_, _| role().into()),
    Command::container("slowlog", Flags::NONE, slowlog::SLOWLOG),
    node("time", 1, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), time),
];

const fn node(name: &'static str, arity: i8, flags: Flags, run: OnNode) -> Command {
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

fn info<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let sections: Vec<_> = request.args_from(1).collect();
    Reply::Verbatim(context.router.services().information.text(&sections, context.session.port())).into()
}

fn time<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    let now_us = context.router.services().clock.unix_us();
    let text = |number: u64| Reply::Text(number.to_string().into());
    Reply::Array(vec![text(now_us / 1_000_000), text(now_us % 1_000_000)]).into()
}

/// Every node takes writes, and no other node is a replica of the whole of it.
fn role() -> Reply<'static> {
    Reply::Array(vec![Reply::Text("master".into()), Reply::Integer(0), Reply::Array(vec![])])
}
