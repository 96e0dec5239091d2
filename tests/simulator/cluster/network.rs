//! Owns what is under way between nodes: each message late, lost or doubled by
//! chance, or held up by a cut. Links refuse nothing here: a core must bear what
//! any link may do.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{Incarnation, NodeId};
use starmesh::cluster::core::message::NodeMessage;
use starmesh::cluster::core::node::Event;

use super::datagrams::Datagrams;
use crate::random::Random;

/// A run has no more than so many.
const MESSAGES_MAX: usize = 200_000;
/// A message is passed on at most so often.
const HOPS_MAX: u8 = 4;

/// What happens to messages, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    /// Milliseconds that one may be late.
    pub late_ms: u64,
    /// Milliseconds that an answer of the store may take.
    pub slow_ms: u64,
}

/// What arrives at a node: at one process of it alone, if that is named.
pub type Arrival = (NodeId, Option<Incarnation>, Event);

pub struct Network {
    random: Random,
    pub weather: Weather,
    /// What every message takes at least.
    pub delay_ms: u64,
    /// Pairs that do not hear each other.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    pub datagrams: Datagrams,
    under_way: BTreeMap<(u64, u64), Arrival>,
    count: u64,
    /// All that was ever sent.
    pub log: Vec<(u64, NodeId, NodeId, NodeMessage)>,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network {
            random: Random::new(seed),
            weather: Weather { late_ms: 20, ..Weather::default() },
            delay_ms: 0,
            cuts: BTreeSet::new(),
            datagrams: Datagrams::default(),
            under_way: BTreeMap::new(),
            count: 0,
            log: Vec::new(),
        }
    }

    pub fn send(
        &mut self,
        now: u64,
        (from, incarnation): (NodeId, Incarnation),
        to: NodeId,
        message: NodeMessage,
    ) {
        assert!(message.hops <= HOPS_MAX, "24: passed on and on: {message:?}");
        self.log.push((now, from, to, message.clone()));
        assert!(self.log.len() < MESSAGES_MAX, "messages breed: {:?}", self.log.last());
        for at in self.fates(now, from, to) {
            let message = message.clone();
            let event = Event::FromNode { node: from, incarnation, message };
            self.put(at, (to, None, event));
        }
    }

    /// When something arrives that is sent now: once, twice or not at all.
    pub fn fates(&mut self, now: u64, from: NodeId, to: NodeId) -> Vec<u64> {
        if self.is_cut(from, to) || self.random.chance(self.weather.lost) {
            return Vec::new();
        }
        let copies = 1 + u64::from(self.random.chance(self.weather.doubled));
        let late_ms = self.weather.late_ms.max(1);
        (0..copies).map(|_| now + 1 + self.delay_ms + self.random.below(late_ms)).collect()
    }

    pub fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.cuts.contains(&(a, b)) || self.cuts.contains(&(b, a))
    }

    /// An answer of the store to a process: it comes at once, if it is given back.
    pub fn answer(&mut self, now: u64, to: (NodeId, Incarnation), event: Event) -> Option<Event> {
        let slow_ms = self.weather.slow_ms;
        if slow_ms == 0 {
            return Some(event);
        }
        let at = now + 1 + self.random.below(slow_ms);
        self.put(at, (to.0, Some(to.1), event));
        None
    }

    pub fn put(&mut self, at: u64, arrival: Arrival) {
        self.count += 1;
        self.under_way.insert((at, self.count), arrival);
    }

    /// What arrives by now.
    pub fn due(&mut self, now: u64) -> Vec<Arrival> {
        let later = self.under_way.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut self.under_way, later);
        due.into_values().collect()
    }
}
