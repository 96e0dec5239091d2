//! Owns which of the sectors that belong here are handed out to the views of
//! other nodes. Never keeps what it handed out. Called by the view's thread with
//! what tables hand out; `send` says whether the link took it.
//!
//! | a node | is sent |
//! |---|---|
//! | that asked | all of the sector as soon as its table hands that out |
//! | that has all of it | each step, and the pace |
//! | whose link did not take something | nothing, until all of it is handed out again: after a second, and each time that is not taken, either, twice as long, up to eight |
//! | whose link is down | nothing, it is forgotten |
//!
//! All of a sector goes to everybody who has it, here too: that is what the
//! table hands out then in place of a step. So the waits grow.
//!
//! Invariants: a node gets a step only behind all of the sector or the step
//! before; for each sector and node there is one mark, and no node has more than
//! [`SECTORS_MAX`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ViewMessage;
use crate::base::{NodeId, SectorId};
use crate::view::stage::{Scene, StepDelta};

/// Sectors handed out to one node: nine for each of 7,000 players there who
/// each look at another place. Beyond that it is told that they are gone, and
/// asks again.
pub const SECTORS_MAX: usize = 65_536;
/// All of a sector is handed out again after so many ticks of 100 ms.
pub const WAIT_TICKS: u64 = 10;
/// And then after twice as many each time, up to so many.
pub const WAIT_TICKS_MAX: u64 = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    Nothing,
    /// It knows that there is no record.
    Absent,
    All,
}

/// One sector.
#[derive(Debug, Default)]
struct Lent {
    to: BTreeMap<NodeId, Has>,
    /// When all of it is handed out again, for those whose link was full.
    again: Option<u64>,
    /// How long it was waited for that the last time.
    waited: u64,
}

/// All sectors that are handed out to other nodes.
#[derive(Debug, Default)]
pub struct Lending {
    sectors: BTreeMap<SectorId, Lent>,
    /// Of each node.
    counts: BTreeMap<NodeId, usize>,
    ticks: u64,
    asks: Vec<(SectorId, bool)>,
}

impl Lending {
    /// How many sectors are handed out.
    pub fn len(&self) -> usize {
        self.sectors.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// Whether the tables here are to hand it out.
    pub fn lends(&self, sector: SectorId) -> bool {
        self.sectors.contains_key(&sector)
    }

    /// What tables are to hand out, as a whole first, or no more for other
    /// nodes, in order.
    pub fn drain_asks(&mut self) -> Vec<(SectorId, bool)> {
        std::mem::take(&mut self.asks)
    }

    /// That node asks for the sector. False when it has too many: it is to be
    /// told that this one is gone.
    #[must_use]
    pub fn lend(&mut self, to: NodeId, sector: SectorId) -> bool {
        let is_new = self.sectors.get(&sector).is_none_or(|lent| !lent.to.contains_key(&to));
        let count = self.counts.entry(to).or_default();
        if is_new && *count >= SECTORS_MAX {
            return false;
        }
        *count += usize::from(is_new);
        self.sectors.entry(sector).or_default().to.insert(to, Has::Nothing);
        self.asks.push((sector, true));
        true
    }

    /// That node needs it no more.
    pub fn end(&mut self, to: NodeId, sector: SectorId) {
        let Some(lent) = self.sectors.get_mut(&sector) else { return };
        if lent.to.remove(&to).is_some() {
            uncount(&mut self.counts, to);
        }
        if lent.to.is_empty() {
            self.sectors.remove(&sector);
            self.asks.push((sector, false));
        }
    }

    /// The link to that node is down.
    pub fn handle_link_down(&mut self, node: NodeId) {
        let has =
            |(sector, lent): (&SectorId, &Lent)| lent.to.contains_key(&node).then_some(*sector);
        let lent: Vec<SectorId> = self.sectors.iter().filter_map(has).collect();
        lent.into_iter().for_each(|sector| self.end(node, sector));
    }

    /// A table handed out all of it.
    pub fn handle_scene(
        &mut self,
        sector: SectorId,
        scene: &Arc<Scene>,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        let message = || ViewMessage::Scene { sector, scene: Arc::clone(scene) };
        self.tell(sector, |_| Some(Has::All), message, send);
    }

    /// A table handed out its next step.
    pub fn handle_step(
        &mut self,
        sector: SectorId,
        delta: &Arc<StepDelta>,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        let message = || ViewMessage::Step { sector, delta: Arc::clone(delta) };
        self.tell(sector, only_whole, message, send);
    }

    /// It runs at this pace.
    pub fn handle_pace(
        &mut self,
        sector: SectorId,
        percent: u8,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        self.tell(sector, only_whole, || ViewMessage::Pace { sector, percent }, send);
    }

    /// It has no record. Who was told so waits on: it may come to run here.
    pub fn handle_absent(&mut self, sector: SectorId, send: &impl Fn(NodeId, ViewMessage) -> bool) {
        let news = |has| (has != Has::Absent).then_some(Has::Absent);
        self.tell(sector, news, || ViewMessage::Absent { sector }, send);
    }

    /// It runs here no more, or is another node's: nodes ask again where it
    /// belongs. One whose link does not take that finds that nothing comes.
    pub fn handle_gone(&mut self, sector: SectorId, send: &impl Fn(NodeId, ViewMessage) -> bool) {
        let Some(lent) = self.sectors.remove(&sector) else { return };
        for node in lent.to.into_keys() {
            uncount(&mut self.counts, node);
            send(node, ViewMessage::Gone { sector });
        }
        self.asks.push((sector, false));
    }

    /// Every 100 ms: has all of a sector handed out again for nodes whose link
    /// was full.
    pub fn handle_tick(&mut self) {
        self.ticks += 1;
        for (sector, lent) in &mut self.sectors {
            if lent.again.is_some_and(|at| at <= self.ticks) {
                lent.again = None;
                self.asks.push((*sector, true));
            }
        }
    }

    /// Sends `message` to each node for which `next` says what it has then.
    fn tell(
        &mut self,
        sector: SectorId,
        next: impl Fn(Has) -> Option<Has>,
        message: impl Fn() -> ViewMessage,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        let Some(lent) = self.sectors.get_mut(&sector) else { return };
        for (node, has) in &mut lent.to {
            let Some(then) = next(*has) else { continue };
            *has = if send(*node, message()) { then } else { Has::Nothing };
        }
        if lent.to.values().all(|has| *has != Has::Nothing) {
            (lent.again, lent.waited) = (None, 0);
        } else if lent.again.is_none() {
            lent.waited = (lent.waited * 2).clamp(WAIT_TICKS, WAIT_TICKS_MAX);
            lent.again = Some(self.ticks + lent.waited);
        }
    }
}

fn only_whole(has: Has) -> Option<Has> {
    (has == Has::All).then_some(has)
}

fn uncount(counts: &mut BTreeMap<NodeId, usize>, node: NodeId) {
    if let Some(count) = counts.get_mut(&node) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&node);
        }
    }
}
