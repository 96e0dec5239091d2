//! Invariant 28, and what masks have to show: at each step a group sees the
//! cells that its units reveal, those in the sectors around it too, and none
//! but these and the ones they revealed in the five steps before; one that came
//! stays for five steps; no update has a record of any other cell. What is revealed is computed from where
//! units truly are, by the rule as it is written, never by the code that makes
//! masks.

use std::collections::{BTreeMap, VecDeque};

use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{EntityKey, PlayerId, Position, SectorId, Tick};
use starmesh::cluster::core::table::Release;
use starmesh::entity::Entity;
use starmesh::entity::kinds::Kind;
use starmesh::view::CellsView;

use crate::scene::{Fact, Invariant, Scene, Seen};

/// Steps kept of each sector: updates come late.
const STEPS_MAX: usize = 256;
/// A cell that was revealed stays for five steps of two ticks.
const STAYS_TICKS: u64 = 10;
/// A mask for each of the nine sectors around and at a place, its own in the
/// middle.
type Reveals = BTreeMap<PlayerId, [u64; 9]>;
const OWN: usize = 4;

#[derive(Default)]
pub struct Fog {
    places: BTreeMap<SectorId, Place>,
    /// What one unit reveals, by its radius and its cell.
    sights: BTreeMap<(u32, (i64, i64)), [u64; 9]>,
    /// When each cell of a view came into its mask, as far as that is known.
    came: BTreeMap<(u64, EntityKey), BTreeMap<u32, Tick>>,
    masks: BTreeMap<(u64, EntityKey), u64>,
    /// Views with another player's unit, also where only a neighbour sees it.
    foreign: u64,
    over_a_border: u64,
    stayed: u64,
}

#[derive(Default)]
struct Place {
    followed: bool,
    /// All of it was handed out since it is followed.
    shown: bool,
    reveals: Reveals,
    steps: VecDeque<Step>,
}

struct Step {
    tick: Tick,
    /// Nothing stays from before it.
    is_first: bool,
    own: BTreeMap<PlayerId, u64>,
    /// With what was thrown on it when it was made.
    must: BTreeMap<PlayerId, u64>,
    /// And until the next one.
    may: BTreeMap<PlayerId, u64>,
}

impl Invariant for Fog {
    fn name(&self) -> &'static str {
        "28 nothing is told of cells that are not revealed"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Followed { sector, on } => self.follow(*sector, *on),
            Fact::Released(Release::Scene { entity, scene: all }) => {
                self.step(*entity, all.tick, true, scene);
            }
            Fact::Released(Release::Step { entity, delta }) => {
                self.step(*entity, delta.tick, false, scene);
            }
            Fact::Released(Release::Gone { entity: EntityKey::Sector(sector) }) => {
                self.places.entry(*sector).or_default().end();
            }
            Fact::Ended => {
                let places = self.places.values_mut();
                places.for_each(|place| (place.followed, _) = (false, place.end()));
            }
            Fact::Seen { observer, view, .. } => return self.judge(observer, view),
            _ => {}
        }
        Ok(())
    }

    fn judged(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("another's unit seen", self.foreign),
            ("another's unit seen over a border", self.over_a_border),
            ("cell that nobody reveals any more stays", self.stayed),
        ]
    }
}

impl Place {
    /// It is handed out no more: it throws nothing.
    fn end(&mut self) {
        self.shown = false;
        self.reveals.clear();
    }
}

impl Fog {
    fn follow(&mut self, sector: SectorId, on: bool) {
        let place = self.places.entry(sector).or_default();
        place.followed = on;
        place.end();
    }

    fn step(&mut self, entity: EntityKey, tick: Tick, is_first: bool, scene: &Scene) {
        let EntityKey::Sector(sector) = entity else { return };
        let place = self.places.entry(sector).or_default();
        // What was held for one that looked away comes to nobody.
        if sector.scale > 0 || !place.followed || !(is_first || place.shown) {
            return;
        }
        place.shown = true;
        let state = scene.shadows.get(&entity).and_then(|shadow| shadow.at(tick));
        let reveals = state.map(|state| self.reveals(&state, scene)).unwrap_or_default();
        let own = reveals.iter().map(|(player, masks)| (*player, masks[OWN])).collect();
        let must = self.with_thrown(sector, &own);
        let step = Step { tick, is_first, own, may: must.clone(), must };
        let place = self.places.entry(sector).or_default();
        place.steps.push_back(step);
        if place.steps.len() > STEPS_MAX {
            place.steps.pop_front();
        }
        place.reveals = reveals;
        self.throw(sector);
    }

