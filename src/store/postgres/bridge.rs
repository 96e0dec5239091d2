//! Owns the thread that talks to the server, and how blocking callers wait
//! for it. Never knows what is talked about. Invariant: a caller waits no
//! longer than it said, on any thread, also on one of an async runtime.

use std::io;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::error::Failure;

pub struct Bridge {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Bridge {
    pub fn start() -> io::Result<Bridge> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("store-postgres").enable_all().build();
        Ok(Bridge { runtime: Some(runtime?) })
    }

    /// Lets `work` go on by itself, until the store is dropped.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    /// What `work` comes to.
    ///
    /// # Errors
    /// Its own; `Late` when it takes longer, it is dropped then.
    pub fn wait<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        // Not `block_on`: that panics on a thread of another runtime.
        let (done, answer) = sync_channel(1);
        self.spawn(async move {
            let outcome = tokio::time::timeout(within, work).await;
            // The caller waits until this comes.
            let _ = done.send(outcome.unwrap_or(Err(Failure::Late(within.as_millis()))));
        });
        answer.recv().unwrap_or(Err(Failure::Closed))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Connections end with it; the server rolls back what is open.
            runtime.shutdown_background();
        }
    }
}
