//! Owns the player's own orders that were sent and that no packet has shown:
//! what the library predicts with, until a packet of their place shows what
//! became of them. Never sends or draws (`core` and its users do), never
//! simulates (`view::predict` does). Called by `core` with every command,
//! answer and packet. Invariant: what is predicted is what was shown last and
//! the orders that are left, nothing else; an order is left for the last time
//! when the first packet after its acknowledgement's tick was applied.
//!
//! An order is taken to be carried out when it was given, until a later packet
//! came without it, then right after that one; with its acknowledgement the tick
//! is known. An order that was overtaken by one that the place has answered was
//! carried out before that one or never will be, so it goes with it. Repeats
//! change nothing, nor does a lost connection: what is unanswered stays, and is
//! predicted from the keyframe that comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::commands::Issued;
use crate::base::fixed::length;
use crate::base::{EntityKey, PlayerId, UnitId};
use crate::protocol::server::Ack;
use crate::protocol::{Point, UNANSWERED_MAX};
use crate::sim::Command;
use crate::view::predict::{self, AHEAD_TICKS_MAX, Pending, Shown, Units, predictable};
use crate::view::{CellsView, Charts, convert};

/// Orders of one place that are predicted: as many as may be unanswered. Beyond
/// them an order is sent as ever and shows when a packet shows it.
pub const PREDICTED_MAX: usize = UNANSWERED_MAX;

/// Why a unit is predicted elsewhere from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The order was acknowledged, and is carried out at another tick than was
    /// assumed.
    Acknowledged,
    /// The order was answered with an error: the unit is as it was shown.
    Refused,
    /// The outcome of the order will not be known: the unit is as it was shown.
    GivenUp,
    /// A packet showed what became of acknowledged orders.
    Shown,
    /// A packet showed that an order is not carried out yet, or what became of
    /// one that is not answered.
    Unacknowledged,
}

/// A unit that was predicted at one place and is at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    pub unit: UnitId,
    pub cause: Cause,
    /// Where it was predicted, and where it is predicted or shown now, both at
    /// the event's tick, in grid steps from the origin of its place.
    pub was: Point,
    pub is: Point,
}

impl Correction {
    /// How far it is from the one to the other.
    pub fn millimetres(&self) -> u64 {
        let between = |a: i32, b: i32| i64::from(a) - i64::from(b);
        let steps = length(between(self.was.x, self.is.x), between(self.was.y, self.is.y));
        // 2^20 grid steps are a kilometre; the length of two i32 is below 2^33.
        (steps * 1_000_000) >> 20
    }
}

/// An order that no packet has shown.
#[derive(Clone, Debug)]
struct Sent {
    place: EntityKey,
    command: Command,
    /// The place's tick when it was given.
    given: u64,
    /// If it was carried out, then after this tick of the place at the latest:
    /// packets of later ticks show it.
    settled: Option<u64>,
    acknowledged: bool,
}

/// What a client predicts.
#[derive(Clone, Debug, Default)]
pub struct Predictor {
    /// Nothing is predicted without.
    charts: Option<Arc<Charts>>,
    player: PlayerId,
    /// By sequence; at most [`PREDICTED_MAX`] of a place, all of places that
    /// are watched.
    sent: BTreeMap<u32, Sent>,
    /// Of the places of `sent` that are known: the units that `sent` names, as
    /// they are at the view's tick.
    shown: BTreeMap<EntityKey, (u64, Units)>,
}

impl Predictor {
    /// Predicts with these from now on.
    pub fn set_charts(&mut self, charts: Arc<Charts>) {
        self.charts = Some(charts);
    }

    /// Whose orders they are.
    pub fn set_player(&mut self, player: PlayerId) {
        self.player = player;
    }

    /// The sequences of the orders to `place` that are left, by rising.
    pub fn pending(&self, place: EntityKey) -> impl Iterator<Item = u32> {
        let here = self.sent.iter().filter(move |(_, sent)| sent.place == place);
        here.map(|(sequence, _)| *sequence)
    }

    /// The units of `place` whose orders are carried out before `tick`, as they
    /// are at that tick.
    pub fn predicted(&self, place: EntityKey, tick: u64) -> Units {
        let Some(charts) = &self.charts else { return Units::new() };
        let (EntityKey::Sector(sector), Some((at, units))) = (place, self.shown.get(&place)) else {
            return Units::new();
        };
        let shown = Shown { sector, player: self.player, tick: *at, units };
        predict::predict(charts, shown, self.orders(place), tick)
    }

