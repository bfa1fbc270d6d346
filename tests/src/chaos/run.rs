//! One run: a cluster, load, a fault, and what is to be said of it.

use std::{collections::BTreeMap, fs::File, io::BufWriter, ops::Range, path::PathBuf, thread, time::Duration};

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::{
    check::{Findings, check},
    fault::Fault,
    history::{self, End, Event, Since},
    hosts::Hosts,
    writer::{self, KEYS, Orders, Outage, Record},
};
use crate::resp::{Client, Value};

/// How the nodes of a cluster behave when they are split.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Partition {
    /// Both sides go on.
    Available,
    /// Who lacks the majority serves nothing.
    Majority,
}

impl Partition {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Partition::Available => "available",
            Partition::Majority => "majority",
        }
    }
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program that is a node.
    pub binary: PathBuf,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Copies of each slot.
    pub replicas: usize,
    /// Copies that a write waits for.
    pub acks: usize,
    /// What is done when nodes are split.
    pub partition: Partition,
    /// Keys that lie there and are not written any more.
    pub lying: usize,
    /// Clients that write and read.
    pub clients: usize,
    /// What the clients do follows from it.
    pub seed: u64,
    /// Where the history goes, if anywhere.
    pub history: Option<PathBuf>,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the clients were told, against what is there.
    pub findings: Findings,
    /// The longest time that a client tried in vain to have one command executed, on hosts that should serve.
    pub unavailable_ms: u64,
    /// How long after the end of the fault `CLUSTER VERIFY` was clean; none: it was not within the limit.
    pub clean_ms: Option<u64>,
    /// Commands that were executed, second by second.
    pub curve: Vec<u64>,
    /// In which second the fault began and ended.
    pub fault_seconds: (u64, u64),
    /// Answers that were not hoped for, with their numbers.
    pub said: BTreeMap<String, u64>,
}

impl Outcome {
    /// Whether everything held.
    pub fn is_clean(&self) -> bool {
        self.findings.is_clean() && self.clean_ms.is_some()
    }

    /// The figures as JSON.
    pub fn json(&self) -> Json {
        let Findings {
            commands,
            failed,
            unknown,
            stale,
            stale_ms,
            lost,
            lost_as_promised,
            resurrected,
            wrong,
            problems,
        } = &self.findings;
        json!({
            "commands": commands, "failed": failed, "unknown": unknown, "stale": stale, "stale_ms": stale_ms, "lost": lost,
            "lost_as_promised": lost_as_promised, "resurrected": resurrected, "wrong": wrong, "problems": problems,
            "unavailable_ms": self.unavailable_ms, "clean_ms": self.clean_ms, "curve": self.curve, "said": self.said,
            "fault_seconds": [self.fault_seconds.0, self.fault_seconds.1],
        })
    }
}

/// Load before the fault, and after everything is well again.
const QUIET: Duration = Duration::from_secs(3);

