//! Owns the check that a player is shown nothing but what its own units see:
//! each cell of a mask is one that a sensor reaches, or did a moment ago. Never
//! looks at packets (the client library tells strays). Called with every
//! update of a client. Invariant: what it calls a fault is one.
//!
//! Sight crosses borders, and packets of two sectors come in any order, so a
//! mask is judged [`AFTER_MS`] later, by all that was seen of the own units
//! from [`BEFORE_MS`] before it on. Where that is not known nothing is judged:
//! on a line that is slower than that, while a unit is seen nowhere, after time
//! stood still. The caller clears then, and so does a unit that comes to be where
//! it cannot have come from one cell at a time: it was shown nowhere on the way,
//! as a sector's updates pause while a busy machine hands it over. Masks are
//! judged again when the cells that only stay in them from before have left.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{SectorId, UnitId};
use crate::protocol::UnitRecord;
use crate::view::CellsView;
use crate::view::fog::{CELLS, Cell, Mask, Sight};

/// A cell stays in a mask for a second; the rest is for slow lines.
const BEFORE_MS: u64 = 10_000;
const AFTER_MS: u64 = 5_000;
/// After what came before was forgotten: a cell that is shown since was revealed
/// since.
const SETTLED_MS: u64 = 3_000;
/// Masks that wait to be judged; more are not looked at.
const WAITING_MAX: usize = 256;

/// The metres that a unit type sees.
pub type Sensors = BTreeMap<u16, u32>;

/// Where an own unit was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Post {
    sector: SectorId,
    x: i32,
    y: i32,
    type_id: u16,
}

/// Cells of a sector that a player was shown and does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub sector: SectorId,
    pub cells: Mask,
}

/// What one player saw and was shown of late.
#[derive(Debug, Default)]
pub struct Fog {
    /// When a unit was last known there, in the caller's milliseconds.
    posts: BTreeMap<Post, u64>,
    /// The cell of the galaxy in which each unit was seen last, and when.
    last: BTreeMap<UnitId, ([i64; 2], u64)>,
    shown: BTreeMap<SectorId, Mask>,
    /// When it was first known where the units are.
    since: Option<u64>,
    waiting: VecDeque<(u64, SectorId, Mask)>,
}

impl Fog {
    /// What came before is not known to be followed by what comes: the connection
    /// is another one, say.
    pub fn clear(&mut self) {
        *self = Fog::default();
    }

