//! Owns a swarm's result, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::predicted::Corrections;
use super::stats::Counts;

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub scenario: String,
    pub seed: u64,
    pub clients: u64,
    pub seconds: f64,
    /// Clients that were connected at least once.
    pub clients_connected: u64,
    pub connects: u64,
    pub resumed: u64,
    pub disconnects: u64,
    pub commands: u64,
    pub acknowledged: u64,
    /// Units that were seen to do what an acknowledgement said. What another
    /// command replaced before the next update could not be seen.
    pub effects_seen: u64,
    /// Units that were seen to come to another place.
    pub crossings: u64,
    /// Clients that in the end had a unit where the first of them started.
    pub gathered: u64,
    pub gave_up: u64,
    pub errors: BTreeMap<String, u64>,
    pub updates: u64,
    /// Keyframes, each but the first of a place compared with what was rebuilt.
    pub keyframes: u64,
    pub desyncs: u64,
    pub losses: u64,
    /// Times a client was shown what its units do not see.
    pub unseen: u64,
    /// Units with acknowledged orders, when a packet showed them: those that
    /// were not where their client predicted them.
    pub predictions_shown: Corrections,
    /// The same of orders that were not acknowledged, or not at the tick that
    /// was assumed.
    pub predictions_guessed: Corrections,
    /// Orders that were predicted after a packet had shown them.
    pub predictions_stale: u64,
    pub latency_ms: Latency,
    pub bytes_in_per_client: u64,
    pub bytes_out_per_client: u64,
    pub frames_in_per_second: f64,
    pub frames_out_per_second: f64,
    /// The first desyncs and losses, in words.
    pub samples: Vec<String>,
}

/// From a command's first sending to its final answer, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    #[serde(rename = "p99.9")]
    pub p99_9: u64,
    pub max: u64,
}

impl Report {
    /// What `counts` say after `elapsed`.
    pub fn new(
        scenario: &str,
        seed: u64,
        clients: u64,
        elapsed: Duration,
        counts: Counts,
    ) -> Report {
        let seconds = elapsed.as_secs_f64().max(0.001);
        let at = |quantile| counts.latency.value_at_quantile(quantile);
        let traffic = counts.traffic;
        Report {
            scenario: scenario.to_owned(),
            seed,
            clients,
            seconds,
            clients_connected: counts.clients_connected,
            connects: counts.connects,
            resumed: counts.resumed,
            disconnects: counts.disconnects,
            commands: counts.commands,
            acknowledged: counts.acknowledged,
            effects_seen: counts.effects_seen,
            crossings: counts.crossings,
            gathered: counts.gathered,
            gave_up: counts.gave_up,
            updates: counts.updates,
            keyframes: counts.keyframes,
            desyncs: counts.desyncs,
            losses: counts.losses,
            unseen: counts.unseen,
            predictions_shown: counts.predicted.shown.into(),
            predictions_guessed: counts.predicted.guessed.into(),
            predictions_stale: counts.predicted.stale,
            latency_ms: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p99_9: at(0.999),
                max: counts.latency.max(),
            },
            bytes_in_per_client: traffic.bytes_in / clients.max(1),
            bytes_out_per_client: traffic.bytes_out / clients.max(1),
            frames_in_per_second: traffic.frames_in as f64 / seconds,
            frames_out_per_second: traffic.frames_out as f64 / seconds,
            errors: counts.errors,
            samples: counts.samples,
        }
    }

    /// Why the run does not count as good; empty when it does. Errors alone do
    /// not: they are what a server may answer.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.desyncs > 0 {
            faults.push(format!("{} desyncs", self.desyncs));
        }
        if self.losses > 0 {
            faults.push(format!("{} losses", self.losses));
        }
        if self.unseen > 0 {
            faults.push(format!("{} times shown what is in the fog", self.unseen));
        }
        if self.predictions_stale > 0 {
            faults
                .push(format!("{} orders predicted after they were shown", self.predictions_stale));
        }
        if self.clients_connected < self.clients {
            let (connected, clients) = (self.clients_connected, self.clients);
            faults.push(format!("only {connected} of {clients} clients ever connected"));
        }
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p90, p99, p99_9, max } = self.latency_ms;
        let rows = [
            ("clients connected", format!("{} of {}", self.clients_connected, self.clients)),
            ("connects", format!("{}, {} resumed", self.connects, self.resumed)),
            ("disconnects", self.disconnects.to_string()),
            ("commands", self.commands.to_string()),
            (
                "acknowledgements",
                format!("{}, seen on {} units", self.acknowledged, self.effects_seen),
            ),
            ("crossings seen", self.crossings.to_string()),
            ("in one sector", format!("{} clients", self.gathered)),
            ("given up", self.gave_up.to_string()),
            ("updates", format!("{}, {} keyframes", self.updates, self.keyframes)),
            ("desyncs", self.desyncs.to_string()),
            ("losses", self.losses.to_string()),
            ("seen in the fog", self.unseen.to_string()),
            ("predicted, shown", self.predictions_shown.to_string()),
            ("predicted, guessed", self.predictions_guessed.to_string()),
            ("predicted, stale", self.predictions_stale.to_string()),
            ("latency ms", format!("p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max}")),
            (
                "bytes per client",
                format!("{} in, {} out", self.bytes_in_per_client, self.bytes_out_per_client),
            ),
            (
                "frames/s",
                format!(
                    "{:.1} in, {:.1} out",
                    self.frames_in_per_second, self.frames_out_per_second
                ),
            ),
        ];
        let title = (&self.scenario, self.seed, self.seconds);
        writeln!(f, "swarm {}, seed {}, {:.1} s", title.0, title.1, title.2)?;
        for (name, value) in rows {
            writeln!(f, "  {name:<18} {value}")?;
        }
        for (kind, count) in &self.errors {
            writeln!(f, "  error {kind:<12} {count}")?;
        }
        self.samples.iter().try_for_each(|sample| writeln!(f, "  ! {sample}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::stats::Stats;

    fn report(change: impl FnOnce(&mut Counts)) -> Report {
        let stats = Stats::new();
        stats.lock().clients_connected = 2;
        change(&mut stats.lock());
        let counts = stats.lock().clone();
        Report::new("frontier", 1, 2, Duration::from_secs(10), counts)
    }

    #[test]
    fn desyncs_losses_and_missing_clients_are_faults_and_refusals_are_not() {
        assert!(report(|counts| counts.note_error("refused")).faults().is_empty());
        assert_eq!(report(|counts| counts.desyncs = 1).faults(), ["1 desyncs"]);
        assert_eq!(report(|counts| counts.losses = 2).faults(), ["2 losses"]);
        assert_eq!(report(|counts| counts.predicted.stale = 1).faults().len(), 1);
        assert_eq!(report(|counts| counts.clients_connected = 1).faults().len(), 1);
    }

    #[test]
    fn shows_latency_by_quantile() {
        let report = report(|counts| (1..=1_000).for_each(|ms| counts.note_latency(ms)));
        assert_eq!(report.latency_ms.p50, 500);
        assert_eq!(report.latency_ms.max, 1_000);
        assert!(report.to_string().contains("p50 500"));
    }
}
