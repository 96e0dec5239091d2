//! Owns the ways a store can fail, for the simulator: a wrapper around the
//! memory engine that refuses, forgets, delays and goes away. Never draws
//! from anything but its seed and reads no clock. Called by one thread.
//! Invariant: what it acknowledged is in the durable state that
//! [`Faulty::crash`] hands back; what it did not is there in whole or not at
//! all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{EntityKey, Millis};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

use super::memory::Memory;
use super::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

/// Free bytes while the disk is full: fewer than commands are taken with.
pub const FULL_FREE_BYTES: u64 = 1024 * 1024;

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing out of the ordinary.
    None,
    /// Not carried out, outcome unknown.
    Lost,
    /// Carried out, outcome unknown.
    Unheard,
}

/// How often what goes wrong, in thousandths of the calls, and for how long at
/// most, in ms of the store's time. All zero: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub lost: u16,
    pub unheard: u16,
    /// Of reads: refused once.
    pub read_refused: u16,
    /// Of commits: its outcome takes up to `slow_ms_max`.
    pub slow: u16,
    pub slow_ms_max: u64,
    /// Of commits: the store goes away before it, for up to `away_ms_max`.
    pub away: u16,
    pub away_ms_max: u64,
    /// Of commits: the disk is full from it on, for up to `full_ms_max`.
    pub full: u16,
    pub full_ms_max: u64,
}

/// How many faults there were, so that a run can show that it had some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub commits: u64,
    pub lost: u64,
    pub unheard: u64,
    pub reads_refused: u64,
    pub slow: u64,
    pub away: u64,
    pub full: u64,
    pub torn: u64,
}

/// A memory store with faults.
#[derive(Debug)]
pub struct Faulty {
    durable: Arc<Memory>,
    faults: Mutex<Faults>,
}

#[derive(Debug)]
struct Faults {
    rates: Rates,
    random: u64,
    /// Faults of the next commits, before any are drawn.
    planned: VecDeque<Fault>,
    now: Millis,
    /// Until when, exclusive.
    away_until: Millis,
    full_until: Millis,
    counts: Counts,
}

impl Faulty {
    /// `durable` behind faults drawn from `seed`.
    pub fn new(durable: Arc<Memory>, seed: u64, rates: Rates) -> Faulty {
        let now = durable.time().unwrap_or_default();
        let faults = Faults {
            rates,
            random: seed,
            planned: VecDeque::new(),
            now,
            away_until: Millis(0),
            full_until: Millis(0),
            counts: Counts::default(),
        };
        Faulty { durable, faults: Mutex::new(faults) }
    }

    /// Moves the store's clock; being away or full ends by it.
    pub fn set_time(&self, now: Millis) {
        self.durable.set_time(now);
        self.faults().now = now;
    }

    /// Sets what the store says its time is, apart from
    /// [`set_time`](Self::set_time), which ends faults.
    pub fn set_clock(&self, time: Millis) {
        self.durable.set_time(time);
    }

    /// Plans what becomes of the next commit not planned for yet.
    pub fn plan(&self, fault: Fault) {
        self.faults().planned.push_back(fault);
    }

    /// The store is away until its time is `until`.
    pub fn go_away(&self, until: Millis) {
        let mut faults = self.faults();
        faults.away_until = until;
        faults.counts.away += 1;
    }

    /// The disk is full until the store's time is `until`.
    pub fn fill_up(&self, until: Millis) {
        let mut faults = self.faults();
        faults.full_until = until;
        faults.counts.full += 1;
    }

    /// Ends all faults, drawn, planned and present.
    pub fn heal(&self) {
        let mut faults = self.faults();
        faults.rates = Rates::default();
        faults.planned.clear();
        (faults.away_until, faults.full_until) = (Millis(0), Millis(0));
    }

    /// How many ms the outcome of the next commit takes; the caller calls
    /// [`commit`](Store::commit), or [`tear`](Self::tear), that much later.
    pub fn draw_delay_ms(&self) -> u64 {
        let mut faults = self.faults();
        let slow = faults.rates.slow;
        if !faults.happens(slow) {
            return 0;
        }
        faults.counts.slow += 1;
        let longest = faults.rates.slow_ms_max;
        faults.draw(longest)
    }

    /// The process dies with `commit` under way: it is carried out or not, as
    /// drawn, and nobody hears of it.
    pub fn tear(&self, commit: &Commit) {
        let mut faults = self.faults();
        faults.counts.torn += 1;
        let kept = faults.reachable().is_ok() && faults.draw(1) == 0;
        drop(faults);
        if kept {
            // Refused or not, the answer dies with the process.
            let _ = self.durable.commit(commit);
        }
    }

    /// What is left when everything but the disk is gone.
    pub fn crash(&self) -> Arc<Memory> {
        Arc::clone(&self.durable)
    }

    /// How many faults there were.
    pub fn counts(&self) -> Counts {
        self.faults().counts
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        // Plain numbers; a panic elsewhere cannot have left half of one.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Memory) -> Result<T, ReadError>) -> Result<T, ReadError> {
        self.faults().admit_read()?;
        read(&self.durable)
    }
}

