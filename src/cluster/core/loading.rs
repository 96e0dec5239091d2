//! Owns which entities are being brought back and what waits for them. Never
//! reads a store. Called by [`NodeCore`](super::node). Invariants: an entity is
//! loaded once at a time, and what waits for it is bounded; those for which
//! something waits, or that somebody wants to see, are loaded before the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::limits::Limits;
use super::message::ToTable;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::entity::Entity;
use crate::entity::envelope::Logic;
use crate::entity::logics::Logics;
use crate::entity::machine::Skips;
use crate::entity::parked::Parked;
use crate::entity::replay::{Mismatch, ReplayError, Replayed};

/// An entity brought back to the last durable tick of its last owner.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub entity: Entity,
    pub snapshot_bytes: u64,
    pub journal_bytes: u64,
    pub mismatches: Vec<Mismatch>,
    /// Whether it went on from what was loaded [ahead](Ahead).
    pub was_ahead: bool,
    /// It has another logic than there is here.
    pub adoption: Option<Adoption>,
    /// Inputs that panic, and are left out: the record of the claim is to say so.
    pub set_aside: Skips,
}

/// An entity that breaks whoever runs it, and what it takes to park it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wreck {
    pub entity: EntityKey,
    /// Of its journal's last record; the next one parks it.
    pub sequence: u64,
    pub time: Millis,
    /// As far as it got, and not before the last record.
    pub tick: Tick,
    /// At most until this tick was anything of it seen: it goes on there.
    pub until: Tick,
    /// Of its journal.
    pub logic: Logic,
    /// Whether it hibernates.
    pub sleeps: bool,
    /// What breaks.
    pub why: String,
}

/// What a claim by another logic needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// The logic the entity has.
    pub from: Logic,
    /// Its state, to be its snapshot before it is claimed; `None` when the record
    /// of the claim is directly behind its snapshot already.
    pub snapshot: Option<Vec<u8>>,
}

/// An entity as its journal had it while its owner still ran it: whoever is to
/// claim it reads only the records behind that.
#[derive(Clone, Debug)]
pub struct Ahead {
    pub replayed: Replayed,
    /// Its snapshot's head, if it had one.
    pub head: Option<Vec<u8>>,
    /// The last record behind the snapshot. One of the two tells its journal from
    /// that of a later life, were it deleted meanwhile.
    pub last: Option<(u64, Vec<u8>)>,
}

/// The incarnation that asks for a load. A claim of its own is open, and it
/// ran that entity before: at most until this tick was anything of it seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub durable: Tick,
}

/// Why an entity cannot be claimed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The last claim is open and its incarnation is not known to have ended.
    #[error("node {node} owns it, incarnation {incarnation}")]
    Owned { node: NodeId, incarnation: Incarnation },
    /// It was loaded so often, and each time a record did not fit.
    #[error("{0} times a durable record did not fit what a load had given")]
    Misfits(u32),
    /// A panic that is nowhere in its journal: whoever runs it next would end as well,
    /// and whoever comes after.
    #[error("what it takes to load it panics; the log says where")]
    Panicked,
    /// It panics wherever it is run, each time at the same place.
    #[error("{}", .0.why)]
    Broken(Box<Wreck>),
    /// Somebody found that out before.
    #[error("parked by node {} with record {}: {}", .0.node, .0.sequence, .0.why)]
    Parked(Box<Parked>),
    /// It is tried again.
    #[error("the store: {0}")]
    Store(String),
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Brings a replayed entity to where its last owner left it. `ended` is the
/// last durable tick of the incarnation that has the open claim, if that ended.
///
/// # Errors
/// When the claim is open and its incarnation has not ended, or what is to be run
/// until then is not among `logics`.
pub fn recover(
    replayed: &mut Replayed,
    ended: Option<Tick>,
    logics: &impl Logics,
) -> Result<(), LoadError> {
    if let Some(open) = replayed.entity.head().claim {
        let owner = open.claim;
        let Some(ended) = ended else {
            let (node, incarnation) = (owner.node, owner.incarnation);
            return Err(LoadError::Owned { node, incarnation });
        };
        replayed.run_to(open.tick_at(ended), logics)?;
    }
    if let Some(until) = replayed.parked {
        replayed.run_to(until, logics)?;
    }
    Ok(())
}

impl Loaded {
    /// What was [recovered](recover).
    pub fn of(replayed: Replayed, logics: &impl Logics) -> Loaded {
        Loaded {
            adoption: adoption(&replayed, logics),
            entity: replayed.entity,
            snapshot_bytes: replayed.snapshot_bytes,
            journal_bytes: replayed.journal_bytes,
            mismatches: replayed.mismatches,
            was_ahead: false,
            set_aside: replayed.set_aside,
        }
    }
}

