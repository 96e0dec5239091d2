//! Balancing at the size it is made for: 500 nodes and 100,000 sectors that are
//! awake, in clusters as players are, with load that drifts for an hour. Nothing
//! is timed here (`benches/balance.rs` does that); each run prints its seed.

use starmesh::base::{EntityKey, Millis, NodeId, SectorId};
use starmesh::cluster::core::balance::{ClusterLoad, NodeLoad, Plan, SectorLoad, Settings, plan};
use starmesh::cluster::core::directory::{Change, Directory, EDITS_MAX, Edit};

use crate::random::Random;

const NODES: u32 = 500;
const SECTORS: usize = 100_000;
const CLUSTERS: u64 = 300;
/// A plan each so many milliseconds.
const ROUND_MS: u64 = 30_000;
const ROOT: SectorId = SectorId { x: 0, y: 0, scale: 14 };

struct Simulation {
    random: Random,
    directory: Directory,
    load: ClusterLoad,
    settings: Settings,
    /// Of each sector, in the order of the load: its cluster, what it costs by
    /// itself, its node, and how often it moved.
    sectors: Vec<Sector>,
    /// Thousandths by which each cluster is busier than it is by itself.
    tides: Vec<u32>,
}

#[derive(Clone, Copy)]
struct Sector {
    cluster: usize,
    cost_us: u32,
    node: NodeId,
    moves: u32,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = Random::new(seed);
        let mut found = std::collections::BTreeMap::new();
        let centres: Vec<_> = (0..CLUSTERS)
            .map(|_| (200 + random.below(9_600) as i64, 200 + random.below(9_600) as i64))
            .collect();
        while found.len() < SECTORS {
            // Of two draws the smaller: some clusters are much larger than others.
            let cluster = random.below(CLUSTERS).min(random.below(CLUSTERS)) as usize;
            let mut off = || random.below(30) as i64 - random.below(30) as i64;
            let (x, y) = (centres[cluster].0 + off(), centres[cluster].1 + off());
            let cost_us = match random.below(500) {
                0 => 5_000 + random.below(20_000),
                _ => 20 + random.below(400),
            };
            found.insert(SectorId::tactical(x, y), (cluster, cost_us as u32));
        }
        let sectors: Vec<_> = found.into_iter().collect();
        let (node, moves) = (NodeId(1), 0);
        let load = ClusterLoad {
            now: Millis(1 << 40),
            nodes: (1..=NODES).map(|node| NodeLoad::new(NodeId(node), 2)).collect(),
            sectors: sectors.iter().map(|(at, _)| SectorLoad::new(*at, Millis(0))).collect(),
        };
        let sectors = sectors.into_iter();
        let sectors =
            sectors.map(|(_, (cluster, cost_us))| Sector { cluster, cost_us, node, moves });
        // A cluster of this size does many hand-overs at a time.
        let settings = Settings { moves_max: 500, sectors_max: 4_000, ..Settings::default() };
        let mut simulation = Simulation {
            directory: scattered(&mut random),
            random,
            load,
            settings,
            sectors: sectors.collect(),
            tides: vec![1000; CLUSTERS as usize],
        };
        simulation.place();
        simulation.weigh();
        simulation
    }

    /// Each sector is where the directory says. Returns how many were elsewhere.
    fn place(&mut self) -> usize {
        let mut moved = 0;
        for (sector, load) in self.sectors.iter_mut().zip(&mut self.load.sectors) {
            let node = self.directory.node_of(EntityKey::Sector(load.sector)).expect("the root");
            if node != sector.node {
                (sector.node, load.here_since) = (node, self.load.now);
                sector.moves += 1;
                moved += 1;
            }
        }
        moved
    }

    fn weigh(&mut self) {
        for (sector, load) in self.sectors.iter().zip(&mut self.load.sectors) {
            let busy = u64::from(sector.cost_us) * u64::from(self.tides[sector.cluster]) / 1000;
            load.cost_us = busy as u32;
            load.cold_since = None;
            let is_hot = load.cost_us > 20_000;
            load.hot_since = is_hot.then(|| load.hot_since.unwrap_or(self.load.now));
        }
    }

    /// Each cluster becomes a little busier or quieter, and some sectors become
    /// what others were.
    fn drift(&mut self) {
        for tide in &mut self.tides {
            let by = 960 + self.random.below(82) as u32;
            *tide = (*tide * by / 1000).clamp(400, 2_500);
        }
        for _ in 0..SECTORS / 400 {
            let (a, b) = (self.random.below(SECTORS as u64), self.random.below(SECTORS as u64));
            let (a, b) = (a as usize, b as usize);
            let cost_us = self.sectors[a].cost_us;
            self.sectors[a].cost_us = self.sectors[b].cost_us;
            self.sectors[b].cost_us = cost_us;
        }
        self.weigh();
    }

    /// One plan, carried out; how many sectors it moved.
    fn round(&mut self) -> (Plan, usize) {
        let plan = plan(&self.directory, &self.load, &self.settings);
        let most = self.settings.moves_max;
        assert!(plan.moves.len() <= most);
        if !plan.is_empty() {
            self.directory.apply(&plan.change()).expect("a plan is a change");
        }
        let moved = self.place();
        assert!(moved <= self.settings.sectors_max, "{moved} moved at once");
        self.load.now = Millis(self.load.now.0 + ROUND_MS);
        (plan, moved)
    }

    /// The most that a node carries, in thousandths of the mean, and the least.
    fn spread(&self) -> (u64, u64) {
        let mut carried = vec![0_u64; NODES as usize + 1];
        for (sector, load) in self.sectors.iter().zip(&self.load.sectors) {
            carried[sector.node.0 as usize] += self.settings.strategy.weigh(load);
        }
        let total: u64 = carried.iter().sum();
        let of_mean = |carried: u64| carried * 1000 * u64::from(NODES) / total;
        let (most, least) = (carried.iter().max(), carried[1..].iter().min());
        (of_mean(*most.expect("nodes")), of_mean(*least.expect("nodes")))
    }
}

