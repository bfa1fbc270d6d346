//! `CLIENT`: who is connected.

mod filter;
mod help;
mod tracking;

use std::sync::Arc;

use self::{
    filter::Filter,
    tracking::{NOT_TRACKING, tracking, tracking_info},
};
use super::{Answer, Command, Context, Flags, Keys, NOT_AN_INTEGER, OnNode, Run, SYNTAX_ERROR, wait::timeout};
use crate::{
    clients::{Client, Paused, Trait},
    resp::{Reply, Request},
    types::parse_integer,
};

pub(super) const BAD_NAME: Reply<'static> =
    Reply::error("ERR Client names cannot contain spaces, newlines or special characters.");

/// The subcommands of `CLIENT`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    subcommand("client|caching", 3, FOR_ALL, |_, _| NOT_TRACKING.into()),
    subcommand("client|capa", -3, FOR_ALL, |context, request| capabilities(context, request).into()),
    subcommand("client|getname", 2, FOR_ALL, |context, _| {
        match context.session.client().names().name.clone() {
            name if name.is_empty() => Reply::Null,
            name => Reply::Blob(name),
        }
        .into()
    }),
    // Nothing is tracked, so nothing is sent elsewhere.
    subcommand("client|getredir", 2, FOR_ALL, |_, _| Reply::Integer(-1).into()),
    subcommand("client|help", 2, Flags::LOADING.and(Flags::STALE), |_, _| help::reply().into()),
    subcommand("client|id", 2, FOR_ALL, |context, _| Reply::Integer(context.session.client().id() as i64).into()),
    subcommand("client|import-source", 3, NOT_BUSY, |_, request| import_source(request.arg(2)).into()),
    subcommand("client|info", 2, NOT_BUSY, |context, _| {
        verbatim(describe_all(context, &[context.session.client().clone()])).into()
    }),
    subcommand("client|kill", -3, FOR_ADMIN, |context, request| {
        match request.len() {
            3 => kill_address(context, request.arg(2)),
            _ => kill(context, request),
        }
        .into()
    }),
    subcommand("client|list", -2, FOR_ADMIN, |context, request| list(context, request).into()),
    subcommand("client|no-evict", 3, FOR_ADMIN.and(Flags::ALLOW_BUSY), |context, request| {
        on_or_off(request.arg(2), |on| context.session.client().set(Trait::NoEvict, on)).into()
    }),
    subcommand("client|no-touch", 3, FOR_ALL, |context, request| {
        on_or_off(request.arg(2), |on| context.session.leave_no_trace(on)).into()
    }),
    subcommand("client|pause", -3, FOR_ADMIN, |context, request| pause(context, request).into()),
    subcommand("client|reply", 3, FOR_ALL.and(Flags::NO_MULTI), reply),
    subcommand("client|setinfo", 4, FOR_ALL, |context, request| {
        set_info(context.session.client(), request.arg(2), request.arg(3)).into()
    }),
    subcommand("client|setname", 3, FOR_ALL, |context, request| {
        set_name(context.session.client(), request.arg(2)).into()
    }),
    subcommand("client|tracking", -3, NOT_BUSY, |context, request| tracking(context, request).into()),
    subcommand("client|trackinginfo", 2, NOT_BUSY, |_, _| tracking_info().into()),
    subcommand("client|unblock", -3, FOR_ADMIN, |context, request| unblock(context, request).into()),
    subcommand("client|unpause", 2, FOR_ADMIN, |context, _| {
        context.router.services().clients.unpause();
        Reply::OK.into()
    }),
];

const NOT_BUSY: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const FOR_ALL: Flags = NOT_BUSY.and(Flags::ALLOW_BUSY);
const FOR_ADMIN: Flags = NOT_BUSY.and(Flags::ADMIN);

