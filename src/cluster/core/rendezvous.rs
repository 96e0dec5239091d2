//! Owns which node of several has an entity that no directory entry names: the
//! one with the highest weight for it (rendezvous hashing). Never keeps a
//! state. Called by the [directory](super::directory). Invariant: every node and
//! every build gives the same answer, whatever the order of the nodes; when a
//! node goes, only what it had moves, and when one comes, things move only to it.

use crate::base::NodeId;

/// The node of `nodes` for entity `number` of the kind with this byte; `None`
/// where there are no nodes.
pub fn choose(kind: u8, number: u64, nodes: &[NodeId]) -> Option<NodeId> {
    // The kind is mixed in first, so that ledger 3 and board 3 part.
    let entity = mix(mix(u64::from(kind)) ^ number);
    nodes.iter().copied().max_by_key(|node| (mix(entity ^ mix(u64::from(node.0))), *node))
}

/// The finalizer of splitmix64: each bit of the value changes half of the others.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes() -> impl Strategy<Value = Vec<NodeId>> {
        prop::collection::btree_set(any::<u32>(), 1..20)
            .prop_map(|ids| ids.into_iter().map(NodeId).collect())
    }

    proptest! {
        #[test]
        fn the_order_of_the_nodes_does_not_matter(
            nodes in nodes().prop_shuffle(), kind: u8, number: u64,
        ) {
            let mut sorted = nodes.clone();
            sorted.sort_unstable();
            prop_assert_eq!(choose(kind, number, &nodes), choose(kind, number, &sorted));
        }

        #[test]
        fn when_a_node_goes_only_what_it_had_moves(
            nodes in nodes(), gone in any::<prop::sample::Index>(), kind: u8, number: u64,
        ) {
            let gone = *gone.get(&nodes);
            let left: Vec<_> = nodes.iter().copied().filter(|node| *node != gone).collect();
            let before = choose(kind, number, &nodes);
            let after = choose(kind, number, &left);
            prop_assert!(after == before || before == Some(gone));
        }
    }

    #[test]
    fn each_node_has_about_its_share() {
        let nodes: Vec<NodeId> = (1..=10).map(NodeId).collect();
        for kind in [2, 3] {
            let mut counts = [0; 11];
            for number in 0..10_000 {
                counts[choose(kind, number, &nodes).unwrap().0 as usize] += 1;
            }
            // Six standard deviations of 30.
            assert!(counts[1..].iter().all(|count| (820..1180).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn the_answer_stays_the_same_for_ever() {
        // Nodes of two versions must agree.
        let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
        let chosen: Vec<u32> = (0..12).map(|n| choose(2, n, &nodes).unwrap().0).collect();
        assert_eq!(chosen, GOLDEN);
        assert_eq!(choose(2, 0, &[]), None);
    }

    const GOLDEN: [u32; 12] = [3, 5, 3, 2, 3, 5, 2, 3, 1, 4, 4, 5];
}
