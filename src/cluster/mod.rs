//! Owns what makes nodes one cluster; in `core`, without I/O.

pub mod core;
