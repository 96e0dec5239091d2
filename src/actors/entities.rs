//! Owns the gateway's way to entities: commands, attachment, observation,
//! sessions. Never decides anything; the registry says where an entity runs,
//! the entity's table what becomes of a message. Called by sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Addr;
use actix::prelude::SendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::coordinator::{Activate, CoordinatorActor, Resume, Wake};
use super::loads::Loads;
use super::meta::{Leave, MetaActor, Propose};
use super::owed::Word;
use super::peers::{Mesh, PeerMessage, Place, ToOwner};
use super::ports::{Ports, ToSession};
use super::registry::Registry;
use super::reports::About;
use super::sector::{Admit, SectorActor};
use super::status::CoreStatus;
use super::view_thread::ViewHandle;
use super::waking::Woken;
use crate::base::{EntityKey, Millis, NodeId, SectorId, Tick};
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::table::Unavailable;
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Connect, Input, Left};
use crate::entity::{Entity, World};
use crate::view::SectorSnapshot;
use crate::view::aggregates::is_aggregate;
use crate::view::fanout::Watcher;

/// An entity that is woken runs within this time, or whoever asked is told
/// that it is busy.
const WAKE_WITHIN: Duration = Duration::from_secs(5);

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
    pub(super) about: Arc<About>,
    pub(super) loads: Arc<Loads>,
    /// Room for commands that wait for their entity to be woken, and for lost
    /// connections of other nodes that wait for a full ledger.
    pub(super) turning: Arc<Semaphore>,
}

/// Commands that wait at once for entities to be woken, of all sessions; one
/// more is told `busy`.
pub const TURNING_MOST: usize = 16_384;

impl Entities {
    /// An entity is parked no more: whoever it belongs to is to run it.
    pub fn resume(&self, entity: EntityKey) {
        // Who does not hear of it finds its key.
        let _ = self.coordinator.try_send(Resume(entity));
    }

    /// Sends a player's command to its entity at the node where the session is
    /// attached, which takes it if it is the next of that attachment: an entity
    /// that belongs elsewhere by now runs there until it has gone. The answer
    /// comes to the session's port ([`ToSession::Player`]), or
    /// [`Rejected`](ToSession::Rejected) to `connection`.
    pub fn command(
        &self,
        connection: u64,
        entity: EntityKey,
        (at, ticket): (NodeId, Ticket),
        command: PlayerCommand,
    ) {
        if at == self.mesh.me() {
            return self.command_here(connection, entity, ticket, command);
        }
        let sequence = command.sequence;
        let message = ToOwner::Command { connection, entity, ticket, command };
        if let Err(why) = self.mesh.send(at, PeerMessage::ToOwner(message)) {
            let rejected = ToSession::Rejected { entity, ticket, sequence, why };
            self.ports.deliver(connection, rejected);
        }
    }

    /// To an entity that belongs or belonged here.
    pub(super) fn command_here(
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
        let why = match sent {
            Ok(()) => return,
            Err(Unavailable::NotHere) => match self.turning.clone().try_acquire_owned() {
                Ok(room) => {
                    return self.turn_away(room, (connection, entity), (ticket, sequence));
                }
                Err(_) => Unavailable::Busy,
            },
            Err(why) => why,
        };
        let rejected = ToSession::Rejected { entity, ticket, sequence, why };
        self.ports.deliver(connection, rejected);
    }

    /// What does not run is woken; the command is to come again then. Sessions
    /// bound how many wait here for each, [`TURNING_MOST`] for all.
    fn turn_away(
        &self,
        room: OwnedSemaphorePermit,
        (connection, entity): (u64, EntityKey),
        (ticket, sequence): (Ticket, u32),
    ) {
        let entities = self.clone();
        tokio::spawn(async move {
            let why = match entities.wake_sector(entity).await {
                Ok(Woken::Running) => Unavailable::Busy,
                Ok(Woken::Dormant) => Unavailable::NotHere,
                // An owner sends nothing on: whoever has the session does.
                Ok(Woken::Elsewhere(_)) => Unavailable::AttachAgain,
                Err(why) => why,
            };
            let rejected = ToSession::Rejected { entity, ticket, sequence, why };
            entities.ports.deliver(connection, rejected);
            drop(room);
        });
    }

