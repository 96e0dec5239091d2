//! Real processes: what only the binary itself can show.

mod asleep;
mod audit;
mod audit_bites;
mod audit_log;
mod clock;
mod cluster_admin;
mod cluster_balance;
mod cluster_command;
#[cfg(feature = "postgres")]
mod cluster_coordinator;
mod cluster_crash;
mod cluster_fleet;
mod cluster_join;
mod cluster_migrate;
mod cluster_partition;
#[cfg(feature = "postgres")]
mod cluster_postgres;
mod cluster_refusals;
mod cluster_relay;
#[cfg(feature = "postgres")]
mod cluster_roles;
mod cluster_rolling;
mod cluster_sessions;
mod cluster_shadows;
mod cluster_storm;
mod cluster_support;
mod command_line;
mod crash;
mod crowd;
mod demo;
mod example_client;
mod full_disk;
mod golden;
mod operator;
#[cfg(feature = "postgres")]
mod overtaken;
#[cfg(feature = "postgres")]
#[path = "../promises/postgres_server.rs"]
#[allow(dead_code, reason = "shared with another binary, which uses the rest")]
mod postgres_server;
mod power_cut;
mod rebuilt;
mod refused_data;
mod sessions;
mod shutdown;
mod socket;
mod stopped_reader;
mod stuck;
mod support;
mod swarm;
mod watch;
mod watcher;
