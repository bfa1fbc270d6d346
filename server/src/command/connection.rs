//! Commands about the connection itself.

use subtle::ConstantTimeEq;

use super::{Command, Context, Flags, Keys, NodeCommand, Run, SYNTAX_ERROR, client, wrong_arity};
use crate::{
    REDIS_VERSION,
    resp::{Protocol, Reply, Request},
    session::Port,
    types::parse_integer,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    command("auth", -2, ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY), NodeCommand::Auth),
    command("client", -2, Flags::NONE, NodeCommand::Client),
    command("echo", 2, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), NodeCommand::Echo),
    command("hello", -1, ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY), NodeCommand::Hello),
    command("ping", -1, Flags::FAST, NodeCommand::Ping),
    command("quit", -1, ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY), NodeCommand::Quit),
    command("reset", 1, ALWAYS.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY), NodeCommand::Reset),
    command("select", 2, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), NodeCommand::Select),
];

const ALWAYS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);

const fn command(name: &'static str, arity: i8, flags: Flags, run: NodeCommand) -> Command {
    Command { name, arity, flags, keys: Keys::NONE, categories: &["@connection"], run: Run::Node(run) }
}

const WRONG_PASSWORD: Reply<'static> = Reply::error("WRONGPASS invalid username-password pair or user is disabled.");

pub(super) fn ping<'a>(request: &Request<'a>) -> Reply<'a> {
    match request.len() {
        1 => Reply::Simple("PONG"),
        2 => Reply::Bulk(request.arg(1)),
        _ => wrong_arity("ping"),
    }
}

pub(super) fn quit(context: &mut Context<'_>) -> Reply<'static> {
    context.session.close();
    Reply::OK
}

pub(super) fn reset(context: &mut Context<'_>) -> Reply<'static> {
    context.session.reset(&*context.router.services().settings);
    Reply::Simple("RESET")
}

pub(super) fn select(request: &Request<'_>) -> Reply<'static> {
    match parse_integer(request.arg(1)).and_then(|database| i32::try_from(database).ok()) {
        None => super::NOT_AN_INTEGER,
        Some(0) => Reply::OK,
        Some(_) => Reply::error("ERR DB index is out of range"),
    }
}

pub(super) fn auth(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    const NO_PASSWORD: Reply<'static> = Reply::error(
        "ERR AUTH <password> called without any password configured for the default user. \
         Are you sure your configuration is correct?",
    );
    let result = match request.len() {
        2 if context.router.services().settings.password().is_none() => return NO_PASSWORD,
        2 => authenticate(context, b"default", request.arg(1)),
        3 => authenticate(context, request.arg(1), request.arg(2)),
        _ => return SYNTAX_ERROR,
    };
    if result { Reply::OK } else { WRONG_PASSWORD }
}

/// Lets the client in if the name and the password are right. There is one user; without a password any is right.
fn authenticate(context: &mut Context<'_>, user: &[u8], given: &[u8]) -> bool {
    let password = context.router.services().settings.password();
    let right = password.is_none_or(|password| bool::from(password.as_bytes().ct_eq(given)));
    let right = right && user == b"default";
    if right {
        context.session.authenticate();
    }
    right
}

/// What `HELLO` was asked to do; it is done only when all of it is valid.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

pub(super) fn hello(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    const NOT_AUTHENTICATED: Reply<'static> = Reply::error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
         option can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    let hello = match parse_hello(request) {
        Ok(hello) => hello,
        Err(error) => return error,
    };
    if let Some((user, password)) = hello.login
        && !authenticate(context, user, password)
    {
        return WRONG_PASSWORD;
    }
    if context.session.must_authenticate(&*context.router.services().settings) {
        return NOT_AUTHENTICATED;
    }
    if let Some(name) = hello.name {
        if !client::is_printable(name) {
            return client::BAD_NAME;
        }
        context.session.client().rename(name.to_vec());
    }
    if let Some(protocol) = hello.protocol {
        context.session.speak(protocol);
    }
    greeting(context)
}

fn parse_hello<'a>(request: &Request<'a>) -> Result<Hello<'a>, Reply<'static>> {
    let mut hello = Hello::default();
    if request.len() == 1 {
        return Ok(hello);
    }
    hello.protocol = match parse_integer(request.arg(1)) {
        Some(2) => Some(Protocol::Resp2),
        Some(3) => Some(Protocol::Resp3),
        Some(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
        None => return Err(Reply::error("ERR Protocol version is not an integer or out of range")),
    };
    let mut rest = request.args_from(2);
    while let Some(option) = rest.next() {
        if option.eq_ignore_ascii_case(b"auth") && rest.len() >= 2 {
            hello.login = rest.next().zip(rest.next());
        } else if option.eq_ignore_ascii_case(b"setname") && rest.len() >= 1 {
            hello.name = rest.next();
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(Reply::Error(format!("ERR Syntax error in HELLO option '{option}'").into()));
        }
    }
    Ok(hello)
}

fn greeting(context: &Context<'_>) -> Reply<'static> {
    let session = &context.session;
    let mode = match session.port() {
        Port::Proxy => "standalone",
        Port::Cluster => "cluster",
    };
    let protocol = match session.protocol() {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let text = |text: &'static str| Reply::Text(text.into());
    Reply::Map(vec![
        (text("server"), text("redis")),
        (text("version"), text(REDIS_VERSION)),
        (text("proto"), Reply::Integer(protocol)),
        (text("id"), Reply::Integer(session.client().id() as i64)),
        (text("mode"), text(mode)),
        (text("role"), text("master")),
        (text("modules"), Reply::Array(vec![])),
    ])
}
