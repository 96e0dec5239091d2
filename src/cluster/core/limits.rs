//! Owns the bounds that a node's core and its tables keep. Never decides what
//! happens at one: whoever keeps it says so. Made by who starts a node; the
//! simulator draws small ones, so that every bound is met. Invariant: none is
//! zero, and a record or chunk within them is one that stores accept.

use crate::entity::commit::{RECORD_BYTES_MAX, VALUE_BYTES_MAX};

/// Bounds of a node. Nothing stored depends on them: a restart may have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    // What waits in a table of entities.
    /// Inputs of one entity that may wait for a commit; beyond it whoever
    /// proposes one is told `busy`.
    pub inputs_per_entity: usize,
    /// Inputs of all entities of a table that may wait for a commit.
    pub inputs_per_table: usize,
    /// Sessions attached to one entity; beyond it who attached first does so again
    /// before its next command.
    pub attached_per_entity: usize,
    /// Bytes of one input; a longer one is refused. More than
    /// [`MESSAGE_BYTES_MAX`](crate::entity::channel::MESSAGE_BYTES_MAX) and a
    /// channel's name.
    pub input_bytes: usize,

    // Time.
    /// Ticks that a table may be behind; beyond it time stands still until it
    /// has caught up, for all of the node.
    pub ticks_behind: u64,

    // Hibernation.
    /// Milliseconds for which nothing happens to a sector before it hibernates.
    pub quiet_ms: u64,
    /// Timers of hibernating entities that are read at a time.
    pub due_page: usize,

    // What waits for a load.
    /// Entities loaded at a time.
    pub loads: usize,
    /// Entities loaded, or kept loaded, while another node that offers them still
    /// runs them; more offers wait their turn.
    pub loads_ahead: usize,
    /// Messages and proposals that may wait for one entity; more are dropped:
    /// messages come again, and whoever connects tries again.
    pub waiting_per_load: usize,
    /// Messages and proposals that may wait for all loads together.
    pub waiting_for_loads: usize,

    // What waits for other nodes.
    /// Messages that wait until the row says their tick, and entities that
    /// others gave to this node; more are dropped, and come again.
    pub waiting_for_nodes: usize,
    /// Entities that are offered to other nodes, or on their way to them, at a
    /// time; others wait, and run meanwhile. As many offers wait here for a place
    /// among what is loaded ahead; more are not heard, and come again.
    pub leaving: usize,
    /// A node whose row did not move for so long may be declared dead.
    pub silent_ms: u64,

    // What goes into one commit. Each but `record_bytes` is looked at before
    // the next thing is added, so a commit exceeds it by at most one of them.
    /// Bytes of records.
    pub commit_bytes: usize,
    /// Records.
    pub records_per_commit: usize,
    /// Bytes of inputs after which a record takes no more: with the longest
    /// input behind them it must still be one that stores accept.
    pub record_bytes: usize,
    /// Bytes of groups of rows.
    pub rows_bytes: usize,
    /// Groups of rows.
    pub rows_per_commit: usize,

    // Snapshots.
    /// Snapshots that are made and written at a time; who needs one beyond it
    /// waits by its key.
    pub snapshots: usize,
    /// A journal with fewer bytes than this needs no snapshot.
    pub journal_bytes_min: u64,
    /// Bytes of a snapshot's chunk, at most a store's longest value.
    pub chunk_bytes: usize,
    /// Chunks of snapshots in one commit.
    pub chunks_per_commit: usize,

    // Ids.
    /// Blocks of ids reserved in the store at a time.
    pub id_blocks: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            inputs_per_entity: 4096,
            inputs_per_table: 65_536,
            attached_per_entity: 16_384,
            input_bytes: RECORD_BYTES_MAX / 4,
            ticks_behind: 3,
            quiet_ms: 60_000,
            due_page: 64,
            loads: 64,
            loads_ahead: 256,
            waiting_per_load: 1024,
            waiting_for_loads: 65_536,
            waiting_for_nodes: 65_536,
            leaving: 512,
            silent_ms: 1000,
            commit_bytes: 4 << 20,
            records_per_commit: 8192,
            record_bytes: RECORD_BYTES_MAX / 2,
            rows_bytes: 2 << 20,
            rows_per_commit: 1024,
            snapshots: 4,
            journal_bytes_min: 64 * 1024,
            chunk_bytes: VALUE_BYTES_MAX,
            chunks_per_commit: 16,
            id_blocks: 64,
        }
    }
}
