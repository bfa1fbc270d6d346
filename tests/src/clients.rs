//! The work that every real client does while nodes come and go, the same in each language (`tests/clients`).
//!
//! A client writes a few hundred keys round after round and reads each back. It prints `working` after the first
//! round, goes on until its standard input ends, reads everything once more and prints what it counted. It retries
//! nothing; that a connection which the server closed between commands is made again elsewhere is its own matter.

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const KEYS: u32 = 300;
const MAX_EXAMPLES: u32 = 5;

/// One command, as the client is asked to send it.
#[derive(Debug)]
pub enum Call<'a> {
    /// SET; its reply's value is not looked at.
    Set(&'a str, &'a str),
    /// GET
    Get(&'a str),
}

/// The addresses in an environment variable, comma separated.
pub fn addresses(variable: &str) -> Vec<String> {
    let list = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} lists the nodes"));
    list.split(',').map(str::to_owned).collect()
}

/// Does the work with this client.
pub fn work(name: &str, call: impl FnMut(Call<'_>) -> Result<Option<String>, String>) -> ExitCode {
    let over = over();
    let mut worker = Worker { name, call, commands: 0, errors: 0 };
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        round += 1;
        (0..KEYS).for_each(|key| worker.write(key, round));
        (0..KEYS).for_each(|key| worker.read(key, round));
        if round == 1 {
            println!("working");
        }
    }
    (0..KEYS).for_each(|key| worker.read(key, round));
    println!("{name}: {} commands, {} errors", worker.commands, worker.errors);
    if worker.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Worker<'a, C> {
    name: &'a str,
    call: C,
    commands: u64,
    errors: u32,
}

impl<C: FnMut(Call<'_>) -> Result<Option<String>, String>> Worker<'_, C> {
    fn write(&mut self, key: u32, round: u32) {
        let (key, value) = (self.key(key), value(key, round));
        self.commands += 1;
        if let Err(error) = (self.call)(Call::Set(&key, &value)) {
            self.error(&format!("SET {key}: {error}"));
        }
    }

    fn read(&mut self, key: u32, round: u32) {
        let (key, expected) = (self.key(key), value(key, round));
        self.commands += 1;
        match (self.call)(Call::Get(&key)) {
            Ok(Some(read)) if read == expected => {}
            Ok(read) => self.error(&format!("GET {key}: {read:?} instead of {expected:?}")),
            Err(error) => self.error(&format!("GET {key}: {error}")),
        }
    }

    fn key(&self, key: u32) -> String {
        format!("{}:{key}", self.name)
    }

    fn error(&mut self, words: &str) {
        self.errors += 1;
        if self.errors <= MAX_EXAMPLES {
            eprintln!("{}: {words}", self.name);
        }
    }
}

fn value(key: u32, round: u32) -> String {
    format!("{key} in round {round}")
}

/// True as soon as standard input has ended.
fn over() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    thread::spawn(move || {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        flag.store(true, Ordering::Relaxed);
    });
    over
}
