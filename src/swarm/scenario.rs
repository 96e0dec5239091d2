//! Owns what a swarm's players do: a scenario, read from TOML. Never acts
//! (`bot` does). Invariant: a scenario that exists can be played.

use std::path::Path;

use serde::Deserialize;

/// Scenarios that are part of the program, by name.
const BUILT_IN: &[(&str, &str)] = &[
    ("frontier", include_str!("../../config/swarms/frontier.toml")),
    ("border-rush", include_str!("../../config/swarms/border-rush.toml")),
    ("crush", include_str!("../../config/swarms/crush.toml")),
    ("crowd", include_str!("../../config/swarms/crowd.toml")),
    ("empires", include_str!("../../config/swarms/empires.toml")),
];

/// What a player does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub description: String,
    pub orders: Orders,
    pub checks: Checks,
}

/// Which orders, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    pub interval_ms_min: u32,
    pub interval_ms_max: u32,
    /// Most units that one order names: 1 to 256.
    pub units_max: u16,
    /// Most units of each player that take part, from 1; the others stay where
    /// they are.
    #[serde(default = "all")]
    pub ships: u16,
    /// What targets keep from their sector's border: up to 400.
    pub margin_m: u16,
    /// The sectors that targets are in.
    #[serde(default)]
    pub targets: Targets,
    /// How many sectors a warp leads at most, on each axis: 1 to 1000.
    #[serde(default = "one")]
    pub warp_sectors: u16,
    pub weight_move: u16,
    pub weight_stop: u16,
    pub weight_hold: u16,
    pub weight_batch: u16,
    #[serde(default)]
    pub weight_patrol: u16,
    #[serde(default)]
    pub weight_warp: u16,
}

/// Where a player sends its units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// About the sector that they are in.
    #[default]
    Here,
    /// About the sector that the player started in and the eight around it.
    Around,
    /// All players into the sector that the first of them started in.
    Together,
}

fn one() -> u16 {
    1
}

fn all() -> u16 {
    u16::MAX
}

/// A kind of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Move,
    Stop,
    Hold,
    /// Moves of single units, in one message.
    Batch,
    Patrol,
    Warp,
}

/// How often the server's state is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    pub keyframe_interval_ms: u32,
}

/// A scenario that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    #[error("no scenario `{name}`: expected {known}, or a file ending in .toml")]
    Unknown { name: String, known: String },
    #[error("{path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("{path}: {message}")]
    Malformed { path: String, message: String },
    #[error("{path}: {field}: expected {expected}")]
    OutOfRange { path: String, field: &'static str, expected: &'static str },
}

impl Scenario {
    /// The scenario of this name, or in this file when it ends in `.toml`.
    ///
    /// # Errors
    /// When there is none, or it cannot be played.
    pub fn load(name: &str) -> Result<Scenario, ScenarioError> {
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(name)
                .map_err(|source| ScenarioError::Unreadable { path: name.into(), source })?;
            return Scenario::read(name, &text);
        }
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Scenario::read(name, text),
            None => {
                let known: Vec<_> = BUILT_IN.iter().map(|(known, _)| *known).collect();
                Err(ScenarioError::Unknown { name: name.into(), known: known.join(", ") })
            }
        }
    }

    /// The scenario in `text`, which errors call `path`.
    ///
    /// # Errors
    /// When it is no scenario, or cannot be played.
    pub fn read(path: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| {
            ScenarioError::Malformed { path: path.into(), message: error.to_string() }
        })?;
        match scenario.out_of_range() {
            Some((field, expected)) => {
                Err(ScenarioError::OutOfRange { path: path.into(), field, expected })
            }
            None => Ok(scenario),
        }
    }

    fn out_of_range(&self) -> Option<(&'static str, &'static str)> {
        let Orders { interval_ms_min, interval_ms_max, units_max, ships, .. } = self.orders;
        let Orders { margin_m, warp_sectors, .. } = self.orders;
        let checks = [
            (interval_ms_min >= 10, "orders.interval_ms_min", "at least 10"),
            (
                interval_ms_max >= interval_ms_min,
                "orders.interval_ms_max",
                "interval_ms_min or more",
            ),
            ((1..=256).contains(&units_max), "orders.units_max", "1 to 256"),
            (ships > 0, "orders.ships", "1 or more"),
            (margin_m <= 400, "orders.margin_m", "at most 400"),
            ((1..=1000).contains(&warp_sectors), "orders.warp_sectors", "1 to 1000"),
            (self.orders.weights() > 0, "orders", "a weight above 0"),
            (
                self.checks.keyframe_interval_ms >= 500,
                "checks.keyframe_interval_ms",
                "at least 500",
            ),
        ];
        checks.into_iter().find(|(holds, ..)| !holds).map(|(_, field, expected)| (field, expected))
    }
}

impl Orders {
    /// The sum of the weights.
    pub fn weights(&self) -> u64 {
        self.weighted().into_iter().map(|(_, weight)| u64::from(weight)).sum()
    }

    /// How often each kind of order is given, in proportion.
    pub fn weighted(&self) -> [(Kind, u16); 6] {
        [
            (Kind::Move, self.weight_move),
            (Kind::Stop, self.weight_stop),
            (Kind::Hold, self.weight_hold),
            (Kind::Batch, self.weight_batch),
            (Kind::Patrol, self.weight_patrol),
            (Kind::Warp, self.weight_warp),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_built_in_scenarios_can_be_played() {
        for (name, _) in BUILT_IN {
            assert!(Scenario::load(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_scenario() {
        let error = |text: &str| Scenario::read("x.toml", text).err().map(|e| e.to_string());
        let (_, good) = BUILT_IN[0];
        let wrong = error(&good.replace("units_max = 4", "units_max = 0"));
        assert_eq!(wrong.as_deref(), Some("x.toml: orders.units_max: expected 1 to 256"));
        let unknown = error(&good.replace("units_max", "units_most")).unwrap_or_default();
        assert!(unknown.contains("units_most"), "{unknown}");
        let none = Scenario::load("nonsense").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(none.contains("expected frontier"), "{none}");
    }
}
