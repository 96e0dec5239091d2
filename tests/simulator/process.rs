//! Owns one run of the node's process: core, three tables, gateway and the ways
//! between them, in place of the actors and threads. Everything in it is gone
//! when it is killed.

mod asleep;
pub mod commands;
mod moving;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, SectorId, Tick};
use starmesh::cluster::core::attaching::Attachment;
use starmesh::cluster::core::clock::Clock;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::{Event, NodeCore, NodeEffect};
use starmesh::cluster::core::places::Tables;
use starmesh::cluster::core::table::{Release, Table, Unavailable};
use starmesh::entity::commit::{Commit, CommitError, NodeRow};
use starmesh::entity::format::FORMATS;
use starmesh::entity::input::{Connect, Input, Left};
use starmesh::protocol::CodecKind;
use starmesh::store::{Store, recovery};
use starmesh::view::Fanout;
use starmesh::view::fanout::{Shown, Watcher};
use starmesh::view::stage::GroupId;

use crate::gateway::{Gateway, Request, ToClient};
use crate::outside::Outside;
use crate::queue::{InNode, Way};
use crate::scene::{Fact, Waiting};

pub const NODE: NodeId = NodeId(1);
/// Sectors are moved to any of them, from any.
const PLACES: Tables = Tables { common: 2, hot: 1 };
pub const TABLES: usize = PLACES.common + PLACES.hot;

/// A running process.
pub struct Process {
    /// Counts processes; what was sent in another is lost.
    pub id: u64,
    pub core: NodeCore,
    pub tables: Vec<Table>,
    pub gateway: Gateway,
    fanout: Fanout,
    clock: Clock,
    /// The commit under way, and whether the store has done it already.
    under_way: Option<(Arc<Commit>, bool)>,
    wake: u64,
    wake_at: Millis,
    disk_checked: u64,
    disk_full: bool,
    pub ready: bool,
    /// Its clock and the store's agree.
    pub may_claim: bool,
    /// The store refused a whole commit.
    fenced: bool,
    /// It owns nothing any more and must end.
    pub deposed: bool,
    /// Which table each entity is in, as the registry knows it.
    here: BTreeMap<EntityKey, usize>,
    /// Connections lost, and inputs moved, since no input waited.
    lost: usize,
    brought: usize,
    /// Whether each table was told that time stands still.
    closed: [bool; TABLES],
    /// The last tick that each table has done.
    stepped: [Tick; TABLES],
    /// Why what was asked to be woken.
    wakes: BTreeMap<EntityKey, &'static str>,
    /// Sectors that the fan-out follows and that do not run.
    awaited: BTreeSet<SectorId>,
    /// Commands for what does not run: they are turned away for good when it
    /// has no record.
    turned_away: BTreeMap<EntityKey, BTreeSet<(u64, u32)>>,
    /// Connections that wait for an entity to be woken, to attach to it.
    attaching: BTreeMap<EntityKey, BTreeSet<u64>>,
    /// Answers to groups of rows that nobody took yet.
    pub rows_done: Vec<(u64, bool)>,
}

/// What a client speaks.
pub fn codec_of(client: usize) -> CodecKind {
    CodecKind::ALL[client % CodecKind::ALL.len()]
}

impl Process {
    pub fn start(id: u64, row: Option<&NodeRow>, outside: &mut Outside) -> Process {
        let nonce = outside.random.number();
        let limits = outside.scenario.limits;
        let core = NodeCore::new(NODE, nonce, row, outside.world.clone(), limits, PLACES)
            .writing(FORMATS.highest);
        let mut table = |_| {
            let first = Attachment(outside.random.number());
            Table::new(outside.world.clone(), limits, first)
        };
        let tables = (0..TABLES).map(&mut table).collect();
        let mut process = Process {
            id,
            core,
            tables,
            gateway: Gateway::default(),
            fanout: Fanout::default(),
            clock: Clock::new(outside.wall(), outside.steady()),
            under_way: None,
            wake: 0,
            wake_at: Millis(0),
            disk_checked: 0,
            disk_full: false,
            ready: false,
            may_claim: true,
            fenced: false,
            deposed: false,
            here: BTreeMap::new(),
            lost: 0,
            brought: 0,
            closed: [false; TABLES],
            stepped: [Tick(0); TABLES],
            wakes: BTreeMap::new(),
            awaited: BTreeSet::new(),
            turned_away: BTreeMap::new(),
            attaching: BTreeMap::new(),
            rows_done: Vec::new(),
        };
        outside.witness.note(&Fact::Began);
        process.core_event(Event::Clock, outside);
        process
    }

