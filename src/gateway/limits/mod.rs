//! Owns how often an address, a player or a connection may do what. Never
//! reads a clock in its pure parts ([`window`], [`commands`]); called by the
//! HTTP routes and by sessions. Invariant: what it remembers is bounded by
//! what happened within the longest window.

#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod commands;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod window;

#[cfg(feature = "server")]
mod addresses;
#[cfg(feature = "server")]
pub mod forwarded;

#[cfg(feature = "server")]
pub use addresses::{Limits, RetryAfter};
