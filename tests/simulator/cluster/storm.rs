//! Chance: nodes are killed, stopped, started, stopped in order and cut off, with
//! the roles they had or others, are to be left and may have something again, the
//! store is away for some or for all, or its answers are lost, messages are lost,
//! doubled and late, sectors are given to and fro, while units fly over borders
//! between nodes, [players](super::clients) give them orders, and observers
//! [look on](super::views) through every process. Then faults end, and everything
//! must be whole.

use std::sync::Arc;

use starmesh::base::{EntityKey, NodeId, PlayerId, SectorId, UnitId};
use starmesh::cluster::core::directory::Edit;
use starmesh::cluster::core::roles::{Role, Roles};

use super::clients::{Clients, Out};
use super::history::History;
use super::network::Weather;
use super::shadows::Shades;
use super::views::Views;
use super::{Cluster, STEP_MS};
use crate::random::Random;

/// Storms when nothing else is said.
const STORMS: u64 = 60;
const STORM_MS: u64 = 40_000;
/// So long what went wrong before may end a process after the last fault.
const AFTERMATH_MS: u64 = 5_000;
/// So long players wait for their answers behind the last fault.
const ANSWERS_MS_MAX: u64 = 120_000;
/// What sectors know of their neighbours is looked at so often.
const SHADES_MS: u64 = 100;

/// Of so many storms one has nodes of different rules and versions.
const MIXED_EVERY: u64 = 3;

/// What the next process of a node runs by.
fn draw_rules(cluster: &mut Cluster, random: &mut Random, node: u32) {
    let worlds = [&cluster.world, &cluster.later, &cluster.next];
    let world = Arc::clone(random.pick(&worlds).expect("three"));
    cluster.builds.insert(node, world);
}

/// What a node may do that is not to do everything.
const ROLES: [&[Role]; 5] = [
    &[Role::Sector, Role::Coordinator, Role::Gateway],
    &[Role::Meta, Role::Coordinator, Role::Gateway],
    &[Role::Sector],
    &[Role::Meta, Role::Sector],
    &[Role::Gateway],
];

