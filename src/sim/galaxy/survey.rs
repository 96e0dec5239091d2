//! Owns what is told of an area at once: how much is in it, and what, piece by
//! piece. Never looks at more than it is asked for: counts of large areas are
//! those that the galaxy's parameters lead to expect. Called by maps and by
//! searches for what is public. Invariant: the cost is bounded, whatever the
//! area.

use super::cells::{CELL_SECTORS, Cell};
use super::{Feature, FeatureKind, Galaxy, PlanetType, Rectangle, Region, StarSystem};
use crate::base::SectorId;

/// Areas of at most so many sectors are counted, larger ones estimated.
pub const COUNTED_SECTORS_MAX: u64 = 64 * 64;
/// An area is looked at in so many places along a side.
const SAMPLES: i64 = 64;
/// The same, for its density alone.
const DENSITY_SAMPLES: i64 = 16;

/// What is in an area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Regions that it has a part in, from the core outwards.
    pub regions: Vec<Region>,
    /// The mean of its sectors, 0 to 1,000.
    pub density: u16,
    pub systems: u64,
    pub planets: u64,
    pub stations: u64,
    pub asteroid_fields: u64,
    /// Counted; else what is to be expected.
    pub exact: bool,
}

impl Rectangle {
    fn columns(&self) -> u64 {
        side(self.from.0, self.to.0)
    }

    /// How many sectors it has; none when its corners are crossed.
    pub fn sectors(&self) -> u64 {
        self.columns().saturating_mul(side(self.from.1, self.to.1))
    }

    /// The part that both have.
    #[must_use]
    pub fn common(&self, other: &Rectangle) -> Rectangle {
        Rectangle {
            from: (self.from.0.max(other.from.0), self.from.1.max(other.from.1)),
            to: (self.to.0.min(other.to.0), self.to.1.min(other.to.1)),
        }
    }

    /// The sector of this number, row after row.
    fn sector(&self, index: u64) -> SectorId {
        let columns = self.columns().max(1);
        let along = |from: i64, by: u64| from.saturating_add_unsigned(by);
        let (x, y) = (along(self.from.0, index % columns), along(self.from.1, index / columns));
        SectorId::tactical(x, y)
    }
}

/// Numbers from `from` to `to`.
fn side(from: i64, to: i64) -> u64 {
    if from <= to { to.abs_diff(from).saturating_add(1) } else { 0 }
}

impl Galaxy {
    /// All of it.
    pub fn whole(&self) -> Rectangle {
        let last = i64::from(self.side()) - 1;
        Rectangle { from: (0, 0), to: (last, last) }
    }

    /// A rectangle that all sectors of the region lie in.
    pub fn bounds(&self, region: Region) -> Rectangle {
        let (half, side) = (i64::from(self.side() / 2), i64::from(self.side()));
        let reach = match region {
            Region::Core => side / 8,
            Region::MidRim => side / 4,
            Region::OuterRim => side * 2 / 5,
            Region::DeepSpace => half,
        };
        // The middle lies between two sectors, or in one.
        let (first, last) = (half - reach - 2, half + reach + 2);
        Rectangle { from: (first, first), to: (last, last) }.common(&self.whole())
    }

    /// The scale-0 sectors of `sector` that lie in the galaxy; `None` when
    /// there are none, and for sectors larger than the root.
    pub fn area(&self, sector: SectorId) -> Option<Rectangle> {
        if sector.scale > self.root().scale {
            return None;
        }
        // Scales are at most 20 here.
        let side = 1_i64 << sector.scale;
        let first = |v: i64| v.checked_mul(side).filter(|v| (0..1 << 40).contains(v));
        let from = (first(sector.x)?, first(sector.y)?);
        let sector = Rectangle { from, to: (from.0 + side - 1, from.1 + side - 1) };
        Some(sector.common(&self.whole())).filter(|area| area.sectors() > 0)
    }

    /// The mean resource density of the area, of which only what lies in the
    /// galaxy counts: of all its sectors up to scale 4, else of 256 places
    /// spread over it.
    pub fn made_density(&self, area: Rectangle) -> u16 {
        let area = area.common(&self.whole());
        let (mut sum, mut count) = (0, 0);
        for row in 0..DENSITY_SAMPLES {
            for column in 0..DENSITY_SAMPLES {
                let Some(sector) = sample(&area, column, row, DENSITY_SAMPLES) else { continue };
                sum += self.density(sector).map_or(0, u64::from);
                count += 1;
            }
        }
        mean(sum, count)
    }

    /// What there is in the area, of which only what lies in the galaxy counts.
    pub fn survey(&self, area: Rectangle) -> Survey {
        let area = area.common(&self.whole());
        match area.sectors() {
            0 => Survey { exact: true, ..Survey::default() },
            1..=COUNTED_SECTORS_MAX => self.count(&area),
            _ => self.estimate(&area),
        }
    }

    /// What is in the sectors of the area from number `first` on, row after
    /// row, with the number of each sector.
    pub fn features_from(
        &self,
        area: Rectangle,
        first: u64,
    ) -> impl Iterator<Item = (u64, SectorId, Vec<Feature>)> {
        let (galaxy, area) = (*self, area.common(&self.whole()));
        (first..area.sectors()).map(move |index| {
            let sector = area.sector(index);
            (index, sector, galaxy.contents(sector))
        })
    }

