//! Owns the client library: a state machine without I/O (`core` and what it
//! is made of) and a shell that moves its bytes. Never looks behind the
//! protocol at a server's state. Called by the swarm and by tools. Invariant:
//! what the library knows of a place is what the server has at that tick, or
//! it says so.

#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod commands;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod core;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod effect;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod incoming;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod places;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod predict;

#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod connection;
#[cfg(feature = "server")]
pub mod http;

pub use self::core::{ClientCore, CommandError, Options, Status};
pub use commands::{GiveUp, Issued, Wanted};
pub use effect::{Effect, Event};
pub use predict::{Cause, Correction};

#[cfg(feature = "server")]
pub use connection::{Client, Traffic};
#[cfg(feature = "server")]
pub use http::{CallError, Target};
