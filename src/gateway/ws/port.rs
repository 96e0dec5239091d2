//! Owns the way from the node's threads to a session's thread: a bounded
//! inbox per connection, and which connections a player has. Never decides
//! what a message means. Filled by arbiters and by accounts, drained by the
//! connection's line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use tokio::sync::Notify;

use crate::actors::ports::{SessionPort, ToSession};
use crate::base::{EntityKey, PlayerId};
use crate::gateway::session::inbox::{Drained, Inbox};
use crate::view::fanout::Shown;

/// What is told to a session from its own node.
#[derive(Clone, Debug)]
pub enum Told {
    Inside(ToSession),
    /// What is new of a place.
    Shown(Shown),
    /// The player's account has this generation.
    Generation(u64),
}

/// One connection's way in.
#[derive(Default)]
pub struct Port {
    inbox: Mutex<Inbox<Told>>,
    /// There is something to drain, or something to do.
    pub notify: Notify,
}

impl Port {
    /// Takes everything that waits.
    pub fn drain(&self) -> Drained<Told> {
        self.inbox().drain()
    }

    pub fn tell_generation(&self, generation: u64) {
        self.inbox().push(None, Told::Generation(generation));
        self.notify.notify_one();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox<Told>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionPort for Port {
    fn deliver(&self, message: ToSession) {
        let mut inbox = self.inbox();
        match message {
            ToSession::Shown(shown) => {
                for shown in shown {
                    let place = EntityKey::Sector(shown.sector());
                    inbox.push(Some(place), Told::Shown(shown));
                }
            }
            message => inbox.push(None, Told::Inside(message)),
        }
        drop(inbox);
        self.notify.notify_one();
    }
}

/// The connections of each player, from the moment its token is known.
#[derive(Default)]
pub struct Roster {
    players: DashMap<PlayerId, Vec<(u64, Arc<Port>)>>,
}

impl Roster {
    pub fn add(&self, player: PlayerId, connection: u64, port: Arc<Port>) {
        self.players.entry(player).or_default().push((connection, port));
    }

    pub fn remove(&self, player: PlayerId, connection: u64) {
        if let Some(mut ports) = self.players.get_mut(&player) {
            ports.retain(|(number, _)| *number != connection);
        }
        self.players.remove_if(&player, |_, ports| ports.is_empty());
    }

    /// Players that have a connection now.
    pub fn players(&self) -> Vec<PlayerId> {
        self.players.iter().map(|entry| *entry.key()).collect()
    }

    pub fn tell_generation(&self, player: PlayerId, generation: u64) {
        let ports = self.players.get(&player).map(|ports| ports.clone()).unwrap_or_default();
        ports.iter().for_each(|(_, port)| port.tell_generation(generation));
    }
}
