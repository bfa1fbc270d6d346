//! The file of acknowledged versions, so that one run can verify what another one wrote.
//!
//! ```text
//! circlet-bench 1
//! prefix key:
//! run 1700000000000
//! keys 100000
//! value-size 64
//! 0 3 2 51234        key number, last version issued, last acknowledged, when (ms since the run began)
//! ```
//! Keys that were never issued are left out.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::keyspace::Keyspace;
use super::options::Options;

const FIRST_LINE: &str = "circlet-bench 1";

/// Writes the file anew; a reader sees the old one or the new one.
pub(super) fn write(path: &Path, keyspace: &Keyspace) -> Result<(), String> {
    let explain = |error| format!("--state {}: {error}", path.display());
    let beside = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&beside).map_err(explain)?);
    write_to(&mut out, keyspace).and_then(|()| out.flush()).map_err(explain)?;
    fs::rename(&beside, path).map_err(explain)
}

/// Reads the file; prefix, number of keys and value size are the file's.
pub(super) fn read(path: &Path, options: &Options) -> Result<Arc<Keyspace>, String> {
    let explain = |problem: String| format!("--state {}: {problem}", path.display());
    let file = File::open(path).map_err(|error| explain(error.to_string()))?;
    let keyspace = read_from(BufReader::new(file)).map_err(explain)?;
    if (keyspace.keys() as usize) < options.connections {
        return Err(explain("has fewer keys than there are --connections".to_owned()));
    }
    Ok(Arc::new(keyspace))
}

fn write_to(out: &mut impl Write, keyspace: &Keyspace) -> std::io::Result<()> {
    writeln!(out, "{FIRST_LINE}")?;
    writeln!(out, "prefix {}", keyspace.prefix)?;
    writeln!(out, "run {}\nkeys {}\nvalue-size {}", keyspace.run, keyspace.keys(), keyspace.value_size)?;
    for key in 0..keyspace.keys() {
        let cell = keyspace.cell(key);
        let issued = cell.issued.load(Ordering::Acquire);
        if issued > 0 {
            let (acked, at_ms) = (cell.acked.load(Ordering::Acquire), cell.acked_at_ms.load(Ordering::Relaxed));
            writeln!(out, "{key} {issued} {acked} {at_ms}")?;
        }
    }
    Ok(())
}

fn read_from(input: impl BufRead) -> Result<Keyspace, String> {
    let mut lines = input.lines().map(|line| line.map_err(|error| error.to_string()));
    let mut next = || lines.next().unwrap_or_else(|| Err("ends too early".to_owned()));
    if next()? != FIRST_LINE {
        return Err("is not a state file of circlet-bench".to_owned());
    }
    let prefix: String = field(&next()?, "prefix")?;
    let run = field(&next()?, "run")?;
    let keys = field(&next()?, "keys")?;
    let mut keyspace = Keyspace::new(&prefix, keys, field(&next()?, "value-size")?);
    keyspace.run = run;
    for line in lines {
        let line = line?;
        cell(&keyspace, &line).ok_or_else(|| format!("'{line}' is not a key's line"))?;
    }
    Ok(keyspace)
}

fn field<T: FromStr>(line: &str, name: &str) -> Result<T, String> {
    line.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("'{line}' is not a valid '{name}'"))
}

fn cell(keyspace: &Keyspace, line: &str) -> Option<()> {
    let numbers: Vec<u32> = line.split(' ').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let [key, issued, acked, at_ms] = numbers[..] else { return None };
    if key >= keyspace.keys() || acked > issued {
        return None;
    }
    let cell = keyspace.cell(key);
    cell.issued.store(issued, Ordering::Relaxed);
    cell.acked.store(acked, Ordering::Relaxed);
    cell.acked_at_ms.store(at_ms, Ordering::Relaxed);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let keyspace = Keyspace::new("a key:", 100, 64);
        for key in [0, 7, 99] {
            keyspace.issue(key);
            let version = keyspace.issue(key);
            keyspace.acknowledge(key, version - 1, keyspace.run + 1234);
        }
        let mut file = Vec::new();
        write_to(&mut file, &keyspace).expect("a vector takes every write");
        let read = read_from(&file[..]).expect("valid");
        assert_eq!((read.prefix.as_str(), read.run, read.value_size), ("a key:", keyspace.run, 64));
        assert_eq!((read.acked(7), read.issue(7), read.acked(8)), (1, 3, 0));
        assert_eq!(read.cell(99).acked_at_ms.load(Ordering::Relaxed), 1234);
    }

    #[test]
    fn a_bad_file_is_refused_with_the_reason() {
        let head = "circlet-bench 1\nprefix k\nrun 5\nkeys 10\nvalue-size 64\n";
        for (text, reason) in [
            ("", "too early"),
            ("hello\n", "not a state file"),
            ("circlet-bench 1\nprefix k\nrun x\n", "'run'"),
            (&format!("{head}10 1 1 0\n"), "'10 1 1 0'"),
            (&format!("{head}1 1 2 0\n"), "'1 1 2 0'"),
            (&format!("{head}1 1\n"), "'1 1'"),
        ] {
            let problem = read_from(text.as_bytes()).err().expect("refused");
            assert!(problem.contains(reason), "{text:?}: {problem}");
        }
    }
}
