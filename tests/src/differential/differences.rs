//! Where a reply may differ from Valkey's, and how far. The one list: what is not allowed here fails the run.
//!
//! A rule is asked when the replies differ; it says whether it is made for this command and these two replies. Each is
//! as narrow as its reason.

use std::collections::BTreeSet;

use super::command::Command;
use super::reply::Reply;
use super::structure::{
    client_fields_agree, docs_agree, documented_alike, hello_agrees, help_texts, info_agrees, logs_agree,
    settings_agree, subset_of_known,
};
use super::times::ABSOLUTE_FROM_S;
use super::{payload, slots};

/// How far two clocks, and two moments of arrival, may be apart.
const CLOCK_MS: i64 = 1000;
/// The longest idle time that circlet knows, in seconds.
const LONGEST_IDLE_S: i64 = 4_208_567;

/// A command and its two replies, which differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) command: &'a Command,
    pub(super) ours: &'a Reply,
    pub(super) theirs: &'a Reply,
    /// Nodes of circlet.
    pub(super) nodes: usize,
    /// Names of the commands that circlet has, subcommands as `name|subcommand`.
    pub(super) known: &'a BTreeSet<String>,
}

/// A difference that is allowed.
pub(super) struct Difference {
    pub(super) name: &'static str,
    pub(super) reason: &'static str,
    pub(super) allows: fn(&Case<'_>) -> bool,
}

/// Every difference that is allowed.
pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "time left",
        reason: "two servers have two clocks, and get a command at two moments: TTL within 1 s, PTTL within 1000 ms",
        allows: |case| match name(case).as_str() {
            "TTL" => near(case, 1),
            "PTTL" => near(case, CLOCK_MS),
            _ => false,
        },
    },
    Difference {
        name: "deadline counted from now",
        reason: "as above; deadlines that were given as such (from 2096 on) are compared exactly",
        allows: |case| match name(case).as_str() {
            "EXPIRETIME" => near(case, 1) && below(case, ABSOLUTE_FROM_S),
            "PEXPIRETIME" => near(case, CLOCK_MS) && below(case, ABSOLUTE_FROM_S * 1000),
            _ => false,
        },
    },
    Difference {
        name: "idle time",
        reason: "seconds since the last use are counted by two clocks, of which Valkey's ticks coarsely: within 2 s",
        allows: |case| is(case, "OBJECT", "IDLETIME") && near(case, 2),
    },
    Difference {
        name: "very long idle time",
        reason: "of an idle time given to RESTORE 48 days are kept, of which Valkey keeps the rest of a division by 194 days",
        allows: |case| {
            let ours = case.ours.as_integer();
            is(case, "OBJECT", "IDLETIME")
                && ours.is_some_and(|seconds| (LONGEST_IDLE_S..LONGEST_IDLE_S + 600).contains(&seconds))
        },
    },
    Difference {
        name: "encoding",
        reason: "Valkey keeps an integer that INCRBYFLOAT made as text, and a value as it was kept before its deadline went",
        allows: |case| {
            let shown = |reply: &Reply, text: &str| matches!(reply, Reply::Text(_, bytes) if bytes == text.as_bytes());
            let are = |ours, theirs| shown(case.ours, ours) && shown(case.theirs, theirs);
            is(case, "OBJECT", "ENCODING") && (are("int", "embstr") || are("int", "raw") || are("embstr", "raw"))
        },
    },
    Difference {
        name: "time of day",
        reason: "two clocks: within 1 s",
        allows: |case| name(case) == "TIME" && times_of_day_agree(case),
    },
    Difference {
        name: "order of keys",
        reason: "the order of KEYS is that of the hash table; the same keys, each once",
        allows: |case| name(case) == "KEYS" && same_elements(case),
    },
    Difference {
        name: "page of an iteration",
        reason: "which keys are on a page of SCAN, and its cursor, are the server's choice; whole iterations are compared as sets",
        allows: |case| name(case) == "SCAN" && is_page(case.ours) && is_page(case.theirs),
    },
    Difference {
        name: "random key",
        reason: "any key of the database; that it exists is asked on the other server",
        allows: |case| name(case) == "RANDOMKEY" && both(case, |reply| reply.kind() == b'$' && !reply.is_null()),
    },
    Difference {
        name: "dumped payload",
        reason: "compression and the way of writing a length are the choice of who writes; both payloads are intact, and are \
                 restored on both servers",
        allows: |case| name(case) == "DUMP" && both(case, |reply| reply.as_text().is_some_and(payload::is_intact)),
    },
    Difference {
        name: "across slots refused",
        reason: "MSETNX, RENAMENX and MSETEX NX|XX keep their condition only within a slot; here the command has another mistake \
                 too, which Valkey names",
        allows: |case| {
            let refusable = matches!(name(case).as_str(), "MSETNX" | "RENAMENX" | "MSETEX");
            refusable && case.ours.as_error() == Some(slots::REFUSAL.as_bytes()) && case.theirs.as_error().is_some()
        },
    },
    Difference {
        name: "copies that have a write",
        reason: "WAIT counts the other copies of the slots: Valkey has none, three nodes have one more",
        allows: |case| {
            name(case) == "WAIT"
                && case.nodes > 1
                && case.theirs.as_integer() == Some(0)
                && case.ours.as_integer().is_some_and(|copies| (0..case.nodes as i64).contains(&copies))
        },
    },
    Difference {
        name: "shared values",
        reason: "Valkey shares small integers and says so by a huge count of references; both say at least one",
        allows: |case| {
            is(case, "OBJECT", "REFCOUNT") && both(case, |reply| reply.as_integer().is_some_and(|count| count > 0))
        },
    },
    Difference {
        name: "bytes of memory",
        reason: "another allocator and another layout: a positive number of bytes, or nothing on both sides",
        allows: |case| {
            is(case, "MEMORY", "USAGE") && both(case, |reply| reply.as_integer().is_some_and(|bytes| bytes > 0))
        },
    },
    Difference {
        name: "report on memory",
        reason: "STATS has the figures of an allocator, DOCTOR and MALLOC-STATS are prose: the same kind of reply",
        allows: |case| {
            name(case) == "MEMORY"
                && matches!(sub(case).as_str(), "STATS" | "DOCTOR" | "MALLOC-STATS")
                && same_kind_no_error(case)
        },
    },
    Difference {
        name: "report on latency",
        reason: "measured times, and prose: HISTOGRAM, LATEST, HISTORY and DOCTOR have the same kind of reply",
        allows: |case| {
            let measured = matches!(sub(case).as_str(), "HISTOGRAM" | "LATEST" | "HISTORY" | "DOCTOR");
            name(case) == "LATENCY" && measured && same_kind_no_error(case)
        },
    },
    Difference {
        name: "entries of a log",
        reason: "identifier, time, duration and address of an entry differ; the commands are the same in the same order",
        allows: |case| {
            matches!(name(case).as_str(), "SLOWLOG" | "COMMANDLOG") && sub(case) == "GET" && logs_agree(case)
        },
    },
    Difference {
        name: "help",
        reason: "the texts are our own: a list of simple strings",
        allows: |case| sub(case) == "HELP" && help_texts(case),
    },
    Difference {
        name: "identifier of the client",
        reason: "given by the server: a positive number",
        allows: |case| is(case, "CLIENT", "ID") && both(case, |reply| reply.as_integer().is_some_and(|id| id > 0)),
    },
    Difference {
        name: "description of clients",
        reason: "addresses, ages and sizes differ, and when one who has said nothing is in the list; the same fields in the same \
                 order, and name, database, protocol, library, command, user and subscriptions agree",
        allows: |case| {
            name(case) == "CLIENT" && matches!(sub(case).as_str(), "INFO" | "LIST") && client_fields_agree(case)
        },
    },
    Difference {
        name: "greeting",
        reason: "server, version, identifier and modules differ; the same fields, and protocol, mode and role agree",
        allows: |case| name(case) == "HELLO" && hello_agrees(case),
    },
    Difference {
        name: "number of commands",
        reason: "circlet has fewer commands",
        allows: |case| {
            is(case, "COMMAND", "COUNT") && both(case, |reply| reply.as_integer().is_some_and(|count| count > 0))
        },
    },
    Difference {
        name: "list of commands",
        reason: "of Valkey's list, those that circlet has, in any order, and those of its own",
        allows: |case| is(case, "COMMAND", "LIST") && subset_of_known(case),
    },
    Difference {
        name: "description of commands",
        reason: "only commands that circlet has are described, and only their subcommands, with those of its own; flags, categories \
                 and tips are sets, and remarks on keys are texts",
        allows: |case| name(case) == "COMMAND" && matches!(sub(case).as_str(), "" | "INFO") && documented_alike(case),
    },
    Difference {
        name: "texts on commands",
        reason: "the texts are our own: the commands that both have, each with Valkey's fields, since and group agree",
        allows: |case| is(case, "COMMAND", "DOCS") && docs_agree(case),
    },
    Difference {
        name: "figures of the node",
        reason: "INFO has measured values, and sections of our own; of those that Valkey answers circlet has no others, and lines are well formed",
        allows: |case| name(case) == "INFO" && info_agrees(case),
    },
    Difference {
        name: "settings",
        reason: "circlet has other settings; those that the run changes agree",
        allows: |case| is(case, "CONFIG", "GET") && settings_agree(case),
    },
    Difference {
        name: "unknown setting",
        reason: "CONFIG SET of several settings names the first that is wrong, and which are known differs",
        allows: |case| {
            is(case, "CONFIG", "SET")
                && case.command.arguments.len() > 4
                && both(case, |reply| reply.as_error().is_some())
        },
    },
    Difference {
        name: "a picture",
        reason: "LOLWUT is art, with parameters of its own: a text, or an error",
        allows: |case| {
            let is_art =
                |reply: &Reply| reply.as_error().is_some() || reply.as_text().is_some_and(|text| !text.is_empty());
            name(case) == "LOLWUT" && both(case, is_art)
        },
    },
    Difference {
        name: "role",
        reason: "the replication offset differs: an array of master, a number and no replicas",
        allows: |case| name(case) == "ROLE" && roles_agree(case),
    },
];

