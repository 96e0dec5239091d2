//! Owns where each sector that is observed through this node is handed out: by
//! a table here, or by the view of another node. Never sees a unit, and sends
//! nothing: what is to be asked is drained. Called by the view's thread.
//!
//! ```text
//!            look: the directory names a node
//!   Nobody ────────────────────────────────────> Here / There(node)
//!     ^                                            │ all of it, then each step
//!     └────────────────────────────────────────────┘
//!       Gone, refused, link down, not sent
//! ```
//!
//! Who hands a sector out goes on until it says that it is gone, even if the
//! directory names another by then: so nothing is missed of a sector that is on
//! its way. Who has said nothing of it yet, or nothing for a second, is left for
//! the one that the directory names.
//!
//! Invariants: at most one hands a sector out to this node, what comes from any
//! other is dropped and told off; a step is taken only right behind the one
//! before it; one sector is asked for at most once in [`AGAIN_TICKS`], unless
//! its place changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::{Place, ViewMessage};
use crate::base::{NodeId, SectorId, Tick};
use crate::view::motion::TICKS_PER_STEP;

/// Looks come every 100 ms. A node that refused, or was not reached, is asked
/// again after so many.
pub const AGAIN_TICKS: u64 = 3;
/// Whoever hands out a sector that belongs elsewhere by now is left after so
/// many in which it said nothing: a slow sector's pace is told more often.
pub const STALE_TICKS: u64 = 15;
/// Whoever says nothing for so long is asked again: what it said may have been
/// dropped where too much waited.
pub const SILENT_TICKS: u64 = 50;
/// Sectors looked after at a time; of more each has its turn.
pub const LOOKS_MAX: usize = 4_096;

/// What is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The tables here, to hand out the sector, or not any more.
    Here { sector: SectorId, on: bool },
    /// That node.
    There { node: NodeId, sector: SectorId, on: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nobody,
    Here,
    There(NodeId),
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It has no record.
    Absent,
    /// All, up to this step.
    All(Tick),
}

#[derive(Debug)]
struct Standing {
    at: At,
    known: Known,
    /// When whoever hands it out was asked, or said something.
    heard: u64,
    /// Who refused at that time, or was not reached.
    refused: Option<NodeId>,
}

/// All sectors that are followed.
#[derive(Debug, Default)]
pub struct Following {
    sectors: BTreeMap<SectorId, Standing>,
    /// Those that nobody is asked for yet.
    soon: BTreeSet<SectorId>,
    /// The one that was looked after last.
    looked: Option<SectorId>,
    ticks: u64,
    asks: Vec<Ask>,
}

