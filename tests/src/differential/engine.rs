//! Sends the same to both servers, compares the replies, and makes both equal again when they were not.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::SocketAddr;

use super::Options;
use super::command::Command;
use super::differences::Case;
use super::generate::{Batch, Generator, Step};
use super::judge::{Verdict, judge};
use super::keyspace::all_keys;
use super::link::{Answers, End, Link, exchange};
use super::reply::Reply;
use super::slots;
use super::taint::Taint;
use super::tally::{Place, Tally};

/// The two connections of something: circlet's and Valkey's.
type Pair = [Link; 2];

/// Both servers with the connections to them.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) tally: Tally,
    generator: Generator,
    nodes: usize,
    skip_unknown: bool,
    /// Not when it is a Valkey in circlet's place.
    has_slots: bool,
    /// For data: per version of the protocol, one to each node.
    ours: [Vec<Link>; 2],
    theirs: [Link; 2],
    /// Whose state changes: one pair per version.
    pinned: [Pair; 2],
    known: BTreeSet<String>,
    keys: HashSet<Vec<u8>>,
    database: u32,
    exchanges: u64,
}

impl Engine {
    /// Connects to the nodes and to Valkey.
    pub(super) fn connect(options: &Options, nodes: &[SocketAddr], valkey: SocketAddr) -> io::Result<Engine> {
        let all = |protocol| nodes.iter().map(|node| Link::connect(*node, protocol)).collect::<io::Result<Vec<_>>>();
        let pinned =
            |protocol| Ok::<_, io::Error>([Link::connect(nodes[0], protocol)?, Link::connect(valkey, protocol)?]);
        let mut ours = [all(2)?, all(3)?];
        let known = known_commands(&mut ours[0][0])?;
        Ok(Engine {
            tally: Tally::default(),
            generator: Generator::new(options.seed, &options.families(), options.databases, nodes.len()),
            nodes: nodes.len(),
            skip_unknown: options.skip_unknown,
            has_slots: !options.self_test,
            ours,
            theirs: [Link::connect(valkey, 2)?, Link::connect(valkey, 3)?],
            pinned: [pinned(2)?, pinned(3)?],
            known,
            keys: all_keys().into_iter().collect(),
            database: 0,
            exchanges: 0,
        })
    }

