//! Whether two replies to a command are the same, may differ, or must not.

use super::differences::{Case, DIFFERENCES};

/// What is to be said of two replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Byte for byte, but for the order of a set.
    Same,
    /// By the rule of this name.
    Allowed(&'static str),
    /// They must not differ so.
    Different,
    /// Circlet does not know the command or the subcommand.
    Missing,
}

/// Judges.
pub(super) fn judge(case: &Case<'_>) -> Verdict {
    if case.ours == case.theirs {
        return Verdict::Same;
    }
    if let Some(rule) = DIFFERENCES.iter().find(|rule| (rule.allows)(case)) {
        return Verdict::Allowed(rule.name);
    }
    let says_unknown = |text: Option<&[u8]>| text.is_some_and(|text| text.starts_with(b"ERR unknown "));
    if says_unknown(case.ours.as_error()) && !says_unknown(case.theirs.as_error()) {
        return Verdict::Missing;
    }
    Verdict::Different
}
