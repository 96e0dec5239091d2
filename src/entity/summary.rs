//! Owns what is known of a sector without running it: how many units, how
//! rich, how busy, as of when. A stored format. Written with the record that
//! lets a sector hibernate, read by whoever rolls sectors up. Invariant: it is
//! a function of the sector's state and its time.

use serde::{Deserialize, Serialize};

use super::Entity;
use super::envelope::{self, EnvelopeError, Kind as EnvelopeKind, Logic};
use super::kinds::Kind;
use super::world::World;
use crate::base::Millis;

/// A sector, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub unit_count: u32,
    /// As the galaxy was made, 0 to 1,000; 0 above scale 0.
    pub resource_density: u16,
    /// Commands and combat events per second, at most 255: 0 at rest.
    pub activity_level: u8,
    pub last_update: Millis,
}

/// Bytes that are no summary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    #[error("not a sector's summary: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("not a sector's summary: {0}")]
    Payload(String),
}

impl Summary {
    /// Of a sector at rest; `None` for what is no sector.
    pub fn at_rest(entity: &Entity, world: &World) -> Option<Summary> {
        let Kind::Sector(sector) = entity.kind() else { return None };
        let state = sector.state();
        Some(Summary {
            unit_count: u32::try_from(state.units().len()).unwrap_or(u32::MAX),
            resource_density: world.galaxy.density(state.sector()).unwrap_or(0),
            activity_level: 0,
            last_update: entity.head().time,
        })
    }

    /// The summary in its envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let at = envelope::start(EnvelopeKind::Summary, Logic::default(), &mut out);
        super::append(self, &mut out);
        envelope::finish(at, &mut out);
        out
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` is no summary of a format this build reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Summary, SummaryError> {
        let (_, payload) = envelope::open(EnvelopeKind::Summary, bytes)?;
        postcard::from_bytes(payload).map_err(|error| SummaryError::Payload(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_bring_it_back_or_are_refused() {
        let (unit_count, last_update) = (7, Millis(1 << 41));
        let summary = Summary { unit_count, resource_density: 400, activity_level: 3, last_update };
        let bytes = summary.to_bytes();
        assert_eq!(Summary::from_bytes(&bytes), Ok(summary));
        for end in 0..bytes.len() {
            assert!(Summary::from_bytes(&bytes[..end]).is_err());
        }
    }
}
