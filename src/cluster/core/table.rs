//! Owns the entities of one arbiter: admits inputs for them, applies records
//! that became durable, steps them, and holds outputs back until the node's
//! row says their tick. Never decides what is committed or when time passes;
//! the node's core tells it, and the order of its messages is the order of
//! everything here. Called by the arbiter's ticker and handlers, and by the
//! simulator.
//!
//! Invariant: nothing of tick T is released before the row says at least T
//! and the inputs that caused it are durable.

mod activity;
mod broken;
mod costs;
mod counts;
mod door;
mod followers;
mod leave;
mod moving;
mod reads;
mod rest;
mod shadows;
mod step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use activity::Activity;
use costs::Costs;
pub use costs::{Clock, TableCosts};
pub use counts::TableCounts;
pub use moving::Moved;
pub use shadows::CellShade;
use shadows::Shade;

use serde::{Deserialize, Serialize};

use super::attaching::Attachment;
use super::cell::{Cell, SnapshotStep};
use super::dilation::Weighed;
use super::limits::Limits;
use super::message::{Committed, FromTable, Installed, ToTable};
use crate::base::{EntityKey, Millis, SectorId, Tick};
use crate::entity::channel::ChannelMessage;
use crate::entity::effect::{Effect, PlayerEffect};
use crate::entity::input::{Dilation, Input};
use crate::entity::kinds::Kind;
use crate::entity::message::{Body, Notice};
use crate::entity::pace::Rate;
use crate::entity::read::Reading;
use crate::entity::record::Record;
use crate::entity::{Entity, World};
use crate::view::SectorSnapshot;
use crate::view::stage::{Scene, StepDelta};

/// What may leave the node now.
#[derive(Clone, Debug, PartialEq)]
pub enum Release {
    /// To a player's session, wherever it is.
    Player(PlayerEffect),
    /// The answer to [`Table::read`], true at a tick of the entity's; to a
    /// session that asked what was applied, the name of its attachment.
    Read { ask: u64, entity: EntityKey, at: Tick, reading: Reading, attached: Option<Attachment> },
    /// To who follows the entity: all of it.
    Scene { entity: EntityKey, scene: Arc<Scene> },
    /// To who follows the entity: its next step.
    Step { entity: EntityKey, delta: Arc<StepDelta> },
    /// To who follows the entity: it makes so many per cent of its ticks from
    /// here on. Behind a scene only if not all.
    Pace { entity: EntityKey, percent: u8 },
    /// To who follows the entity: it runs here no more.
    Gone { entity: EntityKey },
    /// To the roll-up: scale-0 sectors that changed, `None` for one that runs
    /// here no more.
    Summaries(Vec<(SectorId, Option<SectorSnapshot>)>),
}

impl Release {
    /// The entity it is of; `None` of what a ledger tells a session, and of
    /// what is of many sectors.
    pub fn entity(&self) -> Option<EntityKey> {
        match self {
            Release::Player(PlayerEffect::Answered(answer)) => Some(answer.entity),
            Release::Read { entity, .. }
            | Release::Scene { entity, .. }
            | Release::Step { entity, .. }
            | Release::Pace { entity, .. }
            | Release::Gone { entity } => Some(*entity),
            Release::Player(_) | Release::Summaries(_) => None,
        }
    }
}

/// Why something for an entity was not taken. Nothing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unavailable {
    #[error("it does not run here")]
    NotHere,
    #[error("it cannot be loaded; it is kept as it is and does not run")]
    Parked,
    #[error("too much waits for it already")]
    Busy,
    #[error("the session is not attached to it, or one of its commands is missing")]
    AttachAgain,
    #[error("it is longer than any input may be")]
    TooLong,
    #[error("the store does not answer; time stands still")]
    StoreAway,
}

/// The entities of one arbiter.
#[derive(Debug)]
pub struct Table {
    world: Arc<World>,
    limits: Limits,
    tick: Tick,
    now: Millis,
    durable: Tick,
    away: bool,
    /// What is here may run elsewhere already, and further.
    over: bool,
    cells: BTreeMap<EntityKey, Cell>,
    /// Entities that a tick changes.
    active: BTreeSet<EntityKey>,
    followed: BTreeSet<EntityKey>,
    unhashed: BTreeSet<EntityKey>,
    shade: Shade,
    /// Those that leave with their next tick.
    leaving: BTreeSet<EntityKey>,
    unsettled: BTreeSet<EntityKey>,
    timers: BTreeSet<(Millis, EntityKey)>,
    /// When to look whether an entity is quiet: one entry for each sector.
    looks: BTreeSet<(Millis, EntityKey)>,
    activity: Activity,
    /// The next attachment's name.
    attachment: Attachment,
    /// Inputs submitted and not yet durable, of all entities.
    pending: usize,
    to_core: Vec<FromTable>,
    held: VecDeque<(Tick, Vec<Release>)>,
    released: Vec<Release>,
    counts: TableCounts,
    costs: Costs,
}

