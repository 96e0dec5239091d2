//! Owns one process of a node in a cluster: its core and one table, over the
//! store that all share. What it says to others goes to the network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, PlayerId, SectorId, SessionId, Tick};
use starmesh::cluster::core::attaching::Attachment;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::{Ahead, Asker, LoadError, Loaded};
use starmesh::cluster::core::map::Map;
use starmesh::cluster::core::message::{NodeBody, ToTable};
use starmesh::cluster::core::node::{Event, NodeCore, NodeEffect};
use starmesh::cluster::core::places::Tables;
use starmesh::cluster::core::table::{Release, Table};
use starmesh::entity::attempt::Attempt;
use starmesh::entity::audit::{Head, Statement};
use starmesh::entity::commands::CommandAnswer;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError, NodeRow};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::format::Formats;
use starmesh::entity::logics::KnownWorlds;
use starmesh::entity::workplace::Work;
use starmesh::entity::{Entity, World, keys};
use starmesh::store::memory::Memory;
use starmesh::store::worlds::Worlds;
use starmesh::store::{Store, recovery};

use super::network::Network;
use super::witness::Witness;
use super::{audit, datagrams, formats, judge, logic, signatures};

/// Whatever an event leads to at once ends.
const TURNS_MAX: u32 = 10_000;

/// What a process runs.
#[derive(Clone)]
pub struct Build {
    pub world: Arc<World>,
    /// All the worlds that any process of the cluster may run.
    pub known: KnownWorlds,
    pub limits: Limits,
    /// So many commits of a process reach the store before one does not.
    pub commits_left: usize,
    /// How far its clock is ahead of the store's.
    pub ahead_ms: u64,
    /// The format versions that it reads, and what it finds to be written.
    pub formats: (Formats, u16),
}

pub struct Node {
    pub id: NodeId,
    store: Arc<Memory>,
    worlds: Worlds,
    /// What judges replay by.
    known: KnownWorlds,
    pub core: NodeCore,
    pub table: Table,
    /// The format versions that it reads.
    pub reads: Formats,
    /// What it began with was accepted.
    pub has_begun: bool,
    wake_at: u64,
    ahead_ms: u64,
    pub ready: bool,
    pub deposed: bool,
    /// The process stands still, as one that was stopped by a signal.
    pub stopped: bool,
    /// It stops in order, since then.
    pub stopping: Option<u64>,
    /// Commits wait on their way to the store.
    pub hold_commits: bool,
    commits_left: usize,
    held: Option<Arc<Commit>>,
    /// The commit of whose outcome it was not told.
    unknown: Option<Arc<Commit>>,
    /// Whose row was not as that node had told.
    pub other_heads: Vec<(NodeId, Head)>,
    /// Whoever signs for it answers nothing.
    pub mute: bool,
    /// Whoever signs for it says so often that it cannot.
    pub sign_failures: u32,
    /// The store does not answer this process.
    pub away: bool,
    /// The store takes commits, but this process does not hear of it.
    pub lose_answers: bool,
    /// What it asked the store and asks again until that answers.
    retried: Vec<NodeEffect>,
    /// Its table does not say what it has done.
    pub lags: bool,
    stepped: Tick,
    /// What it takes to load a whole entity; the end of a journal takes nothing.
    pub slow_loads_ms: u64,
    /// What whoever woke an entity was told: that it runs here, or where else.
    pub woken: Vec<(EntityKey, Option<NodeId>)>,
    /// What was to be woken and does not run here: it has no record, or is that node's.
    pub unawakened: Vec<(EntityKey, Option<NodeId>)>,
    /// The cluster as its core last said that it is.
    pub map: Option<Map>,
    pub released: Vec<Release>,
    pub unloadable: Vec<(EntityKey, LoadError)>,
    /// Whoever brings that entity to that tick ends its process.
    pub poison: Option<(EntityKey, Tick)>,
    /// What the process was at when it ended by that.
    pub ended_by: Option<Work>,
    /// What is parked anywhere, as its core last said.
    pub parked: Vec<EntityKey>,
    /// Ends of processes that it stored.
    pub blamed: Vec<Attempt>,
    /// The last installation of each entity.
    pub generations: BTreeMap<EntityKey, u64>,
}

