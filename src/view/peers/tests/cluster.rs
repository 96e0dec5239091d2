//! Some nodes' views, with tables that hand out what the real ones do, joined
//! by links that can lose, delay, refuse and go down. Every message goes through
//! the codec. Time goes by ticks of 100 ms.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::{Exchange, Place, ViewMessage};
use crate::base::{NodeId, PlayerId, Position, SectorId, Tick, UnitId};
use crate::protocol::CodecKind;
use crate::sim::rules::sample;
use crate::sim::{Rules, Unit, UnitTypeId};
use crate::view::CellsView;
use crate::view::fanout::{Packet, Shown, Watcher};
use crate::view::motion::Mover;
use crate::view::stage::{GroupId, Scene, StepDelta};

pub const A: NodeId = NodeId(1);
pub const B: NodeId = NodeId(2);
pub const C: NodeId = NodeId(3);
const ANNA: PlayerId = PlayerId(7);

/// A fighter of Anna's in the middle of a cell.
pub fn ship(id: u64) -> Mover {
    let middle = |cell: u64| ((cell as i32 % 8) << 17) + (1 << 16);
    let position = Position { x: middle(id), y: middle(id / 8) };
    Mover::from(&Unit::new(UnitId(id), UnitTypeId(1), ANNA, position))
}

/// A sector that runs.
#[derive(Debug)]
struct Runs {
    at: NodeId,
    tick: u64,
    units: Vec<Mover>,
    appeared: Vec<Mover>,
    followed: bool,
    told: Option<u64>,
}

/// Between two nodes, one way.
#[derive(Debug, Default)]
pub struct Link {
    waiting: VecDeque<(u64, ViewMessage)>,
    pub down: bool,
    pub delay: u64,
    /// Messages that may wait; 0 is no bound.
    pub room: usize,
    /// So many of the next steps are lost.
    pub lose: usize,
    pub most: usize,
    pub taken: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct Node {
    exchange: Exchange,
    awaited: BTreeSet<SectorId>,
    shown: BTreeMap<u64, Vec<Shown>>,
}

pub struct Cluster {
    rules: Rules,
    pub now: u64,
    nodes: BTreeMap<NodeId, Node>,
    pub directory: BTreeMap<SectorId, NodeId>,
    runs: BTreeMap<SectorId, Runs>,
    records: BTreeSet<SectorId>,
    links: RefCell<BTreeMap<(NodeId, NodeId), Link>>,
}

fn name(message: &ViewMessage) -> &'static str {
    match message {
        ViewMessage::Follow { on: true, .. } => "follow",
        ViewMessage::Follow { on: false, .. } => "off",
        ViewMessage::Scene { .. } => "scene",
        ViewMessage::Step { .. } => "step",
        ViewMessage::Pace { .. } => "pace",
        ViewMessage::Gone { .. } => "gone",
        ViewMessage::Absent { .. } => "absent",
        ViewMessage::Summaries(_) => "summaries",
    }
}

impl Cluster {
    pub fn new() -> Cluster {
        let nodes = [A, B, C].map(|node| (node, Node::default())).into_iter().collect();
        let (directory, runs) = (BTreeMap::new(), BTreeMap::new());
        let (records, links) = (BTreeSet::new(), RefCell::default());
        Cluster { rules: sample::rules().unwrap(), now: 0, nodes, directory, runs, records, links }
    }

    pub fn link<T>(&self, from: NodeId, to: NodeId, f: impl FnOnce(&mut Link) -> T) -> T {
        f(self.links.borrow_mut().entry((from, to)).or_default())
    }