    /// The systems of the area from its cell number `first` on, row after row,
    /// with the number of each cell; a cell may have none.
    pub fn systems_from(
        &self,
        area: Rectangle,
        first: u64,
    ) -> impl Iterator<Item = (u64, Option<StarSystem>)> {
        let (galaxy, area) = (*self, area.common(&self.whole()));
        let cell = |v: i64| v / i64::from(CELL_SECTORS);
        let cells = Rectangle {
            from: (cell(area.from.0), cell(area.from.1)),
            to: (cell(area.to.0), cell(area.to.1)),
        };
        let count = if area.sectors() == 0 { 0 } else { cells.sectors() };
        let inside = move |star: SectorId| {
            (area.from.0..=area.to.0).contains(&star.x)
                && (area.from.1..=area.to.1).contains(&star.y)
        };
        (first..count).map(move |index| {
            let at = cells.sector(index);
            let found = cell_at(at)
                .filter(|cell| cell.x.max(cell.y) < galaxy.cells())
                .and_then(|cell| galaxy.system(cell));
            (index, found.filter(|system| inside(system.star)))
        })
    }

    fn count(&self, area: &Rectangle) -> Survey {
        let mut found = Survey { exact: true, ..Survey::default() };
        let mut density = 0;
        for (_, sector, features) in self.features_from(*area, 0) {
            density += self.density(sector).map_or(0, u64::from);
            found.regions.extend(self.region(sector));
            for feature in features {
                *match feature.kind {
                    FeatureKind::Star => &mut found.systems,
                    FeatureKind::Planet(_) => &mut found.planets,
                    FeatureKind::AsteroidField => &mut found.asteroid_fields,
                    FeatureKind::Station => &mut found.stations,
                } += 1;
            }
            // In the order of the rings, each once: at most four.
            found.regions.sort_unstable();
            found.regions.dedup();
        }
        found.density = mean(density, area.sectors());
        found
    }

    /// From the regions of places spread over the area.
    fn estimate(&self, area: &Rectangle) -> Survey {
        let parameters = self.parameters();
        let mut regions = Vec::new();
        let (mut density, mut systems, mut fields, mut homes) = (0_u64, 0_u64, 0_u64, 0_u64);
        let places = (0..SAMPLES).flat_map(|row| (0..SAMPLES).map(move |column| (column, row)));
        for (column, row) in places {
            let Some(sector) = sample(area, column, row, SAMPLES) else { continue };
            let Some(region) = self.region(sector) else { continue };
            regions.push(region);
            density += self.density(sector).map_or(0, u64::from);
            systems += u64::from(parameters.systems.of(region));
            fields += u64::from(parameters.asteroid_fields.of(region));
            homes += u64::from(self.home_world(sector).is_some());
        }
        // Below 2^40 sectors and 2^20 thousandths.
        let samples = SAMPLES.unsigned_abs().pow(2);
        let share = |units: u64, of: u64| of / samples * units / 1_000;
        let sectors = area.sectors();
        let systems = share(systems, sectors) / u64::from(CELL_SECTORS).pow(2);
        regions.sort_unstable();
        regions.dedup();
        Survey {
            regions,
            density: mean(density, samples),
            systems,
            planets: systems * u64::from(parameters.planets_max) / 2
                + homes * sectors / samples / 16,
            stations: systems * u64::from(parameters.stations) / 1_000,
            asteroid_fields: share(fields, sectors),
            exact: false,
        }
    }
}

/// The sector in the middle of a square of the area, which has `of` squares
/// along a side. `None` for one that falls between sectors.
fn sample(area: &Rectangle, column: i64, row: i64, of: i64) -> Option<SectorId> {
    let along = |from: i64, to: i64, at: i64| {
        let side = to - from + 1;
        if side <= of {
            (at < side).then_some(from + at)
        } else {
            Some(from + side * (2 * at + 1) / (2 * of))
        }
    };
    let x = along(area.from.0, area.to.0, column)?;
    Some(SectorId::tactical(x, along(area.from.1, area.to.1, row)?))
}

/// The cell of this column and row.
fn cell_at(at: SectorId) -> Option<Cell> {
    Some(Cell { x: u32::try_from(at.x).ok()?, y: u32::try_from(at.y).ok()? })
}

fn mean(sum: u64, of: u64) -> u16 {
    u16::try_from(sum / of.max(1)).unwrap_or(u16::MAX)
}

impl PlanetType {
    /// The name that players see.
    pub fn name(self) -> &'static str {
        match self {
            PlanetType::Terrestrial => "terrestrial",
            PlanetType::GasGiant => "gasGiant",
            PlanetType::Asteroid => "asteroid",
        }
    }
}

impl Region {
    /// From the core outwards.
    pub const ALL: [Region; 4] =
        [Region::Core, Region::MidRim, Region::OuterRim, Region::DeepSpace];