impl Node {
    pub fn start(id: NodeId, store: &Arc<Memory>, build: &Build, now: u64) -> Node {
        let Build { world, known, limits, commits_left, ahead_ms, formats } = build;
        let row = store.get(&keys::row(id)).expect("the memory answers");
        let row = row.map(|row| NodeRow::from_bytes(&row.value).expect("a row"));
        let core =
            NodeCore::new(id, now + ahead_ms, row.as_ref(), world.clone(), *limits, Tables::ONE);
        Node {
            id,
            store: store.clone(),
            worlds: Worlds::new(world.clone()),
            known: known.clone(),
            core: core.in_cluster().writing(formats.1),
            reads: formats.0,
            has_begun: false,
            table: Table::new(world.clone(), *limits, Attachment(now << 16)),
            wake_at: 0,
            ahead_ms: *ahead_ms,
            ready: false,
            deposed: false,
            stopped: false,
            stopping: None,
            hold_commits: false,
            commits_left: *commits_left,
            held: None,
            unknown: None,
            other_heads: Vec::new(),
            mute: false,
            sign_failures: 0,
            away: false,
            lose_answers: false,
            retried: Vec::new(),
            lags: false,
            stepped: Tick(0),
            slow_loads_ms: 0,
            woken: Vec::new(),
            unawakened: Vec::new(),
            map: None,
            released: Vec::new(),
            unloadable: Vec::new(),
            poison: None,
            ended_by: None,
            parked: Vec::new(),
            blamed: Vec::new(),
            generations: BTreeMap::new(),
        }
    }

    pub fn is_due(&self, now: u64) -> bool {
        !self.stopped && now + self.ahead_ms >= self.wake_at
    }

    /// The newest session given to a player, and where its units are.
    pub fn session(&self, player: u64) -> Option<(SessionId, SectorId)> {
        self.released.iter().rev().find_map(|release| match release {
            Release::Player(PlayerEffect::Connected(it)) if it.player == PlayerId(player) => {
                Some((it.session, it.presence.first()?.sector))
            }
            _ => None,
        })
    }

    /// The name of the attachment that a read gave.
    pub fn attached(&self, asked: u64) -> Option<Attachment> {
        self.released.iter().rev().find_map(|release| match release {
            Release::Read { ask, attached, .. } if *ask == asked => *attached,
            _ => None,
        })
    }

    pub fn answer(&self, player: u64, sequence: u32) -> Option<&CommandAnswer> {
        self.released.iter().rev().find_map(|release| match release {
            Release::Player(PlayerEffect::Answered(answer))
                if (answer.player, answer.sequence) == (PlayerId(player), sequence) =>
            {
                Some(answer)
            }
            _ => None,
        })
    }

    /// So many more commits reach the store.
    pub fn let_commits(&mut self, count: usize) {
        self.commits_left = count;
    }

    /// Whether a commit is on its way and does not get there.
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Carries out the commit that was held, and those after it.
    pub fn let_commits_go(&mut self) -> Event {
        self.hold_commits = false;
        match self.held.take() {
            Some(commit) => Event::CommitDone(self.store.commit(&commit)),
            None => Event::Clock,
        }
    }

    /// Whether the commit that is held puts this key.
    pub fn holds(&self, key: &[u8]) -> bool {
        let groups = self.held.iter().flat_map(|commit| &commit.groups);
        groups.flat_map(|group| &group.puts).any(|put| put.key == key)
    }

    /// Its table has caught up.
    pub fn catch_up(&mut self) -> Event {
        self.lags = false;
        Event::Stepped(self.stepped)
    }

