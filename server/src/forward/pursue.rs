//! Has the requests of a batch executed, wherever their slots are, in the order of each slot.
//!
//! ```text
//!              ┌──────────────────────── until it is done, or its time is over ────────────────────────┐
//!  group ─► route ─┬─ here ────► execute in order ──────────────► done                                  │
//!   (one           │              └─ this node does not act ──► rest until routes change                │
//!   slot)          ├─ there ───► all its frames at once ─► answers ─┬─► done                             │
//!                  │                                                 └─ not executed ► rest 10 ms or so  ┘
//!                  └─ nowhere ─► rest until routes change
//! ```
//!
//! All groups move at the same time: a batch that touches five nodes takes as long as the slowest of them. Within a
//! group nothing overtakes anything: what follows a request that was not executed is not executed either, and when
//! the group is sent again it starts with the first request that has no reply.
//!
//! A request whose outcome is not known, because the link broke behind it, is sent again only if executing it twice
//! is the same as once (`command::is_repeatable`). Every other gets [`Outcome::Lost`].

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use ring::{id::Peer, slot::Slot};
use tokio::{sync::watch, time::sleep};

use super::{
    flight::{Address, Answer, Flight},
    frame::{Head, Kind, LARGE_BYTES, MORE},
    link::{Outgoing, Refused},
    links::PeerLinks,
    work::{Outcome, Work},
};
use crate::{
    command::is_repeatable,
    resp::Output,
    router::{Ran, Router},
    routes::Where,
};

/// A node that did not execute something is asked again after this time, or when the routes change.
const REST_US: u64 = 10_000;

/// So long after the deadline an answer is still waited for: the other node keeps the deadline too, but may have to
/// wait for acknowledgements or to send a large value. A node that is gone is noticed long before.
const GRACE_US: u64 = 10_000_000;

/// How long and how far requests are pursued.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// How many nodes have passed the requests on.
    pub(crate) hops: u8,
    /// When what was not executed stays so, in monotonic time.
    pub(crate) deadline_us: u64,
    /// Whose requests they are: requests of one client use the same link.
    pub(crate) client: u64,
}

/// Gives every item of the work its outcome.
pub(crate) async fn pursue(router: &Router, work: &mut Work, terms: Terms) {
    let mut pursuit = Pursuit::new(router, work, terms);
    while !pursuit.advance() {
        pursuit.wait().await;
    }
}

struct Pursuit<'a> {
    router: &'a Router,
    work: &'a mut Work,
    terms: Terms,
    flight: Arc<Flight>,
    /// The numbers of the items, by slot.
    order: Vec<u32>,
    groups: Vec<Group>,
    /// For each item, its group.
    group_of: Vec<u32>,
    changes: Option<watch::Receiver<u64>>,
    arrivals: Vec<(Address, Answer)>,
    attempt: u32,
}

/// The requests on one slot.
struct Group {
    slot: Slot,
    /// Where they are in the order.
    items: Range<usize>,
    state: State,
    /// Whether the link for large frames has to be used.
    is_large: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ready,
    UnderWay {
        attempt: u32,
        owed: usize,
        give_up_us: u64,
        /// Only the link was wrong.
        again: bool,
    },
    /// Until the routes change, or until then.
    Resting {
        until_us: Option<u64>,
    },
    /// Until there is room on the link.
    Crowded,
    Done,
}

impl<'a> Pursuit<'a> {
    fn new(router: &'a Router, work: &'a mut Work, terms: Terms) -> Pursuit<'a> {
        let mut order: Vec<u32> = (0..work.items.len() as u32).collect();
        order.sort_by_key(|&number| work.items[number as usize].slot);
        let mut group_of = vec![0; order.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (place, &number) in order.iter().enumerate() {
            let slot = work.items[number as usize].slot;
            match groups.last_mut() {
                Some(last) if last.slot == slot => last.items.end = place + 1,
                _ => groups.push(Group { slot, items: place..place + 1, state: State::Ready, is_large: false }),
            }
            group_of[number as usize] = groups.len() as u32 - 1;
        }
        let flight = Flight::new();
        let (changes, arrivals) = (None, Vec::new());
        Pursuit { router, work, terms, flight, order, groups, group_of, changes, arrivals, attempt: 0 }
    }

