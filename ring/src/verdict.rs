//! Verdicts: how a ring without a leader gives a member up, and takes it back.
//!
//! A node that cannot reach a member says so (`unreach`), and that alone moves nothing. Only a verdict does, and it
//! takes three things: the *oldest* member that is live and in reach speaks it; it could not reach the subject for the
//! rebuild delay; and a *majority* of the live members in reach say the same. Seniority needs no election (Hazelcast
//! and Olric use it too), the delay covers a restart, the majority keeps one bad cable from moving data.
//!
//! ```text
//!            oldest, majority, rebuild delay                     oldest, forget_after
//!   live ──────────────────────────────────► Down or Held ──────────────────────────► Removed ──► forgotten
//!     ▲                                            │                                     │
//!     └─────────── Back, by the subject itself ────┘                                     └─► the subject, if it
//!                   (after its hold, if it is held)                                          lives: a new incarnation
//! ```
//!
//! Everyone repeats the verdicts that he knows, so none is lost with whoever spoke it. "Live members in reach" is
//! counted by the speaker and without the subject. So the two survivors of three nodes give up the third, and so does
//! a lone survivor: each side of a split goes on by itself, which is what the availability of a cache asks for. When
//! the sides meet, the larger one's verdicts count ([`crate::member::dispute`]) and whoever lives answers. Only a side
//! that has the majority of all members removes and forgets the others. Refusing writes on the smaller side is another
//! decision, made elsewhere.
//!
//! A member that was declared down three times within ten minutes is *held*: it waits 30 s before it answers, then
//! twice as long each time, up to ten minutes, so that a flapping node does not move data to and fro.
//!
//! Which members are over for how long is measured by each node for itself, on its own monotonic clock.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use crate::{
    facts::{Facts, Full, Grave},
    hlc::{Hlc, HlcClock},
    id::{Incarnation, NodeId},
    member::{Key, Standing, Statement, Status, Verdict},
    view::{Member, View},
};

/// How often a view is to be reviewed when it does not change.
pub const REVIEW_EVERY_MS: u64 = 100;

/// Within what time a verdict counts towards a node's record.
const RECORD_MS: u64 = 600_000;

/// From which strike on a node is held, and for how long the first time.
const HELD_FROM_STRIKE: u8 = 3;
const FIRST_HOLD_MS: u32 = 30_000;

/// How long things take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// After how long without reaching it a member is declared down.
    pub rebuild_delay_ms: u64,
    /// After how long without reaching it this node says so.
    pub report_after_ms: u64,
    /// How long a member is down before it is removed, and over before it is forgotten.
    pub forget_after_ms: u64,
    /// Whether only a majority of all members may go on without the others: then no fewer give a member up, and removed
    /// members go on counting until an operator forgets them.
    pub needs_majority: bool,
}

impl Config {
    /// The defaults for a cluster with so many copies of each slot. With one copy there is nothing to wait for.
    pub fn for_replicas(replicas: u8) -> Config {
        let (rebuild_delay_ms, report_after_ms) = if replicas == 1 { (0, 0) } else { (30_000, 1_000) };
        Config { rebuild_delay_ms, report_after_ms, forget_after_ms: 600_000, needs_majority: false }
    }
}

/// What time it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// By a clock that never jumps: delays are measured on it.
    pub ms: u64,
    /// By the calendar, as it was when the node started and what has passed since: statements are dated with it, and a
    /// clock that is set meanwhile must not date them far ahead.
    pub unix_ms: u64,
}

/// What happened. The outputs are carried out before the next view is derived, so that a view shows everything that
/// this node has said.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// There is a live session with the node. Members without one are out of reach.
    Reachable(NodeId),
    /// There is none any more, or the peer is suspected.
    Unreachable(NodeId),
    /// The view as it is: after each change, and every [`REVIEW_EVERY_MS`].
    View(&'a View),
}

/// What this node is to do. All but the last two change what it says; [`Output::write`] does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Say that this incarnation of the node is out of reach.
    Report(NodeId, Incarnation),
    /// Say so no more.
    Unreport(NodeId),
    /// Speak or repeat a verdict.
    Say(NodeId, Statement),
    /// Repeat it no more.
    Unsay(NodeId),
    /// Forget a node that is over.
    Bury(Grave),
    /// This node was given up for good and lives: go on under this incarnation.
    Raise(Incarnation),
}

