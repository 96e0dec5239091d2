//! Owns what becomes of a core's effects: each is one message to whoever carries it
//! out, or a line in the log. Never decides anything. Called by the core's thread, in
//! the order in which the core gave them.

use std::sync::atomic::Ordering;

use super::{CoreThread, FORMAT_GROUP, GALAXY_GROUP, RULES_GROUP};
use crate::actors::ending::Ended;
use crate::actors::peers::PeerMessage;
use crate::actors::ports::ToSession;
use crate::actors::rows::GroupAnswer;
use crate::actors::waking::Woken;
use crate::base::{EntityKey, NodeId};
use crate::cluster::core::loading::LoadError;
use crate::cluster::core::map::Map;
use crate::cluster::core::node::{NodeEffect, Part};
use crate::entity::attempt::Attempt;
use crate::entity::audit::{Head, Statement};
use crate::entity::commit::CommitError;
use crate::entity::envelope::Logic;
use crate::entity::input::InputPlace;
use crate::entity::replay::Mismatch;
use crate::telemetry::metrics;

impl CoreThread {
    pub(super) fn run_effect(&mut self, effect: NodeEffect) {
        match effect {
            NodeEffect::Commit(commit) => self.store.commit(commit),
            NodeEffect::ToTable(table, message) => self.tables[table].send(message),
            NodeEffect::ToTables(message) => {
                self.tables.iter().for_each(|table| table.send(message.clone()));
            }
            NodeEffect::ScanOwned => self.store.scan_owned(),
            NodeEffect::Load(entity, asker, ahead) => self.store.load(entity, asker, ahead),
            NodeEffect::LoadAhead(entity) => self.store.load_ahead(entity),
            NodeEffect::ReadNextId => self.store.read_next_id(),
            NodeEffect::ReadDue { after, limit } => self.store.read_due(after, limit),
            NodeEffect::ReadParked => self.store.read_parked(),
            NodeEffect::ReadAttempts => self.store.read_attempts(),
            NodeEffect::Condemn(entity, asker, why) => self.store.condemn(entity, asker, why),
            NodeEffect::Blamed(attempt) => self.note_blamed(&attempt),
            NodeEffect::ParkedAnywhere(entities) => self.note_parked(&entities),
            NodeEffect::Resumed(entity) => self.unpark(entity),
            NodeEffect::SetAside(entity, places) => note_set_aside(entity, &places),
            NodeEffect::ReadAsleep { after } => self.store.read_asleep(after),
            NodeEffect::Dormant(entity) => {
                self.registry.waking.tell(entity, Woken::Dormant);
                self.view.note_absent(entity);
            }
            NodeEffect::RowsDone { id, version } => self.answer_rows(id, version),
            NodeEffect::Ready => self.status.ready.store(true, Ordering::Relaxed),
            NodeEffect::StoreAway(away) => self.note_away(away),
            NodeEffect::Claiming { may_claim, off_ms } => self.note_clock(may_claim, off_ms),
            NodeEffect::Lacks(entity, needed) => note_lacking(entity, needed),
            NodeEffect::Unloadable(entity, error) => self.park(entity, &error),
            NodeEffect::Mismatch(entity, found) => note_mismatch(entity, &found),
            NodeEffect::ReadCluster { version } => self.store.read_cluster(version),
            NodeEffect::ScanOwnedBy(node) => self.store.scan_owned_by(node),
            // What is not taken comes again.
            NodeEffect::ToNode(node, message) => {
                let outcome = match self.mesh.send(node, PeerMessage::Core(message)) {
                    Ok(()) => "sent",
                    Err(_) => "dropped",
                };
                metrics::CORE_MESSAGES.with(&[outcome]).increment(1);
            }
            NodeEffect::Cast(node, cast) => self.mesh.cast(node, self.core.caster(), &cast),
            NodeEffect::Sign(statement) => self.sign(statement),
            NodeEffect::OtherHead(node, told) => note_other_head(node, told),
            NodeEffect::Map(map) => self.note_map(map),
            NodeEffect::Elsewhere(entity, node) => self.note_elsewhere(entity, node),
            NodeEffect::Passed(part, ms) => note_passed(part, ms),
            NodeEffect::WakeAt(at) => self.wake_at = at,
            NodeEffect::StepDown(error) => self.step_down(error),
        }
    }

    /// What became of a group of rows.
    fn answer_rows(&mut self, id: u64, version: Option<u64>) {
        match (id, version) {
            (GALAXY_GROUP, None) => self.give_up(
                "the galaxy was not stored: there is another one by now, or it is too large for a \
                 row; nothing was changed, start again",
            ),
            (FORMAT_GROUP, None) => self.give_up(
                "the cluster's format version was changed just now; nothing was changed here, \
                 start again",
            ),
            (RULES_GROUP, None) => self.give_up(
                "its rules were not stored: other rules came at the same time, which they are to \
                 be held against first; nothing was changed, start again",
            ),
            (id, version) => {
                let answer = version
                    .map_or(GroupAnswer::Refused, |version| GroupAnswer::Accepted { version });
                if let Some((asker, _permit)) = self.rows.remove(&id) {
                    // An asker that gave up meanwhile needs no answer.
                    let _ = asker.send(Ok(answer));
                }
            }
        }
    }

