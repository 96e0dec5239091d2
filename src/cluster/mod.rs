//! Owns what makes nodes one cluster: in `core`, without I/O, what is decided;
//! in `certificates` who a node is; in `links` how nodes talk to each other.

#[cfg(feature = "server")]
pub mod certificates;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod core;
#[cfg(feature = "server")]
pub mod links;