    /// What `own` and the units around reveal of `sector`.
    fn with_thrown(
        &self,
        sector: SectorId,
        own: &BTreeMap<PlayerId, u64>,
    ) -> BTreeMap<PlayerId, u64> {
        let mut all = own.clone();
        for (index, near) in around(sector) {
            let Some(near) = self.places.get(&near) else { continue };
            for (player, masks) in &near.reveals {
                // Seen from there this one lies opposite.
                *all.entry(*player).or_default() |= masks[8 - index];
            }
        }
        all
    }

    /// A keyframe between two steps may have what came since the last.
    fn throw(&mut self, sector: SectorId) {
        let reveals = self.places.get(&sector).map(|place| place.reveals.clone());
        for (index, near) in around(sector) {
            let step = self.places.get_mut(&near).and_then(|near| near.steps.back_mut());
            let Some(step) = step else { continue };
            for (player, masks) in reveals.iter().flatten() {
                *step.may.entry(*player).or_default() |= masks[index];
            }
        }
    }

    fn reveals(&mut self, state: &Entity, scene: &Scene) -> Reveals {
        let mut reveals = Reveals::new();
        let Kind::Sector(sector) = state.kind() else { return reveals };
        for unit in sector.state().units() {
            let sensor = scene.world.rules.unit_type(unit.type_id).map_or(0, |kind| kind.sensor);
            let cell = cell(unit.position);
            let sight = self.sights.entry((sensor, cell)).or_insert_with(|| sight(sensor, cell));
            let masks = reveals.entry(unit.owner).or_default();
            masks.iter_mut().zip(*sight).for_each(|(mask, more)| *mask |= more);
        }
        reveals
    }

    fn judge(&mut self, seen: &Seen, view: &CellsView) -> Result<(), String> {
        self.judge_step(seen, view).map_err(|what| {
            let Seen { entity, tick, connection, .. } = seen;
            format!("{entity} at {tick:?} by connection {connection}: {what}")
        })
    }

    fn judge_step(&mut self, seen: &Seen, view: &CellsView) -> Result<(), String> {
        let EntityKey::Sector(sector) = seen.entity else { return Ok(()) };
        if let Some(cell) = seen.stray {
            return Err(format!("cell {cell} is told and not in the mask, or not its units'"));
        }
        if seen.is_above_scale_0() || seen.is_seed() {
            // Units in warp are in no cell, and where no record is nobody is.
            return match seen.cells.0 {
                0 => Ok(()),
                cells => Err(format!("units in cells {cells:x}")),
            };
        }
        let steps = self.places.get(&sector).map(|place| &place.steps);
        let steps = steps.ok_or("it was never handed out")?;
        if steps.front().is_none_or(|first| first.tick > seen.tick) {
            // So long ago that nothing is kept of it.
            return Ok(());
        }
        let at = steps.iter().rposition(|step| step.tick == seen.tick);
        let revealed = Revealed::new(steps, at.ok_or("that step was never handed out")?, seen);
        if seen.cells.0 & !revealed.may != 0 {
            return Err(format!("{:x} is told, {:x} revealed", seen.cells.0, revealed.may));
        }
        if view.tick().is_none() {
            return Ok(());
        }
        self.judge_mask(seen, view, &revealed)
    }