    /// Has an entity run that hibernates; one without a record is left alone.
    pub(super) async fn wake_sector(&self, entity: EntityKey) -> Result<Woken, Unavailable> {
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
        let ledger = self.world.ledger_of(connect.player);
        match self.place_of_meta(ledger) {
            Place::Here => {
                // Until it runs it may turn out to be another node's.
                if self.registry.meta(ledger).is_none() && !self.mesh.linked().is_empty() {
                    self.ports.calls.owe(Word::Connect(connect), true);
                }
                self.propose(ledger, Input::Connect(connect))
            }
            Place::There(node) => {
                // Before it is asked: the answer may be the first to come.
                self.ports.calls.owe(Word::Connect(connect), true);
                let sent = self.mesh.send(node, PeerMessage::ToOwner(ToOwner::Connect(connect)));
                sent.inspect_err(|_| self.ports.calls.note_answered(connect.connection))
            }
            Place::Nowhere => Err(Unavailable::Busy),
        }
    }

    /// Tells the ledger that a session's connection is lost; it is told however
    /// busy it is. One that does not run needs no word: the claim with which it
    /// comes to run says that all connections before it are lost.
    pub fn left(&self, left: Left) {
        if self.left_here(left) {
            return;
        }
        if let Place::There(_) | Place::Nowhere =
            self.mesh.place_of(self.world.ledger_of(left.player))
        {
            self.ports.calls.owe(Word::Left(left), false);
        }
    }

    /// Whether the ledger runs here, which then is told.
    pub(super) fn left_here(&self, left: Left) -> bool {
        let Some(ledger) = self.registry.meta(self.world.ledger_of(left.player)) else {
            return false;
        };
        if let Err(SendError::Full(message)) = ledger.try_send(Leave(left)) {
            // Waiting for room is bounded by the arbiter's next turn, and there
            // is one of these per connection of this node at most.
            tokio::spawn(async move {
                let _ = ledger.send(message).await;
            });
        }
        true
    }

    /// Has a ledger or board run, soon, wherever it belongs.
    pub fn wake(&self, entity: EntityKey) {
        if self.is_stopping() {
            return;
        }
        // Too busy for that: whoever wants it comes again.
        let _ = match self.place_of_meta(entity) {
            Place::Here => self.propose(entity, Input::Time),
            Place::There(node) => self.mesh.send(node, PeerMessage::ToOwner(ToOwner::Wake(entity))),
            Place::Nowhere => Ok(()),
        };
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

    /// Whether it is a sector that runs here, whatever the directory says.
    pub(super) fn runs(&self, entity: EntityKey) -> bool {
        self.registry.sector(entity).is_some() || self.registry.meta(entity).is_some()
    }

    /// Where a ledger or board is to be asked.
    pub(super) fn place_of_meta(&self, entity: EntityKey) -> Place {
        match self.registry.meta(entity) {
            Some(_) => Place::Here,
            None => self.mesh.place_of(entity),
        }
    }

    /// Whether all that this node owned when it began runs again.
    pub(super) fn is_ready(&self) -> bool {
        self.status.ready.load(Ordering::Relaxed)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.status.stopping.load(Ordering::Relaxed)
    }

    fn send(&self, entity: EntityKey, admit: Admit) -> Result<(), Unavailable> {
        self.sector(entity)?.try_send(admit).map_err(|error| match error {
            SendError::Full(_) => Unavailable::Busy,
            SendError::Closed(_) => Unavailable::NotHere,
        })
    }

    pub(super) fn sector(&self, entity: EntityKey) -> Result<Addr<SectorActor>, Unavailable> {
        self.registry.sector(entity).ok_or_else(|| self.registry.absence(entity))
    }

    pub(super) fn meta(&self, entity: EntityKey) -> Result<Addr<MetaActor>, Unavailable> {
        self.registry.meta(entity).ok_or_else(|| self.registry.absence(entity))
    }

    pub(super) fn propose(&self, entity: EntityKey, input: Input) -> Result<(), Unavailable> {
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