fn adoption(replayed: &Replayed, logics: &impl Logics) -> Option<Adoption> {
    let from = replayed.logic;
    let is_ours = from == logics.own().logic();
    let is_behind = replayed.journal_bytes > 0;
    let snapshot = || is_behind.then(|| replayed.entity.snapshot_of(from));
    (!is_ours).then(|| Adoption { from, snapshot: snapshot() })
}

/// Entities on their way to run here.
#[derive(Debug, Default)]
pub struct Loading {
    queue: VecDeque<EntityKey>,
    /// Those of `queue` that somebody waits for. Who was loaded already is passed
    /// over, in both.
    urgent: VecDeque<EntityKey>,
    queued: BTreeSet<EntityKey>,
    under_way: BTreeSet<EntityKey>,
    /// For these the store did not answer, or it is too early: they are tried
    /// again.
    failed: Vec<EntityKey>,
    waiting: BTreeMap<EntityKey, Vec<ToTable>>,
    /// How much that is, all together.
    messages: usize,
    /// Asked for because a key of that version says that this node owned them.
    found: BTreeMap<EntityKey, u64>,
    /// Asked for because another node left them, or gave them.
    left: BTreeSet<EntityKey>,
    /// Asked for because somebody wants to see or command them.
    seen: BTreeSet<EntityKey>,
    /// Asked for because they hibernate and keep an overlong journal.
    pinned: BTreeSet<EntityKey>,
    /// Asked for because they hibernate and their timer is due.
    due: BTreeMap<EntityKey, Millis>,
    /// Given to this node while they were loaded: what is read may be of before.
    given: BTreeSet<EntityKey>,
    /// What it takes to load them is not here.
    held: BTreeSet<EntityKey>,
    /// Could not be loaded; tried again only after a restart.
    unloadable: BTreeSet<EntityKey>,
    /// Those of `unloadable` that are parked: tried again when they are resumed.
    parked: BTreeSet<EntityKey>,
}

impl Loading {
    /// Whether everything asked for is loaded.
    pub fn is_empty(&self) -> bool {
        self.queued.is_empty() && self.under_way.is_empty() && self.failed.is_empty()
    }

    /// Asks for `entity`, once.
    pub fn want(&mut self, entity: EntityKey) {
        if !self.unloadable.contains(&entity) && !self.waiting.contains_key(&entity) {
            self.waiting.insert(entity, Vec::new());
            self.enqueue(entity);
        }
    }

    fn enqueue(&mut self, entity: EntityKey) {
        if self.queued.insert(entity) {
            let is_urgent = self.has_messages(entity) || self.seen.contains(&entity);
            let queue = if is_urgent { &mut self.urgent } else { &mut self.queue };
            queue.push_back(entity);
        }
    }

    /// Somebody waits for `entity`, for which nobody did before.
    fn hurry(&mut self, entity: EntityKey) {
        if self.queued.contains(&entity) {
            self.urgent.push_back(entity);
        }
    }

    /// Asks for `entity`, which this node owned by what a key of that version says.
    pub fn want_found(&mut self, entity: EntityKey, version: u64) {
        self.want(entity);
        self.found.insert(entity, version);
    }

    /// The version of the key that says that this node owned `entity`, if one does.
    pub fn found(&self, entity: EntityKey) -> Option<u64> {
        self.found.get(&entity).copied()
    }

    /// Whether `entity` is loaded, or is to be.
    pub fn is_wanted(&self, entity: EntityKey) -> bool {
        self.waiting.contains_key(&entity)
    }

    /// Whether nothing but a key asks for `entity`.
    pub fn is_only_found(&self, entity: EntityKey) -> bool {
        self.found.contains_key(&entity)
            && !self.left.contains(&entity)
            && !self.seen.contains(&entity)
            && !self.due.contains_key(&entity)
            && !self.pinned.contains(&entity)
            && !self.has_messages(entity)
    }

    /// Asks for `entity`, which another node left or gave.
    pub fn want_left(&mut self, entity: EntityKey) {
        if !self.unloadable.contains(&entity) {
            self.want(entity);
            self.left.insert(entity);
        }
    }

    /// `entity` was given to this node just now: what a load under way reads may
    /// be of before that.
    pub fn note_given(&mut self, entity: EntityKey) {
        if self.under_way.contains(&entity) {
            self.given.insert(entity);
        }
    }

    /// Whether `entity` was given to this node while it was loaded; asked once a
    /// load.
    pub fn take_given(&mut self, entity: EntityKey) -> bool {
        self.given.remove(&entity)
    }

