//! Promises of the node's kernel that a whole run meets too rarely: a core and
//! one table over a memory store, driven by hand.

mod attaching;
mod attempts;
mod behind;
mod broken;
mod costs;
mod door;
mod keys;
mod misfits;
mod moving;
mod pace;
mod settling;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, PlayerId, SessionId, UnitId};
use starmesh::cluster::core::attaching::{Attachment, Ticket};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{Committed, FromTable, ToTable};
use starmesh::cluster::core::node::{Event, NodeCore, NodeEffect};
use starmesh::cluster::core::places::Tables;
use starmesh::cluster::core::table::{Release, Table};
use starmesh::entity::attempt::Attempt;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError, NodeRow};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::format::FORMATS;
use starmesh::entity::input::{Connect, Input, InputPlace};
use starmesh::entity::read::Query;
use starmesh::entity::{World, keys as names};
use starmesh::sim::rules::sample;
use starmesh::sim::{Command, Galaxy, Instruction, UnitIds};
use starmesh::store::memory::Memory;
use starmesh::store::worlds::Worlds;
use starmesh::store::{Store, recovery};

const NODE: NodeId = NodeId(1);
/// Two for the core; here both are one.
const TABLES: Tables = Tables { common: 1, hot: 1 };

type Change<T> = Box<dyn FnMut(&mut T)>;

/// A node whose time, commits and records are in the test's hands.
struct Node {
    store: Arc<Memory>,
    worlds: Worlds,
    world: Arc<World>,
    core: NodeCore,
    table: Table,
    now: u64,
    wake_at: u64,
    ready: bool,
    /// Commits wait while this is set.
    hold_commits: bool,
    held: Option<Arc<Commit>>,
    /// Changes a record on its way to the table.
    tamper: Option<Change<Committed>>,
    released: Vec<Release>,
    /// Reads so far.
    asked: u64,
    unloadable: Vec<(EntityKey, LoadError)>,
    /// Parked, and not any more.
    resumed: Vec<EntityKey>,
    /// Ends of processes that it stored.
    blamed: Vec<Attempt>,
    set_aside: Vec<(EntityKey, InputPlace)>,
    /// The last installation of each entity.
    generations: BTreeMap<EntityKey, u64>,
    /// Woken and found to be without a record.
    dormant: Vec<EntityKey>,
    commits: Vec<Arc<Commit>>,
    /// What was said of clocks.
    claiming: Vec<bool>,
    /// How far the store's clock is ahead of the node's.
    store_ahead_ms: u64,
    /// Commits wait from this one on.
    hold_after: Option<usize>,
    lose_acks: bool,
    /// The table's ticks are not said to be done.
    lags: bool,
    /// Changes a commit on its way to the store.
    spoil: Option<Change<Commit>>,
    rows_done: Vec<(u64, bool)>,
    /// Whose snapshots are made and not written, and the most there were.
    snapshots: BTreeSet<EntityKey>,
    snapshots_most: usize,
}

impl Node {
    /// A node that will begin its next incarnation on `store`.
    fn new(store: &Arc<Memory>, limits: Limits) -> Node {
        // All three are fixed and valid.
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
        let rules = sample::rules().expect("sample rules");
        let world = Arc::new(World::new(galaxy, 3, rules));
        let row = store.get(&names::row(NODE)).expect("the memory answers");
        let row = row.map(|row| NodeRow::from_bytes(&row.value).expect("a row"));
        let now = store.time().expect("the memory answers").0;
        Node {
            store: store.clone(),
            core: NodeCore::new(NODE, now, row.as_ref(), world.clone(), limits, TABLES)
                .writing(FORMATS.highest),
            table: Table::new(world.clone(), limits, Attachment(now)),
            asked: 0,
            worlds: Worlds::new(world.clone()),
            world,
            now,
            wake_at: 0,
            ready: false,
            hold_commits: false,
            held: None,
            tamper: None,
            released: Vec::new(),
            unloadable: Vec::new(),
            resumed: Vec::new(),
            blamed: Vec::new(),
            set_aside: Vec::new(),
            generations: BTreeMap::new(),
            dormant: Vec::new(),
            commits: Vec::new(),
            claiming: Vec::new(),
            store_ahead_ms: 0,
            hold_after: None,
            lose_acks: false,
            lags: false,
            spoil: None,
            rows_done: Vec::new(),
            snapshots: BTreeSet::new(),
            snapshots_most: 0,
        }
    }

    /// A node that is ready.
    fn ready(store: &Arc<Memory>, limits: Limits) -> Node {
        let mut node = Node::new(store, limits);
        node.event(Event::Clock);
        node.run_until("it is ready", |node| node.ready);
        node
    }

    /// The ledger of `player`, one of the first three, each of whom has its own.
    fn ledger(&self, player: u64) -> EntityKey {
        self.world.ledger_of(PlayerId(player))
    }

    /// The sector that the first player of that ledger begins in.
    fn sector(&self, player: u64) -> EntityKey {
        EntityKey::Sector(self.world.galaxy.start_place(player % self.world.ledger_shards))
    }

