//! Owns when courses change by themselves: orders that waited begin, units go
//! around others and what lies in the way, come to rest apart, wait at a
//! closed border and go on. Never moves a unit. Called at the start of a step.
//! Invariant: a unit has its turn in every fourth step; in others its course
//! changes only where the border is closed or an order begins.

use super::aim::{WAY_STEPS, has_arrived, is_beyond, set_out, side, waypoint};
use super::avoid::{Pilot, differ};
use super::crossing::{arrive, takes_units};
use super::obstacles::{covers, detour, obstacles};
use super::pace::Fleets;
use super::space::Space;
use super::spots::Spots;
use super::{QUIET_STEPS, SectorState};
use crate::base::{GalaxyPosition, Position, SectorId};
use crate::sim::galaxy::Circle;
use crate::sim::{Changes, Course, Order, Rules, Surroundings, Unit, UnitState, Waypoint};

/// A unit that stands so near to a closed border waits there.
const NEAR_STEPS: i32 = 1 << 14;
/// Units at rest that are nearer to each other than 5 m make room.
pub(super) const TOUCH_STEPS: i64 = 5_243;
/// So near to its goal, in steps, a unit looks whether it is free, and goes
/// around nobody any more.
const CLOSE: u16 = 4;

/// What steering keeps from step to step; all of it follows from the state.
#[derive(Clone, Debug, Default)]
pub(super) struct Derived {
    space: Space,
    obstacles: Vec<Circle>,
}

impl SectorState {
    /// The first half of a step: courses change, and `changes` names the units
    /// whose did.
    pub fn steer(&mut self, around: &Surroundings<'_>, changes: &mut Changes) {
        let sector = self.sector;
        self.look_around(around);
        self.begin_waiting(around, changes);
        let mut derived = self.derived.take().unwrap_or_default();
        if sector.scale == 0 {
            derived.space.fill(&self.units);
        }
        let (space, obstacles) = (&derived.space, &derived.obstacles[..]);
        let mut helm = Helm { sector, around, space, obstacles, spots: None };
        for at in 0..self.units.len() {
            let unit = &self.units[at];
            let turn = unit.id.0.wrapping_add(around.step).is_multiple_of(QUIET_STEPS.into());
            if !turn && !unit.course.is_moving() {
                continue;
            }
            let before = (unit.waypoint, unit.course);
            if turn {
                helm.turn(&mut self.units, at);
            }
            let unit = &mut self.units[at];
            stop_at_border(unit, sector, around);
            if (unit.waypoint, unit.course) != before {
                changes.changed.insert(unit.id);
            }
        }
        self.derived = Some(derived);
    }

    /// Learns the sector's obstacles, the first time.
    pub(super) fn look_around(&mut self, around: &Surroundings<'_>) {
        let sector = self.sector;
        self.derived.get_or_insert_with(|| {
            let obstacles = obstacles(around.galaxy, sector);
            Box::new(Derived { space: Space::default(), obstacles })
        });
    }

    /// What is in the way here, once somebody has looked around.
    pub(super) fn obstacles(&self) -> &[Circle] {
        self.derived.as_ref().map_or(&[], |derived| &derived.obstacles)
    }

    /// Gives the sector other obstacles than the galaxy's: clients know a sector
    /// by its map, not by the seed.
    pub fn set_obstacles(&mut self, obstacles: &[Circle]) {
        let obstacles = obstacles.to_vec();
        self.derived = Some(Box::new(Derived { space: Space::default(), obstacles }));
    }

