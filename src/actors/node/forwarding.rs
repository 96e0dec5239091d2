//! Owns the way of groups of rows from who puts them to the core: as many are in its
//! hands at a time as it has room for, the others wait in their bounded queue. Never
//! looks into one. Called when the node starts and stops.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::actors::core_thread::{CoreHandle, ToCore};
use crate::actors::rows::{GroupRequest, Rows, RowsLimits};
use crate::config::Config;
use crate::store::Store;

/// The task that brings groups of rows to the core, and how to tell it that
/// no more come.
pub(super) struct Forwarding {
    pub close: oneshot::Sender<()>,
    pub task: JoinHandle<()>,
}

pub(super) fn start_rows(
    store: &Arc<dyn Store>,
    config: &Config,
    core: &CoreHandle,
) -> (Rows, Forwarding) {
    let (rows, queue) = Rows::new(store, RowsLimits::from(&config.store));
    let (close, closed) = oneshot::channel();
    let task = actix::spawn(forward_rows(queue, core.clone(), closed));
    (rows, Forwarding { close, task })
}

/// Groups of rows wait in their bounded queue while as many as this are in the
/// core's hands: while the store is away, they are all there will be.
const ROWS_IN_CORE: usize = 1024;

/// Until `close`, and then what waits already.
async fn forward_rows(
    mut queue: mpsc::Receiver<GroupRequest>,
    core: CoreHandle,
    close: oneshot::Receiver<()>,
) {
    let room = Arc::new(Semaphore::new(ROWS_IN_CORE));
    let mut close = Some(close);
    loop {
        let closed = async {
            match close.as_mut() {
                Some(close) => _ = close.await,
                None => std::future::pending().await,
            }
        };
        let request = tokio::select! {
            request = queue.recv() => request,
            () = closed => {
                queue.close();
                close = None;
                continue;
            }
        };
        let Some(request) = request else { return };
        // The semaphore is never closed.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        core.send(ToCore::Rows(request, permit));
    }
}