    /// Whether a message waits for `entity`, which must be claimed for it.
    pub fn has_messages(&self, entity: EntityKey) -> bool {
        self.waiting.get(&entity).is_some_and(|waiting| !waiting.is_empty())
    }

    /// Asks for `entity`, which somebody wants to see or command; `held` as for
    /// [`keep`](Self::keep). Returns false when too many wait already.
    pub fn want_seen(&mut self, entity: EntityKey, held: bool, limits: &Limits) -> bool {
        if self.waiting.len() >= limits.waiting_for_loads || self.unloadable.contains(&entity) {
            return false;
        }
        self.want_or_hold(entity, held);
        if self.seen.insert(entity) && !self.has_messages(entity) {
            self.hurry(entity);
        }
        true
    }

    /// Whether somebody wants to see or command `entity`.
    pub fn is_to_be_seen(&self, entity: EntityKey) -> bool {
        self.seen.contains(&entity)
    }

    /// Asks for `entity`, which hibernates with a timer that is due.
    pub fn want_due(&mut self, entity: EntityKey, due: Millis) {
        if !self.unloadable.contains(&entity) {
            self.want(entity);
            self.due.insert(entity, due);
        }
    }

    /// Asks for `entity`, which hibernates and needs a new snapshot.
    pub fn want_pinned(&mut self, entity: EntityKey) {
        if !self.unloadable.contains(&entity) {
            self.want(entity);
            self.pinned.insert(entity);
        }
    }

    /// Whether `entity` needs a new snapshot.
    pub fn is_pinned(&self, entity: EntityKey) -> bool {
        self.pinned.contains(&entity)
    }

    /// The timer for which `entity` is asked for.
    pub fn due(&self, entity: EntityKey) -> Option<Millis> {
        self.due.get(&entity).copied()
    }

    /// How many wait to be loaded, or for something else with what they have.
    pub fn waits(&self) -> usize {
        self.waiting.len()
    }

    fn want_or_hold(&mut self, entity: EntityKey, held: bool) {
        if held {
            self.waiting.entry(entity).or_default();
        } else {
            self.want(entity);
        }
    }

    /// What was held for `entity` has it loaded now.
    pub fn let_go(&mut self, entity: EntityKey) {
        if self.waiting.contains_key(&entity) {
            self.enqueue(entity);
        }
    }

    /// Whether `entity` could not be loaded, and is left as it is.
    pub fn is_unloadable(&self, entity: EntityKey) -> bool {
        self.unloadable.contains(&entity)
    }

    /// Whether nothing was ever given up as unloadable but what is parked, on which
    /// nobody has a claim.
    pub fn is_complete(&self) -> bool {
        self.unloadable.len() == self.parked.len()
    }

    /// Asks for `entity`, to be loaded only after [`retry`](Self::retry).
    pub fn want_later(&mut self, entity: EntityKey) {
        if !self.unloadable.contains(&entity) && !self.waiting.contains_key(&entity) {
            self.waiting.insert(entity, Vec::new());
            self.failed.push(entity);
        }
    }

    /// Keeps `message` for when `entity` runs. While it is `held`, because a
    /// commit may hold a record of it, it is loaded only after
    /// [`let_go`](Self::let_go). Returns false when it is dropped: too much
    /// waits, or the entity cannot be loaded.
    pub fn keep(
        &mut self,
        entity: EntityKey,
        message: ToTable,
        held: bool,
        limits: &Limits,
    ) -> bool {
        if self.messages >= limits.waiting_for_loads || self.held.contains(&entity) {
            return false;
        }
        self.want_or_hold(entity, held);
        match self.waiting.get_mut(&entity) {
            Some(waiting) if waiting.len() < limits.waiting_per_load => {
                waiting.push(message);
                self.messages += 1;
                if waiting.len() == 1 && !self.seen.contains(&entity) {
                    self.hurry(entity);
                }
                true
            }
            _ => false,
        }
    }

    /// How much waits for the entity for which most waits.
    pub fn fullest(&self) -> usize {
        self.waiting.values().map(Vec::len).max().unwrap_or(0)
    }

    /// The next entity to load, if one more may be.
    pub fn begin_next(&mut self, limits: &Limits) -> Option<EntityKey> {
        if self.under_way.len() >= limits.loads {
            return None;
        }
        while let Some(entity) = self.urgent.pop_front().or_else(|| self.queue.pop_front()) {
            if self.queued.remove(&entity) {
                self.under_way.insert(entity);
                return Some(entity);
            }
        }
        None
    }

