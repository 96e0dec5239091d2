//! Owns the key of an entity: kind, then what names it within its kind, big
//! endian, so that the keys of a subtree of sectors are a range. A stored
//! format: it never changes.

use serde::{Deserialize, Serialize};

use super::SectorId;

/// The name of a durable entity, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntityKey {
    /// A sector of space at any scale.
    Sector(SectorId),
    /// A shard of player ledgers: players whose id mod the number of shards is this.
    Ledger(u64),
    /// The market of one resource.
    Market(u64),
    Alliance(u64),
    /// A ranking board.
    Board(u64),
    /// The n-th battle of the sector that hosts it.
    Battle {
        host: SectorId,
        n: u64,
    },
}

/// Bytes that are not an entity's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entity key: {0} bytes, kind {1:?}")]
pub struct KeyError(pub usize, pub Option<u8>);

impl EntityKey {
    const SECTOR: u8 = 1;
    const LEDGER: u8 = 2;
    const MARKET: u8 = 3;
    const ALLIANCE: u8 = 4;
    const BOARD: u8 = 5;
    const BATTLE: u8 = 6;

    /// 18 bytes for a sector, 26 for a battle, 9 for all others. No key is a
    /// prefix of another.
    pub fn to_bytes(self) -> Vec<u8> {
        let numbered = |kind: u8, n: u64| {
            let mut bytes = vec![kind];
            bytes.extend(n.to_be_bytes());
            bytes
        };
        let placed = |kind: u8, sector: SectorId| {
            let mut bytes = vec![kind, sector.scale];
            bytes.extend(sector.morton().to_be_bytes());
            bytes
        };
        match self {
            EntityKey::Sector(sector) => placed(Self::SECTOR, sector),
            EntityKey::Ledger(n) => numbered(Self::LEDGER, n),
            EntityKey::Market(n) => numbered(Self::MARKET, n),
            EntityKey::Alliance(n) => numbered(Self::ALLIANCE, n),
            EntityKey::Board(n) => numbered(Self::BOARD, n),
            EntityKey::Battle { host, n } => {
                let mut bytes = placed(Self::BATTLE, host);
                bytes.extend(n.to_be_bytes());
                bytes
            }
        }
    }

    /// The inverse of [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// When `bytes` is no such key; nothing is read beyond it.
    pub fn from_bytes(bytes: &[u8]) -> Result<EntityKey, KeyError> {
        let wrong = || KeyError(bytes.len(), bytes.first().copied());
        let (&kind, rest) = bytes.split_first().ok_or_else(wrong)?;
        let number = |b: &[u8]| b.try_into().map(u64::from_be_bytes).map_err(|_| wrong());
        let sector = |b: &[u8]| {
            let (&scale, code) = b.split_first().ok_or_else(wrong)?;
            let code = code.try_into().map(u128::from_be_bytes).map_err(|_| wrong())?;
            Ok(SectorId::from_morton(scale, code))
        };
        match kind {
            Self::SECTOR => sector(rest).map(EntityKey::Sector),
            Self::LEDGER => number(rest).map(EntityKey::Ledger),
            Self::MARKET => number(rest).map(EntityKey::Market),
            Self::ALLIANCE => number(rest).map(EntityKey::Alliance),
            Self::BOARD => number(rest).map(EntityKey::Board),
            Self::BATTLE if rest.len() == 25 => {
                Ok(EntityKey::Battle { host: sector(&rest[..17])?, n: number(&rest[17..])? })
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for EntityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntityKey::Sector(sector) => write!(f, "sector {sector}"),
            EntityKey::Ledger(n) => write!(f, "ledger {n}"),
            EntityKey::Market(n) => write!(f, "market {n}"),
            EntityKey::Alliance(n) => write!(f, "alliance {n}"),
            EntityKey::Board(n) => write!(f, "board {n}"),
            EntityKey::Battle { host, n } => write!(f, "battle {host}#{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::geometry::strategies::sector;

    fn key() -> impl Strategy<Value = EntityKey> {
        prop_oneof![
            sector().prop_map(EntityKey::Sector),
            any::<u64>().prop_map(EntityKey::Ledger),
            any::<u64>().prop_map(EntityKey::Market),
            any::<u64>().prop_map(EntityKey::Alliance),
            any::<u64>().prop_map(EntityKey::Board),
            (sector(), any::<u64>()).prop_map(|(host, n)| EntityKey::Battle { host, n }),
        ]
    }

    proptest! {
        #[test]
        fn bytes_name_their_entity(key in key()) {
            prop_assert_eq!(EntityKey::from_bytes(&key.to_bytes()), Ok(key));
        }

        #[test]
        fn bytes_order_like_the_keys(a in key(), b in key()) {
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        }

        #[test]
        fn no_key_is_a_prefix_of_another(a in key(), b in key()) {
            prop_assert!(a == b || !b.to_bytes().starts_with(&a.to_bytes()));
        }

        #[test]
        fn any_bytes_are_a_key_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(key) = EntityKey::from_bytes(&bytes) {
                prop_assert_eq!(key.to_bytes(), bytes);
            }
        }

        #[test]
        fn bytes_of_another_length_are_refused(key in key(), cut in 1_usize..9, more: u8) {
            let mut bytes = key.to_bytes();
            bytes.push(more);
            prop_assert!(EntityKey::from_bytes(&bytes).is_err());
            bytes.truncate(bytes.len() - 1 - cut);
            prop_assert!(EntityKey::from_bytes(&bytes).is_err());
        }

        /// At each scale, what a sector contains is exactly a range of keys.
        #[test]
        fn a_subtree_is_a_range_at_each_scale(
            region in sector(), other in sector(), up in 0_u8..4,
        ) {
            let scale = region.scale.saturating_sub(up);
            let Some((first, last)) = corners(region, scale) else { return Ok(()) };
            let other = SectorId { scale, ..other };
            let bytes = |sector| EntityKey::Sector(sector).to_bytes();
            let in_range = (bytes(first)..=bytes(last)).contains(&bytes(other));
            prop_assert_eq!(in_range, region.contains(other));
        }
    }

    /// The first and last descendant of `region` at `scale`, if all exist.
    fn corners(region: SectorId, scale: u8) -> Option<(SectorId, SectorId)> {
        let mut corners = (region, region);
        while corners.0.scale > scale {
            corners = (corners.0.children().next()?, corners.1.children().nth(3)?);
        }
        Some(corners)
    }

    #[test]
    fn keys_stay_the_same_for_ever() {
        let hex = |key: EntityKey| -> String {
            key.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let sector = SectorId { x: 1, y: -1, scale: 3 };
        let morton = "6aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
        assert_eq!(hex(EntityKey::Sector(sector)), format!("0103{morton}"));
        assert_eq!(hex(EntityKey::Ledger(7)), "020000000000000007");
        assert_eq!(
            hex(EntityKey::Battle { host: sector, n: 258 }),
            format!("0603{morton}0000000000000102")
        );
    }
}