/// Comes to verdicts.
#[derive(Debug)]
pub struct Judge {
    me: NodeId,
    /// The one that this node had in the last view.
    incarnation: Option<Incarnation>,
    config: Config,
    clock: HlcClock,
    /// When this node spoke last.
    spoken: Hlc,
    reach: BTreeMap<NodeId, Reach>,
    /// Since when each member's status is what it is.
    standing: BTreeMap<NodeId, (Status, u64)>,
    /// Since when each stranger is one.
    strangers: BTreeMap<Grave, u64>,
    reported: BTreeMap<NodeId, Incarnation>,
    said: BTreeMap<NodeId, Statement>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reach {
    Reached,
    LostSince(u64),
}

impl Judge {
    /// Knows nothing yet.
    pub fn new(me: NodeId, config: Config) -> Judge {
        Judge {
            me,
            incarnation: None,
            config,
            clock: HlcClock::default(),
            spoken: Hlc::ZERO,
            reach: BTreeMap::new(),
            standing: BTreeMap::new(),
            strangers: BTreeMap::new(),
            reported: BTreeMap::new(),
            said: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Makes one step; drain [`Judge::poll_output`] after it.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        match input {
            Input::Reachable(node) => {
                self.reach.insert(node, Reach::Reached);
            }
            Input::Unreachable(node) => {
                // Who was lost before stays lost since then.
                let reach = self.reach.entry(node).or_insert(Reach::LostSince(now.ms));
                if *reach == Reach::Reached {
                    *reach = Reach::LostSince(now.ms);
                }
            }
            Input::View(view) => self.review(view, now),
        }
    }

    /// What is to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn review(&mut self, view: &View, now: Now) {
        self.take_note(view, now);
        self.withdraw_words_about_nobody(view);
        self.retract_void_words(view);
        let is_oldest = self.is_oldest(view);
        for member in view.members() {
            if member.id == self.me {
                self.note_raise(member, now);
                self.answer(member, now);
            } else {
                self.report(member, now);
                if is_oldest {
                    self.judge(member, view, now);
                }
                self.bury_if_over(member, view, now);
            }
            self.repeat(member, now);
        }
        self.bury_strangers(now);
    }

    /// Takes note of since when things are as they are, and forgets what is not in the view.
    fn take_note(&mut self, view: &View, now: Now) {
        for member in view.members() {
            self.reach.entry(member.id).or_insert(Reach::LostSince(now.ms));
            let noted = self.standing.entry(member.id).or_insert((member.status, now.ms));
            if noted.0 != member.status {
                *noted = (member.status, now.ms);
            }
        }
        self.reach.retain(|&id, reach| *reach == Reach::Reached || view.member(id).is_some());
        self.standing.retain(|&id, _| view.member(id).is_some());
        self.strangers.retain(|stranger, _| view.strangers().contains(stranger));
        for &stranger in view.strangers() {
            self.strangers.entry(stranger).or_insert(now.ms);
        }
    }

    fn withdraw_words_about_nobody(&mut self, view: &View) {
        let is_nobody = |id: &&NodeId| view.member(**id).is_none();
        let reported: Vec<NodeId> = self.reported.keys().filter(is_nobody).copied().collect();
        let said: Vec<NodeId> = self.said.keys().filter(is_nobody).copied().collect();
        reported.into_iter().for_each(|id| self.unreport(id));
        said.into_iter().for_each(|id| self.unsay(id));
    }

    /// Takes back what lost a dispute. What this node has said was written before the view was derived, so the view
    /// knows something at least as late unless it does not count.
    fn retract_void_words(&mut self, view: &View) {
        let is_void = |id, said| view.member(id).is_some_and(|member| member.last_statement < Some(said));
        let void: Vec<NodeId> = self.said.iter().filter(|&(&id, &said)| is_void(id, said)).map(|(&id, _)| id).collect();
        void.into_iter().for_each(|id| self.unsay(id));
    }

