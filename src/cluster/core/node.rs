//! Owns a node's decisions: which entities it claims, what its commits hold,
//! when its tick moves. Never does I/O: it takes an [`Event`] and gives
//! [`NodeEffect`]s. Called by the node's core thread, and by the simulator.
//!
//! ```text
//!   Beginning ──(commit 0 durable)──> Recovering ──(owned entities claimed)──> Running
//!   any of them ──(row refused; its own last commit durable)──> Over
//! ```
//!
//! Invariants: one commit is under way; the tick moves only when none is, to
//! T + 1 only, and stays while a table is a bounded number of ticks behind; a commit whose outcome is unknown is followed by the same
//! bytes or by nothing.

mod adopting;
mod advance;
mod ahead;
mod asleep;
mod attempts;
mod audit;
mod broken;
mod cluster;
mod commit;
mod durable;
mod entities;
mod event;
mod handover;
mod moving;
mod routes;
mod shadows;
mod signing;
mod stale;
mod stopping;
mod tables;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::asleep::DueScan;
use self::attempts::Attempts;
use self::audit::Audit;
use self::broken::{Panics, ParkedLook};
use self::cluster::Cluster;
use self::shadows::Casting;
use self::signing::Signing;
use self::stale::Stale;
use super::census::Census;
use super::hot::{HotThreads, Thresholds};
use super::ids::IdBlocks;
use super::limits::Limits;
use super::loading::{Loaded, Loading, Wreck};
use super::message::Rest;
use super::pipeline::Pipeline;
use super::places::{Places, Tables};
use super::snapshots::Snapshots;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::entity::World;
use crate::entity::commit::{Group, NodeRow};
use crate::entity::context::OpenClaim;
use crate::entity::envelope::Logic;
use crate::entity::machine::Skips;
use crate::entity::pace::{Pace, Rate};
pub use cluster::ClusterRead;
pub use event::{Event, NodeCounts, NodeEffect};
pub use handover::Part;

/// What the next record of an entity here follows.
#[derive(Clone, Copy, Debug)]
struct Owned {
    /// Of its installation in a table.
    generation: u64,
    sequence: u64,
    time: Millis,
    /// Milliseconds by which its time was ahead of the node's when it was
    /// claimed here, after a clock that was set back: it stays ahead, so that
    /// it does not stand still until the node's has caught up.
    lead: u64,
    /// How its ticks follow from the node's; `None` until its claim is in a
    /// commit.
    pace: Option<Pace>,
    /// The entity's tick as it was loaded.
    loaded: Tick,
    /// The claim that was closed, if it comes from hibernation.
    slept: Option<OpenClaim>,
    /// The logic that it has until its claim here, if that is another.
    adopts: Option<Logic>,
}

/// Encoded inputs of an entity that wait for a commit, oldest first. Bounded
/// by what its cell admits.
type Waiting = VecDeque<Vec<u8>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until commit 0 is durable.
    Beginning,
    /// Until everything this node owned runs again.
    Recovering,
    Running,
    /// For ever: nothing leaves any more.
    Over,
}

/// The core of one node.
#[derive(Debug)]
pub struct NodeCore {
    node: NodeId,
    incarnation: Incarnation,
    nonce: u64,
    world: Arc<World>,
    limits: Limits,
    phase: Phase,
    /// Whether the keys of owned entities have been read.
    scanned: bool,
    stale: Stale,
    /// Whether this node's clock and the store's agree.
    may_claim: bool,
    /// When the commit under way was first sent.
    sent: Millis,

    tick: Tick,
    next_tick: Millis,
    /// The last one that every table has done.
    stepped: Tick,
    /// The next tick is due, and waits for a table.
    held: bool,
    /// Of the last durable commit.
    durable: Tick,
    /// The newest tick at which a table holds outputs back.
    wanted: Tick,
    /// The outcome of the commit under way is unknown.
    away: bool,
    /// The disk has too little room.
    full: bool,
    /// Commands are not taken.
    closed: bool,
    /// The node is to stop: nothing begins any more.
    settling: bool,
    /// That is to be in the audit log.
    says_stop: bool,
    /// The commit with which nothing is left to be committed is the last.
    leaving: bool,
    pipeline: Pipeline,
    audit: Audit,
    signing: Signing,

