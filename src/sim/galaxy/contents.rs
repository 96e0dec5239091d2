//! Owns what is in a sector before anybody came: stars, planets, fields of
//! asteroids, stations, as circles that ships fly around. Never looks beyond
//! the sector's cell. Called for maps, steering and new units.
//!
//! Invariant: the circles lie in their sector without touching each other, and
//! its middle is free.

use serde::{Deserialize, Serialize};

use super::cells::{CELL_SECTORS, StarSystem};
use super::{Galaxy, Purpose, packed};
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, SectorId};

/// Something that the galaxy was made with. Anybody may know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    pub kind: FeatureKind,
    pub circle: Circle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureKind {
    Star,
    Planet(PlanetType),
    AsteroidField,
    Station,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanetType {
    Terrestrial,
    GasGiant,
    Asteroid,
}

/// All places up to `radius` grid steps from `centre`, in a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circle {
    pub centre: Position,
    pub radius: i32,
}

/// Each kind has a quarter of the sector for itself, so that no two touch.
#[derive(Clone, Copy)]
enum Slot {
    /// The star or one of its planets.
    Body,
    Station,
    HomeWorld,
    Field,
}

/// Grid steps along the side of a quarter of a sector.
const QUARTER: u64 = SECTOR_STEPS as u64 / 2;
/// Grid steps (62.5 m) between a circle and the lines through the middle.
const CLEAR: u64 = 1 << 16;

impl Circle {
    /// Whether the place is in the circle, its edge included.
    pub fn contains(&self, place: Position) -> bool {
        let squared = |a: i32, b: i32| (i64::from(a) - i64::from(b)).unsigned_abs().pow(2);
        // Two differences of i32 may have squares of 2^64.
        let (dx, dy) = (squared(place.x, self.centre.x), squared(place.y, self.centre.y));
        let radius = u128::from(self.radius.unsigned_abs()).pow(2);
        u128::from(dx) + u128::from(dy) <= radius
    }
}

impl FeatureKind {
    /// The smallest and the largest radius, in metres.
    fn radii(self) -> (u64, u64) {
        match self {
            FeatureKind::Star => (120, 180),
            FeatureKind::Planet(PlanetType::Terrestrial) => (50, 90),
            FeatureKind::Planet(PlanetType::GasGiant) => (80, 140),
            FeatureKind::Planet(PlanetType::Asteroid) => (15, 40),
            FeatureKind::AsteroidField => (60, 160),
            FeatureKind::Station => (15, 30),
        }
    }
}

impl Galaxy {
    /// All that is in the scale-0 sector, at most four; nothing outside the
    /// galaxy and in larger sectors.
    pub fn contents(&self, sector: SectorId) -> Vec<Feature> {
        let Some(region) = self.region(sector) else { return Vec::new() };
        let mut found: Vec<(Slot, FeatureKind)> = Vec::new();
        if let Some(system) = self.cell_of(sector).and_then(|cell| self.system(cell)) {
            found.extend(self.body(&system, sector).map(|kind| (Slot::Body, kind)));
            if system.station && system.star == sector {
                found.push((Slot::Station, FeatureKind::Station));
            }
        }
        if self.is_home_world(sector) {
            found.push((Slot::HomeWorld, FeatureKind::Planet(PlanetType::Terrestrial)));
        }
        let [field, ..] = self.draw(Purpose::Field, [packed(sector), 0]);
        if field % 1_000 < u64::from(self.parameters().asteroid_fields.of(region)) {
            found.push((Slot::Field, FeatureKind::AsteroidField));
        }
        if found.is_empty() {
            return Vec::new();
        }
        let shape = self.draw(Purpose::Shape, [packed(sector), 0]);
        let feature = |(slot, kind)| Feature { kind, circle: circle(slot, kind, shape) };
        found.into_iter().map(feature).collect()
    }

    /// What ships in the scale-0 sector fly around.
    pub fn obstacles(&self, sector: SectorId) -> Vec<Circle> {
        self.contents(sector).into_iter().map(|feature| feature.circle).collect()
    }

    /// The planets of a system with their sectors, from the star outwards.
    pub fn planets(&self, system: &StarSystem) -> impl Iterator<Item = (SectorId, PlanetType)> {
        let [places, types, ..] = self.draw(Purpose::Planets, [packed(system.star), 0]);
        let (places, types) = (places.to_le_bytes(), types.to_le_bytes());
        let StarSystem { star, planets, .. } = *system;
        (0_u8..).zip(places).zip(types).take(planets.into()).map(move |((index, place), draw)| {
            // Two to an orbit, each on its own half of it.
            let (orbit, half) = (index / 2 + 1, index % 2);
            let (dx, dy) = on_orbit(orbit, half * 4 * orbit + place % (4 * orbit));
            (SectorId::tactical(star.x + dx, star.y + dy), planet_type(orbit, draw))
        })
    }

