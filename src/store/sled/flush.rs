//! Owns the thread that brings keys from the overlay into sled and deletes
//! segments that nothing needs any more. Never on a commit's way. Invariant:
//! one flush at a time, and sled's position is never beyond what was
//! acknowledged.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use crate::entity::commit::CommitError;
use crate::store::ReadError;

use super::frame::{Entry, Frame};
use super::keys::Keys;
use super::segment;
use super::state::State;

/// How many batches may wait for sled before commits do.
const BATCHES_MAX: usize = 8;
/// How long a commit waits for that before its outcome is unknown.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long after a failure sled is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What commits, readers and the flusher share.
pub struct Shared {
    pub(super) keys: Keys,
    /// Of the segments.
    pub(super) dir: PathBuf,
    pub(super) batch_keys: usize,
    pub(super) batch_bytes: usize,
    state: RwLock<State>,
    /// Held while keys are brought into sled, or segments deleted.
    flushing: Mutex<()>,
    signal: Mutex<Signal>,
    /// Something in `signal` changed.
    changed: Condvar,
}

#[derive(Default)]
struct Signal {
    flush: bool,
    sweep: bool,
    stop: bool,
}

/// A panic under one of these locks leaves whole values behind: changes are
/// made by moving finished values in.
fn whole<T>(lock: Result<T, PoisonError<T>>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new(state: State, keys: Keys, dir: PathBuf, batch: (usize, usize)) -> Shared {
        let (batch_keys, batch_bytes) = batch;
        let (flushing, signal, changed) = Default::default();
        let state = RwLock::new(state);
        Shared { keys, dir, batch_keys, batch_bytes, state, flushing, signal, changed }
    }

    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        whole(self.state.read())
    }

    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        whole(self.state.write())
    }

    fn signal(&self) -> MutexGuard<'_, Signal> {
        whole(self.signal.lock())
    }

    /// Changes the signal under its lock, so that nobody misses it.
    fn notify(&self, change: impl FnOnce(&mut Signal)) {
        change(&mut self.signal());
        self.changed.notify_all();
    }

    pub fn request_flush(&self) {
        self.notify(|signal| signal.flush = true);
    }

    pub fn stop(&self) {
        self.notify(|signal| signal.stop = true);
    }

    /// A commit's frame was folded in: keys may be due, segments unused.
    pub fn committed(&self, frame: &Frame<'_>) {
        let (keys, bytes) = self.state().overlay.fresh();
        if keys >= self.batch_keys || bytes >= self.batch_bytes {
            self.request_flush();
        }
        let frees = |entry: &Entry<'_>| matches!(entry, Entry::Head { .. } | Entry::Forget { .. });
        if frame.entries.iter().any(frees) {
            self.notify(|signal| signal.sweep = true);
        }
    }

    /// Waits while too many keys wait for sled.
    ///
    /// # Errors
    /// `Unknown` when sled takes none for a while; nothing was written.
    pub fn wait_for_room(&self) -> Result<(), CommitError> {
        let full = |shared: &Shared| {
            let (keys, bytes) = shared.state().overlay.fresh();
            keys > shared.batch_keys.saturating_mul(BATCHES_MAX)
                || bytes > shared.batch_bytes.saturating_mul(BATCHES_MAX)
        };
        if !full(self) {
            return Ok(());
        }
        self.request_flush();
        let waited = self.changed.wait_timeout_while(self.signal(), ROOM_WAIT, |_| full(self));
        let (signal, waited) = whole(waited);
        drop(signal);
        if waited.timed_out() {
            return Err(CommitError::Unknown("keys cannot be written to sled".into()));
        }
        Ok(())
    }

    /// Brings all keys into sled, then deletes unused segments.
    ///
    /// # Errors
    /// When sled cannot be written; the keys stay in the overlay.
    pub fn flush(&self) -> Result<(), ReadError> {
        let _one = whole(self.flushing.lock());
        let (batch, position) = {
            let mut state = self.state_mut();
            (state.overlay.freeze(), state.end())
        };
        if !batch.is_empty() || position.segment != self.state().flushed.segment {
            self.keys.write(&batch, position)?;
            let mut state = self.state_mut();
            state.overlay.thaw();
            state.flushed = position;
        }
        self.notify(|_| {});
        self.delete_unused();
        Ok(())
    }

    /// Deletes the segments that nothing needs.
    fn sweep(&self) {
        let _one = whole(self.flushing.lock());
        self.delete_unused();
    }

    fn delete_unused(&self) {
        let unused = self.state_mut().take_unused();
        for id in &unused {
            // One that stays is deleted after the next start.
            let _ = fs::remove_file(segment::path(&self.dir, *id));
        }
        if !unused.is_empty() {
            // If a deletion is not durable, it is repeated after a crash.
            let _ = File::open(&self.dir).and_then(|dir| dir.sync_all());
        }
    }
}

/// The flusher's life: until [`Shared::stop`].
pub fn run(shared: &Arc<Shared>) {
    let mut failed = false;
    loop {
        let (flush, stop) = {
            let idle = |signal: &mut Signal| !(signal.flush || signal.sweep || signal.stop);
            let mut signal = shared.signal();
            if failed {
                let stopped = |signal: &mut Signal| !signal.stop;
                signal = whole(shared.changed.wait_timeout_while(signal, RETRY, stopped)).0;
            } else {
                signal = whole(shared.changed.wait_while(signal, idle));
            }
            let flush = std::mem::take(&mut signal.flush) || failed;
            signal.sweep = false;
            (flush, signal.stop)
        };
        if stop {
            return;
        }
        if flush {
            failed = shared.flush().is_err();
        } else {
            shared.sweep();
        }
    }
}
