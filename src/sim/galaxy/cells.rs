//! Owns where star systems are: the galaxy is a grid of cells of 16 × 16
//! sectors, each with at most one system, drawn for it alone. Never looks at
//! another cell. Called by all that is generated around stars.
//!
//! Invariants: a system lies in its cell with all its planets; every block of
//! 4 × 4 cells has a system, so that lanes of bounded length reach everywhere.

use super::{Galaxy, Purpose};
use crate::base::SectorId;

/// Sectors along a cell's side: a cell is a sector of scale 4.
pub(super) const CELL_SECTORS: u32 = 16;
/// Cells along a block's side.
const BLOCK_CELLS: u32 = 4;
/// Cells of a block.
const BLOCK: u64 = 16;
/// A star's distance from its cell's border, so that four orbits fit around it.
const MARGIN: u32 = 4;
/// Of 1,000 cells so many, rounded up, have a system because their block must
/// have one.
pub(super) const ANCHORS_PER_1000: u16 = 63;

/// A cell, by its column and row; never outside the galaxy. Sectors beyond the
/// last whole cell of a row or column belong to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cell {
    pub x: u32,
    pub y: u32,
}

/// A star and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StarSystem {
    /// The sector that the star is in; no other system has it.
    pub star: SectorId,
    /// How many planets it has.
    pub planets: u8,
    /// Whether there is a station at the star.
    pub station: bool,
}

/// Scale-0 sectors from one corner to the opposite one, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    pub from: (i64, i64),
    pub to: (i64, i64),
}

impl Galaxy {
    /// The system whose star is in the scale-0 sector.
    pub fn system_at(&self, star: SectorId) -> Option<StarSystem> {
        self.system(self.cell_of(star)?).filter(|system| system.star == star)
    }

    /// The systems whose stars are in the rectangle, cell after cell and row
    /// after row; takes as long as the rectangle has cells in the galaxy.
    pub fn systems_in(&self, rectangle: Rectangle) -> impl Iterator<Item = StarSystem> {
        let galaxy = *self;
        let Rectangle { from, to } = rectangle;
        let (columns, rows) = (self.cells_between(from.0, to.0), self.cells_between(from.1, to.1));
        let inside = move |star: SectorId| {
            (from.0..=to.0).contains(&star.x) && (from.1..=to.1).contains(&star.y)
        };
        rows.flat_map(move |y| columns.clone().map(move |x| Cell { x, y }))
            .filter_map(move |cell| galaxy.system(cell))
            .filter(move |system| inside(system.star))
    }

    /// Whole cells along a side.
    pub(super) fn cells(&self) -> u32 {
        self.side() / CELL_SECTORS
    }

    /// The cell that contains the scale-0 sector.
    pub(super) fn cell_of(&self, sector: SectorId) -> Option<Cell> {
        let index = |v: i64| u32::try_from(v).ok().map(|v| v / CELL_SECTORS);
        let cell = Cell { x: index(sector.x)?, y: index(sector.y)? };
        (sector.scale == 0 && cell.x.max(cell.y) < self.cells()).then_some(cell)
    }

    /// The system of the cell, if it has one.
    pub(super) fn system(&self, cell: Cell) -> Option<StarSystem> {
        let [presence, place, planets, station] = self.draw(Purpose::System, cell.numbers());
        if !self.has_system(cell, presence) {
            return None;
        }
        let room = u64::from(CELL_SECTORS - 2 * MARGIN);
        // Below 16, so the narrowing loses nothing.
        let along = |v: u64| i64::from(MARGIN + (v % room) as u32);
        let (x, y) = cell.origin();
        let parameters = self.parameters();
        Some(StarSystem {
            star: SectorId::tactical(x + along(place), y + along(place / room)),
            planets: (planets % (u64::from(parameters.planets_max) + 1)) as u8,
            station: station % 1_000 < u64::from(parameters.stations),
        })
    }

    /// Of a block's 16 cells one has a system in any case, and each other one
    /// as often as is missing from the share that was asked for.
    fn has_system(&self, cell: Cell, presence: u64) -> bool {
        let (x, y) = cell.origin();
        let half = i64::from(CELL_SECTORS);
        let region = self.region_at(2 * x + half, 2 * y + half);
        let share = u64::from(self.parameters().systems.of(region));
        // share / 1000 = 1 / 16 + 15 / 16 × missing / 15000.
        let missing = (BLOCK * share).saturating_sub(1_000);
        presence % (1_000 * (BLOCK - 1)) < missing || self.is_anchor(cell)
    }

    /// Whether the cell is the one of its block that has a system in any case.
    fn is_anchor(&self, cell: Cell) -> bool {
        let block = Cell { x: cell.x / BLOCK_CELLS, y: cell.y / BLOCK_CELLS };
        // The last block of a row or column may have fewer.
        let length = |block: u32| (self.cells() - block * BLOCK_CELLS).min(BLOCK_CELLS);
        let [column, row, ..] = self.draw(Purpose::Anchor, block.numbers());
        let along = |block: u32, draw: u64| {
            u64::from(block * BLOCK_CELLS) + draw % u64::from(length(block))
        };
        (u64::from(cell.x), u64::from(cell.y)) == (along(block.x, column), along(block.y, row))
    }

    /// The columns, or rows, of cells that have sectors from `from` to `to`.
    fn cells_between(&self, from: i64, to: i64) -> std::ops::Range<u32> {
        let (cells, length) = (i64::from(self.cells()), i64::from(CELL_SECTORS));
        let clamp = |v: i64| u32::try_from(v.clamp(0, cells)).unwrap_or(0);
        let first = from.div_euclid(length);
        let end = if from <= to { to.div_euclid(length) + 1 } else { first };
        clamp(first)..clamp(end)
    }
}