    /// The system's star or planet in the sector.
    fn body(&self, system: &StarSystem, sector: SectorId) -> Option<FeatureKind> {
        if system.star == sector {
            return Some(FeatureKind::Star);
        }
        let mut planets = self.planets(system);
        planets.find(|(place, _)| *place == sector).map(|(_, kind)| FeatureKind::Planet(kind))
    }
}

/// The sector number `index` of the 8 × `orbit` that are `orbit` rows or
/// columns from a star, around it.
fn on_orbit(orbit: u8, index: u8) -> (i64, i64) {
    let (r, arm, step) = (i64::from(orbit), index / (2 * orbit), i64::from(index % (2 * orbit)));
    match arm {
        0 => (r, step - r),
        1 => (r - step, r),
        2 => (-r, r - step),
        _ => (step - r, -r),
    }
}

/// Rock near the star, gas farther out.
fn planet_type(orbit: u8, draw: u8) -> PlanetType {
    // Of 256: terrestrial below the first, gas giants below the second.
    let (terrestrial, gas) = match orbit {
        1 => (150, 180),
        2 => (130, 190),
        3 => (50, 190),
        _ => (25, 150),
    };
    match draw {
        d if d < terrestrial => PlanetType::Terrestrial,
        d if d < gas => PlanetType::GasGiant,
        _ => PlanetType::Asteroid,
    }
}

/// The circle of what is in `slot`: of its size, anywhere in its quarter.
fn circle(slot: Slot, kind: FeatureKind, shape: [u64; 4]) -> Circle {
    let word = shape[slot as usize];
    // Three draws of 20 bits from one word, each scaled to its range.
    let between = |low: u64, high: u64, shift: u32| {
        low + ((((word >> shift) & 0xF_FFFF) * (high - low + 1)) >> 20)
    };
    let (least, most) = kind.radii();
    let metres = |m: u64| m * u64::from(SECTOR_STEPS.unsigned_abs()) / 1_000;
    let radius = between(metres(least), metres(most), 40);
    // A quarter has room for the largest: 180 m on each side and 62.5 m free.
    let (x, y) = (
        between(radius, QUARTER - CLEAR - radius, 0),
        between(radius, QUARTER - CLEAR - radius, 20),
    );
    // Which quarter is whose turns from sector to sector.
    let quarter = (slot as u64 + (shape[0] >> 62)) % 4;
    let mirror = |v: u64, far: bool| if far { 2 * QUARTER - 1 - v } else { v };
    let steps = |v: u64| i32::try_from(v).unwrap_or(SECTOR_STEPS / 2);
    Circle {
        centre: Position {
            x: steps(mirror(x, quarter % 2 == 1)),
            y: steps(mirror(y, quarter >= 2)),
        },
        radius: steps(radius),
    }
}

