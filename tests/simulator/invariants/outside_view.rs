//! Invariant 27: what a client rebuilds from updates is, at their tick, the
//! sector's state as its player sees it; a keyframe comes first.

use std::collections::BTreeSet;

use starmesh::base::EntityKey;
use starmesh::entity::Entity;
use starmesh::entity::kinds::Kind;
use starmesh::protocol::UnitRecord;
use starmesh::sim::UnitState;
use starmesh::view::fog::{Cell, Mask, Sight};
use starmesh::view::{Applied, CellsView, convert};

use crate::scene::{Fact, Invariant, Scene, Seen};

#[derive(Default)]
pub struct OutsideView {
    /// Places that had a keyframe, per connection.
    begun: BTreeSet<(u64, EntityKey)>,
}

impl Invariant for OutsideView {
    fn name(&self) -> &'static str {
        "27 the rebuilt view is the state"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        let Fact::Seen { observer, view, applied } = fact else { return Ok(()) };
        let is_first = self.begun.insert((observer.connection, observer.entity));
        if is_first && !observer.keyframe {
            return Err(format!("{} begins without a keyframe", describe(observer)));
        }
        match applied {
            Applied::At(_) => compare(observer, view, scene),
            other => Err(format!("{} gave {other:?}", describe(observer))),
        }
    }
}

fn describe(seen: &Seen) -> String {
    format!("{} at {:?} by connection {}", seen.entity, seen.tick, seen.connection)
}

/// In each cell that the view has, the units that are there; all cells that
/// the player's own units in the sector reveal are among them.
fn compare(seen: &Seen, view: &CellsView, scene: &Scene) -> Result<(), String> {
    if seen.is_seed() {
        // Without a record, maybe because it was deleted: nobody is there.
        return view.units().next().map_or(Ok(()), |unit| {
            Err(format!("{}: {unit:?} in what the seed gives", describe(seen)))
        });
    }
    let shadow = scene.shadows.get(&seen.entity);
    let state = shadow.and_then(|shadow| shadow.at(seen.tick, &scene.world));
    let Some(Kind::Sector(sector)) = state.as_ref().map(Entity::kind) else {
        return Err(format!("{} is not known", describe(seen)));
    };
    let (mask, mut revealed) = (view.mask(), Mask::NONE);
    let mut expected = Vec::new();
    for unit in sector.state().units() {
        let cell = Cell::of(unit.position);
        if unit.owner == seen.player {
            let sensor = scene.world.rules.unit_type(unit.type_id).map_or(0, |kind| kind.sensor);
            revealed = revealed.with(Sight::new(sensor).from(cell));
        }
        let hidden = unit.state.has(UnitState::CLOAKED) || seen.is_above_scale_0();
        if if hidden { unit.owner == seen.player } else { mask.has(cell) } {
            expected.push(convert::record(unit));
        }
    }
    let mut found: Vec<UnitRecord> = view.units().copied().collect();
    found.sort_unstable_by_key(|unit| unit.id);
    if expected != found {
        let seen = describe(seen);
        return Err(format!("{seen}: rebuilt {found:?}, the state is {expected:?}"));
    }
    if revealed.0 & !mask.0 != 0 {
        return Err(format!("{}: sees {mask:?}, should {revealed:?}", describe(seen)));
    }
    Ok(())
}