/// A million keys are compared and mended in this time; there are fewer.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// Runs it.
pub fn run(setup: &Setup, fault: Fault) -> Result<Outcome, String> {
    let mut hosts = Hosts::start(setup)?;
    fill(setup)?;
    Hosts::wait_clean(0, CLEAN_LIMIT).map_err(|said| format!("the cluster was not clean before the fault:\n{said}"))?;
    let since = Since::now();
    let orders = Orders::new((0..setup.nodes).map(Hosts::client).collect());
    let (records, inflicted, clean) = thread::scope(|scope| {
        let orders = &orders;
        let clients: Vec<_> = (0..setup.clients)
            .map(|number| scope.spawn(move || writer::run(number, orders, since, setup.seed)))
            .collect();
        thread::sleep(QUIET);
        let inflicted = fault.inflict(&mut hosts, orders, setup, since);
        let clean = Hosts::wait_clean(0, CLEAN_LIMIT);
        orders.split(false);
        thread::sleep(QUIET);
        orders.end();
        let records: Vec<Record> = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        (records, inflicted, clean)
    });
    let inflicted = inflicted?;
    let mut events: Vec<Event> = Vec::new();
    let mut outages: Vec<Outage> = Vec::new();
    for record in records {
        events.extend(record.events);
        outages.extend(record.outages);
    }
    if let Some(path) = &setup.history {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        history::write(&events, &mut BufWriter::new(file)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    // What is there at the end is read where all copies are known to be the same.
    let end = Hosts::wait_clean(0, CLEAN_LIMIT);
    let (running, keys) = (hosts.running(), setup.clients * KEYS);
    let finals = read_all(&running, keys)?;
    let mut findings = check(&events, &finals, &inflicted.excused);
    let present = finals.values().filter(|last| last.first().is_some_and(|version| *version != Some(0))).count();
    for &host in &running {
        let size = Hosts::ask(host, "DBSIZE")?;
        if size != Value::Integer((setup.lying + present) as i64) {
            findings.wrong += 1;
            findings.problems.push(format!("host {host}: DBSIZE is {size:?}, not {} + {present}", setup.lying));
        }
    }
    for said in [&clean, &end].into_iter().filter_map(|clean| clean.as_ref().err()) {
        findings.problems.push(format!("CLUSTER VERIFY is not clean:\n{said}"));
    }
    if !findings.problems.is_empty() {
        findings.problems.push(hosts.logs());
    }
    let served = |outage: &&Outage| !inflicted.exempt.contains(&outage.host);
    let unavailable_us = outages.iter().filter(served).map(|outage| outage.to_us - outage.from_us).max();
    Ok(Outcome {
        findings,
        unavailable_ms: unavailable_us.unwrap_or(0) / 1000,
        clean_ms: clean.and_then(|clean| end.map(|_| clean)).ok().map(|clean| clean.as_millis() as u64),
        curve: curve(&events),
        fault_seconds: seconds(&inflicted.time),
        said: said(&events),
    })
}

fn seconds(time: &Range<u64>) -> (u64, u64) {
    (time.start / 1_000_000, time.end / 1_000_000)
}

fn curve(events: &[Event]) -> Vec<u64> {
    let mut curve = Vec::new();
    for event in events.iter().filter(|event| event.end == End::Ok) {
        let second = (event.to_us / 1_000_000) as usize;
        if curve.len() <= second {
            curve.resize(second + 1, 0);
        }
        curve[second] += 1;
    }
    curve
}

fn said(events: &[Event]) -> BTreeMap<String, u64> {
    let mut said = BTreeMap::new();
    for text in events.iter().filter_map(|event| event.said.as_ref()) {
        *said.entry(text.clone()).or_default() += 1;
    }
    said
}

/// Stores the keys that lie there.
fn fill(setup: &Setup) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("filling: {error}");
    let mut client = Client::connect(Hosts::client(0)).map_err(wrong)?;
    let keys: Vec<usize> = (0..setup.lying).collect();
    for keys in keys.chunks(1000) {
        let sets: Vec<Vec<String>> =
            keys.iter().map(|key| vec!["SET".to_owned(), format!("lying:{key}"), "x".repeat(100)]).collect();
        let replies = client.pipeline(&sets).map_err(wrong)?;
        if let Some(reply) = replies.iter().find(|reply| !reply.is_ok()) {
            return Err(format!("filling: {reply:?}"));
        }
    }
    Ok(())
}

/// What each of these hosts says that the keys are.
fn read_all(hosts: &[usize], keys: usize) -> Result<BTreeMap<usize, Vec<Option<u64>>>, String> {
    let mut finals: BTreeMap<usize, Vec<Option<u64>>> = (0..keys).map(|key| (key, Vec::new())).collect();
    for &host in hosts {
        let wrong = |error: std::io::Error| format!("host {host}: reading: {error}");
        let mut client = Client::connect(Hosts::client(host)).map_err(wrong)?;
        let gets: Vec<Vec<String>> = (0..keys).map(|key| vec!["GET".to_owned(), writer::name(key)]).collect();
        for (key, reply) in client.pipeline(&gets).map_err(wrong)?.into_iter().enumerate() {
            let version = match &reply {
                Value::Null => writer::version(None),
                Value::Bulk(bytes) => writer::version(Some(bytes)),
                _ => None,
            };
            finals.entry(key).or_default().push(version);
        }
    }
    Ok(finals)
}