    /// Until nobody here has anything for anybody.
    pub fn handle(&mut self, event: Event, now: u64, network: &mut Network, witness: &mut Witness) {
        if self.stopped || self.deposed {
            return;
        }
        let mut events = VecDeque::from([event]);
        if !self.away {
            for effect in std::mem::take(&mut self.retried) {
                self.run_effect(effect, now, &mut events, network, witness);
            }
        }
        for turn in 0.. {
            if events.is_empty() {
                return;
            }
            assert!(turn < TURNS_MAX, "{events:?} came of itself again and again");
            self.core.handle_all(events.drain(..), Millis(now + self.ahead_ms));
            for effect in self.core.drain_effects() {
                formats::check_read(&self.store, self, &effect);
                self.run_effect(effect, now, &mut events, network, witness);
                if self.ended_by.is_some() {
                    return;
                }
            }
            self.note_released(witness);
            events.extend(self.table.drain_core().into_iter().map(Event::FromTable));
        }
    }

    fn note_released(&mut self, witness: &mut Witness) {
        for release in self.table.drain_released() {
            let shown = match &release {
                Release::Scene { entity, scene } => Some((*entity, scene.tick.0)),
                Release::Step { entity, delta } => Some((*entity, delta.tick.0)),
                _ => None,
            };
            if let Some((entity, tick)) = shown {
                witness.note_seen(entity, tick);
            }
            witness.note_said(self.id, &release);
            witness.note_shown(self.id, self.core.incarnation(), &release);
            self.released.push(release);
        }
    }

    /// What it hears of a commit, which is judged when the store takes it.
    fn commit(
        &mut self,
        commit: &Commit,
        now: u64,
        witness: &mut Witness,
    ) -> Result<CommitAnswer, CommitError> {
        self.commits_left -= 1;
        let store = &*self.store;
        let done = store.commit(commit);
        if witness.note_commit(store, commit, &done, now) {
            logic::check_records(store, self.worlds.own(), commit, &done);
            formats::check_written(store, commit, &done, &mut witness.processes);
        }
        audit::check_entries(commit).unwrap_or_else(|why| panic!("{why}"));
        if self.lose_answers { Err(unknown()) } else { done }
    }

    fn run_effect(
        &mut self,
        effect: NodeEffect,
        now: u64,
        events: &mut VecDeque<Event>,
        network: &mut Network,
        witness: &mut Witness,
    ) {
        let process = (self.id, self.core.incarnation());
        self.check_repeated(&effect);
        let effect = match self.away {
            true => self.without_store(effect, now, network),
            false => Some(effect),
        };
        let (Some(effect), store) = (effect, &*self.store) else { return };
        match effect {
            NodeEffect::Commit(commit) if self.hold_commits || self.commits_left == 0 => {
                self.held = Some(commit);
            }
            NodeEffect::Commit(commit) => {
                let done = self.commit(&commit, now, witness);
                self.unknown = matches!(done, Err(CommitError::Unknown(_))).then_some(commit);
                events.extend(network.answer(now, process, Event::CommitDone(done)));
            }
            NodeEffect::ToTable(_, message) | NodeEffect::ToTables(message) => {
                self.tell_table(message, events);
            }
            NodeEffect::ScanOwnedBy(node) => {
                let entities = recovery::owned(store, node).ok();
                events.extend(network.answer(now, process, Event::OwnedBy { node, entities }));
            }
            NodeEffect::ReadCluster { version } => {
                let read = Event::Cluster(recovery::cluster(store, version).ok().map(Box::new));
                events.extend(network.answer(now, process, read));
            }
            NodeEffect::ToNode(to, message) => {
                if let NodeBody::Deliver(message) = &message.body {
                    judge::check_sent(store, &self.known, message);
                }
                network.send(now, (self.id, self.core.incarnation()), to, message);
            }
            NodeEffect::Cast(to, cast) => {
                datagrams::check_cast(store, self, &cast);
                network.cast(now, self.core.caster(), self.map.as_ref(), to, &cast);
            }
            NodeEffect::Sign(_) if self.mute => {}
            NodeEffect::Sign(statement) => {
                let signed = self.sign(statement);
                events.extend(network.answer(now, process, signed));
            }
            NodeEffect::LoadAhead(entity) => {
                let ahead = recovery::load_ahead(store, entity, &self.worlds);
                let ahead = Event::LoadedAhead(entity, ahead.map(Box::new));
                let at = now + self.slow_loads_ms.max(1);
                network.put(at, (process.0, Some(process.1), ahead));
            }
            NodeEffect::Load(entity, asker, ahead) => {
                let Some(loaded) = self.load(entity, asker, ahead) else { return };
                if is_whole(&loaded) && self.slow_loads_ms > 0 {
                    let loaded = Event::Loaded(entity, loaded.map(Box::new));
                    let at = now + self.slow_loads_ms;
                    return network.put(at, (process.0, Some(process.1), loaded));
                }
                let loaded = Event::Loaded(entity, loaded.map(Box::new));
                events.extend(network.answer(now, process, loaded));
            }
            effect => self.run_more(effect, events),
        }
    }

