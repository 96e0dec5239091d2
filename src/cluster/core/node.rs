//! Owns a node's decisions: which entities it claims, what its commits hold,
//! when its tick moves. Never does I/O: it takes an [`Event`] and gives
//! [`NodeEffect`]s. Called by the node's core thread, and by the simulator.
//!
//! ```text
//!   Beginning ──(commit 0 durable, owned entities claimed)──> Running ──(row refused)──> Deposed
//! ```
//!
//! Invariants: one commit is under way; the tick moves only when none is, and
//! to T + 1 only; a commit whose outcome is unknown is followed by the same
//! bytes or by nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::ids::IdBlocks;
use super::loading::{LoadError, Loaded, Loading};
use super::message::{Committed, FromTable, Installed, ToTable};
use super::pipeline::{Pipeline, Settled, Slot};
use super::snapshots::Snapshots;
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::entity::World;
use crate::entity::channel::{Acknowledgement, ChannelMessage};
use crate::entity::commit::{
    Append, Commit, CommitAnswer, CommitError, Group, NodeRow, Put, RECORD_BYTES_MAX,
};
use crate::entity::input::{Claim, Input};
use crate::entity::keys;
use crate::entity::record::{RecordHeader, encode_input, encode_record};
use crate::entity::replay::Mismatch;

/// The row moves at least this often, in ticks.
const ROW_TICKS: u64 = 2;
/// Bytes of records after which a commit takes no more.
const COMMIT_BYTES: usize = 4 << 20;
/// Records in one commit.
const RECORDS_PER_COMMIT: usize = 8192;
/// Bytes of inputs after which a record takes no more: with the longest input
/// behind them it is still one that stores accept.
const RECORD_BYTES: usize = RECORD_BYTES_MAX / 2;
/// Bytes of rows after which a commit takes no more.
const ROWS_BYTES: usize = 2 << 20;
/// Groups of rows in one commit.
const ROWS_PER_COMMIT: usize = 1024;

/// Something a node's core is told.
#[derive(Debug)]
pub enum Event {
    /// Only that it is now this late; due after [`NodeEffect::WakeAt`].
    Clock,
    /// What the store said to the commit under way.
    CommitDone(Result<CommitAnswer, CommitError>),
    /// From one of the node's tables.
    FromTable(FromTable),
    /// The answer to [`NodeEffect::ScanOwned`]: entities this node owned.
    Owned(Vec<EntityKey>),
    /// The answer to [`NodeEffect::Load`].
    Loaded(EntityKey, Result<Box<Loaded>, LoadError>),
    /// The answer to [`NodeEffect::ReadNextId`]: the key's value and version.
    NextId(Option<(u64, u64)>),
    /// An input for an entity that may not run yet.
    Propose(EntityKey, Input),
    /// The disk has too little room for commands (true), or enough again.
    DiskFull(bool),
    /// Entities that keep the oldest part of an overlong journal alive: those
    /// that run here get a new snapshot.
    Pinned(Vec<EntityKey>),
    /// A group of rows to commit; `id` comes back with the outcome.
    Rows { id: u64, group: Group },
}

/// Something a node's core wants done.
#[derive(Debug)]
pub enum NodeEffect {
    /// Commit this and say how it went; one at a time.
    Commit(Arc<Commit>),
    /// Tell a table: the one this entity is in, or will be.
    ToTable(EntityKey, ToTable),
    /// Tell every table.
    ToTables(ToTable),
    /// Tell each table of the records that are for its entities, in order.
    Committed(Vec<Committed>),
    /// Read the keys of entities this node owned and say them.
    ScanOwned,
    /// Load and replay this entity and say what came of it.
    Load(EntityKey),
    /// Read the next free id block and say it.
    ReadNextId,
    /// What became of a group of rows: the version, or `None` when refused.
    RowsDone { id: u64, version: Option<u64> },
    /// Every entity that this node owned runs: players may come.
    Ready,
    /// The store does not answer (true), or does again.
    StoreAway(bool),
    /// An entity cannot be loaded; it stays as it is, an operator must look.
    Unloadable(EntityKey, LoadError),
    /// Replay found other hashes than the journal says; the journal wins.
    Mismatch(EntityKey, Vec<Mismatch>),
    /// Send [`Event::Clock`] at this time at the latest.
    WakeAt(Millis),
    /// This process owns nothing any more and must end; nothing it holds back
    /// may leave it.
    StepDown(CommitError),
}

