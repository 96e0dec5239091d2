//! Owns what entities say to each other. Never says how it travels: that is
//! the channel's. Invariant: every request has exactly one answer.

use serde::{Deserialize, Serialize};

use crate::base::{Millis, PlayerId, SectorId, Tick};
use crate::sim::{Traveller, UnitTypeId};

/// Units of one player by type, ascending by type, no zeros.
pub type Counts = Vec<(UnitTypeId, u32)>;

/// The payload of a numbered message of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Asks; `id` is the sender's own number for it, never used again by it.
    Request { id: u64, request: Request },
    /// Answers the request with that id of the receiver of this message.
    Answer { id: u64, answer: Answer },
    /// Tells; nothing comes back but the channel's acknowledgement.
    Notice(Notice),
    /// The channel's last message; see [`channel`](super::channel).
    Close,
}

/// What one entity asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Ledger to sector: create a new player's first units there.
    Found { player: PlayerId, units: Counts },
}

/// The one answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    /// Nothing was done; the text names the rule.
    Refused(String),
}

/// What one entity tells another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Sector to ledger: what the player has in this sector now; empty when
    /// its last unit left.
    Presence { player: PlayerId, sector: SectorId, counts: Counts, as_of: Tick },
    /// Sector to sector: these units are the receiver's from here on. At most
    /// 256; never refused.
    Units { travellers: Vec<Traveller> },
    /// Ledger to board: how strong these players are now, at the ledger's
    /// time. At most 2048.
    Power { standings: Vec<Standing>, as_of: Millis },
}

/// How strong a player is; 0 when it has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub player: PlayerId,
    pub power: u64,
}
