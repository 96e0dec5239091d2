//! Owns what may be asked of an entity without changing it, and the answers.
//! Never decides who may ask, nor when an answer may be seen (`cluster::core`
//! does). Called by the table for sessions and for reads over HTTP. Invariant:
//! an answer is bounded by what was asked, whatever the entity holds.

mod seen;

use serde::{Deserialize, Serialize};

use super::effect::SectorPresence;
use super::kinds::Kind;
use super::kinds::board::Place;
use super::{Entity, World};
use crate::base::{Millis, PlayerId, SectorId, SessionId, Tick, UnitId};
use crate::sim::{Unit, UnitTypeId};
use crate::view::fog::Mask;

pub use seen::{Sight, units};

/// What is asked of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Any: the last sequence applied for a session.
    Applied { player: PlayerId, session: SessionId },
    /// A board: its first places, or those around a player's.
    Ranking { around: Option<PlayerId>, limit: usize },
    /// A ledger: where a player has units, and how strong that makes it.
    Presence { player: PlayerId },
    /// A sector: the cells that a player's units in it reveal.
    Sight { player: PlayerId },
    /// A sector: the units that a player sees in it.
    Units(UnitsQuery),
    /// A sector of scale 0: how many units it knows of just beyond its borders.
    Beyond,
}

/// Which of the units that `player` sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitsQuery {
    pub player: PlayerId,
    /// What the player sees of this sector from others.
    pub thrown: Mask,
    pub type_id: Option<UnitTypeId>,
    pub owner: Option<PlayerId>,
    /// Only those with higher ids, in their order.
    pub after: UnitId,
    pub limit: usize,
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reading {
    /// 0 for none; `None` when a newer session has sent commands.
    Applied(Option<u32>),
    Ranking(Ranking),
    /// `None` when the player never connected.
    Presence(Option<Presence>),
    Sight(Box<Sight>),
    /// As many as asked for, and whether there are more.
    Units {
        units: Vec<Unit>,
        more: bool,
    },
    /// Of each of the up to eight sectors around in which there are any.
    Beyond(Vec<Beyond>),
}

/// What a sector knows of the units of one beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    pub sector: SectorId,
    /// That sector's, as it last said.
    pub tick: Tick,
    pub units: u32,
    /// Of them, those that move.
    pub moving: u32,
}

/// Where a player has units, as its ledger was last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    pub sectors: Vec<SectorPresence>,
    pub power: u64,
    /// The ledger's time.
    pub as_of: Millis,
}

/// A part of a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    pub places: Vec<Place>,
    /// On the whole board.
    pub players: usize,
    /// When the board last heard of a change.
    pub heard: Millis,
}

impl Entity {
    /// Answers `query` from the state as it is; `None` when it is nothing for
    /// this kind of entity, or no part of a state, as what is
    /// [beyond](Query::Beyond) a border.
    pub fn read(&self, query: &Query, world: &World) -> Option<Reading> {
        match (query, self.kind()) {
            (Query::Applied { player, session }, _) => {
                Some(Reading::Applied(self.head().commands.last_applied(*player, *session)))
            }
            (Query::Ranking { around, limit }, Kind::Board(board)) => {
                let places = match around {
                    Some(player) => board.around(*player, *limit),
                    None => board.top(*limit),
                };
                let (players, heard) = (board.len(), board.heard());
                Some(Reading::Ranking(Ranking { places, players, heard }))
            }
            (Query::Presence { player }, Kind::Ledger(ledger)) => {
                let known = ledger.session(*player).is_some();
                Some(Reading::Presence(known.then(|| Presence {
                    sectors: ledger.presence(*player),
                    power: ledger.power(*player, &world.rules),
                    as_of: self.head().time,
                })))
            }
            (Query::Sight { player }, Kind::Sector(sector)) => {
                Some(Reading::Sight(Box::new(Sight::of(sector.state(), &world.rules, *player))))
            }
            (Query::Units(query), Kind::Sector(sector)) => {
                let (units, more) = units(sector.state(), &world.rules, query);
                Some(Reading::Units { units, more })
            }
            _ => None,
        }
    }
}
