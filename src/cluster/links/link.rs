//! Owns one link: a connection to one incarnation of a peer, its three streams
//! each way, and the tasks that read and write them. Never dials and decides
//! nothing about membership. Made by the hello of either side. Invariant: what
//! was taken for a class arrives once and in order while the link stays; when
//! it goes, what waited is lost, every ask ends, and nothing of it is delivered
//! after the host heard that it is down.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ask::{AskError, Asks};
use super::class::{Class, PerClass};
use super::end::{End, Reason};
use super::frame::Kind;
use super::hello::Hello;
use super::limits::Limits;
use super::outbox::{Depth, Outbox};
use super::question::Question;
use super::status::{Counters, add};
use crate::base::{Incarnation, NodeId};

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFault {
    /// The peer does not keep up.
    #[error("as much waits for this peer as may")]
    Full,
    #[error("a message of {got} bytes; at most {max} are allowed in this class")]
    TooLong { got: usize, max: usize },
    #[error("the link is down")]
    Down,
}

/// A message that was not taken; nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sent: {fault}")]
pub struct SendError {
    pub fault: SendFault,
    pub message: Bytes,
}

/// A datagram that was not taken; it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    #[error("the send buffer has no room for it")]
    Full,
    #[error("a datagram of {got} bytes; at most {max} fit now")]
    TooLong { got: usize, max: usize },
    #[error("the link is down")]
    Down,
}

/// What came on a stream.
#[derive(Debug)]
pub enum Arrival {
    /// May be a part of a larger buffer: who keeps it for long copies it.
    Message(Bytes),
    Ask(Question),
}

/// A time limit that cannot be added to the clock stands for this.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// A link to one incarnation of a peer. After it went down it takes nothing any
/// more, and another takes its place.
#[derive(Clone)]
pub struct Link(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub peer: Hello,
    pub connection: quinn::Connection,
    pub limits: Limits,
    pub counters: Arc<Counters>,
    pub outboxes: PerClass<Outbox>,
    pub asks: Asks,
    /// The peer's asks that this node has not answered.
    pub questions: AtomicUsize,
    pub is_up: AtomicBool,
    /// Why this node ended it, if it did.
    pub ended: OnceLock<End>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Hello { node, incarnation, .. } = &self.0.peer;
        write!(f, "Link(node {node}, incarnation {incarnation})")
    }
}

impl Link {
    pub(super) fn new(
        peer: Hello,
        connection: quinn::Connection,
        limits: &Limits,
        counters: Arc<Counters>,
    ) -> Link {
        Link(Arc::new(Shared {
            peer,
            connection,
            limits: *limits,
            counters,
            outboxes: PerClass::from_fn(|class| Outbox::new(limits.classes[class])),
            asks: Asks::new(limits.asks_max),
            questions: AtomicUsize::new(0),
            is_up: AtomicBool::new(false),
            ended: OnceLock::new(),
        }))
    }

    pub fn node(&self) -> NodeId {
        self.0.peer.node
    }

    pub fn incarnation(&self) -> Incarnation {
        self.0.peer.incarnation
    }

    /// What the peer said of itself.
    pub fn hello(&self) -> &Hello {
        &self.0.peer
    }

