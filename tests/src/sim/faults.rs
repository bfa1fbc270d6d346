//! What a run does: each seed draws some kinds of damage and how much of each (swarm testing: Groce, Zhang, Eide, Chen,
//! Regehr, "Swarm Testing", ISSTA 2012). A run with everything at once hides what a run with two things shows.

use fastrand::Rng;
use ring::replica::PARK_LIMIT_BYTES;

use super::aims::Aim;

/// How far clocks can be apart, in ms.
pub(super) const MOST_SKEW_MS: u64 = 400;

/// What can happen in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// A client's command.
    Command,
    /// A node looks around.
    Tick,
    /// A packet arrives.
    Deliver,
    /// A machine hears what the receiving end of a stream has to tell.
    Hear,
    /// A node learns of the latest targets.
    Learn,
    /// Two nodes find out that their session is over, or one that was down comes back.
    Notice,
    /// Targets change.
    Move,
    /// A link breaks or heals.
    Break,
    /// A node crashes.
    Crash,
    /// A node stands still.
    Pause,
    /// One direction of one stream stands still.
    Stall,
    /// Nodes that were not there join.
    Join,
    /// Nodes leave, in good order.
    Leave,
    /// A copy loses an entry without its context knowing.
    Lose,
    /// All holders of a slot crash, and it comes back to a node that acted for it before.
    Ruin,
    /// Who acts finds a copy, or its own, not to be what its context says.
    Doubt,
    /// One direction of a link is cut.
    OneWay,
    /// A link breaks and heals several times in a row.
    Flap,
    /// A node joins and another one leaves, in one change.
    Swap,
    /// The clock of a node is set.
    Jump,
    /// A node removes what is past its deadline.
    Expire,
    /// Memory is short on a node.
    Press,
    /// A node finds that it stood still while sessions of it ended.
    Lapse,
}

/// What a run does beside commands.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How many copies of each slot.
    pub replicas: usize,
    /// A write asks for at most so many copies.
    pub most_copies: usize,
    /// Few keys.
    pub hot: bool,
    /// Crashes hit holders.
    pub aimed: bool,
    /// Targets tend to go back to what they were.
    pub fickle: bool,
    /// Only the order of targets changes: nodes contest who acts.
    pub contested: bool,
    /// At most so many crashes.
    pub most_crashes: usize,
    /// Who stands still is given up by others.
    pub suspicion: bool,
    /// Copies are compared now and then, and not only where sessions begin.
    pub compare_rounds: bool,
    /// How many bytes of effects a copy parks.
    pub park_limit_bytes: usize,
    /// How far clocks are apart, in ms.
    pub skew_ms: u64,
    /// Before everything heals, everything does but the link between two nodes.
    pub ends_apart: bool,
    /// Some nodes stand still for much longer than others.
    pub long_pauses: bool,
    /// Some commands change several keys at once.
    pub several: bool,
    /// Some entries have a deadline.
    pub deadlines: bool,
    /// Links break with certain messages.
    pub(super) aims: Vec<Aim>,
    weights: Vec<(Action, u32)>,
}

impl Faults {
    pub(super) fn draw(random: &mut Rng) -> Faults {
        let replicas = random.usize(2..4);
        let contested = random.u8(0..4) == 0;
        let mut weights = draw_weights(random);
        if contested {
            weights.push((Action::Move, random.u32(10..80)));
        }
        Faults {
            replicas,
            most_copies: random.usize(1..=replicas),
            hot: random.bool(),
            aimed: random.bool(),
            fickle: random.bool(),
            contested,
            most_crashes: *random.choice(&[1, 2, 3, usize::MAX]).expect("the list is not empty"),
            suspicion: random.bool(),
            compare_rounds: random.u8(0..4) > 0,
            park_limit_bytes: if random.u8(0..4) == 0 { random.usize(0..200) } else { PARK_LIMIT_BYTES },
            skew_ms: if random.bool() { 0 } else { random.u64(1..100) },
            ends_apart: false,
            long_pauses: false,
            several: false,
            deadlines: false,
            aims: Vec::new(),
            weights,
        }
    }

    /// Draws what was thought of later, apart from the rest, so that seeds keep their meaning where it does not happen.
    pub(super) fn draw_later(&mut self, random: &mut Rng) {
        if random.u8(0..6) == 0 {
            self.weights.push((Action::Doubt, random.u32(2..30)));
        }
        self.ends_apart = random.u8(0..3) == 0;
    }

    /// The same for what was thought of later still. A third of the runs have none of it.
    pub(super) fn draw_latest(&mut self, random: &mut Rng) {
        if random.u8(0..3) == 0 {
            return;
        }
        let mut some = || random.u8(0..3) == 0;
        let actions = [
            (Action::OneWay, 30),
            (Action::Flap, 10),
            (Action::Swap, 12),
            (Action::Jump, 20),
            (Action::Expire, 60),
            (Action::Press, 40),
        ];
        let drawn: Vec<_> = actions.into_iter().filter(|_| some()).collect();
        self.long_pauses = some();
        self.several = some();
        let skewed = some();
        let aims = random.bool();
        self.deadlines = drawn.iter().any(|&(action, _)| action == Action::Expire);
        for (action, most) in drawn {
            self.weights.push((action, random.u32(2..=most)));
        }
        if aims {
            self.aims = (0..random.usize(2..13)).map(|_| Aim::draw(random)).collect();
        }
        if skewed {
            self.skew_ms = random.u64(100..=MOST_SKEW_MS);
        }
    }

    /// And for this.
    pub(super) fn draw_last(&mut self, random: &mut Rng) {
        if random.u8(0..4) == 0 {
            self.weights.push((Action::Lapse, random.u32(2..=30)));
        }
    }

    /// Draws what happens next.
    pub(super) fn action(&self, random: &mut Rng) -> Action {
        let total = self.weights.iter().map(|&(_, weight)| weight).sum();
        let mut drawn = random.u32(0..total);
        for &(action, weight) in &self.weights {
            if drawn < weight {
                return action;
            }
            drawn -= weight;
        }
        Action::Deliver
    }

    /// Whether such a thing happens in this run.
    pub(super) fn has(&self, action: Action) -> bool {
        self.weights.iter().any(|&(other, _)| other == action)
    }
}

/// Weights in tenths of a percent, roughly; damage is there in half of the runs, each kind by itself.
fn draw_weights(random: &mut Rng) -> Vec<(Action, u32)> {
    let mut weights = vec![
        (Action::Command, random.u32(60..240)),
        (Action::Tick, random.u32(60..200)),
        (Action::Deliver, random.u32(400..900)),
        (Action::Hear, random.u32(20..400)),
        (Action::Learn, random.u32(10..60)),
        (Action::Notice, random.u32(20..80)),
    ];
    let damage = [
        (Action::Move, 30),
        (Action::Break, 60),
        (Action::Crash, 16),
        (Action::Pause, 20),
        (Action::Stall, 30),
        (Action::Join, 10),
        (Action::Leave, 10),
        (Action::Lose, 10),
        (Action::Ruin, 20),
    ];
    for (action, most) in damage {
        let rare = matches!(action, Action::Lose | Action::Ruin);
        if random.bool() && (!rare || random.bool()) {
            weights.push((action, random.u32(2..=most)));
        }
        if action == Action::Ruin && weights.last().is_some_and(|&(last, _)| last == action) {
            // Only a slot that has moved away can come back.
            weights.push((Action::Move, most));
        }
    }
    weights
}
