//! Owns what this node knows of sectors without looking into them: what tables
//! say of those that run, here and at other nodes, and what the store says of
//! those that hibernate, summed up over all scales. Soft state, lost with the
//! process. Never decides what a sum is (`view::rollup` does) nor whose word
//! counts (`view::peers::words`). Told by arbiters, links and store threads,
//! driven by the view's thread, read by gateways. Invariants: an arbiter waits
//! here for a page of insertions at most; what waits to be summed up is one word
//! for each sector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::{EntityKey, Millis, NodeId, SectorId};
use crate::entity::World;
use crate::entity::summary::Summary;
use crate::protocol::server::Aggregate;
use crate::view::peers::words::{WORDS_MAX, Word};
use crate::view::peers::{Told, Words};
use crate::view::{Rollup, SectorSnapshot, aggregates};

/// The roll-up of a node.
pub struct Branches {
    pub world: Arc<World>,
    waiting: Mutex<Waiting>,
    rollup: Mutex<Rollup>,
}

/// What was said and is not summed up yet.
struct Waiting {
    words: BTreeMap<SectorId, Word>,
    /// What each node says.
    said: Words,
    /// Sectors that ran while the store was read: what they said is newer.
    /// `None` when it has been read.
    heard: Option<BTreeSet<SectorId>>,
}

impl Waiting {
    fn put(&mut self, sector: SectorId, word: Word) {
        if let Some(heard) = &mut self.heard {
            heard.insert(sector);
        }
        let word = match (word, self.words.get(&sector)) {
            (Word::Stopped, Some(Word::Is(last))) => {
                Word::Is(SectorSnapshot { activity_level: 0, ..*last })
            }
            (word, _) => word,
        };
        self.words.insert(sector, word);
    }
}

impl Branches {
    pub fn new(world: Arc<World>) -> Branches {
        let (words, said) = (BTreeMap::new(), Words::default());
        let waiting = Waiting { words, said, heard: Some(BTreeSet::new()) };
        Branches { world, waiting: Mutex::new(waiting), rollup: Mutex::default() }
    }

    /// What changed in a table; `None` for a sector that runs no more.
    pub fn note(&self, changed: Vec<Told>) {
        let mut waiting = lock(&self.waiting);
        for (sector, snapshot) in changed {
            let word = waiting.said.note(sector, snapshot);
            waiting.put(sector, word);
        }
    }

    /// What another node says of the sectors that run there; of how many that is
    /// left out, because it names too many.
    #[must_use]
    pub fn note_from(&self, node: NodeId, told: &[Told]) -> u64 {
        let mut left_out = 0;
        for page in told.chunks(WORDS_MAX) {
            let mut waiting = lock(&self.waiting);
            for (sector, snapshot) in page {
                if sector.scale == 0 && self.world.galaxy.area(*sector).is_some() {
                    match waiting.said.note_from(node, (*sector, *snapshot)) {
                        Some(word) => waiting.put(*sector, word),
                        None => left_out += u64::from(snapshot.is_some()),
                    }
                }
            }
        }
        left_out
    }

    /// The link to another node is down: what runs there has what it had.
    pub fn forget(&self, node: NodeId) {
        let mut waiting = lock(&self.waiting);
        let stopped = waiting.said.forget(node);
        stopped.into_iter().for_each(|(sector, word)| waiting.put(sector, word));
    }

    /// What other nodes are to be told since the last time.
    pub fn drain_news(&self) -> Vec<Told> {
        lock(&self.waiting).said.drain_news()
    }

    /// Some of all that other nodes are told, behind `last`; `None` when there
    /// is no more.
    pub fn page(&self, last: Option<SectorId>) -> Option<(Vec<Told>, SectorId)> {
        lock(&self.waiting).said.page(last)
    }

    /// Sectors that hibernated when the node started, as the store has them;
    /// `is_last` when there are no more.
    pub fn note_asleep(&self, page: &[(EntityKey, Option<Summary>)], is_last: bool) {
        let mut waiting = lock(&self.waiting);
        for (entity, summary) in page {
            let (EntityKey::Sector(sector), Some(summary)) = (*entity, summary) else { continue };
            if waiting.heard.as_ref().is_some_and(|heard| !heard.contains(&sector)) {
                waiting.words.insert(sector, Word::Is(snapshot(summary)));
            }
        }
        if is_last {
            waiting.heard = None;
        }
    }

    /// Sums up a bounded part of what is new. True when a round has ended. What
    /// is not known whole, because the store is still being read, is not summed
    /// up: it would be too little.
    pub fn advance(&self, now: Millis) -> bool {
        let (words, is_whole) = {
            let mut waiting = lock(&self.waiting);
            (std::mem::take(&mut waiting.words), waiting.heard.is_none())
        };
        let (galaxy, mut rollup) = (&self.world.galaxy, lock(&self.rollup));
        for (sector, word) in words {
            match word {
                Word::Is(snapshot) => rollup.note(sector, &snapshot, galaxy),
                Word::Stopped => rollup.note_stopped(sector),
            }
        }
        is_whole && rollup.advance(now, galaxy)
    }

    /// A sector of any scale, and as of when; `None` outside of the galaxy, and
    /// before anything was summed up.
    pub fn get(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)> {
        lock(&self.rollup).get(sector, &self.world.galaxy)
    }

    /// A sector and its children, as observers are told.
    pub fn aggregate(&self, sector: SectorId) -> Option<Aggregate> {
        let (galaxy, mut rollup) = (&self.world.galaxy, lock(&self.rollup));
        let of = rollup.get(sector, galaxy)?;
        let children =
            sector.children().filter_map(|child| Some((child, rollup.get(child, galaxy)?.0)));
        Some(aggregates::aggregate(of, children))
    }
}

fn snapshot(summary: &Summary) -> SectorSnapshot {
    let Summary { unit_count, resource_density, activity_level, last_update } = *summary;
    SectorSnapshot { unit_count, resource_density, activity_level, last_update }
}

/// Whoever panicked holding it ended the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|lock| lock.into_inner())
}
