//! Owns what the shells of a node may know of its cluster: who lives, in which
//! incarnation, and what belongs to whom. A copy that the core hands out when it
//! changed, and that may be stale by then. Never decides anything about
//! ownership: a journal does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::directory::Directory;
use super::roles::{Role, Roles};
use crate::base::{EntityKey, Incarnation, NodeId};

/// One node's row, as it was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub incarnation: Incarnation,
    /// It was not declared dead, and did not leave.
    pub lives: bool,
}

/// The cluster, as one node's core knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub directory: Arc<Directory>,
    pub nodes: BTreeMap<NodeId, Standing>,
    /// Of those that said any.
    pub roles: BTreeMap<NodeId, Roles>,
}

impl Map {
    /// The living node that `entity` belongs to.
    pub fn node_of(&self, entity: EntityKey) -> Option<NodeId> {
        self.directory.node_of(entity).filter(|node| self.lives(*node))
    }

    /// Whether this node runs, as far as is known.
    pub fn lives(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|standing| standing.lives)
    }

    /// What `node` may do, as it last said.
    pub fn roles(&self, node: NodeId) -> Roles {
        self.roles.get(&node).copied().unwrap_or_default()
    }

    /// Whether `node` has this role.
    pub fn has(&self, node: NodeId, role: Role) -> bool {
        self.roles(node).has(role)
    }

    /// Whether this incarnation of a node may be listened to. One that is newer
    /// than its row has just begun.
    pub fn may_speak(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.nodes.get(&node).is_none_or(|known| {
            incarnation > known.incarnation || (incarnation == known.incarnation && known.lives)
        })
    }
}
