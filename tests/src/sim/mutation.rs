//! The rules that can be put out of force, by name.
//!
//! Each is a mistake that an earlier state of the design made or that is easy to make. The simulator must catch every
//! one; what it needs for that is printed by `circlet-sim --mutations`.

use ring::{control, replica};

/// A rule of the design, put out of force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// A rule of the control machine.
    Control(control::Mutations),
    /// A rule of one copy.
    Copy(replica::Mutations),
    /// Acknowledgements count even if the slot is listed as not counting.
    NotCountingIgnored,
    /// Entries and context of a snapshot are from different moments.
    SnapshotInTwoSteps,
    /// The target that a view puts first executes, without acquiring.
    RoleByView,
    /// Slots are compared when a session begins, and in rounds, only if they changed since the former one ended.
    CompareDirtyOnly,
    /// A copy whose node is short of memory drops single entries and keeps its context.
    Thin,
    /// A copy drops what is past its deadline by itself.
    CopiesExpire,
    /// An origin that writes no more is taken for known everywhere when all copies in reach have the same of it.
    OriginsRetired,
    /// Each operation of an effect travels by itself, and only the first arrives.
    EffectsInParts,
    /// Two copies count as equal if their contexts are.
    FoldNotCompared,
}

impl Mutation {
    /// All of them, with the names under which they are reported.
    pub fn all() -> Vec<(&'static str, Mutation)> {
        let copy = |set: fn(&mut replica::Mutations)| {
            let mut mutations = replica::Mutations::default();
            set(&mut mutations);
            Mutation::Copy(mutations)
        };
        let control = |set: fn(&mut control::Mutations)| {
            let mut mutations = control::Mutations::default();
            set(&mut mutations);
            Mutation::Control(mutations)
        };
        vec![
            ("`prev` off", copy(|m| m.prev_ignored = true)),
            ("`after` off", copy(|m| m.after_ignored = true)),
            ("live effects applied while pulling", copy(|m| m.live_effects_while_pulling = true)),
            ("overflow of the park forgotten", copy(|m| m.overflow_forgotten = true)),
            ("what a peer says that it has forgotten", copy(|m| m.heard_of_forgotten = true)),
            ("whoever was asked is not asked again", copy(|m| m.asked_once = true)),
            ("role by view", Mutation::RoleByView),
            ("acquire asks view-ready members only", control(|m| m.acquire_asks_ready_only = true)),
            ("acquire without stop", control(|m| m.acquire_without_stop = true)),
            ("acquire without join", control(|m| m.acquire_without_join = true)),
            ("snapshot not atomic", Mutation::SnapshotInTwoSteps),
            ("`not_counting` ignored", Mutation::NotCountingIgnored),
            ("release counted in W", control(|m| m.release_counts = true)),
            ("release without asking", control(|m| m.release_without_asking = true)),
            ("origin per boot", control(|m| m.one_origin_per_boot = true)),
            ("no compare on connect", control(|m| m.no_compare_on_connect = true)),
            ("compare one-way", control(|m| m.compare_one_way = true)),
            ("fold omitted", control(|m| m.fold_ignored = true)),
            ("pullers not inherited", control(|m| m.pullers_not_inherited = true)),
            ("an attempt given up forgets its fetches", control(|m| m.given_up_attempt_forgets_fetches = true)),
            ("who stops acting says nothing", control(|m| m.stops_without_a_word = true)),
            ("release without asking who acts", control(|m| m.releases_without_who_acts = true)),
            ("nobody is vouched for", control(|m| m.vouches_for_nobody = true)),
            ("acquire without enquiry", control(|m| m.acquires_without_enquiry = true)),
            ("two that act apart are let alone", control(|m| m.lets_two_act_apart = true)),
            ("mend without asking", control(|m| m.mends_without_asking = true)),
            ("compare on dirty slots only", Mutation::CompareDirtyOnly),
            ("thin", Mutation::Thin),
            ("copies expire by themselves", Mutation::CopiesExpire),
            ("global retirement of origins", Mutation::OriginsRetired),
            ("effects in parts", Mutation::EffectsInParts),
            ("fold not compared", Mutation::FoldNotCompared),
        ]
    }
}
