//! `CLUSTER`, and the states of a connection to the port for cluster-aware clients.
//!
//! What `CLUSTER` tells is the same on both ports, and names the cluster ports on both: a cluster-aware client may
//! start from any port that it was given. Whatever would change the cluster is not there, since here it
//! follows from who is a member.

use ring::slot::Slot;

use super::{Command, Context, Flags, Keys, NOT_AN_INTEGER, NodeCommand, Run, describe, wrong_arity};
use crate::{
    resp::{Reply, Request},
    session::Port,
    types::parse_integer,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    command("asking", 1, Flags::FAST, NodeCommand::Asking),
    Command {
        name: "cluster",
        arity: -2,
        flags: Flags::NONE,
        keys: Keys::NONE,
        categories: &[],
        run: Run::Node(NodeCommand::Cluster),
    },
    command("readonly", 1, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), NodeCommand::ReadOnly),
    command("readwrite", 1, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), NodeCommand::ReadWrite),
];

const fn command(name: &'static str, arity: i8, flags: Flags, run: NodeCommand) -> Command {
    Command { name, arity, flags, keys: Keys::NONE, categories: &["@connection"], run: Run::Node(run) }
}

const DISABLED: Reply<'static> = Reply::error("ERR This instance has cluster support disabled");

const HELP: [&str; 23] = [
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node. Output format:",
    "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "RING",
    "    Return a picture of the ring for people.",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "SLOTS",
    "    Return information about slots range mappings. Each range is made of:",
    "    start, end, master and replicas IP addresses, ports and ids",
    "HELP",
    "    Prints this help.",
];

pub(super) fn cluster(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let subcommand = request.arg(1).to_ascii_lowercase();
    let topology = || context.router.services().topology.current();
    let (client, protocol) = (context.session.client(), context.session.protocol());
    match (subcommand.as_slice(), request.len()) {
        (b"countkeysinslot", 3) => count_keys(context, request.arg(2)),
        (b"getkeysinslot", 4) => keys(context, request.arg(2), request.arg(3)),
        (b"info", 2) => Reply::Verbatim(topology().info()),
        (b"keyslot", 3) => Reply::Integer(Slot::of(request.arg(2)).number().into()),
        (b"myid", 2) => Reply::Text(topology().me().to_string().into()),
        (b"nodes", 2) => Reply::Verbatim(topology().nodes_text(client.local())),
        (b"ring", 2) => Reply::Verbatim(topology().picture().to_owned()),
        (b"shards", 2) => topology().shards(client.local()),
        (b"slots", 2) => Reply::Encoded(topology().encoded_slots(protocol, client.local())),
        (b"help", 2) => Reply::Array(HELP.into_iter().map(Reply::Simple).collect()),
        (
            b"countkeysinslot" | b"getkeysinslot" | b"info" | b"keyslot" | b"myid" | b"nodes" | b"ring" | b"shards"
            | b"slots" | b"help",
            _,
        ) => wrong_arity(&format!("cluster|{}", String::from_utf8_lossy(&subcommand))),
        _ => describe::unknown_subcommand("CLUSTER", request.arg(1)),
    }
}

/// `READONLY` and `READWRITE`.
pub(super) fn read_only(context: &mut Context<'_>, is_read_only: bool) -> Reply<'static> {
    if context.session.port() == Port::Proxy {
        return DISABLED;
    }
    context.session.set_read_only(is_read_only);
    Reply::OK
}

pub(super) fn asking(context: &mut Context<'_>) -> Reply<'static> {
    if context.session.port() == Port::Proxy {
        return DISABLED;
    }
    context.session.ask();
    Reply::OK
}

/// Counts the keys of this node's copy, as Redis does, those past their deadline included until they are removed.
fn count_keys(context: &Context<'_>, slot: &[u8]) -> Reply<'static> {
    let Some(slot) = parse_integer(slot) else { return NOT_AN_INTEGER };
    let Some(slot) = to_slot(slot) else { return Reply::error("ERR Invalid slot") };
    let keys = context.router.copy_of_slot(slot, |copy| copy.replica().entries().len());
    Reply::Integer(keys as i64)
}

/// Keys of this node's copy.
fn keys(context: &Context<'_>, slot: &[u8], count: &[u8]) -> Reply<'static> {
    let (Some(slot), Some(count)) = (parse_integer(slot), parse_integer(count)) else { return NOT_AN_INTEGER };
    let (Some(slot), Ok(count)) = (to_slot(slot), usize::try_from(count)) else {
        return Reply::error("ERR Invalid slot or number of keys");
    };
    context
        .router
        .copy_of_slot(slot, |copy| Reply::Array(copy.keys().take(count).map(|key| Reply::Blob(key.to_vec())).collect()))
}

fn to_slot(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}
