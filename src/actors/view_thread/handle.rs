//! Owns the way to the view's thread and what bounds it. Never blocks: whoever
//! has something for the view is an arbiter, a session or a link.
//!
//! | what waits | its bound |
//! |---|---|
//! | what tables hand out | [`BATCHES_MAX`] batches; beyond that a table hands out whole sectors again |
//! | what views of other nodes say | [`UNITS_MAX`] units; beyond that it is dropped: a missing step is found by the next, all else by silence, and asked for again |
//! | their small messages | twice that, so that they are dropped last |
//! | what sessions ask | what their limits allow |
//! | who asks what is observed | what the gateway or a link lets ask at a time |
//! | what the core says | an entity that came, or was asked for |
//!
//! What other nodes say of the roll-up does not wait here: it is one word for
//! each sector, see [`Branches`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use crate::actors::branches::Branches;
use crate::base::{EntityKey, NodeId, SectorId};
use crate::cluster::core::table::Release;
use crate::telemetry::metrics;
use crate::view::fanout::Watcher;
use crate::view::peers::ViewMessage;

/// Batches of tables that may wait: one for each table and tick of three
/// seconds with one table.
const BATCHES_MAX: usize = 32;
/// Units in what other nodes handed out that may wait: some 40 MB.
const UNITS_MAX: usize = 1 << 19;
/// A message counts as so many, and as those in it.
const MESSAGE_UNITS: usize = 8;

pub(super) enum ToView {
    Observe {
        sector: SectorId,
        observer: u64,
        watcher: Watcher,
    },
    Unobserve {
        sector: SectorId,
        observer: u64,
    },
    /// The sector came to run here.
    Started(SectorId),
    /// The sector changed its thread: what its mailbox had for it may be lost.
    Moved(SectorId),
    /// The sector has no record: it is as the galaxy was made.
    Absent(SectorId),
    /// The sector is that node's.
    Elsewhere(SectorId, NodeId),
    /// What a table handed out.
    Batch(Vec<Release>),
    /// They run here no more.
    Gone(Vec<SectorId>),
    /// Of another node's view.
    Peer(NodeId, ViewMessage),
    /// The link to that node came up, or went down.
    Link(NodeId, bool),
    /// Say which sectors are observed, that many at most, and by how many.
    Observed(usize, oneshot::Sender<Vec<(SectorId, u32)>>),
}

/// What waits of that which has a bound.
#[derive(Default)]
struct Waiting {
    batches: AtomicUsize,
    units: AtomicUsize,
}

/// The way to the view's thread; cheap to clone.
#[derive(Clone)]
pub struct ViewHandle {
    sender: Sender<ToView>,
    waiting: Arc<Waiting>,
    pub branches: Arc<Branches>,
}

/// The queue to a view's thread that will be started.
pub struct ViewQueue {
    pub(super) receiver: Receiver<ToView>,
    waiting: Arc<Waiting>,
}

/// The queue, and the way to it.
#[expect(clippy::disallowed_methods, reason = "the module's head says what bounds it")]
pub fn queue(branches: Arc<Branches>) -> (ViewHandle, ViewQueue) {
    let (sender, receiver) = channel();
    let waiting = Arc::<Waiting>::default();
    (ViewHandle { sender, waiting: waiting.clone(), branches }, ViewQueue { receiver, waiting })
}

impl ViewQueue {
    /// The message does not wait any more.
    pub(super) fn note_taken(&self, message: &ToView) {
        match message {
            ToView::Batch(_) => _ = self.waiting.batches.fetch_sub(1, Ordering::Relaxed),
            ToView::Peer(_, message) => {
                self.waiting.units.fetch_sub(units(message), Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl ViewHandle {
    /// `observer`, a connection, sees `sector` from now on.
    pub fn observe(&self, sector: SectorId, observer: u64, watcher: Watcher) {
        self.send(ToView::Observe { sector, observer, watcher });
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&self, sector: SectorId, observer: u64) {
        self.send(ToView::Unobserve { sector, observer });
    }

    /// Which sectors this gateway's players observe, and how many do; none when
    /// the view has ended.
    pub async fn observed(&self, most: usize) -> Vec<(SectorId, u32)> {
        let (answer, observed) = oneshot::channel();
        self.send(ToView::Observed(most, answer));
        observed.await.unwrap_or_default()
    }

    /// An entity came to run here.
    pub fn note_started(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Started(sector));
        }
    }

    /// An entity changed its thread.
    pub fn note_moved(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Moved(sector));
        }
    }

    /// An entity has no record, and is not claimed just to be seen.
    pub fn note_absent(&self, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Absent(sector));
        }
    }

    /// An entity that was to be woken is that node's.
    pub fn note_elsewhere(&self, entity: EntityKey, node: NodeId) {
        if let EntityKey::Sector(sector) = entity {
            self.send(ToView::Elsewhere(sector, node));
        }
    }

    /// The link to that node came up, or went down. Called in order with
    /// [`handle_peer`](Self::handle_peer).
    pub fn handle_link(&self, node: NodeId, up: bool) {
        if !up {
            self.branches.forget(node);
        }
        self.send(ToView::Link(node, up));
    }

    /// What that node's view says, in the order in which its link brought it.
    pub fn handle_peer(&self, from: NodeId, message: ViewMessage) {
        if let ViewMessage::Summaries(told) = &message {
            return metrics::PEER_REFUSED.increment(self.branches.note_from(from, told));
        }
        let (units, before) = (units(&message), self.waiting.units.load(Ordering::Relaxed));
        let is_small = matches!(
            message,
            ViewMessage::Follow { .. } | ViewMessage::Gone { .. } | ViewMessage::Absent { .. }
        );
        if before > UNITS_MAX * (1 + usize::from(is_small)) {
            metrics::VIEW_LATE.increment(1);
            return;
        }
        self.waiting.units.fetch_add(units, Ordering::Relaxed);
        self.send(ToView::Peer(from, message));
    }

    /// Takes what a table handed out. False when too much waits: then whole
    /// sectors are to be handed out again.
    #[must_use]
    pub fn show(&self, batch: Vec<Release>) -> bool {
        let gone: Vec<SectorId> = batch.iter().filter_map(gone).collect();
        if self.waiting.batches.load(Ordering::Relaxed) >= BATCHES_MAX {
            if !gone.is_empty() {
                self.send(ToView::Gone(gone));
            }
            return false;
        }
        self.waiting.batches.fetch_add(1, Ordering::Relaxed);
        self.send(ToView::Batch(batch));
        true
    }

    /// Nothing happens when the thread has ended: then the node has.
    fn send(&self, message: ToView) {
        let _ = self.sender.send(message);
    }
}

fn gone(release: &Release) -> Option<SectorId> {
    match release {
        Release::Gone { entity: EntityKey::Sector(sector) } => Some(*sector),
        _ => None,
    }
}

fn units(message: &ViewMessage) -> usize {
    let inside = match message {
        ViewMessage::Scene { scene, .. } => scene.units.len(),
        ViewMessage::Step { delta, .. } => {
            delta.appeared.len() + delta.changed.len() + delta.left.len()
        }
        _ => 0,
    };
    MESSAGE_UNITS + inside
}
