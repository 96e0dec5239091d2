//! Owns what makes nodes one cluster; in `core`, without I/O.

#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod core;
