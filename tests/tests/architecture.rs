//! The arrows between crates and modules, read from the sources. Who wants another arrow changes a line here and says
//! why in ARCHITECTURE.md.

// The lint knows tests, not their helpers.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What each module of the server names of the others, its tests aside; what stands here and is not named is a mistake
/// as well. Left out are the modules that wire everything together.
const MODULES: [(&str, &[&str]); 15] = [
    ("types", &[]),
    ("resp", &[]),
    ("routes", &[]),
    ("metrics", &[]),
    ("watch", &["types"]),
    ("config", &["types"]),
    ("admin", &["logging"]),
    ("store", &["clock", "types"]),
    ("peer", &["clock", "config", "listeners", "logging"]),
    ("replica", &["clock", "peer", "store"]),
    ("topology", &["resp", "session"]),
    // Of the store a command knows the one slot that it was lent, of the router who answers questions about the cluster.
    ("command", &["clients", "resp", "router", "services", "session", "store", "topology", "types", "watch"]),
    // What nodes tell each other of an entry says of what kind it is.
    ("forward", &["command", "resp", "router", "routes", "session", "store", "types"]),
    (
        "router",
        &[
            "clients", "clock", "command", "forward", "orders", "process", "replica", "resp", "routes", "services",
            "session", "store", "topology", "types", "watch",
        ],
    ),
    ("control", &["clock", "config", "forward", "life", "orders", "peer", "replica", "routes", "store", "topology"]),
];

/// Crates whose types stay behind a border: only files under these paths name them.
const BORDERS: [(&str, &[&str]); 8] = [
    ("tonic", &["server/src/peer/"]),
    ("prost", &["server/src/peer/"]),
    ("tonic_prost", &["server/src/peer/"]),
    ("hdrhistogram", &["server/src/metrics.rs"]),
    ("redis_protocol", &["server/src/resp/"]),
    ("clap", &["server/src/config/command_line.rs", "server/src/config/typed.rs"]),
    ("toml", &["server/src/config/"]),
    ("toml_edit", &["server/src/config/rewrite.rs"]),
];

#[test]
fn ring_can_do_no_io() {
    let manifest = fs::read_to_string(root().join("ring/Cargo.toml")).unwrap();
    assert_eq!(section(&manifest, "[dependencies]"), ["xxhash-rust.workspace = true"]);
    assert_eq!(section(&manifest, "[build-dependencies]"), [""; 0]);
    let lib = fs::read_to_string(root().join("ring/src/lib.rs")).unwrap();
    assert!(lib.lines().any(|line| line == "#![no_std]"));
    for (path, code) in sources("ring/src") {
        assert!(!names(&code, "std"), "{path} names std");
        assert!(!code.contains("extern crate") || path == "ring/src/lib.rs", "{path} brings a crate in");
    }
}

#[test]
fn the_client_knows_the_ring_and_not_the_server() {
    let manifest = fs::read_to_string(root().join("client/Cargo.toml")).unwrap();
    assert!(section(&manifest, "[dependencies]").iter().all(|line| !line.contains("server")));
}

#[test]
fn a_module_of_the_server_names_what_it_may() {
    for (module, expected) in MODULES {
        let prefix = format!("server/src/{module}");
        let mut named = BTreeSet::new();
        for (path, code) in sources("server/src") {
            let inside = path == format!("{prefix}.rs") || path.starts_with(&format!("{prefix}/"));
            if inside {
                named.extend(modules_named(&code));
            }
        }
        named.remove(module);
        let expected: BTreeSet<String> = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(named, expected, "{module}");
    }
}

#[test]
fn of_the_store_a_command_knows_the_slot_that_it_was_lent() {
    for (path, code) in sources("server/src/command") {
        let named: Vec<&str> =
            code.match_indices("store::").map(|(at, _)| word(&code[at + "store::".len()..])).collect();
        assert!(named.iter().all(|&name| name == "SlotTxn"), "{path} names {named:?} of the store");
    }
}

#[test]
fn crates_stay_behind_their_borders() {
    for (name, borders) in BORDERS {
        let naming: Vec<String> =
            all_sources("server/src").into_iter().filter(|(_, code)| names(code, name)).map(|(path, _)| path).collect();
        for path in &naming {
            assert!(borders.iter().any(|border| path.starts_with(border)), "{path} names {name}");
        }
    }
    // The search finds what is there.
    assert!(sources("server/src/peer").iter().any(|(_, code)| names(code, "tonic")));
}

#[test]
fn what_is_code_is_told_from_what_is_said_about_it() {
    let text = "use crate::{\n    clock::Clock, // crate::peer\n    store::{Mark, Store},\n};\nfn f() { crate::types::g() }\n\
                #[cfg(test)]\nmod tests {\n    use crate::peer;\n}\n";
    let code = code_of(text);
    assert_eq!(modules_named(&code), BTreeSet::from(["clock".into(), "store".into(), "types".into()]));
    assert!(names("use tonic::Status;", "tonic") && names("tonic :: Status", "tonic"));
    assert!(!names("monotonic::us", "tonic") && !names("tonics::x", "tonic") && !names("a.tonic()", "tonic"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The lines of a section of a manifest.
fn section(manifest: &str, head: &str) -> Vec<String> {
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The sources below a folder that are no tests: their paths in the repository, and their code.
fn sources(folder: &str) -> Vec<(String, String)> {
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("/tests.rs");
    all_sources(folder).into_iter().filter(|(path, _)| !is_test(path)).collect()
}

/// All sources below a folder.
fn all_sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                found.push((shown, code_of(&fs::read_to_string(&path).unwrap())));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// A source without comments and without the tests at its end.
fn code_of(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = before_tests.lines().map(|line| line.split("//").next().unwrap());
    code.collect::<Vec<_>>().join("\n")
}

/// The modules that follow a `crate::`, those in braces included.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => named.extend(outermost(list)),
            None => drop(named.insert(word(rest).to_owned())),
        }
    }
    // What is written in capitals is a constant of the crate and no module.
    named.retain(|name| name.chars().any(char::is_lowercase));
    named
}

/// The first word of each item of a list in braces, of which the opening one is gone.
fn outermost(list: &str) -> Vec<String> {
    let (mut depth, mut item, mut items) = (0, String::new(), Vec::new());
    for char in list.chars() {
        match char {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(char),
            _ => {}
        }
    }
    items.push(item);
    items.iter().map(|item| word(item.trim()).to_owned()).filter(|item| !item.is_empty()).collect()
}

fn word(text: &str) -> &str {
    let end = text.find(|char: char| !(char.is_alphanumeric() || char == '_')).unwrap_or(text.len());
    &text[..end]
}

/// Whether the code names a path of this crate.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let behind = code[at + name.len()..].trim_start();
        !before.is_some_and(|char| char.is_alphanumeric() || "_.\"".contains(char)) && behind.starts_with("::")
    })
}
