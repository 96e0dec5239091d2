//! Owns what a client's user asks of prediction. Never changes a session.

use std::sync::Arc;

use super::ClientCore;
use crate::base::{EntityKey, UnitId};
use crate::client::effect::Event;
use crate::client::predict::Correction;
use crate::protocol::UnitRecord;
use crate::view::Charts;
use crate::view::predict::Units;

impl ClientCore {
    /// Predicts what the player's orders do before the server shows it, from
    /// the next one on. Without charts nothing is predicted.
    pub fn predict_with(&mut self, charts: Arc<Charts>) {
        self.predictor.set_charts(charts);
    }

    /// The tick (100 ms) that `place` has at `now` (ms), as near as the last
    /// packet tells: what to draw. `None` while nothing is known of it. At most
    /// a second beyond the last packet: more would be a packet late, or time
    /// stands still.
    pub fn tick(&self, now: u64, place: EntityKey) -> Option<u64> {
        self.places.tick(now, place)
    }

    /// The units of `place` at `tick` with the player's orders that no packet
    /// has shown yet: as the view says, moved on to that tick, but those that
    /// such orders name as the simulation has them. Ticks before the view's are
    /// taken for the view's.
    pub fn predicted(&self, place: EntityKey, tick: u64) -> Units {
        let Some(view) = self.places.view(place) else { return Units::new() };
        let seen = view.units().filter_map(|unit| view.predict(unit.id, tick));
        let mut units: Units = seen.map(|unit| (unit.id, unit)).collect();
        units.extend(self.predictor.predicted(place, tick));
        units
    }

    /// One unit of [`predicted`](Self::predicted).
    pub fn predicted_unit(&self, place: EntityKey, unit: UnitId, tick: u64) -> Option<UnitRecord> {
        let predicted = self.predictor.predicted(place, tick).remove(&unit);
        predicted.or_else(|| self.places.view(place)?.predict(unit, tick))
    }

    /// The sequences of the orders to `place` that are predicted: those that
    /// the server has not shown, by rising.
    pub fn pending(&self, place: EntityKey) -> impl Iterator<Item = u32> {
        self.predictor.pending(place)
    }

    pub(super) fn tell_corrections(
        &mut self,
        place: EntityKey,
        tick: u64,
        corrections: Vec<Correction>,
    ) {
        if !corrections.is_empty() {
            self.tell(Event::Corrected { place, tick, corrections });
        }
    }
}
