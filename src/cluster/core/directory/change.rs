//! Owns a change of the directory: many edits that happen together, from the
//! version that whoever made it saw to the next. Never decides what should
//! change (balance, hand-over, death and operators do). Invariant: the store
//! takes a change's group exactly when [`Directory::apply`] takes the change, so
//! of two made from one version one is refused, in both places.

use serde::{Deserialize, Serialize};

use super::{Directory, ENTRIES_MAX, Kind, NODES_MAX, rows};
use crate::base::{EntityKey, NodeId, SectorId};
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::keys;

/// The most edits of a change: so many fit into a group of the store.
pub const EDITS_MAX: usize = 4096;

/// A change of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The version it was made from.
    pub seen: u64,
    /// In this order; a later one of the same entity counts.
    pub edits: Vec<Edit>,
}

/// One part of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// The entity belongs to the node; a sector with all that has no finer entry.
    Assign { entity: EntityKey, node: NodeId },
    /// The entity has no entry of its own any more.
    Unassign { entity: EntityKey },
    /// The kind's entities without entries are shared by these nodes.
    Share { kind: Kind, nodes: Vec<NodeId> },
    /// The node is to be left, or may have something again.
    Drain { node: NodeId, on: bool },
    /// As `Assign`, because an operator wants it so: it stays there until somebody
    /// assigns it anew. Of the cluster's format version [`PINNED_SINCE`] on.
    ///
    /// [`PINNED_SINCE`]: super::PINNED_SINCE
    Pin { sector: SectorId, node: NodeId },
}

/// Why a change was refused; the directory is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Of a newer version than this: changes are missing, read it anew. Of an
    /// older one: it lost against another, make it again.
    #[error("made from version {seen} of the directory, which is at {version}")]
    Version { seen: u64, version: u64 },
    #[error("{got} {what}, at most {most} are possible")]
    TooMany { what: &'static str, got: usize, most: usize },
    #[error("{0} has no entry that could be removed")]
    NoEntry(EntityKey),
    #[error("without its entry {0} would belong to nobody: nothing above it has one")]
    Nobody(EntityKey),
    #[error("no nodes were named to share the {0}: expected at least one")]
    NoNodes(Kind),
    #[error("{0} has no entry of its own, it belongs to its host's node")]
    Battle(EntityKey),
}

impl Change {
    /// Its group in the store: refused when the directory is of another version
    /// than `seen`.
    pub fn group(&self) -> Group {
        let mut group = Group::default();
        self.add_to(&mut group);
        group
    }

    /// Makes it a part of `group`, a hand-over's, say: both happen, or neither.
    pub fn add_to(&self, group: &mut Group) {
        let next = self.seen.saturating_add(1);
        // Versions only grow, so below the next and not below this is this.
        let expect = Expect::NumberBelow(next);
        group.checks.push(Check { key: keys::DIRECTORY_VERSION.to_vec(), expect });
        let version = Some(next.to_be_bytes().to_vec());
        group.puts.push(Put { key: keys::DIRECTORY_VERSION.to_vec(), value: version });
        group.puts.extend(self.edits.iter().map(rows::put));
    }
}

impl Directory {
    /// Makes `change`, in whole or not at all. The only way in which a directory
    /// changes.
    ///
    /// # Errors
    /// When it was made from another version, or would break what a directory
    /// keeps.
    pub fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        *self = self.applied(change)?;
        Ok(())
    }

    /// The directory after `change`, this one staying as it is.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn applied(&self, change: &Change) -> Result<Directory, ChangeError> {
        let (seen, version) = (change.seen, self.version);
        if seen != version {
            return Err(ChangeError::Version { seen, version });
        }
        at_most("edits in a change", change.edits.len(), EDITS_MAX)?;
        let mut next = self.clone();
        next.version = version.saturating_add(1);
        change.edits.iter().try_for_each(|edit| next.edit(edit))?;
        at_most("entries in the directory", next.count(), ENTRIES_MAX)?;
        let removed = change.edits.iter().filter_map(|edit| match edit {
            Edit::Unassign { entity } => Some(*entity),
            _ => None,
        });
        let nobody = removed.into_iter().find(|entity| next.node_of(*entity).is_none());
        nobody.map_or(Ok(next), |entity| Err(ChangeError::Nobody(entity)))
    }

    fn edit(&mut self, edit: &Edit) -> Result<(), ChangeError> {
        match edit {
            Edit::Assign { entity: entity @ EntityKey::Battle { .. }, .. } => {
                return Err(ChangeError::Battle(*entity));
            }
            Edit::Assign { entity, node } => self.put(*entity, *node),
            Edit::Pin { sector, node } => self.pin(*sector, *node),
            Edit::Unassign { entity } => {
                if !self.remove(*entity) {
                    return Err(ChangeError::NoEntry(*entity));
                }
            }
            Edit::Share { kind, nodes } if nodes.is_empty() => {
                return Err(ChangeError::NoNodes(*kind));
            }
            Edit::Share { kind, nodes } => {
                at_most("nodes that share a kind", nodes.len(), NODES_MAX)?;
                self.share(*kind, nodes);
            }
            Edit::Drain { node, on } => {
                self.drain(*node, *on);
                at_most("nodes that are to be left", self.draining.len(), NODES_MAX)?;
            }
        }
        Ok(())
    }
}

fn at_most(what: &'static str, got: usize, most: usize) -> Result<(), ChangeError> {
    if got > most { Err(ChangeError::TooMany { what, got, most }) } else { Ok(()) }
}