    /// The live members in reach, this node among them.
    fn live<'a>(&self, view: &'a View) -> impl Iterator<Item = &'a Member> {
        view.members()
            .iter()
            .filter(|member| member.id == self.me || (member.standing().is_live() && self.reaches(member.id)))
    }

    fn is_oldest(&self, view: &View) -> bool {
        self.live(view).min_by_key(|member| member.seniority()).is_some_and(|oldest| oldest.id == self.me)
    }

    /// Says whether the member is out of reach.
    fn report(&mut self, member: &Member, now: Now) {
        let incarnation = member.incarnation();
        let is_lost = !member.standing().is_over() && self.lost_for(member.id, self.config.report_after_ms, now);
        match (is_lost, self.reported.get(&member.id)) {
            (true, Some(&reported)) if reported == incarnation => {}
            (true, _) => {
                self.reported.insert(member.id, incarnation);
                self.outputs.push_back(Output::Report(member.id, incarnation));
            }
            (false, _) => self.unreport(member.id),
        }
    }

    /// What the oldest member does about another.
    fn judge(&mut self, member: &Member, view: &View, now: Now) {
        if !self.lost_for(member.id, self.config.rebuild_delay_ms, now) {
            return;
        }
        let (witnesses, live) = self.witnesses(member, view);
        let needed = if self.config.needs_majority { view.majority() } else { 0 };
        match member.standing() {
            standing if standing.is_live() && witnesses * 2 > live && witnesses >= needed => {
                let strikes = self.strikes(member, now);
                self.say(member, verdict_for(strikes), strikes, witnesses, now);
            }
            Standing::Down if self.has_waited_enough(member, view, now) => {
                let strikes = member.last_statement.map_or(1, |last| last.strikes);
                self.say(member, Verdict::Removed, strikes, witnesses, now);
            }
            _ => {}
        }
    }

    /// Whether nobody has to wait for the member any longer. The smaller side of a split waits for the larger one for
    /// ever: what it removes and forgets it would have to learn anew.
    fn has_waited_enough(&self, member: &Member, view: &View, now: Now) -> bool {
        self.unchanged_for(member.id, self.config.forget_after_ms, now) && self.live(view).count() >= view.majority()
    }

    /// How many live members in reach bear witness that the member is not, and how many could.
    fn witnesses(&self, member: &Member, view: &View) -> (usize, usize) {
        let (mut live, mut reports) = (0, 0);
        for witness in self.live(view).filter(|witness| witness.id != member.id) {
            live += 1;
            reports += usize::from(match witness.id == self.me {
                true => self.reported.get(&member.id) == Some(&member.incarnation()),
                false => member.unreachable_for.binary_search(&witness.id).is_ok(),
            });
        }
        (reports, live)
    }

    /// How often the node was declared down in short succession, this time included. Restarts do not clear a record.
    fn strikes(&self, member: &Member, now: Now) -> u8 {
        let recent = member.last_statement.filter(|last| is_recent(*last, now));
        recent.map_or(1, |last| last.strikes.saturating_add(1))
    }

    /// Whoever goes on as another incarnation, because he heard of his grave, was on the losing side of a split.
    fn note_raise(&mut self, me: &Member, now: Now) {
        let before = self.incarnation.replace(me.incarnation());
        let has_told = self.said.get(&self.me).is_some_and(|said| said.incarnation == me.incarnation());
        if before.is_some_and(|before| before < me.incarnation()) && !has_told {
            self.come_back(me, me.incarnation(), now);
        }
    }

    /// What this node does about a verdict on itself.
    fn answer(&mut self, me: &Member, now: Now) {
        let strikes = me.last_statement.map_or(0, |last| last.strikes);
        let verdict = me.status.statement.map(|statement| statement.verdict);
        match verdict {
            Some(Verdict::Down) => self.say(me, Verdict::Back, strikes, 0, now),
            Some(Verdict::Held { for_ms }) if self.unchanged_for(self.me, for_ms.into(), now) => {
                self.say(me, Verdict::Back, strikes, 0, now);
            }
            Some(Verdict::Removed) if me.standing() == Standing::Removed => {
                let above = Incarnation(me.incarnation().0 + 1);
                self.come_back(me, above, now);
                self.outputs.push_back(Output::Raise(above));
            }
            None | Some(Verdict::Up | Verdict::Back)
                if me.void_accusation.is_some_and(|void| void.verdict != Verdict::Removed) =>
            {
                self.say(me, verdict.unwrap_or(Verdict::Up), strikes, 0, now);
            }
            _ => {}
        }
    }

    /// Tells that this node goes on as another incarnation, and so that its words from before do not count.
    fn come_back(&mut self, me: &Member, incarnation: Incarnation, now: Now) {
        let strikes = me.last_statement.map_or(0, |last| last.strikes);
        let statement = self.statement(me, Verdict::Back, strikes, 0, now);
        self.speak(self.me, Statement { incarnation, ..statement });
    }

    /// Repeats what others say about the member, so that it outlives them, as long as it matters.
    fn repeat(&mut self, member: &Member, now: Now) {
        // What this node has said just now is not in the view yet.
        let mine = self.said.get(&member.id).copied();
        let all = mine.into_iter().chain(member.last_statement).reduce(Statement::join);
        let matters = |last: &Statement| last.incarnation == member.incarnation() || is_recent(*last, now);
        match all.filter(matters) {
            None => self.unsay(member.id),
            Some(last) if mine == Some(last) => {}
            Some(last) => self.speak(member.id, last),
        }
    }

    fn bury_if_over(&mut self, member: &Member, view: &View, now: Now) {
        let may_go = match member.standing() {
            Standing::Left => self.unchanged_for(member.id, self.config.forget_after_ms, now),
            Standing::Removed => !self.config.needs_majority && self.has_waited_enough(member, view, now),
            _ => false,
        };
        if may_go {
            self.outputs.push_back(Output::Bury(Grave { incarnation: member.incarnation(), node: member.id }));
        }
    }

    /// Nodes that never say who they are do not take up room for ever.
    fn bury_strangers(&mut self, now: Now) {
        for (&stranger, &since_ms) in &self.strangers {
            let is_reached = self.reach.get(&stranger.node) == Some(&Reach::Reached);
            if stranger.node != self.me && !is_reached && now.ms.saturating_sub(since_ms) >= self.config.forget_after_ms
            {
                self.outputs.push_back(Output::Bury(stranger));
            }
        }
    }

    fn say(&mut self, about: &Member, verdict: Verdict, strikes: u8, witnesses: usize, now: Now) {
        let statement = self.statement(about, verdict, strikes, witnesses, now);
        self.speak(about.id, statement);
    }

    /// A statement that is later than everything said before, by this node or about that one, by however much the
    /// other's clock was ahead.
    fn statement(&mut self, about: &Member, verdict: Verdict, strikes: u8, witnesses: usize, now: Now) -> Statement {
        let heard = [about.last_statement, about.void_accusation].into_iter().flatten().map(|heard| heard.at);
        let last = heard.fold(self.spoken, Hlc::max);
        let at = self.clock.tick(now.unix_ms).max(Hlc::from_bits(last.bits() + 1).unwrap_or(last));
        self.spoken = at;
        Statement {
            incarnation: about.incarnation(),
            verdict,
            at,
            strikes,
            speaker: self.me,
            speaker_incarnation: self.incarnation.unwrap_or_default(),
            witnesses: witnesses.min(u8::MAX.into()) as u8,
        }
    }

    fn speak(&mut self, about: NodeId, statement: Statement) {
        self.said.insert(about, statement);
        self.outputs.push_back(Output::Say(about, statement));
    }

    fn unsay(&mut self, node: NodeId) {
        if self.said.remove(&node).is_some() {
            self.outputs.push_back(Output::Unsay(node));
        }
    }

    fn unreport(&mut self, node: NodeId) {
        if self.reported.remove(&node).is_some() {
            self.outputs.push_back(Output::Unreport(node));
        }
    }

    fn reaches(&self, node: NodeId) -> bool {
        self.reach.get(&node) == Some(&Reach::Reached)
    }

    fn lost_for(&self, node: NodeId, delay_ms: u64, now: Now) -> bool {
        matches!(self.reach.get(&node), Some(Reach::LostSince(since_ms)) if now.ms.saturating_sub(*since_ms) >= delay_ms)
    }

    fn unchanged_for(&self, node: NodeId, delay_ms: u64, now: Now) -> bool {
        self.standing.get(&node).is_some_and(|(_, since_ms)| now.ms.saturating_sub(*since_ms) >= delay_ms)
    }
}