    /// Orders that waited begin where the one before has ended; units of a
    /// fleet go as fast as the slowest of it that is here now.
    fn begin_waiting(&mut self, around: &Surroundings<'_>, changes: &mut Changes) {
        let (sector, units, rules) = (self.sector, &mut self.units, around.rules);
        let mut fleets = None;
        let derived = self.derived.as_ref();
        let obstacles = derived.map_or(&[][..], |derived| &derived.obstacles);
        self.queues.retain(|id, queue| {
            // Units with a queue are here.
            let Ok(at) = units.binary_search_by_key(id, |unit| unit.id) else { return false };
            while is_free(&units[at]) {
                let Some(order) = queue.pop_front() else { break };
                let fleets = fleets.get_or_insert_with(|| Fleets::of(units, rules));
                let unit = &mut units[at];
                let before = *unit;
                let pace = fleets.pace(unit, rules);
                unit.speed = pace.map_or(unit.speed, |pace| pace.speed(order));
                begin(unit, order, sector, obstacles);
                if *unit != before {
                    changes.changed.insert(unit.id);
                }
            }
            !queue.is_empty()
        });
    }
}

/// Whether the next order may begin: those without an end give way, a patrol
/// at its ends.
fn is_free(unit: &Unit) -> bool {
    match unit.order {
        Order::Idle | Order::Hold => true,
        Order::Patrol { .. } => !unit.course.is_moving(),
        Order::Move { .. } | Order::AttackMove { .. } | Order::Warp { .. } => false,
    }
}

/// Gives `unit` an order and sets its course; one that leads where it stands
/// has ended at once.
pub(super) fn begin(unit: &mut Unit, order: Order, sector: SectorId, obstacles: &[Circle]) {
    unit.order = match order {
        Order::Patrol { to, .. } => {
            Order::Patrol { from: GalaxyPosition::of(sector, unit.position), to }
        }
        other => other,
    };
    set_out(unit, sector, obstacles);
    let travels =
        matches!(unit.order, Order::Move { .. } | Order::AttackMove { .. } | Order::Patrol { .. });
    if travels && has_arrived(unit, sector) {
        unit.order = Order::Idle;
        unit.patience = 0;
    }
}

/// All that units of one sector steer by in one step.
struct Helm<'a> {
    sector: SectorId,
    around: &'a Surroundings<'a>,
    space: &'a Space,
    obstacles: &'a [Circle],
    /// Made when the first unit of the step needs one.
    spots: Option<Spots>,
}

