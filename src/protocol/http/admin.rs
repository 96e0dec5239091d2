//! Owns the bodies of the admin calls: what a cluster is and does, and what an
//! operator wants changed. Lists are bounded. Nodes are told by their numbers.

use serde::{Deserialize, Serialize};

use crate::protocol::wire::Sector;

/// All nodes that ever were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// The node that answers.
    pub me: u32,
    /// The version of the directory that it knows.
    pub directory: u64,
    /// The node that balances, if any lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planner: Option<u32>,
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub node: u32,
    /// Absent while the store does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where other nodes dial it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// It was not declared dead, and did not stop.
    pub lives: bool,
    /// It is to be left.
    pub draining: bool,
    /// Of `sector`, `coordinator`, `meta` and `gateway`, as it last said.
    pub roles: Vec<String>,
    /// Entries of the directory that give it something.
    pub entries: u64,
    /// From the node that answers: `self`, `up`, `down` or `refused`.
    pub link: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_us: Option<u32>,
    /// Absent when it did not answer within a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub incarnation: u64,
    pub build: String,
    /// `sled`, `postgres`, or `mesh` where another node has it.
    pub store: String,
    pub tick: u64,
    /// Its store answers and its disk has room.
    pub taking_commands: bool,
    /// The version of the directory that it knows.
    pub directory: u64,
    pub sectors: u64,
    /// Ledgers and boards.
    pub others: u64,
    /// Of both, those that are on their way to another node.
    pub leaving: u64,
    /// Entities that cannot be loaded.
    pub parked: u64,
    pub units: u64,
    pub connections: u64,
    /// Thousandths of a tick that each of its threads of entities works.
    pub threads: Vec<u32>,
    /// Microseconds of each tick (100 ms) that its sectors cost, at full rate, and
    /// for which those threads work for anything else.
    pub sectors_us: u64,
    pub other_us: u64,
    /// The strategy by which it balances when it is the planner, or `off`.
    pub balance: String,
}

/// The sectors of all nodes that have most to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BusySectors {
    /// The busiest first.
    pub sectors: Vec<BusySector>,
    /// How many run, on the nodes that answered.
    pub total: u64,
    /// Living nodes that did not answer within a second.
    pub silent: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BusySector {
    pub sector: Sector,
    pub node: u32,
    pub units: u32,
    /// 0 to 255.
    pub activity: u32,
    /// Connections that observe it.
    pub observers: u32,
    /// Thousandths of a thread that it costs, as measured, at full rate.
    pub load: u32,
    /// It is alone on a thread.
    pub own_thread: bool,
}

/// A sector of any scale: whose it is and what runs of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Region {
    pub sector: Sector,
    /// The version of the directory that says so.
    pub directory: u64,
    /// The entry that it is under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// Entries inside of it, the first hundred.
    pub finer: Vec<Entry>,
    pub finer_count: u64,
    /// What living nodes run of it.
    pub running: Vec<Running>,
    /// Of one of scale 0 that runs: what it knows of units just beyond its borders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<Beyond>,
    /// Living nodes that did not answer within a second.
    pub silent: Vec<u32>,
}

/// Units of a sector beside it, within 200 m of the border or as far as weapons reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Beyond {
    pub sector: Sector,
    /// Of that sector when it last said so.
    pub tick: u64,
    pub units: u32,
    /// Of them, those that move.
    pub moving: u32,
}

/// An entry of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub sector: Sector,
    pub node: u32,
    /// An operator made it: balancing leaves it.
    #[serde(default)]
    pub pinned: bool,
}

/// What a node runs of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Running {
    pub node: u32,
    /// The version of the directory that it knows.
    pub directory: u64,
    pub sectors: u64,
    pub units: u64,
    /// Of the sectors, those that are on their way to another node.
    pub leaving: u64,
}

/// Whose an entity is and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EntityPlace {
    /// As it was asked for.
    pub entity: String,
    /// Whose it is by the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
    /// It has an entry of its own.
    pub own_entry: bool,
    pub runs_at: Vec<u32>,
    /// Living nodes that did not answer within a second.
    pub silent: Vec<u32>,
}

/// The entities that nobody runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ParkedEntities {
    /// The first thousand.
    pub entities: Vec<ParkedEntity>,
}

/// An entity that breaks whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ParkedEntity {
    /// As the call that resumes it takes it.
    pub entity: String,
    /// What breaks, in words.
    pub why: String,
    /// In milliseconds since 1970.
    pub since: u64,
    /// Who parked it.
    pub node: u32,
    /// The record of its journal that did it.
    pub record: u64,
    /// The tick that it got to.
    pub tick: u64,
}

/// An entity that is to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// As it was asked for.
    pub entity: String,
    /// Whose it is by the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Migrate {
    /// The node's number.
    pub to: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Merge {
    /// Also where that gives parts to another node.
    #[serde(default)]
    pub may_move: bool,
}

/// What became of the directory. The nodes do the rest by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Steered {
    /// Its version now.
    pub directory: u64,
    /// Entries that were put or removed; 0 when all was so already.
    pub changes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balance {
    /// `PlayerCount`, `ActivityLevel`, `ResourceUsage` or `Geographic`.
    pub strategy: String,
    /// Only say what would be changed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a strategy changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct BalancePlan {
    pub strategy: String,
    /// The version of the directory that it was made from.
    pub seen: u64,
    /// The version that it led to; absent for a dry run, and when there is
    /// nothing to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<u64>,
    pub moves: Vec<Move>,
    /// Entries that go without anything moving.
    pub merged: u64,
    /// Entities besides sectors that lose their own entry.
    pub released: u64,
    /// Kinds of entities that other nodes share from now on.
    pub shares: u64,
    /// Entries that an operator made and that stay, and may be balanced from now on.
    #[serde(default)]
    pub unpinned: u64,
    /// Living nodes that did not say what they do: only what must move does.
    pub silent: Vec<u32>,
    /// Sectors that run and are too many to be told.
    pub untold: u64,
}

/// A part of the map that changes its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Move {
    pub sector: Sector,
    pub from: u32,
    pub to: u32,
    /// Sectors in it that run, and what they weigh by the strategy.
    pub sectors: u64,
    pub weight: u64,
    /// `dead`, `draining`, `hot`, `load`, `nearer` or `cold`.
    pub why: String,
}

/// What is to be said to everybody who is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Announce {
    /// One line, 1 to 500 characters.
    pub text: String,
}

/// Who said it to how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    pub gateways: Vec<AnnouncedBy>,
    /// Nodes that did not answer within a second: they may have said it, or not.
    pub silent: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedBy {
    pub node: u32,
    pub connections: u32,
}

/// A verification of the audit log by the node that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// `never`, `running`, `done` or `failed`.
    pub state: String,
    /// When it began and ended, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// Entries and signatures that were read so far.
    pub read: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Certificates were held against the authorities that the node believes.
    pub authorities: bool,
    /// Of every node that ever was; empty until it is done.
    pub logs: Vec<AuditedLog>,
}

/// What was found of one node's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditedLog {
    pub node: u32,
    pub entries: u64,
    /// Signatures that are believed, and over what is there.
    pub signatures: u64,
    /// Heads that others wrote down and that are as they say.
    pub witnessed: u64,
    /// Entries at the end that are not signed.
    pub unsigned: u64,
    /// When the first of them was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsigned_since: Option<u64>,
    /// To be kept elsewhere, for `starmesh audit verify --heads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<AuditHead>,
    /// The first thing that is not as it was written; absent where all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How far a log has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditHead {
    pub incarnation: u64,
    pub number: u64,
    /// 64 hexadecimal digits.
    pub root: String,
}
