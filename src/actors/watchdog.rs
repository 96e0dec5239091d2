//! Owns the watch over the threads that run entities, and the end of the process when
//! one of them is stuck. A thread of its own, which runs no entity and waits for nobody:
//! it looks, and [`Watch`](crate::cluster::core::watch) says what that means.
//!
//! Watched are the arbiters, each of which is asked for a word, and the loaders, which
//! run entities' code, too, but only while they do that: a store that does not answer is
//! not theirs. When one is stuck, which entity it is at goes to disk and, if the store
//! answers within a second, there; then whoever started the node is told to end the
//! process. If that does not happen in its time, because the thread holds what others
//! wait for, it is ended from here.
//!
//! Invariant: the process ends within a few seconds of one of those threads being
//! found stuck, whatever else does not answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::core_thread::{CoreHandle, ToCore};
use super::ending::{Ended, Ending, STUCK_EXIT};
use super::last_words::LastWords;
use super::status::CoreStatus;
use super::ticker::TableHandle;
use crate::base::Millis;
use crate::cluster::core::node::Event;
use crate::cluster::core::watch::{LOOK_MS, Seen, Watch};
use crate::entity::attempt::{Attempt, How};
use crate::entity::workplace::{Work, Workplace};
use crate::telemetry::metrics;

/// The store is given so long to take what is known.
const STORED_WITHIN: Duration = Duration::from_secs(1);
/// And whoever started the node so long to end the process.
const ENDED_WITHIN: Duration = Duration::from_secs(3);

/// What the watchdog works with.
pub struct Watched {
    /// The arbiters' tables, and where those threads and the loaders say what they are
    /// at, in that order.
    pub tables: Vec<TableHandle>,
    pub places: Vec<&'static Workplace>,
    pub core: CoreHandle,
    pub status: Arc<CoreStatus>,
    pub last_words: Option<Arc<LastWords>>,
    pub ending: Ending,
}

/// A watchdog that runs.
pub struct Watchdog(SyncSender<()>);

impl Watchdog {
    /// Starts the thread; it ends when this is dropped or [stopped](Self::stop).
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(watched: Watched) -> std::io::Result<Watchdog> {
        let (stopped, stop) = sync_channel(1);
        metrics::ARBITER_SILENT.set(0.0);
        let thread = Thread { watched, watch: Watch::default(), began: Instant::now(), stop };
        std::thread::Builder::new().name("watchdog".into()).spawn(move || thread.run())?;
        Ok(Watchdog(stopped))
    }

    /// From now on nobody is watched: the threads end.
    pub fn stop(&self) {
        // Full it was said already.
        let _ = self.0.try_send(());
    }
}

struct Thread {
    watched: Watched,
    watch: Watch,
    began: Instant,
    stop: Receiver<()>,
}

impl Thread {
    fn run(mut self) {
        while self.stop.recv_timeout(Duration::from_millis(LOOK_MS))
            == Err(RecvTimeoutError::Timeout)
        {
            self.look();
            if let Some((index, ms)) = self.watch.stuck() {
                return self.end(index, ms);
            }
        }
    }

    fn look(&mut self) {
        let now = Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let tables = self.watched.tables.iter().map(Some).chain(std::iter::repeat(None));
        let seen = |(place, table): (&&Workplace, Option<&TableHandle>)| {
            let (asked, answers) = table.map_or((false, 0), TableHandle::answers);
            let is_awaited = asked || place.work().is_some();
            Seen { answers: place.count().wrapping_add(answers), is_awaited }
        };
        let seen: Vec<Seen> = self.watched.places.iter().zip(tables).map(seen).collect();
        self.watch.look(&seen, now);
        metrics::ARBITER_SILENT.set(self.watch.longest_ms() as f64 / 1_000.0);
        self.watched.tables.iter().for_each(TableHandle::ask);
    }

    /// The thread of that number has been silent for so long.
    fn end(&self, index: usize, ms: u64) {
        let work = self.watched.places.get(index).and_then(|place| place.work());
        let who = match index.checked_sub(self.watched.tables.len()) {
            None => format!("arbiter {index}"),
            Some(loader) => format!("loader {loader}"),
        };
        let at = work.map_or("no entity".into(), |Work { entity, tick }| {
            format!("{entity}, at its tick {}", tick.0)
        });
        let why = format!("{who} has not answered for {ms} ms; it works on {at}");
        tracing::error!("{why}: the process ends, and who starts next loads what it had");
        if let Some(attempt) = work.and_then(|work| self.note(work)) {
            self.say(attempt);
        }
        self.watched.ending.tell(Ended::Stuck(why));
        if let Err(RecvTimeoutError::Timeout) = self.stop.recv_timeout(ENDED_WITHIN) {
            end_here();
        }
    }

    fn note(&self, work: Work) -> Option<Attempt> {
        let words = self.watched.last_words.as_ref()?;
        let lost = |error: &std::io::Error| {
            tracing::error!(%error, "its last words were not written: nobody will know why it ended");
        };
        words.write(work, How::Silent).inspect_err(lost).ok()
    }

    /// Has it stored, if the store takes it in time.
    fn say(&self, attempt: Attempt) {
        self.watched.core.send(ToCore::Event(Event::Blame(attempt)));
        let until = Instant::now() + STORED_WITHIN;
        while !self.watched.status.blamed.load(Ordering::Acquire) && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Ends the process, which nobody else did.
#[expect(
    clippy::disallowed_methods,
    reason = "destructors would wait for the thread that does not answer"
)]
fn end_here() {
    tracing::error!("whoever started the node did not end the process in time");
    std::process::exit(i32::from(STUCK_EXIT));
}
