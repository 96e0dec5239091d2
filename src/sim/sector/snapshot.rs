//! Owns the canonical bytes of a sector: columns, little endian, unit after
//! unit in order of ids. The envelope around them has their version. Never
//! panics on bytes from outside. Invariant: equal states write equal bytes,
//! and what is read writes the bytes it was read from.

use super::SectorState;
use crate::base::{PlayerId, Position, SectorId, UnitId};
use crate::sim::orders::ID_END;
use crate::sim::{Course, Order, Unit, UnitState, UnitTypeId};

/// Bytes before the columns: x, y, scale, number of units.
const HEADER: usize = 21;
/// Bytes of all columns per unit, without the targets of moves.
const UNIT: usize = 46;
/// Bytes per target.
const TARGET: usize = 8;

/// Bytes that are not a sector's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("a sector's snapshot of {got} bytes where {expected} were expected")]
    Length { expected: usize, got: usize },
    #[error("a sector's snapshot with a wrong {column} at unit {index}")]
    Value { column: &'static str, index: usize },
}

impl SectorState {
    /// Appends the canonical bytes to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(HEADER + self.units.len() * (UNIT + TARGET));
        out.extend(self.sector.x.to_le_bytes());
        out.extend(self.sector.y.to_le_bytes());
        out.push(self.sector.scale);
        // More than 2^32 units need more memory than a machine has.
        out.extend(u32::try_from(self.units.len()).unwrap_or(u32::MAX).to_le_bytes());
        let units = &self.units;
        column(out, units, |u| u.id.0.to_le_bytes());
        column(out, units, |u| u.owner.0.to_le_bytes());
        column(out, units, |u| u.type_id.0.to_le_bytes());
        column(out, units, |u| u.hops.to_le_bytes());
        column(out, units, |u| u.position.x.to_le_bytes());
        column(out, units, |u| u.position.y.to_le_bytes());
        column(out, units, |u| u.course.velocity.0.to_le_bytes());
        column(out, units, |u| u.course.velocity.1.to_le_bytes());
        column(out, units, |u| u.course.remaining.to_le_bytes());
        column(out, units, |u| u.heading.to_le_bytes());
        column(out, units, |u| u.health.to_le_bytes());
        column(out, units, |u| [u.state.0]);
        column(out, units, |u| [order_code(u.order)]);
        for unit in units {
            if let Order::Move { target } = unit.order {
                out.extend(target.x.to_le_bytes());
                out.extend(target.y.to_le_bytes());
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
        let count = u32::from_le_bytes(rest.one()?) as usize;
        let units = read_units(&mut rest, count)?;
        if !rest.rest.is_empty() {
            let expected = bytes.len() - rest.rest.len();
            return Err(SnapshotError::Length { expected, got: bytes.len() });
        }
        Ok(SectorState { sector, units })
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

fn order_code(order: Order) -> u8 {
    match order {
        Order::Idle => IDLE,
        Order::Move { .. } => MOVE,
        Order::Hold => HOLD,
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
    let (vxs, vys) = (from.take::<4>(count)?, from.take::<4>(count)?);
    let (remaining, headings) = (from.take::<2>(count)?, from.take::<2>(count)?);
    let (healths, states) = (from.take::<2>(count)?, from.take::<1>(count)?);
    let orders = from.take::<1>(count)?;
    // All columns were there, so `count` is no larger than the input.
    let mut units = Vec::with_capacity(count);
    for i in 0..count {
        let unit = Unit {
            id: UnitId(u64::from_le_bytes(ids[i])),
            type_id: UnitTypeId(u16::from_le_bytes(types[i])),
            owner: PlayerId(u64::from_le_bytes(owners[i])),
            hops: u32::from_le_bytes(hops[i]),
            position: position(xs[i], ys[i]),
            course: Course {
                velocity: (i32::from_le_bytes(vxs[i]), i32::from_le_bytes(vys[i])),
                remaining: u16::from_le_bytes(remaining[i]),
            },
            heading: u16::from_le_bytes(headings[i]),
            health: u16::from_le_bytes(healths[i]),
            state: UnitState(states[i][0]),
            order: order(orders[i][0], i, from)?,
        };
        check(&unit, units.last(), i)?;
        units.push(unit);
    }
    Ok(units)
}

fn position(x: [u8; 4], y: [u8; 4]) -> Position {
    Position { x: i32::from_le_bytes(x), y: i32::from_le_bytes(y) }
}

fn order(code: u8, index: usize, from: &mut Columns<'_>) -> Result<Order, SnapshotError> {
    match code {
        IDLE => Ok(Order::Idle),
        MOVE => Ok(Order::Move { target: position(from.one()?, from.one()?) }),
        HOLD => Ok(Order::Hold),
        _ => Err(SnapshotError::Value { column: "order", index }),
    }
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
    if unit.state.has(UnitState::MOVING) != unit.course.is_moving() {
        return wrong("state");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scenes::{ANNA, HERE, Happening, apply, bytes, go, happenings, two_players};
    use super::*;
    use crate::base::StateHash;
    use crate::sim::Changes;

    fn under_way() -> SectorState {
        let mut sector = two_players();
        apply(&mut sector, ANNA, &go(&[1, 4], 3, 4)).unwrap();
        sector.step(&mut Changes::default());
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
                    Happening::Advance(n) => sector.advance(n, &mut Changes::default()),
                }
                prop_assert_eq!(SectorState::read(&bytes(&sector)), Ok(sector.clone()));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_canonical(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0_u8..5,
        ) {
            if let Some(low) = bytes.get_mut(17..21) {
                low.copy_from_slice(&[count, 0, 0, 0]);
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
        assert_eq!(bytes.len(), HEADER + 7 * UNIT + 2 * TARGET);
        assert_eq!(StateHash::of(&bytes).to_string(), "1f07d9ea166d730a738c61c1944a59a3");
        let empty = super::super::scenes::bytes(&SectorState::new(HERE));
        assert_eq!(empty, [&[7, 0, 0, 0, 0, 0, 0, 0, 0xFD][..], &[0xFF; 7], &[0; 5]].concat());
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
        assert_eq!(column(|s| s.units[1].course.remaining = 1), ("course", 1));
        assert_eq!(column(|s| s.units[0].state = UnitState::default()), ("state", 0));
    }
}