    /// The process is killed: a commit under way is done or not, and nobody
    /// hears of it.
    pub fn kill(self, outside: &mut Outside) {
        self.show_live(outside);
        outside.witness.coverage.note("proposal dropped while loading", self.core.counts().dropped);
        outside.witness.coverage.note("time waited for a table", self.core.counts().held);
        outside.witness.coverage.note("killed while falling asleep", self.core.closing() as u64);
        if let Some((commit, false)) = self.under_way {
            outside.store.tear(&commit);
            outside.witness.note_durable(&commit);
        }
        for (number, connection) in self.gateway.connections {
            outside.send_to_client(connection.client, number, ToClient::Closed);
        }
        outside.witness.note(&Fact::Ended);
    }

    /// Has the invariants look at what the node has of its entities.
    pub fn show_live(&self, outside: &mut Outside) {
        // One that was deleted, of which the core has not heard, is still here.
        let commit = self.under_way.as_ref().filter(|(_, done)| *done).map(|(commit, _)| commit);
        let appends = commit.iter().flat_map(|commit| &commit.groups);
        let appends: BTreeSet<EntityKey> =
            appends.filter_map(|group| Some(group.append.as_ref()?.entity)).collect();
        for table in &self.tables {
            for key in table.keys() {
                let is_deleted = !outside.witness.scene.shadows.contains_key(&key);
                if let Some(entity) = table.entity(key)
                    && !(is_deleted && appends.contains(&key))
                {
                    outside.witness.note(&Fact::Live(entity));
                }
            }
        }
    }

    pub fn handle(&mut self, message: InNode, outside: &mut Outside) {
        match message {
            InNode::Core(event) => self.core_event(event, outside),
            InNode::FromTable(messages) => {
                let now = self.node_time(outside);
                self.core.handle_all(messages.into_iter().map(Event::FromTable), now);
                self.run_effects(now, outside);
            }
            InNode::ToTable(index, message) => self.handle_table(index, message, outside),
            InNode::Mail(index, mail) => self.handle_mail(index, mail, outside),
            InNode::Back(connection, back) => self.handle_back(connection, back, outside),
            InNode::CommitNow(commit) => self.commit(&commit, outside),
            InNode::ScanOwned => {
                let found = recovery::owned_keys(&outside.store, NODE)
                    .and_then(|owned| Ok((owned, recovery::ended_of(&outside.store, NODE)?)));
                match found {
                    Ok((entities, ended)) => {
                        self.core_event(Event::Owned { entities, ended }, outside);
                    }
                    Err(_) => outside.later_in_node(self.id, 50, InNode::ScanOwned),
                }
            }
            InNode::ReadNextId => match recovery::next_id(&outside.store) {
                Ok(next) => self.core_event(Event::NextId(next), outside),
                Err(_) => outside.later_in_node(self.id, 50, InNode::ReadNextId),
            },
            InNode::ReadAttempts => {
                let attempts = recovery::attempts(&outside.store).ok();
                self.core_event(Event::Attempts(attempts), outside);
            }
            InNode::ReadDue(after, limit) => {
                // As the node's thread does: none are due then, and it is asked again.
                let due = recovery::due(&outside.store, after.as_deref(), limit);
                self.core_event(Event::Due(due.unwrap_or_default()), outside);
            }
            InNode::ReadAsleep(after) => match recovery::asleep(&outside.store, after.as_deref()) {
                Ok((page, after)) => {
                    let page = page.into_iter().map(|(entity, _)| entity).collect();
                    self.core_event(Event::Asleep { page, after }, outside);
                }
                Err(_) => outside.later_in_node(self.id, 50, InNode::ReadAsleep(after)),
            },
            InNode::Load(entity, asker) => {
                let loaded = recovery::load(&outside.store, entity, &outside.worlds, asker, None);
                if let Ok(loaded) = &loaded {
                    outside.witness.note(&Fact::Loaded(loaded));
                }
                self.core_event(Event::Loaded(entity, loaded.map(Box::new)), outside);
            }
            InNode::Wake(wake) if wake == self.wake => {
                self.wake_at = Millis(0);
                self.core_event(Event::Clock, outside);
            }
            InNode::Wake(_) => {}
        }
        self.measure(outside);
    }

