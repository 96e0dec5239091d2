//! A second process with the same node id begins while the first is paused,
//! wherever that is. When the first goes on nothing it does becomes durable,
//! it shows nothing that the second does not have, and it steps down soon,
//! also when it is idle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use starmesh::base::{EntityKey, Millis, NodeId, PlayerId, Tick};
use starmesh::cluster::core::attaching::Attachment;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::ToTable;
use starmesh::cluster::core::node::{Event, NodeCore, NodeEffect};
use starmesh::cluster::core::places::Tables;
use starmesh::cluster::core::table::{Release, Table};
use starmesh::entity::commit::{Commit, NodeRow};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::format::FORMATS;
use starmesh::entity::input::{Connect, Input};
use starmesh::entity::kinds::Kind;
use starmesh::entity::{World, keys};
use starmesh::sim::Galaxy;
use starmesh::sim::rules::sample;
use starmesh::store::memory::Memory;
use starmesh::store::worlds::Worlds;
use starmesh::store::{Store, recovery};

const NODE: NodeId = NodeId(1);
const PLAYER: PlayerId = PlayerId(1);
/// So late at most has a process stepped down that was paused.
const STEPS_DOWN_MS: u64 = 300;

/// A process whose threads take turns.
struct Node<'a> {
    store: &'a Memory,
    world: Arc<World>,
    worlds: Worlds,
    core: NodeCore,
    table: Table,
    now: u64,
    events: VecDeque<Event>,
    under_way: Option<Arc<Commit>>,
    ready: bool,
    deposed: bool,
    released: Vec<Release>,
    /// Where each entity was taken up.
    loaded: BTreeMap<EntityKey, Tick>,
}

fn row(store: &Memory) -> Option<NodeRow> {
    let row = store.get(&keys::row(NODE)).expect("the store answers");
    row.map(|row| NodeRow::from_bytes(&row.value).expect("a row"))
}

