//! Owns the typed form of the settings: one struct per section of
//! `config/starmesh.toml`, one field per key; what a key does is said there.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::Network;
use super::values::{
    Advertise, Bounded, NodeName, PlayerName, StoreUrl, join_line, optional_path, parsed, path,
    roles,
};
use crate::cluster::certificates::{JoinLine, Name};
use crate::cluster::core::balance::LoadBalanceStrategy;
use crate::cluster::core::roles::Roles;
use crate::entity::format::{FORMATS, Formats};
use crate::sim::galaxy::{Parameters, PerRegion};
use crate::telemetry::logging::{LogFormat, LogLevel};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub node: NodeSettings,
    pub http: Http,
    pub store: StoreSettings,
    pub cluster: ClusterSettings,
    pub galaxy: Galaxy,
    pub rules: RulesSettings,
    pub players: Players,
    pub limits: Limits,
    pub sessions: Sessions,
    pub engine: Engine,
    pub telemetry: Telemetry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    pub name: NodeName,
    #[serde(deserialize_with = "path")]
    pub data: PathBuf,
    #[serde(deserialize_with = "optional_path")]
    pub ready_file: Option<PathBuf>,
    #[serde(deserialize_with = "roles")]
    pub roles: Roles,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    pub behind_proxy: bool,
    pub trusted_proxies: Vec<Network>,
    pub proxy_header: ProxyHeader,
    #[serde(deserialize_with = "optional_path")]
    pub tls_certificate: Option<PathBuf>,
    #[serde(deserialize_with = "optional_path")]
    pub tls_key: Option<PathBuf>,
    pub workers: Bounded<1, 256>,
    pub connections_max: Bounded<16, 1_000_000>,
    pub request_timeout_s: Bounded<1, 300>,
    pub reads_at_once: Bounded<1, 1_024>,
    pub read_timeout_ms: Bounded<10, 60_000>,
    pub shutdown_timeout_s: Bounded<1, 300>,
}

/// The header in which trusted proxies name the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    XForwardedFor,
    Forwarded,
}

fn listen_address<'de, D: Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    parsed(input, "an address and port such as 127.0.0.1:7400")
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSettings {
    pub url: StoreUrl,
    pub free_min_mib: Bounded<0, 1_048_576>,
    pub journal_max_mib: Bounded<128, 1_048_576>,
    pub reads_at_once: Bounded<1, 1_024>,
    pub read_timeout_ms: Bounded<10, 60_000>,
    pub write_timeout_ms: Bounded<100, 60_000>,
    pub writes_waiting_max: Bounded<1, 65_536>,
}

impl StoreSettings {
    /// Free disk space below which no commands are taken.
    pub fn free_min_bytes(&self) -> u64 {
        self.free_min_mib.u64() << 20
    }

    /// What the journal may grow to before snapshots are asked for.
    pub fn journal_max_bytes(&self) -> u64 {
        self.journal_max_mib.u64() << 20
    }

    pub fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms.u64())
    }

    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms.u64())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    #[serde(deserialize_with = "cluster_name")]
    pub name: Name,
    #[serde(deserialize_with = "listen_address")]
    pub listen: SocketAddr,
    pub advertise: Advertise,
    #[serde(deserialize_with = "join_line")]
    pub join: Option<JoinLine>,
    pub silent_ms: Bounded<500, 600_000>,
    pub format_max: Bounded<0, 65_535>,
    pub balance: Balance,
    pub balance_every_ms: Bounded<1_000, 3_600_000>,
}

impl ClusterSettings {
    /// The format versions that the node reads. What lies below all of its build's is
    /// no way to go on with a store, and found so at the start.
    pub fn formats(&self) -> Formats {
        match self.format_max.u16() {
            0 => FORMATS,
            highest => FORMATS.up_to(highest),
        }
    }
}

/// What load is balanced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    Off,
    PlayerCount,
    ActivityLevel,
    ResourceUsage,
    Geographic,
}

impl Balance {
    pub fn strategy(self) -> Option<LoadBalanceStrategy> {
        match self {
            Balance::Off => None,
            Balance::PlayerCount => Some(LoadBalanceStrategy::PlayerCount),
            Balance::ActivityLevel => Some(LoadBalanceStrategy::ActivityLevel),
            Balance::ResourceUsage => Some(LoadBalanceStrategy::ResourceUsage),
            Balance::Geographic => Some(LoadBalanceStrategy::Geographic),
        }
    }
}

impl std::fmt::Display for Balance {
    /// As the strategy is called everywhere else.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.strategy() {
            Some(strategy) => write!(f, "{strategy:?}"),
            None => f.write_str("off"),
        }
    }
}

fn cluster_name<'de, D: Deserializer<'de>>(input: D) -> Result<Name, D::Error> {
    parsed(input, "1 to 63 letters, digits, - and _")
}

