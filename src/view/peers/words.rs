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
//! for [`STOPPED_MAX`] that did; of another node at most [`HEARD_MAX`] sectors are
//! kept, and what it says of more is left out of the sums.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::Told;
use crate::base::{NodeId, SectorId};
use crate::view::rollup::SectorSnapshot;

/// Sectors that stopped here which are still told to a node whose link comes
/// up: of more, the latest. A node that starts reads them from the store.
pub const STOPPED_MAX: usize = 65_536;
/// Sectors that may run at one other node, as it says. It takes some 25 MB here.
pub const HEARD_MAX: usize = 262_144;
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
#[derive(Debug)]
pub struct Words {
    heard_max: usize,
    own: BTreeMap<SectorId, Own>,
    /// Those of `own` that do not run, and some that do again, by when they
    /// stopped.
    stopped: VecDeque<SectorId>,
    /// Those of `own` that others are to be told.
    news: BTreeSet<SectorId>,
    /// Sectors that run at other nodes.
    others: BTreeMap<SectorId, Vec<(NodeId, SectorSnapshot)>>,
    /// How many of `others` each of them says.
    heard: BTreeMap<NodeId, usize>,
}

impl Default for Words {
    fn default() -> Words {
        Words::keeping(HEARD_MAX)
    }
}

impl Words {
    /// Keeps so many sectors of each other node.
    pub fn keeping(heard_max: usize) -> Words {
        Words {
            heard_max,
            own: BTreeMap::new(),
            stopped: VecDeque::new(),
            news: BTreeSet::new(),
            others: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

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

    /// Another node says it. `None` when that changes nothing: it says too much, or
    /// that what it never named has stopped.
    pub fn note_from(&mut self, node: NodeId, (sector, snapshot): Told) -> Option<Word> {
        let said = self.others.get(&sector).and_then(|said| said.iter().find(|it| it.0 == node));
        let before = said.map(|(_, last)| *last);
        let heard = self.heard.entry(node).or_default();
        match (before, snapshot) {
            (None, None) => return None,
            (None, Some(_)) if *heard >= self.heard_max => return None,
            (None, Some(_)) => *heard += 1,
            (Some(_), None) => *heard -= 1,
            (Some(_), Some(_)) => {}
        }
        let said = self.others.entry(sector).or_default();
        said.retain(|(of, _)| *of != node);
        said.extend(snapshot.map(|snapshot| (node, snapshot)));
        if said.is_empty() {
            self.others.remove(&sector);
        }
        if snapshot.is_some() && self.own.get(&sector).is_some_and(|own| !own.runs) {
            // It is that node's to tell from now on.
            self.own.remove(&sector);
            self.news.remove(&sector);
        }
        Some(self.counting(sector, before))
    }

    /// The link to that node is down: nothing is known to run there any more.
    pub fn forget(&mut self, node: NodeId) -> Vec<(SectorId, Word)> {
        let says = |(sector, said): (&SectorId, &Vec<(NodeId, SectorSnapshot)>)| {
            said.iter().any(|(of, _)| *of == node).then_some(*sector)
        };
        let sectors: Vec<SectorId> = self.others.iter().filter_map(says).collect();
        let stop = |it| self.note_from(node, (it, None)).map(|word| (it, word));
        let stopped = sectors.into_iter().filter_map(stop).collect();
        self.heard.remove(&node);
        stopped
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
