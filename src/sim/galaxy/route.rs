//! Owns the shortest way along star lanes: A* over systems that are generated
//! as the search meets them. Never keeps anything between two searches. Called
//! by whoever sends ships far.
//!
//! Invariants: of all ways along lanes none is shorter, and of those that are
//! as short one is always taken, from either end; the search ends after as
//! many systems as its limit says.

use pathfinding::directed::astar::astar;

use super::cells::{CELL_SECTORS, Cell};
use super::lanes::{pair, squared_distance};
use super::{Galaxy, Purpose};
use crate::base::SectorId;

/// A way from sector to sector, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The first sector, the star nearest to it, stars along lanes, the star
    /// nearest to the last sector, the last sector; none twice in a row. One
    /// straight leg when both ends have the same star nearest.
    pub waypoints: Vec<SectorId>,
    /// The lengths of all legs from sector to sector, each rounded up.
    pub metres: u64,
    /// How many systems were looked at.
    pub expanded: u32,
}

/// What a search may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Systems whose lanes are followed, at most.
    pub expanded_max: u32,
}

impl Default for RouteLimits {
    /// Every system of a galaxy of the default size.
    fn default() -> RouteLimits {
        RouteLimits { expanded_max: 120_000 }
    }
}

/// Why there is no route. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("{0} is not in the galaxy; expected a sector of scale 0 inside it")]
    OutsideGalaxy(SectorId),
    #[error("no route was found by following the lanes of {0} systems, and more are not followed")]
    Limit(u32),
    /// Lanes reach everywhere, see [`lanes`](super::lanes): never seen.
    #[error("no lanes lead from {0} to {1}")]
    Unconnected(SectorId, SectorId),
}

/// Metres in the upper half and, so that no two ways are equal, numbers drawn
/// for the lanes in the lower: sums of at most 2^24 lanes of 40 bits.
type Cost = u128;

impl Galaxy {
    /// The shortest way along star lanes between two scale-0 sectors.
    ///
    /// # Errors
    /// When an end is not in the galaxy, or the search meets its limit.
    pub fn route(
        &self,
        from: SectorId,
        to: SectorId,
        limits: RouteLimits,
    ) -> Result<Route, RouteError> {
        let mut map = Map::new(self);
        let mut entry = |sector| map.nearest(sector).ok_or(RouteError::OutsideGalaxy(sector));
        let (first, last) = (entry(from)?, entry(to)?);
        let (mut waypoints, mut expanded) = (vec![from], 0);
        if first != last {
            let (stars, count) = map.search(first, last, limits)?;
            waypoints.extend(stars);
            expanded = count;
        }
        waypoints.push(to);
        waypoints.dedup();
        let legs = waypoints.windows(2).map(|leg| metres(leg[0], leg[1]));
        let metres = legs.sum();
        Ok(Route { waypoints, metres, expanded })
    }
}

/// What a search has seen of the galaxy.
struct Map<'a> {
    galaxy: &'a Galaxy,
    /// Row after row; those that nothing was asked of are not there.
    tiles: Vec<Option<Box<Tile>>>,
    tiles_per_row: u32,
}

/// Cells along a tile's side.
const TILE: u32 = 32;

/// For each cell [`UNSEEN`], [`NO_STAR`] or [`STAR`] and where in the cell.
type Tile = [u16; (TILE * TILE) as usize];

const UNSEEN: u16 = 0;
const NO_STAR: u16 = 1;
const STAR: u16 = 2;