impl Store for Faulty {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        let fault = self.faults().admit_commit().map_err(CommitError::Unknown)?;
        if fault == Fault::Lost {
            return Err(CommitError::Unknown("lost on the way".into()));
        }
        let answer = self.durable.commit(commit);
        if fault == Fault::Unheard {
            return Err(CommitError::Unknown("the answer was lost on the way".into()));
        }
        answer
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        self.read(|store| store.get(key))
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        self.read(|store| store.scan(prefix, after, limit))
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.read(|store| store.changes(since, limit))
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.read(|store| store.load(entity, from))
    }

    fn time(&self) -> Result<Millis, ReadError> {
        self.read(Store::time)
    }

    fn free_bytes(&self) -> Option<u64> {
        if self.faults().is_full() { Some(FULL_FREE_BYTES) } else { self.durable.free_bytes() }
    }
}

impl Faults {
    fn is_away(&self) -> bool {
        self.now < self.away_until
    }

    fn is_full(&self) -> bool {
        self.now < self.full_until
    }

    /// Whether a write reaches the disk at all.
    fn reachable(&self) -> Result<(), String> {
        if self.is_away() {
            Err("the store is away".into())
        } else if self.is_full() {
            Err("the disk is full".into())
        } else {
            Ok(())
        }
    }

    /// What becomes of the next commit, or why it cannot reach the disk.
    fn admit_commit(&mut self) -> Result<Fault, String> {
        self.counts.commits += 1;
        self.reachable()?;
        if let Some(fault) = self.planned.pop_front() {
            self.count(fault);
            return Ok(fault);
        }
        self.draw_window();
        self.reachable()?;
        let fault = self.draw_fault();
        self.count(fault);
        Ok(fault)
    }

    fn draw_window(&mut self) {
        if self.happens(self.rates.away) {
            self.away_until = Millis(self.now.0.saturating_add(self.draw(self.rates.away_ms_max)));
            self.counts.away += 1;
        }
        if self.happens(self.rates.full) {
            self.full_until = Millis(self.now.0.saturating_add(self.draw(self.rates.full_ms_max)));
            self.counts.full += 1;
        }
    }

    fn draw_fault(&mut self) -> Fault {
        if self.happens(self.rates.lost) {
            Fault::Lost
        } else if self.happens(self.rates.unheard) {
            Fault::Unheard
        } else {
            Fault::None
        }
    }

    fn count(&mut self, fault: Fault) {
        match fault {
            Fault::None => {}
            Fault::Lost => self.counts.lost += 1,
            Fault::Unheard => self.counts.unheard += 1,
        }
    }

    fn admit_read(&mut self) -> Result<(), ReadError> {
        if self.is_away() {
            return Err(ReadError::Away("the store is away".into()));
        }
        if self.happens(self.rates.read_refused) {
            self.counts.reads_refused += 1;
            return Err(ReadError::Away("refused".into()));
        }
        Ok(())
    }

    /// True in `thousandths` of 1,000 draws.
    fn happens(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.next_random() % 1000 < u64::from(thousandths)
    }

    /// A number up to `max`, inclusive.
    fn draw(&mut self, max: u64) -> u64 {
        let random = self.next_random();
        max.checked_add(1).map_or(random, |bound| random % bound)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeId, Tick};

    fn commit(number: u64) -> Commit {
        Commit {
            node: NodeId(1),
            incarnation: Incarnation(1),
            number,
            nonce: 7,
            tick: Tick(number),
            audit_root: [0; 32],
            groups: vec![],
            is_last: false,
        }
    }

    fn faulty(rates: Rates) -> Faulty {
        Faulty::new(Arc::new(Memory::new()), 42, rates)
    }

    #[test]
    fn lost_is_not_carried_out_and_unheard_is() {
        let store = faulty(Rates::default());
        store.plan(Fault::Lost);
        store.plan(Fault::Unheard);
        assert!(matches!(store.commit(&commit(0)), Err(CommitError::Unknown(_))));
        assert_eq!(store.crash().scan(b"row/", None, 9).unwrap().len(), 0);
        assert!(matches!(store.commit(&commit(0)), Err(CommitError::Unknown(_))));
        assert_eq!(store.crash().scan(b"row/", None, 9).unwrap().len(), 1);
        assert_eq!(store.commit(&commit(0)).unwrap().version, 1);
    }

    #[test]
    fn comes_back_when_its_time_is_up() {
        let store = faulty(Rates::default());
        store.go_away(Millis(50));
        assert!(matches!(store.commit(&commit(0)), Err(CommitError::Unknown(_))));
        assert!(matches!(store.get(b"x"), Err(ReadError::Away(_))));
        store.set_time(Millis(50));
        store.fill_up(Millis(70));
        assert_eq!(store.free_bytes(), Some(FULL_FREE_BYTES));
        assert_eq!(store.get(b"x"), Ok(None));
        assert!(matches!(store.commit(&commit(0)), Err(CommitError::Unknown(_))));
        store.set_time(Millis(70));
        assert!(store.commit(&commit(0)).is_ok());
        assert_eq!(store.free_bytes(), None);
    }

    #[test]
    fn a_torn_commit_is_there_in_some_runs_and_absent_in_others() {
        let kept = (0..64).filter(|seed| {
            let store = Faulty::new(Arc::new(Memory::new()), *seed, Rates::default());
            store.tear(&commit(0));
            !store.crash().scan(b"row/", None, 1).unwrap().is_empty()
        });
        assert!((1..64).contains(&kept.count()));
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let run = || {
            let rates =
                Rates { lost: 200, unheard: 200, away: 50, away_ms_max: 9, ..<_>::default() };
            let store = faulty(rates);
            for n in 0..200 {
                store.set_time(Millis(n));
                let _ = store.commit(&commit(0));
            }
            store.counts()
        };
        assert_eq!(run(), run());
        assert!(run().lost > 0 && run().unheard > 0 && run().away > 0);
    }
}
