//! Disputes: what counts when two sides have given each other up.
//!
//! Each side of a split declares the other down and goes on. When the links are back, both sides' statements meet on
//! every node, and taken at their word everybody is down. A node that was alone for a minute could so unseat a whole
//! ring, and one whose link flaps could do it again and again.
//!
//! Therefore an accusation carries its speaker and the number of members that bore witness, and an accusation is void
//!
//! * if its speaker is accused by somebody whom he accuses as well, with more witnesses. Mutual accusation is the mark
//!   of a split. The larger side stays where it is; the members of the smaller one are down until they answer, which
//!   they do at once.
//! * if its speaker was down since then and came back ([`Verdict::Back`]). The first rule needs both accusations, and
//!   answers replace them; this one goes on when they are gone, while others still repeat what he said.
//! * if that boot of its speaker is over and buried.
//!
//! Void statements are not repeated, so they go with those who spoke them; the accused answer them all the same. The
//! word of a speaker who merely died later still counts.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cmp::Reverse;

use super::{Statement, Verdict};
use crate::id::{Incarnation, NodeId};

/// All statements that a node has heard, weighed against each other.
#[derive(Debug, Default)]
pub struct Settled {
    /// What counts, with the node that it is about.
    pub valid: Vec<(NodeId, Statement)>,
    /// What does not, and has not been answered yet.
    pub void: Vec<(NodeId, Statement)>,
}

/// Weighs statements. `incarnation` tells the present boot of a member, what is about a former one is only a record;
/// `grave` tells up to which boot a node is over.
///
/// The result depends on the set of statements and these two alone.
pub fn settle(
    statements: BTreeSet<(NodeId, Statement)>,
    incarnation: impl Fn(NodeId) -> Option<Incarnation>,
    grave: impl Fn(NodeId) -> Option<Incarnation>,
) -> Settled {
    let answers = answers(&statements);
    let returns = returns(&statements);
    let is_open = |(about, statement): &(NodeId, Statement)| {
        let answer = answers.get(&(*about, statement.incarnation));
        is_accusation(*about, statement, &incarnation) && answer.is_none_or(|answer| answer < statement)
    };
    // An answer ends an accusation, but it is still the mark of a split.
    let accused = statements.iter().filter(|(about, statement)| is_accusation(*about, statement, &incarnation));
    let accuses: BTreeSet<(NodeId, NodeId)> = accused.map(|(about, statement)| (statement.speaker, *about)).collect();
    let (mut open, valid): (Vec<_>, Vec<_>) = statements.into_iter().partition(is_open);
    open.sort_by_key(|&(about, statement)| (Reverse(statement.witnesses), statement.speaker, about, statement));

    let mut accusers: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
    let mut settled = Settled { valid, void: Vec::new() };
    for (about, statement) in open {
        let speaker = statement.speaker;
        let is_over = grave(speaker) >= Some(statement.speaker_incarnation);
        let is_outweighed =
            accusers.get(&speaker).is_some_and(|by| by.iter().any(|&by| accuses.contains(&(speaker, by))));
        let came_back = returns
            .get(&speaker)
            .is_some_and(|back| back.incarnation >= statement.speaker_incarnation && back.at > statement.at);
        if is_over || is_outweighed || came_back {
            settled.void.push((about, statement));
        } else {
            accusers.entry(about).or_default().push(speaker);
            settled.valid.push((about, statement));
        }
    }
    settled
}

fn is_accusation(about: NodeId, statement: &Statement, incarnation: impl Fn(NodeId) -> Option<Incarnation>) -> bool {
    statement.verdict.is_accusation() && incarnation(about) == Some(statement.incarnation)
}

/// The last answer of each boot.
fn answers(statements: &BTreeSet<(NodeId, Statement)>) -> BTreeMap<(NodeId, Incarnation), Statement> {
    let mut answers = BTreeMap::new();
    for &(about, statement) in statements.iter().filter(|(_, statement)| !statement.verdict.is_accusation()) {
        let last = answers.entry((about, statement.incarnation)).or_insert(statement);
        *last = last.join(statement);
    }
    answers
}

