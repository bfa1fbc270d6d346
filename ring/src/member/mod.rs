//! Members: what a node says about itself, what the others say about it, and how both merge.
//!
//! ```text
//!              every slot it should     SIGTERM            nothing left
//!              hold is ready                               to hand over
//!   Joining ───────────────────► Up ───────────► Leaving ───────────────► Left
//!      │                          │                 │
//!      └───────── Down ◄──────────┴─────────────────┘      said by others; the node itself may answer
//!                  │ long enough
//!                  ▼
//!               Removed                                    final: the node comes back as another incarnation
//! ```
//!
//! The upper row is the node's own word ([`State`]), the lower one the others' ([`Statement`]). Where a slot should
//! live depends on both and on nothing else: no node's own troubles to reach another move any data.
//!
//! # Laws
//!
//! [`Status`] is what is known of one node. [`Status::join`] is commutative, associative and idempotent, so nodes that
//! hold the same facts agree, whatever the order in which they came:
//!
//! * of two incarnations the higher one counts and the lower one is void, with everything said about it;
//! * within one incarnation a state never goes back: the later one counts;
//! * within one incarnation the later verdict counts. At the same time the kinder one counts, so that an answer to
//!   a verdict wins even if clocks cannot go higher. `Removed` is final, whatever the time.
//!
//! Where two sides of a split accuse each other, [`dispute`] says first which statements enter at all.

pub mod dispute;
mod key;
mod meta;

use alloc::vec::Vec;
use core::cmp::Ordering;

pub use self::{
    key::{Key, PublishedSlots},
    meta::{Descriptor, MAX_TEXT_BYTES, MAX_WEIGHT, Meta, Partition},
};
use crate::{
    codec::{Malformed, Reader},
    hlc::Hlc,
    id::{Incarnation, NodeId},
};

/// What a node says about itself. It only ever goes on to a later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// It has come and fills up.
    Joining,
    /// It holds what it should.
    Up,
    /// It goes: it should hold nothing any more, and serves what it still has.
    Leaving,
    /// It is gone and holds nothing.
    Left,
}

/// What others say about a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It is there and always was.
    Up,
    /// It was down and is there again. Whatever it said about others before that does not count any more.
    Back,
    /// A majority could not reach it for a while.
    Down,
    /// The same for a node that went and came several times: it is not believed before this time has passed.
    Held {
        /// How long the node waits before it may answer, at most [`Verdict::MAX_HOLD_MS`].
        for_ms: u32,
    },
    /// It was down for so long that nobody waits for it any more.
    Removed,
}

/// A verdict about one incarnation of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Statement {
    /// The incarnation that it is about.
    pub incarnation: Incarnation,
    /// The verdict.
    pub verdict: Verdict,
    /// When it was spoken.
    pub at: Hlc,
    /// How many times the node was declared down in short succession, this time included.
    pub strikes: u8,
    /// Who spoke it first; others repeat it unchanged.
    pub speaker: NodeId,
    /// The boot of the speaker.
    pub speaker_incarnation: Incarnation,
    /// How many members could not reach the node when it was spoken.
    pub witnesses: u8,
}

/// What is known of one node: its own word and the others'.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Status {
    /// The boot that all this is about.
    pub incarnation: Incarnation,
    /// Its own word; [`State::Joining`] until it is heard.
    pub state: State,
    /// The others' word.
    pub statement: Option<Statement>,
}

/// What a node is to the ring, all words taken together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Standing {
    /// Slots are placed on it; it fills up.
    Joining,
    /// Slots are placed on it.
    Up,
    /// No slot is placed on it; it serves what it still has.
    Leaving,
    /// No slot is placed on it and nobody asks it: the others gave it up, for now.
    Down,
    /// Given up for good.
    Removed,
    /// Gone by its own will.
    Left,
}

impl State {
    fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Result<State, Malformed> {
        [State::Joining, State::Up, State::Leaving, State::Left]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or(Malformed("unknown state"))
    }

    /// Appends the state with the time at which the node entered it.
    pub fn encode(self, since: Hlc, out: &mut Vec<u8>) {
        out.push(self.code());
        out.extend_from_slice(&since.bits().to_le_bytes());
    }

