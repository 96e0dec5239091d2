//! Owns what players connect to: sessions, HTTP, limits. Never decides about
//! the world; called by `cli`. Without the feature `server` only what decides
//! without I/O remains.

#[cfg(feature = "server")]
pub mod accounts;
#[cfg(feature = "server")]
pub mod http;
pub mod limits;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod queue;
#[cfg(feature = "server")]
pub mod server;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod session;
#[cfg(feature = "server")]
pub mod ws;
