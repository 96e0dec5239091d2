//! Owns who waits for the answer to which read of an entity: its table numbers
//! none, and the entity may be in another table when the answer may be seen.
//! Never asks anything. Used by all arbiters. Invariant: as many wait as there
//! are answers behind the publish barrier.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use tokio::sync::oneshot;

use super::ticker::Read;

/// Who waits for which answer.
#[derive(Default)]
pub struct Asking {
    waiting: DashMap<u64, oneshot::Sender<Read>>,
    last: AtomicU64,
}

impl Asking {
    /// A number for a read, never given twice.
    pub fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Waits for the answer of that number. Before the table is asked: another
    /// one may be the first to have it.
    pub fn wait(&self, ask: u64) -> oneshot::Receiver<Read> {
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(ask, answer);
        answered
    }

    /// Nothing was asked.
    pub fn forget(&self, ask: u64) {
        self.waiting.remove(&ask);
    }

    /// The answer may be seen; one that gave up meanwhile needs none.
    pub fn tell(&self, ask: u64, read: Read) {
        if let Some((_, asker)) = self.waiting.remove(&ask) {
            let _ = asker.send(read);
        }
    }
}
