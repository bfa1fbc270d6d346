//! `CLUSTER VERIFY`: whether all copies of all slots are the same, to the last byte, and what is done where they are not.
//!
//! Every node looks through the slots that it acts for and claims to their other copies, between two effects, what they have
//! to be ([`crate::store::Claim`]). Whoever comes to that place in the lane answers whether it is. So a difference is never
//! just an effect on its way, whatever is written meanwhile, and nothing stands still for it.
//!
//! A copy that has incorporated something else, or kept another of two concurrent versions, is mended by the exchange of
//! contexts that every comparison begins. One whose entries are not those that it was told is pulled anew; if it is the
//! copy of who acts, and another one is right, another one acts then. Of copies with the same versions and other values
//! nobody can say which is right: it is that of who acts, unless two others agree against it.

use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};

use ring::{
    id::PeerSet,
    slot::{SLOTS, Slot},
    slot_set::SlotSet,
};

use super::{Router, patience::Patience};
use crate::{
    command::Later,
    forward::{Asked, Problem, Verified},
    replica::audits::{Answer, Audit},
    resp::Reply,
    store::{Claimed, Finding},
};

/// So many slots are compared at a time: the others of a lane are not kept waiting for long.
const SLOTS_AT_A_TIME: usize = 64;

/// Answers are waited for so long.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(10);

impl Router {
    /// Compares all copies of all slots; what was found out, as text.
    pub(crate) fn verify(self: &Arc<Self>, client: u64) -> Later {
        let router = self.clone();
        Box::pin(async move {
            let clock = router.services.clock.clone();
            let start_us = clock.monotonic_us();
            let (mut missing, mut total) = (SlotSet::full(SLOTS), Verified::default());
            let mut patience = Patience::new(&router);
            while !missing.is_empty() {
                let before = missing.len();
                for (mut asked, verified) in router.verify_all(&missing, client).await {
                    let Some(verified) = verified else { continue };
                    asked.subtract(&verified.unserved);
                    missing.subtract(&asked);
                    total.add(verified);
                }
                if missing.len() < before {
                    patience.renew();
                } else if !patience.rest().await {
                    break;
                }
            }
            total.unserved = missing;
            let topology = router.services.topology.current();
            let places = topology.nodes().iter().filter(|node| node.standing.is_placed()).count();
            let wanted = (SLOTS * router.cluster.replicas.min(places)) as u64;
            Reply::Verbatim(text(&total, wanted, clock.monotonic_us() - start_us))
        })
    }

    async fn verify_all(&self, slots: &SlotSet, client: u64) -> Vec<(SlotSet, Option<Verified>)> {
        let asks = self.by_node(slots).into_iter().map(async |(node, slots)| {
            let verified = match node {
                None => self.verify_here(&slots).await,
                Some(peer) => match self.ask_verify(peer, client, &slots).await {
                    Asked::Answered(body) => Verified::decode(&body).ok(),
                    Asked::Failed | Asked::Lost => None,
                },
            };
            (slots, verified)
        });
        futures_util::future::join_all(asks).await
    }

    /// Compares the copies of these slots, as far as this node acts for them, with its own; none while too many others ask
    /// for that.
    pub(crate) async fn verify_here(&self, slots: &SlotSet) -> Option<Verified> {
        let audit = self.cluster.audits.begin()?;
        let mut verified = Verified::default();
        let slots: Vec<Slot> = slots.iter().collect();
        for slots in slots.chunks(SLOTS_AT_A_TIME) {
            self.verify_some(&audit, slots, &mut verified).await;
        }
        Some(verified)
    }

