//! Audits: whether a copy is what its books say, and what the copy of another node is, entry by entry.
//!
//! Contexts and folds are kept up to date by every change and compared for little. They say what a copy was told, not what
//! became of it since: an entry that got lost, or a value in which a bit flipped. An audit looks through all entries. Who
//! acts claims between two effects what its copy is, and whoever comes to that place in the lane has to be the same,
//! however many writes are under way:
//!
//! ```text
//!   claim    u16 slot · u64 round · u64 digest of seen · u64 fold as kept · u64 content · u8 whether the books are right
//!   finding  u16 slot · u64 round · u8 finding · u64 content
//! ```
//!
//! The fold that is kept was right when the entries were: of a copy in which something got lost it still says what was
//! there. So a peer that finds itself equal to it is right, even if the one who acts is not.
//!
//! An audit takes its shard's lock for as long as it takes to read the slot once, about 0.1 ms a MiB.

use ring::{
    codec::{Malformed, Reader},
    fold::Fold,
    id::{Peer, PeerSet},
    replica::{Digest, Role},
    slot::Slot,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    Store,
    entries::SlotEntries,
    outbox::{Record, TAG_CLAIM, TAG_FINDING},
};

/// What who acts says that its copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The audit that it is part of.
    pub round: u64,
    /// The digest that is kept.
    pub digest: Digest,
    /// A digest of keys, values and deadlines as they are.
    pub content: u64,
    /// Whether its entries are those that its fold speaks of: otherwise its content says nothing.
    pub is_sound: bool,
}

/// What a copy is found to be, held against a claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Finding {
    /// The same, to the last byte.
    Equal = 0,
    /// There is no copy.
    Absent = 1,
    /// It lacks something that it knows of, or is being pulled.
    Behind = 2,
    /// It has incorporated something else.
    Context = 3,
    /// It has incorporated the same, and other entries are left of it.
    Entries = 4,
    /// It has the same versions of the same keys, with other values or deadlines.
    Content = 5,
    /// Its entries are not those that its own fold speaks of.
    Spoilt = 6,
}

/// A claim that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// Whether the entries are those that the fold speaks of.
    pub is_sound: bool,
    /// The peers whose copies count.
    pub counting: PeerSet,
    /// Those of them that will get it: the lanes of the others are closed.
    pub sent_to: PeerSet,
    /// How many entries the slot has.
    pub keys: usize,
    /// How many bytes they take.
    pub bytes: usize,
}

impl Finding {
    /// All of them, in order of their numbers.
    pub const ALL: [Finding; 7] = [
        Finding::Equal,
        Finding::Absent,
        Finding::Behind,
        Finding::Context,
        Finding::Entries,
        Finding::Content,
        Finding::Spoilt,
    ];
}

impl Claim {
    /// Reads the body of a frame.
    pub fn read(body: &[u8]) -> Result<(Slot, Claim), Malformed> {
        let mut reader = Reader::new(body);
        let (slot, round) = (reader.slot()?, reader.u64()?);
        let digest = Digest { seen: reader.u64()?, fold: Fold(reader.u64()?) };
        let claim = Claim { round, digest, content: reader.u64()?, is_sound: reader.flag()? };
        whole(&reader).map(|()| (slot, claim))
    }

    fn record(&self, slot: Slot) -> Record {
        Record::new(TAG_CLAIM, slot)
            .with(self.round.to_le_bytes())
            .with(self.digest.seen.to_le_bytes())
            .with(self.digest.fold.0.to_le_bytes())
            .with(self.content.to_le_bytes())
            .with([self.is_sound.into()])
    }
}

/// Reads the body of a frame with a finding: the slot, the audit, what was found and the content.
pub fn read_finding(body: &[u8]) -> Result<(Slot, u64, Finding, u64), Malformed> {
    let mut reader = Reader::new(body);
    let (slot, round) = (reader.slot()?, reader.u64()?);
    let finding = Finding::ALL.get(usize::from(reader.u8()?)).ok_or(Malformed("an unknown finding"))?;
    let content = reader.u64()?;
    whole(&reader).map(|()| (slot, round, *finding, content))
}

