//! Owns what a node's core and its tables of entities say to each other, and
//! what the cores of nodes do. The core's messages to one table arrive in the
//! order they were sent; that order is what makes a table deterministic. Those
//! between nodes may be lost, doubled and late.

use serde::{Deserialize, Serialize};

use super::shadows::Cast;
use super::table::Moved;
use crate::base::{EntityKey, Millis, NodeId, StateHash, Tick};
use crate::entity::Entity;
use crate::entity::audit::Head;
use crate::entity::channel::{Acknowledgement, ChannelMessage};
use crate::entity::envelope::Logic;
use crate::entity::input::{Claim, Dilation, Input};
use crate::entity::pace::Rate;
use crate::entity::record::RecordHeader;

/// From the core to a table.
#[derive(Clone, Debug)]
pub enum ToTable {
    /// Run this entity: it was loaded, and its claim is being committed.
    Install(Box<Installed>),
    /// Records of a commit that is durable; apply them, in this order.
    Committed(Vec<Committed>),
    /// The node's tick is now this: step.
    Tick { tick: Tick, now: Millis },
    /// The node's row says at least this: outputs of ticks up to it may leave.
    Durable(Tick),
    /// The store does not answer (true): take no commands. Or does again.
    Away(bool),
    /// The node owns nothing any more, and never will: answer nothing, take
    /// nothing.
    Over,
    /// A message from another entity.
    Deliver(ChannelMessage),
    /// What one of the entities here sent was applied.
    Acknowledge(Acknowledgement),
    /// An input the core has for an entity.
    Propose { entity: EntityKey, input: Input },
    /// Make a snapshot of this entity: now, or behind its next record if it
    /// has none since the last snapshot. It is told how that ended.
    Snapshot(EntityKey),
    /// A snapshot is durable; what is in it counts no longer as journal.
    SnapshotDone { entity: EntityKey, sequence: u64, bytes: u64 },
    /// A snapshot was not taken: there is one as new. Another may be made.
    SnapshotRefused { entity: EntityKey, sequence: u64 },
    /// The entity is not this node's any more, or hibernates: forget it,
    /// publish nothing.
    Drop(EntityKey),
    /// Give this entity up, another table of this node gets it; answered by
    /// [`FromTable::Yielded`].
    Yield(EntityKey),
    /// Run this entity, which another table gave up, and take what came for it
    /// meanwhile, in order.
    Adopt { moved: Box<Moved>, then: Vec<ToTable> },
    /// Have this entity take nothing more from its next tick on, for another node
    /// gets it; answered by [`FromTable::Leaving`] when nothing waits for it any more.
    Leave(EntityKey),
    /// This record gave the entity to a node of another version of the simulation,
    /// which can read a state and run nothing: answered by [`FromTable::Retired`].
    Retire { record: Committed, to: NodeId },
    /// What sectors cast on some of those here; it may be lost.
    Shadows(Vec<Cast>),
    /// To whoever asked for the entity to be woken, by way of its table: it is
    /// installed. The table itself does nothing about it.
    Awake(EntityKey),
}

/// An entity brought back, ready to run.
#[derive(Clone, Debug)]
pub struct Installed {
    pub entity: Entity,
    /// Counts installations on this node, so that what is said of one is never
    /// taken for what is said of a later one.
    pub generation: u64,
    pub snapshot_bytes: u64,
    pub journal_bytes: u64,
}

/// What an entity leaves behind when it hibernates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// An enveloped [`Summary`](crate::entity::summary::Summary).
    pub summary: Option<Vec<u8>>,
    /// Its timer, by its own time.
    pub due: Option<Millis>,
    /// Nothing of it need be kept.
    pub is_seed: bool,
}

/// One entity's record in a durable commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub entity: EntityKey,
    /// Of the installation whose inputs these are.
    pub generation: u64,
    pub header: RecordHeader,
    /// The logic that the entity had, if it adopts another: that comes first in
    /// the record.
    pub adopts: Option<Logic>,
    /// The claim that comes next in the record, if it holds one.
    pub claim: Option<Claim>,
    /// The dilation that comes next in it, if it holds one.
    pub dilation: Option<Dilation>,
    /// Whether with that claim it comes from hibernation.
    pub woke: bool,
    /// Milliseconds by which the entity's time is ahead of the node's.
    pub lead: u64,
    /// How many of the inputs submitted for the entity are in it, oldest first.
    pub inputs: u32,
    /// Size of the record.
    pub bytes: u64,
}