    /// Reads a state and the time at which the node entered it.
    pub fn decode(bytes: &[u8]) -> Result<(State, Hlc), Malformed> {
        let mut reader = Reader(bytes);
        let state = (State::from_code(reader.u8()?)?, reader.hlc()?);
        reader.end()?;
        Ok(state)
    }
}

impl Verdict {
    /// The longest time that a node is held.
    pub const MAX_HOLD_MS: u32 = 600_000;

    /// Whether this says that the node is not there.
    pub fn is_accusation(self) -> bool {
        !matches!(self, Verdict::Up | Verdict::Back)
    }

    /// The order in which verdicts of the same time win.
    fn kindness(self) -> (u8, u32) {
        match self {
            Verdict::Down => (0, 0),
            Verdict::Held { for_ms } => (1, for_ms),
            Verdict::Up => (2, 0),
            Verdict::Back => (3, 0),
            Verdict::Removed => (4, 0),
        }
    }
}

impl Statement {
    /// The one of both that counts.
    #[must_use]
    pub fn join(self, other: Statement) -> Statement {
        self.max(other)
    }

    /// A total order, and with it the merge is a maximum.
    fn rank(&self) -> impl Ord + use<> {
        let is_final = self.verdict == Verdict::Removed;
        let rest = (self.strikes, self.witnesses, self.speaker, self.speaker_incarnation);
        (self.incarnation, is_final, self.at, self.verdict.kindness(), rest)
    }

    /// Appends the statement.
    pub fn encode(self, out: &mut Vec<u8>) {
        let (code, for_ms) = self.verdict.kindness();
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&self.at.bits().to_le_bytes());
        out.push(self.strikes);
        out.push(code);
        out.extend_from_slice(&for_ms.to_le_bytes());
        out.extend_from_slice(self.speaker.as_bytes());
        out.extend_from_slice(&self.speaker_incarnation.0.to_le_bytes());
        out.push(self.witnesses);
    }

    /// Reads a statement.
    pub fn decode(bytes: &[u8]) -> Result<Statement, Malformed> {
        let mut reader = Reader(bytes);
        let (incarnation, at, strikes) = (reader.incarnation()?, reader.hlc()?, reader.u8()?);
        let verdict = match (reader.u8()?, reader.u32()?) {
            (0, 0) => Verdict::Down,
            (1, for_ms) if for_ms <= Verdict::MAX_HOLD_MS => Verdict::Held { for_ms },
            (2, 0) => Verdict::Up,
            (3, 0) => Verdict::Back,
            (4, 0) => Verdict::Removed,
            _ => return Err(Malformed("unknown verdict")),
        };
        let (speaker, speaker_incarnation, witnesses) = (reader.node()?, reader.incarnation()?, reader.u8()?);
        reader.end()?;
        Ok(Statement { incarnation, verdict, at, strikes, speaker, speaker_incarnation, witnesses })
    }
}

