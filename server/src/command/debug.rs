//! `DEBUG`: for those who work on the node, and only if the setting `enable-debug-command` allows it.
//!
//! `DEBUG SLEEP` lets this connection wait and nobody else, unlike in Redis, where the whole server sleeps: the threads
//! here serve other nodes as well.

use std::time::Duration;

use super::{Answer, Context};
use crate::resp::{Reply, Request};

const NOT_ALLOWED: Reply<'static> = Reply::error(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `DEBUG`.
pub(super) fn debug<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let is_local = context.session.client().peer().ip().to_canonical().is_loopback();
    if !context.router.services().settings.allows_debug(is_local) {
        return NOT_ALLOWED.into();
    }
    match (request.arg(1).to_ascii_lowercase().as_slice(), request.len()) {
        (b"help", 2) => Reply::Array(HELP.map(Reply::Simple).into()).into(),
        (b"sleep", 3) => sleep(request.arg(2)),
        #[cfg(debug_assertions)]
        (b"spoil", 4) => spoil(context, request),
        _ => super::describe::wrong_subcommand(request).into(),
    }
}

const HELP: [&str; 5] = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "HELP",
    "    Lists the subcommands of DEBUG.",
    "SLEEP <seconds>",
    "    Lets this connection wait, and nobody else.",
];

/// `DEBUG SPOIL LOSE|CHANGE key`, in debug builds: spoils the entry of this node's copy, so that tests see who finds it.
#[cfg(debug_assertions)]
fn spoil<'a>(context: &Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let loses_it = request.arg(2).eq_ignore_ascii_case(b"lose");
    let database = context.session.mode().database;
    match context.router.spoil(database, request.arg(3), loses_it) {
        true => Reply::OK.into(),
        false => Reply::error("ERR no such key").into(),
    }
}

/// Seconds, with a fraction; what is no number counts as 0, as in Redis.
fn sleep<'a>(seconds: &[u8]) -> Answer<'a> {
    let seconds = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default().min(LONGEST);
    Answer::Later(Box::pin(async move {
        tokio::time::sleep(time).await;
        Reply::OK
    }))
}