    /// Connects a player and waits until it has units; its session.
    fn found(&mut self, player: u64) -> SessionId {
        self.connect(player);
        self.run_until("the player has a session", |node| node.session(player).is_some());
        self.session(player).expect("it has one")
    }

    fn connect(&mut self, player: u64) {
        let connect = Connect { player: PlayerId(player), connection: 1000 + player, resume: None };
        self.event(Event::Propose(self.ledger(player), Input::Connect(connect)));
    }

    /// Has the player's units stop.
    fn stop(player: u64, sequence: u32) -> PlayerCommand {
        // Not more than a command may name.
        let units = UnitIds::new(vec![UnitId(1)]).expect("one unit");
        let (player, session) = (PlayerId(player), SessionId(1));
        PlayerCommand { player, session, sequence, command: Command::new(units, Instruction::Stop) }
    }

    /// What was answered to a command last.
    fn answer(&self, sequence: u32) -> Option<&CommandAnswer> {
        self.released.iter().rev().find_map(|release| match release {
            Release::Player(PlayerEffect::Answered(answer)) if answer.sequence == sequence => {
                Some(answer)
            }
            _ => None,
        })
    }

    /// Sends player 1's command until it is answered; what became of it.
    fn command(&mut self, sequence: u32) -> CommandResult {
        for _ in 0..100 {
            // One that is not taken is sent again.
            if let Some(ticket) = self.attach() {
                let _ = self.table.admit(self.sector(1), ticket, Node::stop(1, sequence));
            }
            self.pump();
            self.run(200);
            if let Some(answer) = self.answer(sequence) {
                return answer.result.clone();
            }
        }
        panic!("command {sequence} was never answered");
    }

    /// Attaches player 1's session to its sector, if it is there and answers
    /// within a second.
    fn attach(&mut self) -> Option<Ticket> {
        self.asked += 1;
        let (asked, entity) = (self.asked, self.sector(1));
        let query = Query::Applied { player: PlayerId(1), session: SessionId(1) };
        self.table.read(asked, entity, &query).ok()?;
        self.pump();
        let until = self.now + 1000;
        loop {
            let answer = self.released.iter().find_map(|release| match release {
                Release::Read { ask, attached, .. } if *ask == asked => *attached,
                _ => None,
            });
            if answer.is_some() || self.now >= until {
                return answer.map(Ticket::first);
            }
            self.run(10);
        }
    }

    fn session(&self, player: u64) -> Option<SessionId> {
        self.released.iter().rev().find_map(|release| match release {
            Release::Player(PlayerEffect::Connected(connected)) => {
                (connected.player.0 == player).then_some(connected.session)
            }
            _ => None,
        })
    }

    fn event(&mut self, event: Event) {
        self.core.handle(event, Millis(self.now));
        self.pump();
    }