impl Ord for Statement {
    /// The greater one counts.
    fn cmp(&self, other: &Statement) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Statement {
    fn partial_cmp(&self, other: &Statement) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Status {
    /// What is known of a boot that has said nothing yet.
    pub fn new(incarnation: Incarnation) -> Status {
        Status { incarnation, state: State::Joining, statement: None }
    }

    /// Takes in the node's own word.
    #[must_use]
    pub fn with_state(self, state: State) -> Status {
        Status { state: self.state.max(state), ..self }
    }

    /// Takes in somebody else's word; void unless it is about this boot.
    #[must_use]
    pub fn with_statement(self, statement: Statement) -> Status {
        if statement.incarnation != self.incarnation {
            return self;
        }
        Status { statement: Some(self.statement.map_or(statement, |known| known.join(statement))), ..self }
    }

    /// Everything that both know.
    #[must_use]
    pub fn join(self, other: Status) -> Status {
        match self.incarnation.cmp(&other.incarnation) {
            Ordering::Less => other,
            Ordering::Greater => self,
            Ordering::Equal => {
                let joined = self.with_state(other.state);
                other.statement.map_or(joined, |statement| joined.with_statement(statement))
            }
        }
    }

    /// What the node is to the ring.
    pub fn standing(self) -> Standing {
        match (self.state, self.statement.map(|statement| statement.verdict)) {
            (State::Left, _) => Standing::Left,
            (_, Some(Verdict::Removed)) => Standing::Removed,
            (_, Some(Verdict::Down | Verdict::Held { .. })) => Standing::Down,
            (State::Joining, _) => Standing::Joining,
            (State::Up, _) => Standing::Up,
            (State::Leaving, _) => Standing::Leaving,
        }
    }
}

impl Standing {
    /// Whether slots are placed on the node.
    pub fn is_placed(self) -> bool {
        matches!(self, Standing::Joining | Standing::Up)
    }

    /// Whether the node serves the slots that it is ready for, and is asked about others.
    pub fn is_live(self) -> bool {
        matches!(self, Standing::Joining | Standing::Up | Standing::Leaving)
    }

    /// Whether the node is over and its facts may be forgotten after a while.
    pub fn is_over(self) -> bool {
        matches!(self, Standing::Removed | Standing::Left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statement() -> impl Strategy<Value = Statement> {
        let verdict = prop_oneof![
            Just(Verdict::Up),
            Just(Verdict::Back),
            Just(Verdict::Down),
            (0u32..3).prop_map(|for_ms| Verdict::Held { for_ms }),
            Just(Verdict::Removed),
        ];
        let numbers = (0u64..4, 0u8..3, 0u8..2, 0u64..2);
        (0u64..3, verdict, numbers).prop_map(|(incarnation, verdict, (at, strikes, witnesses, speaker))| Statement {
            incarnation: Incarnation(incarnation),
            verdict,
            at: Hlc::from_bits(at).unwrap(),
            strikes,
            speaker: NodeId::from_seed(speaker),
            speaker_incarnation: Incarnation(speaker),
            witnesses,
        })
    }

    fn status() -> impl Strategy<Value = Status> {
        let state = prop::sample::select(vec![State::Joining, State::Up, State::Leaving, State::Left]);
        (0u64..3, state, prop::collection::vec(statement(), 0..3)).prop_map(|(incarnation, state, statements)| {
            let status = Status::new(Incarnation(incarnation)).with_state(state);
            statements.into_iter().fold(status, Status::with_statement)
        })
    }

    use alloc::vec;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_known_of_a_node_is_a_lattice(a in status(), b in status(), c in status()) {
            prop_assert_eq!(a.join(a), a);
            prop_assert_eq!(a.join(b), b.join(a));
            prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        }

        #[test]
        fn a_state_never_goes_back_and_removed_is_final(a in status(), b in status()) {
            let both = a.join(b);
            prop_assert!(both.incarnation >= a.incarnation);
            if both.incarnation == a.incarnation {
                prop_assert!(both.state >= a.state);
                prop_assert!(a.standing() != Standing::Removed || both.standing().is_over());
            }
        }

        #[test]
        fn statements_and_states_are_read_as_they_were_written(statement in statement(), state in status(), noise in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut bytes = Vec::new();
            statement.encode(&mut bytes);
            prop_assert_eq!(Statement::decode(&bytes), Ok(statement));
            bytes.clear();
            state.state.encode(statement.at, &mut bytes);
            prop_assert_eq!(State::decode(&bytes), Ok((state.state, statement.at)));
            let _ = (Statement::decode(&noise), State::decode(&noise));
        }
    }

    fn down(at: Hlc) -> Statement {
        let (incarnation, speaker) = (Incarnation(1), NodeId::from_seed(1));
        let verdict = Verdict::Down;
        Statement { incarnation, verdict, at, strikes: 1, speaker, speaker_incarnation: incarnation, witnesses: 1 }
    }

    #[test]
    fn an_answer_wins_over_the_verdict_it_answers_even_at_the_end_of_time() {
        let last = Hlc::from_bits((1 << 56) - 1).unwrap();
        let down = down(last);
        let up = Statement { verdict: Verdict::Up, ..down };
        let status = Status::new(Incarnation(1)).with_state(State::Up);
        assert_eq!(status.with_statement(down).standing(), Standing::Down);
        assert_eq!(status.with_statement(up).with_statement(down).standing(), Standing::Up);
    }

    #[test]
    fn a_verdict_about_a_former_boot_is_void() {
        let status = Status::new(Incarnation(2)).with_statement(down(Hlc::ZERO));
        assert_eq!((status.statement, status.standing()), (None, Standing::Joining));
    }
}
