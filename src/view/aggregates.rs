//! Owns what observers of large sectors are told: how much goes on there, not
//! what. Never knows where sums come from (`view::rollup`) or who may ask: they
//! are public. Called by the fan-out. Invariants: an observer is told at once
//! what is known, and then what changed, or the same after ten seconds; a
//! message is made once for all observers of a place with one codec.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fanout::{Packet, Shown};
use super::rollup::SectorSnapshot;
use crate::base::fixed::rounded;
use crate::base::{Millis, SectorId, Tick};
use crate::protocol::server::{Aggregate, Sum};
use crate::protocol::{CodecKind, ServerFrame, ServerMessage};
use crate::sim::travel::WARP_SCALE;

/// What did not change is told again after ten seconds.
const BEAT_TICKS: u64 = 100;

/// Whether a sector is told by sums: those that have units of their own are
/// told by cells.
pub fn is_aggregate(sector: SectorId) -> bool {
    sector.scale > 0 && sector.scale != WARP_SCALE
}

/// A minute: when exactly something changed would say who came and went.
const TOLD_MS: u64 = 60_000;

fn told(at: Millis) -> u64 {
    at.0 - at.0 % TOLD_MS
}

/// What is known of a sector and its children, as its observers are told.
pub fn aggregate(
    (of, as_of): (SectorSnapshot, Millis),
    children: impl IntoIterator<Item = (SectorId, SectorSnapshot)>,
) -> Aggregate {
    let children = children.into_iter().map(|(child, of)| sum(child, of));
    let SectorSnapshot { unit_count, resource_density, activity_level, last_update } = of;
    Aggregate {
        unit_count: round(unit_count),
        resource_density,
        activity_level: round_level(activity_level),
        last_update: told(last_update),
        as_of: as_of.0,
        children: children.collect(),
    }
}

fn sum(sector: SectorId, of: SectorSnapshot) -> Sum {
    Sum {
        sector: sector.into(),
        unit_count: round(of.unit_count),
        resource_density: of.resource_density,
        activity_level: round_level(of.activity_level),
        last_update: told(of.last_update),
    }
}

fn round(count: u32) -> u32 {
    u32::try_from(rounded(count.into())).unwrap_or(u32::MAX)
}

/// Commands are as few as units are many, so they too have one digit.
pub fn round_level(level: u8) -> u8 {
    u8::try_from(rounded(level.into())).unwrap_or(u8::MAX)
}

/// All but when it was summed up and last changed.
fn without_times(mut known: Aggregate) -> Aggregate {
    (known.as_of, known.last_update) = (0, 0);
    known.children.iter_mut().for_each(|child| child.last_update = 0);
    known
}

#[derive(Debug)]
struct Place {
    handle: u32,
    observers: BTreeMap<u64, CodecKind>,
    /// Observers that are to be told at once.
    asked: BTreeSet<u64>,
    /// What all others were told, and when.
    told: Option<(Aggregate, Tick)>,
}

/// All large sectors that are observed.
#[derive(Debug, Default)]
pub struct Aggregates {
    places: BTreeMap<SectorId, Place>,
}

impl Aggregates {
    /// How many are observed.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Those that are observed.
    pub fn sectors(&self) -> Vec<SectorId> {
        self.places.keys().copied().collect()
    }

    /// Whether `sector` has an observer.
    pub fn has(&self, sector: SectorId) -> bool {
        self.places.contains_key(&sector)
    }

