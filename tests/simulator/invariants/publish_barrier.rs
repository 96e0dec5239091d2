//! Invariant 3: what is observed of tick T was preceded by a row that says at
//! least T, and follows from durable inputs.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, PlayerId, SectorId, Tick, UnitId};
use starmesh::cluster::core::table::Release;
use starmesh::entity::Entity;
use starmesh::entity::effect::{Connected, PlayerEffect, SectorPresence};
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Notice};
use starmesh::protocol::blocks::Seen;
use starmesh::view::Stage;
use starmesh::view::motion::Mover;
use starmesh::view::stage::Thrown;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct PublishBarrier {
    /// Connections whose `Connect` is durable.
    connects: BTreeSet<u64>,
    /// What ledgers were durably told.
    presence: BTreeSet<(PlayerId, SectorId, Tick)>,
    /// What was handed out of each sector.
    stages: BTreeMap<EntityKey, Stage>,
}

impl Invariant for PublishBarrier {
    fn name(&self) -> &'static str {
        "3 observed is what is durable"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Applied { record, .. } => {
                record.inputs.iter().for_each(|input| self.note(input));
                Ok(())
            }
            Fact::Released(Release::Scene { entity, scene: handed_out }) => {
                let EntityKey::Sector(sector) = *entity else { return Ok(()) };
                row_says(scene, *entity, handed_out.tick)?;
                let stage = Stage::new(sector, handed_out, &scene.world.rules);
                follows(scene, *entity, &stage)?;
                self.stages.insert(*entity, stage);
                Ok(())
            }
            Fact::Released(Release::Step { entity, delta }) => {
                row_says(scene, *entity, delta.tick)?;
                let Some(stage) = self.stages.get_mut(entity) else {
                    return Err(format!("{entity} shows a step before it shows itself"));
                };
                stage.step(delta, &Thrown::default());
                follows(scene, *entity, stage)
            }
            Fact::Ended => {
                self.stages.clear();
                Ok(())
            }
            Fact::Released(Release::Player(effect)) => self.told(effect, scene),
            _ => Ok(()),
        }
    }
}

impl PublishBarrier {
    fn note(&mut self, input: &Input) {
        match input {
            Input::Connect(connect) => {
                self.connects.insert(connect.connection);
            }
            Input::Message(message) => {
                if let Body::Notice(Notice::Presence { player, sector, as_of, .. }) = &message.body
                {
                    self.presence.insert((*player, *sector, *as_of));
                }
            }
            _ => {}
        }
    }

    fn told(&self, effect: &PlayerEffect, scene: &Scene) -> Result<(), String> {
        match effect {
            PlayerEffect::Answered(answer) => {
                let durable = scene.shadow(answer.entity).map_or(0, |e| e.head().sequence);
                if answer.record > durable {
                    return Err(format!("{answer:?}, but record {durable} is the last durable"));
                }
                row_says(scene, answer.entity, answer.tick)
            }
            PlayerEffect::Connected(connected) => self.connected(connected, scene),
            PlayerEffect::SessionEnded { player, session } => {
                let newest = session_of(scene, *player);
                let ended = newest.is_some_and(|newest| newest > session.0);
                if ended { Ok(()) } else { Err(format!("{effect:?}, but {newest:?} is durable")) }
            }
            PlayerEffect::Presence { player, presence, .. } => {
                self.is_durable(*player, presence).map_err(|what| format!("{effect:?}: {what}"))
            }
        }
    }

    fn connected(&self, connected: &Connected, scene: &Scene) -> Result<(), String> {
        let player = connected.player;
        let newest = session_of(scene, player);
        if newest.is_none_or(|newest| newest < connected.session.0) {
            return Err(format!("{connected:?}, but session {newest:?} is the newest durable"));
        }
        if !self.connects.contains(&connected.connection) {
            return Err(format!("{connected:?}, but its request is not durable"));
        }
        connected.presence.iter().try_for_each(|presence| self.is_durable(player, presence))
    }

    fn is_durable(&self, player: PlayerId, presence: &SectorPresence) -> Result<(), String> {
        if self.presence.contains(&(player, presence.sector, presence.as_of)) {
            return Ok(());
        }
        Err(format!("{presence:?} of player {player} was never durable"))
    }
}

fn session_of(scene: &Scene, player: PlayerId) -> Option<u64> {
    match scene.shadow(scene.world.ledger_of(player))?.kind() {
        Kind::Ledger(ledger) => ledger.session(player).map(|session| session.0),
        Kind::Board(_) | Kind::Sector(_) => None,
    }
}

fn row_says(scene: &Scene, entity: EntityKey, tick: Tick) -> Result<(), String> {
    let row = scene.row.as_ref().map(|row| row.tick).unwrap_or_default();
    // Before any claim there is only the genesis, at tick 0.
    let needed = scene.node_tick(entity, tick).unwrap_or_default();
    if needed <= row {
        return Ok(());
    }
    Err(format!("{entity} shows {tick:?}, the node's {needed:?}, but its row says {row:?}"))
}

/// What was handed out of a sector is what durable records make of it.
fn follows(scene: &Scene, entity: EntityKey, stage: &Stage) -> Result<(), String> {
    let (shadow, tick) = (scene.shadows.get(&entity), stage.tick());
    let state = shadow.and_then(|shadow| shadow.at(tick));
    let Some(Kind::Sector(sector)) = state.as_ref().map(Entity::kind) else {
        return Err(format!("{entity} shows {tick:?}, of which nothing is durable"));
    };
    let durable = sector.state().units().iter().map(|unit| Mover::from(unit).seen);
    let durable: BTreeMap<UnitId, Seen> = durable.map(|seen| (seen.id(), seen)).collect();
    let shown: BTreeMap<UnitId, Seen> = stage.units().map(|seen| (seen.id(), *seen)).collect();
    if durable == shown {
        return Ok(());
    }
    Err(format!("{entity} shows {shown:?} at {tick:?}, durable records make it {durable:?}"))
}
