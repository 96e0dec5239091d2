//! Whole clusters: cores and tables of several nodes over one store, and a
//! network between them that is late, loses, doubles and is cut, all on one
//! thread and one clock. The named tests are the situations in which naive
//! designs break; the storm draws from a seed what happens when.
//!
//! | what breaks naive clusters | the test |
//! |---|---|
//! | a unit that crossed in a history that the successor would rewrite | `members::a_unit_that_crosses_does_so_once_whenever_its_owner_dies` |
//! | an idle deposed owner | `members::an_idle_node_that_was_deposed_ends_too` |
//! | a coarse and a finer directory entry | `routes::a_finer_entry_counts_more_than_a_coarser_one` |
//! | a commit whose answer is lost | `store::a_commit_whose_answer_is_lost_counts_once` |
//! | a snapshot by a paused ex-owner | `store::a_snapshot_of_an_owner_that_stood_still_is_refused` |
//! | a unit that turns round at once | `routes::a_unit_that_turns_round_at_once_is_in_one_place` |
//! | channel reordering around a redirect | `routes::what_overtakes_around_a_redirect_is_applied_once_and_in_order` |
//! | two connections of one player | `players::two_connections_of_one_player_leave_one_session_wherever_its_ledger_is` |
//! | a retry after the unit moved | `players::a_retry_after_the_unit_moved_to_another_node_is_answered_as_before` |
//! | a node at 100 % CPU | `slow::*` |
//! | a store away for 30 s | `store::a_store_that_is_away_for_half_a_minute_kills_nobody_and_loses_nothing`, and the next |
//! | mixed logic versions | `versions::mixed_logic_versions_*`, storms |
//! | mixed rules | `logic::mixed_rules_*`, storms |
//! | mixed format versions | `formats::mixed_formats_*` |
//! | clock skew | `slow::nodes_whose_clocks_differ_hand_over_without_a_step_back`, storms |
//! | who looks on while all of this happens | storms: observers at every process (`views`) |
//! | an entity that ends the process of whoever runs it | `attempts::*` |
//! | two observers and the cap on deaths | `members::observers_that_saw_different_nodes_fall_silent_keep_the_cap_together` |

mod attempts;
pub mod audit;
mod balance;
mod broken;
mod clients;
mod datagrams;
mod device;
mod doors;
mod formats;
mod handover;
mod history;
mod judge;
mod keys;
mod logic;
mod members;
mod misplaced;
mod network;
mod node;
mod players;
mod post;
mod roles;
mod routes;
mod shadows;
mod signatures;
mod slow;
mod store;
mod storm;
mod versions;
mod views;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;

use starmesh::base::{
    CompressedPosition, EntityKey, Millis, NodeId, PlayerId, SectorId, SessionId, Tick, UnitId,
};
use starmesh::cluster::core::attaching::Ticket;
use starmesh::cluster::core::directory::{Change, Directory, Edit};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::roles::Roles;
use starmesh::entity::attempt::Attempt;
use starmesh::entity::commands::{CommandResult, PlayerCommand};
use starmesh::entity::input::{Connect, Input};
use starmesh::entity::kinds::Kind;
use starmesh::entity::logics::KnownWorlds;
use starmesh::entity::read::Query;
use starmesh::entity::world::rules_group;
use starmesh::entity::{World, keys as names};
use starmesh::sim::rules::sample;
use starmesh::sim::{Command, Galaxy, Instruction, LOGIC_VERSION, Target, UnitIds};
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use formats::Raises;
use network::Network;
use node::{Build, Node};
use witness::Witness;

use crate::scene::Fact;

/// What the clock counts in.
const STEP_MS: u64 = 10;
/// A node that stops in order and cannot ends all the same.
const PATIENCE_MS: u64 = 4_000;
/// Units of a new player, by the sample rules.
const UNITS: usize = 3;

/// Several nodes that share a store.
struct Cluster {
    store: Arc<Memory>,
    world: Arc<World>,
    /// The same galaxy by other rules.
    later: Arc<World>,
    /// The later rules in a build of the next version of the simulation.
    next: Arc<World>,
    known: KnownWorlds,
    /// What processes of a node run that is started from now on, if not `world`.
    builds: BTreeMap<u32, Arc<World>>,
    /// How far the clocks of such processes are ahead of the store's.
    clocks_ms: BTreeMap<u32, u64>,
    limits: Limits,
    /// What becomes of the format version, in clusters where it may rise.
    formats: Option<Raises>,
    commits_left: usize,
    now: u64,
    /// By id; those that were killed are not in it.
    nodes: BTreeMap<NodeId, Node>,
    network: Network,
    witness: Witness,
    founded: usize,
    /// Whoever brings that entity to that tick ends its process.
    poison: Option<(EntityKey, Tick)>,
    /// Ends of processes by that, and which of them are on which node's disk.
    ended: Vec<Attempt>,
    last_words: BTreeMap<NodeId, Vec<Attempt>>,
    /// Reads asked for so far.
    asked: u64,
}