/// Counts of a node's core; each is also a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    pub tick: u64,
    pub commits: u64,
    pub records: u64,
    pub record_bytes: u64,
    /// Commits sent again because their outcome was unknown.
    pub resent: u64,
    /// Groups refused that should not have been; stays 0 on one node.
    pub refused: u64,
    pub snapshots: u64,
    /// Proposals and messages dropped because too many waited for a load.
    pub dropped: u64,
}

/// What the next record of an entity here follows.
#[derive(Clone, Copy, Debug)]
struct Owned {
    sequence: u64,
    time: Millis,
    /// The entity's tick when its claim was committed, and the node's then;
    /// `None` until the claim is in a commit.
    anchor: Option<(Tick, Tick)>,
    /// The entity's tick as it was loaded.
    loaded: Tick,
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
    Deposed,
}

/// The core of one node.
#[derive(Debug)]
pub struct NodeCore {
    node: NodeId,
    incarnation: Incarnation,
    nonce: u64,
    world: Arc<World>,
    phase: Phase,
    /// Whether the keys of owned entities have been read.
    scanned: bool,

    tick: Tick,
    next_tick: Millis,
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
    pipeline: Pipeline,

    owned: BTreeMap<EntityKey, Owned>,
    /// Of `owned`: those whose claim is not durable yet.
    claiming: BTreeSet<EntityKey>,
    waiting: BTreeMap<EntityKey, Waiting>,
    /// Keys of `waiting`, in order of arrival.
    order: VecDeque<EntityKey>,
    rows: VecDeque<(u64, Group)>,
    loading: Loading,
    snapshots: Snapshots,
    ids: IdBlocks,
    reservation: Option<Group>,

    counts: NodeCounts,
    effects: Vec<NodeEffect>,
}

impl NodeCore {
    /// A core that begins the incarnation after `row`'s. `nonce` is drawn once
    /// per process.
    pub fn new(node: NodeId, nonce: u64, row: Option<&NodeRow>, world: Arc<World>) -> NodeCore {
        let incarnation = Incarnation(row.map_or(0, |row| row.incarnation.0) + 1);
        let tick = row.map_or(Tick(0), |row| row.tick);
        NodeCore {
            node,
            incarnation,
            nonce,
            world,
            phase: Phase::Beginning,
            scanned: false,
            tick,
            next_tick: Millis(0),
            durable: tick,
            wanted: tick,
            away: false,
            full: false,
            closed: false,
            pipeline: Pipeline::default(),
            owned: BTreeMap::new(),
            claiming: BTreeSet::new(),
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            rows: VecDeque::new(),
            loading: Loading::default(),
            snapshots: Snapshots::default(),
            ids: IdBlocks::default(),
            reservation: None,
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

    pub fn counts(&self) -> NodeCounts {
        NodeCounts { tick: self.tick.0, ..self.counts }
    }

    /// Takes an event that happened at `now`, which never goes back.
    pub fn handle(&mut self, event: Event, now: Millis) {
        self.handle_all([event], now);
    }

    /// Takes events that came together, so that one commit holds them all.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Millis) {
        for event in events {
            if self.phase == Phase::Deposed {
                return;
            }
            self.handle_one(event, now);
        }
        self.advance(now);
    }

    fn handle_one(&mut self, event: Event, now: Millis) {
        match event {
            Event::Clock => {}
            Event::CommitDone(result) => self.handle_commit_done(result, now),
            Event::FromTable(message) => self.handle_table(message),
            Event::Owned(entities) => {
                self.scanned = true;
                // Some may run already: a message came for them before the scan's answer.
                let missing = entities.into_iter().filter(|key| !self.owned.contains_key(key));
                missing.for_each(|entity| self.loading.want(entity));
            }
            Event::Loaded(entity, loaded) => self.handle_loaded(entity, loaded),
            Event::NextId(found) => self.reservation = Some(self.ids.reserve(found)),
            Event::Propose(entity, input) => {
                self.send_to(entity, ToTable::Propose { entity, input });
            }
            Event::Rows { id, group } => self.rows.push_back((id, group)),
            Event::Pinned(entities) => {
                for entity in entities.into_iter().filter(|key| self.owned.contains_key(key)) {
                    self.effects.push(NodeEffect::ToTable(entity, ToTable::Snapshot(entity)));
                }
            }
            Event::DiskFull(full) => {
                self.full = full;
                self.note_closed();
            }
        }
    }

    /// Whether nothing waits for a commit and none is under way: the process
    /// can end without anything being answered late.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Deposed
            || (self.pipeline.is_idle() && self.order.is_empty() && self.rows.is_empty())
    }

