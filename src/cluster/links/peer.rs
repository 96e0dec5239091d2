//! Owns what is known of one peer: where it is dialled, the connection that is
//! held, how the last one ended. Never does I/O. Called by what dials and what
//! accepts. Invariant: every change happens under its lock, so that two
//! connections that come at once are decided one after the other.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};

use super::class::PerClass;
use super::end::{By, End, Reason};
use super::link::Link;
use super::status::{Counters, LinkState, PeerStatus, add, read};
use super::tie::Tie;
use crate::base::NodeId;

/// One peer.
pub(super) struct Peer {
    pub node: NodeId,
    pub counters: Arc<Counters>,
    state: Mutex<State>,
    /// Whoever dials waits here for something to change.
    pub changed: Notify,
}

struct State {
    address: Option<String>,
    tie: Tie,
    current: Option<Current>,
    last: Option<End>,
    /// It said that it stops, and has not come back.
    stopped: bool,
    has_dialler: bool,
}

struct Current {
    link: Link,
    since: SystemTime,
    /// Says true when all of the link has ended.
    over: watch::Receiver<bool>,
}

/// A connection that was taken.
pub(super) struct Taken {
    /// To be said when all of it has ended.
    pub over: watch::Sender<bool>,
    /// When the one before it has ended.
    pub before: Option<watch::Receiver<bool>>,
}

/// What whoever dials is to do.
pub(super) enum Wanted {
    Dial(String),
    Wait,
    /// It has no address any more.
    Stop,
}

impl Peer {
    pub fn new(us: NodeId, node: NodeId) -> Peer {
        let state = State {
            address: None,
            tie: Tie::new(us, node),
            current: None,
            last: None,
            stopped: false,
            has_dialler: false,
        };
        Peer { node, counters: Arc::default(), state: Mutex::new(state), changed: Notify::new() }
    }

    /// Where to dial it from now on; whether somebody has to begin to.
    pub fn set_address(&self, address: String) -> bool {
        let mut state = self.lock();
        let changed = state.address.as_ref() != Some(&address);
        state.address = Some(address);
        let begin = !state.has_dialler;
        state.has_dialler = true;
        drop(state);
        if changed {
            self.changed.notify_one();
        }
        begin
    }

    /// Whether it may make place for another: nothing is there, nothing is dialled.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.address.is_none() && state.current.is_none()
    }

    /// Dials it no more and ends its link.
    pub fn forget(&self, why: End) {
        let mut state = self.lock();
        state.address = None;
        let link = state.current.as_ref().map(|current| current.link.clone());
        drop(state);
        if let Some(link) = link {
            link.close(why);
        }
        self.changed.notify_one();
    }

    pub fn wanted(&self) -> Wanted {
        let mut state = self.lock();
        match state.address.clone() {
            None => {
                state.has_dialler = false;
                Wanted::Stop
            }
            Some(address) if state.tie.begin_dial() => Wanted::Dial(address),
            Some(_) => Wanted::Wait,
        }
    }

    pub fn begin_greeting(&self) -> bool {
        self.lock().tie.begin_greeting()
    }

    /// Dialling came to nothing.
    pub fn handle_failure(&self, why: &End) {
        let mut state = self.lock();
        state.tie.handle_failure();
        add(&self.counters.failures, 1);
        if state.current.is_none() {
            state.last = Some(why.clone());
        }
    }

    /// Whether it said that it stops, so that nobody need be told that it is away.
    pub fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The peer's dialling came to nothing, for this reason.
    pub fn handle_refused(&self, why: &End) {
        let mut state = self.lock();
        if state.current.is_none() && why.reason.is_refusal() {
            state.last = Some(why.clone());
        }
    }

    /// Takes a connection that this node dialled.
    ///
    /// # Errors
    /// When another stays.
    pub fn handle_welcome(&self, link: &Link) -> Result<Taken, End> {
        self.take(link, |tie| tie.handle_welcome(link.incarnation()))
    }

    /// Takes a connection that the peer dialled.
    ///
    /// # Errors
    /// When another stays.
    pub fn handle_hello(&self, link: &Link) -> Result<Taken, End> {
        self.take(link, |tie| tie.handle_hello(link.incarnation()))
    }

    fn take(
        &self,
        link: &Link,
        decide: impl FnOnce(&mut Tie) -> Result<(), End>,
    ) -> Result<Taken, End> {
        let mut state = self.lock();
        decide(&mut state.tie)?;
        state.stopped = false;
        let (over, receiver) = watch::channel(false);
        let current = Current { link: link.clone(), since: SystemTime::now(), over: receiver };
        let old = state.current.replace(current);
        drop(state);
        let before = old.map(|old| {
            let newer = link.incarnation();
            let why = format!("a newer connection of these two nodes, incarnation {newer}");
            old.link.close(End::us(Reason::Duplicate, why));
            old.over
        });
        Ok(Taken { over, before })
    }

    /// A link ended. It may have been replaced before.
    pub fn handle_down(&self, link: &Link, why: &End) {
        let mut state = self.lock();
        if state.current.as_ref().is_some_and(|current| current.link.is_same(link)) {
            state.current = None;
            state.tie.handle_down();
            state.stopped = (why.reason, why.by) == (Reason::Stopping, By::Peer);
            state.last = Some(why.clone());
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The link, if it is up.
    pub fn link(&self) -> Option<Link> {
        let state = self.lock();
        let link = state.current.as_ref().map(|current| &current.link);
        link.filter(|link| link.is_up()).cloned()
    }

    /// The link that is held, up or coming up.
    pub fn held(&self) -> Option<Link> {
        self.lock().current.as_ref().map(|current| current.link.clone())
    }

    pub fn status(&self) -> PeerStatus {
        let state = self.lock();
        let current = state.current.as_ref();
        let link = current.map(|current| &current.link);
        let counter = |counter: &AtomicU64| read(counter);
        PeerStatus {
            node: self.node,
            address: state.address.clone(),
            state: state.link_state(),
            links: counter(&self.counters.links),
            failures: counter(&self.counters.failures),
            classes: PerClass::from_fn(|class| {
                let queued = link.map(|link| link.queued(class)).unwrap_or_default();
                self.counters.class(class, queued)
            }),
            datagrams_sent: counter(&self.counters.datagrams_sent),
            datagrams_dropped: counter(&self.counters.datagrams_dropped),
            datagrams_received: counter(&self.counters.datagrams_received),
            asks_waiting: link.map_or(0, |link| link.0.asks.count()),
            asks_timed_out: counter(&self.counters.asks_timed_out),
            asks_refused: counter(&self.counters.asks_refused),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn link_state(&self) -> LinkState {
        match &self.current {
            Some(Current { link, since, .. }) if link.is_up() => LinkState::Up {
                incarnation: link.incarnation(),
                since: *since,
                round_trip: link.round_trip(),
            },
            _ => match &self.last {
                Some(why) if why.reason.is_refusal() => LinkState::Refused { why: why.clone() },
                why => LinkState::Down { why: why.clone() },
            },
        }
    }
}
