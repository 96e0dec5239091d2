//! Owns over which links a cast reaches a node: its own, else by way of a coordinator,
//! which hands on what it has a link for. Never sends. Called by the shell of the links.
//! Invariant: what is handed on is handed on once.

use super::super::roles::{Role, Roles};
use crate::base::NodeId;

/// The nodes to send to what is for `to`, which has no link to this one: two of the
/// coordinators among those that `linked` names, others at the next world tick. Not all
/// need reach the node, and what is not said for three world ticks is gone.
pub fn coordinators(linked: impl Iterator<Item = (NodeId, Roles)>, turn: u64) -> Vec<NodeId> {
    let coordinators: Vec<NodeId> =
        linked.filter(|(_, roles)| roles.has(Role::Coordinator)).map(|(node, _)| node).collect();
    let first = turn.wrapping_mul(2).checked_rem(coordinators.len() as u64);
    let first = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(0);
    coordinators.iter().cycle().skip(first).take(coordinators.len().min(2)).copied().collect()
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

    #[test]
    fn without_a_link_all_coordinators_have_their_turns_by_twos() {
        let linked = [(1, true), (2, false), (4, true), (5, true)];
        let tried = |linked: &[(u32, bool)], turn| {
            let linked = linked.iter().map(|(node, is)| (NodeId(*node), roles(*is)));
            coordinators(linked, turn).iter().map(|node| node.0).collect::<Vec<_>>()
        };
        let turns: Vec<_> = (0..4).map(|turn| tried(&linked, turn)).collect();
        assert_eq!(turns, [[1, 4], [5, 1], [4, 5], [1, 4]]);
        assert_eq!(tried(&linked[..2], 7), [1]);
        assert!(tried(&linked[1..2], 7).is_empty(), "no coordinator");
    }

    #[test]
    fn only_a_coordinator_hands_on_and_only_over_a_link_of_its_own() {
        let linked = || [NodeId(1), NodeId(3)].into_iter();
        assert!(hands_on(roles(true), NodeId(3), linked()));
        assert!(!hands_on(roles(true), NodeId(2), linked()));
        assert!(!hands_on(roles(false), NodeId(3), linked()));
    }
}
