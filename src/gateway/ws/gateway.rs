//! Owns what all connections of a gateway share, and runs their effects on it.
//! Never decides anything. Called by lines.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::broadcast::error::RecvError;

use super::port::{Port, Roster};
use crate::actors::entities::Entities;
use crate::base::{Millis, PlayerId};
use crate::cluster::core::roles::Role;
use crate::config::Config;
use crate::gateway::accounts::{AccountError, Accounts};
use crate::gateway::limits::Limits;
use crate::gateway::limits::commands::CommandClass;
use crate::gateway::limits::window::Refusal;
use crate::gateway::queue::QueueLimits;
use crate::gateway::session::{
    Around, CommandGate, ConnectRefused, Count, Now, SessionLimits, Verified,
};
use crate::telemetry::metrics::{
    BYTES_IN, BYTES_OUT, COMMAND_SECONDS, COMMANDS, MESSAGES_DROPPED, SESSIONS, SESSIONS_CLOSED,
    SESSIONS_OPENED,
};

/// Messages that may wait for a socket; far more than fit its bytes.
const QUEUED_MESSAGES_MAX: usize = 4_096;
/// Updates of a tick are written over so many milliseconds, by connection.
const SLOTS_MS: u64 = 40;

/// The parts that sessions work with.
pub struct Gateway {
    /// Whether the node has the role.
    pub takes_players: bool,
    pub entities: Entities,
    pub accounts: Accounts,
    pub limits: Arc<Limits>,
    pub roster: Roster,
    pub session: SessionLimits,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    queue: QueueLimits,
    started: Instant,
}

impl Gateway {
    pub fn new(
        config: &Config,
        entities: Entities,
        accounts: Accounts,
        limits: Arc<Limits>,
    ) -> Gateway {
        Gateway {
            takes_players: config.node.roles.has(Role::Gateway),
            entities,
            accounts,
            limits,
            roster: Roster::default(),
            session: session_limits(config),
            bytes_in: BYTES_IN.with(&[]),
            bytes_out: BYTES_OUT.with(&[]),
            queue: QueueLimits {
                bytes_max: config.sessions.queue_max_kib.usize() << 10,
                messages_max: QUEUED_MESSAGES_MAX,
                stalled_ms: config.sessions.stalled_s.u64() * 1_000,
                slot_ms: 0,
            },
            started: Instant::now(),
        }
    }

    /// The most that a message may have to be read at all: twice what is legal,
    /// so that one too long is still read to its end and answered; beyond that
    /// the connection is cut.
    pub fn frame_max(&self) -> usize {
        self.session.message_bytes_max.saturating_mul(2)
    }

    /// Bounds of the queue of one connection, with its slot.
    pub fn queue(&self, connection: u64) -> QueueLimits {
        QueueLimits { slot_ms: connection % SLOTS_MS, ..self.queue }
    }

    pub fn now(&self) -> Now {
        let (tick, time) = self.entities.time();
        let at = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { at: Millis(at), tick, time }
    }

    /// The moment that [`now`](Self::now) calls `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.started + Duration::from_millis(at.0)
    }

    pub fn around(&self) -> Around<'_> {
        Around { now: self.now(), gate: self }
    }

    /// Whose `token` is. From here on the connection is told when the
    /// account's generation rises.
    pub async fn verify(
        &self,
        token: &str,
        connection: u64,
        port: Arc<Port>,
    ) -> Result<Verified, ConnectRefused> {
        let identity = self.accounts.authenticate(token).await.map_err(|why| refused(&why))?;
        self.roster.add(identity.player, connection, port);
        // It may have risen between the two lines above.
        let current = self.accounts.generations().current(identity.player).await;
        let result = match current {
            Ok(Some(generation)) if generation == identity.generation => {
                return Ok(Verified { player: identity.player, generation });
            }
            Ok(_) => ConnectRefused::Token,
            Err(why) => refused(&why),
        };
        self.roster.remove(identity.player, connection);
        Err(result)
    }

    /// Tells sessions when their account's generation rises. Runs until
    /// dropped, once per gateway.
    pub async fn follow_generations(&self) {
        let mut raised = self.accounts.generations().subscribe();
        loop {
            match raised.recv().await {
                Ok(raised) => self.roster.tell_generation(raised.player, raised.generation),
                Err(RecvError::Lagged(_)) => self.ask_generations().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Some raises were missed.
    async fn ask_generations(&self) {
        for player in self.roster.players() {
            if let Ok(Some(generation)) = self.accounts.generations().current(player).await {
                self.roster.tell_generation(player, generation);
            }
        }
    }

    pub fn count(&self, count: Count) {
        match count {
            Count::Opened => {
                SESSIONS_OPENED.increment(1);
                SESSIONS.with(&[]).increment(1.0);
            }
            Count::Closed { reason } => {
                SESSIONS_CLOSED.with(&[reason]).increment(1);
                SESSIONS.with(&[]).decrement(1.0);
            }
            Count::Answered { outcome, waited_ms } => {
                COMMANDS.with(&[outcome]).increment(1);
                if let Some(ms) = waited_ms {
                    COMMAND_SECONDS.record(Duration::from_millis(ms).as_secs_f64());
                }
            }
        }
    }

    pub fn count_dropped(&self, updates: u64) {
        if updates > 0 {
            MESSAGES_DROPPED.with(&["update"]).increment(updates);
        }
    }
}

impl CommandGate for Gateway {
    /// By the clock that the player's limits keep themselves.
    fn admit(&self, player: PlayerId, class: CommandClass, _now: Millis) -> Result<(), Refusal> {
        self.limits.command(player, class, 1)
    }
}

fn session_limits(config: &Config) -> SessionLimits {
    SessionLimits {
        connect_within_ms: config.sessions.connect_timeout_s.u64() * 1_000,
        ping_ms: config.sessions.ping_s.u64() * 1_000,
        unanswered_max: config.sessions.unanswered_max.usize(),
        subscriptions_max: config.limits.subscription_sectors_max.usize(),
        message_bytes_max: config.limits.message_max_kib.usize() << 10,
        messages_per_second: config.limits.messages_per_second.u64(),
        bytes_per_second: config.limits.kib_per_second.u64() << 10,
    }
}

fn refused(error: &AccountError) -> ConnectRefused {
    match error {
        AccountError::Access(_) => ConnectRefused::Token,
        AccountError::Store(_) => ConnectRefused::StoreAway,
        _ => ConnectRefused::Busy,
    }
}
