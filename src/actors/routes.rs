//! Owns what this node knows of gateways elsewhere: which one has a player's
//! session. A cache: learnt from what gateways send, wrong when a player went
//! to another gateway unseen. Called by [`Ports`](super::ports). Invariants: no
//! more than [`MOST`] players; what is not known is asked of all gateways.

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

/// Which connection has the newest session of a player; 0 for none.
#[derive(Default)]
pub struct Routes {
    players: DashMap<PlayerId, (SessionId, u64)>,
    /// With which connection each gateway's process began.
    began: DashMap<NodeId, u64>,
}

impl Routes {
    /// This connection has this session, unless a newer one is known.
    pub fn note(&self, player: PlayerId, session: SessionId, connection: u64) {
        if self.players.len() >= MOST && !self.players.contains_key(&player) {
            self.players.clear();
        }
        let mut known = self.players.entry(player).or_insert((session, connection));
        if known.0 <= session {
            *known = (session, connection);
        }
    }

    /// A session at the gateway of `from` attaches to an entity here. Its
    /// connection is not known, but whose it is.
    pub fn note_attached(&self, player: PlayerId, session: SessionId, from: NodeId) {
        if self.way(player, session) != Way::To(from) {
            self.note(player, session, u64::from(from.0) << CONNECTION_BITS);
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
            && *known == (session, connection)
        {
            known.1 = 0;
        }
    }

    /// Where a session of `player` is.
    pub fn way(&self, player: PlayerId, session: SessionId) -> Way {
        match self.players.get(&player).map(|known| *known) {
            Some((known, 0)) if known == session => Way::Nobody,
            Some((known, connection)) if known == session => Way::To(node_of(connection)),
            _ => Way::All,
        }
    }

    /// Whether a newer session of `player` is known.
    pub fn is_outdated(&self, player: PlayerId, session: SessionId) -> bool {
        self.players.get(&player).is_some_and(|known| known.0 > session)
    }

    /// The link to `node` went down or came up: its sessions may be elsewhere,
    /// and those that nobody had may be there.
    pub fn forget_node(&self, node: NodeId) {
        self.players.retain(|_, (_, at)| *at != 0 && node_of(*at) != node);
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