fn whole(reader: &Reader<'_>) -> Result<(), Malformed> {
    if reader.is_empty() { Ok(()) } else { Err(Malformed("a record that is too long")) }
}

impl Store {
    /// Looks through a slot that this node acts for, and claims to the other copies that they are the same; none if it does
    /// not act for it. Before anybody can answer `expect` hears who is going to, under the shard's lock. Linear in the bytes
    /// of the slot.
    pub fn claim(&self, slot: Slot, round: u64, expect: impl FnOnce(PeerSet)) -> Option<Claimed> {
        let mut shard = self.shard(slot);
        let shard = &mut *shard;
        let replica = shard.slot(slot);
        if replica.role() != Role::Acting {
            return None;
        }
        let (entries, counting) = (replica.entries(), replica.counting());
        let Found { fold, content } = Found::of(entries);
        let is_sound = fold == replica.fold();
        let claim = Claim { round, digest: replica.digest(), content, is_sound };
        let (keys, bytes) = (entries.len(), entries.bytes());
        let record = claim.record(slot);
        expect(counting);
        let mut tell = |&peer: &Peer| shard.outbox.record(peer, &record, &self.lanes, &*self.events);
        let sent_to = counting.iter().filter(|peer| tell(peer)).collect();
        Some(Claimed { is_sound, counting, sent_to, keys, bytes })
    }

    /// Holds the copy of a slot against the claim of who acts for it, and tells that one. Linear in the bytes of the slot.
    pub fn check_claim(&self, from: Peer, slot: Slot, claim: &Claim) -> Finding {
        let mut shard = self.shard(slot);
        let shard = &mut *shard;
        let replica = shard.slot_mut(slot);
        let found = Found::of(replica.entries());
        let finding = match replica.role() {
            Role::Absent => Finding::Absent,
            Role::Pulling => Finding::Behind,
            _ if replica.misses_something() => Finding::Behind,
            _ if replica.digest().seen != claim.digest.seen => Finding::Context,
            _ if found.fold != claim.digest.fold && found.fold != replica.fold() => Finding::Spoilt,
            _ if found.fold != claim.digest.fold => Finding::Entries,
            _ if claim.is_sound && found.content != claim.content => Finding::Content,
            _ => Finding::Equal,
        };
        if finding == Finding::Equal {
            // The entries are right whatever the books said.
            *replica.entries_mut().1 = found.fold;
        }
        let record = Record::new(TAG_FINDING, slot)
            .with(claim.round.to_le_bytes())
            .with([finding as u8])
            .with(found.content.to_le_bytes());
        // Without a lane there is no session, and nobody waits for an answer.
        shard.outbox.record(from, &record, &self.lanes, &*self.events);
        finding
    }

    /// What the entries are is what the slot has from now on: there is no better copy.
    pub fn settle_books(&self, slot: Slot) {
        let mut shard = self.shard(slot);
        let replica = shard.slot_mut(slot);
        *replica.entries_mut().1 = replica.entries().recomputed_fold();
    }

    /// Spoils an entry of this node's copy, for those who test what is found: it gets lost, or its value changes, and the
    /// books do not know. False if there is no such entry, or its value is empty.
    #[cfg(any(test, debug_assertions))]
    pub fn spoil(&self, slot: Slot, name: &[u8], loses_it: bool) -> bool {
        self.with_replica(slot, |replica| {
            let (entries, _) = replica.entries_mut();
            entries.spoil(name, loses_it)
        })
    }
}

/// What a slot's entries are.
struct Found {
    fold: Fold,
    content: u64,
}

impl Found {
    fn of(entries: &SlotEntries) -> Found {
        let mut found = Found { fold: Fold::default(), content: 0 };
        for entry in entries.index().iter() {
            found.fold.toggle(entry.key(), entries.dot(entry));
            let kind = u64::from(entry.kind() as u8);
            let seed = xxh3_64(entry.key()) ^ entry.deadline().wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ kind << 56;
            found.content ^= xxh3_64_with_seed(entry.value().as_slice(), seed);
        }
        found
    }
}