impl Table {
    /// A table without entities. Names of attachments are counted from `first`,
    /// drawn anew for each table that is made, so that those of no two meet: a
    /// command may come late, from the time of another table or process.
    pub fn new(world: Arc<World>, limits: Limits, first: Attachment) -> Table {
        Table {
            world,
            limits,
            tick: Tick(0),
            now: Millis(0),
            durable: Tick(0),
            away: false,
            over: false,
            cells: BTreeMap::new(),
            active: BTreeSet::new(),
            followed: BTreeSet::new(),
            unhashed: BTreeSet::new(),
            shade: Shade::default(),
            leaving: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            timers: BTreeSet::new(),
            looks: BTreeSet::new(),
            activity: Activity::default(),
            attachment: first,
            pending: 0,
            to_core: Vec::new(),
            held: VecDeque::new(),
            released: Vec::new(),
            counts: TableCounts::default(),
            costs: Costs::default(),
        }
    }

    /// The entity as it is now, which may be ahead of what is durable.
    pub fn entity(&self, key: EntityKey) -> Option<&Entity> {
        self.cells.get(&key).map(|cell| &cell.entity)
    }

    /// Keys of the entities here, ascending.
    pub fn keys(&self) -> impl Iterator<Item = EntityKey> + '_ {
        self.cells.keys().copied()
    }

    /// Inputs submitted and not yet durable, of all entities.
    pub fn waiting(&self) -> usize {
        self.pending
    }

    /// Takes what the node's core says.
    pub fn handle(&mut self, message: ToTable) {
        match message {
            ToTable::Install(installed) => self.install(*installed),
            ToTable::Committed(records) => {
                self.begin_work();
                for record in records {
                    let entity = record.entity;
                    self.commit(record);
                    self.charge(entity);
                }
            }
            ToTable::Tick { tick, now } => self.step(tick, now),
            ToTable::Durable(tick) => self.release(tick),
            ToTable::Away(away) => self.away = away,
            ToTable::Over => self.over = true,
            ToTable::Deliver(message) => self.deliver(message),
            ToTable::Acknowledge(ack) => self.acknowledge(ack),
            ToTable::Propose { entity, input } => self.take_proposed(entity, input),
            ToTable::Snapshot(entity) => {
                // One that rests is dropped soon, and then its turn is another's.
                let cell = self.cells.get_mut(&entity).filter(|cell| !cell.is_closed());
                match cell.map(Cell::allow_snapshot) {
                    Some(true) => self.snapshot(entity),
                    // A bounded number, each at the core's word.
                    Some(false) => self.submit(entity, Input::Time),
                    None => {}
                }
            }
            ToTable::SnapshotDone { entity, sequence, bytes } => {
                self.end_snapshot(entity, sequence, Some(bytes));
            }
            ToTable::SnapshotRefused { entity, sequence } => {
                self.end_snapshot(entity, sequence, None);
            }
            ToTable::Drop(entity) => self.drop_entity(entity),
            ToTable::Yield(entity) => self.yield_up(entity),
            ToTable::Leave(entity) => self.leave_node(entity),
            ToTable::Retire { record, to } => self.retire(&record, to),
            ToTable::Adopt { moved, then } => self.adopt(*moved, then),
            ToTable::Shadows(casts) => self.take_shadows(&casts),
            ToTable::Awake(_) => {}
        }
    }

    fn dilated(&self) -> [u64; 9] {
        let mut counts = [0; 9];
        for cell in self.cells.values() {
            let tenths = usize::from(cell.entity.rate().tenths());
            if let Some(count) = counts.get_mut(tenths - 1) {
                *count += 1;
            }
        }
        counts
    }

    /// What the sectors here cost that step, or that run slower.
    pub fn weighed(&self) -> Vec<Weighed> {
        let weigh = |(entity, cell): (&EntityKey, &Cell)| {
            let Kind::Sector(sector) = cell.entity.kind() else { return None };
            if !cell.is_claimed() {
                // Its rate is its last owner's.
                return None;
            }
            let units = sector.state().units().len() as u64;
            let weight = if cell.is_active() { units + 1 } else { 0 };
            let rate = cell.entity.rate();
            let counts = weight > 0 || rate < Rate::FULL;
            counts.then_some(Weighed { entity: *entity, weight, rate })
        };
        self.cells.iter().filter_map(weigh).collect()
    }

    /// Has a sector run at `rate` from its next record on. One that is not
    /// here, about to hibernate, or about to run at another rate already goes
    /// on as it does.
    pub fn dilate(&mut self, entity: EntityKey, rate: Rate) {
        let Some(cell) = self.cells.get_mut(&entity) else { return };
        if matches!(entity, EntityKey::Sector(_)) && !cell.is_closed() && cell.ask_rate() {
            let generation = cell.generation();
            self.to_core.push(FromTable::Dilate { entity, generation, rate });
        }
    }

    /// What the core is to be told, in order.
    pub fn drain_core(&mut self) -> Vec<FromTable> {
        std::mem::take(&mut self.to_core)
    }

    /// What may leave the node now, in order.
    pub fn drain_released(&mut self) -> Vec<Release> {
        std::mem::take(&mut self.released)
    }

    fn install(&mut self, installed: Installed) {
        let key = installed.entity.key();
        let mut effects = Vec::new();
        installed.entity.unfinished(&mut effects);
        self.cells.insert(key, Cell::new(installed, self.tick));
        self.note_busy(key);
        self.activity.touch(key);
        self.shade.note_changed(key);
        self.run_effects(key, effects);
    }

    /// Forgets an entity, and what it would still have shown: of its steps
    /// nothing is durable but what the row says already.
    fn drop_entity(&mut self, key: EntityKey) {
        let Some(cell) = self.forget(key) else { return };
        let is_shown = |release: &Release| match release {
            Release::Scene { entity, .. }
            | Release::Step { entity, .. }
            | Release::Pace { entity, .. } => *entity == key,
            _ => false,
        };
        for (_, releases) in &mut self.held {
            releases.retain(|release| !is_shown(release));
        }
        self.unhashed.remove(&key);
        self.activity.note_stopped(key);
        if cell.follower.is_some() {
            self.hold(Release::Gone { entity: key });
        }
    }

    /// Takes an entity out of all that is noted by its cell.
    fn forget(&mut self, key: EntityKey) -> Option<Cell> {
        let cell = self.cells.remove(&key)?;
        self.pending -= cell.pending();
        self.shade.forget(key);
        let sets = [&mut self.active, &mut self.followed, &mut self.unsettled, &mut self.leaving];
        for set in sets {
            set.remove(&key);
        }
        if let Some(due) = cell.due() {
            self.timers.remove(&(due, key));
        }
        if let Some(at) = cell.look {
            self.looks.remove(&(at, key));
        }
        Some(cell)
    }

    /// Applies a durable record.
    fn commit(&mut self, committed: Committed) {
        let key = committed.entity;
        let Some(cell) = self.cells.get_mut(&key) else { return };
        if cell.generation() != committed.generation {
            // What is here was loaded with this record in its journal.
            return;
        }
        let came = cell.entity.head().handed.is_some();
        let adopt = committed.adopts.map(|from| Input::Adopt { from });
        let mut inputs: Vec<Input> = adopt.into_iter().collect();
        inputs.extend(committed.claim.map(Input::Claim));
        inputs.extend(committed.dilation.map(Input::Dilate));
        let Some(durable) = cell.pop(committed.inputs) else { return self.drop_misfit(key) };
        self.pending -= durable.len();
        inputs.extend(durable);
        let changes_state =
            inputs.iter().any(|input| !matches!(input, Input::Hash { .. } | Input::Time));
        let is_busy = inputs
            .iter()
            .any(|input| !matches!(input, Input::Hash { .. } | Input::Time | Input::Dilate(_)));
        let record = Record { header: committed.header, inputs };
        let mut effects = Vec::new();
        let applied =
            self.guard(key, |cell, world| cell.entity.apply(&record, world, &mut effects));
        match applied {
            None => return,
            Some(Err(_)) => return self.drop_misfit(key),
            Some(Ok(())) => {}
        }
        let Some(cell) = self.cells.get_mut(&key) else { return };
        cell.recorded = committed.header.tick;
        if committed.claim.is_some() {
            cell.note_claimed(committed.lead);
            cell.cost.note_claimed(self.now, came);
        }
        let pace = committed.dilation.filter(|_| cell.note_rate());
        self.counts.inputs += record.inputs.len() as u64;
        self.counts.crossings += record.inputs.iter().map(crossings).sum::<u64>();
        self.activity.note(key, &record.inputs);
        cell.cost.act(record.inputs.iter().filter(|input| is_action(input)).count() as u64);
        let snapshot = cell.note_record(committed.bytes, &self.limits);
        if changes_state {
            self.unhashed.insert(key);
            self.shade.note_changed(key);
        }
        if is_busy {
            self.note_busy(key);
        }
        match snapshot {
            SnapshotStep::Nothing => {}
            SnapshotStep::Ask => self.to_core.push(FromTable::SnapshotDue(key)),
            SnapshotStep::Make => self.snapshot(key),
        }
        self.run_effects(key, effects);
        if let Some(Dilation { rate, .. }) = pace {
            self.hold(Release::Pace { entity: key, percent: rate.percent() });
        }
        self.note_state(key);
        self.note_leaving(key);
    }

    /// A durable record is not what comes next here. The core numbers the
    /// records and counts the inputs, so this is a fault of ours; the journal
    /// is right and the state here is not.
    fn drop_misfit(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get(&key) else { return };
        let generation = cell.generation();
        self.counts.misfits += 1;
        self.drop_entity(key);
        self.to_core.push(FromTable::Dropped { entity: key, generation });
    }

    fn snapshot(&mut self, key: EntityKey) {
        let made = self.guard(key, |cell, world| {
            let sequence = cell.entity.head().sequence;
            cell.note_snapshot_begun(sequence);
            (cell.generation(), sequence, cell.entity.snapshot(world))
        });
        let Some((generation, sequence, bytes)) = made else { return };
        self.to_core.push(FromTable::Snapshot { entity: key, generation, sequence, bytes });
    }

    fn end_snapshot(&mut self, key: EntityKey, sequence: u64, bytes: Option<u64>) {
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.note_snapshot_ended(sequence, bytes);
        }
    }

    fn run_effects(&mut self, key: EntityKey, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Carry(message) => self.to_core.push(FromTable::Carry(message)),
                Effect::Acknowledge(ack) => self.to_core.push(FromTable::Acknowledge(ack)),
                Effect::NeedIds => self.to_core.push(FromTable::NeedIds(key)),
                Effect::Player(effect) => self.hold(Release::Player(effect)),
                Effect::Stepped(delta) => {
                    let cell = self.cells.get_mut(&key);
                    if let Some(follower) = cell.and_then(|cell| cell.follower.as_mut()) {
                        follower.note(delta);
                    }
                }
            }
        }
    }

    /// Keeps the sets of keys true to what the entity is now.
    fn note_state(&mut self, key: EntityKey) {
        let Some(cell) = self.cells.get_mut(&key) else { return };
        if cell.is_active() {
            self.active.insert(key);
        } else if self.active.remove(&key) {
            self.activity.touch(key);
        }
        if cell.entity.head().outbox.is_settled() {
            self.unsettled.remove(&key);
        } else if self.unsettled.insert(key) {
            cell.carried = self.tick;
        }
        self.note_due(key);
    }

    /// Keeps an output until the row says the tick.
    fn hold(&mut self, release: Release) {
        if self.tick <= self.durable {
            self.released.push(release);
            return;
        }
        match self.held.back_mut() {
            Some((tick, releases)) if *tick == self.tick => releases.push(release),
            _ => {
                self.held.push_back((self.tick, vec![release]));
                self.to_core.push(FromTable::Waiting(self.tick));
            }
        }
    }

    fn release(&mut self, durable: Tick) {
        self.durable = self.durable.max(durable);
        while let Some((tick, releases)) = self.held.pop_front() {
            if tick > self.durable {
                self.held.push_front((tick, releases));
                return;
            }
            self.released.extend(releases);
        }
    }
}

/// Whether it is what a player wants.
fn is_action(input: &Input) -> bool {
    matches!(input, Input::Command(_))
}

/// How many units come with an input.
fn crossings(input: &Input) -> u64 {
    match input {
        Input::Message(ChannelMessage {
            body: Body::Notice(Notice::Units { travellers }), ..
        }) => travellers.len() as u64,
        _ => 0,
    }
}
