//! Owns virtual time: what happens next. Never draws; whoever sends something
//! says when it arrives. Things of the same millisecond happen in the order
//! they were pushed.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use starmesh::base::EntityKey;
use starmesh::cluster::core::loading::Asker;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::Event;
use starmesh::entity::commit::Commit;

use crate::gateway::{Request, ToClient};
use crate::process::commands::{Back, Mail};

/// One thing that happens.
pub enum Happening {
    /// The node's process starts.
    Start,
    /// The node's process is killed.
    Crash,
    /// Something arrives in the process with this number, if it still runs.
    InNode(u64, InNode),
    /// A client's request arrives at the gateway of whatever process runs.
    Request {
        connection: u64,
        request: Request,
    },
    /// A message arrives at a client, or its connection's end does.
    ToClient {
        client: usize,
        connection: u64,
        message: ToClient,
    },
    ClientActs(usize),
    RegistrarActs,
    /// The wall clock is set.
    ClockJumps,
    /// Whoever runs the node looks after it.
    OperatorLooks,
    /// A sector goes to another table.
    SectorMoves,
    /// The store asks for a snapshot of some entities.
    StorePins,
    /// Faults end; from here on everything must come to its end.
    Calm,
    /// Look whether everything has come to its end.
    Settled,
}

/// Something that arrives at a part of a process.
pub enum InNode {
    Core(Event),
    FromTable(Vec<FromTable>),
    ToTable(usize, ToTable),
    /// A table's actors take this out of a mailbox.
    Mail(usize, Mail),
    /// It comes back to this connection's session.
    Back(u64, Back),
    /// The store's thread makes this commit.
    CommitNow(Arc<Commit>),
    /// A loader reads.
    ScanOwned,
    Load(EntityKey, Asker),
    ReadNextId,
    ReadAttempts,
    ReadDue(Option<Vec<u8>>, usize),
    ReadAsleep(Option<Vec<u8>>),
    /// The core asked to be woken; only its newest wish counts.
    Wake(u64),
}

struct Entry {
    at: u64,
    order: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What will happen.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
    /// When the last thing on each ordered way arrives.
    ways: BTreeMap<Way, u64>,
}

/// A way on which nothing overtakes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    ToTable(usize),
    FromTable(usize),
    Mailbox(usize),
    /// From a table to sessions.
    Back(usize),
    ToConnection(u64),
    FromConnection(u64),
}

impl Queue {
    pub fn push(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.heap.push(Reverse(Entry { at, order: self.order, happening }));
    }

    /// Pushes behind everything that is on `way`.
    pub fn push_behind(&mut self, way: Way, at: u64, happening: Happening) {
        let last = self.ways.entry(way).or_default();
        *last = at.max(*last);
        let at = *last;
        self.push(at, happening);
    }

    pub fn pop(&mut self) -> Option<(u64, Happening)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.happening))
    }
}