/// From a table to the core.
#[derive(Clone, Debug)]
pub enum FromTable {
    /// Make this input of the entity durable, behind those submitted before.
    Submit { entity: EntityKey, generation: u64, bytes: Vec<u8> },
    /// Have the sector run at this rate from its next record on.
    Dilate { entity: EntityKey, generation: u64, rate: Rate },
    /// A durable record did not fit the entity: it is forgotten here and has
    /// to be loaded again.
    Dropped { entity: EntityKey, generation: u64 },
    /// The entity panicked at that tick of its own: it is forgotten here and has to be
    /// loaded again.
    Broke { entity: EntityKey, generation: u64, at: Tick },
    /// Carry this to its receiver.
    Carry(ChannelMessage),
    /// Carry this to the channel's sender.
    Acknowledge(Acknowledgement),
    /// The entity has been quiet for long enough to hibernate; the table takes
    /// nothing more for it and waits for [`ToTable::Drop`].
    Quiet { entity: EntityKey, generation: u64, rest: Box<Rest> },
    /// The entity takes nothing more, and all that it took is durable: it may
    /// be handed over. Until [`ToTable::Drop`] it goes on. `hash` is of its state
    /// after the step to `tick` and before the records of that tick.
    Leaving { entity: EntityKey, generation: u64, tick: Tick, hash: StateHash },
    /// The entity's state after `sequence`, with which it was given to another node;
    /// `None` when that record did not fit.
    Retired { entity: EntityKey, sequence: u64, bytes: Option<Vec<u8>> },
    /// All that the table has of the entity is for another one: nothing of it is
    /// left here. `None` when it stays, because it is about to hibernate.
    Yielded { entity: EntityKey, moved: Option<Box<Moved>> },
    /// The entity used up its ids.
    NeedIds(EntityKey),
    /// There are outputs of this tick; they wait for the row to say it.
    Waiting(Tick),
    /// What sectors here cast beyond their borders.
    Cast(Vec<Cast>),
    /// The entity's journal is long enough for a snapshot: say when to make it.
    SnapshotDue(EntityKey),
    /// The entity's state after `sequence`, to be its snapshot.
    Snapshot { entity: EntityKey, generation: u64, sequence: u64, bytes: Vec<u8> },
}

/// From a node's core to another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMessage {
    /// How often it was passed on, because the entity was not where a directory
    /// said.
    pub hops: u8,
    pub body: NodeBody,
}

/// What cores say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeBody {
    /// A message from an entity to another; it comes again until it is
    /// acknowledged.
    Deliver(ChannelMessage),
    /// What an entity sent was applied; comes again with the message.
    Acknowledge(Acknowledgement),
    /// May this entity, which this version of the simulation runs, be handed over to
    /// you?
    Offer { entity: EntityKey, version: u32 },
    /// It may, to a node of this version: whatever is given is claimed.
    Accept { entity: EntityKey, version: u32 },
    /// This entity was handed over to you with the record of that sequence, or
    /// (0) before anybody can say: claim it. Comes again until it is answered.
    Claim { entity: EntityKey, sequence: u64 },
    /// This entity is claimed here, or was claimed and given away again.
    Claimed { entity: EntityKey, sequence: u64 },
    /// This entity is mine and its journal needs this version of the simulation, which
    /// I am not: if you are, claim it and hand it over. Comes again.
    Reclaim { entity: EntityKey, version: u32 },
    /// That connections are lost, for a ledger that is not where that was said.
    Lost { entity: EntityKey, input: Input },
    /// So far the sender's audit log is signed, and that is durable.
    Signed(Head),
}

impl NodeBody {
    /// The entity it is for, if it is for one.
    pub fn entity(&self) -> Option<EntityKey> {
        Some(match self {
            NodeBody::Deliver(message) => message.channel.receiver,
            NodeBody::Acknowledge(ack) => ack.channel.sender,
            NodeBody::Offer { entity, .. }
            | NodeBody::Accept { entity, .. }
            | NodeBody::Reclaim { entity, .. }
            | NodeBody::Claim { entity, .. }
            | NodeBody::Claimed { entity, .. }
            | NodeBody::Lost { entity, .. } => *entity,
            NodeBody::Signed(_) => return None,
        })
    }
}