    /// Lets that many ms pass.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.now += 10;
            self.store.set_time(Millis(self.now + self.store_ahead_ms));
            if self.now >= self.wake_at {
                self.event(Event::Clock);
            }
        }
    }

    /// Lets time pass until `condition` holds, but not for ever.
    fn run_until(&mut self, what: &str, condition: impl Fn(&Node) -> bool) {
        let until = self.now + 120_000;
        while !condition(self) {
            assert!(self.now < until, "two minutes passed, but not: {what}");
            self.run(10);
        }
    }

    /// Carries out the commit that was held, and those after it.
    fn let_commits_go(&mut self) {
        (self.hold_commits, self.hold_after) = (false, None);
        if let Some(commit) = self.held.take() {
            let done = self.commit(&commit);
            self.event(Event::CommitDone(done));
        }
    }

    fn commit(&mut self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        let mut commit = commit.clone();
        if let Some(spoil) = &mut self.spoil {
            spoil(&mut commit);
        }
        self.store.commit(&commit)
    }

    /// What the head of its snapshot says is in it; 0 without one.
    fn snapshot_of(&self, entity: EntityKey) -> u64 {
        let head = self.store.get(&names::head(entity)).expect("the memory answers");
        let sequence = head.and_then(|head| head.value.first_chunk::<8>().copied());
        sequence.map_or(0, u64::from_be_bytes)
    }

    /// Until nobody has anything for anybody.
    fn pump(&mut self) {
        let mut events: VecDeque<Event> = VecDeque::new();
        loop {
            for effect in self.core.drain_effects() {
                self.run_effect(effect, &mut events);
            }
            self.released.extend(self.table.drain_released());
            for message in self.table.drain_core() {
                if let FromTable::Snapshot { entity, .. } = &message {
                    self.snapshots.insert(*entity);
                    self.snapshots_most = self.snapshots_most.max(self.snapshots.len());
                }
                events.push_back(Event::FromTable(message));
            }
            if events.is_empty() {
                return;
            }
            self.core.handle_all(events.drain(..), Millis(self.now));
        }
    }

    /// What is to be said to the core for it.
    fn tell_table(&mut self, mut message: ToTable) -> Option<Event> {
        let said = match &mut message {
            ToTable::Committed(records) => {
                if let Some(tamper) = &mut self.tamper {
                    records.iter_mut().for_each(tamper);
                }
                None
            }
            ToTable::Install(installed) => {
                self.generations.insert(installed.entity.key(), installed.generation);
                None
            }
            ToTable::SnapshotDone { entity, .. } | ToTable::SnapshotRefused { entity, .. } => {
                self.snapshots.remove(entity);
                None
            }
            ToTable::Tick { tick, .. } if !self.lags => Some(Event::Stepped(*tick)),
            _ => None,
        };
        self.table.handle(message);
        said
    }

    /// What it reads of the store; anything else is given back.
    fn read(&mut self, effect: NodeEffect, events: &mut VecDeque<Event>) -> Option<NodeEffect> {
        match effect {
            NodeEffect::ScanOwned => {
                let entities =
                    recovery::owned_keys(&*self.store, NODE).expect("the memory answers");
                let ended = recovery::ended_of(&*self.store, NODE).expect("the memory answers");
                events.push_back(Event::Owned { entities, ended });
            }
            NodeEffect::Load(entity, asker, _) => {
                let loaded = recovery::load(&*self.store, entity, &self.worlds, asker, None);
                events.push_back(Event::Loaded(entity, loaded.map(Box::new)));
            }
            NodeEffect::ReadNextId => {
                let next = recovery::next_id(&*self.store).expect("the memory answers");
                events.push_back(Event::NextId(next));
            }
            NodeEffect::ReadDue { after, limit } => {
                let due = recovery::due(&*self.store, after.as_deref(), limit);
                events.push_back(Event::Due(due.expect("the memory answers")));
            }
            NodeEffect::ReadAsleep { after } => {
                let page = recovery::asleep(&*self.store, after.as_deref());
                let (page, after) = page.expect("the memory answers");
                let page = page.into_iter().map(|(entity, _)| entity).collect();
                events.push_back(Event::Asleep { page, after });
            }
            NodeEffect::ReadAttempts => {
                let attempts = recovery::attempts(&*self.store).expect("the memory answers");
                events.push_back(Event::Attempts(Some(attempts)));
            }
            NodeEffect::Condemn(entity, asker, why) => {
                let found = recovery::condemn(&*self.store, entity, &self.worlds, asker, why);
                events.push_back(Event::Loaded(entity, found.map(Box::new)));
            }
            NodeEffect::ReadParked => {
                let parked = recovery::parked_keys(&*self.store).expect("the memory answers");
                events.push_back(Event::Parked(Some(parked)));
            }
            effect => return Some(effect),
        }
        None
    }

    fn run_effect(&mut self, effect: NodeEffect, events: &mut VecDeque<Event>) {
        let Some(effect) = self.read(effect, events) else { return };
        match effect {
            NodeEffect::Commit(commit) => {
                self.commits.push(commit.clone());
                let is_late = self.hold_after.is_some_and(|after| self.commits.len() > after);
                if self.hold_commits || is_late {
                    self.held = Some(commit);
                } else {
                    let done = self.commit(&commit);
                    events.push_back(Event::CommitDone(done));
                }
            }
            NodeEffect::ToTable(_, ToTable::Acknowledge(_)) if self.lose_acks => {}
            NodeEffect::ToTable(_, message) | NodeEffect::ToTables(message) => {
                events.extend(self.tell_table(message));
            }
            NodeEffect::Resumed(entity) => self.resumed.push(entity),
            NodeEffect::SetAside(entity, places) => {
                self.set_aside.extend(places.into_iter().map(|place| (entity, place)));
            }
            NodeEffect::Dormant(entity) => self.dormant.push(entity),
            NodeEffect::Ready => self.ready = true,
            NodeEffect::Claiming { may_claim, .. } => self.claiming.push(may_claim),
            NodeEffect::Unloadable(entity, error) => self.unloadable.push((entity, error)),
            NodeEffect::WakeAt(at) => self.wake_at = at.0,
            NodeEffect::RowsDone { id, version } => self.rows_done.push((id, version.is_some())),
            NodeEffect::StoreAway(_) => {}
            NodeEffect::Sign(_) => panic!("it may not sign"),
            NodeEffect::ScanOwned
            | NodeEffect::Load(..)
            | NodeEffect::ReadNextId
            | NodeEffect::ReadDue { .. }
            | NodeEffect::ReadAsleep { .. }
            | NodeEffect::ReadAttempts
            | NodeEffect::Condemn(..)
            | NodeEffect::ReadParked => panic!("it was read"),
            NodeEffect::Blamed(attempt) => self.blamed.push(attempt),
            NodeEffect::OtherHead(..)
            | NodeEffect::ParkedAnywhere(_)
            | NodeEffect::ReadCluster { .. }
            | NodeEffect::ScanOwnedBy(_)
            | NodeEffect::ToNode(..)
            | NodeEffect::Cast(..)
            | NodeEffect::Map(_)
            | NodeEffect::LoadAhead(_)
            | NodeEffect::Passed(..)
            | NodeEffect::Lacks(..)
            | NodeEffect::Elsewhere(..) => panic!("a lone node looked for others"),
            NodeEffect::Mismatch(entity, found) => panic!("{entity}: {found:?}"),
            NodeEffect::StepDown(error) => panic!("deposed: {error}"),
        }
    }
}
