//! Owns what a node needs to be watched and to say why it ended: where its threads say
//! what they are at, and its last words. Never watches (`actors::watchdog` does). Called
//! when the node starts.

use std::path::Path;
use std::sync::Arc;

use super::{Entities, Node};
use crate::actors::core_thread::CoreHandle;
use crate::actors::ending::Ending;
use crate::actors::last_words::LastWords;
use crate::actors::ticker::TableHandle;
use crate::actors::watchdog::{Watchdog, Watched};
use crate::base::NodeId;
use crate::cluster::core::node::NodeCore;
use crate::entity::workplace::Workplace;

impl Node {
    /// Has a thread of this process that aborts while it runs an entity's code say so;
    /// for the process's only node.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn speak_on_abort(&self) -> std::io::Result<()> {
        self.last_words.as_ref().map_or(Ok(()), |words| words.on_abort())
    }
}

/// Where threads say what they are at. Kept until the process ends: the handler of a
/// signal may look at any moment.
pub(super) fn places(count: usize) -> Vec<&'static Workplace> {
    (0..count).map(|_| &*Box::leak(Box::default())).collect()
}

/// A core that knows what earlier processes left in `data`, and where this one will.
/// Without such a place a node runs all the same.
pub(super) fn after(
    core: NodeCore,
    data: Option<&Path>,
    node: NodeId,
) -> (NodeCore, Option<Arc<LastWords>>) {
    match data.map(|data| LastWords::open(data, node, core.incarnation())) {
        None => (core, None),
        Some(Ok((words, attempts))) => (core.after(attempts), Some(Arc::new(words))),
        Some(Err(error)) => {
            tracing::error!(
                %error,
                "no last words: should an entity end this process, nobody will know which"
            );
            (core, None)
        }
    }
}

/// Has those threads watched: of the tables, and of the loaders.
pub(super) fn watch(
    entities: &Entities,
    tables: &[TableHandle],
    places: Vec<&'static Workplace>,
    (core, ending): (&CoreHandle, &Ending),
    last_words: &Option<Arc<LastWords>>,
) -> std::io::Result<Watchdog> {
    Watchdog::start(Watched {
        tables: tables.to_vec(),
        places,
        core: core.clone(),
        status: entities.status.clone(),
        last_words: last_words.clone(),
        ending: ending.clone(),
    })
}
