//! Replies with a structure of their own, compared as far as they have to agree.

use std::collections::{BTreeMap, BTreeSet};

use super::differences::Case;
use super::reply::Reply;

/// Fields of `CLIENT INFO` whose values agree.
const AGREED_FIELDS: [&str; 12] =
    ["name", "db", "sub", "psub", "ssub", "multi", "watch", "cmd", "user", "resp", "lib-name", "lib-ver"];
/// Settings that the run changes, or that mean the same everywhere.
const AGREED_SETTINGS: [&str; 8] = [
    "maxmemory",
    "maxmemory-policy",
    "slowlog-max-len",
    "slowlog-log-slower-than",
    "latency-monitor-threshold",
    "databases",
    "appendonly",
    "save",
];

/// Commands that Valkey does not have.
const OWN_COMMANDS: [&str; 5] =
    ["cluster|explain", "cluster|freshness", "cluster|plan", "cluster|ring", "cluster|verify"];

/// A text that a reply holds.
fn text(reply: &Reply) -> Option<String> {
    reply.as_text().map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The pairs of a map, or of an array in its place.
fn pairs(reply: &Reply) -> Option<BTreeMap<String, Reply>> {
    let elements = reply.as_many()?;
    elements.chunks(2).map(|pair| Some((text(pair.first()?)?, pair.get(1)?.clone()))).collect()
}

pub(super) fn help_texts(case: &Case<'_>) -> bool {
    let is_help = |reply: &Reply| match reply {
        Reply::Many(b'*', lines) => lines.len() > 1 && lines.iter().all(|line| line.kind() == b'+'),
        _ => false,
    };
    is_help(case.ours) && is_help(case.theirs)
}

/// The fields of each line. An empty value is one too.
fn client_lines(reply: &Reply) -> Option<Vec<Vec<(String, String)>>> {
    let text = text(reply)?;
    let fields = |line: &str| {
        line.split(' ').map(|field| field.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect()
    };
    text.lines().map(fields).collect()
}

pub(super) fn client_fields_agree(case: &Case<'_>) -> bool {
    let (Some(mut ours), Some(mut theirs)) = (client_lines(case.ours), client_lines(case.theirs)) else { return false };
    let names = |line: &[(String, String)]| line.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let wanted = theirs.first().map(|line| names(line));
    if case.ours.kind() != case.theirs.kind() || ours.iter().any(|line| Some(names(line)) != wanted) {
        return false;
    }
    // On several nodes each has its own clients.
    if case.nodes > 1 && case.command.word(1) == "LIST" {
        return ours.is_empty() == theirs.is_empty();
    }
    // Whom the kernel has let in is a client when the server looks, which is soon, and not yet known to have said anything.
    let has = |line: &[(String, String)], name: &str, value: &str| line.iter().any(|(n, v)| n == name && v == value);
    let is_new = |line: &[(String, String)]| has(line, "tot-cmds", "0") && has(line, "cmd", "NULL");
    for lines in [&mut ours, &mut theirs] {
        lines.retain(|line| !is_new(line));
        lines.iter_mut().for_each(|line| line.retain(|(name, _)| AGREED_FIELDS.contains(&name.as_str())));
        lines.sort();
    }
    ours == theirs
}

pub(super) fn hello_agrees(case: &Case<'_>) -> bool {
    let (Some(ours), Some(theirs)) = (pairs(case.ours), pairs(case.theirs)) else { return false };
    let same = |field: &str| ours.contains_key(field) && ours.get(field) == theirs.get(field);
    case.ours.kind() == case.theirs.kind()
        && ours.keys().eq(theirs.keys())
        && ["proto", "mode", "role"].into_iter().all(same)
}

/// Everything of an entry that does not depend on when and where it was executed.
pub(super) fn logs_agree(case: &Case<'_>) -> bool {
    let entries = |reply: &Reply| -> Option<Vec<(Reply, usize, Vec<u8>)>> {
        let entries = reply.as_many()?.iter().map(|entry| {
            let parts = entry.as_many()?;
            Some((parts.get(3)?.clone(), parts.len(), parts.iter().map(Reply::kind).collect()))
        });
        entries.collect()
    };
    entries(case.ours).is_some() && entries(case.ours) == entries(case.theirs)
}

fn names(reply: &Reply) -> Option<BTreeSet<String>> {
    reply.as_many()?.iter().map(text).collect()
}

pub(super) fn subset_of_known(case: &Case<'_>) -> bool {
    let (Some(ours), Some(theirs)) = (names(case.ours), names(case.theirs)) else { return false };
    let expected: BTreeSet<String> = theirs.intersection(case.known).cloned().collect();
    let own = |name: &&String| !OWN_COMMANDS.contains(&name.as_str());
    case.ours.kind() == case.theirs.kind() && ours.iter().filter(own).eq(&expected)
}

/// The descriptions of `COMMAND INFO`, by name.
pub(super) fn documented_alike(case: &Case<'_>) -> bool {
    let (Some(ours), Some(theirs)) = (case.ours.as_many(), case.theirs.as_many()) else { return false };
    if case.command.arguments.len() > 2 {
        // In the order asked.
        let same = |(ours, theirs): (&Reply, &Reply)| described_alike(ours, theirs, case.known);
        return ours.len() == theirs.len() && ours.iter().zip(theirs).all(same);
    }
    let by_name = |replies: &[Reply]| -> BTreeMap<String, Reply> {
        replies.iter().filter_map(|reply| Some((text(reply.as_many()?.first()?)?, reply.clone()))).collect()
    };
    let theirs = by_name(theirs);
    let same = |(name, ours): (String, Reply)| {
        theirs.get(&name).is_some_and(|theirs| described_alike(&ours, theirs, case.known))
    };
    by_name(ours).into_iter().all(same)
}

fn described_alike(ours: &Reply, theirs: &Reply, known: &BTreeSet<String>) -> bool {
    if ours == theirs {
        return true;
    }
    let name = theirs.as_many().and_then(|parts| text(parts.first()?));
    if name.is_some_and(|name| !known.contains(&name)) {
        return ours.is_null();
    }
    let (Some(ours), Some(theirs)) = (ours.as_many(), theirs.as_many()) else { return false };
    let set = |reply: &Reply| -> Option<(u8, BTreeSet<Reply>)> {
        Some((reply.kind(), reply.as_many()?.iter().cloned().collect()))
    };
    let alike = |place: usize| match (&ours[place], &theirs[place]) {
        (one, other) if matches!(place, 2 | 6 | 7) => set(one).is_some() && set(one) == set(other),
        (one, other) if place == 8 => without_notes(one) == without_notes(other),
        (one, other) if place == 9 => subcommands_alike(one, other, known),
        (one, other) => one == other,
    };
    ours.len() == theirs.len() && (0..ours.len()).all(alike)
}

/// Key specifications without the remarks for people, which are texts of each server's own.
fn without_notes(specifications: &Reply) -> Option<Vec<BTreeMap<String, Reply>>> {
    let specifications = specifications.as_many()?.iter().map(pairs);
    let without = specifications.map(|specification| {
        specification.map(|mut fields| {
            fields.remove("notes");
            fields
        })
    });
    without.collect()
}

fn subcommands_alike(ours: &Reply, theirs: &Reply, known: &BTreeSet<String>) -> bool {
    let (Some(ours), Some(theirs)) = (ours.as_many(), theirs.as_many()) else { return false };
    let is_own = |ours: &Reply| {
        let name = ours.as_many().and_then(|parts| text(parts.first()?));
        name.is_some_and(|name| OWN_COMMANDS.contains(&name.as_str()))
    };
    let found = |ours: &Reply| theirs.iter().any(|theirs| !ours.is_null() && described_alike(ours, theirs, known));
    ours.iter().all(|ours| is_own(ours) || found(ours))
}

pub(super) fn docs_agree(case: &Case<'_>) -> bool {
    let (Some(ours), Some(theirs)) = (pairs(case.ours), pairs(case.theirs)) else { return false };
    let expected = theirs.iter().filter(|(name, _)| case.known.contains(*name));
    case.ours.kind() == case.theirs.kind()
        && ours.keys().eq(expected.clone().map(|(name, _)| name))
        && expected.into_iter().all(|(name, theirs)| ours.get(name).is_some_and(|ours| doc_agrees(ours, theirs)))
}

fn doc_agrees(ours: &Reply, theirs: &Reply) -> bool {
    let (Some(ours), Some(theirs)) = (pairs(ours), pairs(theirs)) else { return false };
    let needed = ["summary", "since", "group"].iter().all(|field| ours.contains_key(*field));
    let agreed = ["since", "group"].iter().all(|field| ours.get(*field) == theirs.get(*field));
    needed
        && agreed
        && ours.iter().all(|(field, value)| theirs.get(field).is_some_and(|theirs| theirs.kind() == value.kind()))
}

/// The headings and the lines of `INFO`.
fn sections(reply: &Reply) -> Option<(BTreeSet<String>, bool)> {
    let text = text(reply)?;
    let headings = text.lines().filter_map(|line| line.strip_prefix("# ")).map(str::to_owned).collect();
    let well_formed = text.split("\r\n").all(|line| line.is_empty() || line.starts_with("# ") || line.contains(':'));
    Some((headings, well_formed && !text.replace("\r\n", "").contains('\n')))
}

pub(super) fn info_agrees(case: &Case<'_>) -> bool {
    let (Some((ours, well_formed)), Some((theirs, _))) = (sections(case.ours), sections(case.theirs)) else {
        return false;
    };
    let asks_for_all = case.command.arguments.len() == 1
        || ["ALL", "EVERYTHING", "DEFAULT"].iter().any(|section| case.command.has(section));
    case.ours.kind() == case.theirs.kind()
        && well_formed
        && (asks_for_all || ours.is_subset(&theirs))
        && (theirs.is_empty() || !ours.is_empty())
}

pub(super) fn settings_agree(case: &Case<'_>) -> bool {
    let (Some(ours), Some(theirs)) = (pairs(case.ours), pairs(case.theirs)) else { return false };
    let agree = |name: &&str| ours.get(*name) == theirs.get(*name);
    case.ours.kind() == case.theirs.kind() && AGREED_SETTINGS.iter().all(agree)
}
