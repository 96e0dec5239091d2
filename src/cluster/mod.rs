//! Owns what makes nodes one cluster: in `core`, without I/O, what is decided;
//! in `certificates` who a node is; in `secret` what all nodes know; in `links` how nodes talk to each other; in
//! `relay` a network that is as bad as one likes.

#[cfg(feature = "server")]
pub mod certificates;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod core;
#[cfg(feature = "server")]
pub mod links;
#[cfg(feature = "server")]
pub mod relay;
#[cfg(feature = "server")]
pub mod secret;
