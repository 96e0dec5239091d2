//! Owns the gateway's way to entities: commands, attachment, observation,
//! sessions. Never decides anything; the registry says where an entity runs,
//! the entity's table what becomes of a message. Called by sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Addr;
use actix::prelude::SendError;

use super::coordinator::{Activate, CoordinatorActor, Wake};
use super::meta::{Leave, MetaActor, Propose};
use super::peers::Mesh;
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::sector::{Admit, Ask, SectorActor};
use super::status::CoreStatus;
use super::ticker::Read;
use super::view_thread::ViewHandle;
use super::waking::Woken;
use crate::base::{EntityKey, Millis, PlayerId, SectorId, SessionId, Tick};
use crate::cluster::core::attaching::{Attached, Ticket};
use crate::cluster::core::table::Unavailable;
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Connect, Input, Left};
use crate::entity::read::{Query, Reading};
use crate::entity::{Entity, World};
use crate::view::SectorSnapshot;
use crate::view::aggregates::is_aggregate;
use crate::view::fanout::Watcher;

/// An entity that is woken runs within this time, or whoever asked is told
/// that it is busy.
const WAKE_WITHIN: Duration = Duration::from_secs(5);
/// An entity may go to hibernate again before it is asked; but not so often.
const WAKES_MAX: usize = 3;

/// Entities of the galaxy, as a gateway reaches them; cheap to clone.
#[derive(Clone)]
pub struct Entities {
    pub world: Arc<World>,
    pub ports: Arc<Ports>,
    pub(super) registry: Arc<Registry>,
    pub(super) coordinator: Addr<CoordinatorActor>,
    pub(super) status: Arc<CoreStatus>,
    pub(super) view: ViewHandle,
    pub(super) mesh: Arc<dyn Mesh>,
}

impl Entities {
    /// Sends a player's command to its entity, which takes it if it is the next
    /// of an attachment. The answer comes to the session's port
    /// ([`ToSession::Player`]), or [`Rejected`](ToSession::Rejected) to
    /// `connection`.
    pub fn command(
        &self,
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        command: PlayerCommand,
    ) {
        let sequence = command.sequence;
        let sent = match self.is_stopping() {
            true => Err(Unavailable::Busy),
            false => self.send(entity, Admit { connection, ticket, command }),
        };
        match sent {
            Ok(()) => {}
            Err(Unavailable::NotHere) => self.turn_away(connection, entity, ticket, sequence),
            Err(why) => {
                let rejected = ToSession::Rejected { entity, ticket, sequence, why };
                self.ports.deliver(connection, rejected);
            }
        }
    }

    /// What does not run is woken; the command is to come again then. Sessions
    /// bound how many wait here.
    fn turn_away(&self, connection: u64, entity: EntityKey, ticket: Ticket, sequence: u32) {
        let entities = self.clone();
        actix::spawn(async move {
            let why = match entities.wake_sector(entity).await {
                Ok(Woken::Running) => Unavailable::Busy,
                Ok(Woken::Dormant | Woken::Elsewhere(_)) => Unavailable::NotHere,
                Err(why) => why,
            };
            let rejected = ToSession::Rejected { entity, ticket, sequence, why };
            entities.ports.deliver(connection, rejected);
        });
    }

    /// Has an entity run that hibernates; one without a record is left alone.
    async fn wake_sector(&self, entity: EntityKey) -> Result<Woken, Unavailable> {
        let absence = self.registry.absence(entity);
        if !matches!(entity, EntityKey::Sector(_)) || absence != Unavailable::NotHere {
            return Err(absence);
        }
        if self.is_stopping() {
            return Err(Unavailable::Busy);
        }
        let woken = self.registry.waking.wait(entity);
        self.coordinator.try_send(Wake(entity)).map_err(|_| Unavailable::Busy)?;
        match tokio::time::timeout(WAKE_WITHIN, woken).await {
            Ok(Ok(woken)) => Ok(woken),
            Ok(Err(_)) if self.registry.absence(entity) == Unavailable::Parked => {
                Err(Unavailable::Parked)
            }
            _ => Err(Unavailable::Busy),
        }
    }

    /// Attaches a session to `entity`: the last sequence applied for it, and
    /// the name under which it takes commands from now on; `None` when a newer
    /// session has sent it commands. One that hibernates is woken.
    ///
    /// # Errors
    /// When the entity is not here or does not answer.
    pub async fn attach(
        &self,
        entity: EntityKey,
        player: PlayerId,
        session: SessionId,
    ) -> Result<Option<Attached>, Unavailable> {
        for _ in 0..WAKES_MAX {
            match self.read(entity, Query::Applied { player, session }).await {
                Err(Unavailable::NotHere) if self.wake_sector(entity).await? == Woken::Running => {}
                Ok(Read { reading: Reading::Applied(last), attached, .. }) => {
                    let both = last.zip(attached);
                    return Ok(both.map(|(last, attachment)| Attached { last, attachment }));
                }
                Ok(_) => return Err(Unavailable::NotHere),
                Err(why) => return Err(why),
            }
        }
        Err(Unavailable::Busy)
    }

