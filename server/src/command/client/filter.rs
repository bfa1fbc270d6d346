//! Which clients `CLIENT LIST` and `CLIENT KILL` mean: those that meet every condition.
//!
//! A condition is an option and its value. Each but `MAXAGE`, `IDLE` and `SKIPME` has an opposite, `NOT-` before its
//! name, which the clients meet that do not meet it. Given twice, the later one counts, but numbers of clients add up.

use crate::{
    clients::{Client, Trait},
    command::{Context, SYNTAX_ERROR},
    resp::{Reply, Request},
    types::parse_integer,
};

/// The one user that there is.
const USER: &[u8] = b"default";

/// The letters that flags can have in Redis. Most say something that no client is here.
const FLAGS: &[u8] = b"OSMPxbtRBdcuAUreTIiEN";

/// What has to hold.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    wanted: Conditions<'a>,
    unwanted: Conditions<'a>,
    least_age_secs: u64,
    least_idle_secs: u64,
    /// The client that is left out whatever it is.
    spared: Option<u64>,
    now_us: u64,
}

/// What may hold of a client.
#[derive(Debug, Default)]
struct Conditions<'a> {
    /// In order.
    ids: Option<Vec<u64>>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    kind: Option<Kind>,
    user: Option<()>,
    name: Option<&'a [u8]>,
    library: Option<&'a [u8]>,
    library_version: Option<&'a [u8]>,
    flags: Option<&'a [u8]>,
    capabilities: Option<&'a [u8]>,
    database: Option<u8>,
}

/// The kinds of clients that Redis knows. Here every client is a normal one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Normal,
    Other,
}

type Refused = Reply<'static>;

impl<'a> Filter<'a> {
    /// Reads the conditions of a request. Whether the client that asks is spared if it does not say.
    pub(super) fn parse(request: &Request<'a>, context: &Context<'_>, spares_me: bool) -> Result<Filter<'a>, Refused> {
        let me = context.session.client().id();
        let databases = context.session.mode().access().databases;
        let now_us = context.router.services().clock.monotonic_us();
        let mut filter = Filter { spared: spares_me.then_some(me), now_us, ..Filter::default() };
        let args: Vec<&'a [u8]> = request.args_from(2).collect();
        let mut rest = args.as_slice();
        while let [option, behind @ ..] = rest {
            let option = option.to_ascii_lowercase();
            let (is_unwanted, name) = match option.strip_prefix(b"not-") {
                Some(name) => (true, name),
                None => (false, option.as_slice()),
            };
            let conditions = if is_unwanted { &mut filter.unwanted } else { &mut filter.wanted };
            if name == b"id" {
                rest = conditions.take_ids(behind)?;
                continue;
            }
            let [value, behind @ ..] = behind else { return Err(SYNTAX_ERROR) };
            rest = behind;
            match (is_unwanted, name) {
                (false, b"maxage") => filter.least_age_secs = at_least_one(value, "maxage")?,
                (false, b"idle") => filter.least_idle_secs = at_least_one(value, "idle")?,
                (false, b"skipme") => filter.spared = yes_no(value)?.then_some(me),
                _ => conditions.take(is_unwanted, name, value, databases)?,
            }
        }
        Ok(filter)
    }

    /// Whether the client is meant.
    pub(super) fn matches(&self, client: &Client) -> bool {
        self.spared != Some(client.id())
            && client.age_secs(self.now_us) >= self.least_age_secs
            && client.idle_secs(self.now_us) >= self.least_idle_secs
            && self.wanted.each(client).into_iter().all(|holds| holds != Some(false))
            && self.unwanted.each(client).into_iter().all(|holds| holds != Some(true))
    }
}