impl<'a> Map<'a> {
    fn new(galaxy: &'a Galaxy) -> Map<'a> {
        let tiles_per_row = galaxy.cells().div_ceil(TILE);
        // 400 by default, four million in the largest galaxy.
        let tiles = (0..tiles_per_row.pow(2)).map(|_| None).collect();
        Map { galaxy, tiles, tiles_per_row }
    }

    /// The star in the cell.
    fn star(&mut self, cell: Cell) -> Option<SectorId> {
        let tile = cell.y / TILE * self.tiles_per_row + cell.x / TILE;
        let tile = self.tiles[tile as usize].get_or_insert_with(|| Box::new([UNSEEN; _]));
        let seen = &mut tile[(cell.y % TILE * TILE + cell.x % TILE) as usize];
        if *seen == UNSEEN {
            let system = self.galaxy.system(cell);
            *seen = system.map_or(NO_STAR, |system| STAR + cell.place(system.star));
        }
        seen.checked_sub(STAR).map(|place| cell.sector(place))
    }

    fn lanes(&mut self, star: SectorId) -> Vec<SectorId> {
        let galaxy = self.galaxy;
        galaxy.lanes_among(star, |cell| self.star(cell))
    }

    /// The star nearest to a sector; `None` outside the galaxy.
    fn nearest(&mut self, sector: SectorId) -> Option<SectorId> {
        let galaxy = self.galaxy;
        let centre = galaxy.nearest_cell(sector)?;
        let mut best: Option<((u64, u64), SectorId)> = None;
        for ring in 0..=galaxy.cells() {
            for star in galaxy.ring(centre, ring).filter_map(|cell| self.star(cell)) {
                let key = (squared_distance(sector, star), super::packed(star));
                if best.is_none_or(|(least, _)| key < least) {
                    best = Some((key, star));
                }
            }
            // Whatever was not seen yet is farther away.
            let seen = u64::from(ring * CELL_SECTORS).pow(2);
            if best.is_some_and(|((squared, _), _)| squared <= seen) {
                break;
            }
        }
        best.map(|(_, star)| star)
    }

    /// The stars of the shortest way, both ends included, and how many were
    /// looked at.
    fn search(
        &mut self,
        first: SectorId,
        last: SectorId,
        limits: RouteLimits,
    ) -> Result<(Vec<SectorId>, u32), RouteError> {
        let galaxy = self.galaxy;
        let expanded = std::cell::Cell::new(0);
        let lanes = |star: &Star| {
            expanded.set(expanded.get() + 1);
            let star = star.0;
            self.lanes(star).into_iter().map(move |end| (Star(end), galaxy.cost(star, end)))
        };
        // No way is shorter than the straight one, and rounding up never
        // makes a lane shorter.
        let straight = |star: &Star| Cost::from(metres_down(star.0, last)) << 64;
        let is_over = |star: &Star| star.0 == last || expanded.get() >= limits.expanded_max;
        let found = astar(&Star(first), lanes, straight, is_over);
        let (stars, _) = found.ok_or(RouteError::Unconnected(first, last))?;
        if stars.last() != Some(&Star(last)) {
            return Err(RouteError::Limit(limits.expanded_max));
        }
        Ok((stars.into_iter().map(|star| star.0).collect(), expanded.get()))
    }
}

/// A star as a node of the search.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Star(SectorId);

impl Galaxy {
    /// What a lane costs, from either end.
    fn cost(&self, a: SectorId, b: SectorId) -> Cost {
        let [tie, ..] = self.draw(Purpose::Tie, pair(a, b));
        (Cost::from(metres(a, b)) << 64) | Cost::from(tie >> 24)
    }