    fn handle_table(&mut self, index: usize, message: ToTable, outside: &mut Outside) {
        if let ToTable::Away(away) = message {
            self.closed[index] = away;
        }
        if let ToTable::Tick { tick, .. } = &message {
            self.stepped[index] = *tick;
            let event = Event::Stepped(self.stepped.into_iter().min().unwrap_or_default());
            outside.later_in_node(self.id, 1, InNode::Core(event));
        }
        let is_tick = matches!(message, ToTable::Tick { .. });
        let mut arrived = Vec::new();
        self.register(index, &message, &mut arrived, outside);
        self.tables[index].handle(message);
        if is_tick {
            self.dilate(index, outside);
        }
        for sector in arrived {
            self.follow(sector, self.fanout.follows(sector), outside);
        }
        self.flush(index, outside);
    }

    /// Has the invariants look at how much waits while the store is away.
    fn measure(&mut self, outside: &mut Outside) {
        let inputs = self.tables.iter().map(Table::waiting).sum();
        if inputs == 0 {
            (self.lost, self.brought) = (0, 0);
        }
        outside.witness.scene.brought = self.brought;
        if !self.core.is_away() {
            return;
        }
        outside.witness.note(&Fact::Waiting(Waiting {
            inputs,
            for_a_load: self.core.waiting_for_a_load(),
            lost: self.lost + self.brought,
        }));
    }

    fn node_time(&mut self, outside: &Outside) -> Millis {
        self.clock.read(outside.wall(), outside.steady()).0
    }

    fn core_event(&mut self, event: Event, outside: &mut Outside) {
        let now = self.node_time(outside);
        let mut events = vec![event];
        if outside.now >= self.disk_checked + 1000 {
            self.disk_checked = outside.now;
            let full = outside.store.free_bytes().is_some();
            if full != self.disk_full {
                self.disk_full = full;
                events.push(Event::DiskFull(full));
            }
        }
        self.core.handle_all(events, now);
        self.run_effects(now, outside);
    }

    fn run_effects(&mut self, now: Millis, outside: &mut Outside) {
        for effect in self.core.drain_effects() {
            self.run_effect(effect, now, outside);
        }
    }