// A planet stays in the cell of its star.
const _: () = assert!(super::Parameters::PLANETS_MAX as u32 / 2 <= CELL_SECTORS / 4);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::fixed::length;
    use crate::base::geometry::strategies::sector;
    use crate::sim::galaxy::{Rectangle, crowded};

    fn sectors(from: i64, to: i64) -> impl Iterator<Item = SectorId> {
        (from..to).flat_map(move |x| (from..to).map(move |y| SectorId::tactical(x, y)))
    }

    fn distance(a: Position, b: Position) -> i64 {
        let along = |a: i32, b: i32| i64::from(a) - i64::from(b);
        i64::try_from(length(along(a.x, b.x), along(a.y, b.y))).unwrap()
    }

    #[test]
    fn features_lie_in_their_sector_apart_from_each_other_and_from_its_middle() {
        let galaxy = crowded(3);
        let middle = Position { x: SECTOR_STEPS / 2, y: SECTOR_STEPS / 2 };
        let mut most = 0;
        for sector in sectors(0, 512) {
            let features = galaxy.contents(sector);
            most = most.max(features.len());
            for (at, Feature { circle: Circle { centre, radius }, .. }) in
                features.iter().enumerate()
            {
                let inside = *radius..=SECTOR_STEPS - 1 - radius;
                assert!(inside.contains(&centre.x) && inside.contains(&centre.y), "{sector}");
                assert!(distance(*centre, middle) > i64::from(radius + (1 << 16)), "{sector}");
                for Feature { circle: other, .. } in &features[..at] {
                    let apart = i64::from(radius + other.radius);
                    assert!(distance(*centre, other.centre) > apart, "{sector}");
                }
            }
        }
        assert!(most >= 3);
    }

    #[test]
    fn a_systems_star_planets_and_station_are_found_where_they_are_and_nowhere_else() {
        for galaxy in [crowded(4), Galaxy::new(4, Galaxy::SIDE_MIN).unwrap()] {
            let mut expected = Vec::new();
            for system in galaxy.systems_in(Rectangle { from: (0, 0), to: (511, 511) }) {
                expected.push((system.star, FeatureKind::Star));
                if system.station {
                    expected.push((system.star, FeatureKind::Station));
                }
                for (place, kind) in galaxy.planets(&system) {
                    assert_eq!(place.ancestor(4), system.star.ancestor(4));
                    expected.push((place, FeatureKind::Planet(kind)));
                }
            }
            let mut found = Vec::new();
            for sector in sectors(0, 512) {
                let mut kinds: Vec<_> = galaxy.contents(sector).iter().map(|f| f.kind).collect();
                kinds.retain(|kind| *kind != FeatureKind::AsteroidField);
                if galaxy.home_world(sector) == Some(sector) {
                    let terrestrial = FeatureKind::Planet(PlanetType::Terrestrial);
                    let at = kinds.iter().rposition(|kind| *kind == terrestrial).unwrap();
                    kinds.remove(at);
                }
                found.extend(kinds.into_iter().map(|kind| (sector, kind)));
            }
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn each_region_has_its_share_of_asteroid_fields() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        let places = || (0..1_000).flat_map(|x| (0..1_000).map(move |y| (10 * x, 10 * y)));
        let mut fields = [(0_u64, 0_u64); 4];
        for (x, y) in places() {
            let sector = SectorId::tactical(x, y);
            let (sectors, with_field) = &mut fields[galaxy.region(sector).unwrap() as usize];
            *sectors += 1;
            let is_field = |feature: &Feature| feature.kind == FeatureKind::AsteroidField;
            *with_field += u64::from(galaxy.contents(sector).iter().any(is_field));
        }
        for ((sectors, found), share) in
            fields.into_iter().zip(galaxy.parameters().asteroid_fields.all())
        {
            let expected = sectors * u64::from(share) / 1_000;
            assert!(found.abs_diff(expected) * 8 <= expected, "{found} {expected}");
        }
    }

    #[test]
    fn inner_planets_are_rock_and_outer_ones_gas_more_often() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        let mut counts = [[0_u32; 3]; 4];
        for system in galaxy.systems_in(Rectangle { from: (4_000, 4_000), to: (6_000, 6_000) }) {
            for (index, (_, kind)) in galaxy.planets(&system).enumerate() {
                counts[index / 2][kind as usize] += 1;
            }
        }
        let [inner, _, outer, none] = counts;
        assert!(inner[0] > 3 * inner[1] && outer[1] > 2 * outer[0], "{counts:?}");
        // Six planets at most have three orbits.
        assert!(inner.iter().chain(&outer).all(|count| *count > 100) && none == [0; 3]);
    }

    #[test]
    fn a_circle_contains_its_edge() {
        let circle = Circle { centre: Position { x: 10, y: 10 }, radius: 5 };
        assert!(circle.contains(Position { x: 13, y: 14 }));
        assert!(!circle.contains(Position { x: 14, y: 14 }));
        let all = Circle { centre: Position { x: i32::MIN, y: i32::MIN }, radius: i32::MAX };
        assert!(!all.contains(Position { x: i32::MAX, y: i32::MAX }));
    }

    proptest! {
        #[test]
        fn any_sector_has_contents_or_none(seed: u64, sector in sector()) {
            let galaxy = Galaxy::new(seed, Galaxy::SIDE).unwrap();
            let inside = galaxy.contains(sector);
            prop_assert!(inside || galaxy.contents(sector).is_empty());
            prop_assert!(inside || galaxy.obstacles(sector).is_empty());
            prop_assert_eq!(galaxy.density(sector).is_some(), inside);
            prop_assert_eq!(galaxy.region(sector).is_some(), inside);
            prop_assert!(inside || galaxy.home_world(sector).is_none());
            prop_assert!(inside || galaxy.lanes_of(sector).is_empty());
        }
    }
}
