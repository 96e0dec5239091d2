//! Owns what one client of a swarm holds the server to: each acknowledged
//! command shows its effect, and no unit of the player's disappears. Never
//! compares keyframes (the client library does). Called with every answer and
//! every update. Invariant: a unit with an unanswered command is expected
//! nothing of.

use std::collections::BTreeMap;

use crate::base::{EntityKey, PlayerId, Position, UnitId};
use crate::client::Issued;
use crate::protocol::command::Target;
use crate::protocol::server::Ack;
use crate::protocol::{Destination, Order, UnitRecord};
use crate::view::CellsView;

/// How far from an order's target a unit may come to stand, in grid steps on
/// each axis: 312 m. The 256 units that a command may name stand up to eight
/// rows of 15.6 m from it, beside a star, which has a radius of up to 180 m, and
/// where somebody is in the way farther.
const NEAR_STEPS: u32 = 20 << 14;
/// A unit may stand elsewhere for so many ticks, when it finds its way around
/// others.
const PAUSE_TICKS: u64 = 20;

/// A unit on its way from place to place is seen again within this time, also
/// when the next place has to be loaded.
const GONE_MS: u64 = 60_000;

/// What an acknowledgement promised of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// A unit of a move: it flies, and stands near the target in the end.
    Near(Position),
    /// Another unit of a stop or hold: it stands.
    Stands,
}

#[derive(Clone, Copy, Debug)]
struct Expected {
    sequence: u32,
    place: EntityKey,
    /// Later ticks of the place show it.
    after: u64,
    effect: Effect,
    shown: bool,
    /// Since when it is not so.
    missing: Option<u64>,
    /// Its absence was told; it is told once.
    told: bool,
}

/// What is known of one own unit.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Commands naming it that are not answered.
    unanswered: u32,
    expected: Option<Expected>,
    /// Where it was last seen, at how many hops.
    seen: Option<(EntityKey, u32)>,
    /// Since when it is seen nowhere, in the caller's milliseconds.
    gone: Option<u64>,
    /// Its absence was told.
    missed: bool,
}

/// Something that the server acknowledged or showed and that is not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub place: EntityKey,
    pub tick: u64,
    pub unit: UnitId,
    pub what: String,
}

/// The expectations of one client.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    player: PlayerId,
    units: BTreeMap<UnitId, Known>,
    /// Effects shown and not yet asked for.
    seen: u64,
    /// Units that came to another place, not yet asked for.
    crossings: u64,
}

impl Checker {
    /// Whose units are the own ones.
    pub fn set_player(&mut self, player: PlayerId) {
        self.player = player;
    }

    /// How many effects were shown since this was last asked.
    pub fn drain_seen(&mut self) -> u64 {
        std::mem::take(&mut self.seen)
    }

    /// How many units came to another place since this was last asked.
    pub fn drain_crossings(&mut self) -> u64 {
        std::mem::take(&mut self.crossings)
    }

    /// Own units that are seen nowhere for longer than any way takes. To be
    /// asked while connected.
    pub fn overdue(&mut self, now: u64) -> Vec<Loss> {
        let mut losses = Vec::new();
        for (unit, known) in &mut self.units {
            let (Some(gone), Some((place, hops))) = (known.gone, known.seen) else { continue };
            if now.saturating_sub(gone) >= GONE_MS && !std::mem::replace(&mut known.missed, true) {
                let what = format!("an own unit, last seen after {hops} hops, is gone");
                losses.push(Loss { place, tick: 0, unit: *unit, what });
            }
        }
        losses
    }

    /// Since when an own unit is seen nowhere; of several the first.
    pub fn gone_since(&self) -> Option<u64> {
        self.units.values().filter_map(|known| known.gone).min()
    }

    /// The connection was lost: nothing is seen, and what nobody looked at is
    /// not missed.
    pub fn handle_disconnected(&mut self, now: u64) {
        let seen = self.units.values_mut().filter(|known| known.seen.is_some());
        seen.for_each(|known| known.gone = Some(now));
    }

    /// The place is not looked at any more: what was seen there is to be seen
    /// elsewhere.
    pub fn handle_unwatched(&mut self, place: EntityKey, now: u64) {
        let there = |known: &&mut Known| known.seen.is_some_and(|(seen, _)| seen == place);
        self.units.values_mut().filter(there).for_each(|known| known.leave(place, now));
    }

    /// Whether every effect promised so far was shown.
    pub fn is_settled(&self) -> bool {
        let open = |known: &Known| known.expected.is_some_and(|e| !e.shown && !e.told);
        !self.units.values().any(open)
    }