    fn run_effect(&mut self, effect: NodeEffect, now: Millis, outside: &mut Outside) {
        match effect {
            NodeEffect::Commit(commit) => {
                outside.witness.note(&Fact::Sent(&commit));
                self.under_way = Some((commit.clone(), false));
                let usual = outside.random.within(1..=outside.scenario.commit_ms_max);
                let delay = usual + outside.store.draw_delay_ms();
                outside.later_in_node(self.id, delay, InNode::CommitNow(commit));
            }
            NodeEffect::ToTable(index, message) => self.tell_table(index, message, outside),
            NodeEffect::ToTables(message) => {
                if let ToTable::Tick { tick, .. } = message {
                    outside.witness.note(&Fact::Ticked(tick));
                    self.fanout.handle_tick(tick, &outside.world.rules);
                    self.show(outside);
                    self.wake_again(tick, outside);
                }
                (0..TABLES).for_each(|index| self.tell_table(index, message.clone(), outside));
            }
            NodeEffect::ScanOwned => self.read(InNode::ScanOwned, outside),
            NodeEffect::Load(entity, asker, _) => self.read(InNode::Load(entity, asker), outside),
            NodeEffect::ReadNextId => self.read(InNode::ReadNextId, outside),
            // There are never any here: nothing is drawn for it.
            NodeEffect::ReadAttempts => outside.later_in_node(self.id, 1, InNode::ReadAttempts),
            NodeEffect::ReadDue { after, limit } => {
                self.read(InNode::ReadDue(after, limit), outside);
            }
            NodeEffect::ReadAsleep { after } => self.read(InNode::ReadAsleep(after), outside),
            NodeEffect::Dormant(entity) => self.dormant(entity, outside),
            NodeEffect::RowsDone { id, version } => {
                let accepted = version.is_some();
                outside.witness.note(&Fact::RowsDone { id, accepted });
                self.rows_done.push((id, accepted));
            }
            NodeEffect::Ready => {
                self.ready = true;
                outside.witness.note(&Fact::Ready);
            }
            NodeEffect::StoreAway(_) => {}
            NodeEffect::Claiming { may_claim, .. } => {
                self.may_claim = may_claim;
                outside.witness.note(&Fact::Claiming(may_claim));
            }
            NodeEffect::Unloadable(entity, error) => {
                outside.witness.note(&Fact::Never(format!("{entity} is unloadable: {error}")));
            }
            NodeEffect::WakeAt(at) => self.wake_at(at, now, outside),
            NodeEffect::StepDown(error) => {
                self.deposed = true;
                outside.witness.coverage.note("stepped down", 1);
                if !self.fenced {
                    let what = format!("a lone node was deposed: {error}");
                    outside.witness.note(&Fact::Never(what));
                }
            }
            // The rest is for several nodes, which are simulated in `cluster`.
            effect => outside.witness.note(&Fact::Never(format!("{effect:?}"))),
        }
    }

    fn wake_at(&mut self, at: Millis, now: Millis, outside: &mut Outside) {
        if at != self.wake_at {
            self.wake_at = at;
            self.wake += 1;
            outside.later_in_node(self.id, at.since(now).max(1), InNode::Wake(self.wake));
        }
    }

    fn read(&mut self, read: InNode, outside: &mut Outside) {
        let delay = outside.random.within(1..=15);
        outside.later_in_node(self.id, delay, read);
    }

    fn tell_table(&mut self, index: usize, message: ToTable, outside: &mut Outside) {
        outside.send_in_node(self.id, Way::ToTable(index), InNode::ToTable(index, message));
    }

    fn commit(&mut self, commit: &Commit, outside: &mut Outside) {
        let result = if !outside.calm && outside.random.chance(outside.scenario.fenced) {
            self.fenced = true;
            Err(CommitError::Fenced { row: None })
        } else {
            outside.store.commit(commit)
        };
        outside.witness.note_durable(commit);
        if let Some((_, done)) = &mut self.under_way {
            *done = true;
        }
        outside.witness.note(&Fact::Answered(&result));
        // Between durability and the answer the process can be killed.
        let delay = outside.random.below(4);
        outside.later_in_node(self.id, delay, InNode::Core(Event::CommitDone(result)));
    }

    /// What a table has for the core and for clients goes its way.
    fn flush(&mut self, index: usize, outside: &mut Outside) {
        for release in self.tables[index].drain_released() {
            outside.witness.note(&Fact::Released(&release));
            self.note_attached(&release, outside);
            if let Some(left) = self.gateway.orphan(&release) {
                self.lost += 1;
                self.tables[index].leave(left);
            }
            match &release {
                Release::Scene { entity: EntityKey::Sector(sector), scene } => {
                    self.fanout.handle_scene(*sector, scene, &outside.world.rules);
                }
                Release::Step { entity: EntityKey::Sector(sector), delta } => {
                    self.fanout.handle_step(*sector, delta);
                }
                Release::Pace { entity: EntityKey::Sector(sector), percent } => {
                    self.fanout.handle_pace(*sector, *percent);
                }
                Release::Gone { entity: EntityKey::Sector(sector) } => {
                    self.fanout.handle_gone(*sector);
                }
                _ => {}
            }
            if let Some((client, connection, message)) = self.gateway.route(release) {
                outside.send_to_client(client, connection, message);
            }
        }
        self.show(outside);
        let messages: Vec<FromTable> = self.tables[index].drain_core();
        for message in &messages {
            if let FromTable::Dropped { entity, .. } = message {
                let what = format!("a durable record did not fit {entity}");
                outside.witness.note(&Fact::Never(what));
            }
        }
        if !messages.is_empty() {
            let message = InNode::FromTable(messages);
            outside.send_in_node(self.id, Way::FromTable(index), message);
        }
    }

