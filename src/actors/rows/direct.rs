//! Owns a stand-in for the node's core: one thread that turns waiting groups
//! into commits of a node of its own. For tests and tools that have rows but
//! run no entities. Invariant: an unknown commit is sent again until its
//! outcome is known, and nothing else before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{GroupAnswer, GroupRequest, Rows, RowsLimits};
use crate::base::{Incarnation, NodeId, Tick};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};
use crate::store::Store;

/// No real node has this id; those count from 0.
const NODE: NodeId = NodeId(u32::MAX);
/// Groups in one commit at most.
const GROUPS_MAX: usize = 256;

const LIMITS: RowsLimits = RowsLimits {
    reads_at_once: 8,
    read_timeout: Duration::from_secs(5),
    write_timeout: Duration::from_secs(10),
    writes_waiting_max: 1024,
};

impl Rows {
    /// Rows with a thread that commits for them; it ends with the last clone.
    pub fn direct(store: Arc<dyn Store>) -> Rows {
        let (rows, queue) = Rows::new(&store, LIMITS);
        std::thread::spawn(move || Committer::begin(store).map(|mut it| it.run(queue)));
        rows
    }
}

struct Committer {
    store: Arc<dyn Store>,
    incarnation: Incarnation,
    number: u64,
}

impl Committer {
    /// Begins the incarnation after the last one in the store.
    fn begin(store: Arc<dyn Store>) -> Result<Committer, CommitError> {
        let mut begun = Committer { store, incarnation: Incarnation(1), number: 0 };
        loop {
            match begun.settle(Vec::new()) {
                Ok(_) => return Ok(begun),
                Err(CommitError::Fenced { row: Some(row) })
                    if row.incarnation >= begun.incarnation =>
                {
                    begun.incarnation = Incarnation(row.incarnation.0 + 1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn run(&mut self, mut queue: mpsc::Receiver<GroupRequest>) {
        let mut waiting = Vec::new();
        while queue.blocking_recv_many(&mut waiting, GROUPS_MAX) > 0 {
            let (groups, askers): (Vec<_>, Vec<_>) =
                waiting.drain(..).map(|request| (request.group, request.answer)).unzip();
            self.number += 1;
            let Ok(CommitAnswer { version, refused, .. }) = self.settle(groups) else { return };
            for (index, asker) in (0u32..).zip(askers) {
                let answer = match refused.binary_search(&index) {
                    Ok(_) => GroupAnswer::Refused,
                    Err(_) => GroupAnswer::Accepted { version },
                };
                // An asker that gave up meanwhile needs no answer.
                let _ = asker.send(Ok(answer));
            }
        }
    }

    fn settle(
        &self,
        groups: Vec<crate::entity::commit::Group>,
    ) -> Result<CommitAnswer, CommitError> {
        let commit = Commit {
            node: NODE,
            incarnation: self.incarnation,
            number: self.number,
            nonce: u64::from(std::process::id()),
            tick: Tick(0),
            audit_root: [0; 32],
            groups,
            is_last: false,
        };
        loop {
            match self.store.commit(&commit) {
                Err(CommitError::Unknown(_)) => std::thread::yield_now(),
                outcome => return outcome,
            }
        }
    }
}
