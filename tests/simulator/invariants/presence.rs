//! Semantics 3.6, once faults have ended: the ledger of every player lists the
//! sectors that have units of theirs, and no others; of sectors at rest it
//! knows how many. (What is on its way then is not judged.)

use starmesh::base::{EntityKey, PlayerId};
use starmesh::entity::Entity;
use starmesh::entity::effect::SectorPresence;
use starmesh::entity::kinds::Kind;
use starmesh::entity::kinds::sector::TICKS_PER_STEP;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Presence;

impl Invariant for Presence {
    fn name(&self) -> &'static str {
        "ledgers know where their players are"
    }

    fn observe(&mut self, _: &Fact<'_>, _: &Scene) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        let entities: Vec<Entity> =
            scene.shadows.keys().filter_map(|key| scene.now(*key)).collect();
        // What came with the last record is told with the next step.
        let is_told = |entity: &&Entity| {
            let mut next = (*entity).clone();
            next.run_to(entity.tick().after(TICKS_PER_STEP), &scene.world, &mut Vec::new());
            [*entity, &next]
                .iter()
                .all(|entity| entity.head().outbox.is_settled() && entity.head().backlog.is_empty())
        };
        let sectors: Vec<&Entity> = entities.iter().filter(is_told).collect();
        for entity in &entities {
            let Kind::Ledger(ledger) = entity.kind() else { continue };
            for player in ledger.players() {
                let known = ledger.presence(player);
                sectors.iter().try_for_each(|sector| compare(player, sector, &known))?;
                let is_made_up = known.iter().find(|presence| {
                    let key = EntityKey::Sector(presence.sector);
                    !entities.iter().any(|entity| entity.key() == key)
                });
                if let Some(presence) = is_made_up {
                    return Err(format!("player {player} is in {presence:?}, which is not there"));
                }
            }
        }
        Ok(())
    }
}

fn compare(player: PlayerId, entity: &Entity, known: &[SectorPresence]) -> Result<(), String> {
    let Kind::Sector(sector) = entity.kind() else { return Ok(()) };
    let counts = sector.state().counts(player);
    let known = known.iter().find(|presence| presence.sector == sector.state().sector());
    let known = known.map_or(Vec::new(), |presence| presence.counts.clone());
    let is_right = if entity.is_idle() {
        counts == known
    } else {
        // Other changes wait for their turn.
        counts.is_empty() == known.is_empty()
    };
    if is_right {
        return Ok(());
    }
    Err(format!("player {player} has {counts:?} in {}, the ledger says {known:?}", entity.key()))
}
