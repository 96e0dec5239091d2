//! Owns which kinds of entities are shared out, and their bytes in keys, which
//! are those of [`EntityKey`]. A stored format. Invariant: a kind's
//! byte is the first of its entities' keys.

use serde::{Deserialize, Serialize};

use crate::base::EntityKey;

/// A kind of entities that some nodes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// Each by its region's entry: here is only who had a share at the last plan.
    Sector = 1,
    Ledger = 2,
    Market = 3,
    Alliance = 4,
    Board = 5,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Sector, Kind::Ledger, Kind::Market, Kind::Alliance, Kind::Board];
    /// Those whose entities have numbers, and go by them to one of the nodes.
    pub const NUMBERED: [Kind; 4] = [Kind::Ledger, Kind::Market, Kind::Alliance, Kind::Board];

    /// The kind with this byte.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The kind of a numbered `entity`; `None` for sectors and battles.
    pub fn of(entity: EntityKey) -> Option<Kind> {
        match entity {
            EntityKey::Ledger(_) => Some(Kind::Ledger),
            EntityKey::Market(_) => Some(Kind::Market),
            EntityKey::Alliance(_) => Some(Kind::Alliance),
            EntityKey::Board(_) => Some(Kind::Board),
            EntityKey::Sector(_) | EntityKey::Battle { .. } => None,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Sector => "sectors",
            Kind::Ledger => "ledgers",
            Kind::Market => "markets",
            Kind::Alliance => "alliances",
            Kind::Board => "boards",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_byte_is_the_first_of_its_entities_keys() {
        let numbered =
            [EntityKey::Ledger, EntityKey::Market, EntityKey::Alliance, EntityKey::Board];
        for (kind, entity) in Kind::NUMBERED.into_iter().zip(numbered) {
            assert_eq!(entity(7).to_bytes()[0], kind as u8);
            assert_eq!(
                (Kind::of(entity(7)), Kind::from_byte(kind as u8)),
                (Some(kind), Some(kind))
            );
        }
        let sector = EntityKey::Sector(crate::base::SectorId::tactical(0, 0));
        assert_eq!(Kind::from_byte(sector.to_bytes()[0]), Some(Kind::Sector));
        assert_eq!((Kind::from_byte(0), Kind::from_byte(6)), (None, None));
    }
}