    /// What its loader finds; `None` when that ends the process.
    fn load(
        &mut self,
        entity: EntityKey,
        asker: Asker,
        ahead: Option<Box<Ahead>>,
    ) -> Option<Result<Loaded, LoadError>> {
        let ahead = ahead.map(|ahead| *ahead);
        let loaded = recovery::load(&*self.store, entity, &self.worlds, asker, ahead);
        let brought = loaded.as_ref().ok().map(|loaded| &loaded.entity);
        self.ended_by = brought.and_then(|entity| ended_by(self.poison, entity));
        if self.ended_by.is_some() {
            return None;
        }
        logic::check_loaded(&self.store, self.worlds.own(), entity, &loaded);
        Some(loaded)
    }

    /// Behind an unknown outcome come the same bytes.
    fn check_repeated(&mut self, effect: &NodeEffect) {
        if let NodeEffect::Commit(commit) = effect
            && let Some(before) = self.unknown.take()
        {
            assert_eq!(*commit, before, "7: another commit, and that one's outcome is unknown");
        }
    }

    fn sign(&mut self, statement: Statement) -> Event {
        let is_signed = self.sign_failures == 0;
        self.sign_failures = self.sign_failures.saturating_sub(1);
        let signature = is_signed.then(|| signatures::sign(statement));
        Event::Signed { statement, signature }
    }

    /// What becomes of what is asked of a store that does not answer: a little later
    /// that is known. Gives back what is asked of no store.
    fn without_store(
        &mut self,
        effect: NodeEffect,
        now: u64,
        network: &mut Network,
    ) -> Option<NodeEffect> {
        let error = || LoadError::Store("away".into());
        let event = match effect {
            NodeEffect::Commit(commit) => {
                self.unknown = Some(commit);
                Event::CommitDone(Err(unknown()))
            }
            NodeEffect::ReadCluster { .. } => Event::Cluster(None),
            NodeEffect::ScanOwnedBy(node) => Event::OwnedBy { node, entities: None },
            NodeEffect::Load(entity, ..) => Event::Loaded(entity, Err(error())),
            NodeEffect::LoadAhead(entity) => Event::LoadedAhead(entity, Err(error())),
            NodeEffect::ReadDue { .. } => Event::Due(Vec::new()),
            NodeEffect::ReadParked => Event::Parked(None),
            NodeEffect::ReadAttempts => Event::Attempts(None),
            NodeEffect::ScanOwned | NodeEffect::ReadNextId | NodeEffect::ReadAsleep { .. } => {
                self.retried.push(effect);
                return None;
            }
            effect => return Some(effect),
        };
        network.put(now + 10, (self.id, Some(self.core.incarnation()), event));
        None
    }

