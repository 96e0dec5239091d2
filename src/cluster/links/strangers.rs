//! Owns who is at the door: connections that have not said hello yet, how many
//! of them may be, and what became of those that were turned away. Never does
//! I/O. Invariant: never more at a time than the limits say, in all and from
//! one address; the list of refusals stays short.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::end::{End, Reason};
use super::limits::Limits;
use super::status::{Refused, StrangerStatus};
use crate::base::NodeId;

/// Refusals that are remembered.
const REMEMBERED: usize = 32;
/// Refusals that are logged per second; more are counted.
const LOGGED: u32 = 5;

#[derive(Debug)]
pub(super) struct Strangers {
    max: usize,
    max_per_address: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: usize,
    per_address: HashMap<IpAddr, usize>,
    crowded: u64,
    refused: u64,
    last: VecDeque<Refused>,
    logged: u32,
    silent: u64,
    second: Option<Instant>,
}

/// A place at the door; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Arc<Strangers>,
    address: IpAddr,
}

/// What to do with a first packet.
#[derive(Debug)]
pub(super) enum Entry {
    Come(Place),
    /// There are many: only if it proves its address.
    Prove,
    /// There are too many.
    Crowded,
}

impl Strangers {
    pub fn new(limits: &Limits) -> Strangers {
        Strangers {
            max: limits.strangers_max,
            max_per_address: limits.strangers_per_address,
            state: Mutex::default(),
        }
    }

    /// A place for whoever says to be at this address. The limits per address
    /// count only where addresses are proved, so that nobody can use up a
    /// member's places in its name.
    pub fn enter(self: &Arc<Self>, from: SocketAddr, is_proved: bool) -> Entry {
        let address = from.ip().to_canonical();
        let mut state = self.lock();
        let here = state.per_address.get(&address).copied().unwrap_or(0);
        if !is_proved && (2 * state.now >= self.max || 2 * here >= self.max_per_address) {
            return Entry::Prove;
        }
        if state.now >= self.max || here >= self.max_per_address {
            state.crowded += 1;
            return Entry::Crowded;
        }
        state.now += 1;
        *state.per_address.entry(address).or_default() += 1;
        Entry::Come(Place { strangers: self.clone(), address })
    }

    /// One was turned away. It is logged, unless very many are.
    pub fn handle_refused(&self, from: SocketAddr, node: Option<NodeId>, why: End) {
        let mut state = self.lock();
        state.refused += 1;
        let silent = state.may_log(Instant::now());
        if let Some(silent) = silent.filter(|_| why.reason != Reason::Duplicate) {
            let node = node.map(|node| node.0);
            tracing::warn!(%from, node, reason = ?why.reason, silent, "turned away: {}", why.detail);
        }
        if state.last.len() == REMEMBERED {
            state.last.pop_front();
        }
        state.last.push_back(Refused { from, at: SystemTime::now(), node, why });
    }

    pub fn status(&self) -> StrangerStatus {
        let state = self.lock();
        StrangerStatus {
            now: state.now,
            crowded: state.crowded,
            refused: state.refused,
            last: state.last.iter().cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there may be a line in the log, and how many there were not before.
    fn may_log(&mut self, now: Instant) -> Option<u64> {
        let is_new = self.second.is_none_or(|second| now - second >= Duration::from_secs(1));
        if is_new {
            (self.second, self.logged) = (Some(now), 0);
        }
        self.logged += 1;
        if self.logged > LOGGED {
            self.silent += 1;
            return None;
        }
        Some(std::mem::take(&mut self.silent))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.strangers.lock();
        state.now -= 1;
        if let Some(count) = state.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.per_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers(max: usize, max_per_address: usize) -> Arc<Strangers> {
        let limits = Limits {
            strangers_max: max,
            strangers_per_address: max_per_address,
            ..Limits::default()
        };
        Arc::new(Strangers::new(&limits))
    }

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 7_000))
    }

    #[test]
    fn no_more_come_in_than_there_are_places_and_places_come_back() {
        let strangers = strangers(8, 4);
        let mut places: Vec<Entry> = (0..4).map(|_| strangers.enter(from(1), true)).collect();
        assert!(places.iter().all(|entry| matches!(entry, Entry::Come(_))));
        assert!(matches!(strangers.enter(from(1), true), Entry::Crowded));
        places.extend((2..6).map(|last| strangers.enter(from(last), true)));
        assert!(matches!(strangers.enter(from(9), true), Entry::Crowded));
        assert_eq!(strangers.status().now, 8);
        drop(places);
        assert_eq!(strangers.status().now, 0);
        assert!(strangers.lock().per_address.is_empty());
    }

    #[test]
    fn who_has_not_proved_its_address_takes_half_the_places_at_most() {
        let strangers = strangers(8, 4);
        let _two: Vec<Entry> = (0..2).map(|_| strangers.enter(from(1), false)).collect();
        assert!(matches!(strangers.enter(from(1), false), Entry::Prove));
        let _more: Vec<Entry> = (2..4).map(|last| strangers.enter(from(last), false)).collect();
        assert!(matches!(strangers.enter(from(9), false), Entry::Prove));
        assert!(matches!(strangers.enter(from(9), true), Entry::Come(_)));
    }

    #[test]
    fn the_newest_refusals_are_remembered_and_no_more() {
        let strangers = strangers(8, 4);
        for last in 0..100 {
            strangers.handle_refused(from(last), None, End::us(Reason::Malformed, "no"));
        }
        let status = strangers.status();
        assert_eq!((status.refused, status.last.len()), (100, REMEMBERED));
        assert_eq!(status.last[REMEMBERED - 1].from, from(99));
    }
}