    /// The orders of `place` that are left, in the order in which they are
    /// carried out: that of their sequences.
    fn orders(&self, place: EntityKey) -> impl Iterator<Item = Pending<'_>> {
        let here = self.sent.values().filter(move |sent| sent.place == place);
        here.scan(0, move |last, Sent { command, given, settled, .. }| {
            *last = settled.unwrap_or(*given).max(*last);
            Some(Pending { tick: *last, command })
        })
    }

    /// An order was sent for the first time, `given` at this tick of its place,
    /// of which `view` is known; `None` when it is not watched.
    pub fn note_issued(&mut self, issued: &Issued, given: u64, view: Option<&CellsView>) {
        let place = issued.place;
        let (Some(_), Some(view), EntityKey::Sector(_)) = (&self.charts, view, place) else {
            return;
        };
        // What is wrong with its shape the server will say.
        let Ok(command) = convert::command(&issued.command) else { return };
        if predictable(&command).is_none() || self.pending(place).count() >= PREDICTED_MAX {
            return;
        }
        let sent = Sent { place, command, given, settled: None, acknowledged: false };
        self.sent.insert(issued.command.sequence, sent);
        self.look(place, Some(view));
    }

    /// An order got its answer; what is predicted otherwise at `tick`.
    pub fn note_answered(
        &mut self,
        issued: &Issued,
        ack: &Ack,
        tick: u64,
        view: Option<&CellsView>,
    ) -> Vec<Correction> {
        let sequence = issued.command.sequence;
        let before = self.before(issued, tick);
        if ack.effect_tick > 0 {
            let here = self.sent.range_mut(..sequence).map(|(_, sent)| sent);
            for overtaken in here.filter(|sent| sent.place == issued.place) {
                overtaken.settled.get_or_insert(ack.effect_tick);
            }
        }
        let cause = if ack.success {
            if let Some(sent) = self.sent.get_mut(&sequence) {
                (sent.settled, sent.acknowledged) = (Some(ack.effect_tick), true);
            }
            Cause::Acknowledged
        } else {
            self.sent.remove(&sequence);
            Cause::Refused
        };
        self.look(issued.place, view);
        self.compare(issued.place, before, tick, view, |_| cause)
    }

    /// The outcome of an order will not be known; what is predicted otherwise at
    /// `tick`.
    pub fn note_given_up(
        &mut self,
        issued: &Issued,
        tick: u64,
        view: Option<&CellsView>,
    ) -> Vec<Correction> {
        let before = self.before(issued, tick);
        self.sent.remove(&issued.command.sequence);
        self.look(issued.place, view);
        self.compare(issued.place, before, tick, view, |_| Cause::GivenUp)
    }

    /// The session is another one, or none: its sequences mean nothing.
    pub fn handle_session_lost(&mut self) {
        self.sent.clear();
        self.shown.clear();
    }

    /// Nothing is known of any place until its next keyframe.
    pub fn handle_closed(&mut self) {
        self.shown.clear();
    }

    /// `place` is not watched any more: nothing will show its orders.
    pub fn handle_unwatched(&mut self, place: EntityKey) {
        self.sent.retain(|_, sent| sent.place != place);
        self.shown.remove(&place);
    }

    /// A packet of `place` was applied, or what was known of it was lost; the
    /// units that are not where they were predicted at the packet's tick, and
    /// those that are.
    pub fn handle_view(&mut self, place: EntityKey, view: &CellsView) -> Vec<Correction> {
        let (Some(tick), true) = (view.tick(), self.shown.contains_key(&place)) else {
            self.look(place, Some(view));
            return Vec::new();
        };
        let before = self.predicted(place, tick);
        let guessed = self.guessed(place);
        self.look(place, Some(view));
        self.compare(place, before, tick, Some(view), |unit| {
            if guessed.contains(&unit) { Cause::Unacknowledged } else { Cause::Shown }
        })
    }

    /// The units of `place` with an order that is not acknowledged.
    fn guessed(&self, place: EntityKey) -> BTreeSet<UnitId> {
        let open = self.sent.values().filter(|sent| sent.place == place && !sent.acknowledged);
        open.filter_map(|sent| predictable(&sent.command)).flat_map(|ids| ids.iter()).collect()
    }

    /// Where the units that `issued` names are predicted.
    fn before(&self, issued: &Issued, tick: u64) -> Units {
        if !self.sent.contains_key(&issued.command.sequence) {
            return Units::new();
        }
        let mut units = self.predicted(issued.place, tick);
        units.retain(|unit, _| issued.command.recipients.units().contains(unit));
        units
    }

    /// Drops what `view` shows, and takes over the units whose orders are left.
    fn look(&mut self, place: EntityKey, view: Option<&CellsView>) {
        self.shown.remove(&place);
        let Some((view, tick)) = view.and_then(|view| Some((view, view.tick()?))) else { return };
        let is_shown = |sent: &Sent| sent.settled.is_some_and(|settled| settled < tick);
        // A place that begins anew at a lower tick shows nothing of what was
        // ordered before, and no order takes effect much later than given.
        let is_past = |sent: &Sent| {
            let reach = tick.max(sent.given).saturating_add(AHEAD_TICKS_MAX);
            sent.given > tick.saturating_add(AHEAD_TICKS_MAX)
                || sent.settled.is_some_and(|settled| settled > reach)
        };
        let is_over = |sent: &Sent| is_shown(sent) || is_past(sent);
        self.sent.retain(|_, sent| sent.place != place || !is_over(sent));
        let here = self.sent.values().filter(|sent| sent.place == place);
        let named = here.filter_map(|sent| predictable(&sent.command)).flat_map(|ids| ids.iter());
        let units: Units = named.filter_map(|id| Some((id, *view.unit(id)?))).collect();
        if self.pending(place).next().is_some() {
            self.shown.insert(place, (tick, units));
        }
    }

    /// Where the units of `before` are now, predicted or shown, at `tick`.
    fn compare(
        &self,
        place: EntityKey,
        before: Units,
        tick: u64,
        view: Option<&CellsView>,
        cause: impl Fn(UnitId) -> Cause,
    ) -> Vec<Correction> {
        if before.is_empty() {
            return Vec::new();
        }
        let after = self.predicted(place, tick);
        let now = |unit| after.get(&unit).copied().or_else(|| view?.predict(unit, tick));
        let moved = |(unit, was): (UnitId, crate::protocol::UnitRecord)| {
            let (was, is) = (was.position, now(unit)?.position);
            Some(Correction { unit, cause: cause(unit), was, is })
        };
        before.into_iter().filter_map(moved).collect()
    }
}
