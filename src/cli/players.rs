//! Owns the scripted players of the demonstrations: a swarm of empires that
//! comes back whatever happens to the nodes. Never judges what they find.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::Target;
use crate::protocol::CodecKind;
use crate::swarm::{self, Report, Scenario, Stats, SwarmConfig, SwarmError};

const SCENARIO: &str = "empires";
/// Players come one after the other over this time.
const RAMP: Duration = Duration::from_secs(10);
/// As good as for ever, and far from what a clock cannot add.
const DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
/// Players have so long to see what they were promised when the demonstration
/// stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// The scripted players, at play.
pub struct Players {
    pub stats: Arc<Stats>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Report, SwarmError>>,
}

impl Players {
    /// So many, spread over these gateways.
    ///
    /// # Errors
    /// When the scenario cannot be played.
    pub fn start(clients: u32, targets: Vec<Target>) -> anyhow::Result<Players> {
        let stats = Arc::new(Stats::new());
        let (stop, stopped) = watch::channel(false);
        let config = SwarmConfig {
            targets,
            codec: CodecKind::default(),
            clients,
            duration: DURATION,
            ramp: RAMP,
            scenario_name: SCENARIO.into(),
            scenario: Scenario::load(SCENARIO)?,
            seed: seed(),
            players: "demo".into(),
            reconnect: true,
            journal: None,
        };
        let task = tokio::spawn(swarm::run(config, stats.clone(), stopped));
        Ok(Players { stats, stop, task })
    }

    /// Resolves when all have ended by themselves, with what they found.
    pub async fn gone(&mut self) -> Option<Report> {
        (&mut self.task).await.ok()?.ok()
    }

    /// What they found; `None` when they were not done in time.
    pub async fn stop(&mut self) -> Option<Report> {
        // The task has ended already when nobody listens.
        let _ = self.stop.send(true);
        timeout(GOODBYE, self.gone()).await.ok()?
    }
}

/// Other orders in every run.
fn seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
