//! Owns who waits for an entity that does not run: until it does, or until it
//! is known that it has no record and is not claimed just to be seen. Never
//! wakes anything; the node's core does. Written by gateways, by tickers when an
//! entity is installed, by the core's thread when one is dormant or cannot be
//! loaded. Invariant: as many wait as there are commands and attachments that
//! sessions have unanswered.

use dashmap::DashMap;
use tokio::sync::oneshot;

use crate::base::{EntityKey, NodeId};

/// What came of waking an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It runs.
    Running,
    /// It has no record: it is what the seed gives.
    Dormant,
    /// It is this other node's.
    Elsewhere(NodeId),
}

/// Who waits for what.
#[derive(Default)]
pub struct Waking {
    waiting: DashMap<EntityKey, Vec<oneshot::Sender<Woken>>>,
}

impl Waking {
    /// Waits for what comes of waking `entity`; whoever does not wait any more
    /// is forgotten with the next.
    pub fn wait(&self, entity: EntityKey) -> oneshot::Receiver<Woken> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.entry(entity).or_default();
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }

    /// Says what came of it.
    pub fn tell(&self, entity: EntityKey, woken: Woken) {
        let (_, waiting) = self.waiting.remove(&entity).unwrap_or((entity, Vec::new()));
        for sender in waiting {
            // Who does not wait any more needs no answer.
            let _ = sender.send(woken);
        }
    }

    /// Nothing comes of it: `entity` cannot be loaded.
    pub fn give_up(&self, entity: EntityKey) {
        self.waiting.remove(&entity);
    }
}
