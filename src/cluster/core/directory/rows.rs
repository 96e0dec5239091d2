//! Owns the directory's form in the store: a key for each entry and each kind,
//! and its version. A stored format. Never reads a store. Invariant: the rows
//! that changes put, read back, are the directory those changes lead to.

use serde::{Deserialize, Serialize};

use super::{Directory, ENTRIES_MAX, Edit, Kind, NODES_MAX};
use crate::base::{EntityKey, NodeId};
use crate::entity::commit::Put;
use crate::entity::envelope::{self, EnvelopeError, Kind as EnvelopeKind, Logic};
use crate::entity::keys;

/// Rows that are no directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("a row of the directory: {0}")]
    Envelope(#[from] EnvelopeError),
    #[error("a row of the directory: {0} bytes that do not decode")]
    Payload(usize),
    #[error("a key of {0} bytes that names nothing in the directory")]
    Key(usize),
    #[error("the directory's version: {0} bytes where 8 were expected")]
    Version(usize),
    #[error("a directory of more than {ENTRIES_MAX} entries, or {NODES_MAX} nodes of a kind")]
    TooLarge,
    /// Read it again.
    #[error("the directory changed from version {before} to {after} while it was read")]
    Changed { before: u64, after: u64 },
}

/// The value of a key that has nothing to say but that it is there.
const DRAINING: u8 = 1;

/// From this version of the cluster's format on an entry may be pinned.
pub const PINNED_SINCE: u16 = 2;

#[derive(Serialize, Deserialize)]
enum StoredEntry {
    V1(NodeId),
    Pinned(NodeId),
}

#[derive(Serialize, Deserialize)]
enum StoredKind {
    V1(Vec<NodeId>),
}

/// What `edit` is in the store.
pub(super) fn put(edit: &Edit) -> Put {
    let seal = |kind, payload: &[u8]| Some(envelope::seal(kind, Logic::default(), payload));
    let entry = |entity, stored: StoredEntry| Put {
        key: keys::directory_entry(entity),
        value: seal(EnvelopeKind::DirectoryEntry, &encode(&stored)),
    };
    match edit {
        Edit::Assign { entity, node } => entry(*entity, StoredEntry::V1(*node)),
        Edit::Pin { sector, node } => entry(EntityKey::Sector(*sector), StoredEntry::Pinned(*node)),
        Edit::Unassign { entity } => Put { key: keys::directory_entry(*entity), value: None },
        Edit::Share { kind, nodes } => {
            let value = seal(EnvelopeKind::DirectoryKind, &encode(&StoredKind::V1(nodes.clone())));
            Put { key: keys::directory_kind(*kind as u8), value }
        }
        Edit::Drain { node, on } => {
            Put { key: keys::directory_draining(*node), value: on.then(|| vec![DRAINING]) }
        }
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Postcard cannot fail to append integers to a Vec; if it ever did, the row
    // would be one that no one can read.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// The version in the value of [`keys::DIRECTORY_VERSION`]; 0 where there is none.
///
/// # Errors
/// When it is none.
pub fn read_version(value: Option<&[u8]>) -> Result<u64, RowError> {
    let Some(value) = value else { return Ok(0) };
    value.try_into().map(u64::from_be_bytes).map_err(|_| RowError::Version(value.len()))
}

impl Directory {
    /// The directory of `rows`, all with [`keys::DIRECTORY`], of which the
    /// version's is the last. `before` is the version as it was before the first
    /// of them was read: they may have been read in pages.
    ///
    /// # Errors
    /// When it changed meanwhile, or they are no directory.
    pub fn from_rows<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        before: u64,
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Directory, RowError> {
        let mut directory = Directory::default();
        let mut entries = 0;
        for (key, value) in rows {
            directory.add_row(key.as_ref(), value.as_ref())?;
            entries += 1;
            if entries > ENTRIES_MAX + Kind::ALL.len() + NODES_MAX + 1 {
                return Err(RowError::TooLarge);
            }
        }
        let after = directory.version;
        if after == before { Ok(directory) } else { Err(RowError::Changed { before, after }) }
    }

    fn add_row(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        let unknown = RowError::Key(key.len());
        if key == keys::DIRECTORY_VERSION {
            self.version = read_version(Some(value))?;
        } else if let Some(entity) = keys::parse_directory_entry(key) {
            if matches!(entity, EntityKey::Battle { .. }) {
                return Err(unknown);
            }
            match (decode(EnvelopeKind::DirectoryEntry, value)?, entity) {
                (StoredEntry::V1(node), _) => self.put(entity, node),
                (StoredEntry::Pinned(node), EntityKey::Sector(sector)) => self.pin(sector, node),
                (StoredEntry::Pinned(_), _) => return Err(unknown),
            }
        } else if let Some(byte) = keys::parse_directory_kind(key) {
            let kind = Kind::from_byte(byte).ok_or(unknown)?;
            let StoredKind::V1(nodes) = decode(EnvelopeKind::DirectoryKind, value)?;
            if nodes.is_empty() || nodes.len() > NODES_MAX {
                return Err(RowError::TooLarge);
            }
            self.share(kind, &nodes);
        } else if let Some(node) = keys::parse_directory_draining(key) {
            if value != [DRAINING] {
                return Err(RowError::Payload(value.len()));
            }
            self.drain(node, true);
        } else {
            return Err(unknown);
        }
        Ok(())
    }
}

fn decode<'a, T: Deserialize<'a>>(kind: EnvelopeKind, value: &'a [u8]) -> Result<T, RowError> {
    let (_, payload) = envelope::open(kind, value)?;
    postcard::from_bytes(payload).map_err(|_| RowError::Payload(payload.len()))
}
