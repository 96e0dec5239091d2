//! Owns the demo's summary line: rates over the last seconds from counts that
//! only grow.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

/// Rates and latencies are those of so many readings.
const WINDOW: usize = 5;
/// Sectors make so many.
const STEPS_PER_SECOND: f64 = 5.0;

/// What is counted at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    pub players: u64,
    pub units: u64,
    /// Sectors that step, all that are awake, and those that hibernate.
    pub active: u64,
    pub awake: u64,
    pub hibernated: u64,
    /// Since the start.
    pub crossings: u64,
    /// Sent to players.
    pub bytes: u64,
    pub commits: u64,
    pub faults: u64,
    /// Milliseconds from command to answer, since the start.
    pub latency: Histogram<u64>,
}

/// Remembers the readings of the window, the oldest first.
pub struct Meter {
    readings: VecDeque<(Instant, Reading)>,
}

impl Meter {
    pub fn new(first: Reading) -> Meter {
        Meter { readings: VecDeque::from([(Instant::now(), first)]) }
    }

    /// The line for a reading made now.
    pub fn line(&mut self, now: Reading) -> String {
        self.line_at(Instant::now(), now)
    }

    fn line_at(&mut self, at: Instant, now: Reading) -> String {
        // `readings` is never empty: one is put in at the start and none is
        // taken out but when another follows.
        let (since, before) = self.readings.front().expect("one reading at least");
        let seconds = at.duration_since(*since).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let line = format!(
            "{} players  {} units  {} of {} sectors active, {} hibernated  {:.0} crossings/s  {:.1} B/unit/step  \
             {:.0} commits/s  p99 {}  {} faults",
            now.players,
            now.units,
            now.active,
            now.awake,
            now.hibernated,
            rate(now.crossings, before.crossings),
            rate(now.bytes, before.bytes) / STEPS_PER_SECOND / now.units.max(1) as f64,
            rate(now.commits, before.commits),
            p99(&now.latency, &before.latency),
            now.faults,
        );
        self.readings.push_back((at, now));
        if self.readings.len() > WINDOW {
            self.readings.pop_front();
        }
        line
    }
}

/// The 99th percentile of what came after `before`.
fn p99(now: &Histogram<u64>, before: &Histogram<u64>) -> String {
    let mut recent = now.clone();
    // It holds all that `before` holds, so there is nothing to refuse.
    if recent.subtract(before).is_err() || recent.is_empty() {
        return "-".into();
    }
    format!("{} ms", recent.value_at_quantile(0.99))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reading(commits: u64, latencies_ms: &[u64]) -> Reading {
        let mut latency = Histogram::new_with_bounds(1, 600_000, 3).unwrap();
        latencies_ms.iter().for_each(|ms| latency.record(*ms).unwrap());
        Reading {
            players: 20,
            units: 160,
            active: 30,
            awake: 40,
            hibernated: 9,
            crossings: commits / 5,
            bytes: 320 * commits,
            commits,
            faults: 0,
            latency,
        }
    }

    #[test]
    fn shows_rates_of_the_window_and_not_since_the_start() {
        let mut meter = Meter::new(reading(0, &[900]));
        let start = meter.readings[0].0;
        for second in 1..10 {
            meter.line_at(start + Duration::from_secs(second), reading(1_000, &[900]));
        }
        let line = meter.line_at(start + Duration::from_secs(10), reading(1_050, &[900, 12]));
        let expected = "20 players  160 units  30 of 40 sectors active, 9 hibernated  2 crossings/s  \
                        4.0 B/unit/step  10 commits/s  p99 12 ms  0 faults";
        assert_eq!(line, expected);
    }

    #[test]
    fn shows_no_latency_where_nothing_was_answered() {
        let mut meter = Meter::new(reading(0, &[]));
        assert!(meter.line(reading(5, &[])).contains("p99 -"));
    }
}
