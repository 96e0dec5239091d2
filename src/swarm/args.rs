//! Owns the swarm's command-line arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SwarmConfig;
use super::scenario::{Scenario, ScenarioError};
use crate::client::Target;
use crate::protocol::CodecKind;

/// Put clients on a node that play a scenario and check every answer.
#[derive(Clone, Debug, Args)]
pub struct SwarmArgs {
    /// A node, as http://HOST:PORT. Named several times, the clients are spread
    /// over these gateways of one cluster.
    #[arg(long = "target", value_name = "URL", required = true)]
    pub targets: Vec<Target>,
    /// What the clients speak: postcard, msgpack or json.
    #[arg(long, value_name = "CODEC", default_value_t)]
    pub codec: CodecKind,
    /// How many clients.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// How long they give orders, as 500ms, 30s, 5m or 2h.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// The clients connect spread over this time.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub ramp: Duration,
    /// What they do: the name of a scenario, or a file ending in .toml.
    #[arg(long, value_name = "NAME|FILE", default_value = "frontier")]
    pub scenario: String,
    /// Decides all orders.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The accounts are PREFIX-0, PREFIX-1, ...; those that exist are logged in.
    #[arg(long, value_name = "PREFIX", default_value = "swarm")]
    pub players: String,
    /// Come back after the server was gone, resume, and go on checking.
    #[arg(long)]
    pub reconnect: bool,
    /// Write the result as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Append all that was acknowledged as JSON lines, each written at once.
    #[arg(long, value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

impl SwarmArgs {
    /// What to run.
    ///
    /// # Errors
    /// When the scenario cannot be played.
    pub fn config(&self) -> Result<SwarmConfig, ScenarioError> {
        Ok(SwarmConfig {
            targets: self.targets.clone(),
            codec: self.codec,
            clients: self.clients,
            duration: self.duration,
            ramp: self.ramp,
            scenario_name: self.scenario.clone(),
            scenario: Scenario::load(&self.scenario)?,
            seed: self.seed,
            players: self.players.clone(),
            reconnect: self.reconnect,
            journal: self.journal.clone(),
        })
    }
}

/// Reads `500ms`, `30s`, `5m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}`: expected a number with ms, s, m or h, as 30s");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    // Beyond a year a clock's arithmetic may overflow.
    let within = number.checked_mul(ms).filter(|ms| *ms <= 366 * 24 * 3_600_000);
    within.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["30", "s", "-1s", "1.5s", "99999999h", "1d", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
