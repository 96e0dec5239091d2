//! Owns where units will be once orders that no packet has shown are carried
//! out: units as they were shown, and the simulation's own code. Never knows
//! which orders those are (`client::predict` does) and keeps nothing. Called
//! by clients. Invariant: for a unit that nobody comes near, with orders at the
//! ticks at which the server carries them out, it is the server's unit, bit
//! for bit.
//!
//! What it leaves out, because a client does not know it: other units, so that
//! nobody is gone around or made room for but those that the same orders name;
//! what a unit was ordered before, and the orders that wait behind it; the
//! members of fleets; closed borders; what lies and goes on beyond the border.

use std::collections::BTreeMap;

use super::Charts;
use super::convert;
use super::motion::{self, TICKS_PER_STEP, steps_between};
use crate::base::{GalaxyPosition, PlayerId, SectorId, UnitId};
use crate::protocol::UnitRecord;
use crate::sim::{
    Changes, Command, Instruction, Leaving, Recipients, SectorState, Surroundings, UnitIds,
};

/// Ticks beyond the last packet that are simulated: ten seconds, while a server
/// says something for each second of ticks. From then on units go straight on.
pub const AHEAD_TICKS_MAX: u64 = 100;

/// Units by id.
pub type Units = BTreeMap<UnitId, UnitRecord>;

/// What a server showed last of units of one player.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub sector: SectorId,
    pub player: PlayerId,
    /// The sector's tick of which the units are.
    pub tick: u64,
    pub units: &'a Units,
}

/// An order that no packet has shown.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'a> {
    /// The sector's tick after which it is carried out: later ticks show it. If
    /// it was not shown then, after the last tick that was.
    pub tick: u64,
    pub command: &'a Command,
}

/// The units that `command` names, if it can be predicted what they do: they
/// are named one by one, and it does not wait behind others.
pub fn predictable(command: &Command) -> Option<&UnitIds> {
    match (&command.to, command.what) {
        (_, Instruction::Join { .. }) => None,
        (Recipients::Units(units), _) if !command.queue => Some(units),
        _ => None,
    }
}

/// The units of `shown` that `orders`, in the order in which they are carried
/// out, concern, as they are at `tick` of the sector, as far as
/// [`AHEAD_TICKS_MAX`]. An order that the simulation refuses changes nothing.
/// One that flies out of the sector is told from its origin all the same.
pub fn predict<'a>(
    charts: &Charts,
    shown: Shown<'_>,
    orders: impl Iterator<Item = Pending<'a>>,
    tick: u64,
) -> Units {
    let until = tick.min(shown.tick.saturating_add(AHEAD_TICKS_MAX));
    let mut future = Future::new(charts, shown);
    for Pending { tick, command } in orders {
        if tick >= until {
            break;
        }
        future.advance(tick);
        future.apply(command);
    }
    future.advance(until);
    let mut units = future.units();
    let rest = steps_between(until, tick);
    units.values_mut().for_each(|unit| motion::advance(unit, rest));
    units
}

/// A sector with only the units that have predicted orders.
struct Future<'a> {
    charts: &'a Charts,
    shown: Shown<'a>,
    tick: u64,
    state: SectorState,
    left: Units,
}

