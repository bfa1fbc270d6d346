//! Commands about the connection itself.

use super::{Generator, Makers};
use crate::differential::command::Command;
use crate::differential::keyspace::one_of;

/// Nobody has such an identifier.
const NOBODY: &str = "1000000007";

const MAKERS: &Makers = &[
    (6, |g| {
        Command::line(one_of(&mut g.rng, &["PING", "PING hello", "PING a b", "ping", "ECHO x", "ECHO", "ECHO a b"]))
    }),
    (2, |g| {
        let value = g.value();
        let name = one_of(&mut g.rng, &["PING", "ECHO"]);
        Command::new(name).arg(value)
    }),
    (6, |g| {
        let database = g.database_text();
        Command::new("SELECT").arg(database)
    }),
    (12, |g| Command::line(one_of(&mut g.rng, NAMES))),
    (4, |g| Command::line("CLIENT SETNAME").arg(g.value_of_name())),
    (6, |g| {
        Command::line("CLIENT SETINFO")
            .arg(one_of(&mut g.rng, &["LIB-NAME", "lib-ver", "LIB-VER", "bogus"]))
            .arg(g.value_of_name())
    }),
    (10, |g| Command::line(one_of(&mut g.rng, LISTS))),
    (14, |g| Command::line(one_of(&mut g.rng, KILLS))),
    (16, |g| Command::line(one_of(&mut g.rng, SWITCHES))),
    (12, |g| Command::line(one_of(&mut g.rng, OTHERS))),
    (8, hello),
    (6, |g| Command::line(one_of(&mut g.rng, AUTHS))),
    (2, |g| Command::line(one_of(&mut g.rng, &["RESET", "RESET now"]))),
    (1, |g| Command::line(one_of(&mut g.rng, &["GET k1", "TTL k1", "SET k1 v"]))),
];

const NAMES: &[&str] = &[
    "CLIENT ID",
    "CLIENT ID x",
    "CLIENT GETNAME",
    "CLIENT GETNAME x",
    "CLIENT SETNAME worker",
    "CLIENT SETNAME",
    "CLIENT SETNAME a b",
    "CLIENT SETINFO LIB-NAME",
    "CLIENT SETINFO lib-name circlet",
    "CLIENT SETINFO LIB-VER 1.2.3",
    "CLIENT SETNAME other-worker",
];
const LISTS: &[&str] = &[
    "CLIENT INFO",
    "CLIENT INFO x",
    "CLIENT LIST",
    "CLIENT LIST TYPE normal",
    "CLIENT LIST TYPE pubsub",
    "CLIENT LIST TYPE replica",
    "CLIENT LIST TYPE bogus",
    "CLIENT LIST ID 1000000007",
    "CLIENT LIST ID 1000000007 1000000009",
    "CLIENT LIST ID x",
    "CLIENT LIST ID 0",
    "CLIENT LIST ID",
    "CLIENT LIST TYPE",
    "CLIENT LIST bogus",
    "CLIENT LIST NAME nobody",
    "CLIENT LIST USER nobody",
    "CLIENT LIST USER default ID 1000000007",
    "CLIENT LIST IDLE 1000000",
    "CLIENT LIST MAXAGE 1000000",
    "CLIENT LIST ADDR 1.2.3.4:5",
    "CLIENT LIST LADDR 1.2.3.4:5",
    "CLIENT LIST SKIPME maybe",
    "CLIENT LIST DB 99",
    "CLIENT LIST IP 1.2.3.4",
    "CLIENT LIST LIB-NAME none",
    "CLIENT LIST LIB-VER none",
    "CLIENT LIST FLAGS S",
    "CLIENT LIST FLAGS 7",
    "CLIENT LIST NAME nobody TYPE normal",
    "CLIENT LIST DB x",
    "CLIENT LIST IDLE x",
    "CLIENT LIST MAXAGE 0",
    "CLIENT LIST CAPA x",
    "CLIENT LIST CAPA r",
];
const KILLS: &[&str] = &[
    "CLIENT KILL",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT KILL bogus",
    "CLIENT KILL ID 1000000007",
    "CLIENT KILL ID x",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID -1",
    "CLIENT KILL ID",
    "CLIENT KILL ID 1000000007 1000000009",
    "CLIENT KILL ADDR 1.2.3.4:5",
    "CLIENT KILL LADDR 1.2.3.4:5",
    "CLIENT KILL TYPE pubsub",
    "CLIENT KILL TYPE bogus",
    "CLIENT KILL TYPE replica",
    "CLIENT KILL TYPE primary",
    "CLIENT KILL TYPE master",
    "CLIENT KILL USER nobody",
    "CLIENT KILL SKIPME maybe",
    "CLIENT KILL SKIPME yes ID 1000000007",
    "CLIENT KILL MAXAGE 1000000",
    "CLIENT KILL MAXAGE x",
    "CLIENT KILL MAXAGE -1",
    "CLIENT KILL BOGUS x",
    "CLIENT KILL ID 1000000007 TYPE",
    "CLIENT KILL ID 1000000007 TYPE normal",
    "CLIENT KILL TYPE normal ID 1000000007",
    "CLIENT KILL NAME nobody",
    "CLIENT KILL IDLE 1000000",
    "CLIENT KILL FLAGS S",
    "CLIENT KILL DB 99",
    "CLIENT KILL LIB-NAME none",
    "CLIENT KILL LIB-VER none",
    "CLIENT KILL IP 1.2.3.4",
    "CLIENT KILL CAPA r ID 1000000007",
    "CLIENT KILL IDLE x",
];
const SWITCHES: &[&str] = &[
    "CLIENT NO-EVICT on",
    "CLIENT NO-EVICT off",
    "CLIENT NO-EVICT maybe",
    "CLIENT NO-EVICT",
    "CLIENT NO-TOUCH ON",
    "CLIENT NO-TOUCH off",
    "CLIENT NO-TOUCH x",
    "CLIENT NO-TOUCH",
    "CLIENT REPLY",
    "CLIENT REPLY maybe",
    "CLIENT REPLY ON",
    "CLIENT REPLY on off",
    "CLIENT PAUSE 1",
    "CLIENT PAUSE 1 WRITE",
    "CLIENT PAUSE 2 all",
    "CLIENT PAUSE 1 bogus",
    "CLIENT PAUSE x",
    "CLIENT PAUSE -1",
    "CLIENT PAUSE",
    "CLIENT PAUSE 0",
    "CLIENT PAUSE 9223372036854775808",
    "CLIENT PAUSE 1 ALL x",
    "CLIENT UNPAUSE",
    "CLIENT UNPAUSE x",
];
const OTHERS: &[&str] = &[
    "CLIENT UNBLOCK 1000000007",
    "CLIENT UNBLOCK 1000000007 TIMEOUT",
    "CLIENT UNBLOCK 1000000007 error",
    "CLIENT UNBLOCK 1000000007 bogus",
    "CLIENT UNBLOCK x",
    "CLIENT UNBLOCK",
    "CLIENT UNBLOCK 0 TIMEOUT x",
    "CLIENT GETREDIR",
    "CLIENT GETREDIR x",
    "CLIENT TRACKINGINFO",
    "CLIENT TRACKINGINFO x",
    "CLIENT TRACKING off",
    "CLIENT TRACKING off NOLOOP",
    "CLIENT TRACKING bogus",
    "CLIENT TRACKING on bogus",
    "CLIENT TRACKING on PREFIX a",
    "CLIENT TRACKING on BCAST OPTIN",
    "CLIENT TRACKING on OPTIN OPTOUT",
    "CLIENT TRACKING on REDIRECT x",
    "CLIENT TRACKING off REDIRECT 1000000007",
    "CLIENT TRACKING off REDIRECT",
    "CLIENT CAPA redirect",
    "CLIENT CAPA",
    "CLIENT CAPA bogus",
    "CLIENT CAPA redirect bogus",
    "CLIENT HELP",
    "CLIENT HELP x",
    "CLIENT",
    "CLIENT bogus",
    "CLIENT bogus x y",
    "CLIENT CACHING YES",
    "CLIENT CACHING x",
];
const AUTHS: &[&str] =
    &["AUTH", "AUTH x", "AUTH default x", "AUTH nobody x", "AUTH a b c", "AUTH default", "AUTH DEFAULT x"];