    fn judge_mask(
        &mut self,
        seen: &Seen,
        view: &CellsView,
        revealed: &Revealed,
    ) -> Result<(), String> {
        let Revealed { own, must, now, may } = *revealed;
        let mask = view.mask().0;
        // A keyframe is made between steps, when a neighbour may see less.
        let least = if seen.keyframe { own } else { must };
        if mask & !may != 0 || least & !mask != 0 {
            return Err(format!("sees {mask:x}, should {least:x}, at most {may:x}"));
        }
        if let Some(cell) = self.left_early(seen, mask) {
            return Err(format!("cell {cell} left the mask within five steps"));
        }
        self.stayed += u64::from(mask & !now != 0);
        let foreign = view.units().filter(|unit| unit.owner != seen.player);
        let cells = foreign.map(|unit| {
            let (x, y) = cell(Position { x: unit.position.x, y: unit.position.y });
            1_u64 << (8 * y + x)
        });
        let cells = cells.fold(0, |cells, cell| cells | cell);
        self.foreign += u64::from(cells != 0);
        self.over_a_border += u64::from(cells & must & !own != 0);
        Ok(())
    }
}

/// What is revealed to one player at a step.
struct Revealed {
    own: u64,
    must: u64,
    /// Until the next step.
    now: u64,
    /// With what stays.
    may: u64,
}

impl Revealed {
    fn new(steps: &VecDeque<Step>, at: usize, seen: &Seen) -> Revealed {
        let of = |masks: &BTreeMap<PlayerId, u64>| masks.get(&seen.player).copied().unwrap_or(0);
        let step = &steps[at];
        let (own, must, now) = (of(&step.own), of(&step.must), of(&step.may));
        let (mut may, mut back) = (now, at);
        while !steps[back].is_first
            && back > 0
            && seen.tick.since(steps[back - 1].tick) < STAYS_TICKS
        {
            back -= 1;
            may |= of(&steps[back].may);
        }
        Revealed { own, must, now, may }
    }
}

impl Fog {
    /// A cell that left the mask of a view less than five steps after it came.
    fn left_early(&mut self, seen: &Seen, mask: u64) -> Option<u32> {
        let way = (seen.connection, seen.entity);
        let before = self.masks.insert(way, mask);
        let came = self.came.entry(way).or_default();
        let Some(before) = before.filter(|_| !seen.keyframe && !seen.lost) else {
            // What came when is not known to who has not seen each mask.
            came.clear();
            return None;
        };
        let is_new = |cell: &u32| mask & !before & 1 << cell != 0;
        came.extend((0..64).filter(is_new).map(|cell| (cell, seen.tick)));
        let left: Vec<u32> = (0..64).filter(|cell| before & !mask & 1 << cell != 0).collect();
        let mut times = left.into_iter().filter_map(|cell| Some((cell, came.remove(&cell)?)));
        times.find(|(_, came)| seen.tick.since(*came) < STAYS_TICKS).map(|(cell, _)| cell)
    }
}

/// The eight sectors around one, each with its place among the nine.
fn around(sector: SectorId) -> impl Iterator<Item = (usize, SectorId)> {
    let all = (0..9).filter(|index| *index != OWN);
    all.filter_map(move |index| {
        let (dx, dy) = (index as i64 % 3 - 1, index as i64 / 3 - 1);
        Some((index, sector.neighbour(dx, dy)?))
    })
}

/// The column and row of a unit's cell; one that is leaving is in the last.
fn cell(position: Position) -> (i64, i64) {
    let axis = |v: i32| (i64::from(v) * 8).div_euclid(i64::from(SECTOR_STEPS)).clamp(0, 7);
    (axis(position.x), axis(position.y))
}

/// Semantics 4.6: the cells whose centre is within r + 88 m of the centre of
/// the unit's own, in each of the nine sectors.
fn sight(sensor: u32, (x, y): (i64, i64)) -> [u64; 9] {
    let reach = i64::from(sensor.min(1000)) + 88;
    let is_seen = |cx: i64, cy: i64| {
        let (dx, dy) = (125 * (cx - x), 125 * (cy - y));
        dx * dx + dy * dy <= reach * reach
    };
    std::array::from_fn(|index| {
        let (left, low) = (8 * (index as i64 % 3 - 1), 8 * (index as i64 / 3 - 1));
        let cells = (0..64).filter(|cell| is_seen(left + cell % 8, low + cell / 8));
        cells.fold(0, |mask, cell| mask | 1 << cell)
    })
}