    /// Lets a node's view do something, and then what comes of it.
    fn with(
        &mut self,
        at: NodeId,
        f: impl Fn(&mut Exchange, &Rules, &dyn Fn(NodeId, ViewMessage) -> bool),
    ) {
        let Cluster { rules, now, nodes, directory, links, .. } = self;
        let send = |to: NodeId, message: ViewMessage| {
            let mut links = links.borrow_mut();
            let link = links.entry((at, to)).or_default();
            if link.down || (link.room > 0 && link.waiting.len() >= link.room) {
                return false;
            }
            let bytes = postcard::to_stdvec(&message).unwrap();
            link.waiting.push_back((*now + link.delay, postcard::from_bytes(&bytes).unwrap()));
            link.most = link.most.max(link.waiting.len());
            true
        };
        let place_of = |sector: SectorId| match directory.get(&sector).copied().unwrap_or(A) {
            node if node == at => Place::Here,
            node => Place::There(node),
        };
        let node = nodes.get_mut(&at).unwrap();
        f(&mut node.exchange, rules, &send);
        node.exchange.ask(&place_of, &send);
        for (observer, shown) in node.exchange.fanout.drain_shown() {
            node.shown.entry(observer).or_default().push(shown);
        }
        for (sector, on) in node.exchange.drain_asks() {
            node.awaited.remove(&sector);
            match self.runs.get_mut(&sector).filter(|runs| runs.at == at) {
                Some(runs) => (runs.followed, runs.told) = (on, None),
                None if on => _ = node.awaited.insert(sector),
                None => {}
            }
        }
    }

    pub fn observe(&mut self, at: NodeId, sector: SectorId, observer: u64) {
        let watcher = Watcher { group: GroupId::of(ANNA), codec: CodecKind::Postcard };
        self.with(at, |exchange, rules, _| {
            exchange.fanout.observe(sector, observer, watcher, rules);
        });
    }

    pub fn unobserve(&mut self, at: NodeId, sector: SectorId, observer: u64) {
        self.with(at, |exchange, _, _| exchange.fanout.unobserve(sector, observer));
    }

    /// The sector comes to run there, at a tick not before its last.
    pub fn start(&mut self, sector: SectorId, at: NodeId, units: Vec<Mover>, tick: u64) {
        let (appeared, followed) = (Vec::new(), false);
        self.records.insert(sector);
        self.runs.insert(sector, Runs { at, tick, units, appeared, followed, told: None });
        self.nodes.get_mut(&at).unwrap().awaited.remove(&sector);
        self.with(at, |exchange, _, _| exchange.handle_started(sector));
    }

    /// It runs there no more; what it had.
    pub fn stop(&mut self, sector: SectorId) -> (Vec<Mover>, u64) {
        let runs = self.runs.remove(&sector).unwrap();
        if runs.followed {
            self.with(runs.at, |exchange, _, send| {
                exchange.handle_gone(sector, &|node, message| send(node, message));
            });
        }
        (runs.units, runs.tick)
    }

    pub fn runs_at(&self, sector: SectorId) -> Option<NodeId> {
        self.runs.get(&sector).map(|runs| runs.at)
    }

    pub fn is_followed(&self, sector: SectorId) -> bool {
        self.runs[&sector].followed
    }

    pub fn lent(&self, at: NodeId) -> usize {
        self.nodes[&at].exchange.lent()
    }

    pub fn appear(&mut self, sector: SectorId, unit: Mover) {
        self.runs.get_mut(&sector).unwrap().appeared.push(unit);
    }

    /// Both ways between two nodes; what was under way is lost.
    pub fn set_link(&mut self, (one, other): (NodeId, NodeId), up: bool) {
        for (from, to) in [(one, other), (other, one)] {
            self.link(from, to, |link| {
                link.down = !up;
                link.waiting.clear();
            });
            if !up {
                self.with(to, |exchange, _, _| exchange.handle_link_down(from));
            }
        }
    }

    pub fn tick(&mut self) {
        self.now += 1;
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        self.step_tables();
        for at in ids {
            self.deliver(at);
            let directory = self.directory.clone();
            let place_of = move |sector: SectorId| match directory.get(&sector).copied() {
                Some(node) if node != at => Place::There(node),
                None if at != A => Place::There(A),
                _ => Place::Here,
            };
            self.with(at, |exchange, _, _| exchange.handle_tick(&place_of));
            self.wake(at);
        }
    }