impl<'a> Conditions<'a> {
    /// Takes numbers up to what is no number; what is behind them.
    fn take_ids<'r>(&mut self, args: &'r [&'a [u8]]) -> Result<&'r [&'a [u8]], Refused> {
        let ids = self.ids.get_or_insert_default();
        let mut rest = args;
        while let [first, behind @ ..] = rest
            && let Some(id) = parse_integer(first)
        {
            let id = u64::try_from(id).ok().filter(|&id| id > 0);
            ids.push(id.ok_or(Reply::error("ERR client-id should be greater than 0"))?);
            rest = behind;
        }
        ids.sort_unstable();
        Ok(rest)
    }

    fn take(&mut self, is_unwanted: bool, name: &[u8], value: &'a [u8], databases: usize) -> Result<(), Refused> {
        match name {
            b"addr" => self.address = Some(value),
            b"laddr" => self.local_address = Some(value),
            b"ip" => self.ip = Some(value),
            b"type" => self.kind = Some(Kind::parse(value)?),
            b"user" => self.user = Some(check_user(value)?),
            b"name" => self.name = Some(value),
            b"lib-name" => self.library = Some(value),
            b"lib-ver" => self.library_version = Some(value),
            b"flags" => self.flags = Some(letters(value, FLAGS, is_unwanted, "flags")?),
            b"capa" => self.capabilities = Some(letters(value, b"r", is_unwanted, "capa")?),
            b"db" => self.database = Some(database(value, is_unwanted, databases)?),
            _ => return Err(SYNTAX_ERROR),
        }
        Ok(())
    }

    /// For each condition that was given, whether it holds of the client.
    fn each(&self, client: &Client) -> [Option<bool>; 12] {
        let names = client.names();
        // A client without a name has not the name "".
        let is = |name: &[u8], wanted: &[u8]| !name.is_empty() && name == wanted;
        let address = |text: &[u8]| client.peer().to_string().as_bytes() == text;
        [
            self.ids.as_ref().map(|ids| ids.binary_search(&client.id()).is_ok()),
            self.address.map(address),
            self.local_address.map(|text| client.local().to_string().as_bytes() == text),
            self.ip.map(|text| client.peer().ip().to_string().as_bytes() == text),
            self.kind.map(|kind| kind == Kind::Normal),
            self.user.map(|()| true),
            self.name.map(|name| is(&names.name, name)),
            self.library.map(|name| is(&names.library, name)),
            self.library_version.map(|version| is(&names.library_version, version)),
            self.flags.map(|flags| has_flags(client, flags)),
            self.capabilities.map(|letters| letters.is_empty() || client.is(Trait::Redirect)),
            self.database.map(|database| database == client.database()),
        ]
    }
}

impl Kind {
    fn parse(text: &[u8]) -> Result<Kind, Refused> {
        match text.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"master" | b"primary" | b"replica" | b"slave" | b"pubsub" => Ok(Kind::Other),
            _ => Err(Reply::error_about("ERR Unknown client type '", text, "'")),
        }
    }
}

/// Whether all of the letters are among those of the client; `N` stands for none.
fn has_flags(client: &Client, flags: &[u8]) -> bool {
    let letters = client.letters();
    flags.iter().all(|&flag| if flag == b'N' { letters.is_empty() } else { letters.as_bytes().contains(&flag) })
}

fn letters<'a>(text: &'a [u8], known: &[u8], is_unwanted: bool, name: &str) -> Result<&'a [u8], Refused> {
    if text.iter().all(|letter| known.contains(letter)) {
        return Ok(text);
    }
    let filter =
        if is_unwanted { format!("NOT-{} filter", name.to_ascii_uppercase()) } else { "provided filter".into() };
    Err(Reply::error_about(&format!("ERR Unknown {name} found in the {filter}: "), text, ""))
}

fn check_user(user: &[u8]) -> Result<(), Refused> {
    if user == USER {
        return Ok(());
    }
    Err(Reply::error_about("ERR No such user '", user, "'"))
}

fn database(text: &[u8], is_unwanted: bool, databases: usize) -> Result<u8, Refused> {
    let name = if is_unwanted { "NOT-DB" } else { "DB" };
    let Some(number) = parse_integer(text).and_then(|number| i32::try_from(number).ok()) else {
        return Err(Reply::Error(format!("ERR {name} is not an integer or out of range").into()));
    };
    let number = u8::try_from(number).ok().filter(|&number| usize::from(number) < databases);
    let last = databases - 1;
    number.ok_or_else(|| Reply::Error(format!("ERR {name} number should be between 0 and {last}").into()))
}

fn at_least_one(text: &[u8], name: &str) -> Result<u64, Refused> {
    let Some(number) = parse_integer(text) else {
        return Err(Reply::Error(format!("ERR {name} is not an integer or out of range").into()));
    };
    let number = u64::try_from(number).ok().filter(|&number| number > 0);
    number.ok_or_else(|| Reply::Error(format!("ERR {name} should be greater than 0").into()))
}

fn yes_no(text: &[u8]) -> Result<bool, Refused> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(SYNTAX_ERROR),
    }
}
