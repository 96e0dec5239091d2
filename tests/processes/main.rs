//! Real processes: what only the binary itself can show.

mod audit;
mod command_line;
mod crash;
mod refused_data;
mod shutdown;
mod socket;
mod support;
mod swarm;
