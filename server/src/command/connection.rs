//! Commands about the connection itself.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Answer, Command, Context, Flags, Keys, OnNode, Run, SYNTAX_ERROR, client, wrong_arity};
use crate::{
    REDIS_VERSION,
    resp::{Protocol, Reply, Request},
    session::Port,
    types::{Database, parse_integer},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    command("auth", -2, ALWAYS, auth),
    Command::container("client", Flags::NONE, client::SUBCOMMANDS),
    command("echo", 2, Flags::LOADING.and(Flags::STALE).and(Flags::FAST), |_, request| {
        Reply::Bulk(request.arg(1)).into()
    }),
    command("hello", -1, ALWAYS, hello),
    command("ping", -1, Flags::FAST, ping),
    command("quit", -1, ALWAYS, quit),
    command("reset", 1, ALWAYS, reset),
    command("select", 2, Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::ALLOW_BUSY), select),
];

const ALWAYS: Flags =
    Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

const fn command(name: &'static str, arity: i8, flags: Flags, run: OnNode) -> Command {
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

/// The zone of a node that was told none.
const NO_ZONE: &str = "default";

const WRONG_PASSWORD: Reply<'static> = Reply::error("WRONGPASS invalid username-password pair or user is disabled.");

fn ping<'a>(_: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    match request.len() {
        1 => Reply::Simple("PONG"),
        2 => Reply::Bulk(request.arg(1)),
        _ => wrong_arity("ping"),
    }
    .into()
}

fn quit<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    context.session.close();
    Reply::OK.into()
}

fn reset<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    context.session.reset(&*context.router.services().settings);
    Reply::Simple("RESET").into()
}

fn select<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let Some(number) = parse_integer(request.arg(1)) else { return super::NOT_AN_INTEGER.into() };
    let Ok(number) = i32::try_from(number) else { return super::OUT_OF_INT_RANGE.into() };
    let databases = context.session.mode().access().databases as u64;
    let database = u64::try_from(number).ok().filter(|&number| number < databases).and_then(Database::new);
    match database {
        Some(database) => {
            context.session.select(database);
            Reply::OK.into()
        }
        None => super::NO_SUCH_DATABASE.into(),
    }
}

fn auth<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    log_in(context, request).into()
}

fn log_in(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
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
    let right = password.is_none_or(|password| is_same(password.as_bytes(), given));
    let right = right && user == b"default";
    if right {
        context.session.authenticate();
    }
    right
}

/// Compares hashes, so that the time that it takes tells neither where the texts differ nor how long the password is.
fn is_same(password: &[u8], given: &[u8]) -> bool {
    Sha256::digest(password).ct_eq(&Sha256::digest(given)).into()
}

/// What `HELLO` was asked to do; it is done only when all of it is valid.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    introduce(context, request).into()
}

fn introduce(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    const NOT_AUTHENTICATED: Reply<'static> = Reply::error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
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
            if !hello.name.is_some_and(client::is_printable) {
                return Err(client::BAD_NAME);
            }
        } else {
            return Err(Reply::error_about("ERR Syntax error in HELLO option '", option, "'"));
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
    let mut pairs = vec![
        (text("server"), text("redis")),
        (text("version"), text(REDIS_VERSION)),
        (text("proto"), Reply::Integer(protocol)),
        (text("id"), Reply::Integer(session.client().id() as i64)),
        (text("mode"), text(mode)),
        (text("role"), text("master")),
        (text("modules"), Reply::Array(vec![])),
    ];
    // As in Redis only where somebody said where the node stands.
    let topology = context.router.services().topology.current();
    if let Some(node) = topology.my_node().filter(|node| node.meta.zone != NO_ZONE) {
        pairs.push((text("availability_zone"), Reply::Text(node.meta.zone.clone().into())));
    }
    Reply::Map(pairs)
}
