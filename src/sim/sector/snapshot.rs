//! Owns the canonical bytes of a sector: columns, little endian, unit after
//! unit in order of ids. The envelope around them has their version. Never
//! panics on bytes from outside. Invariant: equal states write equal bytes,
//! and what is read writes the bytes it was read from.

use std::collections::{BTreeMap, VecDeque};

use super::SectorState;
use crate::base::{FleetId, GalaxyPosition, PlayerId, Position, SectorId, UnitId};
use crate::sim::orders::ID_END;
use crate::sim::travel::QUEUE_MAX;
use crate::sim::waypoint::UNIT_SCALE_MAX;
use crate::sim::{Course, Order, Speed, Unit, UnitState, UnitTypeId, Waypoint};

/// Bytes before the columns: x, y, scale, number of units, number of queues.
const HEADER: usize = 25;
/// Bytes of all columns per unit, without what orders need besides.
const UNIT: usize = 63;
/// Bytes per place of an order.
const PLACE: usize = 16;
/// Places of orders are below: no galaxy is larger.
const PLACE_END: i64 = 1 << 40;

/// Bytes that are not a sector's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("a sector's snapshot of {got} bytes where {expected} were expected")]
    Length { expected: usize, got: usize },
    #[error("a sector's snapshot with a wrong {column} at unit {index}")]
    Value { column: &'static str, index: usize },
    #[error("a sector's snapshot of scale {0}, where no units live")]
    Scale(u8),
    #[error("a sector's snapshot with a wrong queue of orders, number {0}")]
    Queue(usize),
}

impl SectorState {
    /// Appends the canonical bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(HEADER + self.units.len() * (UNIT + PLACE));
        out.extend(self.sector.x.to_le_bytes());
        out.extend(self.sector.y.to_le_bytes());
        out.push(self.sector.scale);
        // More than 2^32 units need more memory than a machine has.
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        out.extend(count(self.units.len()));
        out.extend(count(self.queues.len()));
        let units = &self.units;
        column(out, units, |u| u.id.0.to_le_bytes());
        column(out, units, |u| u.owner.0.to_le_bytes());
        column(out, units, |u| u.type_id.0.to_le_bytes());
        column(out, units, |u| u.hops.to_le_bytes());
        column(out, units, |u| u.position.x.to_le_bytes());
        column(out, units, |u| u.position.y.to_le_bytes());
        column(out, units, |u| u32::from(u.speed).to_le_bytes());
        column(out, units, |u| u.waypoint.x.to_le_bytes());
        column(out, units, |u| u.waypoint.y.to_le_bytes());
        column(out, units, |u| u.course.velocity.0.to_le_bytes());
        column(out, units, |u| u.course.velocity.1.to_le_bytes());
        column(out, units, |u| u.course.remaining.to_le_bytes());
        column(out, units, |u| u.heading.to_le_bytes());
        column(out, units, |u| u.health.to_le_bytes());
        column(out, units, |u| [u.state.0]);
        column(out, units, |u| u.fleet.0.to_le_bytes());
        column(out, units, |u| [u.patience]);
        column(out, units, |u| [order_code(u.order)]);
        for unit in units {
            write_order(out, unit.order);
        }
        for (id, queue) in &self.queues {
            out.extend(id.0.to_le_bytes());
            // At most 16.
            out.push(u8::try_from(queue.len()).unwrap_or(u8::MAX));
            for order in queue {
                out.push(order_code(*order));
                write_order(out, *order);
            }
        }
    }

    /// The inverse of [`write`](Self::write).
    ///
    /// # Errors
    /// When `bytes` is not exactly what `write` gives for some state.
    pub fn read(bytes: &[u8]) -> Result<SectorState, SnapshotError> {
        let mut rest = Columns { rest: bytes, total: bytes.len() };
        let sector = SectorId {
            x: i64::from_le_bytes(rest.one()?),
            y: i64::from_le_bytes(rest.one()?),
            scale: u8::from_le_bytes(rest.one()?),
        };
        if sector.scale > UNIT_SCALE_MAX {
            return Err(SnapshotError::Scale(sector.scale));
        }
        let count = u32::from_le_bytes(rest.one()?) as usize;
        let queued = u32::from_le_bytes(rest.one()?) as usize;
        let units = read_units(&mut rest, count)?;
        let queues = read_queues(&mut rest, queued, &units)?;
        if !rest.rest.is_empty() {
            let expected = bytes.len() - rest.rest.len();
            return Err(SnapshotError::Length { expected, got: bytes.len() });
        }
        Ok(SectorState { sector, units, queues, quiet: 0, derived: None })
    }
}

