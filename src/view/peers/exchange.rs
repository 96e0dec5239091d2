//! Owns what is observed through this node together with where it is handed
//! out and what is handed out to others: the one place where a message of a
//! table or of another node's view becomes what is shown. Never knows threads,
//! links or mailboxes: `place_of` is the directory, `send` says whether a link
//! took a message, and what tables are to be asked is drained. Called by the
//! view's thread. Invariant: the fan-out of a sector is fed by one source at a
//! time, in the order of its ticks.

use std::sync::Arc;

use super::{Ask, Following, Lending, Place, ViewMessage};
use crate::base::{NodeId, SectorId};
use crate::sim::Rules;
use crate::view::Fanout;
use crate::view::stage::{Scene, StepDelta};

/// What one node's view knows.
#[derive(Debug, Default)]
pub struct Exchange {
    pub fanout: Fanout,
    following: Following,
    lending: Lending,
    asks: Vec<(SectorId, bool)>,
}

impl Exchange {
    /// Whether the tables here are to hand it out.
    pub fn is_wanted(&self, sector: SectorId) -> bool {
        self.following.is_here(sector) || self.lending.lends(sector)
    }

    /// How many sectors are handed out to other nodes.
    pub fn lent(&self) -> usize {
        self.lending.len()
    }

    /// What the tables here are to hand out from now on, as a whole first, or
    /// no more, in order.
    pub fn drain_asks(&mut self) -> Vec<(SectorId, bool)> {
        let asks = std::mem::take(&mut self.asks).into_iter();
        asks.filter(|(sector, on)| *on || !self.is_wanted(*sector)).collect()
    }

    /// The sector came to run here.
    pub fn handle_started(&mut self, sector: SectorId) {
        self.following.handle_started(sector);
        if self.lending.lends(sector) {
            self.asks.push((sector, true));
        }
    }

    /// One that was to be woken has no record.
    pub fn handle_absent(
        &mut self,
        sector: SectorId,
        rules: &Rules,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        if self.following.handle_absent(sector) {
            self.fanout.handle_absent(sector, rules);
        }
        self.lending.handle_absent(sector, send);
    }

    /// One that was to be woken is that node's.
    pub fn handle_elsewhere(
        &mut self,
        sector: SectorId,
        node: NodeId,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        self.following.handle_elsewhere(sector, node);
        self.lending.handle_gone(sector, send);
    }

    /// A table here handed out all of it.
    pub fn handle_scene(
        &mut self,
        sector: SectorId,
        scene: &Arc<Scene>,
        rules: &Rules,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        if self.following.handle_scene(sector, scene.tick) {
            self.fanout.handle_scene(sector, scene, rules);
        }
        self.lending.handle_scene(sector, scene, send);
    }

    /// And its next step.
    pub fn handle_step(
        &mut self,
        sector: SectorId,
        delta: &Arc<StepDelta>,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        if self.following.shows(sector) {
            self.fanout.handle_step(sector, delta);
        }
        self.lending.handle_step(sector, delta, send);
    }

    /// And how many per cent of its ticks it makes.
    pub fn handle_pace(
        &mut self,
        sector: SectorId,
        percent: u8,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        if self.following.shows(sector) {
            self.fanout.handle_pace(sector, percent);
        }
        self.lending.handle_pace(sector, percent, send);
    }

    /// It runs here no more.
    pub fn handle_gone(&mut self, sector: SectorId, send: &impl Fn(NodeId, ViewMessage) -> bool) {
        if self.following.handle_gone(sector) {
            self.fanout.handle_gone(sector);
        }
        self.lending.handle_gone(sector, send);
    }

    /// What the view of another node says.
    pub fn handle_peer(
        &mut self,
        from: NodeId,
        message: &ViewMessage,
        rules: &Rules,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        match message {
            ViewMessage::Follow { sector, on: true } => {
                if !self.lending.lend(from, *sector) {
                    // Not taken, that node finds that nothing comes.
                    send(from, ViewMessage::Gone { sector: *sector });
                }
            }
            ViewMessage::Follow { sector, on: false } => self.lending.end(from, *sector),
            message => {
                if self.following.handle_peer(from, message) {
                    self.show(message, rules);
                }
            }
        }
    }

    fn show(&mut self, message: &ViewMessage, rules: &Rules) {
        let fanout = &mut self.fanout;
        match message {
            ViewMessage::Scene { sector, scene } => fanout.handle_scene(*sector, scene, rules),
            ViewMessage::Step { sector, delta } => fanout.handle_step(*sector, delta),
            ViewMessage::Pace { sector, percent } => fanout.handle_pace(*sector, *percent),
            ViewMessage::Gone { sector } => fanout.handle_gone(*sector),
            ViewMessage::Absent { sector } => fanout.handle_absent(*sector, rules),
            ViewMessage::Follow { .. } | ViewMessage::Summaries(_) => {}
        }
    }

    /// The link to that node is down.
    pub fn handle_link_down(&mut self, node: NodeId) {
        for sector in self.following.handle_link_down(node) {
            self.fanout.handle_gone(sector);
        }
        self.lending.handle_link_down(node);
    }

    /// Every 100 ms.
    pub fn handle_tick(&mut self, place_of: &impl Fn(SectorId) -> Place) {
        self.following.handle_tick(place_of);
        self.lending.handle_tick();
    }

    /// Asks for what is followed by now, or no more. To be called whenever
    /// anything happened.
    pub fn ask(
        &mut self,
        place_of: &impl Fn(SectorId) -> Place,
        send: &impl Fn(NodeId, ViewMessage) -> bool,
    ) {
        for (sector, on) in self.fanout.drain_follow() {
            self.following.follow(sector, on);
        }
        self.following.look_soon(place_of);
        for ask in self.following.drain_asks() {
            match ask {
                Ask::Here { sector, on } => self.asks.push((sector, on)),
                Ask::There { node, sector, on } => {
                    // A node that is not told that it is enough is told so when
                    // the next comes from it.
                    if !send(node, ViewMessage::Follow { sector, on }) && on {
                        self.following.note_unsent(node, sector);
                    }
                }
            }
        }
        self.asks.append(&mut self.lending.drain_asks());
    }
}
