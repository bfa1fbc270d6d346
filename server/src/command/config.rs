//! `CONFIG`: the settings of the node.

use super::{Context, SYNTAX_ERROR, describe, wrong_arity};
use crate::{
    resp::{Reply, Request},
    services::{SettingError, SettingFault},
    types::{Glob, TooComplex},
};

pub(super) fn config(context: &mut Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let subcommand = request.arg(1).to_ascii_lowercase();
    match (subcommand.as_slice(), request.len()) {
        (b"get", 3..) => get(context, request),
        (b"set", 4..) => set(context, request),
        (b"get" | b"set", _) => wrong_arity(&format!("config|{}", String::from_utf8_lossy(&subcommand))),
        _ => describe::unknown_subcommand("CONFIG", request.arg(1)),
    }
}

fn get(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    let mut found = Vec::new();
    for (name, value) in context.router.services().settings.all() {
        match matches_any(name, request) {
            Ok(false) => {}
            Ok(true) => found.push((Reply::Text(name.into()), Reply::Text(value.into()))),
            Err(TooComplex) => return Reply::error("ERR pattern is too complex"),
        }
    }
    Reply::Map(found)
}

/// Whether one of the patterns matches the name; names of settings have no case.
fn matches_any(name: &str, request: &Request<'_>) -> Result<bool, TooComplex> {
    for pattern in request.args_from(2) {
        if Glob::new(&pattern.to_ascii_lowercase()).matches(name.as_bytes())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn set(context: &Context<'_>, request: &Request<'_>) -> Reply<'static> {
    if !request.len().is_multiple_of(2) {
        return SYNTAX_ERROR;
    }
    let changes: Vec<_> =
        (2..request.len()).step_by(2).map(|place| (request.arg(place), request.arg(place + 1))).collect();
    let result = match twice(&changes) {
        Some(name) => {
            let name = String::from_utf8_lossy(name).into_owned();
            Err(SettingError { name, fault: SettingFault::Invalid("duplicate parameter".into()) })
        }
        None => context.router.services().settings.change(&changes),
    };
    match result {
        Ok(()) => Reply::OK,
        Err(error) => Reply::Error(error.to_string().into()),
    }
}

/// A name that is given twice, as it is given the second time.
fn twice<'a>(changes: &[(&'a [u8], &'a [u8])]) -> Option<&'a [u8]> {
    let mut names: Vec<_> = changes.iter().map(|(name, _)| (name.to_ascii_lowercase(), *name)).collect();
    names.sort_by(|one, other| one.0.cmp(&other.0));
    names.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
}