/// The last return of each node.
fn returns(statements: &BTreeSet<(NodeId, Statement)>) -> BTreeMap<NodeId, Statement> {
    let mut returns = BTreeMap::new();
    for &(about, statement) in statements.iter().filter(|(_, statement)| statement.verdict == Verdict::Back) {
        let last = returns.entry(about).or_insert(statement);
        *last = last.join(statement);
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlc::Hlc;

    fn id(node: u8) -> NodeId {
        NodeId::from_bytes([node; 20])
    }

    fn said(speaker: u8, about: u8, verdict: Verdict, witnesses: u8, at: u64) -> (NodeId, Statement) {
        let at = Hlc::from_bits(at).unwrap();
        let (incarnation, speaker) = (Incarnation(1), id(speaker));
        (
            id(about),
            Statement { incarnation, verdict, at, strikes: 1, speaker, speaker_incarnation: incarnation, witnesses },
        )
    }

    /// Which nodes are down for everybody, and which of them only for the side that is outweighed. Node 7 is buried.
    fn check(statements: &[(NodeId, Statement)], down: &[u8], void: &[u8]) {
        let statements: BTreeSet<_> = statements.iter().copied().collect();
        let grave = |node| (node == id(7)).then_some(Incarnation(1));
        let settled = settle(statements.clone(), |_| Some(Incarnation(1)), grave);
        let last = |about: NodeId| {
            settled.valid.iter().filter(move |(subject, _)| *subject == about).map(|(_, last)| *last).max()
        };
        let is_down = |about: &NodeId| last(*about).is_some_and(|last| last.verdict.is_accusation());
        let about: BTreeSet<NodeId> = statements.iter().map(|(about, _)| *about).collect();
        assert_eq!(
            about.into_iter().filter(is_down).collect::<Vec<_>>(),
            down.iter().copied().map(id).collect::<Vec<_>>()
        );
        let void_about: BTreeSet<NodeId> = settled.void.iter().map(|(about, _)| *about).collect();
        assert_eq!(void_about, void.iter().copied().map(id).collect());
    }

    #[test]
    fn the_larger_side_of_a_split_stays() {
        let alone = [1, 2, 3].map(|about| said(4, about, Verdict::Down, 1, 9));
        let larger = [said(1, 4, Verdict::Down, 3, 5)];
        check(&[&alone[..], &larger].concat(), &[4], &[1, 2, 3]);
    }

    #[test]
    fn of_two_equal_sides_the_smaller_identity_stays() {
        let left = [3, 4].map(|about| said(1, about, Verdict::Down, 2, 5));
        let right = [1, 2].map(|about| said(3, about, Verdict::Down, 2, 9));
        check(&[left, right].concat(), &[3, 4], &[1, 2]);
    }

    #[test]
    fn the_word_of_a_speaker_who_died_later_counts() {
        check(&[said(1, 9, Verdict::Down, 3, 5), said(2, 1, Verdict::Down, 8, 9)], &[1, 9], &[]);
    }

    #[test]
    fn the_word_of_a_buried_boot_does_not_count() {
        check(&[said(7, 1, Verdict::Down, 3, 5)], &[], &[1]);
    }

    #[test]
    fn who_comes_back_takes_back_what_he_said_before() {
        let repeated = [said(4, 1, Verdict::Down, 2, 9), said(4, 2, Verdict::Down, 2, 11)];
        check(&[&repeated[..], &[said(4, 4, Verdict::Back, 0, 10)]].concat(), &[2], &[1]);
        check(&[&repeated[..], &[said(4, 4, Verdict::Up, 0, 10)]].concat(), &[1, 2], &[]);
    }

    #[test]
    fn an_answer_ends_an_accusation_and_not_the_dispute() {
        let split = [said(4, 1, Verdict::Down, 1, 9), said(4, 2, Verdict::Down, 1, 9), said(1, 4, Verdict::Down, 3, 5)];
        let answers =
            [said(1, 1, Verdict::Up, 0, 10), said(4, 4, Verdict::Back, 0, 10), said(2, 2, Verdict::Up, 0, 10)];
        check(&split, &[4], &[1, 2]);
        check(&[&split[..], &answers[..1]].concat(), &[4], &[2]);
        check(&[split, answers].concat(), &[], &[]);
    }
}