    /// Asks an entity that runs here; its answer may be seen when it comes,
    /// which may be never while the store is away. None is woken for it, see
    /// [`attach`](Self::attach).
    ///
    /// # Errors
    /// When the entity is not here, is of another kind, or does not answer.
    pub async fn read(&self, entity: EntityKey, query: Query) -> Result<Read, Unavailable> {
        let ask = Ask(query);
        let answer = match entity {
            EntityKey::Sector(_) => self.sector(entity)?.send(ask).await,
            _ => self.meta(entity)?.send(ask).await,
        };
        answer.map_err(|_| Unavailable::NotHere)?
    }

    /// Lets a connection see `entity`: a keyframe, then what changes, as
    /// [`ToSession::Shown`]. Again for the same connection: a new keyframe. One
    /// that hibernates is woken, one without a record is shown as the seed gives
    /// it until something comes for it. Sectors that have no units of their own
    /// are told by sums.
    ///
    /// # Errors
    /// When there is no such sector, or it cannot be loaded.
    pub fn observe(
        &self,
        connection: u64,
        entity: EntityKey,
        watcher: Watcher,
    ) -> Result<(), Unavailable> {
        let EntityKey::Sector(sector) = entity else { return Err(Unavailable::NotHere) };
        if is_aggregate(sector) && self.world.galaxy.area(sector).is_some() {
            self.view.observe(sector, connection, watcher);
            return Ok(());
        }
        if self.registry.absence(entity) == Unavailable::Parked {
            return Err(Unavailable::Parked);
        }
        if Entity::genesis(entity, &self.world).is_none() {
            return Err(Unavailable::NotHere);
        }
        self.view.observe(sector, connection, watcher);
        Ok(())
    }

    /// Ends what [`observe`](Self::observe) began.
    pub fn unobserve(&self, connection: u64, entity: EntityKey) {
        if let EntityKey::Sector(sector) = entity {
            self.view.unobserve(sector, connection);
        }
    }

    /// Asks the player's ledger for a session. The answer comes to the port of
    /// `connect.connection` as `Connected`.
    ///
    /// # Errors
    /// When nothing was asked. A ledger that turns out later not to take it
    /// says so to the port.
    pub fn connect(&self, connect: Connect) -> Result<(), Unavailable> {
        if self.is_stopping() {
            return Err(Unavailable::Busy);
        }
        self.propose(self.world.ledger_of(connect.player), Input::Connect(connect))
    }

    /// Tells the ledger that a session's connection is lost; it is told however
    /// busy it is. One that does not run here needs no word: the claim with
    /// which it comes to run says that all connections before it are lost.
    pub fn left(&self, left: Left) {
        let Some(ledger) = self.registry.meta(self.world.ledger_of(left.player)) else { return };
        if let Err(SendError::Full(message)) = ledger.try_send(Leave(left)) {
            // Waiting for room is bounded by the arbiter's next turn, and there
            // is one of these per connection at most.
            actix::spawn(async move {
                let _ = ledger.send(message).await;
            });
        }
    }

    /// Has a ledger or board run here, soon, if it is to be run here at all.
    pub fn wake(&self, entity: EntityKey) {
        if !self.is_stopping() {
            // Too busy for that: whoever wants it comes again.
            let _ = self.propose(entity, Input::Time);
        }
    }

    /// How much goes on in a sector of any scale, and as of when.
    pub fn summary(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)> {
        self.view.branches.get(sector)
    }

    /// Entities that cannot be loaded.
    pub fn parked(&self) -> usize {
        self.registry.parked()
    }

    /// The node's tick and clock, for headers and acknowledgements.
    pub fn time(&self) -> (Tick, Millis) {
        self.status.time()
    }

    fn is_stopping(&self) -> bool {
        self.status.stopping.load(Ordering::Relaxed)
    }

    fn send(&self, entity: EntityKey, admit: Admit) -> Result<(), Unavailable> {
        self.sector(entity)?.try_send(admit).map_err(|error| match error {
            SendError::Full(_) => Unavailable::Busy,
            SendError::Closed(_) => Unavailable::NotHere,
        })
    }

    fn sector(&self, entity: EntityKey) -> Result<Addr<SectorActor>, Unavailable> {
        self.registry.sector(entity).ok_or_else(|| self.registry.absence(entity))
    }

    fn meta(&self, entity: EntityKey) -> Result<Addr<MetaActor>, Unavailable> {
        self.registry.meta(entity).ok_or_else(|| self.registry.absence(entity))
    }

    fn propose(&self, entity: EntityKey, input: Input) -> Result<(), Unavailable> {
        let full = |is_full: bool| if is_full { Unavailable::Busy } else { Unavailable::NotHere };
        match self.registry.meta(entity) {
            Some(meta) => meta
                .try_send(Propose(input))
                .map_err(|error| full(matches!(error, SendError::Full(_)))),
            None if self.registry.absence(entity) == Unavailable::Parked => {
                Err(Unavailable::Parked)
            }
            None => self
                .coordinator
                .try_send(Activate { entity, input })
                .map_err(|error| full(matches!(error, SendError::Full(_)))),
        }
    }
}
