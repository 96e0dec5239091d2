//! Owns where things may be when nothing happens any more: with nodes that have the
//! role for them and are not to be left, as long as there are any.

use std::collections::BTreeSet;

use starmesh::base::{EntityKey, NodeId};
use starmesh::cluster::core::directory::Kind;
use starmesh::cluster::core::roles::Role;
use starmesh::store::recovery;

use super::Cluster;

fn role_of(key: EntityKey) -> Role {
    match key {
        EntityKey::Sector(_) => Role::Sector,
        _ => Role::Meta,
    }
}

impl Cluster {
    /// What is with a node, or assigned to one, that should have nothing of the kind.
    pub fn misplaced(&self) -> Option<String> {
        let directory = self.directory();
        let (sector, meta) = (self.may_have(Role::Sector), self.may_have(Role::Meta));
        let is_wrong = |key: EntityKey, node: NodeId| {
            let may = if role_of(key) == Role::Sector { &sector } else { &meta };
            !may.is_empty() && !may.contains(&node)
        };
        let runs = |id: NodeId| self.nodes[&id].table.keys().map(move |key| (key, id));
        let mut all = directory.entries().chain(self.nodes.keys().copied().flat_map(runs));
        if let Some((key, node)) = all.find(|(key, node)| is_wrong(*key, *node)) {
            return Some(format!("{key} is with node {node}, which should have none of it"));
        }
        let kinds = Kind::NUMBERED.into_iter().chain([Kind::Sector]);
        let mut shared = kinds.flat_map(|kind| {
            let may = if kind == Kind::Sector { &sector } else { &meta };
            let nodes = directory.nodes_of(kind).iter();
            nodes.filter(|it| !may.is_empty() && !may.contains(it)).map(move |it| (kind, *it))
        });
        shared.next().map(|(kind, node)| format!("{node} has a share of the {kind}"))
    }

    /// The nodes with a role: without those that are to be left, if others have it.
    pub fn may_have(&self, role: Role) -> BTreeSet<NodeId> {
        let read = recovery::cluster(&*self.store, 0).expect("the memory answers");
        let directory = read.directory.unwrap_or_default();
        let has = |node: &NodeId| read.roles.get(node).copied().unwrap_or_default().has(role);
        let all: BTreeSet<NodeId> = self.nodes.keys().copied().filter(has).collect();
        let kept: BTreeSet<NodeId> =
            all.iter().copied().filter(|node| !directory.is_draining(*node)).collect();
        if kept.is_empty() { all } else { kept }
    }
}