    /// Whether this is the same link, not only one to the same peer.
    pub fn is_same(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether it takes messages.
    pub fn is_up(&self) -> bool {
        self.0.is_up.load(Ordering::Acquire)
    }

    pub fn round_trip(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// How much waits to be written.
    pub fn queued(&self, class: Class) -> Depth {
        self.0.outboxes[class].depth()
    }

    /// Takes a message; never waits.
    ///
    /// # Errors
    /// With the message: the queue is full, it is too long, the link is down.
    pub fn try_send(&self, class: Class, message: Bytes) -> Result<(), SendError> {
        let taken = self.0.outboxes[class].admit(Kind::Message, &message);
        taken.map_err(|fault| self.not_sent(class, fault, message))
    }

    /// Takes a message as soon as there is room for it.
    ///
    /// # Errors
    /// With the message: it is too long, or the link is down.
    pub async fn send(&self, class: Class, message: Bytes) -> Result<(), SendError> {
        let taken = self.0.outboxes[class].admit_when_ready(Kind::Message, &message).await;
        taken.map_err(|fault| self.not_sent(class, fault, message))
    }

    fn not_sent(&self, class: Class, fault: SendFault, message: Bytes) -> SendError {
        if fault == SendFault::Full {
            self.0.counters.full(class);
        }
        SendError { fault, message }
    }

    /// Asks the peer, and waits for its answer, in all at most `limit`. Dropped,
    /// the ask is forgotten; the peer may do it all the same.
    ///
    /// Whoever handles what comes must not wait here for an answer of the same
    /// peer and class: that answer comes behind what they hold up.
    ///
    /// # Errors
    /// See [`AskError`]: which ones leave open whether it was done.
    pub async fn ask(
        &self,
        class: Class,
        message: Bytes,
        limit: Duration,
    ) -> Result<Bytes, AskError> {
        let now = Instant::now();
        let ask = self.0.asks.open(now.checked_add(limit).unwrap_or(now + FOR_EVER))?;
        let outbox = &self.0.outboxes[class];
        let kind = Kind::Ask(ask.number);
        let taken = match outbox.admit(kind, &message) {
            // It waits for room no longer than for its answer.
            Err(SendFault::Full) => {
                let ready = outbox.admit_when_ready(kind, &message);
                let ready = tokio::time::timeout(limit, ready).await;
                ready.map_err(|_| AskError::TimedOut)?
            }
            taken => taken,
        };
        match taken {
            Ok(()) => ask.outcome().await,
            Err(SendFault::TooLong { got, max }) => Err(AskError::TooLong { got, max }),
            Err(SendFault::Full | SendFault::Down) => Err(AskError::Down),
        }
    }

    /// Bytes of a datagram at most, now: about 1,400, less while the path is
    /// being measured.
    pub fn datagram_max(&self) -> usize {
        self.0.connection.max_datagram_size().unwrap_or(0)
    }

    /// Sends a datagram, which may get lost and be overtaken. One for which there
    /// is no room is dropped, so that those that wait are not older than that.
    ///
    /// # Errors
    /// When it was dropped, which was counted.
    pub fn try_datagram(&self, datagram: Bytes) -> Result<(), DatagramError> {
        let (got, max) = (datagram.len(), self.datagram_max());
        let sent = if !self.is_up() {
            Err(DatagramError::Down)
        } else if got > max {
            Err(DatagramError::TooLong { got, max })
        } else if self.0.connection.datagram_send_buffer_space() < got {
            Err(DatagramError::Full)
        } else {
            self.0.connection.send_datagram(datagram).map_err(|_| DatagramError::Down)
        };
        let counters = &self.0.counters;
        add(if sent.is_ok() { &counters.datagrams_sent } else { &counters.datagrams_dropped }, 1);
        sent
    }

    /// Ends it; the peer is told why.
    pub fn close(&self, why: End) {
        // The first reason stays.
        let why = self.0.ended.get_or_init(|| why);
        why.close(&self.0.connection);
    }

    /// Takes nothing more and ends what waits.
    pub(super) fn end(&self) {
        self.0.is_up.store(false, Ordering::Release);
        for class in Class::ALL {
            let lost = self.0.outboxes[class].close();
            self.0.counters.lost(class, lost);
        }
        self.0.asks.close();
    }

    /// Why it ended: what this node said, if it said so first.
    pub(super) fn why(&self, found: End) -> End {
        self.0.ended.get().cloned().unwrap_or(found)
    }
}

/// A peer sent what no sound peer sends.
pub(super) fn malformed(detail: impl Into<String>) -> End {
    End::us(Reason::Malformed, detail)
}
