//! `WAIT` and `WAITAOF`: how many other nodes have what a connection wrote.

use std::time::Duration;

use ring::id::MAX_PEERS;

use super::{Answer, Blocked, Command, Context, Flags, Keys, NOT_AN_INTEGER, Run};
use crate::{
    resp::{Reply, Request},
    types::parse_integer,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("wait", 3, Flags::BLOCKING, Keys::NONE, Run::Node(wait)),
    Command::new("waitaof", 4, Flags::BLOCKING, Keys::NONE, Run::Node(waitaof)),
];

/// How many other nodes have what this connection wrote, as soon as so many have it as are asked for, and when the time is
/// over. A time of 0 means for ever.
fn wait<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    let Some(replicas) = parse_integer(request.arg(1)) else { return NOT_AN_INTEGER.into() };
    let time = match timeout(context, request.arg(2)) {
        Ok(time) => time,
        Err(error) => return error.into(),
    };
    let wanted = usize::try_from(replicas).unwrap_or(0).min(MAX_PEERS);
    let (written, client) = (context.session.written(), context.session.client().id());
    let (router, written_then) = (context.router.clone(), written.clone());
    Answer::Blocked(Box::new(Blocked {
        reply: context.router.wait(written, client, wanted, time),
        when_over: Box::new(move || router.wait(written_then, client, wanted, Some(Duration::ZERO))),
        has_time: time.is_some(),
    }))
}

/// No node keeps a file of what was written. So this one never has it, nor has any other, however long one waits.
fn waitaof<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    const NOT_ZERO_OR_ONE: Reply<'static> = Reply::error("ERR value is out of range, value must between 0 and 1");
    const NEGATIVE: Reply<'static> = Reply::error("ERR value is out of range, must be positive");
    const NO_FILE: Reply<'static> =
        Reply::error("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    let nobody = || Reply::Array(vec![Reply::Integer(0), Reply::Integer(0)]);
    let local = match parse_integer(request.arg(1)) {
        Some(local @ 0..=1) => local,
        Some(_) => return NOT_ZERO_OR_ONE.into(),
        None => return NOT_AN_INTEGER.into(),
    };
    let replicas = match parse_integer(request.arg(2)) {
        Some(replicas @ 0..) => replicas,
        Some(_) => return NEGATIVE.into(),
        None => return NEGATIVE.into(),
    };
    match timeout(context, request.arg(3)) {
        Err(error) => error.into(),
        Ok(_) if local == 1 => NO_FILE.into(),
        Ok(_) if replicas == 0 => nobody().into(),
        Ok(time) => Answer::Blocked(Box::new(Blocked {
            reply: Box::pin(async move {
                match time {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
                nobody()
            }),
            when_over: Box::new(move || Box::pin(async move { nobody() })),
            has_time: time.is_some(),
        })),
    }
}

/// How long is to be waited; none for ever.
pub(super) fn timeout(context: &Context<'_>, text: &[u8]) -> Result<Option<Duration>, Reply<'static>> {
    let milliseconds = parse_integer(text).ok_or(Reply::error("ERR timeout is not an integer or out of range"))?;
    let milliseconds = u64::try_from(milliseconds).map_err(|_| Reply::error("ERR timeout is negative"))?;
    if milliseconds > i64::MAX as u64 - context.router.services().clock.unix_ms() {
        return Err(Reply::error("ERR timeout is out of range"));
    }
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}