impl Cell {
    /// What is drawn for the cell is drawn for these.
    pub(super) fn numbers(self) -> [u64; 2] {
        [self.x.into(), self.y.into()]
    }

    /// Which of its 256 sectors this one is.
    pub(super) fn place(self, sector: SectorId) -> u16 {
        let (x, y) = self.origin();
        u16::try_from((sector.y - y) * i64::from(CELL_SECTORS) + (sector.x - x)).unwrap_or(0)
    }

    /// The inverse of [`place`](Self::place).
    pub(super) fn sector(self, place: u16) -> SectorId {
        let ((x, y), length) = (self.origin(), i64::from(CELL_SECTORS));
        SectorId::tactical(x + i64::from(place) % length, y + i64::from(place) / length)
    }

    /// Its first sector.
    fn origin(self) -> (i64, i64) {
        (i64::from(self.x * CELL_SECTORS), i64::from(self.y * CELL_SECTORS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::strategies::sector;
    use crate::sim::galaxy::{Parameters, PerRegion, Region};

    /// As few systems as there may be.
    fn sparse(seed: u64, side: u32) -> Galaxy {
        let least = Parameters::SYSTEMS_MIN;
        let systems =
            PerRegion { core: least, mid_rim: least, outer_rim: least, deep_space: least };
        Galaxy::generated(seed, side, Parameters { systems, ..Parameters::default() }).unwrap()
    }

    fn whole(galaxy: &Galaxy) -> Rectangle {
        let last = i64::from(galaxy.side()) - 1;
        Rectangle { from: (0, 0), to: (last, last) }
    }

    #[test]
    fn each_region_has_its_share_of_systems_and_the_default_galaxy_100_000() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        let systems: Vec<_> = galaxy.systems_in(whole(&galaxy)).collect();
        assert!((99_000..=101_000).contains(&systems.len()), "{}", systems.len());
        for (region, cells) in [
            (Region::Core, 19_175),
            (Region::MidRim, 57_524),
            (Region::OuterRim, 119_650),
            (Region::DeepSpace, 194_276),
        ] {
            let share = usize::from(galaxy.parameters().systems.of(region));
            let expected = cells * share / 1_000;
            let in_region = |s: &&StarSystem| galaxy.region(s.star) == Some(region);
            let found = systems.iter().filter(in_region).count();
            assert!(found.abs_diff(expected) * 50 <= expected, "{region:?} {found} {expected}");
        }
        let planets: usize = systems.iter().map(|s| usize::from(s.planets)).sum();
        assert!((290..=310).contains(&(planets * 100 / systems.len())), "{planets}");
        let stations = systems.iter().filter(|s| s.station).count();
        assert!((190..=210).contains(&(stations * 1_000 / systems.len())), "{stations}");
    }

    #[test]
    fn every_block_of_every_galaxy_has_a_system() {
        for (seed, side) in [(1, 512), (2, 600), (3, 1_000), (4, 2_049), (5, 1_087)] {
            let galaxy = sparse(seed, side);
            let blocks = i64::from(galaxy.cells().div_ceil(BLOCK_CELLS));
            for (x, y) in (0..blocks).flat_map(|x| (0..blocks).map(move |y| (64 * x, 64 * y))) {
                let block = Rectangle { from: (x, y), to: (x + 63, y + 63) };
                assert!(galaxy.systems_in(block).next().is_some(), "{seed} {side} {x} {y}");
            }
        }
    }

    #[test]
    fn a_full_galaxy_has_a_system_in_every_cell() {
        let systems =
            PerRegion { core: 1_000, mid_rim: 1_000, outer_rim: 1_000, deep_space: 1_000 };
        let parameters = Parameters { systems, ..Parameters::default() };
        let galaxy = Galaxy::generated(9, 600, parameters).unwrap();
        assert_eq!(galaxy.systems_in(whole(&galaxy)).count(), 37 * 37);
    }

    proptest! {
        #[test]
        fn systems_of_a_rectangle_are_those_of_its_sectors(
            seed: u64, side in 512_u32..700, x in -70_i64..700, y in -70_i64..700,
            width in 0_i64..70, height in 0_i64..70,
        ) {
            let galaxy = Galaxy::new(seed, side).unwrap();
            let rectangle = Rectangle { from: (x, y), to: (x + width - 1, y + height - 1) };
            let mut found: Vec<_> = galaxy.systems_in(rectangle).map(|s| s.star).collect();
            let sectors = (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y)));
            let mut expected: Vec<_> = sectors
                .map(|(x, y)| SectorId::tactical(x, y))
                .filter(|sector| galaxy.system_at(*sector).is_some())
                .collect();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_rectangle_has_systems_of_the_galaxy_only(
            seed: u64, a in sector(), b in sector(),
        ) {
            let galaxy = Galaxy::new(seed, 512).unwrap();
            let rectangle = Rectangle { from: (a.x, a.y), to: (b.x, b.y) };
            let count = galaxy
                .systems_in(rectangle)
                .inspect(|system| assert!(galaxy.contains(system.star)))
                .count();
            prop_assert!(count <= 32 * 32);
        }

        #[test]
        fn any_sector_is_asked_for_a_system(seed: u64, sector in sector()) {
            let galaxy = Galaxy::new(seed, Galaxy::SIDE).unwrap();
            let system = galaxy.system_at(sector);
            prop_assert!(system.is_none_or(|system| system.star == sector));
        }
    }
}
