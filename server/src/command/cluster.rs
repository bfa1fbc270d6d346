//! `CLUSTER`, and the states of a connection to the port for cluster-aware clients.
//!
//! What `CLUSTER` tells is the same on both ports, and names the cluster ports on both: a cluster-aware client may
//! start from any port that it was given. Whatever would change the cluster is not there, since here it
//! follows from who is a member; `FORGET` alone says who is not any more.

use std::sync::Arc;

use ring::{id::NodeId, slot::Slot};

use super::{Answer, Command, Context, Flags, Keys, NOT_AN_INTEGER, OnNode, Run, SYNTAX_ERROR, describe};
use crate::{
    resp::{Reply, Request},
    router::Change,
    session::Port,
    topology::Topology,
    types::parse_integer,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("asking", 1, Flags::FAST, Keys::NONE, Run::Node(asking)),
    Command::container("cluster", Flags::NONE, SUBCOMMANDS),
    Command::new("readonly", 1, FAST_ALWAYS, Keys::NONE, Run::Node(|context, _| read_only(context, true))),
    Command::new("readwrite", 1, FAST_ALWAYS, Keys::NONE, Run::Node(|context, _| read_only(context, false))),
];

/// So many nodes can be thought of as joining.
const MOST_NODES: u16 = 127;

const ALWAYS: Flags = Flags::LOADING.and(Flags::STALE);
const FAST_ALWAYS: Flags = ALWAYS.and(Flags::FAST);

const SUBCOMMANDS: &[Command] = &[
    subcommand("cluster|countkeysinslot", 3, Flags::STALE, |context, request| {
        count_keys(context, request.arg(2)).into()
    }),
    subcommand("cluster|getkeysinslot", 4, Flags::STALE, |context, request| {
        keys(context, request.arg(2), request.arg(3)).into()
    }),
    subcommand("cluster|explain", 3, ALWAYS, |context, request| explain(context, request.arg(2))),
    subcommand("cluster|forget", 3, Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING), |context, request| {
        forget(context, request.arg(2))
    }),
    subcommand("cluster|freshness", 2, ALWAYS, |context, _| freshness(context)),
    subcommand("cluster|help", 2, ALWAYS, |context, request| describe::help(context, request).into()),
    subcommand("cluster|info", 2, ALWAYS, |context, _| Reply::Verbatim(topology(context).info()).into()),
    subcommand("cluster|keyslot", 3, Flags::STALE, |_, request| {
        Reply::Integer(Slot::of(request.arg(2)).number().into()).into()
    }),
    subcommand("cluster|myid", 2, ALWAYS, |context, _| Reply::Text(topology(context).me().to_string().into()).into()),
    subcommand("cluster|nodes", 2, ALWAYS, |context, _| {
        Reply::Verbatim(topology(context).nodes_text(context.session.client().local())).into()
    }),
    subcommand("cluster|plan", -3, ALWAYS, plan),
    subcommand("cluster|ring", 2, ALWAYS, |context, _| Reply::Verbatim(topology(context).picture().to_owned()).into()),
    subcommand("cluster|shards", 2, ALWAYS, |context, _| {
        topology(context).shards(context.session.client().local()).into()
    }),
    subcommand("cluster|slots", 2, ALWAYS, |context, _| {
        let (client, protocol) = (context.session.client(), context.session.protocol());
        Reply::Encoded(topology(context).encoded_slots(protocol, client.local())).into()
    }),
    subcommand("cluster|verify", 2, ALWAYS, |context, _| verify(context)),
];

