//! Owns the check that a player is shown nothing but what its own units see:
//! each cell of a mask is one that a sensor reaches, or did a moment ago. Never
//! looks at packets (the client library tells strays). Called with every
//! update of a client. Invariant: what it calls a fault is one.
//!
//! Sight crosses borders, and packets of two sectors come in any order, so a
//! mask is judged [`AFTER_MS`] later, by all that was seen of the own units
//! from [`BEFORE_MS`] before it on. On a line that is slower than that nothing
//! is judged: the caller clears what waits.

use std::collections::{BTreeMap, VecDeque};

use crate::base::SectorId;
use crate::protocol::UnitRecord;
use crate::view::CellsView;
use crate::view::fog::{CELLS, Cell, Mask, Sight};

/// A cell stays in a mask for a second; the rest is for slow lines.
const BEFORE_MS: u64 = 10_000;
const AFTER_MS: u64 = 5_000;
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
    shown: BTreeMap<SectorId, Mask>,
    waiting: VecDeque<(u64, SectorId, Mask)>,
}

impl Fog {
    /// The connection is another one, or gone: what came before is not known
    /// to be followed by what comes.
    pub fn clear(&mut self) {
        *self = Fog::default();
    }

    /// The view of a sector is new, with these of the player's own units.
    pub fn note(&mut self, sector: SectorId, view: &CellsView, own: &[UnitRecord], now: u64) {
        // In warp a unit sees nothing of the sectors it flies over.
        if sector.scale > 0 {
            return;
        }
        for unit in own {
            let Cell { x, y } = Cell::of(unit.position.into());
            self.posts.insert(Post { sector, x, y, type_id: unit.type_id }, now);
        }
        let mask = view.mask();
        let before = self.shown.insert(sector, mask).unwrap_or_default();
        if mask.0 & !before.0 != 0 && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((now, sector, mask));
        }
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
