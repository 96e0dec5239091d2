//! Owns the views of a cluster's processes in storms, the links between them, and
//! observers who look at sectors through any of them. A link keeps order, is full at
//! times, and loses what is on it when it breaks. Never does anything to a core but
//! wake what is looked at. What observers rebuild the invariants of the one-node
//! simulator judge (27, 29, and 28 as far as cells go).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use starmesh::base::{EntityKey, Incarnation, NodeId, PlayerId, SectorId, UnitId};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Release;
use starmesh::view::CellsView;
use starmesh::view::fanout::{Packet, Shown, Watcher};
use starmesh::view::fog::Mask;
use starmesh::view::peers::{Exchange, Place, ViewMessage};
use starmesh::view::stage::GroupId;

use super::Cluster;
use crate::process::codec_of;
use crate::random::Random;
use crate::scene::{Fact, Seen};

/// A view looks after its sectors this often.
const TICK_MS: u64 = 100;
/// What is awaited is woken again after so many of these.
const WAKE_TICKS: u64 = 20;
/// Messages that a link takes before it is full.
const LINK_MAX: usize = 20;
/// Observers at each process.
const OBSERVERS: usize = 2;
/// Places that one looks at.
const PLACES_MAX: usize = 3;

/// The links between views.
struct Links {
    random: Random,
    now: u64,
    late_ms: u64,
    up: BTreeSet<(NodeId, NodeId)>,
    queues: BTreeMap<(NodeId, NodeId), VecDeque<(u64, ViewMessage)>>,
}

/// The view of one process.
struct View {
    incarnation: Incarnation,
    exchange: Exchange,
    /// Sectors that run here.
    running: BTreeSet<SectorId>,
    /// Followed, and they do not run here.
    awaited: BTreeSet<SectorId>,
    observers: BTreeMap<u64, Observer>,
    ticks: u64,
}

struct Observer {
    player: PlayerId,
    places: BTreeMap<SectorId, Looked>,
}

#[derive(Default)]
struct Looked {
    view: CellsView,
    /// Something came since faults ended.
    fresh: bool,
}

/// All views of a cluster.
pub struct Views {
    random: Random,
    views: BTreeMap<NodeId, View>,
    links: RefCell<Links>,
    connections: u64,
    ticked: u64,
    calm: bool,
    /// Packets that observers took of sectors that ran at another node.
    pub from_afar: u64,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Links {
    /// Whether it took the message.
    fn send(&mut self, from: NodeId, to: NodeId, message: ViewMessage) -> bool {
        let at = self.now + 1 + self.random.below(self.late_ms.max(1));
        if !self.up.contains(&pair(from, to)) {
            return false;
        }
        let queue = self.queues.entry((from, to)).or_default();
        let behind = queue.back().map_or(0, |(last, _)| *last);
        let is_taken = queue.len() < LINK_MAX;
        if is_taken {
            queue.push_back((at.max(behind), message));
        }
        is_taken
    }

    fn due(&mut self, to: NodeId) -> Option<(NodeId, ViewMessage)> {
        let now = self.now;
        let is_due =
            |queue: &VecDeque<(u64, ViewMessage)>| queue.front().is_some_and(|it| it.0 <= now);
        let ways = self.queues.iter_mut();
        let ((from, _), queue) =
            ways.filter(|((_, at), _)| *at == to).find(|(_, it)| is_due(it))?;
        queue.pop_front().map(|(_, message)| (*from, message))
    }
}

impl Views {
    pub fn new(seed: u64) -> Views {
        let links = Links {
            random: Random::new(!seed),
            now: 0,
            late_ms: 1,
            up: BTreeSet::new(),
            queues: BTreeMap::new(),
        };
        Views {
            random: Random::new(seed.rotate_left(32)),
            views: BTreeMap::new(),
            links: RefCell::new(links),
            connections: 0,
            ticked: 0,
            calm: false,
            from_afar: 0,
        }
    }

    /// From now on nothing breaks, and observers stay where they look.
    pub fn calm(&mut self) {
        self.calm = true;
        let observers = self.views.values_mut().flat_map(|view| view.observers.values_mut());
        observers.flat_map(|it| it.places.values_mut()).for_each(|place| place.fresh = false);
    }

    /// Who does not see all of what it looks at, or as it was before faults ended.
    pub fn unsettled(&self) -> Option<String> {
        let is_whole = |place: &Looked| {
            place.fresh && place.view.tick().is_some() && place.view.missing() == Mask::NONE
        };
        self.views.iter().find_map(|(node, view)| {
            let places = view.observers.values().flat_map(|observer| &observer.places);
            let (sector, _) = places.into_iter().find(|(_, place)| !is_whole(place))?;
            Some(format!("{sector} is not seen through node {node}"))
        })
    }

