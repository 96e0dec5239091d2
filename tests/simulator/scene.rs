//! Owns what is known of a run from outside the node: the durable state, and
//! per entity a shadow that is built from durable records alone. Never asks
//! the node anything. Invariants judge what the node does by it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, NodeId, PlayerId, SectorId, SessionId, Tick, UnitId};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::Loaded;
use starmesh::cluster::core::table::Release;
use starmesh::entity::commands::{CommandAnswer, PlayerCommand};
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError, NodeRow};
use starmesh::entity::effect::Effect;
use starmesh::entity::record::Record;
use starmesh::entity::{Entity, World};
use starmesh::protocol::blocks::{Block, Content};
use starmesh::protocol::{CodecKind, Received};
use starmesh::store::memory::Memory;
use starmesh::view::fanout::Packet;
use starmesh::view::fog::Mask;
use starmesh::view::{Applied, CellsView};

/// States kept per entity, for what is judged a little later.
const STATES_MAX: usize = 256;

/// Something that happened, for the invariants to judge.
pub enum Fact<'a> {
    /// An entity that is in the store when the run begins.
    Imported(&'a Entity),
    /// A process began to run.
    Began,
    /// The process was killed or has ended.
    Ended,
    /// The process says that everything it owned before runs again.
    Ready,
    /// Whether its clock and the store's agree, so that it may claim.
    Claiming(bool),
    /// Faults end.
    Calm,
    /// The core hands a commit to the store.
    Sent(&'a Commit),
    /// The store's answer reaches the core.
    Answered(&'a Result<CommitAnswer, CommitError>),
    /// A commit is durable, whether anybody heard of it or not. The shadows
    /// do not have it yet.
    Durable { commit: &'a Commit, refused: &'a [u32] },
    /// The store forgot an entity, which had been so.
    Deleted(&'a Entity),
    /// A shadow applied a durable record.
    Applied { before: &'a Entity, after: &'a Entity, record: &'a Record, effects: &'a [Effect] },
    /// The node's tick moved.
    Ticked(Tick),
    /// Something left the node.
    Released(&'a Release),
    /// An entity was brought back.
    Loaded(&'a Loaded),
    /// What the node has of an entity, at some instant.
    Live(&'a Entity),
    /// A client sent a command for the first time.
    Commanded { entity: EntityKey, command: &'a PlayerCommand },
    /// A client heard what became of a command.
    Heard(&'a CommandAnswer),
    /// From now on, or no more, the fan-out follows a sector.
    Followed { sector: SectorId, on: bool },
    /// A client applied an update of a place.
    Seen { observer: &'a Seen, view: &'a CellsView, applied: &'a Applied },
    /// Too much waits for this to be taken.
    Busy(&'static str),
    /// A table says what was the last command of a session that it applied.
    Attached { entity: EntityKey, player: PlayerId, session: SessionId, last: Option<u32> },
    /// How much waits in the process while its store is away.
    Waiting(Waiting),
    /// A group of rows was answered: accepted or not.
    RowsDone { id: u64, accepted: bool },
    /// Something that must never happen did.
    Never(String),
}

/// How much waits in a process.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Inputs not durable yet, of all tables.
    pub inputs: usize,
    /// What waits for the load for which most waits.
    pub for_a_load: usize,
    /// Connections lost since none waited: these are taken always.
    pub lost: usize,
}

/// Who applied which update.
pub struct Seen {
    pub connection: u64,
    pub player: PlayerId,
    pub entity: EntityKey,
    pub tick: Tick,
    pub keyframe: bool,
    /// Units the update told of.
    pub told: Vec<UnitId>,
    /// The cells of its blocks, but for what only the player's group sees.
    pub cells: Mask,
    /// A cell of its blocks that is not in the mask it gives, or not its
    /// units'.
    pub stray: Option<u8>,
    /// Since the last keyframe of the place an update did not reach the client.
    pub lost: bool,
}

impl Seen {
    /// Has a client's view take a packet; what it saw then, and what the view said.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it says it is.
    pub fn take(
        connection: u64,
        player: PlayerId,
        codec: CodecKind,
        view: &mut CellsView,
        packet: &Packet,
    ) -> Result<(Seen, Applied), String> {
        let entity = EntityKey::Sector(packet.sector);
        let (header, told) = match codec.codec().receive(&packet.bytes) {
            Ok(Received::Packet(header, told)) => (header, told),
            other => return Err(format!("a packet of {entity} is read as {other:?}")),
        };
        if told.full_tick.is_some() != packet.keyframe || header.handle != packet.handle {
            return Err(format!("{header:?} {told:?} is not {packet:?}"));
        }
        let stray = view.stray(&told);
        let applied = view.handle(header.tick, &told);
        let is_of_cell = |block: &&Block| !matches!(block.content, Content::Cloaked(_));
        let cells = told.blocks.iter().filter(is_of_cell);
        let cells = Mask(cells.fold(0, |cells, block| cells | 1 << (block.cell & 63)));
        let seen = Seen {
            connection,
            player,
            entity,
            tick: packet.tick,
            keyframe: packet.keyframe,
            told: told.records().map(|(_, seen)| seen.unit.id).collect(),
            cells,
            stray,
            lost: false,
        };
        Ok((seen, applied))
    }

    /// Whether it shows a sector without a record, which has no tick.
    pub fn is_seed(&self) -> bool {
        self.keyframe && self.tick == Tick(0)
    }

    /// Units there are in warp: only their own group sees them.
    pub fn is_above_scale_0(&self) -> bool {
        matches!(self.entity, EntityKey::Sector(sector) if sector.scale > 0)
    }
}

/// A rule that every run keeps.
pub trait Invariant: Send {
    /// Its number and what it says.
    fn name(&self) -> &'static str;

    /// Judges a fact.
    ///
    /// # Errors
    /// What is wrong.
    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String>;

    /// Judges the end, when everything had time to come to its end.
    ///
    /// # Errors
    /// What is wrong.
    fn end(&mut self, _scene: &Scene) -> Result<(), String> {
        Ok(())
    }

    /// Which rare things it judged, and how often: they must happen.
    fn judged(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// What is known.
pub struct Scene {
    pub world: Arc<World>,
    pub memory: Arc<Memory>,
    pub now: u64,
    /// Of every process.
    pub limits: Limits,
    /// There is one node: nothing that it writes is refused.
    pub alone: bool,
    /// Commands of a connection arrive in the order in which they were sent.
    pub in_order: bool,
    /// Tables of every process.
    pub tables: usize,
    /// Inputs that came to a table with their entity, since none waited.
    pub brought: usize,
    /// The node's row as it is durable; of several nodes none is *the* node's.
    pub row: Option<NodeRow>,
    /// The last durable tick of every incarnation.
    pub ticks: BTreeMap<(NodeId, Incarnation), Tick>,
    pub shadows: BTreeMap<EntityKey, Shadow>,
}

/// An entity as durable records make it.
pub struct Shadow {
    /// After each of the last records, and the world it is run in from there; the
    /// first may be the genesis.
    states: VecDeque<(Entity, Arc<World>)>,
}

impl Shadow {
    pub fn new(genesis: Entity, world: Arc<World>) -> Shadow {
        Shadow { states: [(genesis, world)].into() }
    }

    fn last(&self) -> &(Entity, Arc<World>) {
        // One is there from the beginning and the newest is never dropped.
        self.states.back().expect("a state")
    }

    /// That it is run in since its last record.
    pub fn world(&self) -> &Arc<World> {
        &self.last().1
    }

    /// After the last durable record.
    pub fn entity(&self) -> &Entity {
        &self.last().0
    }

    pub fn push(&mut self, entity: Entity, world: Arc<World>) {
        if self.states.len() == STATES_MAX {
            self.states.pop_front();
        }
        self.states.push_back((entity, world));
    }

    /// After the record with this sequence.
    pub fn after(&self, sequence: u64) -> Option<&Entity> {
        let mut states = self.states.iter().rev().map(|(state, _)| state);
        states.find(|state| state.head().sequence == sequence)
    }

    /// Directly after the step to `tick`, before records of that tick.
    pub fn at(&self, tick: Tick) -> Option<Entity> {
        let (state, world) = self.states.iter().rev().find(|(state, _)| state.tick() < tick)?;
        let mut state = state.clone();
        state.run_to(tick, world, &mut Vec::new());
        Some(state)
    }
}

impl Scene {
    pub fn shadow(&self, entity: EntityKey) -> Option<&Entity> {
        self.shadows.get(&entity).map(Shadow::entity)
    }

    /// The entity as it is at its owner's last durable tick.
    pub fn now(&self, entity: EntityKey) -> Option<Entity> {
        let shadow = self.shadows.get(&entity)?;
        let mut entity = shadow.entity().clone();
        if let Some(open) = entity.head().claim {
            let owner = (open.claim.node, open.claim.incarnation);
            let tick = self.ticks.get(&owner).copied().unwrap_or_default();
            entity.run_to(open.tick_at(tick), shadow.world(), &mut Vec::new());
        }
        Some(entity)
    }

    /// Why not everything between entities has come to its end.
    pub fn unsettled(&self) -> Option<String> {
        self.shadows.iter().find_map(|(key, shadow)| {
            let head = shadow.entity().head();
            let asks = !head.open_requests.is_empty() || !head.backlog.is_empty();
            let waits = asks || !head.outbox.is_settled() || head.waits_for_ids();
            if waits {
                return Some(format!("{key} waits: {:?} {:?}", head.outbox, head.open_requests));
            }
            self.has_to_tell(*key).then(|| format!("{key} has to tell the board"))
        })
    }

    /// Whether a ledger told the board something with a step that no record
    /// has come after, or will.
    fn has_to_tell(&self, key: EntityKey) -> bool {
        let ledger = matches!(key, EntityKey::Ledger(_)).then(|| self.now(key)).flatten();
        ledger.is_some_and(|now| !now.is_idle() || !now.head().outbox.is_settled())
    }

    /// The node's tick when the entity's is `tick`, by its open claim, or the
    /// one that was closed.
    pub fn node_tick(&self, entity: EntityKey, tick: Tick) -> Option<Tick> {
        let head = self.shadow(entity)?.head();
        let claim = head.claim.or(head.slept)?;
        Some(claim.pace.node_tick_at(tick))
    }
}
