//! Owns the shells: actors and threads that turn messages into events of the
//! pure cores and effects into messages. Never decides; called by `gateway`
//! and `cli`.

pub mod asking;
pub mod branches;
mod calls;
pub mod coordinator;
pub mod core_thread;
pub mod ending;
pub mod entities;
pub mod galaxy;
pub mod gateways;
pub mod last_words;
pub mod loads;
mod measured;
pub mod membership;
pub mod mesh;
pub mod meta;
pub mod node;
pub mod owed;
pub mod peers;
pub mod ports;
mod reading;
pub mod registry;
pub mod reports;
pub mod routes;
pub mod rows;
pub mod sector;
pub mod signer;
pub mod status;
pub mod steering;
pub mod store_threads;
pub mod ticker;
mod told;
pub mod view_thread;
mod waking;
pub mod watchdog;