fn column<const N: usize>(out: &mut Vec<u8>, units: &[Unit], value: impl Fn(&Unit) -> [u8; N]) {
    let at = out.len();
    out.resize(at + units.len() * N, 0);
    for (to, unit) in out[at..].chunks_exact_mut(N).zip(units) {
        to.copy_from_slice(&value(unit));
    }
}

const IDLE: u8 = 0;
const MOVE: u8 = 1;
const HOLD: u8 = 2;
const ATTACK_MOVE: u8 = 3;
const PATROL: u8 = 4;
const WARP: u8 = 5;

fn order_code(order: Order) -> u8 {
    match order {
        Order::Idle => IDLE,
        Order::Move { .. } => MOVE,
        Order::Hold => HOLD,
        Order::AttackMove { .. } => ATTACK_MOVE,
        Order::Patrol { .. } => PATROL,
        Order::Warp { .. } => WARP,
    }
}

/// What an order needs besides its code.
fn write_order(out: &mut Vec<u8>, order: Order) {
    let mut place = |place: GalaxyPosition| {
        out.extend(place.x.to_le_bytes());
        out.extend(place.y.to_le_bytes());
    };
    match order {
        Order::Idle | Order::Hold => {}
        Order::Move { to } | Order::AttackMove { to } => place(to),
        Order::Patrol { from, to } => {
            place(from);
            place(to);
        }
        Order::Warp { to, wait } => {
            place(to);
            out.push(wait);
        }
    }
}

/// What is not read yet.
struct Columns<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Columns<'a> {
    /// The next `count` values of `N` bytes.
    fn take<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], SnapshotError> {
        // A count is at most 2^32, so that only a 32-bit target can overflow.
        let bytes = count.saturating_mul(N);
        let Some((column, rest)) = self.rest.split_at_checked(bytes) else {
            let read = self.total - self.rest.len();
            let expected = read.saturating_add(bytes);
            return Err(SnapshotError::Length { expected, got: self.total });
        };
        self.rest = rest;
        Ok(column.as_chunks().0)
    }

    fn one<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        // `take(1)` gives exactly one.
        self.take(1).map(|column| column.first().copied().unwrap_or([0; N]))
    }
}

fn read_units(from: &mut Columns<'_>, count: usize) -> Result<Vec<Unit>, SnapshotError> {
    let (ids, owners) = (from.take::<8>(count)?, from.take::<8>(count)?);
    let (types, hops) = (from.take::<2>(count)?, from.take::<4>(count)?);
    let (xs, ys) = (from.take::<4>(count)?, from.take::<4>(count)?);
    let speeds = from.take::<4>(count)?;
    let (wxs, wys) = (from.take::<2>(count)?, from.take::<2>(count)?);
    let (vxs, vys) = (from.take::<4>(count)?, from.take::<4>(count)?);
    let (remaining, headings) = (from.take::<2>(count)?, from.take::<2>(count)?);
    let (healths, states) = (from.take::<2>(count)?, from.take::<1>(count)?);
    let (fleets, patience) = (from.take::<8>(count)?, from.take::<1>(count)?);
    let orders = from.take::<1>(count)?;
    // All columns were there, so `count` is no larger than the input.
    let mut units = Vec::with_capacity(count);
    for i in 0..count {
        let unit = Unit {
            id: UnitId(u64::from_le_bytes(ids[i])),
            type_id: UnitTypeId(u16::from_le_bytes(types[i])),
            owner: PlayerId(u64::from_le_bytes(owners[i])),
            hops: u32::from_le_bytes(hops[i]),
            position: Position { x: i32::from_le_bytes(xs[i]), y: i32::from_le_bytes(ys[i]) },
            speed: Speed::try_from(u32::from_le_bytes(speeds[i]))
                .map_err(|_| SnapshotError::Value { column: "speed", index: i })?,
            waypoint: Waypoint { x: i16::from_le_bytes(wxs[i]), y: i16::from_le_bytes(wys[i]) },
            course: Course {
                velocity: (i32::from_le_bytes(vxs[i]), i32::from_le_bytes(vys[i])),
                remaining: u16::from_le_bytes(remaining[i]),
            },
            heading: u16::from_le_bytes(headings[i]),
            health: u16::from_le_bytes(healths[i]),
            state: UnitState(states[i][0]),
            fleet: FleetId(u64::from_le_bytes(fleets[i])),
            patience: patience[i][0],
            order: order(orders[i][0], from)?
                .ok_or(SnapshotError::Value { column: "order", index: i })?,
        };
        check(&unit, units.last(), i)?;
        units.push(unit);
    }
    Ok(units)
}

