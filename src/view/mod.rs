//! Owns the way between the simulation and the wire: what a client is told of
//! a sector, and what it makes of it. Never does I/O and reads no clock.
//! Called by gateways and by the client library, so that both use the same
//! code. Invariant: a client's rebuilt state equals the server's, bit for bit.

pub mod aggregates;
mod applied;
pub mod cells;
pub mod charts;
pub mod convert;
pub mod fanout;
pub mod fog;
pub mod motion;
pub mod peers;
pub mod predict;
pub mod rollup;
pub mod stage;

pub use applied::{Applied, Difference};
pub use cells::CellsView;
pub use charts::Charts;
pub use fanout::Fanout;
pub use rollup::{Rollup, SectorSnapshot};
pub use stage::Stage;