    /// The cell that contains the sector, or the last one before it where the
    /// galaxy's edge cuts cells off.
    fn nearest_cell(&self, sector: SectorId) -> Option<Cell> {
        if !self.contains(sector) {
            return None;
        }
        let last = i64::from(self.cells() * CELL_SECTORS) - 1;
        self.cell_of(SectorId::tactical(sector.x.min(last), sector.y.min(last)))
    }
}

/// From sector to sector, rounded up.
fn metres(a: SectorId, b: SectorId) -> u64 {
    let down = metres_down(a, b);
    down + u64::from(down.pow(2) < square_metres(a, b))
}

/// From sector to sector, rounded down.
fn metres_down(a: SectorId, b: SectorId) -> u64 {
    square_metres(a, b).isqrt()
}

/// Below 2^61.
fn square_metres(a: SectorId, b: SectorId) -> u64 {
    squared_distance(a, b) * 1_000_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::strategies::sector;
    use crate::sim::galaxy::{Parameters, PerRegion};

    const UNLIMITED: RouteLimits = RouteLimits { expanded_max: u32::MAX };

    fn small(seed: u64, shortcuts: u16) -> Galaxy {
        let systems = PerRegion { core: 300, mid_rim: 250, outer_rim: 200, deep_space: 100 };
        let parameters = Parameters { systems, shortcuts, ..Parameters::default() };
        Galaxy::generated(seed, 700, parameters).unwrap()
    }

    /// Metres of the shortest way from star to star, by Dijkstra's algorithm.
    fn shortest(galaxy: &Galaxy, from: SectorId, to: SectorId) -> u64 {
        let mut open = BTreeSet::from([(0, from)]);
        let mut done = BTreeSet::new();
        while let Some((metres_so_far, star)) = open.pop_first() {
            if star == to {
                return metres_so_far;
            }
            if done.insert(star) {
                let lanes = galaxy.lanes_of(star).into_iter();
                open.extend(lanes.map(|end| (metres_so_far + metres(star, end), end)));
            }
        }
        panic!("{to} is not reached from {from}");
    }

    fn nearest(galaxy: &Galaxy, sector: SectorId) -> SectorId {
        let whole = super::super::Rectangle { from: (0, 0), to: (10_000, 10_000) };
        let key = |star: &SectorId| (squared_distance(sector, *star), super::super::packed(*star));
        galaxy.systems_in(whole).map(|system| system.star).min_by_key(key).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_route_goes_along_lanes_and_none_is_shorter(
            seed: u64, shortcuts in 0_u16..=1_000,
            (ax, ay) in (0_i64..700, 0_i64..700), (bx, by) in (0_i64..700, 0_i64..700),
        ) {
            let galaxy = small(seed, shortcuts);
            let (from, to) = (SectorId::tactical(ax, ay), SectorId::tactical(bx, by));
            let route = galaxy.route(from, to, UNLIMITED).unwrap();
            let (first, last) = (nearest(&galaxy, from), nearest(&galaxy, to));
            if first == last {
                prop_assert_eq!(route.metres, metres(from, to));
                prop_assert_eq!(route.expanded, 0);
            } else {
                let stars: Vec<_> = route.waypoints.iter().copied()
                    .filter(|at| galaxy.system_at(*at).is_some()).collect();
                prop_assert_eq!((stars[0], stars[stars.len() - 1]), (first, last));
                for leg in stars.windows(2) {
                    prop_assert!(galaxy.lanes_of(leg[0]).contains(&leg[1]));
                }
                let ends = metres(from, first) + metres(last, to);
                prop_assert_eq!(route.metres, ends + shortest(&galaxy, first, last));
            }
            let ends = (route.waypoints[0], route.waypoints[route.waypoints.len() - 1]);
            prop_assert_eq!(ends, (from, to));
            prop_assert!(route.waypoints.windows(2).all(|leg| leg[0] != leg[1]));
        }

        #[test]
        fn the_way_back_is_the_way_there(
            seed: u64, (ax, ay) in (0_i64..700, 0_i64..700), (bx, by) in (0_i64..700, 0_i64..700),
        ) {
            let galaxy = small(seed, 500);
            let (from, to) = (SectorId::tactical(ax, ay), SectorId::tactical(bx, by));
            let there = galaxy.route(from, to, UNLIMITED).unwrap();
            let mut back = galaxy.route(to, from, UNLIMITED).unwrap();
            back.waypoints.reverse();
            prop_assert_eq!(there.waypoints, back.waypoints);
            prop_assert_eq!(there.metres, back.metres);
        }

        #[test]
        fn a_search_that_meets_its_limit_says_so(
            seed: u64, (ax, ay) in (0_i64..700, 0_i64..700), (bx, by) in (0_i64..700, 0_i64..700),
        ) {
            let galaxy = small(seed, 500);
            let (from, to) = (SectorId::tactical(ax, ay), SectorId::tactical(bx, by));
            let route = galaxy.route(from, to, UNLIMITED).unwrap();
            let enough = RouteLimits { expanded_max: route.expanded };
            prop_assert_eq!(galaxy.route(from, to, enough), Ok(route.clone()));
            if let Some(less) = route.expanded.checked_sub(1) {
                let limited = galaxy.route(from, to, RouteLimits { expanded_max: less });
                prop_assert_eq!(limited, Err(RouteError::Limit(less)));
            }
        }

        #[test]
        fn any_two_sectors_have_a_route_or_one_is_outside(
            seed: u64, a in sector(), b in sector(), (x, y) in (0_i64..700, 0_i64..700),
        ) {
            let galaxy = small(seed, 500);
            let inside = SectorId::tactical(x, y);
            for (from, to) in [(a, b), (a, inside), (inside, b)] {
                let route = galaxy.route(from, to, UNLIMITED);
                let outside = [from, to].into_iter().find(|end| !galaxy.contains(*end));
                match outside {
                    Some(end) => prop_assert_eq!(route, Err(RouteError::OutsideGalaxy(end))),
                    None => prop_assert!(route.is_ok()),
                }
            }
        }
    }

    #[test]
    fn of_two_ways_as_long_one_is_always_taken() {
        // Costs differ even where lengths do not.
        let galaxy = small(1, 500);
        let star = |x, y| SectorId::tactical(x, y);
        let (a, b) = (galaxy.cost(star(0, 0), star(3, 4)), galaxy.cost(star(9, 0), star(6, 4)));
        assert_eq!((a >> 64, b >> 64), (5_000, 5_000));
        assert_ne!(a, b);
        assert_eq!(galaxy.cost(star(3, 4), star(0, 0)), a);
    }

    #[test]
    fn a_route_through_the_default_galaxy_stays_the_same_for_ever() {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        let (from, to) = (galaxy.start_place(0), galaxy.start_place(1_000));
        let route = galaxy.route(from, to, RouteLimits::default()).unwrap();
        assert_eq!((route.waypoints.len(), route.metres), (173, 3_405_525));
    }
}