    /// Effects that were promised and never shown: losses, once no more
    /// updates come.
    pub fn unshown(&self) -> Vec<Loss> {
        let open = |(unit, known): (&UnitId, &Known)| {
            let expected = known.expected.filter(|e| !e.shown && !e.told)?;
            let Expected { sequence, place, after, effect, .. } = expected;
            let what = format!("command {sequence} was acknowledged, {effect:?} never shown");
            Some(Loss { place, tick: after, unit: *unit, what })
        };
        self.units.iter().filter_map(open).collect()
    }

    /// A command was sent for the first time.
    pub fn note_sent(&mut self, units: &[UnitId]) {
        for unit in units {
            self.units.entry(*unit).or_default().unanswered += 1;
        }
    }

    /// A command was answered.
    pub fn note_answered(&mut self, issued: &Issued, ack: &Ack) {
        for (n, unit) in issued.command.recipients.units().iter().enumerate() {
            let known = self.units.entry(*unit).or_default();
            known.unanswered = known.unanswered.saturating_sub(1);
            let newer = known.expected.is_some_and(|e| e.sequence > issued.command.sequence);
            if ack.success && !newer {
                known.expected = effect(issued, ack, n).map(|effect| Expected {
                    sequence: issued.command.sequence,
                    place: issued.place,
                    after: ack.effect_tick,
                    effect,
                    shown: false,
                    missing: None,
                    told: false,
                });
            }
        }
    }

    /// A command's outcome will never be known.
    pub fn note_gave_up(&mut self, issued: &Issued) {
        for unit in issued.command.recipients.units() {
            let known = self.units.entry(*unit).or_default();
            known.unanswered = known.unanswered.saturating_sub(1);
            known.expected = None;
        }
    }

    /// A new session begins, and sequences at 1 again; what was promised holds.
    pub fn handle_new_session(&mut self) {
        for known in self.units.values_mut() {
            if let Some(expected) = &mut known.expected {
                expected.sequence = 0;
            }
        }
    }

    /// The view of a place is at a new tick, at this moment.
    pub fn check(&mut self, place: EntityKey, view: &CellsView, now: u64) -> Vec<Loss> {
        let Some(tick) = view.tick() else { return Vec::new() };
        for unit in view.units().filter(|unit| unit.owner == self.player) {
            let known = self.units.entry(unit.id).or_default();
            if known.seen.is_none_or(|(_, hops)| hops <= unit.hops) {
                self.crossings += u64::from(known.seen.is_some_and(|(_, hops)| hops < unit.hops));
                known.arrive(place, unit.hops);
            }
        }
        let mut losses = Vec::new();
        for (id, known) in &mut self.units {
            if known.seen.is_none_or(|(seen, _)| seen != place) {
                continue;
            }
            let Some(unit) = view.unit(*id) else {
                known.leave(place, now);
                continue;
            };
            if let Some(what) = known.check(tick, unit, &mut self.seen) {
                losses.push(Loss { place, tick, unit: *id, what });
            }
        }
        losses
    }
}

impl Known {
    /// It is seen in `place`. What was promised elsewhere is not seen here.
    fn arrive(&mut self, place: EntityKey, hops: u32) {
        if self.seen.is_some_and(|(before, _)| before != place) {
            self.expected = self.expected.filter(|expected| expected.place == place);
        }
        self.seen = Some((place, hops));
        (self.gone, self.missed) = (None, false);
    }

    /// It is not where it was seen last: on its way to another place, or gone.
    fn leave(&mut self, place: EntityKey, now: u64) {
        self.gone.get_or_insert(now);
        // What was promised there is not seen elsewhere.
        self.expected = self.expected.filter(|expected| expected.place != place);
    }

    /// What is wrong with the unit as it is shown at `tick`.
    fn check(&mut self, tick: u64, unit: &UnitRecord, seen: &mut u64) -> Option<String> {
        let expected = self.expected.as_mut().filter(|e| e.after < tick && !e.told)?;
        if self.unanswered > 0 {
            return None;
        }
        if expected.effect.is_shown_by(unit) {
            expected.missing = None;
            *seen += u64::from(!std::mem::replace(&mut expected.shown, true));
            return None;
        }
        let since = *expected.missing.get_or_insert(tick);
        if tick.saturating_sub(since) < PAUSE_TICKS {
            return None;
        }
        expected.told = true;
        let Expected { sequence, after, effect, shown, .. } = *expected;
        let once = if shown { " any more" } else { "" };
        Some(format!(
            "command {sequence}, effective after {after}: {effect:?} is not so{once}: {unit:?}"
        ))
    }
}

impl Effect {
    fn is_shown_by(self, unit: &UnitRecord) -> bool {
        let end = unit.position;
        let near = |a: i32, b: i32| a.abs_diff(b) <= NEAR_STEPS;
        match self {
            Effect::Near(there) => {
                unit.course.steps > 0 || (near(end.x, there.x) && near(end.y, there.y))
            }
            Effect::Stands => unit.course.steps == 0,
        }
    }
}