    /// Runs until so many commands were sent.
    pub(super) fn run(&mut self, commands: u64) -> io::Result<()> {
        // Nothing is slow unless the run says so; a circlet without this setting answers an error.
        for link in self.ours[0].iter_mut().chain([&mut self.theirs[0]]) {
            link.ask(&Command::line("CONFIG SET slowlog-log-slower-than -1"))?;
        }
        while self.tally.sent < commands {
            match self.generator.step() {
                Step::Data(batch) => self.data(&batch)?,
                Step::Pinned(batch) => self.on_pinned(&batch)?,
                Step::Scan(protocol, database, options) => self.scan(protocol, database, &options)?,
                Step::RandomKey(protocol, database) => self.random_key(protocol, database)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, batch: &Batch) -> io::Result<()> {
        let node = self.generator.rng.usize(..self.nodes);
        let (at, mark) = (usize::from(batch.protocol == 3), self.mark());
        let (sent, refused) = self.split(&batch.commands);
        let links = [&mut self.ours[at][node], &mut self.theirs[at]];
        let [ours, theirs] = exchange(links, [&sent, &without(&sent, &refused)], &mark)?;
        let place = Place { protocol: batch.protocol, database: self.database, node };
        let is_clean = self.compare(batch, &refused, ours, theirs, place);
        if !is_clean {
            self.ours[at][node].reconnect()?;
            self.theirs[at].reconnect()?;
            self.make_equal()?;
        }
        Ok(())
    }

    /// The commands by reference, and which of them Valkey is not sent.
    fn split<'a>(&self, commands: &'a [Command]) -> (Vec<&'a Command>, Vec<bool>) {
        let refused = commands.iter().map(|command| self.has_slots && slots::is_refused(command));
        (commands.iter().collect(), refused.collect())
    }

    fn on_pinned(&mut self, batch: &Batch) -> io::Result<()> {
        let (at, mark) = (usize::from(batch.protocol == 3), self.mark());
        let commands: Vec<&Command> = batch.commands.iter().collect();
        let [ours, theirs] = &mut self.pinned[at];
        let [ours, theirs] = exchange([ours, theirs], [&commands, &commands], &mark)?;
        let place = Place { protocol: batch.protocol, database: 0, node: 0 };
        let is_clean = self.compare(batch, &vec![false; commands.len()], ours, theirs, place);
        let closed = batch.commands.last().is_some_and(|command| command.closes);
        if closed || !is_clean {
            self.pinned[at].iter_mut().try_for_each(Link::reconnect)?;
        }
        if is_clean { Ok(()) } else { self.make_equal() }
    }

    /// Something that no value is.
    fn mark(&mut self) -> String {
        self.exchanges += 1;
        format!("end of exchange {} {:x}", self.exchanges, self.generator.rng.u64(..))
    }

    /// Compares the replies to a batch; whether both servers are still equal.
    fn compare(&mut self, batch: &Batch, refused: &[bool], ours: Answers, theirs: Answers, place: Place) -> bool {
        if !self.ends_agree(batch, refused, [&ours, &theirs], place) {
            return false;
        }
        self.database = place.database;
        let (mut ours, mut theirs) = (ours.replies.into_iter(), theirs.replies.into_iter());
        let mut taint = Taint::default();
        for (command, &refused) in batch.commands.iter().zip(refused) {
            let place = Place { database: self.database, ..place };
            let keys = self.keys_of(command);
            if command.silent {
                self.tally.sent(command, None, place, keys);
                continue;
            }
            let ours = ours.next().expect("as many replies as commands, see above");
            let theirs = if refused { refusal(command, &ours) } else { theirs.next().expect("as above") };
            self.tally.sent(command, Some(&theirs), place, keys.clone());
            self.compare_one(command, [&ours, &theirs], keys, place, &mut taint);
        }
        taint.is_empty()
    }

    fn compare_one(
        &mut self,
        command: &Command,
        [ours, theirs]: [&Reply; 2],
        keys: Vec<Vec<u8>>,
        place: Place,
        taint: &mut Taint,
    ) {
        if command.word(0) == "SELECT" && theirs.is_ok() {
            self.database = std::str::from_utf8(command.at(1)).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        }
        if taint.reaches(command, &keys) {
            self.tally.not_compared += 1;
            return;
        }
        let case = Case { command, ours, theirs, nodes: self.nodes, known: &self.known };
        match judge(&case) {
            Verdict::Same => {}
            Verdict::Allowed(rule) => self.tally.allowed(rule),
            Verdict::Missing if self.skip_unknown => {
                let whole = ours.as_error().is_some_and(|text| text.starts_with(b"ERR unknown command"));
                let name = if whole { command.word(0) } else { command.title() };
                self.tally.missing(&name);
                self.generator.left_out.insert(name);
                taint.spread(command, keys);
                return;
            }
            Verdict::Missing | Verdict::Different => {
                self.tally.mismatch(command, ours, theirs, place);
                taint.spread(command, keys);
                return;
            }
        }
        if command.word(0) == "DUMP" {
            for payload in [ours, theirs].into_iter().filter_map(Reply::as_text) {
                self.generator.payloads.keep(payload, &mut self.generator.rng);
            }
        }
    }

    /// Whether both answered as often as they should, and then did the same.
    fn ends_agree(&mut self, batch: &Batch, refused: &[bool], answers: [&Answers; 2], place: Place) -> bool {
        let wanted = batch.commands.iter().filter(|command| !command.silent).count();
        let left_out = refused.iter().filter(|refused| **refused).count();
        let closes = batch.commands.last().is_some_and(|command| command.closes);
        let end = if closes { End::Closed } else { End::Complete };
        let right = [wanted, wanted - left_out]
            .iter()
            .zip(answers)
            .all(|(count, answers)| answers.end == end && answers.replies.len() == *count);
        if !right && self.skip_unknown && answers[0].replies.iter().any(is_no_reply_command) {
            self.tally.missing("CLIENT|REPLY");
            self.generator.left_out.insert("CLIENT|REPLY".to_owned());
        } else if !right {
            let [ours, theirs] =
                answers.map(|answers| format!("{:?} after {} replies", answers.end, answers.replies.len()));
            let at = answers[0].replies.len().min(batch.commands.len() - 1);
            let around: Vec<_> =
                batch.commands[at.saturating_sub(3)..=at].iter().map(|command| format!("    {command}\n")).collect();
            let details = format!(
                "{} commands in {place}, {wanted} to be answered\n  circlet\n    {ours}\n  valkey\n    {theirs}\n  around where circlet stopped\n{}",
                batch.commands.len(),
                around.concat()
            );
            self.tally.trouble("not the replies that were due", &batch.commands[at].title(), details);
            self.tally.sent += batch.commands.len() as u64;
        }
        right
    }

    /// The keys of the run among the arguments.
    fn keys_of(&self, command: &Command) -> Vec<Vec<u8>> {
        command.arguments.iter().skip(1).filter(|argument| self.keys.contains(*argument)).cloned().collect()
    }

    /// Both empty is equal.
    fn make_equal(&mut self) -> io::Result<()> {
        self.ours[0][0].ask(&Command::line("FLUSHALL"))?;
        self.theirs[0].ask(&Command::line("FLUSHALL")).map(drop)
    }

    /// A whole iteration on both, compared as sets.
    fn scan(&mut self, protocol: u8, database: u32, options: &[Vec<u8>]) -> io::Result<()> {
        let command = Command::new("SCAN").arg("0").args(options.to_vec());
        if self.generator.left_out.contains("SCAN") {
            return Ok(());
        }
        let at = usize::from(protocol == 3);
        let (rng, select) = (&mut self.generator.rng, Command::new("SELECT").arg(database.to_string()));
        for link in self.ours[at].iter_mut().chain([&mut self.theirs[at]]) {
            link.ask(&select)?;
        }
        let nodes = self.nodes;
        let ours = iterate(&command, |command| self.ours[at][rng.usize(..nodes)].ask(command))?;
        let theirs = iterate(&command, |command| self.theirs[at].ask(command))?;
        let place = Place { protocol, database, node: 0 };
        self.tally.sent(&command, Some(&theirs), place, Vec::new());
        if ours != theirs {
            self.tally.mismatch(&command, &ours, &theirs, place);
        }
        Ok(())
    }

    /// What one says is a key has to be one on the other.
    fn random_key(&mut self, protocol: u8, database: u32) -> io::Result<()> {
        let (at, command) = (usize::from(protocol == 3), Command::line("RANDOMKEY"));
        if self.generator.left_out.contains("RANDOMKEY") {
            return Ok(());
        }
        let node = self.generator.rng.usize(..self.nodes);
        let links = [&mut self.ours[at][node], &mut self.theirs[at]];
        let mut replies = Vec::new();
        for link in links {
            link.ask(&Command::new("SELECT").arg(database.to_string()))?;
            replies.push(link.ask(&command)?);
        }
        let place = Place { protocol, database, node };
        self.tally.sent(&command, Some(&replies[1]), place, Vec::new());
        let case =
            Case { command: &command, ours: &replies[0], theirs: &replies[1], nodes: self.nodes, known: &self.known };
        match judge(&case) {
            Verdict::Allowed(rule) => self.tally.allowed(rule),
            Verdict::Same => {}
            _ => self.tally.mismatch(&command, &replies[0], &replies[1], place),
        }
        if let [Reply::Text(_, ours), Reply::Text(_, theirs)] = &replies[..] {
            let one = Reply::Line(b':', b"1".to_vec());
            let exist = self.theirs[at].ask(&Command::new("EXISTS").arg(ours.clone()))? == one
                && self.ours[at][node].ask(&Command::new("EXISTS").arg(theirs.clone()))? == one;
            if !exist {
                self.tally.mismatch(&command, &replies[0], &replies[1], place);
            }
        }
        Ok(())
    }
}

/// Whether it says that there is no `CLIENT REPLY`, without which more is answered than should be.
fn is_no_reply_command(reply: &Reply) -> bool {
    reply.as_error().is_some_and(|text| text.starts_with(b"ERR unknown subcommand 'REPLY'"))
}

fn without<'a>(commands: &[&'a Command], refused: &[bool]) -> Vec<&'a Command> {
    commands.iter().zip(refused).filter(|(_, refused)| !**refused).map(|(command, _)| *command).collect()
}

