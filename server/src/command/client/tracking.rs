//! `CLIENT TRACKING` and what belongs to it. Nobody tracks keys here: switching it off is true at once, switching it on is
//! refused, and what is wrong with a request is said as Valkey says it.

use crate::{
    command::{Context, NOT_AN_INTEGER, SYNTAX_ERROR},
    resp::{Reply, Request},
    types::parse_integer,
};

/// Nobody tracks keys, so nobody is in that mode.
pub(super) const NOT_TRACKING: Reply<'static> = Reply::error(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);

const NO_TRACKING: Reply<'static> =
    Reply::error("ERR client side caching is not supported: keys that a connection reads are not tracked");

/// `CLIENT TRACKING on|off …`.
pub(super) fn tracking(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    if let Some(error) = wrong_options(context, request) {
        return error;
    }
    match request.arg(2) {
        on if on.eq_ignore_ascii_case(b"on") => NO_TRACKING,
        off if off.eq_ignore_ascii_case(b"off") => Reply::OK,
        _ => SYNTAX_ERROR,
    }
}

/// What is wrong with the options, in the order in which Valkey looks at them.
fn wrong_options(context: &Context<'_>, request: &Request<'_>) -> Option<Reply<'static>> {
    let (mut redirect, mut prefixes) = (0, 0);
    let [mut broadcasts, mut opts_in, mut opts_out] = [false; 3];
    let mut options = request.args_from(3);
    while let Some(option) = options.next() {
        match option.to_ascii_lowercase().as_slice() {
            b"redirect" => {
                let Some(value) = options.next() else { return Some(SYNTAX_ERROR) };
                if redirect != 0 {
                    return Some(Reply::error("ERR A client can only redirect to a single other client"));
                }
                let Some(id) = parse_integer(value) else { return Some(NOT_AN_INTEGER) };
                let clients = &context.router.services().clients;
                if u64::try_from(id).ok().and_then(|id| clients.find(id)).is_none() {
                    return Some(Reply::error("ERR The client ID you want redirect to does not exist"));
                }
                redirect = id;
            }
            b"prefix" if options.next().is_some() => prefixes += 1,
            b"bcast" => broadcasts = true,
            b"optin" => opts_in = true,
            b"optout" => opts_out = true,
            b"noloop" => {}
            _ => return Some(SYNTAX_ERROR),
        }
    }
    if !request.arg(2).eq_ignore_ascii_case(b"on") {
        return None;
    }
    match (broadcasts, opts_in, opts_out) {
        (false, _, _) if prefixes > 0 => Some(Reply::error("ERR PREFIX option requires BCAST mode to be enabled")),
        (true, true, _) | (true, _, true) => Some(Reply::error("ERR OPTIN and OPTOUT are not compatible with BCAST")),
        (_, true, true) => Some(Reply::error("ERR You can't specify both OPTIN mode and OPTOUT mode")),
        _ => None,
    }
}

/// `CLIENT TRACKINGINFO`.
pub(super) fn tracking_info() -> Reply<'static> {
    let text = |text: &'static str| Reply::Text(text.into());
    Reply::Map(vec![
        (text("flags"), Reply::Set(vec![text("off")])),
        (text("redirect"), Reply::Integer(-1)),
        (text("prefixes"), Reply::Array(vec![])),
    ])
}