    owned: BTreeMap<EntityKey, Owned>,
    /// Installations so far.
    generations: u64,
    /// How often an entity had to be loaded again because a record did not fit.
    misfits: BTreeMap<EntityKey, u32>,
    /// How often in a row an entity panicked without progress.
    broken: BTreeMap<EntityKey, Panics>,
    /// Loaded, and to be parked with the next commit, or the one under way; as
    /// [`adopting`](Self::adopting) is they count as being loaded.
    parking: BTreeMap<EntityKey, Wreck>,
    parked: ParkedLook,
    attempts: Attempts,
    /// Of `owned`: inputs that were left out, which the record of the claim says.
    setting_aside: BTreeMap<EntityKey, Skips>,
    /// Of `owned`: those whose claim is not durable yet.
    claiming: BTreeSet<EntityKey>,
    /// Of `owned`: those that are about to hibernate; what comes for them
    /// waits until that is durable.
    closing: BTreeMap<EntityKey, Rest>,
    /// Of `owned`: those that are to run at another rate from their next
    /// record on.
    dilating: BTreeMap<EntityKey, Rate>,
    /// Of what comes to run here or is about to go: what somebody wants to see or
    /// command, who is told when it has come or gone.
    sought: BTreeSet<EntityKey>,
    /// Keys to be deleted with the claims of `claiming`.
    with_claim: BTreeMap<EntityKey, Vec<Vec<u8>>>,
    due_scan: DueScan,
    census: Census,
    waiting: BTreeMap<EntityKey, Waiting>,
    /// Keys of `waiting`, in order of arrival.
    order: VecDeque<EntityKey>,
    rows: VecDeque<(u64, Group)>,
    loading: Loading,
    /// Loaded, and of another logic: claimed when their snapshot is durable. As
    /// many as may be loaded at a time.
    adopting: BTreeMap<EntityKey, Box<Loaded>>,
    places: Places,
    hot: HotThreads,
    snapshots: Snapshots,
    casting: Casting,
    ids: IdBlocks,
    reservation: Option<Group>,
    /// `None` for a node that has its store alone.
    cluster: Option<Cluster>,

    counts: NodeCounts,
    effects: Vec<NodeEffect>,
}

impl NodeCore {
    /// A core that begins the incarnation after `row`'s. `nonce` is drawn once
    /// per process.
    pub fn new(
        node: NodeId,
        nonce: u64,
        row: Option<&NodeRow>,
        world: Arc<World>,
        limits: Limits,
        tables: Tables,
    ) -> NodeCore {
        let incarnation = Incarnation(row.map_or(0, |row| row.incarnation.0) + 1);
        let tick = row.map_or(Tick(0), |row| row.tick);
        NodeCore {
            node,
            incarnation,
            nonce: nonce.max(NodeRow::VACANT + 1),
            world,
            limits,
            phase: Phase::Beginning,
            scanned: false,
            stale: Stale::default(),
            may_claim: true,
            sent: Millis(0),
            tick,
            next_tick: Millis(0),
            stepped: tick,
            held: false,
            durable: tick,
            wanted: tick,
            away: false,
            full: false,
            closed: false,
            settling: false,
            says_stop: false,
            leaving: false,
            pipeline: Pipeline::default(),
            audit: Audit::after(row),
            signing: Signing::default(),
            owned: BTreeMap::new(),
            generations: 0,
            misfits: BTreeMap::new(),
            broken: BTreeMap::new(),
            parking: BTreeMap::new(),
            parked: ParkedLook::default(),
            attempts: Attempts::default(),
            setting_aside: BTreeMap::new(),
            claiming: BTreeSet::new(),
            closing: BTreeMap::new(),
            dilating: BTreeMap::new(),
            sought: BTreeSet::new(),
            with_claim: BTreeMap::new(),
            due_scan: DueScan::default(),
            census: Census::default(),
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            rows: VecDeque::new(),
            loading: Loading::default(),
            adopting: BTreeMap::new(),
            places: Places::new(tables),
            hot: HotThreads::new(tables, Thresholds::default()),
            snapshots: Snapshots::default(),
            casting: Casting::default(),
            ids: IdBlocks::default(),
            reservation: None,
            cluster: None,
            counts: NodeCounts::default(),
            effects: Vec::new(),
        }
    }