impl Helm<'_> {
    /// The turn of the unit at `at`.
    fn turn(&mut self, units: &mut [Unit], at: usize) {
        let unit = &units[at];
        match unit.order {
            Order::Hold => {
                if !unit.course.is_moving() && covers(self.obstacles, unit.position) {
                    self.make_room(units, at);
                }
            }
            Order::Idle => {
                if self.sector.scale == 0
                    && !unit.course.is_moving()
                    && self.is_in_the_way(units, at)
                {
                    self.make_room(units, at);
                }
            }
            Order::Warp { .. } => {
                if self.sector.scale > 0 && !unit.course.is_moving() {
                    set_out(&mut units[at], self.sector, &[]);
                }
            }
            Order::AttackMove { .. } if unit.state.has(UnitState::IN_COMBAT) => {
                units[at].brake(self.sector.scale);
            }
            Order::Move { to } | Order::AttackMove { to } | Order::Patrol { to, .. } => {
                self.fly(units, at, to);
                let unit = &mut units[at];
                if !unit.course.is_moving() {
                    arrive(unit, self.sector);
                }
            }
        }
    }

    /// Whether another has more right to be where the unit at `at` stands:
    /// what cannot move or was told to stay, else the one with the lower id.
    fn is_in_the_way(&self, units: &[Unit], at: usize) -> bool {
        let unit = &units[at];
        let yields = |other: usize| {
            let fixed =
                units[other].order == Order::Hold || is_immobile(&units[other], self.around.rules);
            (fixed || other < at) && !is_immobile(unit, self.around.rules)
        };
        let mut others = self.touching(at, unit.position);
        others.any(yields)
            || covers(self.obstacles, unit.position) && !is_immobile(unit, self.around.rules)
    }

    /// Units other than the one at `at` that rest at `place`.
    fn touching(&self, at: usize, place: Position) -> impl Iterator<Item = usize> {
        let square = |a: i32, b: i32| (i64::from(a) - i64::from(b)).pow(2);
        let touches = move |other: Position| {
            square(other.x, place.x) + square(other.y, place.y) < TOUCH_STEPS * TOUCH_STEPS
        };
        let standing = self
            .space
            .near(place)
            .filter(move |n| n.at as usize != at && n.velocity == (0, 0) && touches(n.ahead));
        standing.map(|n| n.at as usize)
    }

    /// Sends an idle unit to the nearest free spot, if there is one.
    fn make_room(&mut self, units: &mut [Unit], at: usize) {
        if let Some(spot) = self.spot_near(units, units[at].position) {
            let waypoint = Waypoint::nearest(spot, 0);
            units[at].aim(waypoint, 0);
        }
    }

    fn spot_near(&mut self, units: &[Unit], place: Position) -> Option<Position> {
        let (sector, obstacles) = (self.sector, self.obstacles);
        let spots = self.spots.get_or_insert_with(|| Spots::new(sector, units, obstacles));
        spots.take_near(place)
    }

    /// Flies on to `to`, past what is in the way.
    fn fly(&mut self, units: &mut [Unit], at: usize, to: GalaxyPosition) {
        let to = self.free_goal(units, at, to);
        let unit = &mut units[at];
        if !unit.course.is_moving() && self.waits_at_border(unit, to) {
            return;
        }
        if self.sector.scale > 0 {
            set_out(unit, self.sector, &[]);
            return;
        }
        if self.is_direct(unit, to) && self.is_clear(unit, at) {
            return;
        }
        self.choose(unit, at, to);
    }

    /// `to`, or where a unit stands there already the nearest place where none
    /// does: then that is what it was ordered.
    fn free_goal(&mut self, units: &mut [Unit], at: usize, to: GalaxyPosition) -> GalaxyPosition {
        let unit = &units[at];
        if to.sector(0) != self.sector {
            return to;
        }
        let goal = to.position(self.sector);
        let stays = !matches!(unit.order, Order::Patrol { .. });
        let is_close = self.is_direct(unit, to) && unit.course.remaining <= 2 * CLOSE;
        let taken = covers(self.obstacles, goal)
            || (stays && is_close && self.touching(at, goal).any(|other| !is_going(&units[other])));
        let spot = if taken { self.spot_near(units, goal) } else { None };
        let Some(spot) = spot else { return to };
        let to = GalaxyPosition::of(self.sector, spot);
        units[at].order = match units[at].order {
            Order::AttackMove { .. } => Order::AttackMove { to },
            Order::Patrol { from, .. } => Order::Patrol { from, to },
            _ => Order::Move { to },
        };
        to
    }

    /// Whether it has come to a border that takes nobody now. Those that wait
    /// there may stand on each other: their goals are beyond, and they go on
    /// apart.
    fn waits_at_border(&self, unit: &Unit, to: GalaxyPosition) -> bool {
        let scale = self.sector.scale;
        let next = waypoint(self.sector, unit.position, to).position(scale);
        is_near_border(unit.position, scale)
            && is_beyond(next, scale)
            && !leads_on(next, self.sector, self.around)
    }

    /// Whether its course leads straight to its goal, or out of the sector to
    /// it. Ways around others never lead out.
    fn is_direct(&self, unit: &Unit, to: GalaxyPosition) -> bool {
        if !unit.course.is_moving() {
            return false;
        }
        if to.sector(0) == self.sector {
            return Waypoint::nearest(to.position(self.sector), 0) == unit.waypoint;
        }
        let inside = 0..Waypoint::SIDE;
        !(inside.contains(&unit.waypoint.x) && inside.contains(&unit.waypoint.y))
    }

    /// Whether nothing is on its course.
    fn is_clear(&self, unit: &Unit, at: usize) -> bool {
        if unit.course.remaining <= CLOSE || unit.patience == 0 {
            return true;
        }
        let end = unit.waypoint.position(0);
        let blocked =
            !self.obstacles.is_empty() && detour(self.obstacles, unit.position, end, 0).is_some();
        !blocked && self.pilot(unit, at, unit.course.remaining).is_clear(unit.course.velocity)
    }

    fn pilot(&self, unit: &Unit, at: usize, steps: u16) -> Pilot<'_> {
        // More than 2^32 units need more memory than a machine has.
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        Pilot { space: self.space, at, position: unit.position, steps: steps.into() }
    }

    /// Sets the best course to `to`, if it differs enough from the present.
    fn choose(&self, unit: &mut Unit, at: usize, to: GalaxyPosition) {
        let goal = waypoint(self.sector, unit.position, to);
        let direct = Course::to(unit.position, goal.position(0), unit.speed);
        let chosen = if direct.remaining <= CLOSE || unit.patience == 0 {
            goal
        } else {
            self.way(unit, at, goal, direct)
        };
        if chosen != goal {
            unit.patience -= 1;
        }
        if chosen == unit.waypoint && unit.course.is_moving() {
            return;
        }
        let course = Course::to(unit.position, chosen.position(0), unit.speed);
        if !unit.course.is_moving() || differ(course.velocity, unit.course.velocity) {
            unit.aim(chosen, 0);
        }
    }

    /// The waypoint that leads around obstacles and others to `goal`.
    fn way(&self, unit: &Unit, at: usize, goal: Waypoint, direct: Course) -> Waypoint {
        let ahead = i64::from(unit.speed.steps()) * WAY_STEPS;
        let around = detour(self.obstacles, unit.position, goal.position(0), ahead);
        let (guide, course) = match around {
            Some(place) => {
                let guide = Waypoint::nearest(place, 0);
                (guide, Course::to(unit.position, guide.position(0), unit.speed))
            }
            None => (goal, direct),
        };
        let pilot = self.pilot(unit, at, course.remaining);
        if pilot.is_clear(course.velocity) {
            return guide;
        }
        match pilot.evade(course.velocity, unit.course.velocity) {
            Some(now) if now == unit.course.velocity => unit.waypoint,
            Some(way) => inside(unit.position, way),
            None => guide,
        }
    }
}