    /// The view of a sector is new, with these of the player's own units.
    pub fn note(&mut self, sector: SectorId, view: &CellsView, own: &[UnitRecord], now: u64) {
        // In warp a unit sees nothing of the sectors it flies over.
        if sector.scale > 0 {
            return;
        }
        if self.has_jumped(sector, own, now) {
            self.clear();
        }
        for unit in own {
            let Cell { x, y } = Cell::of(unit.position.into());
            self.posts.insert(Post { sector, x, y, type_id: unit.type_id }, now);
        }
        if now < self.since.get_or_insert(now).saturating_add(SETTLED_MS) {
            return;
        }
        let mask = view.mask();
        let before = self.shown.insert(sector, mask).unwrap_or_default();
        if mask.0 & !before.0 != 0 && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((now, sector, mask));
        }
    }

    /// Whether one of them was somewhere meanwhile that was not shown.
    fn has_jumped(&mut self, sector: SectorId, own: &[UnitRecord], now: u64) -> bool {
        let mut has_jumped = false;
        for unit in own {
            let Cell { x, y } = Cell::of(unit.position.into());
            let at = [(sector.x, x), (sector.y, y)];
            let at = at.map(|(sector, cell)| sector * i64::from(CELLS) + i64::from(cell));
            let before = self.last.insert(unit.id, (at, now));
            let is_far = |(from, _): ([i64; 2], u64)| (0..2).any(|i| from[i].abs_diff(at[i]) > 1);
            has_jumped |= before.is_some_and(is_far);
        }
        has_jumped
    }

    /// What was shown long enough ago and cannot be seen.
    pub fn judge(&mut self, sensors: &Sensors, now: u64) -> Vec<Unseen> {
        let mut faults = Vec::new();
        while let Some((_, sector, mask)) =
            self.waiting.pop_front_if(|(at, ..)| *at + AFTER_MS <= now)
        {
            let cells = Mask(mask.0 & !self.seen(sector, sensors).0);
            if cells != Mask::NONE {
                faults.push(Unseen { sector, cells });
            }
        }
        let oldest = now.saturating_sub(BEFORE_MS + AFTER_MS);
        self.posts.retain(|_, at| *at >= oldest);
        self.last.retain(|_, (_, at)| *at >= oldest);
        faults
    }

    /// What all posts see of a sector.
    fn seen(&self, sector: SectorId, sensors: &Sensors) -> Mask {
        let off = |a: i64, b: i64| i32::try_from(a - b).ok().filter(|off| off.abs() <= 1);
        let near = self.posts.keys().filter_map(|post| {
            let (dx, dy) = (off(post.sector.x, sector.x)?, off(post.sector.y, sector.y)?);
            let cell = Cell { x: post.x + dx * CELLS, y: post.y + dy * CELLS };
            let sensor = sensors.get(&post.type_id).copied().unwrap_or(0);
            Some(Sight::new(sensor).from(cell))
        });
        near.fold(Mask::NONE, Mask::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{PlayerId, Position, Tick, UnitId};
    use crate::protocol::CodecKind;
    use crate::sim::rules::sample;
    use crate::sim::{Unit, UnitTypeId};
    use crate::view::motion::Mover;
    use crate::view::stage::{GroupId, Scene, Thrown};
    use crate::view::{Stage, convert};

    const ANNA: PlayerId = PlayerId(7);
    const WEST: SectorId = SectorId::tactical(3, 4);
    const EAST: SectorId = SectorId::tactical(4, 4);
    /// So many masks that wait are judged by then.
    const LATER: u64 = 60_000;

    fn sensors() -> Sensors {
        sample::rules().unwrap().types().iter().map(|kind| (kind.id.0, kind.sensor)).collect()
    }

    /// What Anna is shown with a unit at `x` if there is one, and these cells besides.
    fn shown(sector: SectorId, x: Option<i32>, besides: Mask) -> (CellsView, Vec<UnitRecord>) {
        let unit = |x| Unit::new(UnitId(1), UnitTypeId(1), ANNA, Position { x, y: 1 });
        let units: Vec<UnitRecord> = x.into_iter().map(|x| convert::record(&unit(x))).collect();
        let movers = units.iter().map(|unit| Mover::from(&convert::unit(unit))).collect();
        let rules = sample::rules().unwrap();
        let mut stage = Stage::new(sector, &Scene { tick: Tick(2), units: movers }, &rules);
        let mut thrown = Thrown::default();
        thrown.add(GroupId::of(ANNA), besides);
        stage.look(&thrown);
        let bytes = stage.keyframe(GroupId::of(ANNA), CodecKind::Postcard, 1);
        let (header, packet) = CodecKind::Postcard.codec().decode_packet(&bytes).unwrap();
        let mut view = CellsView::default();
        view.handle(header.tick, &packet);
        (view, units)
    }

    fn note(fog: &mut Fog, sector: SectorId, (view, own): &(CellsView, Vec<UnitRecord>), now: u64) {
        fog.note(sector, view, own, now);
    }

    /// The cell farthest from where the units are.
    fn corner() -> Mask {
        Mask(1 << 63)
    }

    #[test]
    fn a_cell_that_no_unit_sees_is_a_fault_also_after_all_was_forgotten() {
        let mut fog = Fog::default();
        let wide = shown(WEST, Some(1), corner());
        for from in [0, 100_000] {
            (0..10).for_each(|step| note(&mut fog, WEST, &wide, from + 1_000 * step));
            let faults = fog.judge(&sensors(), from + 9_000);
            assert_eq!(faults, [Unseen { sector: WEST, cells: corner() }]);
            fog.clear();
        }
    }

    #[test]
    fn a_cell_that_stays_from_before_all_was_forgotten_is_none() {
        let mut fog = Fog::default();
        fog.clear();
        // Its unit left the corner's reach right before.
        (0..5).for_each(|at| note(&mut fog, WEST, &shown(WEST, Some(1), corner()), 200 * at));
        (1..20).for_each(|at| note(&mut fog, WEST, &shown(WEST, Some(1), Mask::NONE), 1_000 * at));
        assert_eq!(fog.judge(&sensors(), LATER), []);
    }

    #[test]
    fn what_a_unit_saw_on_a_way_that_was_not_shown_is_none() {
        let mut fog = Fog::default();
        let cell = crate::base::geometry::SECTOR_STEPS / CELLS;
        (0..30).for_each(|at| note(&mut fog, WEST, &shown(WEST, Some(1), Mask::NONE), 200 * at));
        // For six seconds nothing came. What it saw last of its way is shown still.
        let there = shown(WEST, Some(4 * cell + 1), corner());
        (0..5).for_each(|at| note(&mut fog, WEST, &there, 12_000 + 200 * at));
        let there = shown(WEST, Some(4 * cell + 1), Mask::NONE);
        (1..20).for_each(|at| note(&mut fog, WEST, &there, 13_000 + 200 * at));
        assert_eq!(fog.judge(&sensors(), LATER), []);
    }

    #[test]
    fn a_unit_whose_sector_is_silent_goes_on_seeing() {
        let mut fog = Fog::default();
        let there = shown(WEST, Some(crate::base::geometry::SECTOR_STEPS - 1), Mask::NONE);
        // Both cells at the border are in its reach.
        let (none, across) = (shown(EAST, None, Mask::NONE), shown(EAST, None, Mask(1)));
        for at in 0..30 {
            note(&mut fog, WEST, &there, 1_000 * at);
            note(&mut fog, EAST, if at < 20 { &none } else { &across }, 1_000 * at);
            assert_eq!(fog.judge(&sensors(), 1_000 * at), []);
        }
    }
}
