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
mod ahead;
mod asleep;
mod audit;
mod cluster;
mod commit;
mod durable;
mod entities;
mod event;
mod handover;
mod moving;
mod routes;
mod signing;
mod stale;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use self::asleep::DueScan;
use self::audit::Audit;
use self::cluster::Cluster;
use self::routes::Route;
use self::signing::Signing;
use self::stale::Stale;
use super::census::Census;
use super::hot::{HotThreads, Thresholds};
use super::ids::IdBlocks;
use super::limits::Limits;
use super::loading::{Loaded, Loading};
use super::message::{FromTable, NodeBody, Rest, ToTable};
use super::pipeline::{Pipeline, Slot};
use super::places::{Places, Tables};
use super::snapshots::{Made, Snapshots};
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::entity::World;
use crate::entity::channel::{Acknowledgement, ChannelMessage};
use crate::entity::commit::{Group, NodeRow};
use crate::entity::context::OpenClaim;
use crate::entity::envelope::Logic;
use crate::entity::input::Input;
use crate::entity::pace::{Pace, Rate};
pub use cluster::ClusterRead;
pub use event::{Event, NodeCounts, NodeEffect};

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
    /// Of `owned`: those whose claim is not durable yet.
    claiming: BTreeSet<EntityKey>,
    /// Of `owned`: those that are about to hibernate; what comes for them
    /// waits until that is durable.
    closing: BTreeMap<EntityKey, Rest>,
    /// Of `owned`: those that are to run at another rate from their next
    /// record on.
    dilating: BTreeMap<EntityKey, Rate>,
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
            claiming: BTreeSet::new(),
            closing: BTreeMap::new(),
            dilating: BTreeMap::new(),
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
            ids: IdBlocks::default(),
            reservation: None,
            cluster: None,
            counts: NodeCounts::default(),
            effects: Vec::new(),
        }
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
            Event::FromTable(message) => self.handle_table(message),
            Event::Owned { entities, ended } => self.handle_owned(entities, ended),
            Event::Loaded(entity, loaded) => self.handle_loaded(entity, loaded),
            Event::LoadedAhead(entity, ahead) => self.handle_loaded_ahead(entity, ahead),
            Event::Due(timers) => self.handle_due(timers, now),
            Event::Asleep { page, after } => self.handle_asleep(&page, after),
            Event::Cluster(read) => self.handle_cluster(read.map(|read| *read), now),
            Event::OwnedBy { node, entities } => self.handle_owned_by(node, entities),
            Event::FromNode { node, incarnation, message } => {
                self.handle_from_node(node, incarnation, message, now);
            }
            Event::Wake(entity) => self.handle_wake(entity),
            Event::Move { entity, to } => self.handle_move(entity, to),
            Event::Load { table, load } => self.handle_load(table, load, now),
            Event::NextId(found) => self.reservation = Some(self.ids.reserve(found, &self.limits)),
            Event::Propose(entity, input) => self.propose(entity, input),
            Event::Rows { id, group } => self.handle_rows(id, group),
            Event::Pinned(entities) => entities.into_iter().for_each(|entity| self.unpin(entity)),
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

    /// Whether nothing waits for a commit and none is under way: the process
    /// can end without anything being answered late. After [`Event::Settle`]
    /// that comes with the store's answers: time stands still, so that sectors
    /// have nothing more to say of themselves, and nothing is loaded or moved.
    pub fn is_settled(&self) -> bool {
        self.is_over()
            || (self.pipeline.is_idle() && self.has_nothing_waiting() && self.places.is_settled())
    }

    fn has_nothing_waiting(&self) -> bool {
        self.order.is_empty() && self.rows.is_empty() && !self.is_retiring() && !self.says_stop
    }

    /// Whether this process commits nothing any more, ever.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Nothing begins any more.
    fn settle(&mut self, now: Millis) {
        self.says_stop |= !self.settling;
        self.settling = true;
        self.signing.note_settling(now);
    }

    /// Ends the incarnation: in a cluster by a last commit, so that others need not
    /// wait for this node's row to stand still. Alone, nobody waits for it.
    fn leave(&mut self) {
        if self.cluster.is_some() {
            self.leaving = true;
        } else {
            self.end();
        }
    }

    /// Nothing is this node's any more: what its tables have is as old as that.
    fn end(&mut self) {
        self.phase = Phase::Over;
        self.effects.push(NodeEffect::ToTables(ToTable::Over));
    }

    /// What is to be done, in order.
    pub fn drain_effects(&mut self) -> Vec<NodeEffect> {
        std::mem::take(&mut self.effects)
    }

    fn handle_table(&mut self, message: FromTable) {
        match message {
            FromTable::Submit { entity, generation, bytes } => {
                self.submit(entity, generation, bytes);
            }
            FromTable::Dilate { entity, generation, rate } => {
                self.handle_dilate(entity, generation, rate);
            }
            FromTable::Dropped { entity, generation } => self.handle_dropped(entity, generation),
            FromTable::Quiet { entity, generation, rest } => {
                self.handle_quiet(entity, generation, *rest);
            }
            FromTable::Leaving { entity, generation, tick, hash } => {
                self.handle_leaving(entity, generation, tick, hash);
            }
            FromTable::Retired { entity, sequence, bytes } => {
                self.handle_retired(entity, sequence, bytes);
            }
            FromTable::Yielded { entity, moved } => self.handle_yielded(entity, moved),
            FromTable::Carry(message) => self.carry(message),
            FromTable::Acknowledge(ack) => self.acknowledge(ack),
            FromTable::NeedIds(entity) => {
                if self.ids.want(entity) {
                    self.effects.push(NodeEffect::ReadNextId);
                }
                self.grant_ids();
            }
            FromTable::Waiting(tick) => self.wanted = self.wanted.max(tick),
            FromTable::SnapshotDue(entity) => self.want_snapshot(entity),
            FromTable::Snapshot { entity, generation, sequence, bytes } => {
                if self.runs(entity, generation) {
                    let logic = self.world.logic();
                    self.snapshots.push(Made { entity, logic, sequence, bytes }, &self.limits);
                }
            }
        }
    }

    fn submit(&mut self, entity: EntityKey, generation: u64, bytes: Vec<u8>) {
        if !self.runs(entity, generation) {
            // It was disowned meanwhile; the table is told and forgets it.
            return;
        }
        self.waiting(entity).push_back(bytes);
    }

    /// What waits for the next record of an entity, which there is to be.
    fn waiting(&mut self, entity: EntityKey) -> &mut Waiting {
        self.waiting.entry(entity).or_insert_with(|| {
            self.order.push_back(entity);
            Waiting::default()
        })
    }

    /// Its ticks are to follow from the node's in another way, from the next
    /// record on: only here it is known at which tick of the node that is. One
    /// that is about to hibernate is let go as it is.
    fn handle_dilate(&mut self, entity: EntityKey, generation: u64, rate: Rate) {
        let is_closing = self.closing.contains_key(&entity);
        let is_sector = matches!(entity, EntityKey::Sector(_));
        if self.runs(entity, generation) && is_sector && !is_closing {
            self.dilating.insert(entity, rate);
            self.waiting(entity);
        }
    }

    /// Whoever asks something of an entity that is not here asks again; what
    /// nobody says twice goes after it.
    fn propose(&mut self, entity: EntityKey, input: Input) {
        if input.says_lost() {
            self.pass(NodeBody::Lost { entity, input }, 0);
        } else {
            self.send_to(entity, ToTable::Propose { entity, input });
        }
    }

    fn carry(&mut self, message: ChannelMessage) {
        self.pass(NodeBody::Deliver(message), 0);
    }

    fn acknowledge(&mut self, ack: Acknowledgement) {
        self.pass(NodeBody::Acknowledge(ack), 0);
    }

    /// To an entity that runs here, or is made to if it is this node's.
    fn send_to(&mut self, entity: EntityKey, message: ToTable) {
        let is_closing = self.closing.contains_key(&entity);
        if self.owned.contains_key(&entity) && !is_closing {
            self.tell(entity, message);
        } else if self.route(entity) != Route::Here
            || !self.loading.keep(entity, message, is_closing, &self.limits)
        {
            self.counts.dropped += 1;
        }
    }

    fn grant_ids(&mut self) {
        while let Some((entity, start)) = self.ids.grant() {
            let input = Input::Ids { start };
            self.send_to(entity, ToTable::Propose { entity, input });
        }
        if self.ids.must_read() {
            self.effects.push(NodeEffect::ReadNextId);
        }
    }

    /// Whatever can go on now goes on.
    fn advance(&mut self, now: Millis) {
        if self.phase == Phase::Over {
            return;
        }
        if let Some(commit) = self.pipeline.resend(now) {
            self.effects.push(NodeEffect::Commit(commit));
        }
        if self.pipeline.is_idle() {
            match self.phase {
                Phase::Beginning => self.begin(now),
                _ => self.advance_tick(now),
            }
        }
        if self.pipeline.is_idle() && self.has_work(now) {
            self.commit(now);
        }
        self.read_cluster(now);
        self.read_due(now);
        self.begin_loads();
        self.load_offered(now);
        self.begin_snapshots();
        self.sign(now);
        self.note_ready();
        self.effects.push(NodeEffect::WakeAt(self.wake_at(now)));
    }

    /// Of an entity that runs here: what does not has no table to make one.
    fn want_snapshot(&mut self, entity: EntityKey) {
        if self.owned.contains_key(&entity) {
            self.snapshots.want(entity);
        }
    }

    fn begin_snapshots(&mut self) {
        while !self.settling
            && let Some(entity) = self.snapshots.begin_next(&self.limits)
        {
            self.tell(entity, ToTable::Snapshot(entity));
        }
    }

    /// When there is something to do if nothing happens. With a commit under
    /// way that is only its end, and with a table behind only its word, however
    /// late the tick is.
    fn wake_at(&self, now: Millis) -> Millis {
        match self.pipeline.resend_at() {
            Some(at) => at,
            None if self.pipeline.is_idle() && !self.held && !self.settling => self.next_tick,
            None => Millis(now.0 + TICK_MS),
        }
    }

    fn begin(&mut self, now: Millis) {
        self.next_tick = Millis(now.0 + TICK_MS);
        self.sent = now;
        let mut commit = self.empty_commit();
        commit.groups.push(self.began());
        let slots = vec![Slot::Began];
        self.write_entries(&mut commit, &slots, now);
        let commit = self.pipeline.send(commit, slots);
        self.effects.push(NodeEffect::Commit(commit));
    }

    /// The tick moves when it is due, no commit is under way and no table is
    /// too far behind; a late one is not made up for.
    fn advance_tick(&mut self, now: Millis) {
        if now < self.next_tick || self.settling {
            return;
        }
        let is_held = self.tick.since(self.stepped) >= self.limits.ticks_behind;
        let was_held = std::mem::replace(&mut self.held, is_held);
        if is_held {
            self.counts.held += u64::from(!was_held);
            return;
        }
        if self.durable >= self.tick {
            self.loading.retry();
        }
        self.tick = self.tick.after(1);
        let on_time = Millis(self.next_tick.0 + TICK_MS);
        self.next_tick = if on_time > now { on_time } else { Millis(now.0 + TICK_MS) };
        let tick = self.tick;
        self.effects.push(NodeEffect::ToTables(ToTable::Tick { tick, now }));
    }

    fn note_ready(&mut self) {
        let recovered = self.phase == Phase::Recovering && self.scanned && self.loading.is_empty();
        if recovered && self.claiming.is_empty() {
            self.phase = Phase::Running;
            self.note_all_claimed();
            self.effects.push(NodeEffect::Ready);
            self.effects.push(NodeEffect::ReadAsleep { after: None });
        }
    }
}