impl Generator {
    /// A number of commands, among them some that are not answered; now and then the connection ends.
    pub(super) fn connection(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        for _ in 0..self.rng.usize(10..50) {
            match self.rng.u8(..30) {
                0 if !self.left_out.contains("CLIENT|REPLY") => self.muted(&mut commands),
                1 if !self.left_out.contains("CLIENT|REPLY") => {
                    commands.push(Command::line("CLIENT REPLY SKIP").silent());
                    commands.push(Command::line("PING unheard").silent());
                }
                _ => commands.push(self.pick(MAKERS)),
            }
        }
        if self.rng.u8(..8) == 0 {
            commands
                .push(Command { closes: true, ..Command::line(one_of(&mut self.rng, &["QUIT", "quit", "QUIT now"])) });
        }
        commands
    }

    /// Commands between `OFF` and `ON`.
    fn muted(&mut self, commands: &mut Vec<Command>) {
        commands.push(Command::line("CLIENT REPLY OFF").silent());
        for _ in 0..self.rng.usize(..4) {
            let line = one_of(
                &mut self.rng,
                &["PING", "ECHO unheard", "CLIENT SETNAME muted", "bogus", "CLIENT REPLY SKIP", "GET", "SELECT 0"],
            );
            commands.push(Command::line(line).silent());
        }
        commands.push(Command::line("CLIENT REPLY ON"));
    }

    /// What a client may call itself, and may not.
    fn value_of_name(&mut self) -> Vec<u8> {
        match self.rng.u8(..4) {
            0 => self.value().into_iter().take(2000).collect(),
            1 => one_of(&mut self.rng, &["", "with space", "line\r\nend", "\u{e9}", "~", "!"]).into(),
            _ => one_of(&mut self.rng, &["a", "worker-1", "lib(x;y=z)", "1.0"]).into(),
        }
    }
}

fn hello(g: &mut Generator) -> Command {
    if g.rng.u8(..3) == 0 {
        return Command::line(one_of(
            &mut g.rng,
            &[
                "HELLO",
                "HELLO x",
                "HELLO 1",
                "HELLO 4",
                "HELLO 3 bogus",
                "HELLO 2 AUTH x",
                "HELLO -1",
                "HELLO 3 SETNAME",
            ],
        ));
    }
    let command = Command::new("HELLO").arg(one_of(&mut g.rng, &["2", "3", "3"]));
    let groups = [
        vec!["SETNAME".into(), g.value_of_name()],
        vec!["AUTH".into(), "default".into(), "x".into()],
        vec!["AUTH".into(), "nobody".into(), "x".into()],
        vec!["SETNAME".into(), NOBODY.into()],
    ];
    g.with_options(command, &groups)
}
