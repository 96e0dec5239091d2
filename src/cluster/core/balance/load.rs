//! Owns what is known of the cluster's load when a plan is made: soft state that
//! nodes tell once a second. Never measured here.

use serde::{Deserialize, Serialize};

use crate::base::{Millis, NodeId, SectorId};

/// The load of all nodes, as of `now`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterLoad {
    pub now: Millis,
    /// All nodes that have a row, each once. A node that is not here is taken
    /// for dead.
    pub nodes: Vec<NodeLoad>,
    /// All sectors that are awake, each once, in any order, but for those that
    /// are in a node's `rest`.
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
    /// Its sectors that are awake and too many to be told one by one. They stay
    /// where they are, and their weight counts.
    pub rest: RestLoad,
    /// Microseconds to and from other nodes, as measured on the links.
    pub round_trips: Vec<(NodeId, u32)>,
}

/// Sectors that are told together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestLoad {
    pub count: u64,
    pub players: u64,
    pub activity: u64,
    pub cost_us: u64,
}

impl RestLoad {
    pub fn of(sectors: &[SectorLoad]) -> RestLoad {
        sectors.iter().fold(RestLoad::default(), |sum, sector| RestLoad {
            count: sum.count + 1,
            players: sum.players + u64::from(sector.players),
            activity: sum.activity + u64::from(sector.activity),
            cost_us: sum.cost_us + u64::from(sector.cost_us),
        })
    }

    #[must_use]
    pub fn plus(self, more: RestLoad) -> RestLoad {
        RestLoad {
            count: self.count.saturating_add(more.count),
            players: self.players.saturating_add(more.players),
            activity: self.activity.saturating_add(more.activity),
            cost_us: self.cost_us.saturating_add(more.cost_us),
        }
    }
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
            rest: RestLoad::default(),
            round_trips: Vec::new(),
        }
    }
}

/// A sector that is awake. Which node has it the directory says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorLoad {
    pub sector: SectorId,
    /// Players with units in it, or looking at it.
    pub players: u32,
    /// Commands and combat events in [16 seconds](super::super::cost).
    pub activity: u32,
    /// Microseconds of a tick that it costs its thread, smoothed.
    pub cost_us: u32,
    /// Since when it has taken more of a tick than is good, with a thread of
    /// its own.
    pub hot_since: Option<Millis>,
    /// Since when there has been less than one action a minute.
    pub cold_since: Option<Millis>,
    /// When it came from another node by a hand-over; long ago when it did not.
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