    /// What is answered at once, and what is only noted.
    fn run_more(&mut self, effect: NodeEffect, events: &mut VecDeque<Event>) {
        let (store, answers) = (&*self.store, "the memory answers");
        match effect {
            NodeEffect::ScanOwned => {
                let entities = recovery::owned_keys(store, self.id).expect(answers);
                let ended = recovery::ended_of(store, self.id).expect(answers);
                events.push_back(Event::Owned { entities, ended });
            }
            NodeEffect::ReadNextId => {
                events.push_back(Event::NextId(recovery::next_id(store).expect(answers)));
            }
            NodeEffect::ReadDue { after, limit } => {
                let due = recovery::due(store, after.as_deref(), limit).expect(answers);
                events.push_back(Event::Due(due));
            }
            NodeEffect::ReadAsleep { after } => {
                let (page, after) = recovery::asleep(store, after.as_deref()).expect(answers);
                let page = page.into_iter().map(|(entity, _)| entity).collect();
                events.push_back(Event::Asleep { page, after });
            }
            NodeEffect::Condemn(entity, asker, why) => {
                let found = recovery::condemn(store, entity, &self.worlds, asker, why);
                events.push_back(Event::Loaded(entity, found.map(Box::new)));
            }
            NodeEffect::ReadAttempts => {
                let attempts = recovery::attempts(store).expect(answers);
                events.push_back(Event::Attempts(Some(attempts)));
            }
            NodeEffect::ReadParked => {
                let parked = recovery::parked_keys(store).expect(answers);
                events.push_back(Event::Parked(Some(parked)));
            }
            NodeEffect::RowsDone { id: formats::BEGIN, version } => match version {
                Some(_) => self.has_begun = true,
                None => self.deposed = true,
            },
            NodeEffect::Ready => self.ready = true,
            NodeEffect::Unloadable(entity, error) => self.unloadable.push((entity, error)),
            NodeEffect::WakeAt(at) => self.wake_at = at.0,
            NodeEffect::StepDown(_) => self.deposed = true,
            NodeEffect::Mismatch(entity, found) => panic!("4: {entity}: {found:?}"),
            NodeEffect::OtherHead(node, told) => self.other_heads.push((node, told)),
            NodeEffect::Elsewhere(entity, node) => {
                self.woken.push((entity, Some(node)));
                self.unawakened.push((entity, Some(node)));
            }
            NodeEffect::Blamed(attempt) => self.blamed.push(attempt),
            NodeEffect::ParkedAnywhere(parked) => self.parked = parked,
            NodeEffect::Dormant(entity) => self.unawakened.push((entity, None)),
            NodeEffect::Map(map) => self.map = Some(map),
            // What only shells are told.
            _ => {}
        }
    }

    fn tell_table(&mut self, message: ToTable, events: &mut VecDeque<Event>) {
        match &message {
            ToTable::Tick { tick, .. } => {
                self.stepped = *tick;
                events.extend((!self.lags).then_some(Event::Stepped(*tick)));
            }
            ToTable::Install(installed) => {
                self.generations.insert(installed.entity.key(), installed.generation);
            }
            ToTable::Awake(entity) => self.woken.push((*entity, None)),
            _ => {}
        }
        self.table.handle(message);
        let entity = self.poison.and_then(|(key, _)| self.table.entity(key));
        self.ended_by = entity.and_then(|entity| ended_by(self.poison, entity));
    }
}

/// What a process is at that ends because of that entity, if it does.
fn ended_by(poison: Option<(EntityKey, Tick)>, entity: &Entity) -> Option<Work> {
    let (key, tick) = (entity.key(), entity.tick());
    let (poison, at) = poison?;
    (key == poison && tick >= at).then_some(Work { entity: key, tick })
}

/// Whether all of it was read, only to find out perhaps that it is another's.
fn is_whole(loaded: &Result<Loaded, LoadError>) -> bool {
    match loaded {
        Ok(loaded) => !loaded.was_ahead,
        Err(error) => matches!(error, LoadError::Owned { .. }),
    }
}

fn unknown() -> CommitError {
    CommitError::Unknown("no answer".into())
}