/// Used only when a galaxy is made; the store's values hold from then on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Galaxy {
    pub seed: u64,
    pub sectors_per_side: Bounded<512, 10_000>,
    pub ledger_shards: Bounded<1, 4_096>,
    pub systems_core: Bounded<63, 1_000>,
    pub systems_mid_rim: Bounded<63, 1_000>,
    pub systems_outer_rim: Bounded<63, 1_000>,
    pub systems_deep_space: Bounded<63, 1_000>,
    pub planets_max: Bounded<0, 8>,
    pub stations: Bounded<0, 1_000>,
    pub asteroid_fields_core: Bounded<0, 1_000>,
    pub asteroid_fields_mid_rim: Bounded<0, 1_000>,
    pub asteroid_fields_outer_rim: Bounded<0, 1_000>,
    pub asteroid_fields_deep_space: Bounded<0, 1_000>,
    pub shortcuts: Bounded<0, 1_000>,
    pub resources_max: Bounded<0, 1_000>,
}

impl Galaxy {
    /// What the galaxy is generated with, besides seed and extent.
    pub fn parameters(&self) -> Parameters {
        Parameters {
            systems: PerRegion {
                core: self.systems_core.u16(),
                mid_rim: self.systems_mid_rim.u16(),
                outer_rim: self.systems_outer_rim.u16(),
                deep_space: self.systems_deep_space.u16(),
            },
            planets_max: self.planets_max.u8(),
            stations: self.stations.u16(),
            asteroid_fields: PerRegion {
                core: self.asteroid_fields_core.u16(),
                mid_rim: self.asteroid_fields_mid_rim.u16(),
                outer_rim: self.asteroid_fields_outer_rim.u16(),
                deep_space: self.asteroid_fields_deep_space.u16(),
            },
            shortcuts: self.shortcuts.u16(),
            resources_max: self.resources_max.u16(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesSettings {
    #[serde(deserialize_with = "optional_path")]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Players {
    pub argon2_memory_kib: Bounded<8, 1_048_576>,
    pub argon2_passes: Bounded<1, 32>,
    pub hashing_threads: Bounded<1, 64>,
    pub hashing_queue_max: Bounded<1, 65_536>,
    pub access_token_hours: Bounded<1, 168>,
    pub refresh_token_days: Bounded<1, 365>,
    /// More than the longest access token, so that none outlives its key.
    pub signing_key_days: Bounded<8, 3_650>,
    pub admins: Vec<PlayerName>,
}

impl Players {
    pub fn access_token(&self) -> Duration {
        Duration::from_secs(self.access_token_hours.u64() * 3_600)
    }

    pub fn refresh_token(&self) -> Duration {
        Duration::from_secs(self.refresh_token_days.u64() * 86_400)
    }

    pub fn signing_key(&self) -> Duration {
        Duration::from_secs(self.signing_key_days.u64() * 86_400)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub exempt: Vec<Network>,
    pub connects_per_minute: Bounded<1, 1_000_000>,
    pub logins_per_minute: Bounded<1, 1_000_000>,
    pub registrations_per_hour: Bounded<1, 1_000_000>,
    pub requests_per_minute: Bounded<1, 1_000_000>,
    pub moves_per_minute: Bounded<1, 1_000_000>,
    pub attacks_per_minute: Bounded<1, 1_000_000>,
    pub trades_per_minute: Bounded<1, 1_000_000>,
    pub others_per_minute: Bounded<1, 1_000_000>,
    pub messages_per_second: Bounded<1, 1_000_000>,
    pub kib_per_second: Bounded<1, 1_000_000>,
    pub message_max_kib: Bounded<1, 64>,
    pub subscription_sectors_max: Bounded<1, 1_024>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    pub connect_timeout_s: Bounded<1, 300>,
    pub unanswered_max: Bounded<1, 32>,
    pub queue_max_kib: Bounded<64, 65_536>,
    pub stalled_s: Bounded<5, 300>,
    pub ping_s: Bounded<5, 300>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    pub arbiters: Bounded<1, 256>,
    pub hot_threads: Bounded<0, 256>,
    pub loads_at_once: Bounded<1, 1_024>,
    pub sector_quiet_s: Bounded<1, 86_400>,
}

impl Engine {
    /// Threads for single sectors: no more than cores are left, but one.
    pub fn hot_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let left = cores.saturating_sub(self.arbiters.usize()).max(1);
        self.hot_threads.usize().min(left)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    pub log_format: LogFormat,
    #[serde(deserialize_with = "log_level")]
    pub log_level: LogLevel,
}

fn log_level<'de, D: Deserializer<'de>>(input: D) -> Result<LogLevel, D::Error> {
    parsed(input, "a level such as info, or levels per module: info,starmesh::store=debug")
}
