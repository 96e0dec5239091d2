//! Owns the closed lists of what a node's core is told and of what it wants
//! done, and what it counts. Never decides anything.

use std::sync::Arc;

use super::cluster::ClusterRead;
use super::handover::Part;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, Tick};
use crate::cluster::core::hot::TableLoad;
use crate::cluster::core::loading::{Ahead, Asker, LoadError, Loaded};
use crate::cluster::core::map::Map;
use crate::cluster::core::message::{FromTable, NodeMessage, ToTable};
use crate::cluster::core::shadows::{Cast, Caster};
use crate::entity::attempt::Attempt;
use crate::entity::audit::{Head, Signature, Statement};
use crate::entity::commit::{Commit, CommitAnswer, CommitError, Group};
use crate::entity::envelope::Logic;
use crate::entity::input::{Input, InputPlace};
use crate::entity::replay::Mismatch;

/// Something a node's core is told.
#[derive(Debug)]
pub enum Event {
    /// Only that it is now this late; due after [`NodeEffect::WakeAt`].
    Clock,
    /// What the store said to the commit under way.
    CommitDone(Result<CommitAnswer, CommitError>),
    /// Every table has done what it was told up to and with this tick.
    Stepped(Tick),
    /// From one of the node's tables.
    FromTable(FromTable),
    /// The answer to [`NodeEffect::ScanOwned`]: entities this node owned, each with
    /// the version of its key, and incarnations of it that ended.
    Owned { entities: Vec<(EntityKey, u64)>, ended: Vec<Incarnation> },
    /// The answer to [`NodeEffect::Load`].
    Loaded(EntityKey, Result<Box<Loaded>, LoadError>),
    /// The answer to [`NodeEffect::LoadAhead`].
    LoadedAhead(EntityKey, Result<Box<Ahead>, LoadError>),
    /// The answer to [`NodeEffect::ReadNextId`]: the key's value and version.
    NextId(Option<(u64, u64)>),
    /// The answer to [`NodeEffect::ReadCluster`], `None` when the store did not
    /// give one.
    Cluster(Option<Box<ClusterRead>>),
    /// The answer to [`NodeEffect::ScanOwnedBy`], `None` as above.
    OwnedBy { node: NodeId, entities: Option<Vec<EntityKey>> },
    /// From the core of another node, in that incarnation.
    FromNode { node: NodeId, incarnation: Incarnation, message: NodeMessage },
    /// What sectors of other nodes cast on some that are to be here.
    Casts(Vec<(Caster, Cast)>),
    /// An input for an entity that may not run yet.
    Propose(EntityKey, Input),
    /// Somebody wants to see or command an entity that does not run. Answered
    /// by [`ToTable::Awake`] or [`NodeEffect::Dormant`], or not at all when too
    /// much waits for loads.
    Wake(EntityKey),
    /// This sector is to go to that table, if it runs and nothing stands
    /// against it; nobody is answered.
    Move { entity: EntityKey, to: usize },
    /// A table says how busy its thread is.
    Load { table: usize, load: TableLoad },
    /// The answer to [`NodeEffect::ReadParked`]: ascending; `None` when the store did
    /// not give one.
    Parked(Option<Vec<EntityKey>>),
    /// The answer to [`NodeEffect::ReadAttempts`]; `None` when the store did not give
    /// one.
    Attempts(Option<Vec<Attempt>>),
    /// This process is about to end because of an entity.
    Blame(Attempt),
    /// The row of this entity, which was parked, was deleted here: whoever it belongs
    /// to is to claim it.
    Resumed(EntityKey),
    /// The answer to [`NodeEffect::ReadDue`]: the first timers there, in order.
    Due(Vec<(Millis, EntityKey)>),
    /// The answer to [`NodeEffect::ReadAsleep`]: sectors that hibernate, and
    /// after which key there may be more.
    Asleep { page: Vec<EntityKey>, after: Option<Vec<u8>> },
    /// The disk has too little room for commands (true), or enough again.
    DiskFull(bool),
    /// Entities that keep the oldest part of an overlong journal alive: they
    /// get a new snapshot, for which those that hibernate are woken, some at a
    /// time.
    Pinned(Vec<EntityKey>),
    /// There is a key to sign the audit log with, and its certificate is in the
    /// store.
    MaySign,
    /// The answer to [`NodeEffect::Sign`], `None` when it failed.
    Signed { statement: Statement, signature: Option<Signature> },
    /// The node is to stop: what was admitted is made durable, and nothing
    /// begins any more.
    Settle,
    /// The node has settled: its incarnation is to end, and with it this core.
    Leave,
    /// The cluster writes this format version, as its row says: nodes that do not
    /// read it have no place any more.
    Format(u16),
    /// A group of rows to commit; `id` comes back with the outcome.
    Rows { id: u64, group: Group },
}

