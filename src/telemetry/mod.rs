//! Owns what a node tells its operators: metrics, and the log. Never decides
//! anything and never fails a caller. Called by everything outside the pure
//! modules. Invariant: every metric is declared in [`metrics`] and described
//! in `docs/metrics.md`.

pub mod logging;
pub mod metrics;
mod recorder;

pub use recorder::{Recorder, RecorderError};
