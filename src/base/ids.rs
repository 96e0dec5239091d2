//! Owns the names of nodes, players, sessions, units and fleets. All are below 2^53,
//! so that JSON carries them exactly.

use serde::{Deserialize, Serialize};

/// How many ids a block holds that an entity obtains from the store.
pub const ID_BLOCK: u64 = 1 << 20;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A node's server id, given when it first joins, for ever.
    NodeId(u32)
}
id! {
    /// One run of a node's process, from 1; raised at every start and when
    /// the node is declared dead.
    Incarnation(u64)
}
id! {
    /// A player's account.
    PlayerId(u64)
}
id! {
    /// A player's session, numbered by the player's ledger from 1; a newer
    /// one ends the older.
    SessionId(u64)
}
id! {
    /// A unit, from a block of [`ID_BLOCK`], never reused.
    UnitId(u64)
}
id! {
    /// A fleet of one player, by the number the player gave it; 0 is none.
    FleetId(u64)
}
