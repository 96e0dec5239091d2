//! Owns which order a player gives next: a function of the seed, the player's
//! number and how many it gave, so that a swarm can be repeated. Never sends.

use super::scenario::{Kind, Orders, Targets};
use crate::base::draw::draw;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, SectorId, UnitId};
use crate::client::Wanted;
use crate::protocol::command::Target;
use crate::protocol::{Destination, Order, Recipients, UnitRecord};

/// Grid steps in a metre, rounded up.
const STEPS_PER_METRE: i32 = 1_049;
/// Most commands of one batch.
const BATCH_MAX: u64 = 4;

/// The draws of one player.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    pub seed: u64,
    /// The player's number in the swarm.
    pub client: u64,
    /// How many orders it has given.
    pub turn: u64,
}

/// The sectors that an order may be about, all of scale 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Where the units are.
    pub here: SectorId,
    /// Where the player started.
    pub home: SectorId,
    /// Where the swarm's first player started.
    pub meeting: SectorId,
}

/// What is ordered next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    One(Wanted),
    Batch(Vec<Wanted>),
}

impl Chance {
    /// A number below `below`, which is not 0, for use `what` of this turn.
    pub fn below(self, what: u64, below: u64) -> u64 {
        draw(self.seed, "swarm", &[self.client, self.turn, what]) % below.max(1)
    }

    /// Milliseconds until the next order.
    pub fn interval_ms(self, orders: &Orders) -> u64 {
        let span = u64::from(orders.interval_ms_max - orders.interval_ms_min);
        u64::from(orders.interval_ms_min) + self.below(0, span + 1)
    }

    /// An order to some of `own`, the player's units in a sector; `None` when it
    /// has none.
    pub fn order(self, orders: &Orders, places: Places, own: &[UnitRecord]) -> Option<Turn> {
        let first = usize::try_from(self.below(1, own.len() as u64)).ok()?;
        let count = 1 + self.below(2, u64::from(orders.units_max));
        let chosen = own.iter().cycle().skip(first).take(own.len().min(count as usize));
        let units: Vec<UnitId> = chosen.map(|unit| unit.id).collect();
        if units.is_empty() {
            return None;
        }
        let wanted = |units: Vec<UnitId>, order| Wanted {
            predicted: predicted(own, &units),
            recipients: Recipients::Units(units),
            queue: false,
            order,
        };
        let order = match self.kind(orders, places) {
            Kind::Move => Order::MoveFleet { target: self.target(orders, places, 4) },
            Kind::Stop => Order::Stop {},
            Kind::Hold => Order::Hold {},
            Kind::Patrol => Order::Patrol { target: self.target(orders, places, 4) },
            Kind::Warp => Order::Warp { target: self.far(orders, places) },
            Kind::Batch => {
                let moves = units.iter().zip(0..BATCH_MAX);
                let batch = moves.map(|(unit, n)| {
                    let target = self.target(orders, places, 20 + 4 * n);
                    wanted(vec![*unit], Order::MoveFleet { target })
                });
                return Some(Turn::Batch(batch.collect()));
            }
        };
        Some(Turn::One(wanted(units, order)))
    }

    fn kind(self, orders: &Orders, places: Places) -> Kind {
        if orders.targets == Targets::Together {
            // Who is not there goes there, and who is stays.
            let off = |a: i64, b: i64| a.abs_diff(b) <= 1;
            let (here, there) = (places.here, places.meeting);
            let is_near = off(here.x, there.x) && off(here.y, there.y);
            return if is_near { Kind::Move } else { Kind::Warp };
        }
        let mut draw = self.below(3, orders.weights());
        let all = orders.weighted();
        let chosen = all.into_iter().find(|(_, weight)| {
            let weight = u64::from(*weight);
            let is_it = draw < weight;
            draw = draw.wrapping_sub(weight);
            is_it
        });
        // The weights are not all 0.
        chosen.map_or(Kind::Stop, |(kind, _)| kind)
    }