/// Whether all copies are the same.
fn verify(context: &Context<'_>) -> Answer<'static> {
    Answer::Later(context.router.verify(context.session.client().id()))
}

/// Where a key is, who acts for it, and what each copy has of it.
fn explain(context: &Context<'_>, key: &[u8]) -> Answer<'static> {
    let (client, database) = (context.session.client().id(), context.session.mode().database);
    Answer::Later(context.router.explain(client, database, key))
}

/// Forgets a member that will not come back: it no longer counts for a majority, and nobody waits for its copies.
fn forget(context: &Context<'_>, node: &[u8]) -> Answer<'static> {
    match std::str::from_utf8(node).ok().and_then(NodeId::parse) {
        Some(node) => Answer::Later(context.router.forget(node)),
        None => Reply::error_of(&[b"ERR Unknown node ", node].concat()).into(),
    }
}

/// How long effects are on their way between nodes.
fn freshness(context: &Context<'_>) -> Answer<'static> {
    Answer::Later(context.router.freshness(context.session.client().id()))
}

/// `CLUSTER PLAN JOIN count [ZONE zone]` and `CLUSTER PLAN LEAVE id [id ...]`: what would move.
fn plan<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    const WRONG_COUNT: Reply<'static> = Reply::error("ERR the number of nodes has to be between 1 and 127");
    let change = match request.arg(2).to_ascii_lowercase().as_slice() {
        b"join" if matches!(request.len(), 4 | 6) => {
            let Some(count) = parse_integer(request.arg(3)) else { return NOT_AN_INTEGER.into() };
            let Some(count) = u16::try_from(count).ok().filter(|count| (1..=MOST_NODES).contains(count)) else {
                return WRONG_COUNT.into();
            };
            let zone = match request.len() {
                4 => None,
                _ if !request.arg(4).eq_ignore_ascii_case(b"zone") => return SYNTAX_ERROR.into(),
                _ => match std::str::from_utf8(request.arg(5)) {
                    Ok(zone) => Some(zone.to_owned()),
                    Err(_) => return SYNTAX_ERROR.into(),
                },
            };
            Change::Join(count, zone)
        }
        b"leave" if request.len() > 3 => {
            let mut nodes = Vec::new();
            for text in request.args_from(3) {
                match std::str::from_utf8(text).ok().and_then(NodeId::parse) {
                    Some(node) => nodes.push(node),
                    None => return Reply::error_of(&[b"ERR Unknown node ", text].concat()).into(),
                }
            }
            Change::Leave(nodes)
        }
        _ => return SYNTAX_ERROR.into(),
    };
    Answer::Later(context.router.plan(context.session.client().id(), change))
}

const fn subcommand(name: &'static str, arity: i8, flags: Flags, run: OnNode) -> Command {
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

fn topology(context: &Context<'_>) -> Arc<Topology> {
    context.router.services().topology.current()
}

const DISABLED: Reply<'static> = Reply::error("ERR This instance has cluster support disabled");

/// `READONLY` and `READWRITE`.
fn read_only(context: &mut Context<'_>, is_read_only: bool) -> Answer<'static> {
    context.session.set_read_only(is_read_only);
    Reply::OK.into()
}

fn asking<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    if context.session.port() == Port::Proxy {
        return DISABLED.into();
    }
    Reply::OK.into()
}

/// Counts the keys of this node's copy, as Redis does, those past their deadline included until they are removed.
fn count_keys(context: &Context<'_>, slot: &[u8]) -> Reply<'static> {
    let Some(slot) = parse_integer(slot) else { return NOT_AN_INTEGER };
    let Some(slot) = to_slot(slot) else { return Reply::error("ERR Invalid slot") };
    let database = context.session.mode().database;
    let keys = context.router.copy_of_slot(slot, |copy| copy.replica().entries().held(database).keys);
    Reply::Integer(keys as i64)
}

/// Keys of this node's copy.
fn keys(context: &Context<'_>, slot: &[u8], count: &[u8]) -> Reply<'static> {
    let (Some(slot), Some(count)) = (parse_integer(slot), parse_integer(count)) else { return NOT_AN_INTEGER };
    let (Some(slot), Ok(count)) = (to_slot(slot), usize::try_from(count)) else {
        return Reply::error("ERR Invalid slot or number of keys");
    };
    let database = context.session.mode().database;
    context.router.copy_of_slot(slot, |copy| {
        Reply::Array(copy.keys(database).take(count).map(|key| Reply::Blob(key.to_vec())).collect())
    })
}

fn to_slot(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}
