//! Owns what this node knows of gateways elsewhere: which one has a player's
//! session. A cache: learnt from what gateways send, wrong when a player went
//! to another gateway unseen. Called by [`Ports`](super::ports). Invariants: no
//! more than [`MOST`] players; what is not known is asked of all gateways; what
//! only a gateway says shows a way, and never what the player's newest session is.

use dashmap::DashMap;

use super::peers::{CONNECTION_BITS, node_of};
use crate::base::{NodeId, PlayerId, SessionId};

/// Players of which the gateway is remembered. With one more all are forgotten
/// at once: what is for them goes to every gateway until they are heard of again.
pub const MOST: usize = 1 << 18;

/// Where to bring something for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To this node's gateway.
    To(NodeId),
    /// No gateway has it.
    Nobody,
    /// To all: one of them may have it.
    All,
}

/// What is known of a player.
#[derive(Clone, Copy)]
struct Known {
    session: SessionId,
    /// Which one has it; 0 for none.
    connection: u64,
    /// Whether the player's ledger said that there is this session.
    by_ledger: bool,
}

/// Which connection has the newest session of a player.
#[derive(Default)]
pub struct Routes {
    players: DashMap<PlayerId, Known>,
    /// With which connection each gateway's process began.
    began: DashMap<NodeId, u64>,
}

impl Routes {
    /// The ledger gave this session to this connection, unless it is known to
    /// have given a newer one.
    pub fn note(&self, player: PlayerId, session: SessionId, connection: u64) {
        self.put(player, Known { session, connection, by_ledger: true });
    }

    /// The gateway of this connection says that it has this session.
    pub fn note_said(&self, player: PlayerId, session: SessionId, connection: u64) {
        self.put(player, Known { session, connection, by_ledger: false });
    }

    fn put(&self, player: PlayerId, new: Known) {
        if self.players.len() >= MOST && !self.players.contains_key(&player) {
            self.players.clear();
        }
        let mut known = self.players.entry(player).or_insert(new);
        let by_ledger = new.by_ledger || (known.by_ledger && known.session == new.session);
        if known.session <= new.session || (new.by_ledger && !known.by_ledger) {
            *known = Known { by_ledger, ..new };
        }
    }

    /// A session at the gateway of `from` attaches to an entity here. Its
    /// connection is not known, but whose it is.
    pub fn note_attached(&self, player: PlayerId, session: SessionId, from: NodeId) {
        if self.way(player, session) != Way::To(from) {
            self.note_said(player, session, u64::from(from.0) << CONNECTION_BITS);
        }
    }

    /// The gateway's process has no connection before that number; whether it
    /// had some, which are lost.
    pub fn note_began(&self, node: NodeId, first: u64) -> bool {
        self.began.insert(node, first).is_some_and(|before| before != first)
    }

    /// The connection that had the session is gone.
    pub fn note_left(&self, player: PlayerId, session: SessionId, connection: u64) {
        if let Some(mut known) = self.players.get_mut(&player)
            && (known.session, known.connection) == (session, connection)
        {
            known.connection = 0;
        }
    }

    /// Where a session of `player` is.
    pub fn way(&self, player: PlayerId, session: SessionId) -> Way {
        match self.players.get(&player).map(|known| *known) {
            Some(known) if known.session != session => Way::All,
            Some(Known { connection: 0, .. }) => Way::Nobody,
            Some(known) => Way::To(node_of(known.connection)),
            None => Way::All,
        }
    }

    /// Whether the ledger gave `player` a newer session.
    pub fn is_outdated(&self, player: PlayerId, session: SessionId) -> bool {
        self.players.get(&player).is_some_and(|known| known.by_ledger && known.session > session)
    }

    /// The link to `node` went down or came up: its sessions may be elsewhere,
    /// and those that nobody had may be there.
    pub fn forget_node(&self, node: NodeId) {
        self.players.retain(|_, known| known.connection != 0 && node_of(known.connection) != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: PlayerId = PlayerId(7);

    fn at(node: u64) -> u64 {
        (node << CONNECTION_BITS) | 5
    }

    #[test]
    fn knows_the_gateway_of_the_newest_session_only() {
        let routes = Routes::default();
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::All);
        routes.note(ANNA, SessionId(2), at(3));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(3)));
        routes.note(ANNA, SessionId(1), at(4));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(3)));
        assert_eq!(routes.way(ANNA, SessionId(1)), Way::All);
        assert!(routes.is_outdated(ANNA, SessionId(1)) && !routes.is_outdated(ANNA, SessionId(2)));
    }

    #[test]
    fn what_a_gateway_says_of_a_session_outdates_none_that_the_ledger_gives() {
        let routes = Routes::default();
        routes.note_said(ANNA, SessionId(u64::MAX), at(3));
        assert_eq!(routes.way(ANNA, SessionId(u64::MAX)), Way::To(NodeId(3)));
        assert!(!routes.is_outdated(ANNA, SessionId(2)));
        routes.note(ANNA, SessionId(2), at(4));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(4)));
        routes.note_said(ANNA, SessionId(2), at(3));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(3)), "it moved unseen");
        assert!(routes.is_outdated(ANNA, SessionId(1)), "the ledger gave it all the same");
    }

    #[test]
    fn a_session_that_was_left_is_nobodys_until_it_is_resumed() {
        let routes = Routes::default();
        routes.note(ANNA, SessionId(2), at(3));
        routes.note_left(ANNA, SessionId(2), at(4));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(3)), "another connection left");
        routes.note_left(ANNA, SessionId(2), at(3));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::Nobody);
        routes.note(ANNA, SessionId(2), at(4));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::To(NodeId(4)));
    }

    #[test]
    fn a_link_that_is_down_is_no_way() {
        let routes = Routes::default();
        routes.note(ANNA, SessionId(2), at(3));
        routes.note(PlayerId(8), SessionId(1), at(4));
        routes.forget_node(NodeId(3));
        assert_eq!(routes.way(ANNA, SessionId(2)), Way::All);
        assert_eq!(routes.way(PlayerId(8), SessionId(1)), Way::To(NodeId(4)));
    }
}