impl Output {
    /// Carries the output out. False if nothing changed by it.
    pub fn write(self, facts: &mut Facts) -> Result<bool, Full> {
        Ok(match self {
            Output::Report(node, incarnation) => {
                facts.set(&Key::Unreach(node).to_bytes(), &incarnation.0.to_le_bytes())?
            }
            Output::Unreport(node) => facts.withdraw(&Key::Unreach(node).to_bytes()),
            Output::Say(node, statement) => {
                let mut value = Vec::new();
                statement.encode(&mut value);
                facts.set(&Key::Verdict(node).to_bytes(), &value)?
            }
            Output::Unsay(node) => facts.withdraw(&Key::Verdict(node).to_bytes()),
            Output::Bury(grave) => facts.bury(grave),
            Output::Raise(incarnation) => facts.raise(incarnation),
        })
    }
}

fn verdict_for(strikes: u8) -> Verdict {
    match strikes.checked_sub(HELD_FROM_STRIKE) {
        None => Verdict::Down,
        Some(times) => {
            Verdict::Held { for_ms: FIRST_HOLD_MS.saturating_mul(1 << times.min(8)).min(Verdict::MAX_HOLD_MS) }
        }
    }
}

fn is_recent(statement: Statement, now: Now) -> bool {
    statement.at.unix_ms() + RECORD_MS > now.unix_ms
}
