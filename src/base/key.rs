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