    async fn verify_some(&self, audit: &Audit<'_>, slots: &[Slot], verified: &mut Verified) {
        let mut claims = HashMap::new();
        for &slot in slots {
            match self.store.claim(slot, audit.round(), |peers| audit.expect(slot, peers)) {
                Some(claimed) => {
                    audit.not_sent(slot, claimed.counting.difference(claimed.sent_to));
                    claims.insert(slot, (claimed, Vec::new()));
                }
                None => {
                    verified.unserved.insert(slot);
                }
            }
            // Others have their turn: a slot may be large.
            tokio::task::yield_now().await;
        }
        for answer in audit.answers(ANSWERS_TIMEOUT).await {
            if let Some((_, answers)) = claims.get_mut(&answer.slot) {
                answers.push(answer);
            }
        }
        for (slot, (claimed, answers)) in claims {
            self.judge(slot, &claimed, &answers, verified);
        }
    }

    /// What the answers about a slot mean.
    fn judge(&self, slot: Slot, claimed: &Claimed, answers: &[Answer], verified: &mut Verified) {
        let me = self.services.topology.current().me();
        let audits = &self.cluster.audits;
        let found = |wanted: Finding| {
            let is_so = move |answer: &&Answer| answer.found.is_some_and(|(finding, _)| finding == wanted);
            answers.iter().filter(is_so)
        };
        let equal: PeerSet = found(Finding::Equal).map(|answer| answer.peer).collect();
        verified.slots += 1;
        verified.keys += claimed.keys as u64;
        verified.bytes += claimed.bytes as u64;
        verified.copies += equal.len() as u64;
        for answer in answers {
            if let Some(problem) = Problem::of(answer.found.map(|(finding, _)| finding)) {
                let node = audits.node(answer.peer).unwrap_or_default();
                verified.note(slot, node, problem);
            }
        }
        let contents: Vec<u64> = found(Finding::Content).filter_map(|answer| Some(answer.found?.1)).collect();
        let are_against = equal.is_empty() && contents.len() > 1 && contents.windows(2).all(|pair| pair[0] == pair[1]);
        if claimed.is_sound && !are_against {
            verified.copies += 1;
            let wrong: PeerSet =
                found(Finding::Content).chain(found(Finding::Spoilt)).map(|answer| answer.peer).collect();
            if !wrong.is_empty() {
                tracing::error!(%slot, copies = wrong.len(), "copies of a slot have other entries than they were told");
                audits.tell_spoilt(slot, wrong, false);
            }
            return;
        }
        let problem = if claimed.is_sound { Problem::Content } else { Problem::Spoilt };
        verified.note(slot, me, problem);
        tracing::error!(%slot, "this node's copy of a slot has other entries than it was told");
        if are_against || !equal.is_empty() {
            let wrong = answers.iter().map(|answer| answer.peer).collect::<PeerSet>();
            let right = if are_against { wrong } else { equal };
            audits.tell_spoilt(slot, wrong.difference(right), true);
        } else {
            // There is no better one.
            self.store.settle_books(slot);
        }
    }
}

/// The reply.
fn text(total: &Verified, wanted: u64, elapsed_us: u64) -> String {
    let count = |is_so: fn(Problem) -> bool| -> u64 {
        Problem::ALL.iter().zip(total.counts).filter(|((problem, _), _)| is_so(*problem)).map(|(_, count)| count).sum()
    };
    let is_whole = total.unserved.is_empty() && total.copies >= wanted && count(|_| true) == 0;
    let state = match is_whole {
        true => "clean",
        false if count(Problem::is_divergence) > 0 => "divergent",
        false => "incomplete",
    };
    let mut text = String::new();
    let mut add = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "verify_{name}:{value}\r\n");
    };
    add("state", &state);
    add("slots", &total.slots);
    add("slots_unserved", &total.unserved.len());
    add("copies", &total.copies);
    add("copies_wanted", &wanted);
    add("keys", &total.keys);
    add("bytes", &total.bytes);
    for ((_, name), count) in Problem::ALL.iter().zip(total.counts) {
        add(&format!("copies_{name}"), &count);
    }
    add("milliseconds", &(elapsed_us / 1000));
    for (slot, node, problem) in &total.named {
        let name = Problem::ALL[*problem as usize].1;
        add("problem", &format_args!("slot={slot},node={node},copy={name}"));
    }
    text
}
