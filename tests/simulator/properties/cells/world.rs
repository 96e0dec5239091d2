//! Owns a small world that does all that a real one may: four sectors whose
//! units fly, turn, stop, are hurt, cloaked, given away, made and destroyed,
//! and pass from one to another. Knows nothing of what is shown.

use std::collections::BTreeMap;

use starmesh::base::geometry::SECTOR_STEPS;
use starmesh::base::{PlayerId, SectorId, Tick, UnitId};
use starmesh::protocol::blocks::{Direction, Seen, Waypoint};
use starmesh::protocol::{Course as WireCourse, Point, UnitRecord};
use starmesh::sim::rules::sample::{FIGHTER, FREIGHTER, TURRET};
use starmesh::sim::{Course, Speed, UnitState};
use starmesh::view::convert;
use starmesh::view::motion::{Mover, position};
use starmesh::view::stage::{Scene, StepDelta};

use crate::random::Random;

/// Sectors along each axis.
pub const SIDE: usize = 2;
pub const SECTORS: usize = SIDE * SIDE;
pub const PLAYERS: u64 = 4;
const CLOAKED: u8 = UnitState::CLOAKED.0;
/// 4 m.
const BEYOND: i32 = 4_194;

#[derive(Default)]
pub struct Sector {
    pub units: BTreeMap<UnitId, Mover>,
    /// On their way here.
    coming: Vec<Mover>,
}

