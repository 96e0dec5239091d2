//! Owns the calls of [`Store`](crate::store::Store) between nodes: the engine
//! `mesh` of a node without a store of its own ([`MeshStore`]), and the node
//! that serves its store to the others. A connection of its own, told from a
//! link in the handshake: a node reads its row before it knows its
//! incarnation, and a link is one of an incarnation. Every call is one stream
//! with a request and an answer. Never decides what a commit means, and
//! repeats none: the store and the node's core do. Invariant: a call that was
//! not answered is away or unknown to its caller, and a commit that was read
//! in whole is carried out whatever becomes of its connection.

mod call;
mod dialing;
mod limits;
mod mesh;
mod serve;
mod wire;

pub use limits::CallLimits;
pub use mesh::{MeshError, MeshState, MeshStore};

pub(super) use serve::{StoreServer, greet};