    /// What happens in the views since the last time: `units` are those that players
    /// want to see.
    pub fn step(&mut self, cluster: &mut Cluster, units: &[(PlayerId, UnitId)]) {
        {
            let links = self.links.get_mut();
            (links.now, links.late_ms) = (cluster.now, cluster.network.weather.late_ms);
        }
        self.begin_and_end(cluster);
        self.connect(cluster);
        self.take_released(cluster);
        let ids: Vec<NodeId> = self.views.keys().copied().collect();
        let is_tick = cluster.now >= self.ticked + TICK_MS;
        if is_tick {
            self.ticked = cluster.now;
        }
        for id in ids {
            // It may just have ended.
            if cluster.nodes.get(&id).is_none_or(|node| node.stopped) {
                continue;
            }
            if is_tick {
                self.look(id, cluster, units);
            }
            self.serve(id, cluster, is_tick);
        }
    }

    /// A view comes and goes with its process; its observers with it.
    fn begin_and_end(&mut self, cluster: &Cluster) {
        let incarnation = |id: &NodeId| cluster.nodes.get(id).map(|node| node.core.incarnation());
        let ended: Vec<NodeId> = self
            .views
            .iter()
            .filter(|(id, view)| incarnation(id) != Some(view.incarnation))
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.views.remove(&id);
            self.break_links(|(a, b)| a == id || b == id);
        }
        for (id, node) in &cluster.nodes {
            self.views.entry(*id).or_insert_with(|| View {
                incarnation: node.core.incarnation(),
                exchange: Exchange::default(),
                running: BTreeSet::new(),
                awaited: BTreeSet::new(),
                observers: BTreeMap::new(),
                ticks: 0,
            });
        }
    }

    fn break_links(&mut self, which: impl Fn((NodeId, NodeId)) -> bool) {
        let links = self.links.get_mut();
        let broken: Vec<_> = links.up.iter().copied().filter(|pair| which(*pair)).collect();
        for (a, b) in broken {
            links.up.remove(&(a, b));
            links.queues.remove(&(a, b));
            links.queues.remove(&(b, a));
            for (at, other) in [(a, b), (b, a)] {
                if let Some(view) = self.views.get_mut(&at) {
                    view.exchange.handle_link_down(other);
                }
            }
        }
    }

    /// Links come up between those that reach each other, and break by chance, and
    /// where a process stands still.
    fn connect(&mut self, cluster: &Cluster) {
        let stopped = |id: &NodeId| cluster.nodes.get(id).is_none_or(|node| node.stopped);
        let is_cut =
            |a, b| cluster.network.cuts.contains(&(a, b)) || cluster.network.cuts.contains(&(b, a));
        let chance = |random: &mut Random, thousandths| random.chance(thousandths);
        let ids: Vec<NodeId> = self.views.keys().copied().collect();
        let mut broken = BTreeSet::new();
        for (index, a) in ids.iter().enumerate() {
            for b in &ids[index + 1..] {
                let way = pair(*a, *b);
                let stands = stopped(a) || stopped(b);
                let is_up = self.links.get_mut().up.contains(&way);
                let breaks = is_cut(*a, *b)
                    || stands && chance(&mut self.random, 5)
                    || !self.calm && chance(&mut self.random, 1);
                if is_up && breaks {
                    broken.insert(way);
                } else if !is_up && !stands && !is_cut(*a, *b) && chance(&mut self.random, 100) {
                    self.links.get_mut().up.insert(way);
                }
            }
        }
        self.break_links(|way| broken.contains(&way));
    }

    fn take_released(&mut self, cluster: &mut Cluster) {
        let rules = &cluster.world.rules;
        for (node, incarnation, release) in std::mem::take(&mut cluster.witness.shown) {
            let Some(view) = self.views.get_mut(&node) else { continue };
            if view.incarnation != incarnation {
                continue;
            }
            let send = |to, message| self.links.borrow_mut().send(node, to, message);
            match release {
                Release::Scene { entity: EntityKey::Sector(sector), scene } => {
                    view.exchange.handle_scene(sector, &scene, rules, &send);
                }
                Release::Step { entity: EntityKey::Sector(sector), delta } => {
                    view.exchange.handle_step(sector, &delta, &send);
                }
                Release::Pace { entity: EntityKey::Sector(sector), percent } => {
                    view.exchange.handle_pace(sector, percent, &send);
                }
                Release::Gone { entity: EntityKey::Sector(sector) } => {
                    view.running.remove(&sector);
                    view.exchange.handle_gone(sector, &send);
                }
                _ => {}
            }
        }
    }

