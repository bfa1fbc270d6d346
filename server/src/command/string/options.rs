//! The options of `SET`, `GETEX` and `MSETEX`.

use std::borrow::Cow;

use crate::{
    command::{NOT_AN_INTEGER, SYNTAX_ERROR},
    resp::{Reply, Request},
    store::SlotTxn,
    types::parse_integer,
};

/// Whose options they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Set,
    GetEx,
    MSetEx,
}

/// The options of `SET`, `GETEX` and `MSETEX`.
#[derive(Default)]
pub(super) struct Options<'a> {
    /// `NX` (the key has to be absent) or `XX` (it has to exist).
    pub(super) only_if: Option<bool>,
    /// `IFEQ`: what the key's value has to be.
    equals: Option<&'a [u8]>,
    pub(super) get: bool,
    pub(super) keep: bool,
    pub(super) persist: bool,
    time: Option<(TimeUnit, &'a [u8])>,
}

/// What a number counts, and from when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl<'a> Options<'a> {
    pub(super) fn parse(request: &Request<'a>, first: usize, family: Family) -> Result<Options<'a>, Reply<'static>> {
        let mut options = Options::default();
        let mut args = request.args_from(first);
        while let Some(arg) = args.next() {
            if !options.take_word(arg, family, &mut args) && !options.take_time(arg, &mut args) {
                return Err(SYNTAX_ERROR);
            }
        }
        Ok(options)
    }

    /// An option that is no time; false if it is none, or none that goes with the others.
    fn take_word(&mut self, arg: &[u8], family: Family, rest: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        let (set, get_ex) = (family == Family::Set, family == Family::GetEx);
        if !get_ex && is("NX") && self.only_if != Some(true) && self.equals.is_none() {
            self.only_if = Some(false);
        } else if !get_ex && is("XX") && self.only_if != Some(false) && self.equals.is_none() {
            self.only_if = Some(true);
        } else if set && is("IFEQ") && self.only_if.is_none() && self.equals.is_none() {
            self.equals = rest.next();
            return self.equals.is_some();
        } else if set && is("GET") {
            self.get = true;
        } else if !get_ex && is("KEEPTTL") && self.time.is_none() {
            self.keep = true;
        } else if get_ex && is("PERSIST") && self.time.is_none() {
            self.persist = true;
        } else {
            return false;
        }
        true
    }

    /// A unit and the number behind it.
    fn take_time(&mut self, arg: &[u8], rest: &mut impl Iterator<Item = &'a [u8]>) -> bool {
        use TimeUnit::{Ex, ExAt, Px, PxAt};
        let units = [("EX", Ex), ("PX", Px), ("EXAT", ExAt), ("PXAT", PxAt)];
        let Some((_, unit)) = units.into_iter().find(|(word, _)| arg.eq_ignore_ascii_case(word.as_bytes())) else {
            return false;
        };
        // The same unit twice is allowed, and the later number holds.
        let clash = self.keep || self.persist || self.time.is_some_and(|(other, _)| other != unit);
        match rest.next() {
            Some(number) if !clash => self.time = Some((unit, number)),
            _ => return false,
        }
        true
    }

    /// Whether the key is as it has to be.
    #[inline]
    pub(super) fn allow(&self, txn: &mut SlotTxn<'_>, key: &[u8]) -> bool {
        let allows = match self.equals {
            Some(wanted) => txn.peek(key).is_some_and(|value| value.as_slice() == wanted),
            None => self.only_if.is_none_or(|exists| txn.contains(key) == exists),
        };
        // What is allowed is a use of the key by itself.
        if !allows {
            txn.finds(key);
        }
        allows
    }

    /// The deadline that is asked for.
    #[inline]
    pub(super) fn deadline(&self, now: u64, command: &str) -> Result<Option<u64>, Reply<'static>> {
        self.time.map(|(unit, number)| deadline(unit, number, now, command)).transpose()
    }
}

/// The time that a text says, in milliseconds since the Unix epoch.
pub(super) fn deadline(unit: TimeUnit, number: &[u8], now: u64, command: &str) -> Result<u64, Reply<'static>> {
    let number = parse_integer(number).ok_or(NOT_AN_INTEGER)?;
    let factor = if matches!(unit, TimeUnit::Ex | TimeUnit::ExAt) { 1000 } else { 1 };
    let base = if matches!(unit, TimeUnit::Ex | TimeUnit::Px) { now as i64 } else { 0 };
    let deadline = number.checked_mul(factor).and_then(|time| time.checked_add(base)).filter(|_| number > 0);
    match deadline {
        Some(deadline) => Ok(deadline as u64),
        None => Err(Reply::Error(Cow::Owned(format!("ERR invalid expire time in '{command}' command")))),
    }
}
