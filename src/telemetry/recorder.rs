//! Owns the Prometheus recorder: installs it, renders it, keeps it small.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics::{ALL, Kind};

/// Upper bounds of the buckets of histograms in seconds: a commit takes 60 µs
/// to some ms, a request up to seconds.
const BUCKETS_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0,
    10.0,
];
/// Upper bounds of the buckets of histograms that count.
const BUCKETS_COUNT: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0];

/// Metrics could not be recorded; nothing else is affected.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder could not be installed: {0}")]
pub struct RecorderError(#[from] BuildError);

/// A handle to the recorder; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
}

impl Recorder {
    pub const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

    /// Makes every metric of this process go to this recorder.
    ///
    /// # Errors
    /// When one is installed already.
    pub fn install() -> Result<Recorder, RecorderError> {
        let handle = builder()?.install_recorder()?;
        ALL.iter().for_each(|metric| metric.describe());
        Ok(Recorder { handle })
    }

    /// A recorder that nothing records to: for tests that run several nodes.
    ///
    /// # Errors
    /// When the buckets of a histogram are illegal.
    pub fn detached() -> Result<Recorder, RecorderError> {
        Ok(Recorder { handle: builder()?.build_recorder().handle() })
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms collected. To be called every
    /// [`UPKEEP_PERIOD`](Self::UPKEEP_PERIOD): they keep each sample until then.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let histograms = ALL.iter().filter(|metric| metric.kind() == Kind::Histogram);
    let mut builder = PrometheusBuilder::new();
    for metric in histograms {
        let seconds = metric.name().ends_with("_seconds");
        let buckets = if seconds { BUCKETS_SECONDS } else { BUCKETS_COUNT };
        let this_one = Matcher::Full(metric.name().to_string());
        builder = builder.set_buckets_for_metric(this_one, buckets)?;
    }
    Ok(builder)
}