    /// `entity` is loaded; what waited for it.
    pub fn finish(&mut self, entity: EntityKey) -> Vec<ToTable> {
        self.under_way.remove(&entity);
        self.found.remove(&entity);
        self.left.remove(&entity);
        self.seen.remove(&entity);
        self.due.remove(&entity);
        self.pinned.remove(&entity);
        self.held.remove(&entity);
        let waited = self.waiting.remove(&entity).unwrap_or_default();
        self.messages -= waited.len();
        waited
    }

    /// `entity` cannot be loaded before somebody looked.
    pub fn fail(&mut self, entity: EntityKey) {
        self.finish(entity);
        self.unloadable.insert(entity);
    }

    /// `entity` is not to be loaded before it is [resumed](Self::unpark).
    pub fn park(&mut self, entity: EntityKey) {
        self.fail(entity);
        self.parked.insert(entity);
    }

    /// `entity` may be loaded again; whether it was parked.
    pub fn unpark(&mut self, entity: EntityKey) -> bool {
        self.parked.remove(&entity) && self.unloadable.remove(&entity)
    }

    /// Whether something that was wanted here is parked.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// What was wanted here and is parked.
    pub fn parked(&self) -> Vec<EntityKey> {
        self.parked.iter().copied().collect()
    }

    /// `entity` is not to be loaded before it is [let go](Self::let_go); what waits for
    /// it goes on waiting.
    pub fn set_back(&mut self, entity: EntityKey) {
        self.under_way.remove(&entity);
    }

    /// The store did not answer for `entity`; what waits for it goes on waiting.
    pub fn postpone(&mut self, entity: EntityKey) {
        if self.under_way.remove(&entity) {
            self.failed.push(entity);
        }
    }

    /// What it takes to load `entity` is not here: it waits until it is
    /// [resumed](Self::resume). What waited for it is dropped, and nothing is kept for
    /// it until then, for that may be long, and others need the room: messages come
    /// again, and whoever connects tries again.
    pub fn hold(&mut self, entity: EntityKey) {
        self.under_way.remove(&entity);
        self.held.insert(entity);
        if let Some(waiting) = self.waiting.get_mut(&entity) {
            self.messages -= waiting.len();
            waiting.clear();
        }
    }

    /// Loads `entity`, which was [held](Self::hold), again, if it is not loaded or
    /// to be tried again already.
    pub fn resume(&mut self, entity: EntityKey) {
        self.held.remove(&entity);
        if !self.under_way.contains(&entity) && !self.failed.contains(&entity) {
            self.let_go(entity);
        }
    }

    /// Asks again for all that was postponed.
    pub fn retry(&mut self) {
        for entity in std::mem::take(&mut self.failed) {
            self.enqueue(entity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_loaded_for_long_takes_no_room_from_others() {
        let limits = Limits { waiting_per_load: 2, waiting_for_loads: 2, ..Limits::default() };
        let mut loading = Loading::default();
        let (one, two) = (EntityKey::Ledger(1), EntityKey::Ledger(2));
        let keep =
            |loading: &mut Loading, key| loading.keep(key, ToTable::Away(false), false, &limits);
        assert_eq!([one, one, two].map(|key| keep(&mut loading, key)), [true, true, false]);
        assert_eq!(loading.begin_next(&limits), Some(one));
        loading.hold(one);
        assert_eq!([one, two, two].map(|key| keep(&mut loading, key)), [false, true, true]);
        assert_eq!(loading.begin_next(&limits), Some(two));
        assert_eq!(loading.finish(two).len(), 2);
        // It is tried again, and what comes meanwhile waits for it.
        loading.resume(one);
        assert_eq!(loading.begin_next(&limits), Some(one));
        assert!(keep(&mut loading, one));
        assert_eq!(loading.finish(one).len(), 1);
    }

    #[test]
    fn what_waits_is_bounded_for_one_entity_and_for_all() {
        let limits = Limits { waiting_per_load: 2, waiting_for_loads: 3, ..Limits::default() };
        let mut loading = Loading::default();
        let (one, two, three) = (EntityKey::Ledger(1), EntityKey::Ledger(2), EntityKey::Ledger(3));
        let keep =
            |loading: &mut Loading, key| loading.keep(key, ToTable::Away(false), false, &limits);
        assert_eq!([one, one, one].map(|key| keep(&mut loading, key)), [true, true, false]);
        assert_eq!([two, two, three].map(|key| keep(&mut loading, key)), [true, false, false]);
        assert_eq!(loading.begin_next(&limits), Some(one));
        assert_eq!(loading.finish(one).len(), 2);
        // There is room again; who found none was not asked for.
        assert!(keep(&mut loading, two));
        assert_eq!(loading.begin_next(&limits), Some(two));
        assert_eq!(loading.begin_next(&limits), None);
    }
}