/// The waypoint some steps ahead, in the sector.
fn inside(from: Position, velocity: (i32, i32)) -> Waypoint {
    let last = side(0) - 1;
    let ahead =
        |p: i32, v: i32| p.saturating_add(v.saturating_mul(WAY_STEPS as i32)).clamp(0, last);
    Waypoint::nearest(Position { x: ahead(from.x, velocity.0), y: ahead(from.y, velocity.1) }, 0)
}

/// Whether it will leave the place where it is or is going to be soon.
fn is_going(unit: &Unit) -> bool {
    matches!(unit.order, Order::Patrol { .. } | Order::Warp { .. })
}

fn is_immobile(unit: &Unit, rules: &Rules) -> bool {
    rules.unit_type(unit.type_id).is_none_or(|kind| kind.speed.is_none())
}

/// A unit that would get beyond a border that is closed stands there instead.
fn stop_at_border(unit: &mut Unit, sector: SectorId, around: &Surroundings<'_>) {
    if !unit.course.is_moving() {
        return;
    }
    let next = unit.course.after(unit.position, 1).0;
    if !is_beyond(next, sector.scale) || leads_on(next, sector, around) {
        return;
    }
    let last = Waypoint::SIDE - 1;
    let Waypoint { x, y } = unit.waypoint;
    let border = Waypoint { x: x.clamp(0, last), y: y.clamp(0, last) };
    if is_inside(unit.position, sector.scale) {
        unit.aim(border, sector.scale);
    } else {
        unit.brake(sector.scale);
    }
}

/// Whether the sector that `position` of `sector` lies in takes units.
fn leads_on(position: Position, sector: SectorId, around: &Surroundings<'_>) -> bool {
    takes_units(GalaxyPosition::of(sector, position).sector(sector.scale), around)
}

fn is_inside(Position { x, y }: Position, scale: u8) -> bool {
    let side = 0..side(scale);
    side.contains(&x) && side.contains(&y)
}

fn is_near_border(Position { x, y }: Position, scale: u8) -> bool {
    let far = NEAR_STEPS..side(scale) - NEAR_STEPS;
    !(far.contains(&x) && far.contains(&y))
}
