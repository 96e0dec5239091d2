//! Chance: nodes are killed, stopped, started, stopped in order and cut off, the
//! store is away for some or for all, or its answers are lost, messages are lost,
//! doubled and late, sectors are given to and fro, while units fly over borders
//! between nodes. Then faults end, and everything must be whole.

use std::sync::Arc;

use starmesh::base::{EntityKey, NodeId, SectorId, UnitId};

use super::Cluster;
use super::network::Weather;
use crate::random::Random;

/// Storms when nothing else is said.
const STORMS: u64 = 60;
const STORM_MS: u64 = 40_000;
/// So long what went wrong before may end a process after the last fault.
const AFTERMATH_MS: u64 = 5_000;

/// Of so many storms one has nodes of different rules and versions.
const MIXED_EVERY: u64 = 3;

/// What the next process of a node runs by.
fn draw_rules(cluster: &mut Cluster, random: &mut Random, node: u32) {
    let worlds = [&cluster.world, &cluster.later, &cluster.next];
    let world = Arc::clone(random.pick(&worlds).expect("three"));
    cluster.builds.insert(node, world);
}

struct Storm {
    cluster: Cluster,
    random: Random,
    nodes: u32,
    /// Each process draws which rules and version it has.
    mixed: bool,
    places: Vec<SectorId>,
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut random = Random::new(seed);
        let nodes = random.within(2..=4) as u32;
        let mut cluster = Cluster::empty(seed);
        let mixed = seed.is_multiple_of(MIXED_EVERY);
        for id in 1..=nodes {
            if mixed {
                draw_rules(&mut cluster, &mut random, id);
            }
            cluster.start(id);
        }
        cluster.run_until("all have their share", |cluster| cluster.is_settled());
        let mut places = Vec::new();
        for player in 1..=random.within(1..=3) {
            let (_, home) = cluster.found(player);
            let units = cluster.units(home);
            for (sequence, unit) in (1..).zip(units.iter().take(4)) {
                let beside = home.neighbour(1, i64::from(sequence % 2)).expect("a neighbour");
                cluster.patrol(player, sequence, *unit, beside);
                places.extend([home, beside]);
            }
        }
        Storm { cluster, random, nodes, mixed, places }
    }

    fn node(&mut self) -> u32 {
        1 + self.random.below(self.nodes.into()) as u32
    }

    fn start(&mut self, node: u32) {
        if self.mixed {
            draw_rules(&mut self.cluster, &mut self.random, node);
        }
        self.cluster.start(node);
    }

    fn act(&mut self) {
        let (node, other) = (self.node(), self.node());
        let runs = self.cluster.nodes.contains_key(&NodeId(node));
        match self.random.below(13) {
            0 if runs => self.cluster.kill(node),
            1 if runs => self.cluster.node(node).stopped = true,
            2 | 3 => {
                if !runs {
                    self.cluster.clocks_ms.insert(node, self.random.below(1_900));
                    self.start(node);
                } else if self.cluster.node(node).stopped {
                    self.cluster.node(node).stopped = false;
                }
            }
            4 if node != other => {
                _ = self.cluster.network.cuts.insert((NodeId(node), NodeId(other)))
            }
            5 => self.cluster.network.cuts.clear(),
            10 if runs && !self.cluster.node(node).stopped => self.cluster.begin_leaving(node),
            11 => self.turn_store(other),
            12 if runs => {
                let node = self.cluster.node(node);
                node.lose_answers = !node.lose_answers;
            }
            _ if runs && self.random.chance(300) => self.watch(node),
            6..=8 => {
                let place = *self.random.pick(&self.places).expect("a place");
                self.cluster.assign_by(node, EntityKey::Sector(place), other);
            }
            _ => {
                self.cluster.network.weather = Weather {
                    lost: self.random.below(300),
                    doubled: self.random.below(300),
                    late_ms: self.random.within(1..=2_000),
                    // Now and then longer than a row may stand still.
                    slow_ms: *self.random.pick(&[0, 50, 300, 600, 1_500]).expect("five"),
                };
            }
        }
    }

    /// The store goes away, or comes back: for one node, or for all.
    fn turn_store(&mut self, node: u32) {
        let is_for_all = self.random.chance(500);
        let away = self.random.chance(400);
        let meant = |id: &NodeId| is_for_all || id.0 == node;
        let nodes = self.cluster.nodes.iter_mut().filter(|(id, _)| meant(id));
        nodes.for_each(|(_, node)| node.away = away);
    }

    /// What is of a version that nobody has would wait for ever.
    fn have_every_version(&mut self) {
        let (first, next) = (self.cluster.world.clone(), self.cluster.next.clone());
        self.cluster.restart_with(1, &first);
        self.cluster.restart_with(2, &next);
    }

    /// From here on nothing fails any more, and every node runs.
    fn end_faults(&mut self) {
        self.cluster.calm();
        for node in self.cluster.nodes.values_mut() {
            (node.stopped, node.away, node.lose_answers) = (false, false, false);
        }
        if self.mixed {
            self.have_every_version();
        }
        // Some were declared dead before, or leave just now.
        self.cluster.run(AFTERMATH_MS);
        for id in 1..=self.nodes {
            if !self.cluster.nodes.contains_key(&NodeId(id)) {
                self.cluster.start(id);
            }
        }
    }

    /// Somebody looks at everything there, so that what is seen is judged.
    fn watch(&mut self, node: u32) {
        let table = &mut self.cluster.node(node).table;
        let keys: Vec<EntityKey> = table.keys().collect();
        // One that is about to go is not looked at.
        keys.into_iter().for_each(|key| _ = table.follow(key));
    }

    fn run(mut self) {
        let until = self.cluster.now + STORM_MS;
        while self.cluster.now < until {
            self.act();
            let wait = self.random.within(10..=1_500);
            self.cluster.run(wait);
        }
        self.end_faults();
        self.cluster.judge();
        let ended = (1..=self.nodes).find(|id| !self.cluster.nodes.contains_key(&NodeId(*id)));
        assert_eq!(ended, None, "22: a node has ended although nothing failed any more");
        let moving: Vec<UnitId> =
            self.places.iter().flat_map(|it| self.cluster.units(*it)).collect();
        assert!(!moving.is_empty(), "they are still about");
    }
}

#[test]
fn storms_leave_every_unit_in_one_place_and_every_entity_with_one_owner() {
    let first = crate::variable("STARMESH_SIM_SEED");
    let count = crate::variable("STARMESH_SIM_SEEDS").unwrap_or(STORMS);
    let seeds = match first {
        Some(seed) if crate::variable("STARMESH_SIM_SEEDS").is_none() => seed..seed + 1,
        first => first.unwrap_or(1)..first.unwrap_or(1) + count,
    };
    for seed in seeds {
        // A panic that says what was wrong has said the seed before.
        println!("storm {seed}; repeat it: make sim SEED={seed}");
        Storm::new(seed).run();
    }
}