    fn step_down(&mut self, error: CommitError) {
        tracing::error!(%error, "this process owns nothing any more and ends");
        let why = error.to_string();
        self.ending.tell(match error {
            CommitError::Fenced { .. } => Ended::Overtaken(why),
            CommitError::Unknown(_) | CommitError::Malformed(_) => Ended::Failed(why),
        });
        self.end(None);
    }

    pub(super) fn sign(&mut self, statement: Statement) {
        if !self.signer.as_ref().is_some_and(|signer| signer.sign(statement)) {
            if self.signer.take().is_some() {
                tracing::error!("nobody signs the audit log any more: its thread is gone");
            }
            self.unsigned = Some(statement);
        }
    }

    pub(super) fn note_map(&self, map: Map) {
        let living = map.nodes.values().filter(|standing| standing.lives).count();
        metrics::NODES_LIVING.set(living as f64);
        self.mesh.note_map(map);
    }

    pub(super) fn note_elsewhere(&self, entity: EntityKey, node: NodeId) {
        self.registry.waking.tell(entity, Woken::Elsewhere(node));
        self.view.note_elsewhere(entity, node);
    }

    /// Another node was first: nothing can go on from here.
    pub(super) fn give_up(&mut self, why: &str) {
        tracing::error!("{why}");
        self.ending.tell(Ended::Overtaken(why.into()));
        self.end(None);
    }

    /// In this order: who asks from now on sees it in the registry, who asked
    /// before is told.
    pub(super) fn park(&self, entity: EntityKey, error: &LoadError) {
        tracing::error!(%entity, %error, "cannot be loaded; it is kept as it is and does not run");
        metrics::PARKED.set(self.registry.park(entity) as f64);
        self.ports.broadcast(&ToSession::Parked { entity });
    }

    /// Whoever waits here for one that another node was to run is told.
    fn note_parked(&self, entities: &[EntityKey]) {
        for entity in self.registry.note_parked(entities) {
            self.ports.broadcast(&ToSession::Parked { entity });
        }
    }

    /// Of what an earlier process said, its file is of no use any more; of what this one
    /// says, it may end now.
    pub(super) fn note_blamed(&self, attempt: &Attempt) {
        let Attempt { entity, node, incarnation, tick, how } = *attempt;
        tracing::error!(
            %entity, %node, incarnation = incarnation.0, tick = tick.0, ?how,
            "its code ended a process; with three such ends it is parked"
        );
        metrics::BLAMED.increment(1);
        let Some(words) = &self.last_words else { return };
        words.forget(attempt);
        self.status.blamed.fetch_or(words.are(attempt), Ordering::AcqRel);
    }

    pub(super) fn unpark(&self, entity: EntityKey) {
        tracing::info!(%entity, "it is not parked any more");
        metrics::PARKED.set(self.registry.unpark(entity) as f64);
    }

    pub(super) fn note_away(&self, away: bool) {
        if away {
            tracing::warn!("the store takes nothing: time stands still, nothing is lost");
        } else {
            tracing::info!("the store answers again: time goes on");
        }
        self.status.taking_commands.store(!away, Ordering::Relaxed);
        metrics::STORE_AWAY.set(f64::from(u8::from(away)));
        self.ports.broadcast(&ToSession::StoreAway(away));
    }

    pub(super) fn note_clock(&self, agrees: bool, off_ms: u64) {
        self.status.may_claim.store(agrees, Ordering::Relaxed);
        match agrees {
            true => tracing::info!("the clocks agree again"),
            false => tracing::error!(
                off_ms,
                "this node's clock and the store's differ by more than two seconds: nothing new \
                 is claimed until they agree; set the clock or start the node again"
            ),
        }
    }
}

fn note_other_head(node: NodeId, told: Head) {
    tracing::error!(
        %node, incarnation = told.incarnation.0, number = told.number,
        "the row of a node is not as that node told: somebody changed the store; verify the audit \
         log (starmesh admin audit)"
    );
    metrics::AUDIT_HEADS_DIFFER.increment(1);
}

fn note_set_aside(entity: EntityKey, places: &[InputPlace]) {
    for InputPlace { sequence, index } in places {
        tracing::error!(
            %entity, record = sequence, input = index,
            "an input panics wherever it is applied; it is set aside, and the entity goes on"
        );
    }
    metrics::SET_ASIDE.increment(places.len() as u64);
}

fn note_lacking(entity: EntityKey, needed: Logic) {
    tracing::warn!(
        %entity,
        "its journal needs {needed}, which this node cannot run; living nodes that can are asked \
         for it"
    );
}

fn note_mismatch(entity: EntityKey, found: &[Mismatch]) {
    tracing::error!(%entity, ?found, "replay differs from a journalled hash");
    metrics::INVARIANT_BROKEN.with(&["4"]).increment(found.len() as u64);
}

fn note_passed(part: Part, ms: u64) {
    let part = match part {
        Part::Ahead => "ahead",
        Part::Close => "close",
        Part::Record => "record",
        Part::Tail => "tail",
        Part::Claim => "claim",
    };
    metrics::HAND_OVER_SECONDS.with(&[part]).record(ms as f64 / 1_000.0);
}
