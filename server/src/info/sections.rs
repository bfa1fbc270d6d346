//! Which sections INFO has, and which of them are asked for.

use super::{Info, text};

/// Writes one section.
pub(super) type Section = fn(&Info, &mut text::Fields<'_>);

/// All sections in order, and whether a plain INFO has them.
const SECTIONS: [(&str, bool, Section); 14] = [
    ("Server", true, text::server),
    ("Clients", true, text::clients),
    ("Memory", true, text::memory),
    ("Persistence", true, text::persistence),
    ("Stats", true, text::stats),
    ("Replication", true, text::replication),
    ("CPU", true, text::cpu),
    ("Modules", true, text::modules),
    ("Commandstats", false, text::command_stats),
    ("Errorstats", true, text::error_stats),
    ("Latencystats", false, text::latency_stats),
    ("Cluster", true, text::cluster),
    ("Keyspace", true, text::keyspace),
    ("Circlet", true, text::circlet),
];

/// Which sections of INFO are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sections(u16);

impl Sections {
    /// The sections that the arguments of INFO name. None named: the usual ones; a name that is not known adds nothing,
    /// as in Redis.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Sections {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Sections::those(|_, usual| usual);
        }
        names.fold(Sections(0), |sections, name| Sections(sections.0 | Sections::one(name).0))
    }

    fn one(name: &[u8]) -> Sections {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("all") || is("everything") {
            return Sections::those(|_, _| true);
        }
        Sections::those(|section, usual| is(section) || usual && is("default"))
    }

    fn those(wanted: impl Fn(&str, bool) -> bool) -> Sections {
        let bits = SECTIONS.iter().enumerate().map(|(at, (name, usual, _))| u16::from(wanted(name, *usual)) << at);
        Sections(bits.sum())
    }

    /// Their names and writers, in order.
    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, Section)> {
        let all = SECTIONS.iter().enumerate();
        all.filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, &(name, _, section))| (name, section))
    }
}