/// What `ack` promises of the command's `n`-th unit.
fn effect(issued: &Issued, ack: &Ack, n: usize) -> Option<Effect> {
    if matches!(issued.command.order, Order::Patrol { .. } | Order::Warp { .. }) {
        return None;
    }
    if n == 0 {
        let arrival = ack.arrival?;
        return Some(Effect::Near(Position { x: arrival.x, y: arrival.y }));
    }
    match issued.command.order {
        Order::MoveFleet { target: Target::Position(Destination { sector, x, y }) }
            if !issued.command.queue =>
        {
            let fraction = crate::base::CompressedPosition { x, y };
            let (sector, position) = fraction.locate(sector.into())?;
            (EntityKey::Sector(sector) == issued.place).then_some(Effect::Near(position))
        }
        Order::Stop {} | Order::Hold {} if !issued.command.queue => Some(Effect::Stands),
        // What waits shows later, the ways of others are not known beforehand.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SectorId, Tick};
    use crate::sim::rules::sample;
    use crate::sim::{Unit, UnitTypeId};
    use crate::view::stage::{GroupId, Scene};
    use crate::view::{Stage, convert};

    const ANNA: PlayerId = PlayerId(7);
    const WEST: SectorId = SectorId::tactical(3, 4);
    const EAST: SectorId = SectorId::tactical(4, 4);

    /// What Anna sees of a sector with these of her units, by hops.
    fn view(sector: SectorId, tick: u64, units: &[(u64, u32)]) -> CellsView {
        let mover = |(id, hops): &(u64, u32)| {
            let unit = Unit::new(UnitId(*id), UnitTypeId(1), ANNA, Position { x: 1, y: 1 });
            let unit = Unit { hops: *hops, ..unit };
            crate::view::motion::Mover::from(&convert::unit(&convert::record(&unit)))
        };
        let scene = Scene { tick: Tick(tick), units: units.iter().map(mover).collect() };
        let mut stage = Stage::new(sector, &scene, &sample::rules().unwrap());
        let codec = crate::protocol::CodecKind::Postcard;
        let bytes = stage.keyframe(GroupId::of(ANNA), codec, 1);
        let (header, packet) = codec.codec().decode_packet(&bytes).unwrap();
        let mut view = CellsView::default();
        view.handle(header.tick, &packet);
        view
    }

    fn checker() -> Checker {
        let mut checker = Checker::default();
        checker.set_player(ANNA);
        let here = EntityKey::Sector(WEST);
        assert_eq!(checker.check(here, &view(WEST, 2, &[(1, 0), (2, 0)]), 0), []);
        assert_eq!(checker.check(here, &view(WEST, 4, &[(2, 0)]), 1_000), []);
        checker
    }

    #[test]
    fn a_unit_that_is_seen_nowhere_for_a_minute_is_lost_and_told_once() {
        let mut checker = checker();
        assert_eq!(checker.overdue(1_000 + GONE_MS - 1), []);
        let lost: Vec<UnitId> = checker.overdue(1_000 + GONE_MS).iter().map(|l| l.unit).collect();
        assert_eq!(lost, [UnitId(1)]);
        assert_eq!(checker.overdue(1_000 + 2 * GONE_MS), []);
    }

    #[test]
    fn one_that_comes_to_another_place_is_not() {
        let mut checker = checker();
        let there = EntityKey::Sector(EAST);
        assert_eq!(checker.check(there, &view(EAST, 90, &[(1, 1)]), 30_000), []);
        assert_eq!((checker.drain_crossings(), checker.overdue(9 * GONE_MS)), (1, Vec::new()));
    }

    #[test]
    fn what_was_not_looked_at_is_not_missed_until_a_minute_after() {
        let mut checker = checker();
        checker.handle_disconnected(50_000);
        assert_eq!(checker.overdue(50_000 + GONE_MS - 1), []);
        assert_eq!(checker.overdue(50_000 + GONE_MS).len(), 2, "neither was shown again");
    }

    #[test]
    fn what_was_in_a_place_that_is_not_watched_any_more_is_to_come_elsewhere() {
        let mut checker = checker();
        assert_eq!(checker.gone_since(), Some(1_000));
        let there = EntityKey::Sector(EAST);
        assert_eq!(checker.check(there, &view(EAST, 6, &[(1, 1)]), 2_000), []);
        assert_eq!(checker.gone_since(), None);
        checker.handle_unwatched(EntityKey::Sector(WEST), 3_000);
        assert_eq!(checker.gone_since(), Some(3_000));
        let lost: Vec<UnitId> = checker.overdue(3_000 + GONE_MS).iter().map(|l| l.unit).collect();
        assert_eq!(lost, [UnitId(2)]);
    }
}
