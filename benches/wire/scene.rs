//! The scene of the wire's targets: units in one sector of 1 km², of which
//! half fly straight on, 30 % change course once a second, 10 % at every
//! step, and 10 % stand; 2 % lose health each second. Drawn from a seed, the
//! same for tests and benches.

use starmesh::base::draw::draw;
use starmesh::base::{PlayerId, SectorId, Tick, UnitId};
use starmesh::protocol::blocks::{Change, CourseChange, Seen, Waypoint};
use starmesh::protocol::{Course, Point, UnitRecord};
use starmesh::view::motion::{Mover, advance, apply};
use starmesh::view::stage::{Scene, StepDelta};

pub const SECTOR: SectorId = SectorId::tactical(5, 7);
/// 10 and 60 m/s in grid steps per step.
const SPEEDS: (u64, u64) = (2_097, 12_582);
/// Units of one owner.
const FLEET: u64 = 100;

pub struct Crowd {
    pub tick: u64,
    /// By id.
    pub units: Vec<Mover>,
}

impl Crowd {
    pub fn new(count: u64) -> Crowd {
        let units = (0..count).map(unit).collect();
        let mut crowd = Crowd { tick: 1_000, units };
        let all = 0..crowd.units.len();
        all.filter(|at| habit(*at) != Habit::Idle).for_each(|at| crowd.turn(at));
        crowd
    }

    pub fn scene(&self) -> Scene {
        Scene { tick: Tick(self.tick), units: self.units.clone() }
    }

    /// Units under way.
    pub fn moving(&self) -> usize {
        self.units.iter().filter(|unit| unit.seen.unit.course.steps > 0).count()
    }

    pub fn step(&mut self) -> StepDelta {
        self.tick += 2;
        let mut changed = Vec::new();
        for at in 0..self.units.len() {
            let (turns, hurt) = (self.turns(at), self.random("hurt", at).is_multiple_of(250));
            if turns {
                self.turn(at);
            }
            if hurt {
                let loss = 1 + self.random("loss", at) % 3_000;
                let health = &mut self.units[at].seen.unit.health;
                *health = health.saturating_sub(loss as u16);
            }
            if turns || hurt {
                changed.push(self.units[at]);
            }
        }
        self.units.iter_mut().for_each(|unit| advance(&mut unit.seen.unit, 1));
        let (appeared, left) = (Vec::new(), Vec::new());
        StepDelta { tick: Tick(self.tick), appeared, changed, left }
    }

    fn turns(&self, at: usize) -> bool {
        let step = self.tick / 2 + at as u64;
        match habit(at) {
            // Where its way ends it takes a new one.
            Habit::Straight => self.units[at].seen.unit.course.steps == 0,
            Habit::EverySecond => step.is_multiple_of(5),
            Habit::EveryStep => true,
            Habit::Idle => false,
        }
    }

    /// To a place at least 250 m away on one axis.
    fn turn(&mut self, at: usize) {
        let there = |p: i32, random: u64| {
            let far = (p >> 9) + 512 + (random % 1024) as i32;
            1024 + far.rem_euclid(2048) as u16
        };
        let Point { x, y } = self.units[at].seen.unit.position;
        let waypoint =
            Waypoint { x: there(x, self.random("x", at)), y: there(y, self.random("y", at)) };
        let ship = &mut self.units[at];
        ship.waypoint = waypoint;
        let course = Some(CourseChange::To(waypoint));
        apply(&Change { course, ..Change::default() }, &mut ship.seen);
    }

    fn random(&self, what: &str, at: usize) -> u64 {
        draw(self.tick, what, &[at as u64])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Straight,
    EverySecond,
    EveryStep,
    Idle,
}

fn habit(at: usize) -> Habit {
    match draw(1, "habit", &[at as u64]) % 10 {
        0..=4 => Habit::Straight,
        5..=7 => Habit::EverySecond,
        8 => Habit::EveryStep,
        _ => Habit::Idle,
    }
}

fn unit(at: u64) -> Mover {
    let random = |what: &str, below: u64| draw(2, what, &[at]) % below;
    let speed = SPEEDS.0 + random("speed", SPEEDS.1 - SPEEDS.0 + 1);
    let unit = UnitRecord {
        id: UnitId((1 << 20) + at * 3),
        type_id: 1 + random("type", 4) as u16,
        owner: PlayerId(1 + at / FLEET),
        hops: 0,
        position: Point { x: random("x", 1 << 20) as i32, y: random("y", 1 << 20) as i32 },
        course: Course::default(),
        heading: random("heading", 1 << 16) as u16,
        health: u16::MAX,
        state: 0,
    };
    Mover { seen: Seen { unit, speed: speed as u32 }, waypoint: Waypoint::default() }
}
