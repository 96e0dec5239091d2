//! Owns what a swarm counts while it runs. Never prints (`report` does).
//! Written by all clients, read by the progress line and at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use super::predicted::Predicted;
use crate::client::Traffic;

/// Faults whose text is kept; the rest are only counted.
pub const SAMPLES_MAX: usize = 20;
/// Longer answers count as this long.
const LATENCY_MS_MAX: u64 = 600_000;

/// The counts, shared by all clients.
#[derive(Debug)]
pub struct Stats {
    inner: Mutex<Counts>,
}

/// What was counted so far.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Clients that have been connected at least once.
    pub clients_connected: u64,
    /// Sessions opened, first ones and resumed ones.
    pub connects: u64,
    pub resumed: u64,
    /// Open connections that were lost.
    pub disconnects: u64,
    /// Commands sent, repeats not counted.
    pub commands: u64,
    /// Of those, answered with success.
    pub acknowledged: u64,
    /// Units that were seen to do what an acknowledgement said.
    pub effects_seen: u64,
    /// Units that were seen to come to another place.
    pub crossings: u64,
    /// Clients that in the end had a unit where the first of them started.
    pub gathered: u64,
    /// Of the commands, given up without a known outcome.
    pub gave_up: u64,
    pub keyframes: u64,
    pub updates: u64,
    pub desyncs: u64,
    pub losses: u64,
    /// Times a client was shown what its units do not see.
    pub unseen: u64,
    pub predicted: Predicted,
    /// By kind: refusals, failed connections, whatever was not as asked.
    pub errors: BTreeMap<String, u64>,
    pub traffic: Traffic,
    /// Milliseconds from a command's first sending to its final answer.
    pub latency: Histogram<u64>,
    pub samples: Vec<String>,
}

impl Stats {
    pub fn new() -> Stats {
        // Bounds are constants that the crate accepts: 1 ≤ low, 2 low ≤ high,
        // at most 5 digits.
        let latency = Histogram::new_with_bounds(1, LATENCY_MS_MAX, 3).expect("valid bounds");
        Stats {
            inner: Mutex::new(Counts {
                clients_connected: 0,
                connects: 0,
                resumed: 0,
                disconnects: 0,
                commands: 0,
                acknowledged: 0,
                effects_seen: 0,
                crossings: 0,
                gathered: 0,
                gave_up: 0,
                keyframes: 0,
                updates: 0,
                desyncs: 0,
                losses: 0,
                unseen: 0,
                predicted: Predicted::default(),
                errors: BTreeMap::new(),
                traffic: Traffic::default(),
                latency,
                samples: Vec::new(),
            }),
        }
    }

    /// The counts, to add to.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after each addition, also when a client panicked.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats::new()
    }
}

impl Counts {
    /// An error of this kind happened.
    pub fn note_error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// A final answer took so long.
    pub fn note_latency(&mut self, ms: u64) {
        self.latency.saturating_record(ms.max(1));
    }

    /// Keeps the text of a fault, among the first.
    pub fn note_sample(&mut self, text: impl FnOnce() -> String) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(text());
        }
    }

    /// Adds what one client moved since it last said so.
    pub fn note_traffic(&mut self, now: Traffic, before: Traffic) {
        self.traffic.bytes_in += now.bytes_in - before.bytes_in;
        self.traffic.bytes_out += now.bytes_out - before.bytes_out;
        self.traffic.frames_in += now.frames_in - before.frames_in;
        self.traffic.frames_out += now.frames_out - before.frames_out;
    }
}
