//! Owns the thread of the node's core: messages become events, effects become
//! messages. Never decides; `NodeCore` does. The store has threads of its own,
//! so that nothing here waits for a disk.
//!
//! The queue to this thread has no bound of its own: cells, rows and loads
//! bound what can be in it.

mod counted;
mod effects;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ending::Ending;
use super::last_words::LastWords;
use super::peers::Mesh;
use super::ports::Ports;
use super::registry::Registry;
use super::rows::{GroupAnswer, GroupRequest, StoreAway};
use super::signer::SignerHandle;
use super::status::CoreStatus;
use super::store_threads::StoreThreads;
use super::ticker::TableHandle;
use super::view_thread::ViewHandle;
use crate::base::{EntityKey, Incarnation, Millis, NodeId};
use crate::cluster::core::clock::{Clock, JUMP_MS};
use crate::cluster::core::message::{FromTable, NodeMessage};
use crate::cluster::core::node::{Event, NodeCore, NodeCounts};
use crate::cluster::core::shadows::{Cast, Caster};
use crate::entity::audit::Statement;
use crate::telemetry::metrics;

/// The number of the group that stores a new galaxy; rows count from 1.
pub const GALAXY_GROUP: u64 = 0;
/// The group that stores a node's rules. It is refused when others came first.
pub const RULES_GROUP: u64 = u64::MAX;
/// The group that checks the cluster's format version, and stores it for a new one.
pub const FORMAT_GROUP: u64 = u64::MAX - 1;
/// A thread whose core is over looks so often whether it is to end.
const IDLE_MS: u64 = 100;
/// Events taken together.
const BATCH: usize = 4096;

/// What the core's thread is sent.
pub enum ToCore {
    Event(Event),
    FromTable(Vec<FromTable>),
    /// A table has done another tick: its handle says which.
    Stepped,
    /// A group of rows; the permit is given back when its outcome is known.
    Rows(GroupRequest, OwnedSemaphorePermit),
    /// What the store's watcher saw; `full` is `None` where nobody can know.
    Disk {
        full: Option<bool>,
        pinned: Vec<EntityKey>,
    },
    /// From the core of another node; the permit is given back with them.
    FromNode {
        from: (NodeId, Incarnation),
        messages: Vec<NodeMessage>,
        permit: OwnedSemaphorePermit,
    },
    /// What sectors of other nodes cast on some here; the permit as above.
    Casts {
        casts: Vec<(Caster, Cast)>,
        permit: OwnedSemaphorePermit,
    },
    /// The node's certificate is in the store: whoever signs with its key.
    Signer(SignerHandle),
    /// Say when all that was admitted is durable and released.
    Settle(oneshot::Sender<()>),
    /// A table has released all that it was told of before it was asked to.
    Flushed,
    /// End now, and say so.
    End(oneshot::Sender<()>),
}

/// The way to the core's thread; cheap to clone.
#[derive(Clone)]
pub struct CoreHandle(Sender<ToCore>);

impl CoreHandle {
    /// Sends; nothing happens when the core has ended.
    pub fn send(&self, message: ToCore) {
        let _ = self.0.send(message);
    }
}

/// The queue to a core's thread that will be started with [`start`].
#[expect(
    clippy::disallowed_methods,
    reason = "a bound here could block an arbiter; tables, rows and loads bound what comes"
)]
pub fn queue() -> (CoreHandle, Receiver<ToCore>) {
    let (sender, receiver) = channel();
    (CoreHandle(sender), receiver)
}

/// What the core's thread works with.
pub struct CoreParts {
    pub core: NodeCore,
    pub tables: Vec<TableHandle>,
    pub store: StoreThreads,
    pub ports: Arc<Ports>,
    pub registry: Arc<Registry>,
    pub status: Arc<CoreStatus>,
    pub view: ViewHandle,
    pub mesh: Arc<dyn Mesh>,
    pub last_words: Option<Arc<LastWords>>,
    pub ending: Ending,
}

/// Starts the thread; it ends on [`ToCore::End`] or when deposed.
///
/// # Errors
/// When the system gives no thread.
pub fn start(parts: CoreParts, receiver: Receiver<ToCore>) -> std::io::Result<()> {
    let thread = CoreThread::new(parts);
    let ending = thread.ending.clone();
    // What an operator watches for is shown before it happens, too.
    metrics::STORE_AWAY.set(0.0);
    metrics::PARKED.set(0.0);
    std::thread::Builder::new()
        .name("core".into())
        .spawn(move || ending.guard("the node's core", || thread.run(&receiver)))?;
    Ok(())
}

type RowsAsker = oneshot::Sender<Result<GroupAnswer, StoreAway>>;

/// Somebody waits for all that was admitted to be durable and released.
struct Settling {
    done: oneshot::Sender<()>,
    /// Commits when the tables were asked to release what they had, and how
    /// many of them have not said so yet.
    asked: Option<(u64, usize)>,
}

struct CoreThread {
    core: NodeCore,
    tables: Vec<TableHandle>,
    store: StoreThreads,
    ports: Arc<Ports>,
    registry: Arc<Registry>,
    status: Arc<CoreStatus>,
    view: ViewHandle,
    mesh: Arc<dyn Mesh>,
    last_words: Option<Arc<LastWords>>,
    ending: Ending,
    signer: Option<SignerHandle>,
    /// What nobody was there to sign.
    unsigned: Option<Statement>,
    settling: Option<Settling>,
    ended: bool,

    /// Who waits for which group of rows.
    rows: BTreeMap<u64, (RowsAsker, OwnedSemaphorePermit)>,
    last_row: u64,
    wake_at: Millis,
    began: Instant,
    clock: Clock,
    jumped: bool,
    counted: NodeCounts,
}

