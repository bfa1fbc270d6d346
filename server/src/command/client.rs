//! `CLIENT`: who is connected.

use std::sync::Arc;

use super::{Context, SYNTAX_ERROR, describe, wrong_arity};
use crate::{
    clients::Client,
    resp::{Reply, Request},
    types::parse_integer,
};

pub(super) const BAD_NAME: Reply<'static> =
    Reply::error("ERR Client names cannot contain spaces, newlines or special characters.");

pub(super) fn client(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let subcommand = request.arg(1).to_ascii_lowercase();
    match (subcommand.as_slice(), request.len()) {
        (b"id", 2) => Reply::Integer(context.session.client().id() as i64),
        (b"getname", 2) => match context.session.client().names().name {
            name if name.is_empty() => Reply::Null,
            name => Reply::Blob(name),
        },
        (b"setname", 3) => set_name(context.session.client(), request.arg(2)),
        (b"setinfo", 4) => set_info(context.session.client(), request.arg(2), request.arg(3)),
        (b"info", 2) => verbatim(describe_all(context, &[context.session.client().clone()])),
        (b"list", 2..) => list(context, request),
        (b"kill", 3) => kill_address(context, request.arg(2)),
        (b"kill", 4..) => kill(context, request),
        (b"id" | b"getname" | b"setname" | b"setinfo" | b"info" | b"kill", _) => {
            wrong_arity(&format!("client|{}", String::from_utf8_lossy(&subcommand)))
        }
        _ => describe::unknown_subcommand("CLIENT", request.arg(1)),
    }
}

/// Whether a name is of printable bytes without space, so that it does not break a line of `CLIENT LIST`.
pub(super) fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(client: &Client, name: &[u8]) -> Reply<'static> {
    if !is_printable(name) {
        return BAD_NAME;
    }
    client.rename(name.to_vec());
    Reply::OK
}

fn set_info(client: &Client, attribute: &[u8], value: &[u8]) -> Reply<'static> {
    let attribute = attribute.to_ascii_lowercase();
    if !matches!(attribute.as_slice(), b"lib-name" | b"lib-ver") {
        let attribute = String::from_utf8_lossy(&attribute);
        return Reply::Error(format!("ERR Unrecognized option '{attribute}'").into());
    }
    if !is_printable(value) {
        let attribute = String::from_utf8_lossy(&attribute);
        let text = format!("ERR {attribute} cannot contain spaces, newlines or special characters.");
        return Reply::Error(text.into());
    }
    match attribute.as_slice() {
        b"lib-name" => client.set_library(value.to_vec()),
        _ => client.set_library_version(value.to_vec()),
    }
    Reply::OK
}

fn list(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let all = || context.router.services().clients.all();
    if request.len() == 2 {
        return verbatim(describe_all(context, &all()));
    }
    let clients = match request.arg(2).to_ascii_lowercase().as_slice() {
        b"type" if request.len() == 4 => match Kind::parse(request.arg(3)) {
            Ok(kind) => all().into_iter().filter(|_| kind == Kind::Normal).collect::<Vec<_>>(),
            Err(error) => return error,
        },
        b"id" if request.len() > 3 => {
            let ids: Option<Vec<_>> = request.args_from(3).map(parse_id).collect();
            let Some(ids) = ids else { return Reply::error("ERR Invalid client ID") };
            all().into_iter().filter(|client| ids.contains(&client.id())).collect()
        }
        _ => return SYNTAX_ERROR,
    };
    verbatim(describe_all(context, &clients))
}

fn describe_all(context: &Context<'_>, clients: &[Arc<Client>]) -> Vec<u8> {
    let now_us = context.router.services().clock.monotonic_us();
    let commands = context.router.table().commands();
    let name = |command: u16| commands.get(usize::from(command)).map_or("NULL", |command| command.name);
    let mut text = Vec::new();
    for client in clients {
        text.extend(client.describe(now_us, name));
        text.push(b'\n');
    }
    text
}

fn verbatim(text: Vec<u8>) -> Reply<'static> {
    // Names are printable ASCII, and nothing else in a line comes from a client.
    Reply::Verbatim(String::from_utf8_lossy(&text).into_owned())
}

/// The kinds of clients that Redis knows. Here every client is a normal one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Other,
}

impl Kind {
    fn parse(text: &[u8]) -> Result<Kind, Reply<'static>> {
        match text.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"master" | b"replica" | b"slave" | b"pubsub" => Ok(Kind::Other),
            _ => {
                let text = String::from_utf8_lossy(text);
                Err(Reply::Error(format!("ERR Unknown client type '{text}'").into()))
            }
        }
    }
}

/// Which clients `CLIENT KILL` means: those that meet every condition.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Kind>,
    spares_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(request: &Request<'a>) -> Result<Filter<'a>, Reply<'static>> {
        let mut filter = Filter { spares_me: true, ..Filter::default() };
        let mut rest = request.args_from(2);
        while let Some(option) = rest.next() {
            let Some(value) = rest.next() else { return Err(SYNTAX_ERROR) };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => filter.id = Some(parse_id(value).ok_or(BAD_ID)?),
                b"addr" => filter.address = Some(value),
                b"laddr" => filter.local_address = Some(value),
                b"type" => filter.kind = Some(Kind::parse(value)?),
                b"user" => check_user(value)?,
                b"skipme" => filter.spares_me = parse_yes(value)?,
                _ => return Err(SYNTAX_ERROR),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id())
            && self.address.is_none_or(|address| address == client.peer().to_string().as_bytes())
            && self.local_address.is_none_or(|address| address == client.local().to_string().as_bytes())
            && self.kind.is_none_or(|kind| kind == Kind::Normal)
    }
}

const BAD_ID: Reply<'static> = Reply::error("ERR client-id should be greater than 0");

fn parse_id(text: &[u8]) -> Option<u64> {
    parse_integer(text).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0)
}

fn parse_yes(text: &[u8]) -> Result<bool, Reply<'static>> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(SYNTAX_ERROR),
    }
}

fn check_user(user: &[u8]) -> Result<(), Reply<'static>> {
    if user == b"default" {
        return Ok(());
    }
    Err(Reply::Error(format!("ERR No such user '{}'", String::from_utf8_lossy(user)).into()))
}

fn kill(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let filter = match Filter::parse(request) {
        Ok(filter) => filter,
        Err(error) => return error,
    };
    let me = context.session.client().id();
    let mut killed = 0;
    for client in context.router.services().clients.all() {
        if !filter.matches(&client) || filter.spares_me && client.id() == me {
            continue;
        }
        end(context, &client);
        killed += 1;
    }
    Reply::Integer(killed)
}

/// The old form: the one client with this address, which may be the one that asks.
fn kill_address(context: &mut Context<'_>, address: &[u8]) -> Reply<'static> {
    let clients = context.router.services().clients.all();
    match clients.iter().find(|client| client.peer().to_string().as_bytes() == address) {
        None => Reply::error("ERR No such client"),
        Some(client) => {
            end(context, client);
            Reply::OK
        }
    }
}

/// Ends a connection; the one that asks still gets its reply.
fn end(context: &mut Context<'_>, client: &Client) {
    if client.id() == context.session.client().id() {
        context.session.close();
    } else {
        client.kill();
    }
}
