//! Owns how many calls of the store there may be, and how long each may take.
//! Pure.

use std::time::Duration;

/// Bounds of the calls of a store, of the node that serves it and of those
/// that call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Reads of one node at a time, beside its one commit; the same on all
    /// nodes of a cluster. More wait where they were made.
    pub reads_per_node: u32,
    /// Nodes that call at a time; more are refused.
    pub nodes_max: usize,
    /// Reads of all nodes that the store is at, at a time, each on a thread.
    pub reads_at_once: usize,
    /// Commits of all nodes, likewise.
    pub commits_at_once: usize,
    /// Bytes of commits that are in memory, of all nodes; more are not read
    /// yet. At least one commit of the largest size.
    pub commit_bytes: u32,
    /// A request has so long to come in, and an answer to be taken.
    pub transfer: Duration,

    /// A call waits so long for a connection.
    pub connect: Duration,
    /// A commit without an answer is unknown after so long.
    pub commit: Duration,
    /// A read without an answer is away after so long.
    pub read: Duration,
}

impl Default for CallLimits {
    fn default() -> CallLimits {
        CallLimits {
            reads_per_node: 16,
            nodes_max: 256,
            reads_at_once: 32,
            commits_at_once: 8,
            commit_bytes: 256 << 20,
            transfer: Duration::from_secs(10),
            connect: Duration::from_secs(1),
            commit: Duration::from_secs(10),
            read: Duration::from_secs(10),
        }
    }
}

impl CallLimits {
    /// Whether every one of them is more than nothing.
    pub(in crate::cluster::links) fn is_sound(&self) -> bool {
        let sizes = [self.nodes_max, self.reads_at_once, self.commits_at_once];
        let times = [self.transfer, self.connect, self.commit, self.read];
        let bytes = self.commit_bytes as usize >= super::wire::COMMIT_MAX;
        // Streams are counted beside the one for commits.
        let reads = (1..=1 << 16).contains(&self.reads_per_node);
        bytes && reads && !sizes.contains(&0) && !times.contains(&Duration::ZERO)
    }
}
