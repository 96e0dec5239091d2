//! Promises of the node's kernel that a whole run meets too rarely: a core and
//! one table over a memory store, driven by hand.

mod misfits;

use std::collections::VecDeque;
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, PlayerId, SessionId};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::loading::LoadError;
use starmesh::cluster::core::message::{Committed, ToTable};
use starmesh::cluster::core::node::{Event, NodeCore, NodeEffect};
use starmesh::cluster::core::table::{Release, Table};
use starmesh::entity::commit::{Commit, NodeRow};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::{Connect, Input};
use starmesh::entity::{World, keys};
use starmesh::sim::Galaxy;
use starmesh::sim::rules::sample;
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

const NODE: NodeId = NodeId(1);
const LEDGER: EntityKey = EntityKey::Ledger(0);

/// A node whose time, commits and records are in the test's hands.
struct Node {
    store: Arc<Memory>,
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
    tamper: Option<Box<dyn FnMut(&mut Committed)>>,
    released: Vec<Release>,
    unloadable: Vec<(EntityKey, LoadError)>,
    commits: Vec<Arc<Commit>>,
    /// What was said of clocks.
    claiming: Vec<bool>,
    /// How far the store's clock is ahead of the node's.
    store_ahead_ms: u64,
}

impl Node {
    /// A node that begins its next incarnation on `store`.
    fn start(store: &Arc<Memory>, limits: Limits) -> Node {
        // All three are fixed and valid.
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
        let rules = sample::rules().expect("sample rules");
        let world = Arc::new(World { rules, galaxy, ledger_shards: 1 });
        let row = store.get(&keys::row(NODE)).expect("the memory answers");
        let row = row.map(|row| NodeRow::from_bytes(&row.value).expect("a row"));
        let now = store.time().expect("the memory answers").0;
        let mut node = Node {
            store: store.clone(),
            core: NodeCore::new(NODE, now, row.as_ref(), world.clone(), limits),
            table: Table::new(world.clone(), limits),
            world,
            now,
            wake_at: 0,
            ready: false,
            hold_commits: false,
            held: None,
            tamper: None,
            released: Vec::new(),
            unloadable: Vec::new(),
            commits: Vec::new(),
            claiming: Vec::new(),
            store_ahead_ms: 0,
        };
        node.event(Event::Clock);
        node
    }

    /// A node that is ready.
    fn ready(store: &Arc<Memory>, limits: Limits) -> Node {
        let mut node = Node::start(store, limits);
        node.run_until("it is ready", |node| node.ready);
        node
    }

    /// The first start place: a player who connects first has units there.
    fn sector(&self) -> EntityKey {
        EntityKey::Sector(self.world.galaxy.start_place(0))
    }

    /// Connects a player and waits until it has units; its session.
    fn found(&mut self, player: u64) -> SessionId {
        let connect = Connect { player: PlayerId(player), connection: 1000 + player, resume: None };
        self.event(Event::Propose(LEDGER, Input::Connect(connect)));
        self.run_until("the player has a session", |node| node.session(player).is_some());
        self.session(player).expect("it has one")
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
        self.hold_commits = false;
        if let Some(commit) = self.held.take() {
            let done = self.store.commit(&commit);
            self.event(Event::CommitDone(done));
        }
    }

    /// Until nobody has anything for anybody.
    fn pump(&mut self) {
        let mut events: VecDeque<Event> = VecDeque::new();
        loop {
            for effect in self.core.drain_effects() {
                self.run_effect(effect, &mut events);
            }
            self.released.extend(self.table.drain_released());
            events.extend(self.table.drain_core().into_iter().map(Event::FromTable));
            if events.is_empty() {
                return;
            }
            self.core.handle_all(events.drain(..), Millis(self.now));
        }
    }

    fn run_effect(&mut self, effect: NodeEffect, events: &mut VecDeque<Event>) {
        match effect {
            NodeEffect::Commit(commit) => {
                self.commits.push(commit.clone());
                if self.hold_commits {
                    self.held = Some(commit);
                } else {
                    events.push_back(Event::CommitDone(self.store.commit(&commit)));
                }
            }
            NodeEffect::ToTable(_, message) | NodeEffect::ToTables(message) => {
                self.table.handle(message);
            }
            NodeEffect::Committed(mut records) => {
                if let Some(tamper) = &mut self.tamper {
                    records.iter_mut().for_each(tamper);
                }
                self.table.handle(ToTable::Committed(records));
            }
            NodeEffect::ScanOwned => {
                let entities = recovery::owned(&*self.store, NODE).expect("the memory answers");
                let ended = recovery::ended_of(&*self.store, NODE).expect("the memory answers");
                events.push_back(Event::Owned { entities, ended });
            }
            NodeEffect::Load(entity, asker) => {
                let loaded = recovery::load(&*self.store, entity, &self.world, asker);
                events.push_back(Event::Loaded(entity, loaded.map(Box::new)));
            }
            NodeEffect::ReadNextId => {
                let next = recovery::next_id(&*self.store).expect("the memory answers");
                events.push_back(Event::NextId(next));
            }
            NodeEffect::Ready => self.ready = true,
            NodeEffect::Claiming { may_claim, .. } => self.claiming.push(may_claim),
            NodeEffect::Unloadable(entity, error) => self.unloadable.push((entity, error)),
            NodeEffect::WakeAt(at) => self.wake_at = at.0,
            NodeEffect::RowsDone { .. } | NodeEffect::StoreAway(_) => {}
            NodeEffect::Mismatch(entity, found) => panic!("{entity}: {found:?}"),
            NodeEffect::StepDown(error) => panic!("deposed: {error}"),
        }
    }
}
