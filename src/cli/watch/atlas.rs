//! Owns the maps that were fetched, and which to fetch next. Never fetches.
//! Called once per frame. Invariant: at most [`FETCHES_MAX`] are under way and
//! [`TILES_MAX`] are kept; while the server limits, none is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::camera::{Extent, Spot, Window};
use crate::base::SectorId;
use crate::client::CallError;
use crate::protocol::http::Map;

/// Maps asked for at the same time.
pub const FETCHES_MAX: usize = 4;
/// Maps kept; those that are not on the screen go first.
const TILES_MAX: usize = 4_096;
/// A map that could not be had is asked for again after so long.
const AGAIN_MS: u64 = 5_000;
/// From this scale of the screen on stars are too many to be drawn one by one.
pub const CROWDED_SCALE: u8 = 10;

#[derive(Debug, Default)]
pub struct Atlas {
    tiles: BTreeMap<SectorId, Map>,
    under_way: BTreeSet<SectorId>,
    /// What failed, and when it may be tried again.
    failed: BTreeMap<SectorId, u64>,
    /// Nothing is asked for before: the server said so.
    limited_until: u64,
}

/// Scales of the maps that a screen of this scale is drawn from, coarse first.
pub fn levels(scale: u8) -> Vec<u8> {
    match scale {
        0..CROWDED_SCALE => vec![scale.saturating_sub(1).max(3)],
        CROWDED_SCALE..14 => vec![scale - 2, scale - 3],
        _ => vec![scale - 2, scale - 4],
    }
}

/// How many features are asked for with a map of a screen of this scale.
pub fn features(scale: u8) -> u16 {
    if scale < CROWDED_SCALE { 500 } else { 1 }
}

impl Atlas {
    pub fn tile(&self, sector: SectorId) -> Option<&Map> {
        self.tiles.get(&sector)
    }

    /// The finest map of the place that a screen of this scale is drawn from.
    pub fn finest(&self, spot: Spot, scale: u8) -> Option<&Map> {
        levels(scale).into_iter().rev().find_map(|level| self.tile(spot.sector(level)))
    }

    /// The maps on the screen, as far as they are here.
    pub fn shown(&self, window: &Window, extent: Extent) -> Vec<&Map> {
        wanted(window, extent).into_iter().filter_map(|sector| self.tile(sector)).collect()
    }

    /// How many maps of the screen are not here.
    pub fn missing(&self, window: &Window, extent: Extent) -> usize {
        wanted(window, extent).iter().filter(|sector| !self.tiles.contains_key(sector)).count()
    }

    /// The maps to ask for now; they count as under way.
    pub fn ask(&mut self, now: u64, window: &Window, extent: Extent) -> Vec<SectorId> {
        if now < self.limited_until {
            return Vec::new();
        }
        let room = FETCHES_MAX.saturating_sub(self.under_way.len());
        let is_due = |sector: &SectorId| {
            let waits = self.failed.get(sector).is_some_and(|until| now < *until);
            !waits && !self.tiles.contains_key(sector) && !self.under_way.contains(sector)
        };
        let due = wanted(window, extent).into_iter().filter(is_due);
        let asked: Vec<SectorId> = due.take(room).collect();
        self.under_way.extend(&asked);
        asked
    }

    /// Takes an answer; gives what is to be told of it.
    pub fn admit(
        &mut self,
        now: u64,
        sector: SectorId,
        answer: Result<Map, CallError>,
        window: &Window,
        extent: Extent,
    ) -> Option<String> {
        self.under_way.remove(&sector);
        let error = match answer {
            Ok(map) => {
                self.failed.remove(&sector);
                self.make_room(window, extent);
                self.tiles.insert(sector, map);
                return None;
            }
            Err(error) => error,
        };
        match &error {
            CallError::Limited { after_seconds } => {
                let until = now.saturating_add(after_seconds.saturating_mul(1_000));
                self.limited_until = self.limited_until.max(until);
            }
            _ => drop(self.failed.insert(sector, now.saturating_add(AGAIN_MS))),
        }
        Some(format!("map {sector}: {error}"))
    }

    fn make_room(&mut self, window: &Window, extent: Extent) {
        if self.tiles.len() < TILES_MAX {
            return;
        }
        let shown: BTreeSet<SectorId> = wanted(window, extent).into_iter().collect();
        self.tiles.retain(|sector, _| shown.contains(sector));
        self.failed.clear();
    }
}

/// The maps of a screen: coarse ones first, and of those the nearest to its
/// middle.
fn wanted(window: &Window, extent: Extent) -> Vec<SectorId> {
    let levels = levels(window.camera.scale).into_iter();
    let levels = levels.map(|level| window.sectors(level, extent));
    levels.flat_map(|sectors| sectors.by_distance(window.camera.centre)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::camera::Camera;
    use crate::cli::watch::scene::samples::{GALAXY, map};

    fn window() -> Window {
        Camera::whole(GALAXY).window(80, 22)
    }

    #[test]
    fn asks_for_few_at_a_time_and_for_each_once() {
        let mut atlas = Atlas::default();
        let first = atlas.ask(0, &window(), GALAXY);
        assert_eq!(first.len(), FETCHES_MAX);
        assert_eq!(atlas.ask(0, &window(), GALAXY), []);
        assert_eq!(atlas.admit(0, first[0], Ok(map(first[0])), &window(), GALAXY), None);
        let second = atlas.ask(0, &window(), GALAXY);
        assert!(second.len() == 1 && !first.contains(&second[0]));
    }

    #[test]
    fn has_all_of_the_screen_in_the_end() {
        let mut atlas = Atlas::default();
        loop {
            let asked = atlas.ask(0, &window(), GALAXY);
            if asked.is_empty() {
                break;
            }
            for sector in asked {
                atlas.admit(0, sector, Ok(map(sector)), &window(), GALAXY);
            }
        }
        assert_eq!(atlas.missing(&window(), GALAXY), 0);
        // 3 x 3 of scale 12, 10 x 10 of scale 10.
        assert_eq!(atlas.shown(&window(), GALAXY).len(), 109);
    }

    #[test]
    fn waits_as_long_as_the_server_says() {
        let mut atlas = Atlas::default();
        let asked = atlas.ask(0, &window(), GALAXY);
        let limited = Err(CallError::Limited { after_seconds: 7 });
        assert!(atlas.admit(0, asked[0], limited, &window(), GALAXY).is_some());
        assert_eq!(atlas.ask(6_999, &window(), GALAXY), []);
        assert_eq!(atlas.ask(7_000, &window(), GALAXY), [asked[0]]);
    }

    #[test]
    fn asks_again_later_for_what_could_not_be_had() {
        let mut atlas = Atlas::default();
        let asked = atlas.ask(0, &window(), GALAXY);
        let gone = Err(CallError::NoAnswer("gone".to_owned()));
        atlas.admit(0, asked[0], gone, &window(), GALAXY);
        assert!(!atlas.ask(10, &window(), GALAXY).contains(&asked[0]));
        for sector in &asked[1..] {
            atlas.admit(20, *sector, Ok(map(*sector)), &window(), GALAXY);
        }
        assert!(atlas.ask(AGAIN_MS, &window(), GALAXY).contains(&asked[0]));
    }
}