pub struct World {
    pub tick: u64,
    pub sectors: Vec<Sector>,
    pub random: Random,
    last_id: u64,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        // Also around the end of the header's 16 bits.
        let tick = 2 * random.within(32_750..=32_780);
        let sectors = (0..SECTORS).map(|_| Sector::default()).collect();
        let mut world = World { tick, sectors, random, last_id: 0 };
        for sector in 0..SECTORS {
            for _ in 0..world.random.within(5..=20) {
                let ship = world.ship();
                world.sectors[sector].units.insert(ship.seen.id(), ship);
            }
        }
        world
    }

    pub fn scene(&self, sector: usize) -> Scene {
        let units = self.sectors[sector].units.values().copied().collect();
        Scene { tick: Tick(self.tick), units }
    }

    /// One step of all sectors.
    pub fn step(&mut self) -> Vec<StepDelta> {
        self.tick += 2;
        let deltas = (0..SECTORS).map(|sector| self.begin(sector)).collect::<Vec<_>>();
        deltas.into_iter().enumerate().map(|(at, delta)| self.finish(at, delta)).collect()
    }

    /// What happens before the movement.
    fn begin(&mut self, at: usize) -> StepDelta {
        let mut sector = std::mem::take(&mut self.sectors[at]);
        let mut delta = StepDelta {
            tick: Tick(self.tick),
            appeared: std::mem::take(&mut sector.coming),
            changed: Vec::new(),
            left: Vec::new(),
        };
        for ship in sector.units.values_mut() {
            let before = *ship;
            if self.random.chance(250) {
                self.happen(ship);
            }
            if *ship != before {
                delta.changed.push(*ship);
            }
        }
        if self.random.chance(150) {
            delta.appeared.push(self.ship());
        }
        sector.units.extend(delta.appeared.iter().map(|ship| (ship.seen.id(), *ship)));
        self.sectors[at] = sector;
        delta
    }

    /// The movement, and who leaves after it.
    fn finish(&mut self, at: usize, mut delta: StepDelta) -> StepDelta {
        let mut leaving = Vec::new();
        for ship in self.sectors[at].units.values_mut() {
            let mut unit = convert::unit(&ship.seen.unit);
            unit.advance(1);
            ship.seen.unit = convert::record(&unit);
            if beyond(ship) || self.random.chance(5) {
                leaving.push(*ship);
            }
        }
        for ship in leaving {
            self.sectors[at].units.remove(&ship.seen.id());
            delta.left.push(ship.seen.id());
            if beyond(&ship) {
                self.hand_over(at, ship);
            }
        }
        delta
    }

    /// To the sector it flew into, if there is one.
    fn hand_over(&mut self, from: usize, mut ship: Mover) {
        let unit = &mut ship.seen.unit;
        let axis = |p: i32| p.div_euclid(SECTOR_STEPS).clamp(-1, 1);
        let (dx, dy) = (axis(unit.position.x), axis(unit.position.y));
        let (x, y) = ((from % SIDE) as i32 + dx, (from / SIDE) as i32 + dy);
        if !(0..SIDE as i32).contains(&x) || !(0..SIDE as i32).contains(&y) {
            return;
        }
        unit.hops += 1;
        unit.position.x -= dx * SECTOR_STEPS;
        unit.position.y -= dy * SECTOR_STEPS;
        self.sectors[(y * SIDE as i32 + x) as usize].coming.push(ship);
    }

    fn happen(&mut self, ship: &mut Mover) {
        match self.random.below(12) {
            0..=4 => self.turn(ship),
            5 => steer(ship, Course::STANDING),
            6 => {
                // A course that no waypoint gives.
                let mut component = || self.random.below(40_000) as i32 - 20_000;
                let velocity = (component(), component());
                steer(ship, Course { velocity, remaining: self.random.within(1..=9) as u16 });
            }
            7 => ship.seen.unit.health = self.random.number() as u16,
            8 => ship.seen.unit.owner = self.player(),
            9 => ship.seen.unit.state ^= CLOAKED,
            10 => ship.seen.unit.state ^= self.random.number() as u8 & !1 & !CLOAKED,
            _ => {
                ship.seen.speed = self.speed();
                self.turn(ship);
                ship.seen.unit.health = ship.seen.unit.health.saturating_sub(300);
            }
        }
    }

    fn turn(&mut self, ship: &mut Mover) {
        let mut axis = || self.random.within(700..=2_400) as u16;
        ship.waypoint = Waypoint { x: axis(), y: axis() };
        let speed = Speed::try_from(ship.seen.speed).unwrap();
        let from = ship.seen.unit.position.into();
        steer(ship, Course::to(from, position(ship.waypoint), speed));
    }

    fn ship(&mut self) -> Mover {
        self.last_id += self.random.within(1..=3);
        let types = [FIGHTER.0, FREIGHTER.0, TURRET.0, 77, 77, 77, 77];
        let unit = UnitRecord {
            id: UnitId(self.last_id),
            type_id: *self.random.pick(&types).unwrap(),
            owner: self.player(),
            hops: 0,
            position: Point {
                x: self.random.below(1 << 20) as i32,
                y: self.random.below(1 << 20) as i32,
            },
            course: WireCourse::default(),
            heading: self.random.number() as u16,
            health: u16::MAX,
            state: if self.random.chance(100) { CLOAKED } else { 0 },
        };
        Mover { seen: Seen { unit, speed: self.speed() }, waypoint: Waypoint::default() }
    }

    fn player(&mut self) -> PlayerId {
        PlayerId(self.random.within(1..=PLAYERS))
    }

    /// Now and then so fast that it flies over cells.
    fn speed(&mut self) -> u32 {
        let most = if self.random.chance(100) { 200_000 } else { 60_000 };
        self.random.within(2_097..=most) as u32
    }
}

/// The sector of this place in the list.
pub fn sector(at: usize) -> SectorId {
    SectorId::tactical((at % SIDE) as i64, (at / SIDE) as i64)
}

/// The sectors around one, with the direction in which each lies.
pub fn around(at: usize) -> impl Iterator<Item = (usize, Direction)> {
    Direction::ALL.into_iter().filter_map(move |direction| {
        let (dx, dy) = direction.offset();
        let there = sector(at).neighbour(dx.into(), dy.into())?;
        (0..SECTORS).find(|other| sector(*other) == there).map(|other| (other, direction))
    })
}

pub fn is_cloaked(seen: &Seen) -> bool {
    seen.unit.state & CLOAKED != 0
}

fn beyond(ship: &Mover) -> bool {
    let inside = -BEYOND + 1..SECTOR_STEPS + BEYOND;
    let Point { x, y } = ship.seen.unit.position;
    !inside.contains(&x) || !inside.contains(&y)
}

fn steer(ship: &mut Mover, course: Course) {
    let mut unit = convert::unit(&ship.seen.unit);
    unit.steer(course);
    ship.seen.unit = convert::record(&unit);
}
