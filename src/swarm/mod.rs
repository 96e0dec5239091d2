//! Owns the load generator: many real clients that play a scenario and check
//! all that they are told. Never looks at a server but through the protocol.
//! Called by the command line, by the demo and by tests. Invariant: what the
//! server acknowledged or showed and did not keep is in the report.

pub mod accounts;
pub mod args;
mod bot;
pub mod check;
mod fog;
pub mod journal;
pub mod orders;
pub mod predicted;
pub mod report;
pub mod scenario;
pub mod stats;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use args::SwarmArgs;
pub use report::Report;
pub use scenario::Scenario;
pub use stats::{Counts, Stats};

use crate::base::SectorId;
use crate::client::Target;
use crate::protocol::CodecKind;
use crate::view::Charts;
use journal::Journal;

/// What to run.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// Gateways of one cluster; clients are spread over them by their numbers.
    pub targets: Vec<Target>,
    /// What the clients speak.
    pub codec: CodecKind,
    pub clients: u32,
    /// How long orders are given, from the first client's start.
    pub duration: Duration,
    /// Clients start spread evenly over this time.
    pub ramp: Duration,
    pub scenario_name: String,
    pub scenario: Scenario,
    pub seed: u64,
    /// Accounts are called so, with a number.
    pub players: String,
    pub reconnect: bool,
    pub journal: Option<PathBuf>,
}

impl SwarmConfig {
    /// Where client `number` connects; `None` where there is no target at all.
    fn target(&self, number: u32) -> Option<&Target> {
        self.targets.iter().cycle().nth(number as usize % self.targets.len().max(1))
    }
}

/// A swarm that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    #[error("the journal {path}: {source}")]
    Journal { path: PathBuf, source: std::io::Error },
    #[error("nowhere to connect to: expected at least one target")]
    NoTarget,
    #[error("the rules of the game: {0}")]
    Rules(crate::client::http::CallError),
}

/// What all clients share.
struct Shared {
    config: SwarmConfig,
    stats: Arc<Stats>,
    journal: Option<Journal>,
    /// What units see, by the server's rules.
    sensors: fog::Sensors,
    /// What clients predict with; they do not if the rules cannot be read.
    charts: Option<Arc<Charts>>,
    /// Where the first player to connect started.
    meeting: OnceLock<SectorId>,
    /// No orders are given any more from then on.
    end: Instant,
    stop: watch::Receiver<bool>,
}

/// Runs a swarm to its end, or until `stop` says true, and counts into
/// `stats` meanwhile.
///
/// # Errors
/// When it could not begin. What goes wrong later is in the report.
pub async fn run(
    config: SwarmConfig,
    stats: Arc<Stats>,
    stop: watch::Receiver<bool>,
) -> Result<Report, SwarmError> {
    let start = Instant::now();
    let journal = match &config.journal {
        Some(path) => Some(
            Journal::open(path)
                .map_err(|source| SwarmError::Journal { path: path.clone(), source })?,
        ),
        None => None,
    };
    let end = start + config.duration;
    let first = config.targets.first().ok_or(SwarmError::NoTarget)?;
    let rules = first.rules().await.map_err(SwarmError::Rules)?;
    let sensors = rules.unit_types.iter().map(|kind| (kind.id, kind.sensor)).collect();
    let charts = Charts::read(&rules);
    if let Err(error) = &charts {
        stats.lock().note_error(format!("nothing predicted: {error}"));
    }
    let charts = charts.ok().map(Arc::new);
    let meeting = OnceLock::new();
    let shared = Arc::new(Shared { config, stats, journal, sensors, charts, meeting, end, stop });
    let mut clients = JoinSet::new();
    for number in 0..shared.config.clients {
        clients.spawn(bot::play(shared.clone(), number, start));
    }
    while let Some(ended) = clients.join_next().await {
        if let Err(panicked) = ended {
            let mut counts = shared.stats.lock();
            counts.note_error("client panicked");
            // A check that did not run to its end found nothing out.
            counts.losses += 1;
            counts.note_sample(|| panicked.to_string());
        }
    }
    let Shared { config, stats, .. } = &*shared;
    let counts = stats.lock().clone();
    let clients = u64::from(config.clients);
    Ok(Report::new(&config.scenario_name, config.seed, clients, start.elapsed(), counts))
}
