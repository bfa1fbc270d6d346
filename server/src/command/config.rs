//! `CONFIG`: the settings of the node.

use super::{Answer, Command, Context, Flags, Keys, OnNode, Run, SYNTAX_ERROR, describe};
use crate::{
    resp::{Reply, Request},
    services::{SettingError, SettingFault},
    types::{Budget, Glob, TooComplex},
};

/// The subcommands of `CONFIG`.
pub(super) const SUBCOMMANDS: &[Command] = &[
    subcommand("config|get", -3, FOR_ADMIN, get),
    subcommand("config|help", 2, Flags::LOADING.and(Flags::STALE), |context, request| {
        describe::help(context, request).into()
    }),
    subcommand("config|resetstat", 2, FOR_ADMIN, |context, _| {
        context.router.services().information.reset();
        Reply::OK.into()
    }),
    subcommand("config|rewrite", 2, FOR_ADMIN, rewrite),
    subcommand("config|set", -4, FOR_ADMIN, set),
];

const FOR_ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);

const fn subcommand(name: &'static str, arity: i8, flags: Flags, run: OnNode) -> Command {
    Command::new(name, arity, flags, Keys::NONE, Run::Node(run))
}

fn get<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    // Names of settings have no case.
    let patterns: Vec<Vec<u8>> = request.args_from(2).map(<[u8]>::to_ascii_lowercase).collect();
    let (mut found, mut budget) = (Vec::new(), Budget::default());
    for (name, value) in context.router.services().settings.all() {
        match matches_any(name, &patterns, &mut budget) {
            Ok(false) => {}
            Ok(true) => found.push((Reply::Blob(as_asked(name, request).to_vec()), Reply::Text(value.into()))),
            Err(TooComplex) => return Reply::error("ERR pattern is too complex").into(),
        }
    }
    Reply::Map(found).into()
}

/// A setting that was asked for by its name is called as it was asked for.
fn as_asked<'a>(name: &'a str, request: &Request<'a>) -> &'a [u8] {
    request.args_from(2).find(|asked| asked.eq_ignore_ascii_case(name.as_bytes())).unwrap_or(name.as_bytes())
}

/// Writes what was changed into the configuration file.
fn rewrite<'a>(context: &mut Context<'_>, _: &Request<'a>) -> Answer<'a> {
    match context.router.services().settings.rewrite() {
        Ok(()) => Reply::OK,
        Err(error) => Reply::Error(format!("ERR {error}").into()),
    }
    .into()
}

/// Whether one of the patterns matches the name.
fn matches_any(name: &str, patterns: &[Vec<u8>], budget: &mut Budget) -> Result<bool, TooComplex> {
    for pattern in patterns {
        if Glob::new(pattern).matches(name.as_bytes(), budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn set<'a>(context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
    if !request.len().is_multiple_of(2) {
        return SYNTAX_ERROR.into();
    }
    let changes: Vec<_> =
        (2..request.len()).step_by(2).map(|place| (request.arg(place), request.arg(place + 1))).collect();
    let result = match twice(&changes) {
        Some(name) => {
            Err(SettingError { name: name.to_vec(), fault: SettingFault::Invalid("duplicate parameter".into()) })
        }
        None => context.router.services().settings.change(&changes),
    };
    match result {
        Ok(()) => Reply::OK,
        Err(error) => error.reply(),
    }
    .into()
}

/// A name that is given twice, as it is given the second time.
fn twice<'a>(changes: &[(&'a [u8], &'a [u8])]) -> Option<&'a [u8]> {
    let mut names: Vec<_> = changes.iter().map(|(name, _)| (name.to_ascii_lowercase(), *name)).collect();
    names.sort_by(|one, other| one.0.cmp(&other.0));
    names.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
}