    /// What the fan-out has for clients goes its way.
    fn show(&mut self, outside: &mut Outside) {
        for (connection, shown) in self.fanout.drain_shown() {
            if let Shown::Gone(sector) = shown {
                self.note_gone(connection, EntityKey::Sector(sector), outside);
            }
            if let Some(known) = self.gateway.connections.get(&connection) {
                outside.send_to_client(known.client, connection, ToClient::Shown(shown));
            }
        }
        for (sector, on) in self.fanout.drain_follow() {
            outside.witness.note(&Fact::Followed { sector, on });
            self.follow(sector, on, outside);
        }
    }

    /// A client's request arrives.
    pub fn request(&mut self, connection: u64, request: Request, outside: &mut Outside) {
        self.serve(connection, request, outside);
        self.measure(outside);
    }

    fn serve(&mut self, connection: u64, request: Request, outside: &mut Outside) {
        if let Request::Connect { client, player, resume } = request {
            if !self.gateway.open(connection, client, player) {
                return;
            }
            let connect = Input::Connect(Connect { player, connection, resume });
            return self.propose(outside.world.ledger_of(player), connect, outside);
        }
        let Some(known) = self.gateway.connections.get(&connection) else { return };
        let (client, player) = (known.client, known.player);
        match request {
            Request::Connect { .. } => {}
            Request::Command { entity, sequence, command } => {
                self.take_command(connection, (entity, sequence), command, outside);
            }
            Request::Observe(entity) => {
                let EntityKey::Sector(sector) = entity else { return };
                let watcher = Watcher { group: GroupId::of(player), codec: codec_of(client) };
                self.fanout.observe(sector, connection, watcher, &outside.world.rules);
                if let Some(known) = self.gateway.connections.get_mut(&connection) {
                    known.places.insert(sector);
                }
                self.show(outside);
            }
            Request::Unobserve(entity) => {
                let EntityKey::Sector(sector) = entity else { return };
                self.fanout.unobserve(sector, connection);
                if let Some(known) = self.gateway.connections.get_mut(&connection) {
                    known.places.remove(&sector);
                }
                self.show(outside);
            }
            Request::Close => self.close(connection, outside),
        }
    }

    fn close(&mut self, connection: u64, outside: &mut Outside) {
        let Some(closed) = self.gateway.close(connection) else { return };
        for sector in &closed.places {
            self.fanout.unobserve(*sector, connection);
        }
        self.show(outside);
        if let Some(session) = closed.session {
            self.lost += 1;
            let player = closed.player;
            let left = Input::Left(Left { player, session, connection });
            self.propose(outside.world.ledger_of(player), left, outside);
        }
    }

    /// As the actors do: by the entity's table if it runs, else by the core.
    fn propose(&mut self, entity: EntityKey, input: Input, outside: &mut Outside) {
        let index = self.table_of(entity);
        match self.tables[index].propose(entity, input.clone()) {
            Err(Unavailable::NotHere) => {
                let event = InNode::Core(Event::Propose(entity, input));
                outside.later_in_node(self.id, 1, event);
            }
            Ok(()) => self.flush(index, outside),
            // Nothing was asked; the client tries again.
            Err(Unavailable::Busy) => outside.witness.note(&Fact::Busy("connection busy")),
            Err(_) => {}
        }
    }
}