    /// What is to be done, in order.
    pub fn drain_effects(&mut self) -> Vec<NodeEffect> {
        std::mem::take(&mut self.effects)
    }

    fn handle_commit_done(&mut self, result: Result<CommitAnswer, CommitError>, now: Millis) {
        match self.pipeline.settle(result, now) {
            Some(Settled::Durable { commit, slots, answer }) => {
                self.note_away(false);
                self.handle_durable(&commit, slots, &answer);
            }
            Some(Settled::Unknown) => {
                self.counts.resent += 1;
                self.note_away(true);
            }
            Some(Settled::Deposed(error)) => {
                self.phase = Phase::Deposed;
                self.effects.push(NodeEffect::StepDown(error));
            }
            None => {}
        }
    }

    fn note_away(&mut self, away: bool) {
        self.away = away;
        self.note_closed();
    }

    /// Tells tables and sessions when commands are not taken any more, or are
    /// again.
    fn note_closed(&mut self) {
        let closed = self.away || self.full;
        if self.closed != closed {
            self.closed = closed;
            self.effects.push(NodeEffect::ToTables(ToTable::Away(closed)));
            self.effects.push(NodeEffect::StoreAway(closed));
        }
    }

    fn handle_durable(&mut self, commit: &Commit, slots: Vec<Slot>, answer: &CommitAnswer) {
        if self.phase == Phase::Beginning {
            self.phase = Phase::Recovering;
            self.effects.push(NodeEffect::ScanOwned);
            return;
        }
        self.counts.commits += 1;
        let mut records = Vec::new();
        for (index, slot) in slots.into_iter().enumerate() {
            // A commit never has so many groups that an index would not fit.
            let accepted = !answer.refused.contains(&(index as u32));
            match slot {
                Slot::Record(record) if accepted => records.push(record),
                Slot::Record(record) => self.disown(record.entity),
                Slot::Rows(id) => {
                    let version = accepted.then_some(answer.version);
                    self.effects.push(NodeEffect::RowsDone { id, version });
                }
                Slot::Ids => {
                    if self.ids.settle(accepted) {
                        self.effects.push(NodeEffect::ReadNextId);
                    }
                    self.grant_ids();
                }
                Slot::Chunks => {}
                Slot::Snapshot { .. } if !accepted => self.counts.refused += 1,
                Slot::Snapshot { entity, sequence, bytes } => {
                    self.counts.snapshots += 1;
                    let done = ToTable::SnapshotDone { entity, sequence, bytes };
                    self.effects.push(NodeEffect::ToTable(entity, done));
                }
            }
        }
        self.counts.records += records.len() as u64;
        self.counts.record_bytes += records.iter().map(|record| record.bytes).sum::<u64>();
        for record in records.iter().filter(|record| record.claim.is_some()) {
            self.claiming.remove(&record.entity);
        }
        self.durable = commit.tick;
        self.effects.push(NodeEffect::ToTables(ToTable::Durable(commit.tick)));
        if !records.is_empty() {
            self.effects.push(NodeEffect::Committed(records));
        }
    }

    /// Another node has the entity, whatever was thought here.
    fn disown(&mut self, entity: EntityKey) {
        self.counts.refused += 1;
        self.owned.remove(&entity);
        self.claiming.remove(&entity);
        if self.waiting.remove(&entity).is_some() {
            self.order.retain(|key| *key != entity);
        }
        self.effects.push(NodeEffect::ToTable(entity, ToTable::Drop(entity)));
    }

    fn handle_table(&mut self, message: FromTable) {
        match message {
            FromTable::Submit { entity, bytes } => self.submit(entity, bytes),
            FromTable::Carry(message) => self.carry(message),
            FromTable::Acknowledge(ack) => self.acknowledge(ack),
            FromTable::NeedIds(entity) => {
                if self.ids.want(entity) {
                    self.effects.push(NodeEffect::ReadNextId);
                }
                self.grant_ids();
            }
            FromTable::Waiting(tick) => self.wanted = self.wanted.max(tick),
            FromTable::Snapshot { entity, sequence, bytes } => {
                self.snapshots.push(entity, sequence, bytes);
            }
        }
    }

