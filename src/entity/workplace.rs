//! Owns what a thread that runs entities is at: which entity, how far it got, and a
//! count that moves with each piece of work. Written by that thread alone, read by
//! whoever watches it and, when the process aborts, by the signal's handler: so there
//! is no lock and no allocation. Never decides anything, and nothing that an entity
//! does depends on it.
//!
//! A piece of work is a step, a record, or whatever else a table or a loader has an
//! entity do: the count moves when one begins and when it ends, so a long load moves it
//! all the time, and one that hangs never.
//!
//! Invariant: the count is odd only while the rest is being written; who reads the same
//! even count before and after has read one whole.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::base::{EntityKey, SectorId, Tick};

/// An entity as numbers: its kind and scale, then what it is numbered by.
pub type Words = [u64; 4];

/// No entity.
const NONE: u64 = 0;
/// Of an entity that is placed at a sector, and of one of which there is one a sector.
const SECTOR: u64 = 1;
const BATTLE: u64 = 2;
/// Kinds that are numbered.
const LEDGER: u64 = 3;
const MARKET: u64 = 4;
const ALLIANCE: u64 = 5;
const BOARD: u64 = 6;

/// What a thread works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub entity: EntityKey,
    /// As far as it had got, or the tick that it was stepping to.
    pub tick: Tick,
}

/// Where a thread says what it is at.
#[derive(Debug, Default)]
pub struct Workplace {
    count: AtomicU64,
    tick: AtomicU64,
    words: [AtomicU64; 4],
}

thread_local! {
    /// Without a destructor, so that a signal's handler may look at it.
    static HERE: Cell<Option<&'static Workplace>> = const { Cell::new(None) };
}

/// From now on this thread says there what it is at.
pub fn settle(place: &'static Workplace) {
    HERE.set(Some(place));
}

/// Where this thread says what it is at, if it does.
pub fn here() -> Option<&'static Workplace> {
    HERE.get()
}

/// This thread works on `entity` until the value is dropped, also by a panic. There is
/// one at a time.
#[must_use]
pub fn enter(entity: EntityKey, tick: Tick) -> Entered {
    let place = here();
    if let Some(place) = place {
        place.put(words(entity), tick);
    }
    Entered(place)
}

/// The entity that this thread works on has come to that tick, or is on its way there.
pub fn reach(tick: Tick) {
    if let Some(place) = here() {
        place.count.fetch_add(2, Ordering::Relaxed);
        place.tick.store(tick.0, Ordering::Relaxed);
    }
}

/// See [`enter`].
#[derive(Debug)]
pub struct Entered(Option<&'static Workplace>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.put([NONE; 4], Tick(0));
        }
    }
}

impl Workplace {
    /// Grows with each piece of work.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// What the thread works on; `None` for nothing, and while that changes.
    pub fn work(&self) -> Option<Work> {
        let before = self.count.load(Ordering::Acquire);
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        let tick = Tick(self.tick.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let is_whole = before.is_multiple_of(2) && before == self.count.load(Ordering::Relaxed);
        let entity = entity(words).filter(|_| is_whole)?;
        Some(Work { entity, tick })
    }

    /// The same as bare numbers, for who may not do more: the thread itself, in a
    /// signal's handler.
    pub fn words(&self) -> (Words, u64) {
        let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        (words, self.tick.load(Ordering::Relaxed))
    }

    fn put(&self, words: Words, tick: Tick) {
        self.count.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        self.tick.store(tick.0, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
    }
}

/// An entity as numbers.
pub fn words(entity: EntityKey) -> Words {
    let placed = |kind: u64, sector: SectorId, n: u64| {
        [kind | u64::from(sector.scale) << 8, sector.x as u64, sector.y as u64, n]
    };
    match entity {
        EntityKey::Sector(sector) => placed(SECTOR, sector, 0),
        EntityKey::Battle { host, n } => placed(BATTLE, host, n),
        EntityKey::Ledger(n) => [LEDGER, n, 0, 0],
        EntityKey::Market(n) => [MARKET, n, 0, 0],
        EntityKey::Alliance(n) => [ALLIANCE, n, 0, 0],
        EntityKey::Board(n) => [BOARD, n, 0, 0],
    }
}

/// The entity that these numbers are of, if any.
pub fn entity([first, a, b, c]: Words) -> Option<EntityKey> {
    let (kind, scale) = (first & 0xff, u8::try_from(first >> 8).ok()?);
    let sector = SectorId { x: a as i64, y: b as i64, scale };
    Some(match kind {
        SECTOR => EntityKey::Sector(sector),
        BATTLE => EntityKey::Battle { host: sector, n: c },
        LEDGER => EntityKey::Ledger(a),
        MARKET => EntityKey::Market(a),
        ALLIANCE => EntityKey::Alliance(a),
        BOARD => EntityKey::Board(a),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_bring_an_entity_back() {
        let host = SectorId { x: -3, y: 1 << 40, scale: 4 };
        let numbered =
            [EntityKey::Ledger, EntityKey::Market, EntityKey::Alliance, EntityKey::Board];
        let placed = [EntityKey::Sector(host), EntityKey::Battle { host, n: u64::MAX }];
        for key in numbered.map(|of| of(1 << 60)).into_iter().chain(placed) {
            assert_eq!(entity(words(key)), Some(key));
        }
        assert_eq!(entity([NONE; 4]), None);
        assert_eq!(entity([99, 1, 1, 1]), None);
    }

    #[test]
    fn says_what_the_thread_is_at_and_that_it_moves() {
        let place: &'static Workplace = Box::leak(Box::default());
        settle(place);
        assert_eq!(place.work(), None);
        let before = place.count();
        let work = |tick| Some(Work { entity: EntityKey::Board(3), tick: Tick(tick) });
        {
            let _entered = enter(EntityKey::Board(3), Tick(7));
            assert_eq!(place.work(), work(7));
            let inside = place.count();
            reach(Tick(9));
            assert_eq!(place.work(), work(9));
            assert!(before < inside && inside < place.count());
        }
        assert_eq!(place.work(), None);
        let left = std::panic::catch_unwind(|| {
            let _entered = enter(EntityKey::Board(3), Tick(7));
            panic!("planted");
        });
        assert!(left.is_err() && place.work().is_none(), "also by a panic");
    }
}
