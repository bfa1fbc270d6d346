//! Results of long runs: one JSON object a line, appended as they come, each with the tree of the code that it is about. A
//! run that was interrupted goes on where it was, and what was measured before a change does not count after it.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{self, Command},
};

use serde_json::Value;

/// A file of results.
#[derive(Clone, Debug)]
pub struct Results {
    path: PathBuf,
    tree: String,
    lines: Vec<Value>,
}

impl Results {
    /// Reads the file, if there is one. What is appended is about the code as it lies here now, which should be the code
    /// that runs.
    pub fn open(path: &Path) -> io::Result<Results> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        // The last line may have been cut off with the run that wrote it.
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Results { path: path.to_owned(), tree: tree()?, lines })
    }

    /// The tree of the code.
    pub fn tree(&self) -> &str {
        &self.tree
    }

    /// The results of this kind for this tree.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.lines.iter().filter(move |line| line["kind"] == kind && line["tree"] == *self.tree)
    }

    /// Appends a result.
    pub fn append(&mut self, kind: &str, mut line: Value) -> io::Result<()> {
        line["kind"] = kind.into();
        line["tree"] = self.tree.as_str().into();
        let text = fs::read(&self.path).unwrap_or_default();
        let gap = if text.last().is_none_or(|&last| last == b'\n') { "" } else { "\n" };
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(format!("{gap}{line}\n").as_bytes())?;
        self.lines.push(line);
        Ok(())
    }
}

/// The hash that git gives to everything here, committed or not, but for what only people read.
fn tree() -> io::Result<String> {
    let index = env::temp_dir().join(format!("circlet-tree-{}", process::id()));
    let git = |arguments: &[&str]| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let output = Command::new("git").args(["-C", root]).args(arguments).env("GIT_INDEX_FILE", &index).output()?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    };
    let added = git(&["add", "--all", "--", ".", ":!docs", ":!*.md"]);
    let tree = added.and_then(|_| git(&["write-tree"]));
    // It is ours, and nobody misses it.
    let _ = fs::remove_file(&index);
    tree
}