    /// The same, in a cluster that writes this format version. Who is not told writes
    /// the first, which all builds read.
    pub fn writing(mut self, format: u16) -> NodeCore {
        self.snapshots.write_in(format);
        self
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// Whether the store does not answer and time stands still.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// Groups of rows that wait; whoever sends them keeps it bounded.
    pub fn rows_waiting(&self) -> usize {
        self.rows.len()
    }

    /// Entities that are about to hibernate.
    pub fn closing(&self) -> usize {
        self.closing.len()
    }

    /// How much waits for the load for which most waits.
    pub fn waiting_for_a_load(&self) -> usize {
        self.loading.fullest()
    }

    pub fn counts(&self) -> NodeCounts {
        let (tick, hot) = (self.tick.0, self.places.hot().count() as u64);
        NodeCounts { tick, hot, asleep: self.census.count(), ..self.counts }
    }

    /// Takes an event that happened at `now`, which never goes back.
    pub fn handle(&mut self, event: Event, now: Millis) {
        self.handle_all([event], now);
    }

    /// Takes events that came together, so that one commit holds them all.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Millis) {
        for event in events {
            if self.phase == Phase::Over {
                break;
            }
            self.handle_one(event, now);
        }
        self.advance(now);
    }

    fn handle_one(&mut self, event: Event, now: Millis) {
        match event {
            Event::Clock => {}
            Event::CommitDone(result) => self.handle_commit_done(result, now),
            Event::Stepped(tick) => self.stepped = tick.max(self.stepped),
            Event::FromTable(message) => self.handle_table(message, now),
            Event::Owned { entities, ended } => self.handle_owned(entities, ended),
            Event::Loaded(entity, loaded) => self.handle_loaded(entity, loaded, now),
            Event::LoadedAhead(entity, ahead) => self.handle_loaded_ahead(entity, ahead),
            Event::Parked(still) => self.handle_parked(still),
            Event::Attempts(read) => self.handle_attempts(read),
            Event::Blame(attempt) => self.handle_blame(attempt),
            Event::Resumed(entity) => self.handle_resumed(entity),
            Event::Due(timers) => self.handle_due(timers, now),
            Event::Asleep { page, after } => self.handle_asleep(&page, after),
            Event::Cluster(read) => self.handle_cluster(read.map(|read| *read), now),
            Event::OwnedBy { node, entities } => self.handle_owned_by(node, entities),
            Event::FromNode { node, incarnation, message } => {
                self.handle_from_node(node, incarnation, message, now);
            }
            Event::Casts(casts) => self.handle_casts_from(casts),
            Event::Wake(entity) => self.handle_wake(entity),
            Event::Move { entity, to } => self.handle_move(entity, to),
            Event::Load { table, load } => self.handle_load(table, load, now),
            Event::NextId(found) => self.reservation = Some(self.ids.reserve(found, &self.limits)),
            Event::Propose(entity, input) => self.propose(entity, input),
            Event::Rows { id, group } => self.handle_rows(id, group),
            Event::Pinned(entities) => entities.into_iter().for_each(|entity| self.unpin(entity)),
            Event::Format(version) => self.snapshots.write_in(version),
            Event::MaySign => self.handle_may_sign(),
            Event::Signed { statement, signature } => {
                self.handle_signed(&statement, signature, now)
            }
            Event::Settle => self.settle(now),
            Event::Leave => self.leave(),
            Event::DiskFull(full) => {
                self.full = full;
                self.note_closed();
            }
        }
    }

    /// A group that no store takes is refused here: in a commit it would be the
    /// end of this process.
    fn handle_rows(&mut self, id: u64, group: Group) {
        if group.is_well_formed() {
            self.rows.push_back((id, group));
        } else {
            self.counts.malformed += 1;
            self.effects.push(NodeEffect::RowsDone { id, version: None });
        }
    }

    /// What is to be done, in order.
    pub fn drain_effects(&mut self) -> Vec<NodeEffect> {
        std::mem::take(&mut self.effects)
    }
}