const fn subcommand(name: &'static str, arity: i8, flags: Flags, run: OnNode) -> Command {
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

/// Whether a name is of printable bytes without space, so that it does not break a line of `CLIENT LIST`; what stands
/// behind a zero byte is not looked at, as in C.
pub(super) fn is_printable(name: &[u8]) -> bool {
    name.iter().take_while(|&&byte| byte != 0).all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(client: &Client, name: &[u8]) -> Reply<'static> {
    if !is_printable(name) {
        return BAD_NAME;
    }
    client.rename(name.to_vec());
    Reply::OK
}

fn set_info(client: &Client, attribute: &[u8], value: &[u8]) -> Reply<'static> {
    let is = |name: &str| attribute.eq_ignore_ascii_case(name.as_bytes());
    if !is("lib-name") && !is("lib-ver") {
        return Reply::error_about("ERR Unrecognized option '", attribute, "'");
    }
    if !is_printable(value) {
        return Reply::error_about("ERR ", attribute, " cannot contain spaces, newlines or special characters.");
    }
    match is("lib-name") {
        true => client.set_library(value.to_vec()),
        false => client.set_library_version(value.to_vec()),
    }
    Reply::OK
}

/// Capabilities that are not known are of no importance, as in Redis.
fn capabilities(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    if request.args_from(2).any(|name| name.eq_ignore_ascii_case(b"redirect")) {
        context.session.client().set(Trait::Redirect, true);
    }
    Reply::OK
}

fn on_or_off(word: &[u8], set: impl FnOnce(bool)) -> Reply<'static> {
    match word.to_ascii_lowercase().as_slice() {
        b"on" => set(true),
        b"off" => set(false),
        _ => return SYNTAX_ERROR,
    }
    Reply::OK
}

/// There is no import mode that a client could be a source for.
fn import_source(word: &[u8]) -> Reply<'static> {
    match word.eq_ignore_ascii_case(b"off") {
        true => Reply::OK,
        false => Reply::error("ERR Server is not in import mode"),
    }
}

/// As for a client that did not ask for tracking.
fn reply<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    match request.arg(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            context.session.answer();
            return Reply::OK.into();
        }
        b"off" => context.session.be_silent(),
        b"skip" => context.session.skip_next_reply(),
        _ => return SYNTAX_ERROR.into(),
    }
    Answer::Nothing
}

/// Whoever was executing when the pause begins is answered; what comes behind it waits.
fn pause(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let mode = (request.len() == 4).then(|| request.arg(3).to_ascii_lowercase());
    let paused = match mode.as_deref() {
        Some(b"write") => Paused::Writes,
        None | Some(b"all") => Paused::Everything,
        Some(_) => return Reply::error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let time_us = match timeout(context, request.arg(2)) {
        Ok(time) => time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        Err(error) => return error,
    };
    let services = context.router.services();
    let now_us = services.clock.monotonic_us();
    services.clients.pause(paused, now_us, now_us.saturating_add(time_us));
    Reply::OK
}

/// Only a command that blocks can be ended; who waits for the end of a pause goes on waiting.
fn unblock(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let reason = (request.len() == 4).then(|| request.arg(3).to_ascii_lowercase());
    let by_an_error = match reason.as_deref() {
        None | Some(b"timeout") => false,
        Some(b"error") => true,
        Some(_) => return Reply::error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = parse_integer(request.arg(2)) else { return NOT_AN_INTEGER };
    let client = u64::try_from(id).ok().and_then(|id| context.router.services().clients.find(id));
    Reply::Integer(client.is_some_and(|client| client.unblock(by_an_error)).into())
}

fn list(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let all = context.router.services().clients.all();
    let chosen = match request.len() {
        2 => all,
        3 => return SYNTAX_ERROR,
        _ => match Filter::parse(request, context, false) {
            Ok(filter) => all.into_iter().filter(|client| filter.matches(client)).collect(),
            Err(error) => return error,
        },
    };
    verbatim(describe_all(context, &chosen))
}

fn describe_all(context: &Context<'_>, clients: &[Arc<Client>]) -> Vec<u8> {
    let now_us = context.router.services().clock.monotonic_us();
    let commands = context.router.table().all();
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

fn kill(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let filter = match Filter::parse(request, context, true) {
        Ok(filter) => filter,
        Err(error) => return error,
    };
    let mut killed = 0;
    for client in context.router.services().clients.all() {
        if filter.matches(&client) {
            end(context, &client);
            killed += 1;
        }
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
