//! Owns what a node is told from outside: every setting, its type, its range
//! and where it came from. Never reads the environment or a flag by itself
//! (its callers in `cli` hand them in) and never acts on a setting. Invariant:
//! a [`Config`] that exists is complete and in range; `config/starmesh.toml`
//! is both the documentation and the default of every key.

mod layers;
mod locate;
mod network;
mod sections;
mod values;

pub use layers::{ConfigError, Origin, Override, load};
pub use network::Network;
pub use sections::{
    Balance, ClusterSettings, Config, Engine, Galaxy, Http, Limits, NodeSettings, Players,
    ProxyHeader, RulesSettings, Sessions, StoreSettings, Telemetry,
};
pub use values::{Advertise, Bounded, NodeName, PlayerName, StoreUrl};

/// The default layer: every setting with its documentation.
pub const DEFAULTS: &str = include_str!("../../config/starmesh.toml");

impl Config {
    /// The defaults with `changes` in the form of a configuration file over
    /// them; for tests and scenarios.
    ///
    /// # Errors
    /// See [`load`].
    pub fn with(changes: &str) -> Result<Config, ConfigError> {
        load(Some(("settings", changes)), &[])
    }
}
