//! Owns everything that can happen to an entity from outside: the closed list
//! of inputs a record may hold. Never what follows from them. A stored format:
//! variants are appended, never reordered or changed.

use serde::{Deserialize, Serialize};

use super::channel::{Acknowledgement, ChannelMessage};
use super::commands::PlayerCommand;
use super::envelope::Logic;
use super::pace::Rate;
use crate::base::{Incarnation, NodeId, PlayerId, SessionId, StateHash, Tick};

/// One journalled input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A node makes itself the owner. Written by `cluster::core` only.
    Claim(Claim),
    /// The owner lets go: whoever comes next may claim at once.
    Close,
    /// A block of ids for what this entity makes, from `start` on.
    Ids { start: u64 },
    /// A message another entity put into its outbox.
    Message(ChannelMessage),
    /// Another entity applied what this one sent.
    Acknowledged(Acknowledgement),
    /// A player's command.
    Command(PlayerCommand),
    /// A gateway asks a ledger for a player's session.
    Connect(Connect),
    /// A gateway lost a player's connection.
    Left(Left),
    /// The hash of the state directly after the step to `tick`, before any
    /// record of that tick; replay must find the same.
    Hash { tick: Tick, hash: StateHash },
    /// Only time passes: the record's milliseconds let a timer fall due.
    Time,
    /// A sector runs slower than its node, or as fast again. Written by
    /// `cluster::core` only.
    Dilate(Dilation),
    /// The owner gives it to another node, which goes on at this tick. Behind it
    /// there is only the state's hash. Written by `cluster::core` only.
    HandOver { to: NodeId },
    /// A gateway says more of connections than that they come and go.
    Gateway(FromGateway),
    /// From this record on the entity has the logic that the record names; until
    /// then it had `from`. Comes first, before the claim of who has that logic, in
    /// a record directly behind a snapshot. Written by `cluster::core` only.
    Adopt { from: Logic },
    /// The input there panicked wherever it was applied: whoever replays the journal
    /// leaves it out. Behind a claim, because only who begins anew can know. Written by
    /// `cluster::core` only.
    Skip(InputPlace),
    /// It cannot be run: nobody does until it is resumed, and then it goes on at this
    /// tick. Behind a claim, which it ends. Written by `cluster::core` only.
    Park { until: Tick },
}

/// An input of an entity: the number of its record, and its place in that, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputPlace {
    pub sequence: u64,
    pub index: u32,
}

impl Input {
    /// Whether it says that connections are lost, which nobody says twice.
    pub fn says_lost(&self) -> bool {
        matches!(self, Input::Left(_) | Input::Gateway(FromGateway::Lost { .. }))
    }
}

/// What a gateway, or whoever knows that it died, says to a ledger of
/// connections. Stored: variants are appended, as those of [`Input`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGateway {
    /// The answer to this Connect has not come. Nothing is taken from a
    /// connection that came meanwhile.
    ConnectAgain(Connect),
    /// This connection has this session still, whoever owned the ledger before.
    Held(Left),
    /// All connections from `first` on, before `end`, are lost.
    Lost { first: u64, end: u64 },
}

/// Who owns the entity from here on, and how its ticks follow from the
/// node's: tick of the entity = tick of the record that holds the claim +
/// (tick of the node − `node_tick`), until a dilation. A claim is always at
/// full rate: what an arbiter could bear before says nothing of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// The node's tick when the record with this claim was committed.
    pub node_tick: Tick,
}

/// From here on: tick of the entity = tick of the record that holds this +
/// (tick of the node − `node_tick`) × rate, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dilation {
    pub rate: Rate,
    /// The node's tick when the record with this was committed.
    pub node_tick: Tick,
}

/// A session and its connection: as [`Input::Left`], that this is gone. It counts
/// only while no later connection has resumed that session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub player: PlayerId,
    pub session: SessionId,
    /// As in its [`Connect`].
    pub connection: u64,
}

/// A gateway's request for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    pub player: PlayerId,
    /// The gateway's own number for this connection; comes back in the answer.
    pub connection: u64,
    /// The session to go on with, if it is still the newest.
    pub resume: Option<SessionId>,
}