    /// The name that players see.
    pub fn name(self) -> &'static str {
        match self {
            Region::Core => "core",
            Region::MidRim => "midRim",
            Region::OuterRim => "outerRim",
            Region::DeepSpace => "deepSpace",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::strategies::sector;

    fn galaxy() -> Galaxy {
        Galaxy::new(2026, Galaxy::SIDE).unwrap()
    }

    #[test]
    fn an_area_is_the_part_of_a_sector_that_lies_in_the_galaxy() {
        let area = |x, y, scale| galaxy().area(SectorId { x, y, scale });
        assert_eq!(area(3, 4, 0), Some(Rectangle { from: (3, 4), to: (3, 4) }));
        assert_eq!(area(1, 0, 13), Some(Rectangle { from: (8192, 0), to: (9999, 8191) }));
        assert_eq!(area(0, 0, 14), Some(galaxy().whole()));
        for (x, y, scale) in [(0, 0, 15), (0, 0, 255), (1, 0, 14), (-1, 0, 0), (10_000, 0, 0)] {
            assert_eq!(area(x, y, scale), None, "{x} {y} {scale}");
        }
    }

    #[test]
    fn a_region_lies_in_its_bounds_and_reaches_all_their_sides() {
        for side in [512, 513, 700, 1_001] {
            let galaxy = Galaxy::new(1, side).unwrap();
            for region in Region::ALL {
                let Rectangle { from, to } = galaxy.bounds(region);
                let places =
                    (0..i64::from(side)).flat_map(|x| (0..i64::from(side)).map(move |y| (x, y)));
                let all = places
                    .filter(|(x, y)| galaxy.region(SectorId::tactical(*x, *y)) == Some(region));
                let (mut first, mut last) = (i64::MAX, 0);
                for (x, y) in all {
                    assert!(from.0 <= x && x <= to.0 && from.1 <= y && y <= to.1, "{region:?}");
                    (first, last) = (first.min(x), last.max(x));
                }
                assert!(first - from.0 <= 4 && to.0 - last <= 4, "{side} {region:?}");
            }
        }
    }

    #[test]
    fn what_is_estimated_is_near_what_is_there() {
        let galaxy = galaxy();
        let root = galaxy.survey(galaxy.whole());
        assert!(!root.exact && root.regions == Region::ALL);
        assert!((97_000..=103_000).contains(&root.systems), "{root:?}");
        assert!((480..=520).contains(&root.density), "{root:?}");
        // A quarter of an area that is counted, and four times that.
        let large = Rectangle { from: (6_400, 5_120), to: (6_400 + 127, 5_120 + 127) };
        let estimated = galaxy.survey(large);
        let mut counted = Survey::default();
        for (dx, dy) in [(0, 0), (64, 0), (0, 64), (64, 64)] {
            let from = (large.from.0 + dx, large.from.1 + dy);
            let part = galaxy.survey(Rectangle { from, to: (from.0 + 63, from.1 + 63) });
            assert!(part.exact);
            counted.systems += part.systems;
            counted.planets += part.planets;
            counted.asteroid_fields += part.asteroid_fields;
        }
        let near = |a: u64, b: u64| 2 * a.abs_diff(b) <= a.max(20);
        assert!(near(estimated.systems, counted.systems), "{estimated:?} {counted:?}");
        assert!(near(estimated.planets, counted.planets), "{estimated:?} {counted:?}");
        assert!(near(estimated.asteroid_fields, counted.asteroid_fields), "{counted:?}");
    }

    #[test]
    fn counts_are_those_of_what_is_listed() {
        let galaxy = galaxy();
        let area = galaxy.area(SectorId { x: 97, y: 80, scale: 6 }).unwrap();
        let survey = galaxy.survey(area);
        let systems: Vec<_> = galaxy.systems_from(area, 0).filter_map(|(_, s)| s).collect();
        assert_eq!(survey.systems, systems.len() as u64);
        assert!(galaxy.systems_in(area).eq(systems));
        let features: usize = galaxy.features_from(area, 0).map(|(_, _, f)| f.len()).sum();
        let Survey { systems, planets, stations, asteroid_fields, .. } = survey;
        assert_eq!(features as u64, systems + planets + stations + asteroid_fields);
    }

    proptest! {
        #[test]
        fn going_on_from_a_number_gives_what_is_left(first in 0_u64..300, x in -9_i64..520) {
            let galaxy = Galaxy::new(3, 520).unwrap();
            let area = Rectangle { from: (x, 5), to: (x + 40, 200) };
            let all: Vec<_> = galaxy.systems_from(area, 0).skip(first as usize).collect();
            prop_assert_eq!(galaxy.systems_from(area, first).collect::<Vec<_>>(), all);
            let next = galaxy.features_from(area, first).next().map(|(index, ..)| index);
            prop_assert!(next.is_none_or(|index| index == first));
        }

        #[test]
        fn any_area_is_surveyed(a in sector(), b in sector()) {
            let galaxy = Galaxy::new(3, 512).unwrap();
            galaxy.survey(Rectangle { from: (a.x, a.y), to: (b.x, b.y) });
            if let Some(area) = galaxy.area(a) {
                prop_assert!(area.sectors() > 0);
            }
        }
    }
}
