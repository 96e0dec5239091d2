//! Invariant 14: whoever watches everywhere and goes by the node's ticks never
//! sees a unit with fewer hops than before: a sector that let a unit go does
//! not show it at or after the tick at which the next one does.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Tick, UnitId};
use starmesh::cluster::core::table::Release;
use starmesh::view::motion::Mover;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Hops {
    /// The units that are shown of each sector.
    shown: BTreeMap<EntityKey, BTreeMap<UnitId, u32>>,
    /// The most hops with which a unit was shown, and from which tick on.
    most: BTreeMap<UnitId, (u32, Tick)>,
    followed: u64,
}

impl Invariant for Hops {
    fn name(&self) -> &'static str {
        "14 no view goes to a lower hop"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        let hops = |mover: &Mover| (mover.seen.id(), mover.seen.unit.hops);
        match fact {
            Fact::Released(Release::Scene { entity, scene: all }) => {
                self.shown.insert(*entity, all.units.iter().map(hops).collect());
                self.judge(*entity, all.tick, scene)
            }
            Fact::Released(Release::Step { entity, delta }) => {
                let units = self.shown.entry(*entity).or_default();
                units.extend(delta.appeared.iter().map(hops));
                delta.left.iter().for_each(|id| _ = units.remove(id));
                self.judge(*entity, delta.tick, scene)
            }
            Fact::Ended => {
                self.shown.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn judged(&self) -> Vec<(&'static str, u64)> {
        vec![("unit shown on both sides of a border", self.followed)]
    }
}

impl Hops {
    fn judge(&mut self, entity: EntityKey, tick: Tick, scene: &Scene) -> Result<(), String> {
        let at = scene.node_tick(entity, tick).unwrap_or_default();
        for (unit, hops) in self.shown.get(&entity).into_iter().flatten() {
            let (most, since) = self.most.entry(*unit).or_insert((*hops, at));
            if hops > most {
                (*most, *since) = (*hops, at);
                self.followed += 1;
            } else if hops < most && at >= *since {
                return Err(format!(
                    "{entity} shows unit {unit} with {hops} hops at {at:?}, {most} were shown at {since:?}"
                ));
            }
        }
        Ok(())
    }
}
