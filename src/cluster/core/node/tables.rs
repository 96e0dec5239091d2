//! Owns what the core does with what tables say, and which table or node something
//! for an entity goes to. Never applies anything. Called for each word of a table, and
//! where something is for an entity. Invariant: what is for an entity that is not here
//! waits for its load, up to a bound, or goes to where it belongs.

use super::routes::Route;
use super::{NodeCore, NodeEffect, Waiting};
use crate::base::{EntityKey, Millis};
use crate::cluster::core::message::{FromTable, NodeBody, ToTable};
use crate::cluster::core::snapshots::Made;
use crate::entity::channel::{Acknowledgement, ChannelMessage};
use crate::entity::input::Input;
use crate::entity::pace::Rate;

impl NodeCore {
    pub(super) fn handle_table(&mut self, message: FromTable, now: Millis) {
        match message {
            FromTable::Submit { entity, generation, bytes } => {
                self.submit(entity, generation, bytes);
            }
            FromTable::Dilate { entity, generation, rate } => {
                self.handle_dilate(entity, generation, rate);
            }
            FromTable::Dropped { entity, generation } => self.handle_dropped(entity, generation),
            FromTable::Broke { entity, generation, at } => {
                self.handle_broke(entity, generation, at);
            }
            FromTable::Quiet { entity, generation, rest } => {
                self.handle_quiet(entity, generation, *rest);
            }
            FromTable::Leaving { entity, generation, tick, hash } => {
                self.handle_leaving(entity, generation, (tick, hash), now);
            }
            FromTable::Retired { entity, sequence, bytes } => {
                self.handle_retired(entity, sequence, bytes);
            }
            FromTable::Yielded { entity, moved } => self.handle_yielded(entity, moved),
            FromTable::Cast(casts) => self.handle_casts(casts),
            FromTable::Carry(message) => self.carry(message),
            FromTable::Acknowledge(ack) => self.acknowledge(ack),
            FromTable::NeedIds(entity) => {
                if self.ids.want(entity) {
                    self.effects.push(NodeEffect::ReadNextId);
                }
                self.grant_ids();
            }
            FromTable::Waiting(tick) => self.wanted = self.wanted.max(tick),
            FromTable::SnapshotDue(entity) => self.want_snapshot(entity),
            FromTable::Snapshot { entity, generation, sequence, bytes } => {
                if self.runs(entity, generation) {
                    let logic = self.world.logic();
                    self.snapshots.push(Made { entity, logic, sequence, bytes }, &self.limits);
                }
            }
        }
    }

    pub(super) fn submit(&mut self, entity: EntityKey, generation: u64, bytes: Vec<u8>) {
        if !self.runs(entity, generation) {
            // It was disowned meanwhile; the table is told and forgets it.
            return;
        }
        self.waiting(entity).push_back(bytes);
    }

    /// What waits for the next record of an entity, which there is to be.
    pub(super) fn waiting(&mut self, entity: EntityKey) -> &mut Waiting {
        self.waiting.entry(entity).or_insert_with(|| {
            self.order.push_back(entity);
            Waiting::default()
        })
    }

    /// Its ticks are to follow from the node's in another way, from the next
    /// record on: only here it is known at which tick of the node that is. One
    /// that is about to hibernate is let go as it is.
    pub(super) fn handle_dilate(&mut self, entity: EntityKey, generation: u64, rate: Rate) {
        let is_closing = self.closing.contains_key(&entity);
        let is_sector = matches!(entity, EntityKey::Sector(_));
        if self.runs(entity, generation) && is_sector && !is_closing {
            self.dilating.insert(entity, rate);
            self.waiting(entity);
        }
    }

    /// Whoever asks something of an entity that is not here asks again; what
    /// nobody says twice goes after it.
    pub(super) fn propose(&mut self, entity: EntityKey, input: Input) {
        if input.says_lost() {
            self.pass(NodeBody::Lost { entity, input }, 0);
        } else {
            self.send_to(entity, ToTable::Propose { entity, input });
        }
    }

    pub(super) fn carry(&mut self, message: ChannelMessage) {
        self.pass(NodeBody::Deliver(message), 0);
    }

    pub(super) fn acknowledge(&mut self, ack: Acknowledgement) {
        self.pass(NodeBody::Acknowledge(ack), 0);
    }

    /// To an entity that runs here, or is made to if it is this node's.
    pub(super) fn send_to(&mut self, entity: EntityKey, message: ToTable) {
        let is_closing = self.closing.contains_key(&entity);
        if self.owned.contains_key(&entity) && !is_closing {
            self.tell(entity, message);
        } else if self.route(entity) != Route::Here
            || !self.loading.keep(entity, message, is_closing, &self.limits)
        {
            self.counts.dropped += 1;
        }
    }

    pub(super) fn grant_ids(&mut self) {
        while let Some((entity, start)) = self.ids.grant() {
            let input = Input::Ids { start };
            self.send_to(entity, ToTable::Propose { entity, input });
        }
        if self.ids.must_read() {
            self.effects.push(NodeEffect::ReadNextId);
        }
    }
}
