//! Real processes: what only the binary itself can show.

mod asleep;
mod audit;
mod audit_log;
mod clock;
mod cluster_crash;
mod cluster_join;
mod cluster_partition;
mod cluster_storm;
mod cluster_support;
mod command_line;
mod crash;
mod crowd;
mod demo;
mod example_client;
mod full_disk;
mod golden;
mod power_cut;
mod refused_data;
mod sessions;
mod shutdown;
mod socket;
mod stopped_reader;
mod support;
mod swarm;
mod watch;
