//! How often what happened in a run.

use std::{fmt, ops::AddAssign};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $text:literal,)*) => {
        /// How often what happened.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct Counts {
            $($(#[$doc])* pub $name: usize,)*
        }

        impl Counts {
            /// What was counted, in words, and how often it happened.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
                [$(($text, self.$name)),*].into_iter()
            }
        }

        impl AddAssign for Counts {
            fn add_assign(&mut self, other: Counts) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    /// Writes executed.
    writes: "writes",
    /// Nodes that crashed.
    crashes: "crashes",
    /// Links that broke.
    breaks: "broken links",
    /// How often a node began to act beside another one.
    splits: "splits",
    /// Nodes and streams that stood still.
    pauses: "pauses",
    /// Nodes that joined late.
    joins: "joins",
    /// Nodes that left.
    leaves: "leaves",
    /// Entries that a copy lost.
    lost: "lost entries",
    /// Slots that were opened empty after the start.
    opened_empty: "slots lost and opened empty",
    /// Copies that were found to be spoilt.
    doubts: "spoilt copies",
    /// Snapshots asked for.
    fetches: "snapshots",
    /// Messages with which their link broke.
    aimed: "messages lost by aim",
    /// Links of which one direction was cut.
    one_way: "links cut one way",
    /// Links that broke and healed several times in a row.
    flaps: "flapping links",
    /// Nodes that came while another one left.
    swaps: "nodes swapped",
    /// Clocks that jumped.
    jumps: "jumps of a clock",
    /// Effects of several operations.
    several: "effects of several operations",
    /// Entries that who acts removed by itself, past their deadline or for want of room.
    reclaimed: "entries expired or evicted",
    /// Writes that more nodes crashed with than they were promised to survive.
    excused: "writes beyond what was promised",
    /// Nodes that found that they had stood still.
    lapses: "lapses",
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (what, count)) in self.named().enumerate() {
            write!(f, "{}{count} {what}", if nth == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