impl Cluster {
    /// Nodes 1 to `count`, each with its share.
    fn of(count: u32) -> Cluster {
        let mut cluster = Cluster::empty(1);
        (1..=count).for_each(|id| cluster.start(id));
        cluster.run_until("all have their share", |cluster| cluster.is_settled());
        cluster
    }

    /// So many nodes and a border between the first two: where a player begins is the
    /// first's, the sector east of it the second's.
    fn with_border(count: u32) -> (Cluster, SectorId, SectorId) {
        let mut cluster = Cluster::of(count);
        let (_, home) = cluster.found(1);
        let east = home.neighbour(1, 0).expect("a neighbour");
        cluster.assign(EntityKey::Sector(home), 1);
        cluster.assign(EntityKey::Sector(east), 2);
        cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
        (cluster, home, east)
    }

    fn empty(seed: u64) -> Cluster {
        // Both are fixed and valid.
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("a small galaxy");
        let rules = sample::rules().expect("sample rules");
        let world = World::new(galaxy, 3, rules);
        let later = world.with_rules(sample::later_rules().expect("sample rules"));
        let next = Arc::new(later.clone().of_version(LOGIC_VERSION + 1));
        let (world, later) = (Arc::new(world), Arc::new(later));
        let known = KnownWorlds::new(world.clone()).with(later.clone()).with(next.clone());
        // Long enough for an entity to be watched while it moves; and some offers
        // wait while others are loaded.
        let limits = Limits { quiet_ms: 5_000, loads_ahead: 2, ..Limits::default() };
        Cluster {
            known,
            later,
            next,
            builds: BTreeMap::new(),
            clocks_ms: BTreeMap::new(),
            limits,
            formats: None,
            commits_left: usize::MAX,
            store: Arc::new(Memory::new()),
            world,
            now: 1_000_000,
            nodes: BTreeMap::new(),
            network: Network::new(seed),
            witness: Witness::default(),
            founded: 0,
            poison: None,
            ended: Vec::new(),
            last_words: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Starts a process of node `id`, which begins its next incarnation.
    fn start(&mut self, id: u32) {
        self.start_with(id, Roles::default());
    }

    /// The same with these roles.
    fn start_with(&mut self, id: u32, roles: Roles) {
        let world = self.builds.get(&id).unwrap_or(&self.world).clone();
        let Some((formats, begun)) = self.format_for(id) else { return };
        let build = Build {
            world,
            known: self.known.clone(),
            limits: self.limits,
            commits_left: self.commits_left,
            ahead_ms: self.clocks_ms.get(&id).copied().unwrap_or(0),
            formats,
        };
        let mut node = Node::start(NodeId(id), &self.store, &build, self.now);
        let last_words = self.last_words.get(&NodeId(id)).cloned().unwrap_or_default();
        node.core = node.core.with_roles(roles).after(last_words);
        node.poison = self.poison;
        self.witness.processes.insert(NodeId(id), formats::Process::of(&node));
        self.nodes.insert(NodeId(id), node);
        if let Some(group) = begun {
            self.event(id, Event::Rows { id: formats::BEGIN, group });
        }
        let last = self.store.get(names::RULES_LAST).expect("the memory answers");
        let group = rules_group(&build.world.rules, last.map(|last| last.version));
        self.event(id, Event::Rows { id: 0, group });
        self.event(id, Event::MaySign);
    }

    fn kill(&mut self, id: u32) {
        self.nodes.remove(&NodeId(id));
    }

    /// Has a node stop in order: what was admitted becomes durable, then its
    /// incarnation ends, then its process. How long that took.
    fn leave(&mut self, id: u32) -> u64 {
        self.begin_leaving(id);
        self.run_until("it has left", |cluster| !cluster.nodes.contains_key(&NodeId(id)))
    }

    fn begin_leaving(&mut self, id: u32) {
        self.node(id).stopping = Some(self.now);
        self.event(id, Event::Settle);
    }

    /// Those that stop in order end when they are through, or lose patience.
    fn see_off(&mut self) {
        let stopping = |node: &&Node| node.stopping.is_some() && !node.stopped;
        let ids: Vec<u32> = self.nodes.values().filter(stopping).map(|node| node.id.0).collect();
        for id in ids {
            let now = self.now;
            let node = self.node(id);
            let is_late = node.stopping.is_some_and(|since| now > since + PATIENCE_MS);
            let is_settled = node.core.is_settled() && node.core.is_signed();
            let is_over = node.core.is_over();
            if is_late || is_over {
                self.kill(id);
            } else if is_settled {
                self.event(id, Event::Leave);
            }
        }
    }

    /// Nodes that were declared dead, by those that run now.
    fn deaths(&self) -> u64 {
        self.nodes.values().map(|node| node.core.counts().deaths).sum()
    }

    fn node(&mut self, id: u32) -> &mut Node {
        self.nodes.get_mut(&NodeId(id)).expect("it runs")
    }

    fn event(&mut self, id: u32, event: Event) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&NodeId(id)) else { return };
        node.handle(event, now, &mut self.network, &mut self.witness);
        self.bury();
    }

