//! Owns what is said of each scale-0 sector that runs anywhere: by this node's
//! tables, to be told to the other nodes, and by those. Never sums up
//! (`view::rollup` does) and never sends. Called by the shell of the roll-up.
//!
//! What a node says of a sector counts until it says that it does not run there
//! any more, or its link is down. While two say that it runs there, because it
//! goes from one to the other, the later word counts. What nobody says runs has
//! what was last said of it: its units are still there, in their record.
//!
//! Invariants: of each sector one word counts, so that it is never summed up
//! twice; what waits to be told is a mark for each sector that runs here, and
//! for [`STOPPED_MAX`] that did.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::Told;
use crate::base::{NodeId, SectorId};
use crate::view::rollup::SectorSnapshot;

/// Sectors that stopped here which are still told to a node whose link comes
/// up: of more, the latest. A node that starts reads them from the store.
pub const STOPPED_MAX: usize = 65_536;
/// Sectors in one message: some 50 KB.
pub const WORDS_MAX: usize = 1_024;

/// What counts of a sector from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Is(SectorSnapshot),
    /// Nothing goes on there; it has what it had.
    Stopped,
}

#[derive(Clone, Copy, Debug)]
struct Own {
    last: SectorSnapshot,
    runs: bool,
}

/// What all nodes said.
#[derive(Debug, Default)]
pub struct Words {
    own: BTreeMap<SectorId, Own>,
    /// Those of `own` that do not run, and some that do again, by when they
    /// stopped.
    stopped: VecDeque<SectorId>,
    /// Those of `own` that others are to be told.
    news: BTreeSet<SectorId>,
    /// Sectors that run at other nodes.
    others: BTreeMap<SectorId, Vec<(NodeId, SectorSnapshot)>>,
}

impl Words {
    /// A table says what a sector is, `None` when it runs here no more.
    pub fn note(&mut self, sector: SectorId, snapshot: Option<SectorSnapshot>) -> Word {
        let last = match (snapshot, self.own.get(&sector)) {
            (Some(last), _) => last,
            (None, Some(own)) => own.last,
            (None, None) => return self.counting(sector, None),
        };
        self.own.insert(sector, Own { last, runs: snapshot.is_some() });
        self.news.insert(sector);
        if snapshot.is_none() {
            self.note_stopped(sector);
        }
        self.counting(sector, Some(last))
    }

    fn note_stopped(&mut self, sector: SectorId) {
        self.stopped.push_back(sector);
        if self.stopped.len() <= STOPPED_MAX {
            return;
        }
        let oldest = self.stopped.pop_front();
        let oldest = oldest.filter(|it| self.own.get(it).is_some_and(|own| !own.runs));
        if let Some(oldest) = oldest {
            self.own.remove(&oldest);
            self.news.remove(&oldest);
        }
    }

    /// Another node says it.
    pub fn note_from(&mut self, node: NodeId, (sector, snapshot): Told) -> Word {
        let said = self.others.entry(sector).or_default();
        let at = said.iter().position(|(of, _)| *of == node);
        let before = at.map(|at| said.swap_remove(at).1);
        said.extend(snapshot.map(|snapshot| (node, snapshot)));
        if said.is_empty() {
            self.others.remove(&sector);
        }
        if snapshot.is_some() && self.own.get(&sector).is_some_and(|own| !own.runs) {
            // It is that node's to tell from now on.
            self.own.remove(&sector);
            self.news.remove(&sector);
        }
        self.counting(sector, before)
    }

    /// The link to that node is down: nothing is known to run there any more.
    pub fn forget(&mut self, node: NodeId) -> Vec<(SectorId, Word)> {
        let says = |(sector, said): (&SectorId, &Vec<(NodeId, SectorSnapshot)>)| {
            said.iter().any(|(of, _)| *of == node).then_some(*sector)
        };
        let sectors: Vec<SectorId> = self.others.iter().filter_map(says).collect();
        sectors.into_iter().map(|it| (it, self.note_from(node, (it, None)))).collect()
    }

    /// The latest word of those where it runs; else that it stopped, with what
    /// was said of it last.
    fn counting(&self, sector: SectorId, stopped: Option<SectorSnapshot>) -> Word {
        let own = self.own.get(&sector).filter(|own| own.runs).map(|own| own.last);
        let others = self.others.get(&sector).into_iter().flatten().map(|(_, last)| *last);
        let latest = own.into_iter().chain(others).max_by_key(|last| last.last_update);
        match (latest, stopped) {
            (Some(latest), _) => Word::Is(latest),
            (None, Some(last)) => Word::Is(SectorSnapshot { activity_level: 0, ..last }),
            (None, None) => Word::Stopped,
        }
    }

    /// What other nodes are to be told since the last time.
    pub fn drain_news(&mut self) -> Vec<Told> {
        let news = std::mem::take(&mut self.news);
        let own = news.into_iter().filter_map(|sector| Some((sector, self.own.get(&sector)?)));
        own.flat_map(|(sector, own)| told(sector, *own)).collect()
    }

    /// All that a node is told whose link came up, some behind `last` at a time,
    /// and the last of those; `None` when there are no more.
    pub fn page(&self, last: Option<SectorId>) -> Option<(Vec<Told>, SectorId)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let own = self.own.range((from, Bound::Unbounded)).take(WORDS_MAX / 2);
        let mut end = None;
        let told = own
            .inspect(|(sector, _)| end = Some(**sector))
            .flat_map(|(sector, own)| told(*sector, *own))
            .collect();
        end.map(|end| (told, end))
    }
}

fn told(sector: SectorId, own: Own) -> impl Iterator<Item = Told> {
    let stops = (!own.runs).then_some((sector, None));
    std::iter::once((sector, Some(own.last))).chain(stops)
}