fn name(case: &Case<'_>) -> String {
    case.command.word(0)
}

fn sub(case: &Case<'_>) -> String {
    case.command.word(1)
}

fn is(case: &Case<'_>, command: &str, subcommand: &str) -> bool {
    name(case) == command && sub(case) == subcommand
}

fn both(case: &Case<'_>, holds: impl Fn(&Reply) -> bool) -> bool {
    holds(case.ours) && holds(case.theirs)
}

/// Whether both are integers, at most this far apart, and neither says that there is no key or no deadline.
fn near(case: &Case<'_>, most: i64) -> bool {
    match (case.ours.as_integer(), case.theirs.as_integer()) {
        (Some(ours), Some(theirs)) => ours >= 0 && theirs >= 0 && ours.abs_diff(theirs) <= most as u64,
        _ => false,
    }
}

fn below(case: &Case<'_>, limit: i64) -> bool {
    both(case, |reply| reply.as_integer().is_some_and(|number| number < limit))
}

fn same_kind_no_error(case: &Case<'_>) -> bool {
    case.ours.kind() == case.theirs.kind() && both(case, |reply| reply.as_error().is_none())
}

fn same_elements(case: &Case<'_>) -> bool {
    let sorted = |reply: &Reply| {
        let mut elements = reply.as_many().map(<[Reply]>::to_vec)?;
        elements.sort();
        Some(elements)
    };
    case.ours.kind() == case.theirs.kind() && sorted(case.ours).is_some() && sorted(case.ours) == sorted(case.theirs)
}

