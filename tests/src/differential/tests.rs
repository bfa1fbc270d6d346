//! The run is worth what it notices, and can be repeated.

use std::collections::BTreeSet;

use super::command::{Command, Family};
use super::differences::Case;
use super::generate::{Generator, Step};
use super::judge::{Verdict, judge};
use super::reply::Reply;

const ALL: [Family; 4] = [Family::Strings, Family::Keys, Family::Connection, Family::Server];

fn steps(seed: u64, families: &[Family], count: usize) -> Vec<Step> {
    let mut generator = Generator::new(seed, families, 16, 1);
    (0..count).map(|_| generator.step()).collect()
}

fn commands(steps: &[Step]) -> Vec<Command> {
    let batches = steps.iter().filter_map(|step| match step {
        Step::Data(batch) | Step::Pinned(batch) => Some(batch.commands.clone()),
        _ => None,
    });
    batches.flatten().collect()
}

fn names(commands: &[Command]) -> BTreeSet<String> {
    commands.iter().map(Command::title).collect()
}

#[test]
fn commands_follow_from_the_seed() {
    assert_eq!(steps(7, &ALL, 100), steps(7, &ALL, 100));
    assert_ne!(steps(7, &ALL, 100), steps(8, &ALL, 100));
}

#[test]
fn every_command_of_the_families_is_sent() {
    let commands = commands(&steps(1, &ALL, 1500));
    let names = names(&commands);
    let wanted = "GET SET GETSET SETNX SETEX PSETEX MSET MSETNX MSETEX MGET SETRANGE GETRANGE SUBSTR LCS APPEND STRLEN INCR DECR \
        INCRBY DECRBY INCRBYFLOAT GETDEL GETEX DELIFEQ DEL UNLINK EXISTS TYPE TOUCH EXPIRE PEXPIRE EXPIREAT PEXPIREAT EXPIRETIME \
        PEXPIRETIME TTL PTTL PERSIST RENAME RENAMENX COPY MOVE SWAPDB OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT \
        OBJECT|HELP SORT SORT_RO DUMP RESTORE SCAN KEYS DBSIZE FLUSHDB FLUSHALL WAIT PING ECHO SELECT CLIENT|ID CLIENT|GETNAME \
        CLIENT|SETNAME CLIENT|SETINFO CLIENT|INFO CLIENT|LIST CLIENT|KILL CLIENT|NO-EVICT CLIENT|NO-TOUCH CLIENT|REPLY CLIENT|PAUSE \
        CLIENT|UNPAUSE CLIENT|UNBLOCK CLIENT|GETREDIR CLIENT|TRACKINGINFO CLIENT|CAPA CLIENT|HELP HELLO RESET AUTH QUIT COMMAND|COUNT \
        COMMAND|INFO COMMAND|GETKEYS COMMAND|GETKEYSANDFLAGS COMMAND|LIST COMMAND|DOCS CONFIG|GET CONFIG|SET CONFIG|RESETSTAT \
        CONFIG|REWRITE INFO LATENCY|HISTOGRAM LATENCY|LATEST LATENCY|HISTORY LATENCY|RESET LATENCY|DOCTOR LATENCY|HELP SLOWLOG|GET \
        SLOWLOG|LEN SLOWLOG|RESET SLOWLOG|HELP COMMANDLOG|GET COMMANDLOG|LEN COMMANDLOG|RESET COMMANDLOG|HELP MEMORY|USAGE MEMORY|STATS \
        MEMORY|DOCTOR MEMORY|PURGE MEMORY|MALLOC-STATS MEMORY|HELP DEBUG LOLWUT TIME ROLE";
    let missing: Vec<_> = wanted.split_whitespace().filter(|name| !names.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_family_is_alone_when_it_is_asked_for() {
    let names = names(&commands(&steps(1, &[Family::Strings], 50)));
    assert!(names.contains("SET") && !names.contains("RENAME") && !names.contains("CLIENT|LIST"));
}

#[test]
fn what_is_left_out_is_not_sent() {
    let mut generator = Generator::new(1, &ALL, 16, 1);
    generator.left_out = ["MSETEX".to_owned(), "OBJECT|FREQ".to_owned()].into();
    let steps: Vec<_> = (0..200).map(|_| generator.step()).collect();
    let names = names(&commands(&steps));
    assert!(!names.contains("MSETEX") && !names.contains("OBJECT|FREQ") && names.contains("OBJECT|ENCODING"));
}

/// Judges two replies, written as on the wire.
fn check(line: &str, ours: &str, theirs: &str, expected: Verdict) {
    let [ours_read, theirs_read] = [ours, theirs].map(|reply| Reply::read(&mut reply.as_bytes()).expect("a reply"));
    let known: BTreeSet<String> = ["get", "client", "client|id"].map(str::to_owned).into();
    let command = Command::line(line);
    let case = Case { command: &command, ours: &ours_read, theirs: &theirs_read, nodes: 1, known: &known };
    assert_eq!(judge(&case), expected, "{line}: {ours:?} {theirs:?}");
}

#[test]
fn a_wrong_reply_is_noticed() {
    use Verdict::{Different, Missing, Same};
    check("GET k", "$1\r\na\r\n", "$1\r\na\r\n", Same);
    check("GET k", "$1\r\na\r\n", "$1\r\nb\r\n", Different);
    check("GET k", "$1\r\na\r\n", "+a\r\n", Different);
    check("GET k", "$-1\r\n", "_\r\n", Different);
    check("GET k", "-ERR syntax error\r\n", "-ERR Syntax error\r\n", Different);
    check("KEYS *", "*2\r\n+a\r\n+b\r\n", "*1\r\n+a\r\n", Different);
    check("LCS a b", "-ERR unknown command 'LCS', with args beginning with: \r\n", "$0\r\n\r\n", Missing);
    check("FOO", "-ERR unknown command 'foo', with args\r\n", "-ERR unknown command 'FOO', with args\r\n", Different);
}

#[test]
fn times_are_compared_with_tolerance_and_deadlines_exactly() {
    use Verdict::{Allowed, Different};
    check("TTL k", ":100\r\n", ":101\r\n", Allowed("time left"));
    check("TTL k", ":100\r\n", ":102\r\n", Different);
    check("TTL k", ":0\r\n", ":-1\r\n", Different);
    check("TTL k", ":-1\r\n", ":-2\r\n", Different);
    check("PTTL k", ":100000\r\n", ":100900\r\n", Allowed("time left"));
    check("PTTL k", ":100000\r\n", ":101001\r\n", Different);
    check("EXPIRETIME k", ":1800000000\r\n", ":1800000001\r\n", Allowed("deadline counted from now"));
    check("EXPIRETIME k", ":4102444800\r\n", ":4102444801\r\n", Different);
    check("PEXPIRETIME k", ":4102444800000\r\n", ":4102444800001\r\n", Different);
    check("STRLEN k", ":100\r\n", ":101\r\n", Different);
}

#[test]
fn a_rule_allows_no_more_than_it_says() {
    use Verdict::{Allowed, Different};
    check("KEYS *", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", Allowed("order of keys"));
    check("MGET a b", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", Different);
    check("CLIENT ID", ":3\r\n", ":9\r\n", Allowed("identifier of the client"));
    check("CLIENT ID", ":0\r\n", ":9\r\n", Different);
    check("DUMP k", "$1\r\na\r\n", "$1\r\nb\r\n", Different);
    check("CLIENT INFO", "$11\r\nid=1 name=a\r\n", "$11\r\nid=7 name=a\r\n", Allowed("description of clients"));
    check("CLIENT INFO", "$11\r\nid=1 name=a\r\n", "$11\r\nid=1 name=b\r\n", Different);
    check("CLIENT INFO", "$11\r\nid=1 name=a\r\n", "$11\r\nid=1 nick=a\r\n", Different);
    let list = |last: &str| format!("${}\r\nid=1 cmd=get tot-cmds=1\n{last}\r\n", 24 + last.len());
    let (new, other) = (list("id=2 cmd=NULL tot-cmds=0\n"), list("id=2 cmd=NULL tot-cmds=1\n"));
    check("CLIENT LIST", &list(""), &new, Allowed("description of clients"));
    check("CLIENT LIST", &list(""), &other, Different);
    check("OBJECT HELP", "*2\r\n+a\r\n+b\r\n", "*3\r\n+x\r\n+y\r\n+z\r\n", Allowed("help"));
    check("OBJECT HELP", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n+x\r\n+y\r\n", Different);
    check("COMMAND LIST", "*1\r\n$3\r\nget\r\n", "*2\r\n$3\r\nset\r\n$3\r\nget\r\n", Allowed("list of commands"));
    check("COMMAND LIST", "*0\r\n", "*2\r\n$3\r\nset\r\n$3\r\nget\r\n", Different);
    check("COMMAND INFO set", "*1\r\n*-1\r\n", "*1\r\n*1\r\n$3\r\nset\r\n", Allowed("description of commands"));
    check("COMMAND INFO get", "*1\r\n*-1\r\n", "*1\r\n*1\r\n$3\r\nget\r\n", Different);
}