/// Something a node's core wants done.
#[derive(Debug)]
pub enum NodeEffect {
    /// Commit this and say how it went; one at a time.
    Commit(Arc<Commit>),
    /// Tell this table.
    ToTable(usize, ToTable),
    /// Tell every table.
    ToTables(ToTable),
    /// Read the keys of entities this node owned and of its incarnations that
    /// ended, and say them.
    ScanOwned,
    /// Read all nodes' rows, and the directory if its version is another.
    ReadCluster { version: u64 },
    /// Read the keys of entities that this other node owned, and say them.
    ScanOwnedBy(NodeId),
    /// Carry this to the core of another node; it may be lost.
    ToNode(NodeId, NodeMessage),
    /// Carry this to the node of the sector on which it falls, in datagrams; it may be
    /// lost.
    Cast(NodeId, Cast),
    /// What the shells may know of the cluster changed.
    Map(Map),
    /// An entity that was to be woken is this other node's.
    Elsewhere(EntityKey, NodeId),
    /// Load and replay this entity and say what came of it: only the records
    /// behind what was loaded ahead, if it was.
    Load(EntityKey, Asker, Option<Box<Ahead>>),
    /// Load and replay this entity, which another node runs and is to hand over.
    LoadAhead(EntityKey),
    /// Read the next free id block and say it.
    ReadNextId,
    /// Read the first `limit` timers of hibernating entities behind a key.
    ReadDue { after: Option<Vec<u8>>, limit: usize },
    /// Read which entities are parked.
    ReadParked,
    /// Read which entities ended processes.
    ReadAttempts,
    /// Find out what it takes to park this entity, and why that is so, without running
    /// it; answered by [`Event::Loaded`].
    Condemn(EntityKey, Asker, String),
    /// That a process ended because of an entity is in the store.
    Blamed(Attempt),
    /// Read a page of the keys of sectors that hibernate, behind a key.
    ReadAsleep { after: Option<Vec<u8>> },
    /// Nobody ever had a record of this entity, or it was deleted: it is what
    /// the seed gives, and is not claimed to be seen.
    Dormant(EntityKey),
    /// What became of a group of rows: the version, or `None` when refused.
    RowsDone { id: u64, version: Option<u64> },
    /// Sign this and say what came of it; one at a time.
    Sign(Statement),
    /// This node said itself that its audit log had come so far, and its row says
    /// less, or something else: somebody changed the store.
    OtherHead(NodeId, Head),
    /// Every entity that this node owned runs: players may come.
    Ready,
    /// The store does not answer (true), or does again.
    StoreAway(bool),
    /// This node's clock and the store's are `off_ms` apart and nothing is
    /// claimed (false), or they agree again.
    Claiming { may_claim: bool, off_ms: u64 },
    /// An entity cannot be loaded; it stays as it is, an operator must look.
    Unloadable(EntityKey, LoadError),
    /// An entity that could not be loaded because it was parked may be again.
    Resumed(EntityKey),
    /// All that is parked in the cluster, ascending, when that changed: nobody runs it,
    /// wherever it belongs.
    ParkedAnywhere(Vec<EntityKey>),
    /// These inputs of an entity panicked and are set aside; that is durable.
    SetAside(EntityKey, Vec<InputPlace>),
    /// An entity needs a logic that this node cannot run: living nodes that can are
    /// asked for it, until one has it or it is another's.
    Lacks(EntityKey, Logic),
    /// Replay found other hashes than the journal says; the journal wins.
    Mismatch(EntityKey, Vec<Mismatch>),
    /// A part of a hand-over took so many milliseconds.
    Passed(Part, u64),
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
    /// Ticks that began late because a table was too far behind.
    pub held: u64,
    /// Commits sent again because their outcome was unknown.
    pub resent: u64,
    /// Groups refused that should not have been; stays 0 on one node.
    pub refused: u64,
    pub snapshots: u64,
    /// Entities that hibernated.
    pub closed: u64,
    /// Of them, those of which nothing was kept.
    pub deleted: u64,
    /// Nodes that this one declared dead.
    pub deaths: u64,
    /// Entities that it gave to other nodes.
    pub handed_over: u64,
    /// Claimed with another logic than they had.
    pub adopted: u64,
    /// Entities that wait for a node that has their logic.
    pub foreign: u64,
    /// Entities that were claimed after only the end of their journal was read.
    pub ahead: u64,
    /// Messages of incarnations that had ended.
    pub unheeded: u64,
    /// Signatures over audit logs that are durable, and tries that failed.
    pub signatures: u64,
    pub sign_failures: u64,
    /// Entities that changed their table.
    pub moves: u64,
    /// Sectors that have a thread of their own.
    pub hot: u64,
    /// Sectors that hibernate; `None` before they have been counted.
    pub asleep: Option<u64>,
    /// Proposals and messages dropped because too many waited for a load.
    pub dropped: u64,
    /// Entities that were parked here.
    pub parked: u64,
    /// Inputs that were set aside here.
    pub set_aside: u64,
    /// Groups of rows that no store would take.
    pub malformed: u64,
}