impl<'a> Future<'a> {
    fn new(charts: &'a Charts, shown: Shown<'a>) -> Future<'a> {
        let mut state = SectorState::new(shown.sector);
        state.set_obstacles(charts.obstacles(shown.sector));
        Future { charts, shown, tick: shown.tick, state, left: Units::new() }
    }

    fn around(&self) -> Surroundings<'a> {
        // The step that comes next, as the sector counts them.
        let step = self.tick / TICKS_PER_STEP + 1;
        let (rules, galaxy) = (self.charts.rules(), self.charts.galaxy());
        Surroundings { rules, galaxy, open: &|_| true, step }
    }

    /// To `tick`, unless that is past.
    fn advance(&mut self, tick: u64) {
        for _ in 0..steps_between(self.tick, tick) {
            let (around, mut leaving) = (self.around(), Vec::new());
            for unit in self.left.values_mut() {
                motion::advance(unit, 1);
            }
            self.state.step(&around, &mut Changes::default(), &mut leaving);
            leaving.into_iter().for_each(|leaving| self.let_go(leaving));
            self.tick = (self.tick / TICKS_PER_STEP + 1) * TICKS_PER_STEP;
        }
        self.tick = self.tick.max(tick);
    }

    /// It goes straight on, as this sector counts places.
    fn let_go(&mut self, Leaving { to, traveller }: Leaving) {
        let mut unit = traveller.unit;
        unit.position = GalaxyPosition::of(to, unit.position).position(self.shown.sector);
        unit.hops = self.shown.units.get(&unit.id).map_or(unit.hops, |shown| shown.hops);
        self.left.insert(unit.id, convert::record(&unit));
    }

    fn apply(&mut self, command: &Command) {
        let Some(ids) = predictable(command) else { return };
        let mut state = self.state.clone();
        for id in ids.iter() {
            if state.unit(id).is_some() || self.left.contains_key(&id) {
                continue;
            }
            let Some(mut unit) = self.shown.units.get(&id).copied() else { return };
            motion::advance(&mut unit, steps_between(self.shown.tick, self.tick));
            state.insert(convert::unit(&unit), &mut Changes::default());
        }
        let (player, around) = (self.shown.player, self.around());
        if state.apply_command(player, command, &around, &mut Changes::default()).is_ok() {
            self.state = state;
        }
    }

    fn units(self) -> Units {
        let here = self.state.units().iter().map(|unit| (unit.id, convert::record(unit)));
        self.left.into_iter().chain(here).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::SECTOR_STEPS;
    use crate::base::{CompressedPosition, Position};
    use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
    use crate::sim::{Galaxy, Target, Unit, UnitTypeId};

    const ANNA: PlayerId = PlayerId(100);
    const UNIT: UnitId = UnitId(3);
    const EMPTY: SectorId = SectorId::tactical(7, 5);

    /// A galaxy as full as there may be, and a sector of it with several things
    /// in it.
    static CROWDED: LazyLock<(Galaxy, SectorId)> = LazyLock::new(|| {
        let galaxy = crate::sim::galaxy::crowded(1);
        let sectors = (100..200).flat_map(|x| (100..110).map(move |y| SectorId::tactical(x, y)));
        let fullest = sectors.max_by_key(|sector| galaxy.obstacles(*sector).len());
        (galaxy, fullest.unwrap())
    });

    /// The server's side: a sector with one unit, at a tick.
    struct Server {
        galaxy: Galaxy,
        state: SectorState,
        tick: u64,
    }

    impl Server {
        fn new(galaxy: Galaxy, sector: SectorId, tick: u64, unit: Unit) -> Server {
            let mut state = SectorState::new(sector);
            state.insert(unit, &mut Changes::default());
            Server { galaxy, state, tick }
        }

        fn with<A>(&mut self, f: impl FnOnce(&mut SectorState, &Surroundings<'_>) -> A) -> A {
            let (rules, step) = (sample::rules().unwrap(), self.tick / TICKS_PER_STEP);
            let around =
                Surroundings { rules: &rules, galaxy: &self.galaxy, open: &|_| true, step };
            f(&mut self.state, &around)
        }

        /// As the sector's entity does: at even ticks.
        fn advance(&mut self, tick: u64) {
            while self.tick < tick {
                self.tick += 1;
                if self.tick.is_multiple_of(TICKS_PER_STEP) {
                    self.with(|state, around| {
                        state.step(around, &mut Changes::default(), &mut Vec::new());
                    });
                }
            }
        }

        fn apply(&mut self, command: &Command) {
            let changes = &mut Changes::default();
            let _ = self.with(|state, around| state.apply_command(ANNA, command, around, changes));
        }

        fn units(&self) -> Units {
            self.state.units().iter().map(|unit| (unit.id, convert::record(unit))).collect()
        }
    }

    fn charts(server: &Server) -> Charts {
        let mut charts = Charts::new(sample::rules().unwrap()).unwrap();
        let sector = server.state.sector();
        charts.note(sector, server.galaxy.obstacles(sector));
        charts
    }

    fn position() -> impl Strategy<Value = Position> {
        (0..SECTOR_STEPS, 0..SECTOR_STEPS).prop_map(|(x, y)| Position { x, y })
    }

    fn unit() -> impl Strategy<Value = Unit> {
        let types = prop::sample::select(vec![FIGHTER, FREIGHTER]);
        (types, position()).prop_map(|(kind, at)| Unit::new(UNIT, kind, ANNA, at))
    }

    /// Orders of all kinds that are predicted, in `sector` and those up to so
    /// many beside.
    fn orders(sector: SectorId, beside: i64) -> impl Strategy<Value = Command> {
        let beside = prop_oneof![5 => Just(0), 1 => Just(beside)];
        let target = (position(), beside).prop_map(move |(place, beside)| Target {
            sector: sector.neighbour(beside, 0).unwrap(),
            position: CompressedPosition::of(place, 0),
        });
        let target = target.boxed();
        let what = prop_oneof![
            6 => target.clone().prop_map(|target| Instruction::Move { target }),
            1 => target.clone().prop_map(|target| Instruction::AttackMove { target }),
            1 => target.clone().prop_map(|target| Instruction::Patrol { target }),
            1 => target.prop_map(|target| Instruction::Warp { target }),
            1 => Just(Instruction::Stop),
            1 => Just(Instruction::Hold),
        ];
        what.prop_map(|what| Command::new(UnitIds::new(vec![UNIT]).unwrap(), what))
    }

    /// The server carries out `orders`, each so many ticks after the one before;
    /// what is predicted of all that from the state at the beginning is what
    /// happens, at every tick, as long as the unit is in the sector.
    fn is_foreseen(server: &mut Server, orders: &[(u64, Command)]) -> Result<(), TestCaseError> {
        let charts = charts(server);
        let (sector, begin, units) = (server.state.sector(), server.tick, server.units());
        let shown = Shown { sector, player: ANNA, tick: begin, units: &units };
        let mut at = begin;
        let timed = orders.iter().map(|(after, command)| {
            at += after;
            (at, command)
        });
        let timed: Vec<(u64, &Command)> = timed.collect();
        for tick in begin..=begin + AHEAD_TICKS_MAX {
            server.advance(tick);
            let pending = timed.iter().map(|&(tick, command)| Pending { tick, command });
            let predicted = predict(&charts, shown, pending, tick);
            if server.state.unit(UNIT).is_none() {
                prop_assert_eq!(predicted.contains_key(&UNIT), tick > timed[0].0);
                return Ok(());
            }
            if tick > timed[0].0 {
                prop_assert_eq!(&predicted, &server.units(), "at {} of {:?}", tick, timed);
            }
            timed.iter().filter(|(due, _)| *due == tick).for_each(|(_, order)| server.apply(order));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_unit_in_empty_space_is_predicted_bit_for_bit(
            unit in unit(), tick in 0_u64..1_000, way in 0_u64..400, before in orders(EMPTY, 1),
            orders in prop::collection::vec((0_u64..40, orders(EMPTY, 1)), 1..4),
        ) {
            let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
            prop_assert!(galaxy.obstacles(EMPTY).is_empty());
            let mut server = Server::new(galaxy, EMPTY, tick, unit);
            // What it was ordered long ago is not known, and need not be, but
            // that a patrol turns back at its end.
            if !matches!(before.what, Instruction::Patrol { .. } | Instruction::Warp { .. }) {
                server.apply(&before);
                server.advance(tick + way);
            }
            if server.state.unit(UNIT).is_some() {
                is_foreseen(&mut server, &orders)?;
            }
        }

        #[test]
        fn what_lies_in_the_way_is_gone_around_as_the_server_does(
            unit in unit(), tick in 0_u64..1_000,
            orders in prop::collection::vec((0_u64..40, orders(CROWDED.1, 0)), 1..4),
        ) {
            let mut server = Server::new(CROWDED.0, CROWDED.1, tick, unit);
            // One that is made inside something makes room at once.
            server.advance(tick + 300);
            is_foreseen(&mut server, &orders)?;
        }
    }

    /// A fighter, a turret and another player's fighter, as shown at tick 10.
    fn three() -> Units {
        let unit = |id, kind: UnitTypeId, owner| {
            let at = Position { x: 400_000 + id as i32 * 20_000, y: 500_000 };
            (UnitId(id), convert::record(&Unit::new(UnitId(id), kind, PlayerId(owner), at)))
        };
        [unit(1, FIGHTER, 100), unit(2, TURRET, 100), unit(3, FIGHTER, 200)].into()
    }

    fn after(commands: &[Command], tick: u64) -> Units {
        let charts = Charts::new(sample::rules().unwrap()).unwrap();
        let (sector, units) = (EMPTY, three());
        let shown = Shown { sector, player: ANNA, tick: 10, units: &units };
        predict(&charts, shown, commands.iter().map(|command| Pending { tick: 10, command }), tick)
    }

    fn go(ids: &[u64]) -> Command {
        let units = UnitIds::new(ids.iter().copied().map(UnitId).collect()).unwrap();
        let position = CompressedPosition::of(Position { x: 900_000, y: 500_000 }, 0);
        Command::go(units, Target { sector: EMPTY, position })
    }

    #[test]
    fn only_units_with_an_order_are_predicted_and_only_from_its_tick_on() {
        assert_eq!(after(&[], 20), Units::new());
        assert_eq!(after(&[go(&[1])], 10), Units::new());
        let moved = after(&[go(&[1])], 12);
        assert_eq!(moved.keys().copied().collect::<Vec<_>>(), [UnitId(1)]);
        assert!(moved[&UnitId(1)].position.x > three()[&UnitId(1)].position.x);
    }

    #[test]
    fn what_the_simulation_refuses_or_a_client_cannot_know_is_not_predicted() {
        let waits = Command { queue: true, ..go(&[1]) };
        let fleet = Command { to: Recipients::Fleet(crate::base::FleetId(1)), ..go(&[1]) };
        // Of several units one cannot move, is another's, is not seen.
        for order in [go(&[1, 2]), go(&[3]), go(&[1, 3]), go(&[1, 9]), waits, fleet] {
            assert_eq!(after(std::slice::from_ref(&order), 30), Units::new(), "{order:?}");
        }
        // And changes nothing of what is.
        assert_eq!(after(&[go(&[1]), go(&[1, 2])], 30), after(&[go(&[1])], 30));
    }

    #[test]
    fn what_is_asked_far_ahead_costs_no_more_and_goes_straight_on() {
        let far = after(&[go(&[1])], u64::MAX);
        assert_eq!(far[&UnitId(1)].course.steps, 0);
        assert_eq!(far, after(&[go(&[1])], 10 + 2_000));
    }
}