    /// Everything that came, and what is asked for and shown because of it.
    fn serve(&mut self, id: NodeId, cluster: &mut Cluster, is_tick: bool) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let rules = cluster.world.rules.clone();
        let send = |to, message| self.links.borrow_mut().send(id, to, message);
        let node = cluster.node(id.0);
        let sectors = node.table.keys().filter_map(|key| match key {
            EntityKey::Sector(sector) => Some(sector),
            _ => None,
        });
        let running: BTreeSet<SectorId> = sectors.collect();
        for sector in running.difference(&view.running) {
            view.awaited.remove(sector);
            view.exchange.handle_started(*sector);
        }
        view.running = running;
        for (entity, elsewhere) in std::mem::take(&mut node.unawakened) {
            let EntityKey::Sector(sector) = entity else { continue };
            // Only of one that is awaited is it news.
            match (view.awaited.remove(&sector), elsewhere) {
                (true, Some(node)) => view.exchange.handle_elsewhere(sector, node, &send),
                (true, None) => view.exchange.handle_absent(sector, &rules, &send),
                (false, _) => {}
            }
        }
        loop {
            let due = self.links.borrow_mut().due(id);
            let Some((from, message)) = due else { break };
            view.exchange.handle_peer(from, &message, &rules, &send);
        }
        let map = node.map.clone();
        let place_of =
            |sector| match map.as_ref().and_then(|map| map.node_of(EntityKey::Sector(sector))) {
                Some(node) if node == id => Place::Here,
                Some(node) => Place::There(node),
                None => Place::Nowhere,
            };
        if is_tick {
            view.ticks += 1;
            view.exchange.fanout.handle_tick(node.core.tick(), &rules);
            view.exchange.handle_tick(&place_of);
        }
        view.exchange.ask(&place_of, &send);
        let mut wakes: Vec<SectorId> = Vec::new();
        for (sector, on) in view.exchange.drain_asks() {
            view.awaited.remove(&sector);
            let key = EntityKey::Sector(sector);
            if !on {
                node.table.unfollow(key);
            } else if node.table.follow(key).is_err() {
                view.awaited.insert(sector);
                wakes.push(sector);
            }
        }
        if is_tick && view.ticks.is_multiple_of(WAKE_TICKS) {
            wakes.extend(&view.awaited);
        }
        for sector in wakes {
            cluster.event(id.0, Event::Wake(EntityKey::Sector(sector)));
        }
        self.show(id, cluster);
    }

    fn show(&mut self, id: NodeId, cluster: &mut Cluster) {
        let Some(view) = self.views.get_mut(&id) else { return };
        for (connection, shown) in view.exchange.fanout.drain_shown() {
            let Some(observer) = view.observers.get_mut(&connection) else { continue };
            let Some(place) = observer.places.get_mut(&shown.sector()) else { continue };
            match shown {
                Shown::Packet(packet) => {
                    self.from_afar += u64::from(!view.running.contains(&packet.sector));
                    see(connection, observer.player, place, &packet, cluster);
                }
                Shown::Gone(_) => *place = Looked::default(),
                Shown::Pace { .. } => {}
            }
        }
    }

    /// Observers look where units are that their players want to see, and away.
    fn look(&mut self, id: NodeId, cluster: &Cluster, units: &[(PlayerId, UnitId)]) {
        let Some(view) = self.views.get_mut(&id) else { return };
        let random = &mut self.random;
        if !self.calm && random.chance(10) && view.observers.len() == OBSERVERS {
            // One hangs up.
            let connections: Vec<u64> = view.observers.keys().copied().collect();
            let gone = random.pick(&connections).copied().unwrap_or_default();
            for sector in view
                .observers
                .remove(&gone)
                .unwrap_or_else(|| panic!("it is one of them"))
                .places
                .keys()
            {
                view.exchange.fanout.unobserve(*sector, gone);
            }
        }
        if self.calm && !view.observers.is_empty() {
            return;
        }
        if view.observers.len() < OBSERVERS
            && let Some((player, _)) = random.pick(units)
        {
            self.connections += 1;
            let observer = Observer { player: *player, places: BTreeMap::new() };
            view.observers.insert(self.connections, observer);
        }
        let history = cluster.witness.history.as_ref();
        let places: Vec<SectorId> = units
            .iter()
            .filter_map(|(_, unit)| history?.place(*unit))
            .filter(|sector| sector.scale == 0)
            .collect();
        for (connection, observer) in &mut view.observers {
            let fanout = &mut view.exchange.fanout;
            if random.chance(30) || observer.places.is_empty() {
                let Some(place) = random.pick(&places).copied() else { continue };
                let beside = place.neighbour(1, 0).filter(|_| random.chance(100));
                let place = beside.unwrap_or(place);
                if observer.places.len() == PLACES_MAX && !observer.places.contains_key(&place) {
                    let (away, _) =
                        observer.places.pop_first().unwrap_or_else(|| panic!("it looks at some"));
                    fanout.unobserve(away, *connection);
                }
                observer.places.entry(place).or_default();
                let codec = codec_of(*connection as usize);
                let watcher = Watcher { group: GroupId::of(observer.player), codec };
                fanout.observe(place, *connection, watcher, &cluster.world.rules);
            }
        }
    }
}

/// Takes an update as a client does, and has it judged.
fn see(
    connection: u64,
    player: PlayerId,
    place: &mut Looked,
    packet: &Packet,
    cluster: &mut Cluster,
) {
    let codec = codec_of(connection as usize);
    let taken = Seen::take(connection, player, codec, &mut place.view, packet);
    let (seen, applied) = taken.unwrap_or_else(|what| panic!("27: {what}"));
    assert_eq!(
        seen.stray, None,
        "28: {} at {:?} tells of a cell that is not seen",
        seen.entity, seen.tick
    );
    place.fresh = true;
    let history = cluster.witness.history.as_mut().unwrap_or_else(|| panic!("storms have one"));
    history.note_seen(
        &Fact::Seen { observer: &seen, view: &place.view, applied: &applied },
        seen.entity,
    );
}