/// What circlet has to answer to a command across slots. With further options, of which one may be wrong, any error will do.
fn refusal(command: &Command, ours: &Reply) -> Reply {
    if slots::has_more_to_refuse(command) && ours.as_error().is_some() {
        return ours.clone();
    }
    Reply::Line(b'-', slots::REFUSAL.into())
}

/// Follows the cursors to the end; all keys, each once, in order. An error is the answer.
fn iterate(command: &Command, mut ask: impl FnMut(&Command) -> io::Result<Reply>) -> io::Result<Reply> {
    /// More pages than any iteration of the run has.
    const MOST_PAGES: usize = 100_000;
    let (mut command, mut found) = (command.clone(), BTreeSet::new());
    for _ in 0..MOST_PAGES {
        let page = ask(&command)?;
        let Some([cursor, Reply::Many(_, keys)]) = page.as_many() else { return Ok(page) };
        found.extend(keys.iter().cloned());
        match cursor.as_text() {
            Some(b"0") => return Ok(Reply::Many(b'*', found.into_iter().collect())),
            Some(cursor) => command.arguments[1] = cursor.to_vec(),
            None => return Ok(page),
        }
    }
    Ok(Reply::Line(b'-', b"an iteration without end".to_vec()))
}

/// The names of all commands and subcommands that a server has.
fn known_commands(link: &mut Link) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    add_names(&link.ask(&Command::line("COMMAND"))?, &mut names);
    Ok(names)
}

fn add_names(commands: &Reply, names: &mut BTreeSet<String>) {
    for parts in commands.as_many().into_iter().flatten().filter_map(Reply::as_many) {
        if let Some(name) = parts.first().and_then(Reply::as_text) {
            names.insert(String::from_utf8_lossy(name).into_owned());
        }
        if let Some(subcommands) = parts.get(9) {
            add_names(subcommands, names);
        }
    }
}
