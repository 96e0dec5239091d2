//! Starmesh: a server mesh for persistent real-time strategy worlds.
//!
//! The modules import each other in one direction only, top to bottom as
//! listed here; `ARCHITECTURE.md` draws the map and a check in `make test`
//! holds it. Without the feature `server` only the pure modules remain: no
//! clock, no I/O, no threads, the same bits natively and in WebAssembly. Those
//! that are pure as a whole are marked by the lints they deny (`clippy.toml`
//! has the lists).

#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod base;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod protocol;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod sim;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod view;

#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod entity;

pub mod cluster;

pub mod store;

#[cfg(feature = "server")]
pub mod telemetry;

#[cfg(feature = "server")]
pub mod config;

#[cfg(feature = "server")]
pub mod actors;

pub mod gateway;

pub mod client;

#[cfg(feature = "server")]
pub mod swarm;

#[cfg(feature = "server")]
pub mod cli;
