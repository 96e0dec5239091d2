//! Owns what a relay's tasks share, and the handle that changes it while it runs.
//! Invariant: when [`Control::cut`] has returned, no datagram that was not being
//! sent already passes any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::counters::{Counters, Counting, Ways};
use super::impair::{Impairment, Line, Way};
use super::{Config, Limits};

/// A relay's settings, clock and counters.
#[derive(Debug)]
pub(super) struct Shared {
    pub target: SocketAddr,
    pub limits: Limits,
    pub counting: Counting,
    seed: u64,
    began: Instant,
    up: watch::Sender<Impairment>,
    down: watch::Sender<Impairment>,
}

impl Shared {
    pub fn new(config: &Config) -> Shared {
        Shared {
            target: config.target,
            limits: config.limits,
            counting: Counting::default(),
            seed: config.seed,
            began: Instant::now(),
            up: watch::Sender::new(config.up),
            down: watch::Sender::new(config.down),
        }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The system's time of a time of the relay's; far ahead where it has none.
    pub fn at(&self, time: Duration) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        self.began.checked_add(time).unwrap_or_else(|| Instant::now() + DAY)
    }

    pub fn line(&self, way: Way, flow: u64) -> Line {
        Line::new(self.seed, way, flow)
    }

    pub fn impairment(&self, way: Way) -> Impairment {
        *self.way(way).borrow()
    }

    /// Until `way` is not cut.
    pub async fn passes(&self, way: Way) {
        // The sender is `self`'s, so it is there.
        let _ = self.way(way).subscribe().wait_for(|impairment| !impairment.cut).await;
    }

    pub fn counters(&self, way: Way) -> &Ways {
        match way {
            Way::Up => &self.counting.up,
            Way::Down => &self.counting.down,
        }
    }

    fn way(&self, way: Way) -> &watch::Sender<Impairment> {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

/// Changes a relay while it runs.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

/// A change of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Cut,
    Heal,
    Set(Impairment),
}

/// A change at a time after the relay began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub at: Duration,
    pub way: Way,
    pub change: Change,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Control {
        Control { shared }
    }

    pub fn change(&self, way: Way, change: Change) {
        self.shared.way(way).send_modify(|impairment| match change {
            Change::Cut => impairment.cut = true,
            Change::Heal => impairment.cut = false,
            Change::Set(other) => *impairment = other,
        });
    }

    /// Nothing passes, either way, until [`heal`](Self::heal).
    pub fn cut(&self) {
        Way::BOTH.into_iter().for_each(|way| self.change(way, Change::Cut));
    }

    pub fn heal(&self) {
        Way::BOTH.into_iter().for_each(|way| self.change(way, Change::Heal));
    }

    /// What a way does to what comes from now on.
    pub fn impairment(&self, way: Way) -> Impairment {
        self.shared.impairment(way)
    }

    /// Does each step at its time; ends after the last.
    pub async fn play(&self, mut script: Vec<Step>) {
        script.sort_by_key(|step| step.at);
        for step in script {
            tokio::time::sleep_until(self.shared.at(step.at)).await;
            self.change(step.way, step.change);
        }
    }

    pub fn counters(&self) -> Counters {
        self.shared.counting.snapshot()
    }
}
