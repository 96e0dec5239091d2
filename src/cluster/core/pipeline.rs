//! Owns the one commit that is under way, and what each of its groups was
//! for. Never decides what goes in. Called by [`NodeCore`](super::node).
//!
//! ```text
//!   Idle ──send──> UnderWay ──answer──> Idle
//!                  UnderWay ──outcome unknown──> Waiting ──again──> UnderWay
//! ```
//!
//! Invariant: until the outcome of a commit is known nothing but its same
//! bytes is sent.

use std::sync::Arc;

use super::message::Committed;
use crate::base::{EntityKey, Millis, NodeId, Tick};
use crate::entity::attempt::Attempt;
use crate::entity::audit::{Head, Statement};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

/// A commit whose outcome is unknown is sent again after this long, doubled
/// each time up to [`AGAIN_MS_MAX`]: behind a stall of the store all nodes of a
/// cluster are back before one of them may take another for dead.
const AGAIN_MS_MIN: u64 = 20;
const AGAIN_MS_MAX: u64 = 400;

/// What a group of a commit is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A record of an entity.
    Record(Committed),
    /// The record with which an entity hibernates, and whether it is kept.
    Close { record: Committed, is_kept: bool },
    /// The record with which an entity goes to another node.
    HandOver { record: Committed, to: NodeId },
    /// The record that parks an entity.
    Park { entity: EntityKey, sequence: u64 },
    /// That a process ended because of an entity.
    Attempt(Attempt),
    /// A declaration that these nodes are dead.
    Deaths(Vec<Dead>),
    /// A change of the directory.
    Directory,
    /// That this process began.
    Began,
    /// How far the other nodes' audit logs have come.
    Witness,
    /// That the node was told to stop.
    Stopping,
    /// A signature over a head of the audit log.
    Signature(Statement),
    /// Rows that a gateway wants put.
    Rows(u64),
    /// A reservation of id blocks.
    Ids,
    /// Keys of no use any more.
    Stale,
    /// Chunks of a snapshot, not its last.
    Chunks,
    /// A snapshot's last chunks and its head.
    Snapshot { entity: EntityKey, sequence: u64, bytes: u64 },
}

/// A node that is declared dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    pub node: NodeId,
    /// How far its audit log had come.
    pub last: Head,
    /// The last tick of its row.
    pub tick: Tick,
}

/// What a commit's answer means.
#[derive(Debug)]
pub enum Settled {
    /// It is durable.
    Durable { commit: Arc<Commit>, slots: Vec<Slot>, answer: CommitAnswer },
    /// Nobody knows; it will be sent again.
    Unknown,
    /// This process owns nothing any more.
    Deposed(CommitError),
}

/// The one commit under way.
#[derive(Debug, Default)]
pub struct Pipeline {
    state: State,
    number: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    UnderWay {
        commit: Arc<Commit>,
        slots: Vec<Slot>,
        wait: u64,
    },
    Waiting {
        commit: Arc<Commit>,
        slots: Vec<Slot>,
        wait: u64,
        until: Millis,
    },
}

impl Pipeline {
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// The number of the next commit.
    pub fn next_number(&self) -> u64 {
        self.number
    }

    /// Takes a commit of that number to be sent; there must be none under way.
    pub fn send(&mut self, commit: Commit, slots: Vec<Slot>) -> Arc<Commit> {
        debug_assert!(self.is_idle() && commit.number == self.number);
        debug_assert_eq!(commit.groups.len(), slots.len());
        let commit = Arc::new(commit);
        self.state = State::UnderWay { commit: commit.clone(), slots, wait: AGAIN_MS_MIN };
        commit
    }

    /// Takes the store's word on the commit under way; `None` when there is none.
    pub fn settle(
        &mut self,
        result: Result<CommitAnswer, CommitError>,
        now: Millis,
    ) -> Option<Settled> {
        let State::UnderWay { commit, slots, wait } = std::mem::take(&mut self.state) else {
            return None;
        };
        Some(match result {
            Ok(answer) => {
                self.number += 1;
                Settled::Durable { commit, slots, answer }
            }
            Err(CommitError::Unknown(_)) => {
                let until = Millis(now.0 + wait);
                self.state = State::Waiting { commit, slots, wait, until };
                Settled::Unknown
            }
            Err(error) => Settled::Deposed(error),
        })
    }

    /// The commit whose outcome is unknown, when it is time to send it again.
    pub fn resend(&mut self, now: Millis) -> Option<Arc<Commit>> {
        if !matches!(&self.state, State::Waiting { until, .. } if *until <= now) {
            return None;
        }
        let State::Waiting { commit, slots, wait, .. } = std::mem::take(&mut self.state) else {
            return None;
        };
        let wait = (wait * 2).min(AGAIN_MS_MAX);
        self.state = State::UnderWay { commit: commit.clone(), slots, wait };
        Some(commit)
    }

    /// When [`resend`](Self::resend) has something, if ever.
    pub fn resend_at(&self) -> Option<Millis> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            _ => None,
        }
    }
}