    /// `observer` is told of `sector` from the next [`show`](Self::show) on;
    /// the place is called `handle` if it has no name yet.
    pub fn observe(&mut self, sector: SectorId, observer: u64, codec: CodecKind, handle: u32) {
        let place = self.places.entry(sector).or_insert_with(|| Place {
            handle,
            observers: BTreeMap::new(),
            asked: BTreeSet::new(),
            told: None,
        });
        place.observers.insert(observer, codec);
        place.asked.insert(observer);
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&mut self, sector: SectorId, observer: u64) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        place.observers.remove(&observer);
        place.asked.remove(&observer);
        if place.observers.is_empty() {
            self.places.remove(&sector);
        }
    }

    /// What is known of `sector` at `tick`: for those that asked, and when it
    /// `is_due`, once a second, for all if it is news.
    pub fn show(
        &mut self,
        sector: SectorId,
        known: &Aggregate,
        tick: Tick,
        is_due: bool,
        shown: &mut Vec<(u64, Shown)>,
    ) {
        let Some(place) = self.places.get_mut(&sector) else { return };
        let is_news = place.told.as_ref().is_none_or(|(told, at)| {
            let is_other = without_times(told.clone()) != without_times(known.clone());
            is_other || tick.since(*at) >= BEAT_TICKS
        });
        let asked = std::mem::take(&mut place.asked);
        let all = is_due && is_news;
        if all {
            place.told = Some((known.clone(), tick));
        }
        let mut made: BTreeMap<&str, Arc<[u8]>> = BTreeMap::new();
        for (observer, codec) in &place.observers {
            if !all && !asked.contains(observer) {
                continue;
            }
            let bytes = made.entry(codec.name()).or_insert_with(|| {
                let message = ServerMessage::Aggregate(known.clone());
                let mut bytes = Vec::new();
                let frame = ServerFrame::new(place.handle, tick.0, message);
                codec.codec().encode_server(&frame, &mut bytes);
                bytes.into()
            });
            let (handle, bytes) = (place.handle, bytes.clone());
            // Each says everything.
            let packet = Packet { sector, handle, tick, keyframe: true, bytes };
            shown.push((*observer, Shown::Packet(packet)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codec::Received;

    const PLACE: SectorId = SectorId { x: 3, y: 2, scale: 7 };

    fn known(units: u32, as_of: u64) -> Aggregate {
        // Each time something else has just changed.
        let last_update = Millis(as_of * 70_000);
        let of = SectorSnapshot { unit_count: units, last_update, ..SectorSnapshot::default() };
        aggregate((of, Millis(as_of)), PLACE.children().map(|child| (child, of)))
    }

    /// To whom, and how many units.
    fn told(
        aggregates: &mut Aggregates,
        known: &Aggregate,
        tick: u64,
        is_due: bool,
    ) -> Vec<(u64, u32)> {
        let mut shown = Vec::new();
        aggregates.show(PLACE, known, Tick(tick), is_due, &mut shown);
        let read = |(observer, shown): (u64, Shown)| {
            let Shown::Packet(packet) = shown else { panic!("gone") };
            let codec = if observer < 10 { CodecKind::Postcard } else { CodecKind::Json };
            let received = codec.codec().receive(&packet.bytes).unwrap();
            let Received::Message(frame) = received else { panic!("a packet") };
            let ServerMessage::Aggregate(aggregate) = frame.message else { panic!("no sums") };
            assert_eq!(aggregate.children.len(), 4);
            assert!(aggregate.children.iter().all(|one| one.unit_count == aggregate.unit_count));
            assert_eq!((packet.handle, packet.keyframe), (5, true));
            (observer, aggregate.unit_count)
        };
        shown.into_iter().map(read).collect()
    }

    #[test]
    fn an_observer_is_told_at_once_then_news_and_a_beat_rounded() {
        let mut aggregates = Aggregates::default();
        aggregates.observe(PLACE, 1, CodecKind::Postcard, 5);
        assert_eq!(told(&mut aggregates, &known(1_987, 1), 10, false), [(1, 1_000)]);
        assert_eq!(told(&mut aggregates, &known(1_987, 2), 11, true), [(1, 1_000)]);
        // Neither a later sum nor what rounding hides is news.
        assert_eq!(told(&mut aggregates, &known(1_001, 3), 20, true), []);
        aggregates.observe(PLACE, 11, CodecKind::Json, 6);
        assert_eq!(told(&mut aggregates, &known(2_345, 4), 24, false), [(11, 2_000)]);
        assert_eq!(told(&mut aggregates, &known(2_345, 4), 25, false), []);
        let both = [(1, 2_000), (11, 2_000)];
        assert_eq!(told(&mut aggregates, &known(2_345, 5), 30, true), both);
        assert_eq!(told(&mut aggregates, &known(2_345, 6), 129, true), []);
        assert_eq!(told(&mut aggregates, &known(2_345, 7), 130, true), both);
        aggregates.unobserve(PLACE, 1);
        assert_eq!(told(&mut aggregates, &known(9, 8), 140, true), [(11, 9)]);
        aggregates.unobserve(PLACE, 11);
        assert!(!aggregates.has(PLACE) && aggregates.sectors().is_empty());
    }
}