fn is_page(reply: &Reply) -> bool {
    let is_text = |reply: &Reply| matches!(reply, Reply::Text(b'$', _));
    match reply {
        Reply::Many(b'*', parts) => match parts.as_slice() {
            [Reply::Text(b'$', cursor), Reply::Many(b'*', keys)] => {
                cursor.iter().all(u8::is_ascii_digit) && keys.iter().all(is_text)
            }
            _ => false,
        },
        _ => false,
    }
}

fn times_of_day_agree(case: &Case<'_>) -> bool {
    let seconds = |reply: &Reply| match reply {
        Reply::Many(b'*', parts) if parts.len() == 2 && parts.iter().all(|part| part.kind() == b'$') => {
            std::str::from_utf8(parts[0].as_text()?).ok()?.parse::<i64>().ok()
        }
        _ => None,
    };
    matches!((seconds(case.ours), seconds(case.theirs)), (Some(ours), Some(theirs)) if ours.abs_diff(theirs) <= 1)
}

fn roles_agree(case: &Case<'_>) -> bool {
    let role = |reply: &Reply| match reply {
        Reply::Many(b'*', parts) => match parts.as_slice() {
            [role, offset, Reply::Many(b'*', _)] if offset.as_integer().is_some() => Some(role.clone()),
            _ => None,
        },
        _ => None,
    };
    role(case.ours).is_some() && role(case.ours) == role(case.theirs)
}