/// `None` for a code or place that no order has.
fn order(code: u8, from: &mut Columns<'_>) -> Result<Option<Order>, SnapshotError> {
    let mut place = || -> Result<GalaxyPosition, SnapshotError> {
        Ok(GalaxyPosition {
            x: i64::from_le_bytes(from.one()?),
            y: i64::from_le_bytes(from.one()?),
        })
    };
    let order = match code {
        IDLE => Order::Idle,
        MOVE => Order::Move { to: place()? },
        HOLD => Order::Hold,
        ATTACK_MOVE => Order::AttackMove { to: place()? },
        PATROL => Order::Patrol { from: place()?, to: place()? },
        WARP => Order::Warp { to: place()?, wait: from.one::<1>()?[0] },
        _ => return Ok(None),
    };
    let places = 0..PLACE_END;
    let is_place = |place: GalaxyPosition| places.contains(&place.x) && places.contains(&place.y);
    let start = match order {
        Order::Patrol { from, .. } => is_place(from),
        _ => true,
    };
    Ok((start && order.target().is_none_or(is_place)).then_some(order))
}

fn read_queues(
    from: &mut Columns<'_>,
    count: usize,
    units: &[Unit],
) -> Result<BTreeMap<UnitId, VecDeque<Order>>, SnapshotError> {
    let mut queues = BTreeMap::new();
    for n in 0..count {
        let wrong = || SnapshotError::Queue(n);
        let id = UnitId(u64::from_le_bytes(from.one()?));
        let length = from.one::<1>()?[0];
        let here = units.binary_search_by_key(&id, |unit| unit.id).is_ok();
        let ascends = queues.last_key_value().is_none_or(|(last, _)| *last < id);
        if !here || !ascends || !(1..=QUEUE_MAX).contains(&usize::from(length)) {
            return Err(wrong());
        }
        let mut queue = VecDeque::with_capacity(length.into());
        for _ in 0..length {
            let code = from.one::<1>()?[0];
            queue.push_back(order(code, from)?.filter(|o| *o != Order::Idle).ok_or_else(wrong)?);
        }
        queues.insert(id, queue);
    }
    Ok(queues)
}