impl CoreThread {
    fn new(parts: CoreParts) -> CoreThread {
        let CoreParts {
            core,
            tables,
            store,
            ports,
            registry,
            status,
            view,
            mesh,
            last_words,
            ending,
        } = parts;
        CoreThread {
            core,
            tables,
            store,
            ports,
            registry,
            status,
            view,
            mesh,
            last_words,
            ending,
            signer: None,
            unsigned: None,
            settling: None,
            ended: false,
            rows: BTreeMap::new(),
            last_row: 0,
            wake_at: Millis(0),
            began: Instant::now(),
            clock: Clock::new(wall(), Millis(0)),
            jumped: false,
            counted: NodeCounts::default(),
        }
    }

    fn run(mut self, receiver: &Receiver<ToCore>) {
        self.handle(vec![Event::Clock]);
        while !self.ended {
            let now = self.now();
            // A core that is over wants nothing more: it waits for its end.
            let is_over = self.core.is_over();
            let wait_ms = if is_over { IDLE_MS } else { self.wake_at.since(now) };
            let wait = Duration::from_millis(wait_ms);
            let mut events = Vec::new();
            match receiver.recv_timeout(wait) {
                Ok(message) => self.take(message, &mut events),
                Err(RecvTimeoutError::Timeout) => events.push(Event::Clock),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while events.len() < BATCH
                && let Ok(message) = receiver.try_recv()
            {
                self.take(message, &mut events);
            }
            self.handle(events);
        }
    }

    fn take(&mut self, message: ToCore, events: &mut Vec<Event>) {
        match message {
            ToCore::Event(event) => events.push(event),
            ToCore::FromTable(messages) => {
                events.extend(messages.into_iter().map(Event::FromTable));
            }
            ToCore::Stepped => {
                let stepped = self.tables.iter().map(TableHandle::stepped).min();
                events.extend(stepped.map(Event::Stepped));
            }
            ToCore::Rows(GroupRequest { group, answer }, permit) => {
                self.last_row += 1;
                self.rows.insert(self.last_row, (answer, permit));
                events.push(Event::Rows { id: self.last_row, group });
            }
            ToCore::FromNode { from: (node, incarnation), messages, permit: _ } => {
                let event = |message| Event::FromNode { node, incarnation, message };
                events.extend(messages.into_iter().map(event));
            }
            ToCore::Casts { casts, permit: _ } => events.push(Event::Casts(casts)),
            ToCore::Disk { full, pinned } => self.note_disk(full, pinned, events),
            ToCore::Signer(signer) => {
                self.signer = Some(signer);
                events.push(Event::MaySign);
            }
            ToCore::Settle(done) => {
                self.settling = Some(Settling { done, asked: None });
                events.push(Event::Settle);
            }
            ToCore::Flushed => {
                if let Some(Settling { asked: Some((_, unflushed)), .. }) = &mut self.settling {
                    *unflushed = unflushed.saturating_sub(1);
                }
            }
            ToCore::End(done) => self.end(Some(done)),
        }
    }

    fn handle(&mut self, events: Vec<Event>) {
        if self.ended {
            return;
        }
        let now = self.now();
        self.core.handle_all(events, now);
        for effect in self.core.drain_effects() {
            self.run_effect(effect);
            if self.ended {
                // What was made behind that is not to become durable.
                return;
            }
        }
        self.report(now);
        if let Some(statement) = self.unsigned.take() {
            return self.handle(vec![Event::Signed { statement, signature: None }]);
        }
        self.settle();
    }

    /// Settled is what no commit waits for and whose releases have left the
    /// tables, when no commit came between the two; and what is signed. Then the
    /// incarnation ends.
    fn settle(&mut self) {
        let commits = self.core.counts().commits;
        let is_settled = self.core.is_settled() && self.core.is_signed();
        let Some(settling) = &mut self.settling else { return };
        match settling.asked {
            _ if self.core.is_over() => {
                if let Some(settling) = self.settling.take() {
                    // Whoever asked may have lost patience.
                    let _ = settling.done.send(());
                }
            }
            Some((_, unflushed)) if unflushed > 0 => {}
            Some((before, _)) if before == commits && is_settled => {
                self.handle(vec![Event::Leave]);
            }
            _ if is_settled => {
                settling.asked = Some((commits, self.tables.len()));
                self.tables.iter().for_each(TableHandle::flush);
            }
            _ => settling.asked = None,
        }
    }

    fn note_disk(&self, full: Option<bool>, pinned: Vec<EntityKey>, events: &mut Vec<Event>) {
        if let Some(full) = full {
            self.status.disk_full.store(full, Ordering::Relaxed);
            events.push(Event::DiskFull(full));
        }
        if !pinned.is_empty() {
            events.push(Event::Pinned(pinned));
        }
    }

    fn now(&mut self) -> Millis {
        let steady = Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (now, off) = self.clock.read(wall(), steady);
        if off > JUMP_MS && !self.jumped {
            tracing::warn!(off_ms = off, "the wall clock jumped; the node follows it slowly");
        }
        self.jumped = off > JUMP_MS;
        now
    }

    fn end(&mut self, done: Option<oneshot::Sender<()>>) {
        self.ended = true;
        self.status.ready.store(false, Ordering::Relaxed);
        if !self.core.is_settled() {
            tracing::error!(
                store_away = self.core.is_away(),
                groups_of_rows = self.rows.len(),
                "ends with inputs that are not known to be durable; none was acknowledged"
            );
        }
        // Whoever asked may be gone.
        let _ = done.map(|done| done.send(()));
    }
}

fn wall() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