    /// Does all that can be done now; true when everything has its outcome.
    fn advance(&mut self) -> bool {
        self.step_all();
        let rests = |group: &Group| matches!(group.state, State::Resting { .. });
        if self.changes.is_none() && self.groups.iter().any(rests) {
            // What changes from now on is noticed; what changed just before is found by looking again.
            self.changes = Some(self.router.cluster().routes.changes());
            self.rouse(|_| true);
            self.step_all();
        }
        self.groups.iter().all(|group| group.state == State::Done)
    }

    async fn wait(&mut self) {
        let now_us = self.now_us();
        let deadline_us = self.terms.deadline_us;
        let wake_us = self.groups.iter().filter_map(|group| match group.state {
            State::Resting { until_us } => Some(until_us.map_or(deadline_us, |until| until.min(deadline_us))),
            State::Crowded => Some(deadline_us),
            State::UnderWay { give_up_us, .. } => Some(give_up_us),
            State::Ready | State::Done => None,
        });
        // A microsecond more, so that the time has come for certain when the timer rings.
        let wait_us = wake_us.min().unwrap_or(deadline_us).saturating_sub(now_us) + 1;
        let (flight, arrivals, changes) = (self.flight.clone(), &mut self.arrivals, &mut self.changes);
        let changed = async {
            if let Some(changes) = changes
                && changes.changed().await.is_ok()
            {
                return;
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            () = flight.arrivals(arrivals) => self.take_arrivals(),
            () = changed => self.rouse(|_| true),
            () = sleep(Duration::from_micros(wait_us)) => self.give_up(),
        }
    }

    /// Lets groups go on that rest, or wait for room.
    fn rouse(&mut self, rouses: impl Fn(Option<u64>) -> bool) {
        for group in &mut self.groups {
            match group.state {
                State::Resting { until_us } if rouses(until_us) => group.state = State::Ready,
                _ => {}
            }
        }
    }

    /// The time is over that something rested or was waited for.
    fn give_up(&mut self) {
        let (now_us, deadline_us) = (self.now_us(), self.terms.deadline_us);
        self.rouse(|until_us| now_us >= until_us.unwrap_or(deadline_us).min(deadline_us));
        for at in 0..self.groups.len() {
            match self.groups[at].state {
                State::UnderWay { give_up_us, .. } if now_us >= give_up_us => {
                    for place in self.groups[at].items.clone() {
                        self.lose(self.order[place] as usize);
                    }
                    self.groups[at].state = State::Ready;
                }
                State::Crowded if now_us >= deadline_us => self.groups[at].state = State::Ready,
                _ => {}
            }
        }
    }

    fn step_all(&mut self) {
        let mut touched: HashMap<(Peer, bool), Arc<PeerLinks>> = HashMap::new();
        let (now_us, now_unix_ms) = (self.now_us(), self.router.services().clock.unix_ms());
        for at in 0..self.groups.len() {
            if self.groups[at].state == State::Ready {
                self.groups[at].state = self.step(at, now_us, now_unix_ms, &mut touched);
            }
        }
        // All frames for one link leave with one write.
        for ((_, is_large), links) in touched {
            links.flush(self.terms.client, is_large);
        }
    }

    fn step(
        &mut self,
        at: usize,
        now_us: u64,
        now_unix_ms: u64,
        touched: &mut HashMap<(Peer, bool), Arc<PeerLinks>>,
    ) -> State {
        let Group { slot, ref items, .. } = self.groups[at];
        let open = |&place: &usize| self.work.items[self.order[place] as usize].outcome.is_none();
        let Some(first) = items.clone().find(open) else { return State::Done };
        let items = first..items.end;
        if now_us >= self.terms.deadline_us || self.router.cluster().routes.is_down() {
            for place in items {
                self.work.items[self.order[place] as usize].outcome.get_or_insert(Outcome::NotExecuted);
            }
            return State::Done;
        }
        match self.router.cluster().routes.of(slot) {
            Where::Here => self.execute(items, now_unix_ms),
            Where::There(peer) => match self.router.cluster().links.of(peer) {
                Some(links) => self.send(at, items, now_us, (peer, links), touched),
                None => State::Resting { until_us: Some(now_us + REST_US) },
            },
            Where::Nowhere => State::Resting { until_us: None },
        }
    }

    fn execute(&mut self, items: Range<usize>, now_unix_ms: u64) -> State {
        for place in items {
            let number = self.order[place] as usize;
            if self.work.items[number].outcome.is_some() {
                continue;
            }
            match self.router.run_item(self.work, number, now_unix_ms) {
                Some(outcome) => self.work.items[number].outcome = Some(outcome),
                None => return State::Resting { until_us: None },
            }
        }
        State::Done
    }

    fn send(
        &mut self,
        at: usize,
        items: Range<usize>,
        now_us: u64,
        (peer, links): (Peer, Arc<PeerLinks>),
        touched: &mut HashMap<(Peer, bool), Arc<PeerLinks>>,
    ) -> State {
        self.attempt += 1;
        let (attempt, work, slot) = (self.attempt, &*self.work, self.groups[at].slot);
        let open: Vec<u32> =
            self.order[items].iter().copied().filter(|&number| work.items[number as usize].outcome.is_none()).collect();
        let is_large =
            self.groups[at].is_large || open.iter().any(|&number| work.encoded(number as usize).len() > LARGE_BYTES);
        let deadline_ms = u32::try_from((self.terms.deadline_us - now_us) / 1000).unwrap_or(u32::MAX);
        let (hops, last) = (self.terms.hops + 1, open.len() - 1);
        let frames = open.iter().enumerate().map(|(place, &request)| {
            let (mode, flags) = (work.items[request as usize].mode, if place < last { MORE } else { 0 });
            let head = Head { id: 0, kind: Kind::Command, flags, mode, hops, slot, deadline_ms };
            Outgoing { head, body: [work.encoded(request as usize), b""], address: Address { request, attempt } }
        });
        match links.append(self.terms.client, is_large, &self.flight, frames) {
            Ok(()) => {
                touched.entry((peer, is_large)).or_insert(links);
                let give_up_us = self.terms.deadline_us + GRACE_US;
                State::UnderWay { attempt, owed: open.len(), give_up_us, again: false }
            }
            Err(Refused::Full) => State::Crowded,
            Err(Refused::Closed) => State::Resting { until_us: Some(now_us + REST_US) },
        }
    }

    fn take_arrivals(&mut self) {
        let now_us = self.now_us();
        for group in &mut self.groups {
            if group.state == State::Crowded {
                group.state = State::Ready;
            }
        }
        for (Address { request, attempt: of }, answer) in std::mem::take(&mut self.arrivals) {
            let at = self.group_of[request as usize] as usize;
            let State::UnderWay { attempt, owed, give_up_us, again } = self.groups[at].state else { continue };
            if attempt != of {
                continue;
            }
            let is_too_large = matches!(answer, Answer::TooLarge);
            self.groups[at].is_large |= is_too_large;
            match answer {
                Answer::Executed(reply) => {
                    self.work.items[request as usize].outcome = Some(Outcome::Replied(reply));
                }
                Answer::Lost => self.lose(request as usize),
                Answer::NotExecuted | Answer::TooLarge => {}
            }
            let again = again || is_too_large;
            self.groups[at].state = match owed - 1 {
                0 if again || self.is_done(at) => State::Ready,
                0 => State::Resting { until_us: Some(now_us + REST_US) },
                owed => State::UnderWay { attempt, owed, give_up_us, again },
            };
        }
    }

    /// Nobody knows whether the request was executed: it is sent again if that does no harm.
    fn lose(&mut self, number: usize) {
        if !is_repeatable(self.work.items[number].command, &self.work.request(number)) {
            self.work.items[number].outcome.get_or_insert(Outcome::Lost);
        }
    }

    fn is_done(&self, at: usize) -> bool {
        let mut items = self.order[self.groups[at].items.clone()].iter();
        items.all(|&number| self.work.items[number as usize].outcome.is_some())
    }

    fn now_us(&self) -> u64 {
        self.router.services().clock.monotonic_us()
    }
}

impl Router {
    /// Executes an item here; none if this node does not act for its slot.
    pub(crate) fn run_item(&self, work: &Work, number: usize, now_unix_ms: u64) -> Option<Outcome> {
        let mut out = Output::default();
        match self.run_here(work.items[number].slot, &work.call(number, now_unix_ms), &mut out) {
            Ran::NotActing => None,
            Ran::Done | Ran::Failed => Some(Outcome::Replied(out.into_bytes())),
            Ran::Written(ticket) => {
                let since_us = self.services().clock.monotonic_us();
                Some(Outcome::Written { reply: out.into_bytes(), ticket, since_us })
            }
        }
    }
}