/// What no state of ours has.
fn check(unit: &Unit, before: Option<&Unit>, index: usize) -> Result<(), SnapshotError> {
    let wrong = |column| Err(SnapshotError::Value { column, index });
    let ascends = before.is_none_or(|before| before.id < unit.id);
    if !ascends || !(1..ID_END).contains(&unit.id.0) {
        return wrong("id");
    }
    if unit.course.is_moving() != (unit.course.velocity != (0, 0)) {
        return wrong("course");
    }
    if !unit.waypoint.is_in_range() {
        return wrong("waypoint");
    }
    if unit.fleet.0 >= ID_END {
        return wrong("fleet");
    }
    if unit.state.has(UnitState::MOVING) != unit.course.is_moving() {
        return wrong("state");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenes::{
        ANNA, HERE, Happening, World, apply, bytes, go, happenings, order, place, step, two_players,
    };
    use super::*;
    use crate::base::StateHash;
    use crate::sim::{Changes, Command, Instruction};

    /// Some of everything: orders, queues, a fleet, courses.
    fn under_way() -> SectorState {
        let mut sector = two_players();
        let target = place(HERE, 900_000, 7);
        let give = |sector: &mut SectorState, ids: &[u64], what, queue| {
            let command = Command { queue, ..order(ids, what) };
            apply(sector, ANNA, &command).unwrap();
        };
        apply(&mut sector, ANNA, &go(&[1, 4], 3, 4)).unwrap();
        give(&mut sector, &[2], Instruction::Patrol { target }, false);
        give(&mut sector, &[3], Instruction::Warp { target }, false);
        give(&mut sector, &[2, 5], Instruction::Join { fleet: FleetId(77) }, false);
        give(&mut sector, &[1, 3], Instruction::AttackMove { target }, true);
        give(&mut sector, &[3], Instruction::Hold, true);
        step(&mut sector, 0);
        sector
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(happenings in happenings()) {
            let mut sector = two_players();
            for happening in happenings {
                match happening {
                    Happening::Command(player, command) => {
                        let _ = apply(&mut sector, player, &command);
                    }
                    Happening::Advance(n) => {
                        let (world, mut left) = (World::new(), Vec::new());
                        sector.advance(n, &world.around(0), &mut Changes::default(), &mut left);
                    }
                }
                prop_assert_eq!(SectorState::read(&bytes(&sector)), Ok(sector.clone()));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_canonical(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0_u8..5,
            queues in 0_u8..3,
        ) {
            if let Some(low) = bytes.get_mut(16..25) {
                low.copy_from_slice(&[0, count, 0, 0, 0, queues, 0, 0, 0]);
            }
            if let Ok(sector) = SectorState::read(&bytes) {
                prop_assert_eq!(super::super::scenes::bytes(&sector), bytes);
            }
        }

        #[test]
        fn a_flipped_bit_is_refused_or_shows(at in 0_usize..10_000, bit in 0_u32..8) {
            let sector = under_way();
            let good = bytes(&sector);
            let mut bad = good.clone();
            let at = at % bad.len();
            bad[at] ^= 1 << bit;
            if let Ok(read) = SectorState::read(&bad) {
                prop_assert_ne!(&read, &sector);
                prop_assert_eq!(bytes(&read), bad);
            }
        }

        #[test]
        fn a_cut_or_longer_snapshot_is_refused(keep in 0_usize..400, more in 1_usize..9) {
            let good = bytes(&under_way());
            let cut = &good[..keep % good.len()];
            prop_assert!(SectorState::read(cut).is_err());
            let longer = [&good[..], &vec![0; more]].concat();
            let got = longer.len();
            let error = SnapshotError::Length { expected: good.len(), got };
            prop_assert_eq!(SectorState::read(&longer), Err(error));
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_is_refused_before_memory_is_taken() {
        let mut bytes = bytes(&SectorState::new(HERE));
        bytes[17..21].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(SectorState::read(&bytes), Err(SnapshotError::Length { .. })));
    }

    #[test]
    fn bytes_of_a_sector_stay_the_same_for_ever() {
        let bytes = bytes(&under_way());
        // Seven places of orders, a wait each for two of them, three queues.
        let orders = 2 * PLACE + 2 * PLACE + PLACE + 1;
        let queues = 2 * 9 + 3 + 2 * PLACE;
        assert_eq!(bytes.len(), HEADER + 7 * UNIT + orders + queues);
        assert_eq!(StateHash::of(&bytes).to_string(), "b73f866f50de3f8f6feed302b463463d");
        let empty = super::super::scenes::bytes(&SectorState::new(HERE));
        assert_eq!(empty, [&[7, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 16]].concat());
    }

    #[test]
    fn what_no_state_has_is_refused_by_name() {
        let column = |change: fn(&mut SectorState)| {
            let mut sector = under_way();
            change(&mut sector);
            match SectorState::read(&bytes(&sector)) {
                Err(SnapshotError::Value { column, index }) => (column, index),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(column(|s| s.units[2].id = UnitId(2)), ("id", 2));
        assert_eq!(column(|s| s.units[0].id = UnitId(0)), ("id", 0));
        assert_eq!(column(|s| s.units[6].id = UnitId(ID_END)), ("id", 6));
        assert_eq!(column(|s| s.units[4].course.remaining = 1), ("course", 4));
        assert_eq!(column(|s| s.units[3].waypoint.x = Waypoint::MAX + 1), ("waypoint", 3));
        assert_eq!(column(|s| s.units[3].fleet = FleetId(ID_END)), ("fleet", 3));
        let outside = |x| Order::Move { to: GalaxyPosition { x, y: 0 } };
        assert_eq!(
            column(|s| s.units[5].order = Order::Move { to: GalaxyPosition { x: -1, y: 0 } }),
            ("order", 5)
        );
        let queue = |orders: &[Order], id| {
            let mut sector = under_way();
            sector.queues = BTreeMap::from([(UnitId(id), orders.iter().copied().collect())]);
            SectorState::read(&bytes(&sector)).err()
        };
        let wrong = Some(SnapshotError::Queue(0));
        assert_eq!(queue(&[Order::Hold], 2), None);
        assert_eq!(queue(&[Order::Hold], 99), wrong);
        assert_eq!(queue(&[], 2), wrong);
        assert_eq!(queue(&[Order::Hold; QUEUE_MAX + 1], 2), wrong);
        assert_eq!(queue(&[Order::Idle], 2), wrong);
        assert_eq!(queue(&[outside(PLACE_END)], 2), wrong);
        assert_eq!(column(|s| s.units[0].state = UnitState::default()), ("state", 0));
    }
}
