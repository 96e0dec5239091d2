//! Owns what is known of the cluster's load when a plan is made: soft state that
//! nodes tell once a second. Never measured here.

use crate::base::{Millis, NodeId, SectorId};

/// The load of all nodes, as of `now`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterLoad {
    pub now: Millis,
    /// All nodes that have a row, each once. A node that is not here is taken
    /// for dead.
    pub nodes: Vec<NodeLoad>,
    /// All sectors that are awake, each once, in any order. One that a dead node
    /// had is here as it was told last.
    pub sectors: Vec<SectorLoad>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLoad {
    pub node: NodeId,
    /// How much it can carry in proportion to others: its threads for sectors.
    pub capacity: u32,
    /// Microseconds of each tick that it works for other things than sectors.
    pub other_us: u32,
    /// Whether it has the role sector, and the role meta.
    pub sectors: bool,
    pub meta: bool,
    pub alive: bool,
    pub draining: bool,
    /// Whether it has told its load, so that what is not in `sectors` is asleep.
    /// While one that lives has not, only what must go moves.
    pub told: bool,
    /// Microseconds to and from other nodes, as measured on the links.
    pub round_trips: Vec<(NodeId, u32)>,
}

impl NodeLoad {
    /// A living node with all roles, and nothing on it.
    pub fn new(node: NodeId, capacity: u32) -> NodeLoad {
        NodeLoad {
            node,
            capacity,
            other_us: 0,
            sectors: true,
            meta: true,
            alive: true,
            draining: false,
            told: true,
            round_trips: Vec::new(),
        }
    }
}

/// A sector that is awake. Which node has it the directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectorLoad {
    pub sector: SectorId,
    /// Players with units in it, or looking at it.
    pub players: u32,
    /// Commands and combat events per second.
    pub activity: u32,
    /// Microseconds of a tick that it costs its thread, smoothed.
    pub cost_us: u32,
    /// Since when it has taken more of a tick than is good, with a thread of
    /// its own.
    pub hot_since: Option<Millis>,
    /// Since when there has been less than one action a minute.
    pub cold_since: Option<Millis>,
    /// When its owner claimed it.
    pub here_since: Millis,
    /// How many of its players are connected to which gateway's node.
    pub gateways: Vec<(NodeId, u32)>,
}

impl SectorLoad {
    /// One that has just been claimed, and in which nothing happened yet.
    pub fn new(sector: SectorId, now: Millis) -> SectorLoad {
        let (players, activity, cost_us, hot_since) = (0, 0, 0, None);
        let (cold_since, here_since, gateways) = (Some(now), now, Vec::new());
        SectorLoad {
            sector,
            players,
            activity,
            cost_us,
            hot_since,
            cold_since,
            here_since,
            gateways,
        }
    }
}