    /// Processes that were deposed have ended.
    fn bury(&mut self) {
        self.note_last_words();
        self.nodes.retain(|_, node| !node.deposed);
    }

    /// Lets that many ms pass.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(STEP_MS) {
            self.now += STEP_MS;
            self.store.set_time(Millis(self.now));
            for (to, process, event) in self.network.due(self.now) {
                let Some(node) = self.nodes.get(&to) else { continue };
                if node.stopped && process.is_some() {
                    // It finds the answer when it goes on.
                    self.network.put(self.now + STEP_MS, (to, process, event));
                } else if process.is_none_or(|process| process == node.core.incarnation()) {
                    self.event(to.0, event);
                }
            }
            self.deliver_datagrams();
            let due = self.nodes.iter().filter(|(_, node)| node.is_due(self.now));
            let due: Vec<u32> = due.map(|(id, _)| id.0).collect();
            for id in due {
                self.event(id, Event::Clock);
            }
            self.see_off();
            self.look_at_formats();
        }
    }

    /// Lets time pass until `condition` holds, but not for ever; how long it took.
    fn run_until(&mut self, what: &str, condition: impl Fn(&Cluster) -> bool) -> u64 {
        let began = self.now;
        while !condition(self) {
            assert!(self.now < began + 120_000, "two minutes passed, but not: {what}");
            self.run(STEP_MS);
        }
        self.now - began
    }

    fn directory(&self) -> Directory {
        let read = recovery::cluster(&*self.store, 0).expect("the memory answers");
        read.directory.unwrap_or_default()
    }

    /// Who runs an entity; `None` when nobody does.
    fn owner(&self, entity: EntityKey) -> Option<NodeId> {
        let runs = |node: &&Node| node.table.entity(entity).is_some();
        let owners: Vec<NodeId> = self.nodes.values().filter(runs).map(|node| node.id).collect();
        owners.first().copied()
    }

    /// Whether everybody knows the same, and each has what belongs to it.
    fn is_settled(&self) -> bool {
        self.unsettled().is_none()
    }

    /// Gives an entity to a node, by an entry of its own.
    fn assign(&mut self, entity: EntityKey, node: u32) {
        self.change(vec![Edit::Assign { entity, node: NodeId(node) }]);
    }

    /// Has the directory changed, as an operator does.
    fn change(&mut self, edits: Vec<Edit>) {
        let by = self.nodes.keys().next().expect("somebody runs").0;
        let before = self.directory().version();
        self.change_by(by, edits);
        self.run_until("the directory changed", |cluster| cluster.directory().version() > before);
    }

    /// Has one node commit that an entity is another's; it may lose.
    fn assign_by(&mut self, by: u32, entity: EntityKey, node: u32) {
        self.change_by(by, vec![Edit::Assign { entity, node: NodeId(node) }]);
    }

    fn change_by(&mut self, by: u32, edits: Vec<Edit>) {
        let seen = self.directory().version();
        let group = Change { seen, edits }.group();
        self.event(by, Event::Rows { id: 1, group });
    }

    fn command(
        &self,
        player: u64,
        sequence: u32,
        unit: UnitId,
        instruction: Instruction,
    ) -> PlayerCommand {
        let (session, _) = self.session(player).expect("a session");
        let units = UnitIds::new(vec![unit]).expect("one unit");
        let command = Command::new(units, instruction);
        PlayerCommand { player: PlayerId(player), session, sequence, command }
    }

    /// The node that an entity belongs to.
    fn home(&self, entity: EntityKey) -> u32 {
        self.directory().node_of(entity).expect("a node").0
    }

    /// Connects a player where its ledger belongs, and waits until it has units;
    /// the session, and the sector they are in.
    fn found(&mut self, player: u64) -> (SessionId, SectorId) {
        let ledger = self.world.ledger_of(PlayerId(player));
        let connect = Connect { player: PlayerId(player), connection: player, resume: None };
        let home = self.home(ledger);
        self.event(home, Event::Propose(ledger, Input::Connect(connect)));
        self.run_until("a session", |cluster| cluster.session(player).is_some());
        self.founded += UNITS;
        self.session(player).expect("it has one")
    }

    fn session(&self, player: u64) -> Option<(SessionId, SectorId)> {
        self.nodes.values().find_map(|node| node.session(player))
    }

    /// Has a unit fly to and fro between where it is and a spot in a sector,
    /// for ever.
    fn patrol(&mut self, player: u64, sequence: u32, unit: UnitId, sector: SectorId) {
        // Not in the middle, where units begin.
        let position = CompressedPosition { x: 1 << 30, y: 1 << 30 };
        let target = Target { sector, position };
        let result = self.order(player, sequence, unit, Instruction::Patrol { target });
        assert!(matches!(result, CommandResult::Done(_)), "{result:?}");
    }

    /// Gives an order where the unit is, until it is answered.
    fn order(
        &mut self,
        player: u64,
        sequence: u32,
        unit: UnitId,
        instruction: Instruction,
    ) -> CommandResult {
        let command = self.command(player, sequence, unit, instruction);
        self.note_commanded(unit, &command);
        for _ in 0..200 {
            if let Some((NodeId(id), place)) = self.place(unit) {
                let entity = EntityKey::Sector(place);
                if let Some(ticket) = self.attach(id, entity, player)
                    && let Some(node) = self.nodes.get_mut(&NodeId(id))
                {
                    // One that is not taken is sent again.
                    let _ = node.table.admit(entity, ticket, command.clone());
                }
                self.event(id, Event::Clock);
                self.run(100);
            }
            let mut nodes = self.nodes.values();
            if let Some(answer) = nodes.find_map(|node| node.answer(player, sequence)) {
                return answer.result.clone();
            }
        }
        panic!("command {sequence} of player {player} was never answered");
    }

    /// It is sent to where the unit is.
    fn note_commanded(&mut self, unit: UnitId, command: &PlayerCommand) {
        if let Some((_, place)) = self.place(unit)
            && let Some(history) = &mut self.witness.history
        {
            let entity = EntityKey::Sector(place);
            history.note(&Fact::Commanded { entity, command });
        }
    }

    /// Attaches a player's session to an entity of a node, if that answers.
    fn attach(&mut self, id: u32, entity: EntityKey, player: u64) -> Option<Ticket> {
        let (session, _) = self.session(player)?;
        self.asked += 1;
        let asked = self.asked;
        let query = Query::Applied { player: PlayerId(player), session };
        self.nodes.get_mut(&NodeId(id))?.table.read(asked, entity, &query).ok()?;
        self.event(id, Event::Clock);
        for _ in 0..100 {
            if let Some(attached) = self.nodes.get(&NodeId(id))?.attached(asked) {
                return Some(Ticket::first(attached));
            }
            self.run(STEP_MS);
        }
        None
    }

    /// Where a unit is that is in no message.
    fn place(&self, unit: UnitId) -> Option<(NodeId, SectorId)> {
        self.nodes.values().find_map(|node| {
            let place = node.table.keys().find_map(|key| {
                let entity = node.table.entity(key)?;
                let (EntityKey::Sector(sector), Kind::Sector(state)) = (key, entity.kind()) else {
                    return None;
                };
                state.state().units().iter().any(|it| it.id == unit).then_some(sector)
            });
            place.map(|place| (node.id, place))
        })
    }

    /// Where in its sector a unit is, in steps from the western border.
    fn position(&self, unit: UnitId) -> Option<(SectorId, i32)> {
        let (node, place) = self.place(unit)?;
        let entity = self.nodes.get(&node)?.table.entity(EntityKey::Sector(place))?;
        let Kind::Sector(sector) = entity.kind() else { return None };
        let unit = sector.state().units().iter().find(|it| it.id == unit)?;
        Some((place, unit.position.x))
    }

    /// Units of a player in a sector, ascending.
    fn units(&self, sector: SectorId) -> Vec<UnitId> {
        let key = EntityKey::Sector(sector);
        let entity = self.nodes.values().find_map(|node| node.table.entity(key));
        let Some(Kind::Sector(state)) = entity.map(|entity| entity.kind()) else {
            return Vec::new();
        };
        state.state().units().iter().map(|unit| unit.id).collect()
    }
}
