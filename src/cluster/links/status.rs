//! Owns what can be seen of the links from outside: states, times and counters,
//! as plain values. Never decides. Counters only grow and outlive their links.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::class::{Class, PerClass};
use super::end::End;
use super::outbox::{Depth, Taken};
use crate::base::{Incarnation, NodeId};

/// What there is between this node and a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkState {
    /// No link yet, or not any more; the address is dialled if there is one.
    #[serde(rename_all = "camelCase")]
    Down { why: Option<End> },
    /// The last attempt ended because one side would not; it is tried again.
    #[serde(rename_all = "camelCase")]
    Refused { why: End },
    #[serde(rename_all = "camelCase")]
    Up { incarnation: Incarnation, since: SystemTime, round_trip: Duration },
}

impl LinkState {
    pub fn is_up(&self) -> bool {
        matches!(self, LinkState::Up { .. })
    }
}

/// A peer, as of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    pub node: NodeId,
    /// Where it is dialled.
    pub address: Option<String>,
    pub state: LinkState,
    /// Links so far.
    pub links: u64,
    /// Attempts that did not become a link.
    pub failures: u64,
    pub classes: PerClass<ClassStatus>,
    pub datagrams_sent: u64,
    /// For which the send buffer had no room.
    pub datagrams_dropped: u64,
    pub datagrams_received: u64,
    /// Asks of this node that wait for their answers.
    pub asks_waiting: usize,
    pub asks_timed_out: u64,
    /// Asks of the peer beyond the limit, answered with a refusal.
    pub asks_refused: u64,
}

/// One class of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    pub messages_sent: u64,
    pub bytes_sent: u64,
    pub messages_received: u64,
    pub bytes_received: u64,
    /// Given back to their senders because the queue was full.
    pub messages_full: u64,
    /// That waited when a link went down.
    pub messages_lost: u64,
    pub queued: Depth,
}

/// What came to this node's socket and became no link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StrangerStatus {
    /// Under way now.
    pub now: usize,
    /// Turned away because there were too many.
    pub crowded: u64,
    pub refused: u64,
    /// The newest refusals.
    pub last: Vec<Refused>,
}

/// A connection that was turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub from: std::net::SocketAddr,
    pub at: SystemTime,
    /// Which node it said or showed it is, if it came so far.
    pub node: Option<NodeId>,
    pub why: End,
}

/// The counters of a peer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub links: AtomicU64,
    pub failures: AtomicU64,
    classes: PerClass<ClassCounters>,
    pub datagrams_sent: AtomicU64,
    pub datagrams_dropped: AtomicU64,
    pub datagrams_received: AtomicU64,
    pub asks_timed_out: AtomicU64,
    pub asks_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct ClassCounters {
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    messages_full: AtomicU64,
    messages_lost: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub fn sent(&self, class: Class, written: Taken) {
        add(&self.classes[class].messages_sent, written.messages);
        add(&self.classes[class].bytes_sent, written.bytes);
    }

    pub fn received(&self, class: Class, messages: usize, bytes: usize) {
        add(&self.classes[class].messages_received, messages);
        add(&self.classes[class].bytes_received, bytes);
    }

    pub fn full(&self, class: Class) {
        add(&self.classes[class].messages_full, 1);
    }

    pub fn lost(&self, class: Class, lost: Depth) {
        add(&self.classes[class].messages_lost, lost.messages);
    }

    pub fn class(&self, class: Class, queued: Depth) -> ClassStatus {
        let counters = &self.classes[class];
        ClassStatus {
            messages_sent: read(&counters.messages_sent),
            bytes_sent: read(&counters.bytes_sent),
            messages_received: read(&counters.messages_received),
            bytes_received: read(&counters.bytes_received),
            messages_full: read(&counters.messages_full),
            messages_lost: read(&counters.messages_lost),
            queued,
        }
    }
}
