//! Owns the shells: actors and threads that turn messages into events of the
//! pure cores and effects into messages. Never decides; called by `gateway`
//! and `cli`.

pub mod entities;
pub mod ports;
pub mod rows;