struct Storm {
    cluster: Cluster,
    clients: Clients,
    views: Views,
    shades: Shades,
    /// What observers look for.
    units: Vec<(PlayerId, UnitId)>,
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
        let worlds = [&cluster.world, &cluster.later, &cluster.next].map(Arc::clone).to_vec();
        cluster.witness.history = Some(History::new(&cluster.store, worlds, cluster.limits));
        let mixed = seed.is_multiple_of(MIXED_EVERY);
        for id in 1..=nodes {
            if mixed {
                draw_rules(&mut cluster, &mut random, id);
            }
            cluster.start(id);
        }
        cluster.run_until("all have their share", |cluster| cluster.is_settled());
        let (mut places, mut clients) = (Vec::new(), Clients::new());
        let mut seen = Vec::new();
        for player in 1..=random.within(1..=3) {
            let (session, home) = cluster.found(player);
            let units = cluster.units(home);
            for (sequence, unit) in (1..).zip(units.iter().take(4)) {
                let beside = home.neighbour(1, i64::from(sequence % 2)).expect("a neighbour");
                cluster.patrol(player, sequence, *unit, beside);
                places.extend([home, beside]);
            }
            seen.extend(units.iter().map(|unit| (PlayerId(player), *unit)));
            let last = u32::try_from(units.len()).expect("a few");
            clients.add(player, &units, Some((session, last)));
            if random.chance(400) {
                clients.add(player, &units, None);
            }
        }
        let (views, units) = (Views::new(seed), seen);
        let shades = Shades::default();
        Storm { cluster, clients, views, shades, units, random, nodes, mixed, places }
    }

    fn node(&mut self) -> u32 {
        1 + self.random.below(self.nodes.into()) as u32
    }

    fn start(&mut self, node: u32) {
        if self.mixed {
            draw_rules(&mut self.cluster, &mut self.random, node);
        }
        let roles = match self.random.chance(300) {
            true => self.random.pick(&ROLES).and_then(|it| Roles::of(it.iter().copied())),
            false => None,
        };
        self.cluster.start_with(node, roles.unwrap_or_default());
    }

    fn act(&mut self) {
        let (node, other) = (self.node(), self.node());
        let runs = self.cluster.nodes.contains_key(&NodeId(node));
        match self.random.below(15) {
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
            13 if runs => {
                let edit = Edit::Drain { node: NodeId(other), on: self.random.chance(600) };
                self.cluster.change_by(node, vec![edit]);
            }
            14 if runs => {
                // It begins anew at once, and may have other roles.
                self.cluster.kill(node);
                self.start(node);
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
        self.pass(AFTERMATH_MS);
        for id in 1..=self.nodes {
            if !self.cluster.nodes.contains_key(&NodeId(id)) {
                self.cluster.start(id);
            }
        }
        // What nobody has the role for would wait for ever.
        let roles = [Role::Sector, Role::Meta];
        if roles.into_iter().any(|role| self.cluster.may_have(role).is_empty()) {
            self.cluster.kill(1);
            self.cluster.start(1);
        }
    }

    /// Lets that many ms pass, for nodes and players.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(STEP_MS) {
            self.cluster.run(STEP_MS);
            let (cluster, random) = (&mut self.cluster, &mut self.random);
            self.clients.step(&mut Out { cluster, random });
            self.views.step(&mut self.cluster, &self.units);
            if self.cluster.now.is_multiple_of(SHADES_MS) {
                self.shades.step(&self.cluster);
            }
        }
    }

    /// Players hear of everything that they ordered, and each has one more order
    /// carried out.
    fn await_answers(&mut self) {
        self.clients.calm();
        self.views.calm();
        self.shades.calm();
        let began = self.cluster.now;
        let unsettled = |storm: &Storm| {
            let seen = || storm.views.unsettled();
            let cast = || storm.shades.unsettled(&storm.cluster);
            storm.clients.unsettled().or_else(seen).or_else(cast)
        };
        while let Some(why) = unsettled(self) {
            let is_late = self.cluster.now > began + ANSWERS_MS_MAX;
            assert!(!is_late, "12: not answered in two minutes: {why}");
            self.pass(100);
        }
    }

    /// Somebody looks at everything there, so that what is seen is judged.
    fn watch(&mut self, node: u32) {
        let table = &mut self.cluster.node(node).table;
        let keys: Vec<EntityKey> = table.keys().collect();
        // One that is about to go is not looked at.
        keys.into_iter().for_each(|key| _ = table.follow(key));
    }

    /// How many updates observers took of sectors that ran at another node, and how often
    /// a sector knew of a unit there.
    fn run(mut self) -> (u64, u64) {
        let until = self.cluster.now + STORM_MS;
        while self.cluster.now < until {
            self.act();
            let wait = self.random.within(10..=1_500);
            self.pass(wait);
        }
        self.end_faults();
        self.await_answers();
        self.cluster.judge();
        let ended = (1..=self.nodes).find(|id| !self.cluster.nodes.contains_key(&NodeId(*id)));
        assert_eq!(ended, None, "22: a node has ended although nothing failed any more");
        (self.views.from_afar, self.shades.from_afar)
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
    let (mut run, mut from_afar, mut shadows) = (0, 0, 0);
    for seed in seeds {
        // A panic that says what was wrong has said the seed before.
        println!("storm {seed}; repeat it: make sim SEED={seed}");
        let seen = Storm::new(seed).run();
        (from_afar, shadows) = (from_afar + seen.0, shadows + seen.1);
        run += 1;
    }
    println!("{from_afar} updates from other nodes and {shadows} shadows in {run} storms");
    assert!(run < STORMS || shadows > 10 * run, "hardly a sector knew another node's units");
    assert!(run < STORMS || from_afar > 100 * run, "hardly anybody saw another node's sector");
}