/// The galaxy in squares of 256 km, each with a node of its own choice.
fn scattered(random: &mut Random) -> Directory {
    let squares = (0..40).flat_map(|x| (0..40).map(move |y| SectorId { x, y, scale: 8 }));
    let squares = squares.map(|square| (square, 1 + random.below(NODES.into()) as u32));
    let edits: Vec<_> = std::iter::once((ROOT, 1))
        .chain(squares)
        .map(|(square, node)| Edit::Assign {
            entity: EntityKey::Sector(square),
            node: NodeId(node),
        })
        .collect();
    let mut directory = Directory::default();
    for edits in edits.chunks(EDITS_MAX) {
        let change = Change { seen: directory.version(), edits: edits.to_vec() };
        directory.apply(&change).expect("a change");
    }
    directory
}

#[test]
fn five_hundred_nodes_even_out_follow_an_hour_of_drift_and_come_to_rest() {
    let seed = std::env::var("STARMESH_BALANCE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    let mut simulation = Simulation::new(seed);
    println!(
        "seed {seed}: {} entries, spread {:?}",
        simulation.directory.count(),
        simulation.spread()
    );

    // From anything to even, in minutes.
    let mut rounds = 0;
    while simulation.spread().0 > 1_300 {
        simulation.round();
        rounds += 1;
        assert!(rounds < 60, "seed {seed}: {:?} after {rounds} rounds", simulation.spread());
    }
    println!("seed {seed}: even after {rounds} rounds, {} entries", simulation.directory.count());

    // An hour of drift: even all the time, and no sector moved often.
    simulation.sectors.iter_mut().for_each(|sector| sector.moves = 0);
    let (mut total, mut worst) = (0, (0, u64::MAX));
    for _ in 0..120 {
        simulation.drift();
        let (_, moved) = simulation.round();
        total += moved;
        let (most, least) = simulation.spread();
        worst = (worst.0.max(most), worst.1.min(least));
    }
    let most = simulation.sectors.iter().map(|sector| sector.moves).max().expect("sectors");
    println!(
        "seed {seed}: an hour of drift: spread at worst {worst:?}, {total} moves, at most {most} of one \
         sector, {} entries",
        simulation.directory.count()
    );
    assert!(worst.0 < 1_350, "seed {seed}: {worst:?}");
    assert!(most <= 3, "seed {seed}: a sector moved {most} times");

    // Then nothing changes any more: it comes to rest, and stays.
    let mut rounds = 0;
    while !simulation.round().0.is_empty() {
        rounds += 1;
        assert!(rounds < 120, "seed {seed}: still moving");
    }
    for _ in 0..20 {
        let (plan, _) = simulation.round();
        assert!(plan.is_empty(), "seed {seed}: {plan:?}");
    }
    println!("seed {seed}: at rest after {rounds} rounds, spread {:?}", simulation.spread());
}