impl<'a> Node<'a> {
    fn start(store: &'a Memory, world: &Arc<World>, nonce: u64, now: u64) -> Node<'a> {
        let limits = Limits::default();
        Node {
            store,
            world: world.clone(),
            worlds: Worlds::new(world.clone()),
            core: NodeCore::new(
                NODE,
                nonce,
                row(store).as_ref(),
                world.clone(),
                limits,
                Tables::ONE,
            )
            .writing(FORMATS.highest),
            table: Table::new(world.clone(), limits, Attachment(nonce)),
            now,
            events: VecDeque::new(),
            under_way: None,
            ready: false,
            deposed: false,
            released: Vec::new(),
            loaded: BTreeMap::new(),
        }
    }

    /// One thing happens: an event arrives, or else the store's thread commits,
    /// or else 20 ms pass.
    fn turn(&mut self) {
        self.store.set_time(Millis(self.now));
        let event = if let Some(event) = self.events.pop_front() {
            event
        } else if let Some(commit) = self.under_way.take() {
            let done = Event::CommitDone(self.store.commit(&commit));
            return self.events.push_back(done);
        } else {
            self.now += 20;
            Event::Clock
        };
        self.core.handle(event, Millis(self.now));
        self.run_effects();
    }

    fn run_effects(&mut self) {
        for effect in self.core.drain_effects() {
            assert!(!self.deposed, "{effect:?} after stepping down");
            match effect {
                NodeEffect::Commit(commit) => self.under_way = Some(commit),
                NodeEffect::ToTable(_, message) | NodeEffect::ToTables(message) => {
                    if let ToTable::Tick { tick, .. } = message {
                        self.events.push_back(Event::Stepped(tick));
                    }
                    self.table.handle(message);
                }
                NodeEffect::ScanOwned => {
                    let entities =
                        recovery::owned_keys(self.store, NODE).expect("the store answers");
                    let ended = recovery::ended_of(self.store, NODE).expect("the store answers");
                    self.events.push_back(Event::Owned { entities, ended });
                }
                NodeEffect::Load(entity, asker, _) => {
                    let loaded = recovery::load(self.store, entity, &self.worlds, asker, None);
                    if let Ok(loaded) = &loaded {
                        self.loaded.insert(entity, loaded.entity.tick());
                    }
                    self.events.push_back(Event::Loaded(entity, loaded.map(Box::new)));
                }
                NodeEffect::ReadNextId => {
                    let next = recovery::next_id(self.store).expect("the store answers");
                    self.events.push_back(Event::NextId(next));
                }
                NodeEffect::ReadAttempts => {
                    self.events.push_back(Event::Attempts(Some(Vec::new())))
                }
                // Nothing hibernates in so short a run.
                NodeEffect::ReadDue { .. } | NodeEffect::ReadAsleep { .. } => {}
                NodeEffect::Dormant(_) => panic!("{effect:?}"),
                NodeEffect::Ready => self.ready = true,
                NodeEffect::StepDown(_) => self.deposed = true,
                NodeEffect::RowsDone { .. } | NodeEffect::StoreAway(_) | NodeEffect::WakeAt(_) => {}
                NodeEffect::Claiming { may_claim, .. } => assert!(may_claim, "clocks agree"),
                // The claims of the process that took over are open.
                NodeEffect::Unloadable(..) => {}
                NodeEffect::Mismatch(..)
                | NodeEffect::ReadParked
                | NodeEffect::ParkedAnywhere(_)
                | NodeEffect::Condemn(..)
                | NodeEffect::Blamed(_)
                | NodeEffect::Resumed(_)
                | NodeEffect::SetAside(..)
                | NodeEffect::Sign(_)
                | NodeEffect::OtherHead(..)
                | NodeEffect::ReadCluster { .. }
                | NodeEffect::ScanOwnedBy(_)
                | NodeEffect::ToNode(..)
                | NodeEffect::Cast(..)
                | NodeEffect::Map(_)
                | NodeEffect::LoadAhead(_)
                | NodeEffect::Passed(..)
                | NodeEffect::Lacks(..)
                | NodeEffect::Elsewhere(..) => panic!("{effect:?}"),
            }
        }
        self.events.extend(self.table.drain_core().into_iter().map(Event::FromTable));
        self.released.extend(self.table.drain_released());
    }

    /// A player comes and watches where its units are.
    fn be_busy(&mut self) {
        let connect = Connect { player: PLAYER, connection: 1, resume: None };
        let ledger = self.world.ledger_of(PLAYER);
        self.events.push_back(Event::Propose(ledger, Input::Connect(connect)));
    }

    fn watch(&mut self) {
        let keys: Vec<EntityKey> = self.table.keys().collect();
        // All of it each time, so that there is always something to show.
        for key in keys {
            // Not here: then there is nothing to show.
            let _ = self.table.follow(key);
        }
    }

    /// Whether what `old` showed is what this one goes on from.
    fn has(&self, release: &Release) -> bool {
        match release {
            Release::Scene { entity, scene } => {
                self.loaded.get(entity).is_some_and(|tick| scene.tick <= *tick)
            }
            Release::Step { entity, delta } => {
                self.loaded.get(entity).is_some_and(|tick| delta.tick <= *tick)
            }
            Release::Player(PlayerEffect::Connected(connected)) => {
                let ledger = self.table.entity(self.world.ledger_of(PLAYER));
                ledger.is_some_and(|ledger| match ledger.kind() {
                    Kind::Ledger(ledger) => ledger.session(PLAYER) == Some(connected.session),
                    Kind::Board(_) | Kind::Sector(_) => false,
                })
            }
            _ => true,
        }
    }
}

/// Lets a process run for `turns`, begins a second one, and lets the first go
/// on; how much the first showed after that.
fn run(turns: u64, busy: bool) -> usize {
    let store = Memory::new();
    let rules = sample::rules().expect("sample rules");
    let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
    let world = Arc::new(World::new(galaxy, 1, rules));
    let mut old = Node::start(&store, &world, 1, 0);
    if busy {
        old.be_busy();
    }
    for _ in 0..turns {
        old.turn();
        old.watch();
    }
    old.released.clear();

    let mut new = Node::start(&store, &world, 2, old.now);
    (0..100).for_each(|_| new.turn());
    assert!(new.ready && !new.deposed, "the second process does not run");

    let resumed = old.now;
    while !old.deposed {
        old.turn();
        let late = old.now - resumed;
        assert!(late <= STEPS_DOWN_MS, "{turns} turns, busy {busy}: it still runs after {late} ms");
    }
    (0..50).for_each(|_| old.turn());
    for release in &old.released {
        assert!(new.has(release), "{turns} turns, busy {busy}: {release:?}");
    }
    (0..50).for_each(|_| new.turn());
    assert!(!new.deposed, "the second process was deposed by the first");
    assert_eq!(row(&store).map(|row| row.nonce), Some(2));
    old.released.len()
}

#[test]
fn a_paused_process_steps_down_when_it_goes_on_and_another_has_begun() {
    let shown: usize = (0..200).map(|turns| run(turns, true)).sum();
    // Else nobody looked at what it shows.
    assert!(shown > 0);
}

#[test]
fn an_idle_one_steps_down_too() {
    for turns in 0..60 {
        run(turns, false);
    }
}
