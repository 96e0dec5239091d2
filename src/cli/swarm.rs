//! `starmesh swarm`: many real clients that check what they are told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use super::{UsageError, print};
pub use crate::swarm::SwarmArgs as Args;
use crate::swarm::{Report, Stats, SwarmConfig, run as run_swarm};

/// How often the progress line is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Runs the swarm and prints its report; a desync, a loss or a client that
/// never connected is an error.
pub fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config().map_err(|error| UsageError(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let report = runtime.block_on(watched(config))?;
    print(&report.to_string())?;
    if let Some(path) = &args.json {
        write_json(path, &report).with_context(|| format!("writing {}", path.display()))?;
    }
    let faults = report.faults();
    anyhow::ensure!(faults.is_empty(), "the swarm found {}", faults.join(", "));
    Ok(())
}

/// Runs the swarm with a progress line, until its end or Ctrl-C.
async fn watched(config: SwarmConfig) -> anyhow::Result<Report> {
    let stats = Arc::new(Stats::new());
    let (stop, stopped) = watch::channel(false);
    let bar = bar(config.duration);
    let start = Instant::now();
    let mut swarm = std::pin::pin!(run_swarm(config, stats.clone(), stopped));
    let mut draw = interval(DRAW_EVERY);
    // One for the whole run: what comes between two of them is heard by nobody.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let report = loop {
        tokio::select! {
            report = &mut swarm => break report,
            _ = &mut interrupted, if !*stop.borrow() => {
                stop.send_replace(true);
            }
            _ = draw.tick() => show(&bar, start, &stats),
        }
    };
    bar.finish_and_clear();
    report.context("starting the swarm")
}

/// Draws to standard error, and nothing where that is no terminal.
fn bar(duration: Duration) -> ProgressBar {
    let seconds = duration.as_secs().max(1);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} s  {msg}");
    // The template is a constant that indicatif accepts.
    ProgressBar::new(seconds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, start: Instant, stats: &Stats) {
    if bar.is_hidden() {
        return;
    }
    let counts = stats.lock();
    let p99 = counts.latency.value_at_quantile(0.99);
    let message = format!(
        "{} connected, {} commands, {} acknowledged, p99 {p99} ms, {} desyncs, {} losses",
        counts.clients_connected,
        counts.commands,
        counts.acknowledged,
        counts.desyncs,
        counts.losses,
    );
    drop(counts);
    bar.set_position(start.elapsed().as_secs());
    bar.set_message(message);
}

fn write_json(path: &Path, report: &Report) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(std::fs::write(path, text)?)
}
