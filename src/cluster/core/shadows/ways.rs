//! Owns over which links a cast reaches a node: its own, else by way of a coordinator,
//! which hands on what it has a link for. Never sends. Called by the shell of the links.
//! Invariant: what is handed on is handed on once.

use super::super::roles::{Role, Roles};
use crate::base::NodeId;

/// How many coordinators are tried in turn while there is no link. What is not said
/// for three world ticks is gone, so one of two that reaches the node is enough.
const COORDINATORS: u64 = 2;

/// The node to send to what is for `to`, of those that `linked` names in order with
/// their roles; `None` when nobody is there to hand it on. `turn` counts world ticks.
pub fn first_hop(
    to: NodeId,
    linked: impl Iterator<Item = (NodeId, Roles)>,
    turn: u64,
) -> Option<NodeId> {
    let mut coordinators = Vec::new();
    for (node, roles) in linked {
        if node == to {
            return Some(to);
        }
        if roles.has(Role::Coordinator) && (coordinators.len() as u64) < COORDINATORS {
            coordinators.push(node);
        }
    }
    let turn = turn.checked_rem(coordinators.len() as u64)?;
    coordinators.get(usize::try_from(turn).ok()?).copied()
}

/// Whether a node with these roles hands on to `to` what came for it, and not for this
/// node itself.
pub fn hands_on(roles: Roles, to: NodeId, mut linked: impl Iterator<Item = NodeId>) -> bool {
    roles.has(Role::Coordinator) && linked.any(|node| node == to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(coordinates: bool) -> Roles {
        Roles::of(coordinates.then_some(Role::Coordinator).into_iter().chain([Role::Sector]))
            .unwrap()
    }

    fn hop(to: u32, linked: &[(u32, bool)], turn: u64) -> Option<u32> {
        let linked = linked.iter().map(|(node, is)| (NodeId(*node), roles(*is)));
        first_hop(NodeId(to), linked, turn).map(|node| node.0)
    }

    #[test]
    fn the_node_itself_is_asked_while_there_is_a_link() {
        assert_eq!(hop(3, &[(1, true), (2, true), (3, false)], 0), Some(3));
        assert_eq!(hop(3, &[(1, true), (2, true), (3, false)], 1), Some(3));
    }

    #[test]
    fn without_a_link_two_coordinators_have_their_turns() {
        let linked = [(1, true), (2, false), (4, true), (5, true)];
        let hops: Vec<_> = (0..4).map(|turn| hop(3, &linked, turn)).collect();
        assert_eq!(hops, [Some(1), Some(4), Some(1), Some(4)]);
        assert_eq!(hop(3, &[(2, false)], 0), None, "no coordinator");
    }

    #[test]
    fn only_a_coordinator_hands_on_and_only_over_a_link_of_its_own() {
        let linked = || [NodeId(1), NodeId(3)].into_iter();
        assert!(hands_on(roles(true), NodeId(3), linked()));
        assert!(!hands_on(roles(true), NodeId(2), linked()));
        assert!(!hands_on(roles(false), NodeId(3), linked()));
    }
}
