//! Owns every decision of a node that is not an entity's: what is committed
//! when, what may be seen, who owns what. Never does I/O, reads no clock, has
//! no thread: events and the time go in, effects come out. Called by the
//! actors, and by the simulator.

pub mod attaching;
pub mod balance;
pub mod cell;
pub mod census;
pub mod clock;
pub mod cost;
pub mod deaths;
pub mod dilation;
pub mod directory;
pub mod heads;
pub mod hot;
pub mod ids;
pub mod limits;
pub mod load;
pub mod loading;
pub mod map;
pub mod members;
pub mod message;
pub mod node;
pub mod pipeline;
pub mod places;
pub mod rendezvous;
pub mod roles;
pub mod shadows;
pub mod shares;
pub mod snapshots;
pub mod suspects;
pub mod table;
pub mod unanswered;
pub mod update;
pub mod watch;
