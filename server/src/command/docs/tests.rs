//! The descriptions beside the table, and the list of commands for people that is made of both.

use std::{collections::BTreeSet, env, fmt::Write, fs, path::Path};

use super::*;
use crate::command::{Command, Keys, Table};

/// All commands of Valkey 9.1.
const VALKEY: &str = include_str!("valkey.txt");

/// Set to have the list written and not compared.
const WRITE: &str = "CIRCLET_WRITE_COMMANDS";

#[test]
fn every_command_is_described() {
    let there: BTreeSet<_> = Table::of_node().all().iter().map(|command| command.name).collect();
    let described: BTreeSet<_> = all().keys().copied().collect();
    assert_eq!(there, described);
}

#[test]
fn the_table_agrees_with_the_descriptions() {
    let differing: Vec<String> = Table::of_node().all().iter().filter_map(|command| difference(command)).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

/// In what a row differs from its description.
fn difference(command: &Command) -> Option<String> {
    let name = command.name;
    let described = of(name)?;
    let flags: Vec<_> = command.all_flags().words().collect();
    // Of several specifications, one key each, the table names the first and the last.
    let ranges = || described.keys.iter().map(KeySpec::range).filter(|range| range.0 > 0);
    let (first, last) = (ranges().next(), ranges().next_back());
    let range = first.zip(last).map_or((0, 0, 0), |((first, _, step), (_, last, _))| (first, last, step));
    let range = if matches!(command.keys, Keys::Counted { .. }) { (0, 0, 0) } else { range };
    let row = (command.arity, flags, command.keys.range());
    let wanted = (described.arity, described.flags.clone(), range);
    (row != wanted).then(|| format!("{name} is {row:?}, described as {wanted:?}"))
}

#[test]
fn every_description_is_whole() {
    for (name, described) in all() {
        assert!(described.summary.ends_with('.') && described.summary.len() < 110, "{name}: {}", described.summary);
        assert!(described.since.split('.').count() == 3, "{name}: {}", described.since);
        assert!(described.categories.iter().all(|category| category.starts_with('@')), "{name}");
        let keys = arguments::parse(described.arguments);
        assert!(
            described.arity.unsigned_abs() > 1
                || keys.iter().all(|argument| arguments::usage(std::slice::from_ref(argument)).starts_with('['))
        );
        let container = name.split('|').next().and_then(of);
        assert_eq!(container.map(|container| container.group), Some(described.group), "{name}");
    }
    assert!(all().len() > 140, "{}", all().len());
}

#[test]
fn help_lists_the_subcommands_that_there_are() {
    let (_, command) = Table::of_node().find(b"config").unwrap();
    let Reply::Array(lines) = help(command) else { panic!("lines") };
    let lines: Vec<_> = lines.iter().map(|line| matches!(line, Reply::Simple(text) if !text.is_empty())).collect();
    assert_eq!((lines.len(), lines.iter().all(|&is_text| is_text)), (1 + 2 * command.subcommands.len(), true));
}

#[test]
fn the_list_for_people_is_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("COMMANDS.md");
    let list = list();
    if env::var_os(WRITE).is_some() {
        fs::write(&file, &list).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == list, "COMMANDS.md is not what the table says: run this test with {WRITE}=1");
}

/// One command of Valkey.
struct Known {
    name: &'static str,
    since: &'static str,
    group: &'static str,
    /// Why it is not there, or what of it is not.
    remark: &'static str,
}

fn known() -> Vec<Known> {
    let (mut known, mut group, mut usual) = (Vec::new(), "", "");
    for line in VALKEY.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (first, rest) = line.split_once(' ').expect("a name, and something behind it");
        if let Some(name) = first.strip_suffix(':') {
            (group, usual) = (name, rest);
            continue;
        }
        let (since, own) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_there = Table::of_node().find_full(first.as_bytes()).is_some();
        let remark = if own.is_empty() && !is_there { usual } else { own };
        known.push(Known { name: first, since, group, remark });
    }
    known
}

fn list() -> String {
    let known = known();
    let of_valkey: BTreeSet<_> = known.iter().map(|one| one.name).collect();
    let here = known.iter().filter(|one| Table::of_node().find_full(one.name.as_bytes()).is_some()).count();
    let mut text = format!(
        "# Commands\n\nMade of the table of commands by a test (`{WRITE}=1 cargo test -p circlet-server the_list_for_people`).\n\n\
         Of the {} commands and subcommands of Valkey 9.1, {here} are here.\n",
        known.len()
    );
    let mut group = "";
    for one in &known {
        if one.group != group {
            group = one.group;
            let _ = write!(text, "\n## {group}\n\n| command | since | here |\n|---|---|---|\n");
        }
        let is_there = Table::of_node().find_full(one.name.as_bytes()).is_some();
        let state = match (is_there, one.remark.strip_prefix("partly: ")) {
            (true, None) => "yes".to_owned(),
            (true, Some(what)) => format!("partly: {what}"),
            (false, _) => format!("no, {}", one.remark),
        };
        let _ = writeln!(text, "| {} | {} | {state} |", shown(one.name), one.since);
    }
    text.push_str("\n## Circlet's own\n\n| command | what it does |\n|---|---|\n");
    for command in Table::of_node().all().iter().filter(|command| !of_valkey.contains(command.name)) {
        let summary = of(command.name).map_or("", |described| described.summary);
        let _ = writeln!(text, "| {} | {summary} |", shown(command.name));
    }
    text
}

fn shown(name: &str) -> String {
    name.replace('|', " ").to_ascii_uppercase()
}
