//! Owns what makes one word of soft state count more than another: load is told
//! over the links, and two nodes may speak of the same thing. Never stored.
//! Invariant: of any two different updates one counts, whoever compares them.

use serde::{Deserialize, Serialize};

use crate::base::{Millis, NodeId};

/// Something that a node says, as of when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampedUpdate<T> {
    pub data: T,
    /// By the clock of the node that says it.
    pub timestamp: Millis,
    pub server_id: NodeId,
}

impl<T> TimestampedUpdate<T> {
    /// Whether this one counts and the other does not: the later one, and of one
    /// time that of the larger id.
    pub fn counts_before<U>(&self, other: &TimestampedUpdate<U>) -> bool {
        (self.timestamp, self.server_id) > (other.timestamp, other.server_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_one_counts_and_then_the_larger_node() {
        let update = |at, node| TimestampedUpdate {
            data: (),
            timestamp: Millis(at),
            server_id: NodeId(node),
        };
        assert!(update(2, 1).counts_before(&update(1, 9)));
        assert!(update(2, 9).counts_before(&update(2, 1)));
        assert!(!update(2, 1).counts_before(&update(2, 1)));
    }
}
