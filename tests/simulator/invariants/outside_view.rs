//! Invariant 27: what a client rebuilds from updates is, at their tick, the
//! sector's state as its player sees it; a keyframe comes first. Where an
//! update did not come, the cells that a later one has blocks of are right all
//! the same, or missing until a keyframe. (How much of the sector the view has
//! to show, `fog` judges.)

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
    /// Those that noticed that an update did not come.
    gaps: BTreeSet<(u64, EntityKey)>,
    healed: u64,
    missing: u64,
}

impl Invariant for OutsideView {
    fn name(&self) -> &'static str {
        "27 the rebuilt view is the state"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        let Fact::Seen { observer, view, applied } = fact else { return Ok(()) };
        let way = (observer.connection, observer.entity);
        let is_first = self.begun.insert(way);
        if is_first && !observer.keyframe {
            return Err(format!("{} begins without a keyframe", describe(observer)));
        }
        match applied {
            Applied::At(_) => {
                self.healed += u64::from(!observer.lost && self.gaps.remove(&way));
                compare(observer, view, scene)
            }
            Applied::Gap if observer.lost => {
                self.gaps.insert(way);
                self.missing += u64::from(view.tick().is_some());
                compare(observer, view, scene)
            }
            other => Err(format!("{} gave {other:?}", describe(observer))),
        }
    }

    fn judged(&self) -> Vec<(&'static str, u64)> {
        vec![("keyframe after a gap", self.healed), ("cells missing after a gap", self.missing)]
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
    if view.tick().is_none() {
        // After a gap in the masks it knows nothing, and shows nothing.
        return view.units().next().map_or(Ok(()), |unit| {
            Err(format!("{}: {unit:?} in what is not known", describe(seen)))
        });
    }
    let shadow = scene.shadows.get(&seen.entity);
    let state = shadow.and_then(|shadow| shadow.at(seen.tick));
    let Some(Kind::Sector(sector)) = state.as_ref().map(Entity::kind) else {
        return Err(format!("{} is not known", describe(seen)));
    };
    let (mask, mut revealed) = (view.mask(), Mask::NONE);
    // Where an update was lost, a cell is known to be right by its next block.
    let told = if seen.lost { seen.cells } else { Mask::ALL };
    let held = Mask(mask.0 & !view.missing().0 & told.0);
    let mut expected = Vec::new();
    for unit in sector.state().units() {
        let cell = Cell::of(unit.position);
        if unit.owner == seen.player {
            let sensor = scene.world.rules.unit_type(unit.type_id).map_or(0, |kind| kind.sensor);
            revealed = revealed.with(Sight::new(sensor).from(cell));
        }
        let hidden = unit.state.has(UnitState::CLOAKED) || seen.is_above_scale_0();
        let shows = if hidden { unit.owner == seen.player && !seen.lost } else { held.has(cell) };
        if shows {
            expected.push(convert::record(unit));
        }
    }
    let mut found: Vec<UnitRecord> = match seen.lost {
        false => view.units().copied().collect(),
        // A unit whose departure was lost flies on, over cells that are right.
        true => {
            let cells = (0..64).filter(|cell| held.has_index(usize::from(*cell)));
            cells.filter_map(|cell| view.cell(cell)).flatten().copied().collect()
        }
    };
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