    /// A place to move to.
    fn target(self, orders: &Orders, places: Places, what: u64) -> Target {
        let sector = match orders.targets {
            Targets::Here => places.here,
            Targets::Around => self.beside(places.home, 1, what + 2),
            Targets::Together => places.meeting,
        };
        self.within(orders, sector, what)
    }

    /// A place to warp to: no farther than the scenario says from home.
    fn far(self, orders: &Orders, places: Places) -> Target {
        match orders.targets {
            Targets::Together => self.within(orders, places.meeting, 4),
            Targets::Here | Targets::Around => {
                let reach = u64::from(orders.warp_sectors);
                self.within(orders, self.beside(places.home, reach, 6), 4)
            }
        }
    }

    /// A sector at most so many away on each axis.
    fn beside(self, home: SectorId, reach: u64, what: u64) -> SectorId {
        let off = |what| {
            let off = i64::try_from(self.below(what, 2 * reach + 1)).unwrap_or(0);
            off - i64::try_from(reach).unwrap_or(0)
        };
        home.neighbour(off(what), off(what + 1)).unwrap_or(home)
    }

    fn within(self, orders: &Orders, sector: SectorId, what: u64) -> Target {
        // At most 400 m of 1,000, so room is left.
        let margin = i32::from(orders.margin_m) * STEPS_PER_METRE;
        let room = u64::try_from(SECTOR_STEPS - 2 * margin).unwrap_or(1);
        let at = |what| margin + i32::try_from(self.below(what, room)).unwrap_or(0);
        let position = Position { x: at(what), y: at(what + 1) };
        Target::Position(Destination::at(sector, position))
    }
}

fn predicted(own: &[UnitRecord], units: &[UnitId]) -> Option<crate::protocol::Point> {
    let first = units.first()?;
    own.iter().find(|unit| unit.id == *first).map(|unit| unit.position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PlayerId;
    use crate::sim::{Unit, UnitTypeId};
    use crate::swarm::Scenario;
    use crate::view::convert;

    const HERE: SectorId = SectorId::tactical(7, 8);
    const PLACES: Places = Places { here: HERE, home: HERE, meeting: HERE };

    fn unit(id: u64) -> UnitRecord {
        let unit = Unit::new(UnitId(id), UnitTypeId(1), PlayerId(1), Position::default());
        convert::record(&unit)
    }

    fn turns(seed: u64) -> Vec<Turn> {
        let orders = Scenario::load("frontier").expect("built in").orders;
        let own: Vec<UnitRecord> = (1..=8).map(unit).collect();
        let turn = |turn| Chance { seed, client: 3, turn }.order(&orders, PLACES, &own);
        (0..200).map(|n| turn(n).expect("there are units")).collect()
    }

    #[test]
    fn a_seed_gives_the_same_orders_and_another_others() {
        assert_eq!(turns(1), turns(1));
        assert_ne!(turns(1), turns(2));
    }

    #[test]
    fn targets_keep_their_distance_from_the_border() {
        let all = turns(1).into_iter().flat_map(|turn| match turn {
            Turn::One(wanted) => vec![wanted],
            Turn::Batch(batch) => batch,
        });
        let targets: Vec<Destination> = all
            .filter_map(|wanted| match wanted.order {
                Order::MoveFleet { target: Target::Position(destination) } => Some(destination),
                _ => None,
            })
            .collect();
        let margin = 50 * STEPS_PER_METRE;
        let inside = |x: u32| (margin..SECTOR_STEPS - margin).contains(&((x >> 12) as i32));
        assert!(targets.len() > 50 && targets.iter().all(|d| inside(d.x) && inside(d.y)));
    }

    #[test]
    fn a_player_without_units_gives_no_order() {
        let orders = Scenario::load("frontier").expect("built in").orders;
        assert_eq!(Chance { seed: 1, client: 0, turn: 0 }.order(&orders, PLACES, &[]), None);
    }
}
