//! Owns what the views of two nodes say to each other, and what each decides:
//! where a sector that is observed here is handed out ([`following`]), which of
//! this node's sectors are handed out to others ([`lending`]), what is known of
//! sectors that run anywhere ([`words`]), and who was told that ([`telling`]). Never knows links, threads or the
//! directory: the shell asks and sends. Invariant: nothing here waits, and what
//! is kept for a node is a mark for each sector, never what it is to be sent.

pub mod exchange;
pub mod following;
pub mod lending;
pub mod telling;
pub mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rollup::SectorSnapshot;
use super::stage::{Scene, StepDelta};
use crate::base::{NodeId, SectorId};

pub use exchange::Exchange;
pub use following::{Ask, Following};
pub use lending::Lending;
pub use telling::Telling;
pub use words::Words;

/// Between the views of two nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ViewMessage {
    /// Hand this sector out to the sender, as a whole and then each step; or no
    /// more.
    Follow {
        sector: SectorId,
        on: bool,
    },
    Scene {
        sector: SectorId,
        #[serde(with = "shared")]
        scene: Arc<Scene>,
    },
    Step {
        sector: SectorId,
        #[serde(with = "shared")]
        delta: Arc<StepDelta>,
    },
    Pace {
        sector: SectorId,
        percent: u8,
    },
    /// It does not run at the sender any more, or is not the sender's.
    Gone {
        sector: SectorId,
    },
    /// It has no record. When it comes to run at the sender, it is handed out.
    Absent {
        sector: SectorId,
    },
    /// What changed in the sender's scale-0 sectors, in order; `None` for one
    /// that runs there no more, and has what was said of it before.
    Summaries(Vec<Told>),
}

/// What is told of a scale-0 sector; `None` when it runs no more.
pub type Told = (SectorId, Option<SectorSnapshot>);

/// Where an entity belongs, as the directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Here,
    There(NodeId),
    /// Its node died, or nobody knows yet.
    Nowhere,
}

/// As the value itself.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(it: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
        T::serialize(it, to)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Arc<T>, D::Error> {
        T::deserialize(from).map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
