//! Owns what the shells of two nodes say to each other, as a closed list, and
//! the trait of the way there. Never decides where an entity is: the directory
//! does. Called by gateways, by the view and by the core's thread. Invariant:
//! nothing here waits; what is not taken is said, and nothing of it was sent.
//!
//! Connections are numbered uniquely in the cluster: the number of the gateway's
//! node above [`CONNECTION_BITS`], its own count below.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::reports::{Busiest, NodeReport, RegionReport};
use super::ticker::Read;
use crate::base::{EntityKey, NodeId, PlayerId, SectorId, SessionId};
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::balance::NodeTold;
use crate::cluster::core::map::Map;
use crate::cluster::core::message::NodeMessage;
use crate::cluster::core::shadows::{Cast, Caster};
use crate::cluster::core::table::Unavailable;
use crate::cluster::core::update::TimestampedUpdate;
use crate::entity::commands::PlayerCommand;
use crate::entity::effect::PlayerEffect;
use crate::entity::input::{Connect, Left};
use crate::entity::read::Query;
use crate::protocol::Announcement;

pub use crate::view::peers::{Place, ViewMessage};

/// Bits of a connection's number that its gateway counts.
pub const CONNECTION_BITS: u32 = 40;

/// The node of the gateway that has this connection.
pub fn node_of(connection: u64) -> NodeId {
    NodeId(u32::try_from(connection >> CONNECTION_BITS).unwrap_or(u32::MAX))
}

/// What one node tells another. Between two nodes what is of one class arrives in
/// order, and once, while their link stays up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    Core(NodeMessage),
    ToOwner(ToOwner),
    ToGateway(ToGateway),
    View(ViewMessage),
    /// To the node that plans, once a second.
    Load(Box<TimestampedUpdate<NodeTold>>),
}

/// From a gateway to the node that an entity belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToOwner {
    Command {
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        command: PlayerCommand,
    },
    /// To the ledger of its player.
    Connect(Connect),
    /// The answer to this Connect has not come.
    ConnectAgain(Connect),
    /// This connection has this session still.
    Held(Left),
    Left(Left),
    /// No connection of this gateway has a lower number any more: its process
    /// began with this one.
    Began {
        first: u64,
    },
    /// Have this ledger or board run.
    Wake(EntityKey),
}

/// From the node of an entity to a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGateway {
    /// To the connection that has the session.
    Player(PlayerEffect),
    Superseded {
        connection: u64,
    },
    ConnectRefused {
        connection: u64,
        why: Unavailable,
    },
    Rejected {
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        sequence: u32,
        why: Unavailable,
    },
    /// The player's newest session is at this connection: whoever has another
    /// connection of the player ends it.
    Taken {
        player: PlayerId,
        session: SessionId,
        connection: u64,
    },
    /// This ledger came to run at the sender anew and believes all connections
    /// lost: say what sessions of it there are.
    LedgerStarted(EntityKey),
    /// The sender could not say all that it had to: say what sessions of its
    /// ledgers there are.
    Missed,
}

/// What one node asks another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerQuestion {
    /// Ask this entity; `wake` it first if it hibernates.
    Read { entity: EntityKey, query: Query, wake: bool },
    /// How it goes, for an operator.
    Report,
    /// The sectors with most to do, at most so many.
    Busiest { most: u16 },
    /// What runs of this sector, and below it.
    Region(SectorId),
    /// Whether this entity runs.
    Runs(EntityKey),
    /// What it says of its load.
    Load,
    /// Say this to all that are connected to you.
    Announce(Announcement),
}

/// The answer to a [`PeerQuestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerAnswer {
    Read(Result<Read, Unavailable>),
    Report(Box<NodeReport>),
    Busiest(Busiest),
    Region(RegionReport),
    Runs(bool),
    Load(Box<NodeTold>),
    /// It was said to so many connections.
    Announced(u32),
}

/// The way to the other nodes, and what is known of who has what.
pub trait Mesh: Send + Sync {
    /// This node.
    fn me(&self) -> NodeId;

    /// Where `entity` belongs. It may be on its way, or the directory stale:
    /// whoever is asked says so.
    fn place_of(&self, entity: EntityKey) -> Place;

    /// What the core knows now.
    fn note_map(&self, _: Map) {}

    /// Sends; never waits.
    ///
    /// # Errors
    /// [`Unavailable::Busy`]: no link, or too much waits for it.
    fn send(&self, to: NodeId, message: PeerMessage) -> Result<(), Unavailable>;

    /// Casts on a sector of that node, over a link or by way of a coordinator. It may
    /// get lost.
    fn cast(&self, _: NodeId, _: Caster, _: &Cast) {}

    /// Asks, for at most so long. A refusal may have been done all the same.
    fn ask(
        &self,
        to: NodeId,
        question: PeerQuestion,
        within: Duration,
    ) -> BoxFuture<'static, Result<PeerAnswer, Unavailable>>;

    /// The nodes to which there is a link now.
    fn linked(&self) -> Vec<NodeId>;

    /// Microseconds to and from the nodes to which there is a link.
    fn round_trips(&self) -> Vec<(NodeId, u32)> {
        Vec::new()
    }

    /// The version of the directory that is known here, 0 where there is none.
    fn directory_version(&self) -> u64 {
        0
    }
}

/// The mesh of a node that has its store for itself.
#[derive(Clone, Copy, Debug)]
pub struct Alone(pub NodeId);

impl Mesh for Alone {
    fn me(&self) -> NodeId {
        self.0
    }

    fn place_of(&self, _: EntityKey) -> Place {
        Place::Here
    }

    fn send(&self, _: NodeId, _: PeerMessage) -> Result<(), Unavailable> {
        Err(Unavailable::Busy)
    }

    fn ask(
        &self,
        _: NodeId,
        _: PeerQuestion,
        _: Duration,
    ) -> BoxFuture<'static, Result<PeerAnswer, Unavailable>> {
        Box::pin(async { Err(Unavailable::Busy) })
    }

    fn linked(&self) -> Vec<NodeId> {
        Vec::new()
    }
}
