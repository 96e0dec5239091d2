//! Owns the thread of the node's core: messages become events, effects become
//! messages. Never decides; `NodeCore` does. The store has threads of its own,
//! so that nothing here waits for a disk.
//!
//! The queue to this thread has no bound of its own: cells, rows and loads
//! bound what can be in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::ending::Ending;
use super::peers::{Mesh, PeerMessage};
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::rows::{GroupAnswer, GroupRequest, StoreAway};
use super::signer::SignerHandle;
use super::status::CoreStatus;
use super::store_threads::StoreThreads;
use super::ticker::TableHandle;
use super::view_thread::ViewHandle;
use super::waking::Woken;
use crate::base::{EntityKey, Incarnation, Millis, NodeId};
use crate::cluster::core::clock::{Clock, JUMP_MS};
use crate::cluster::core::loading::LoadError;
use crate::cluster::core::map::Map;
use crate::cluster::core::message::{FromTable, NodeMessage};
use crate::cluster::core::node::{Event, NodeCore, NodeCounts, NodeEffect};
use crate::entity::audit::{Head, Statement};
use crate::telemetry::metrics;

/// The number of the group that stores a new galaxy; rows count from 1.
pub const GALAXY_GROUP: u64 = 0;
/// The group that stores a node's rules. It may be refused: another node was first.
pub const RULES_GROUP: u64 = u64::MAX;
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
    ending: Ending,
    signer: Option<SignerHandle>,
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
        let CoreParts { core, tables, store, ports, registry, status, view, mesh, ending } = parts;
        CoreThread {
            core,
            tables,
            store,
            ports,
            registry,
            status,
            view,
            mesh,
            ending,
            signer: None,
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
        }
        self.report(now);
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

    fn run_effect(&mut self, effect: NodeEffect) {
        match effect {
            NodeEffect::Commit(commit) => self.store.commit(commit),
            NodeEffect::ToTable(table, message) => self.tables[table].send(message),
            NodeEffect::ToTables(message) => {
                self.tables.iter().for_each(|table| table.send(message.clone()));
            }
            NodeEffect::ScanOwned => self.store.scan_owned(),
            NodeEffect::Load(entity, asker, ahead) => self.store.load(entity, asker, ahead),
            NodeEffect::LoadAhead(entity) => self.store.load_ahead(entity),
            NodeEffect::ReadNextId => self.store.read_next_id(),
            NodeEffect::ReadDue { after, limit } => self.store.read_due(after, limit),
            NodeEffect::ReadAsleep { after } => self.store.read_asleep(after),
            NodeEffect::Dormant(entity) => {
                self.registry.waking.tell(entity, Woken::Dormant);
                self.view.note_absent(entity);
            }
            NodeEffect::RowsDone { id: GALAXY_GROUP, version: None } => self.give_up(
                "the galaxy was not stored: there is another one by now, or it is too large for a \
                 row; nothing was changed, start again",
            ),
            NodeEffect::RowsDone { id, version } => {
                let answer = version
                    .map_or(GroupAnswer::Refused, |version| GroupAnswer::Accepted { version });
                if let Some((asker, _permit)) = self.rows.remove(&id) {
                    // An asker that gave up meanwhile needs no answer.
                    let _ = asker.send(Ok(answer));
                }
            }
            NodeEffect::Ready => self.status.ready.store(true, Ordering::Relaxed),
            NodeEffect::StoreAway(away) => self.note_away(away),
            NodeEffect::Claiming { may_claim: false, off_ms } => tracing::error!(
                off_ms,
                "this node's clock and the store's differ by more than two seconds: nothing new \
                 is claimed until they agree; set the clock or start the node again"
            ),
            NodeEffect::Claiming { .. } => tracing::info!("the clocks agree again"),
            NodeEffect::Lacks(entity, needed) => tracing::warn!(
                %entity,
                "its journal needs {needed}, which this node cannot run; living nodes that can \
                 are asked for it"
            ),
            NodeEffect::Unloadable(entity, error) => self.park(entity, &error),
            NodeEffect::Mismatch(entity, found) => {
                tracing::error!(%entity, ?found, "replay differs from a journalled hash");
                metrics::INVARIANT_BROKEN.with(&["4"]).increment(found.len() as u64);
            }
            NodeEffect::ReadCluster { version } => self.store.read_cluster(version),
            NodeEffect::ScanOwnedBy(node) => self.store.scan_owned_by(node),
            // What is not taken comes again.
            NodeEffect::ToNode(node, message) => {
                let outcome = match self.mesh.send(node, PeerMessage::Core(message)) {
                    Ok(()) => "sent",
                    Err(_) => "dropped",
                };
                metrics::CORE_MESSAGES.with(&[outcome]).increment(1);
            }
            NodeEffect::Sign(statement) => self.sign(statement),
            NodeEffect::OtherHead(node, told) => note_other_head(node, told),
            NodeEffect::Map(map) => self.note_map(map),
            NodeEffect::Elsewhere(entity, node) => self.note_elsewhere(entity, node),
            NodeEffect::WakeAt(at) => self.wake_at = at,
            NodeEffect::StepDown(error) => {
                tracing::error!(%error, "this process owns nothing any more and ends");
                self.ending.tell(error.to_string());
                self.end(None);
            }
        }
    }

    fn sign(&self, statement: Statement) {
        if !self.signer.as_ref().is_some_and(|signer| signer.sign(statement)) {
            tracing::error!("nobody signs the audit log any more");
        }
    }

    fn note_map(&self, map: Map) {
        let living = map.nodes.values().filter(|standing| standing.lives).count();
        metrics::NODES_LIVING.set(living as f64);
        self.mesh.note_map(map);
    }

    fn note_elsewhere(&self, entity: EntityKey, node: NodeId) {
        self.registry.waking.tell(entity, Woken::Elsewhere(node));
        self.view.note_elsewhere(entity, node);
    }

    /// Nothing can go on from here.
    fn give_up(&mut self, why: &str) {
        tracing::error!("{why}");
        self.ending.tell(why.into());
        self.end(None);
    }

    /// In this order: who asks from now on sees it in the registry, who asked
    /// before is told.
    fn park(&self, entity: EntityKey, error: &LoadError) {
        tracing::error!(%entity, %error, "cannot be loaded; it is kept as it is and does not run");
        metrics::PARKED.set(self.registry.park(entity) as f64);
        self.ports.broadcast(&ToSession::Parked { entity });
    }

    fn note_away(&self, away: bool) {
        if away {
            tracing::warn!("the store takes nothing: time stands still, nothing is lost");
        } else {
            tracing::info!("the store answers again: time goes on");
        }
        self.status.taking_commands.store(!away, Ordering::Relaxed);
        metrics::STORE_AWAY.set(f64::from(u8::from(away)));
        self.ports.broadcast(&ToSession::StoreAway(away));
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

    fn report(&mut self, now: Millis) {
        let counts = self.core.counts();
        let before = std::mem::replace(&mut self.counted, counts);
        self.status.time_ms.store(now.0, Ordering::Relaxed);
        if counts.tick != before.tick {
            metrics::TICK_GAP.record(self.status.stalled().as_secs_f64());
            self.status.note_tick(counts.tick);
            metrics::TICK.set(counts.tick as f64);
        }
        metrics::COMMITS.increment(counts.commits - before.commits);
        metrics::COMMITS_RESENT.increment(counts.resent - before.resent);
        metrics::TICKS_HELD.increment(counts.held - before.held);
        metrics::SECTOR_MOVES.increment(counts.moves - before.moves);
        metrics::SECTORS_HOT.set(counts.hot as f64);
        metrics::RECORDS.increment(counts.records - before.records);
        metrics::RECORD_BYTES.increment(counts.record_bytes - before.record_bytes);
        metrics::SNAPSHOTS.increment(counts.snapshots - before.snapshots);
        metrics::SECTORS_HIBERNATED_TOTAL.increment(counts.closed - before.closed);
        metrics::SECTORS_DELETED.increment(counts.deleted - before.deleted);
        if let Some(asleep) = counts.asleep.filter(|_| counts.asleep != before.asleep) {
            metrics::SECTORS_HIBERNATED.set(asleep as f64);
        }
        metrics::HANDED_OVER.increment(counts.handed_over - before.handed_over);
        metrics::LACKING.set(counts.foreign as f64);
        metrics::ADOPTED.increment(counts.adopted - before.adopted);
        metrics::DEATHS.increment(counts.deaths - before.deaths);
        metrics::UNHEEDED.increment(counts.unheeded - before.unheeded);
        metrics::GROUPS_REFUSED.increment(counts.refused - before.refused);
        metrics::GROUPS_MALFORMED.increment(counts.malformed - before.malformed);
        metrics::LOAD_DROPPED.increment(counts.dropped - before.dropped);
        self.report_audit(now, before);
        if let Ok(mut shared) = self.status.counts.lock() {
            *shared = counts;
        }
    }

    fn report_audit(&self, now: Millis, before: NodeCounts) {
        let made = self.counted.signatures - before.signatures;
        let failed = self.counted.sign_failures - before.sign_failures;
        metrics::AUDIT_SIGNATURES.with(&["made"]).increment(made);
        metrics::AUDIT_SIGNATURES.with(&["failed"]).increment(failed);
        let unsigned_ms = self.core.unsigned_since().map_or(0, |since| now.since(since));
        metrics::AUDIT_UNSIGNED.set(unsigned_ms as f64 / 1_000.0);
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

fn note_other_head(node: NodeId, told: Head) {
    tracing::error!(
        %node, incarnation = told.incarnation.0, number = told.number,
        "the row of a node is not as that node told: somebody changed the store; verify the audit \
         log (starmesh admin audit)"
    );
    metrics::AUDIT_HEADS_DIFFER.increment(1);
}

fn wall() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