    /// The core's answers for what is awaited at a node.
    fn wake(&mut self, at: NodeId) {
        for sector in self.nodes[&at].awaited.clone() {
            let owner = self.directory.get(&sector).copied().unwrap_or(A);
            if owner == at && self.records.contains(&sector) {
                // Loaded, or on its way.
                continue;
            }
            self.nodes.get_mut(&at).unwrap().awaited.remove(&sector);
            self.with(at, |exchange, rules, send| {
                let send = |node, message| send(node, message);
                match owner == at {
                    true => exchange.handle_absent(sector, rules, &send),
                    false => exchange.handle_elsewhere(sector, owner, &send),
                }
            });
        }
    }

    fn step_tables(&mut self) {
        for sector in self.runs.keys().copied().collect::<Vec<_>>() {
            let runs = self.runs.get_mut(&sector).unwrap();
            runs.tick += 1;
            if !runs.tick.is_multiple_of(2) {
                continue;
            }
            let (at, tick, appeared) = (runs.at, runs.tick, std::mem::take(&mut runs.appeared));
            runs.units.extend(appeared.iter().copied());
            if !runs.followed {
                continue;
            }
            let is_next = runs.told == Some(tick - 2);
            runs.told = Some(tick);
            let scene = Arc::new(Scene { tick: Tick(tick), units: runs.units.clone() });
            let delta = StepDelta { tick: Tick(tick), appeared, ..StepDelta::default() };
            let delta = Arc::new(delta);
            self.with(at, |exchange, rules, send| {
                let send = |node, message| send(node, message);
                match is_next {
                    true => exchange.handle_step(sector, &delta, &send),
                    false => exchange.handle_scene(sector, &scene, rules, &send),
                }
            });
        }
    }

    fn deliver(&mut self, to: NodeId) {
        for from in [A, B, C].into_iter().filter(|from| *from != to) {
            while let Some(message) = self.link(from, to, |link| take(link, self.now)) {
                self.with(to, |exchange, rules, send| {
                    exchange
                        .handle_peer(from, &message, rules, &|node, message| send(node, message));
                });
                if self.link(from, to, |link| link.room > 0) {
                    // One at a time.
                    break;
                }
            }
        }
    }

    pub fn run(&mut self, ticks: u64) {
        (0..ticks).for_each(|_| self.tick());
    }

    pub fn shown(&self, at: NodeId, observer: u64) -> &[Shown] {
        self.nodes[&at].shown.get(&observer).map_or(&[], Vec::as_slice)
    }

    pub fn packets(&self, at: NodeId, observer: u64) -> Vec<Packet> {
        let packet = |shown: &Shown| match shown {
            Shown::Packet(packet) => Some(packet.clone()),
            _ => None,
        };
        self.shown(at, observer).iter().filter_map(packet).collect()
    }

    /// The units that an observer has, from all that it was told.
    pub fn seen(&self, at: NodeId, observer: u64) -> Vec<u64> {
        let mut view = CellsView::default();
        for packet in self.packets(at, observer) {
            let (header, told) = CodecKind::Postcard.codec().decode_packet(&packet.bytes).unwrap();
            view.handle(header.tick, &told);
        }
        let mut ids: Vec<u64> = view.units().map(|unit| unit.id.0).collect();
        ids.sort_unstable();
        ids
    }

    pub fn has(&self, sector: SectorId) -> Vec<u64> {
        let runs = self.runs.get(&sector);
        let units = runs.into_iter().flat_map(|runs| &runs.units);
        let mut ids: Vec<u64> = units.map(|mover| mover.seen.id().0).collect();
        ids.sort_unstable();
        ids
    }
}

fn take(link: &mut Link, now: u64) -> Option<ViewMessage> {
    loop {
        let (due, _) = link.waiting.front()?;
        if *due > now || (link.room > 0 && !now.is_multiple_of(5)) {
            return None;
        }
        let (_, message) = link.waiting.pop_front()?;
        link.taken.push(name(&message));
        if link.lose > 0 && matches!(message, ViewMessage::Step { .. }) {
            link.lose -= 1;
            continue;
        }
        return Some(message);
    }
}
