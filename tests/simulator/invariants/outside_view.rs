//! Invariant 27: what a client rebuilds from updates is, at their tick, the
//! sector's state as its player sees it; a keyframe comes first.

use std::collections::BTreeSet;

use starmesh::base::EntityKey;
use starmesh::entity::Entity;
use starmesh::entity::kinds::Kind;
use starmesh::protocol::UnitRecord;
use starmesh::sim::Changes;
use starmesh::view::convert;
use starmesh::view::observer::Observer;
use starmesh::view::place::{Applied, PlaceView};

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

fn compare(seen: &Seen, view: &PlaceView, scene: &Scene) -> Result<(), String> {
    let shadow = scene.shadows.get(&seen.entity);
    let state = shadow.and_then(|shadow| shadow.at(seen.tick, &scene.world));
    let Some(Kind::Sector(sector)) = state.as_ref().map(Entity::kind) else {
        return Err(format!("{} is not known", describe(seen)));
    };
    let mut fresh = Observer::new(seen.player);
    let (rules, nothing) = (&scene.world.rules, Changes::default());
    let keyframe = fresh.observe(sector.state(), rules, seen.tick, &nothing, false).next();
    let expected: Vec<UnitRecord> =
        keyframe.iter().flat_map(|update| &update.units).map(convert::record).collect();
    let found: Vec<UnitRecord> = view.units().map(convert::record).collect();
    if expected == found {
        return Ok(());
    }
    Err(format!("{}: rebuilt {found:?}, the state is {expected:?}", describe(seen)))
}