    fn submit(&mut self, entity: EntityKey, bytes: Vec<u8>) {
        if !self.owned.contains_key(&entity) {
            // It was disowned meanwhile; the table is told and forgets it.
            return;
        }
        let waiting = self.waiting.entry(entity).or_insert_with(|| {
            self.order.push_back(entity);
            Waiting::default()
        });
        waiting.push_back(bytes);
    }

    fn carry(&mut self, message: ChannelMessage) {
        self.send_to(message.channel.receiver, ToTable::Deliver(message));
    }

    fn acknowledge(&mut self, ack: Acknowledgement) {
        // A sender that does not run here asks again when it does.
        let sender = ack.channel.sender;
        if self.owned.contains_key(&sender) {
            self.effects.push(NodeEffect::ToTable(sender, ToTable::Acknowledge(ack)));
        }
    }

    /// To an entity that runs here, or is made to.
    fn send_to(&mut self, entity: EntityKey, message: ToTable) {
        if self.owned.contains_key(&entity) {
            self.effects.push(NodeEffect::ToTable(entity, message));
        } else if !self.loading.keep(entity, message) {
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

    fn handle_loaded(&mut self, entity: EntityKey, loaded: Result<Box<Loaded>, LoadError>) {
        let loaded = match loaded {
            Ok(loaded) => *loaded,
            // With the next tick, which comes when the store answers commits.
            Err(LoadError::Store(_)) => return self.loading.postpone(entity),
            Err(error) => {
                self.loading.fail(entity);
                self.effects.push(NodeEffect::Unloadable(entity, error));
                return;
            }
        };
        let head = loaded.entity.head();
        let owned =
            Owned { sequence: head.sequence, time: head.time, anchor: None, loaded: head.tick };
        self.owned.insert(entity, owned);
        self.claiming.insert(entity);
        self.waiting.insert(entity, Waiting::default());
        self.order.push_back(entity);
        if !loaded.mismatches.is_empty() {
            self.effects.push(NodeEffect::Mismatch(entity, loaded.mismatches));
        }
        let Loaded { entity: state, snapshot_bytes, journal_bytes, .. } = loaded;
        let installed = Installed { entity: state, snapshot_bytes, journal_bytes };
        let install = ToTable::Install(Box::new(installed));
        self.effects.push(NodeEffect::ToTable(entity, install));
        for message in self.loading.finish(entity) {
            self.effects.push(NodeEffect::ToTable(entity, message));
        }
    }

    /// Whatever can go on now goes on.
    fn advance(&mut self, now: Millis) {
        if self.phase == Phase::Deposed {
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
        if self.pipeline.is_idle() && self.has_work() {
            self.commit(now);
        }
        self.begin_loads();
        self.note_ready();
        self.effects.push(NodeEffect::WakeAt(self.wake_at(now)));
    }

    /// When there is something to do if nothing happens. With a commit under
    /// way that is only its end, however late the tick is.
    fn wake_at(&self, now: Millis) -> Millis {
        match self.pipeline.resend_at() {
            Some(at) => at,
            None if self.pipeline.is_idle() => self.next_tick,
            None => Millis(now.0 + TICK_MS),
        }
    }

    /// Only when commit 0 is durable: it is what ends the incarnation before,
    /// whose open claims could not be taken over else.
    fn begin_loads(&mut self) {
        while self.phase != Phase::Beginning
            && let Some(entity) = self.loading.begin_next()
        {
            self.effects.push(NodeEffect::Load(entity));
        }
    }

    fn begin(&mut self, now: Millis) {
        self.next_tick = Millis(now.0 + TICK_MS);
        let commit = self.empty_commit();
        let commit = self.pipeline.send(commit, Vec::new());
        self.effects.push(NodeEffect::Commit(commit));
    }

    /// The tick moves when it is due and no commit is under way; a late one is
    /// not made up for.
    fn advance_tick(&mut self, now: Millis) {
        if now < self.next_tick {
            return;
        }
        self.tick = self.tick.after(1);
        self.loading.retry();
        let on_time = Millis(self.next_tick.0 + TICK_MS);
        self.next_tick = if on_time > now { on_time } else { Millis(now.0 + TICK_MS) };
        let tick = self.tick;
        self.effects.push(NodeEffect::ToTables(ToTable::Tick { tick, now }));
    }

    fn has_work(&self) -> bool {
        self.phase != Phase::Beginning
            && (!self.order.is_empty()
                || !self.rows.is_empty()
                || !self.snapshots.is_empty()
                || self.reservation.is_some()
                || self.wanted > self.durable
                || self.tick.since(self.durable) >= ROW_TICKS)
    }

    fn commit(&mut self, now: Millis) {
        let mut commit = self.empty_commit();
        let mut slots = Vec::new();
        let records = self.take_records(now);
        let rows = self.take_rows();
        let mut add = |(group, slot): (Group, Slot)| {
            commit.groups.push(group);
            slots.push(slot);
        };
        records.into_iter().chain(rows).for_each(&mut add);
        self.reservation.take().map(|group| (group, Slot::Ids)).into_iter().for_each(&mut add);
        self.snapshots.take(self.world.logic()).into_iter().for_each(&mut add);
        let commit = self.pipeline.send(commit, slots);
        self.effects.push(NodeEffect::Commit(commit));
    }

    fn empty_commit(&self) -> Commit {
        Commit {
            node: self.node,
            incarnation: self.incarnation,
            number: self.pipeline.next_number(),
            nonce: self.nonce,
            tick: self.tick,
            audit_root: [0; 32],
            groups: Vec::new(),
        }
    }

    /// One record for each entity that has inputs waiting, up to a size.
    fn take_records(&mut self, now: Millis) -> Vec<(Group, Slot)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let entities = self.order.len().min(RECORDS_PER_COMMIT);
        for _ in 0..entities {
            if bytes >= COMMIT_BYTES {
                break;
            }
            let Some(entity) = self.order.pop_front() else { break };
            let Some(mut waiting) = self.waiting.remove(&entity) else { continue };
            let group = self.record(entity, &mut waiting, now);
            if !waiting.is_empty() {
                self.waiting.insert(entity, waiting);
                self.order.push_back(entity);
            }
            let Some(group) = group else { continue };
            bytes += group.0.append.as_ref().map_or(0, |append| append.bytes.len());
            taken.push(group);
        }
        taken
    }

    fn take_rows(&mut self) -> Vec<(Group, Slot)> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < ROWS_BYTES
            && taken.len() < ROWS_PER_COMMIT
            && let Some((id, group)) = self.rows.pop_front()
        {
            bytes += group.weight();
            taken.push((group, Slot::Rows(id)));
        }
        taken
    }

    fn record(
        &mut self,
        entity: EntityKey,
        waiting: &mut Waiting,
        now: Millis,
    ) -> Option<(Group, Slot)> {
        let owned = self.owned.get_mut(&entity)?;
        let node_tick = self.tick;
        let claim = owned.anchor.is_none().then_some(Claim {
            node: self.node,
            incarnation: self.incarnation,
            node_tick,
        });
        let (tick, at) = *owned.anchor.get_or_insert((owned.loaded, node_tick));
        owned.sequence += 1;
        owned.time = owned.time.max(now);
        let header = RecordHeader {
            sequence: owned.sequence,
            tick: tick.after(node_tick.since(at)),
            time: owned.time,
        };
        let mut inputs = Vec::new();
        let mut puts = Vec::new();
        if let Some(claim) = claim {
            encode_input(&Input::Claim(claim), &mut inputs);
            let key = keys::owned(self.node, entity);
            puts.push(Put { key, value: Some(Vec::new()) });
        }
        let mut taken = 0;
        while inputs.len() < RECORD_BYTES
            && let Some(input) = waiting.pop_front()
        {
            inputs.extend_from_slice(&input);
            taken += 1;
        }
        let count = taken + u32::from(claim.is_some());
        let bytes = encode_record(&header, self.world.logic(), count, &inputs);
        let committed =
            Committed { entity, header, claim, inputs: taken, bytes: bytes.len() as u64 };
        let append = Some(Append { entity, sequence: header.sequence, bytes });
        Some((Group { checks: Vec::new(), puts, append }, Slot::Record(committed)))
    }

    fn note_ready(&mut self) {
        let recovered = self.phase == Phase::Recovering && self.scanned && self.loading.is_empty();
        if recovered && self.claiming.is_empty() {
            self.phase = Phase::Running;
            self.effects.push(NodeEffect::Ready);
        }
    }
}
