//! Owns what surrounds the node: virtual time, chance, the store with its
//! faults, the wall clock, the judge. Everything that takes time goes through
//! its queue.

use std::sync::Arc;

use starmesh::base::Millis;
use starmesh::entity::World;
use starmesh::store::faults::Faulty;
use starmesh::store::worlds::Worlds;

use crate::gateway::{Request, ToClient};
use crate::queue::{Happening, InNode, Queue, Way};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::witness::Witness;

/// The wall clock at the start of a run.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// What surrounds the node.
pub struct Outside {
    /// Virtual ms since the start; also the steady clock.
    pub now: u64,
    pub queue: Queue,
    pub random: Random,
    pub scenario: Scenario,
    pub store: Faulty,
    pub world: Arc<World>,
    pub worlds: Worlds,
    pub witness: Witness,
    /// How far the wall clock is off.
    pub wall_off: i64,
    /// Faults have ended.
    pub calm: bool,
    last_connection: u64,
}

impl Outside {
    pub fn new(
        random: Random,
        scenario: Scenario,
        store: Faulty,
        world: Arc<World>,
        witness: Witness,
    ) -> Outside {
        let queue = Queue::default();
        Outside {
            now: 0,
            queue,
            random,
            scenario,
            store,
            worlds: Worlds::new(world.clone()),
            world,
            witness,
            wall_off: 0,
            calm: false,
            last_connection: 0,
        }
    }

    pub fn wall(&self) -> Millis {
        Millis((EPOCH_MS + self.now).saturating_add_signed(self.wall_off))
    }

    pub fn steady(&self) -> Millis {
        Millis(self.now)
    }

    /// The wall clock is set, by up to a second or up to a day.
    pub fn jump(&mut self) {
        let far = match self.random.below(3) {
            0 => 1000,
            1 => 3_600_000,
            _ => 86_400_000,
        };
        let by = i64::try_from(self.random.below(2 * far)).unwrap_or(0);
        self.wall_off += by - i64::try_from(far).unwrap_or(0);
    }

    /// A connection number, never used again.
    pub fn connection(&mut self) -> u64 {
        self.last_connection += 1;
        self.last_connection
    }

    pub fn push_in(&mut self, delay: u64, happening: Happening) {
        self.queue.push(self.now + delay, happening);
    }

    /// How long a message between threads takes: mostly nothing, at times an
    /// arbiter is busy.
    fn hop(&mut self) -> u64 {
        if !self.calm && self.random.chance(20) {
            self.random.below(self.scenario.stall_ms_max)
        } else {
            self.random.below(3)
        }
    }

    /// To a part of the process, in order with what was sent that way.
    pub fn send_in_node(&mut self, process: u64, way: Way, message: InNode) {
        let at = self.now + self.hop();
        self.queue.push_behind(way, at, Happening::InNode(process, message));
    }

    /// To a part of the process, whenever it gets there.
    pub fn later_in_node(&mut self, process: u64, delay: u64, message: InNode) {
        self.push_in(delay, Happening::InNode(process, message));
    }

    /// From a client to the node: in a storm it may be lost, come twice, or
    /// overtake another; commands in unruly runs only. A connection itself begins
    /// once and ends once.
    pub fn send_request(&mut self, connection: u64, request: &Request) {
        let storm = !self.calm;
        let begins = matches!(request, Request::Connect { .. } | Request::Close);
        // What ends a view never comes behind what begins the next one.
        let ends_view = matches!(request, Request::Unobserve(_));
        let frames = begins || ends_view;
        // As on every connection, but for one in some runs whose client, or
        // something before the gateway, does not keep the order.
        let is_ordered = matches!(request, Request::Command { .. }) && !self.scenario.unruly;
        let frames = frames || is_ordered;
        let in_order = frames || matches!(request, Request::Observe(_));
        let copies = match self.random.below(1000) {
            0..15 if storm && !frames => 0,
            15..45 if storm && !frames => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if storm && self.random.chance(50) {
                self.random.below(2000)
            } else {
                self.random.within(1..=20)
            };
            let request = request.clone();
            let happening = Happening::Request { connection, request };
            if in_order {
                let way = Way::FromConnection(connection);
                self.queue.push_behind(way, self.now + delay, happening);
            } else {
                self.push_in(delay, happening);
            }
        }
    }

    /// From the node to a client, in order.
    pub fn send_to_client(&mut self, client: usize, connection: u64, message: ToClient) {
        let delay = if !self.calm && self.random.chance(30) {
            self.random.below(1500)
        } else {
            self.random.within(1..=20)
        };
        let happening = Happening::ToClient { client, connection, message };
        self.queue.push_behind(Way::ToConnection(connection), self.now + delay, happening);
    }
}