impl Following {
    /// How many sectors are followed.
    pub fn len(&self) -> usize {
        self.sectors.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// Whether the tables here are to hand it out.
    pub fn is_here(&self, sector: SectorId) -> bool {
        self.sectors.get(&sector).is_some_and(|it| it.at == At::Here)
    }

    /// What is to be asked, in order.
    pub fn drain_asks(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    /// The sector is to be followed from now on, or no more.
    pub fn follow(&mut self, sector: SectorId, on: bool) {
        if !on {
            self.soon.remove(&sector);
            if let Some(standing) = self.sectors.remove(&sector) {
                self.leave(sector, standing.at);
            }
        } else if !self.sectors.contains_key(&sector) {
            let heard = self.ticks;
            let standing = Standing { at: At::Nobody, known: Known::Nothing, heard, refused: None };
            self.sectors.insert(sector, standing);
            self.soon.insert(sector);
        }
    }

    /// Asks for those that nobody is asked for, as `place_of` names their nodes.
    pub fn look_soon(&mut self, place_of: &impl Fn(SectorId) -> Place) {
        for sector in std::mem::take(&mut self.soon) {
            self.look(sector, place_of(sector));
        }
    }

    /// Every 100 ms: looks after a bounded number of sectors.
    pub fn handle_tick(&mut self, place_of: &impl Fn(SectorId) -> Place) {
        self.ticks += 1;
        self.look_soon(place_of);
        let from = self.looked.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.sectors.range((from, Bound::Unbounded)).map(|(sector, _)| *sector);
        let due: Vec<SectorId> = behind.take(LOOKS_MAX).collect();
        self.looked = due.last().copied().filter(|_| due.len() == LOOKS_MAX);
        for sector in due {
            self.look(sector, place_of(sector));
        }
    }

    fn look(&mut self, sector: SectorId, place: Place) {
        let Some(standing) = self.sectors.get(&sector) else { return };
        let silent = self.ticks - standing.heard;
        let is_shown = matches!(standing.known, Known::All(_));
        match (place, standing.at) {
            (Place::Nowhere, _) | (Place::Here, At::Here) => {}
            (Place::Here, At::Nobody) => self.go(sector, At::Here),
            (Place::There(node), At::Nobody) => {
                if standing.refused != Some(node) || silent >= AGAIN_TICKS {
                    self.go(sector, At::There(node));
                }
            }
            (Place::There(node), At::There(at)) if node == at => {
                if standing.known != Known::Absent && silent >= SILENT_TICKS {
                    self.go(sector, At::There(node));
                }
            }
            // A table that hands it out says when it is gone.
            (Place::There(node), At::Here) if !is_shown => self.go(sector, At::There(node)),
            (Place::There(_), At::Here) => {}
            (_, At::There(_)) if is_shown && silent < STALE_TICKS => {}
            (Place::There(node), At::There(_)) => self.go(sector, At::There(node)),
            (Place::Here, At::There(_)) => self.go(sector, At::Here),
        }
    }

    /// From now on it is handed out there; asked again, all of it again.
    fn go(&mut self, sector: SectorId, to: At) {
        let Some(standing) = self.sectors.get_mut(&sector) else { return };
        let before = std::mem::replace(&mut standing.at, to);
        (standing.known, standing.heard, standing.refused) = (Known::Nothing, self.ticks, None);
        if before != to {
            self.leave(sector, before);
        }
        match to {
            At::Nobody => _ = self.soon.insert(sector),
            At::Here => self.asks.push(Ask::Here { sector, on: true }),
            At::There(node) => self.asks.push(Ask::There { node, sector, on: true }),
        }
    }

    fn leave(&mut self, sector: SectorId, at: At) {
        match at {
            At::Nobody => {}
            At::Here => self.asks.push(Ask::Here { sector, on: false }),
            At::There(node) => self.asks.push(Ask::There { node, sector, on: false }),
        }
    }

    /// That node could not be asked to hand it out.
    pub fn note_unsent(&mut self, node: NodeId, sector: SectorId) {
        self.lose(node, sector);
    }

    /// Whether that node handed it out, or was to.
    fn lose(&mut self, node: NodeId, sector: SectorId) -> bool {
        let Some(standing) = self.sectors.get_mut(&sector) else { return false };
        if standing.at != At::There(node) {
            return false;
        }
        (standing.at, standing.known) = (At::Nobody, Known::Nothing);
        (standing.heard, standing.refused) = (self.ticks, Some(node));
        self.soon.insert(sector);
        true
    }

    /// The sector came to run here.
    pub fn handle_started(&mut self, sector: SectorId) {
        if self.sectors.contains_key(&sector) {
            self.go(sector, At::Here);
        }
    }

    /// The node's core says that the sector is that node's.
    pub fn handle_elsewhere(&mut self, sector: SectorId, node: NodeId) {
        if self.sectors.get(&sector).is_some_and(|it| it.at == At::Here) {
            self.go(sector, At::There(node));
        }
    }

    /// A table handed out all of it. Whether that is to be shown.
    pub fn handle_scene(&mut self, sector: SectorId, tick: Tick) -> bool {
        self.learn(sector, Known::All(tick))
    }

    /// It has no record here. Whether that is to be shown.
    pub fn handle_absent(&mut self, sector: SectorId) -> bool {
        self.learn(sector, Known::Absent)
    }

    /// Whether what a table hands out behind all of it is to be shown.
    pub fn shows(&self, sector: SectorId) -> bool {
        let is_whole = |it: &Standing| it.at == At::Here && matches!(it.known, Known::All(_));
        self.sectors.get(&sector).is_some_and(is_whole)
    }

    fn learn(&mut self, sector: SectorId, known: Known) -> bool {
        let standing = self.sectors.get_mut(&sector).filter(|it| it.at == At::Here);
        standing.map(|it| it.known = known).is_some()
    }

    /// It runs here no more. Whether that is to be shown.
    pub fn handle_gone(&mut self, sector: SectorId) -> bool {
        let is_here = self.is_here(sector);
        if is_here {
            self.go(sector, At::Nobody);
        }
        is_here
    }

    /// What another node's view says. Whether it is to be shown.
    pub fn handle_peer(&mut self, from: NodeId, message: &ViewMessage) -> bool {
        match message {
            ViewMessage::Gone { sector } => self.lose(from, *sector),
            ViewMessage::Scene { sector, scene } => {
                self.hear(from, *sector, |_| Some(Known::All(scene.tick)))
            }
            ViewMessage::Absent { sector } => self.hear(from, *sector, |_| Some(Known::Absent)),
            ViewMessage::Step { sector, delta } => {
                self.hear(from, *sector, |known| follows(known, delta.tick))
            }
            ViewMessage::Pace { sector, .. } => {
                let goes_on = |known| matches!(known, Known::All(_)).then_some(known);
                self.hear(from, *sector, goes_on)
            }
            ViewMessage::Follow { .. } | ViewMessage::Summaries(_) => false,
        }
    }

    /// `next` says what is known then, `None` when something is missing.
    fn hear(
        &mut self,
        from: NodeId,
        sector: SectorId,
        next: impl FnOnce(Known) -> Option<Known>,
    ) -> bool {
        let Some(standing) = self.sectors.get_mut(&sector).filter(|it| it.at == At::There(from))
        else {
            self.asks.push(Ask::There { node: from, sector, on: false });
            return false;
        };
        match (standing.known, next(standing.known)) {
            (_, Some(known)) => {
                (standing.known, standing.heard) = (known, self.ticks);
                true
            }
            // It was asked for all of it already.
            (Known::Nothing, None) => false,
            (_, None) => {
                self.go(sector, At::There(from));
                false
            }
        }
    }

    /// The link to that node is down: what it handed out is not known any more.
    /// Those are to be shown as gone.
    pub fn handle_link_down(&mut self, node: NodeId) -> Vec<SectorId> {
        let at =
            |(sector, it): (&SectorId, &Standing)| (it.at == At::There(node)).then_some(*sector);
        let lost: Vec<SectorId> = self.sectors.iter().filter_map(at).collect();
        lost.iter().for_each(|sector| _ = self.lose(node, *sector));
        lost
    }
}

/// What is known after a step to `tick`.
fn follows(known: Known, tick: Tick) -> Option<Known> {
    match known {
        Known::All(last) if last.after(TICKS_PER_STEP) == tick => Some(Known::All(tick)),
        _ => None,
    }
}
