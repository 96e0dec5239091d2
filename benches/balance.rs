//! What a decision of balancing costs: one plan for 500 nodes and 100,000
//! sectors that are awake, by each strategy, where much is uneven, while it evens
//! out, and at rest; and how often a directory is asked in a second. Times are
//! of the processor.
//!
//! `cargo bench --bench balance -- --nodes 500 --sectors 100000`

use std::time::Duration;

use starmesh::base::draw::draw;
use starmesh::base::{EntityKey, Millis, NodeId, SectorId};
use starmesh::cluster::core::balance::{
    ClusterLoad, LoadBalanceStrategy, NodeLoad, SectorLoad, Settings, plan,
};
use starmesh::cluster::core::directory::{Change, Directory, EDITS_MAX, Edit};

const SEED: u64 = 2026;
const ROUND_MS: u64 = 400_000;

fn main() {
    let nodes = u32::try_from(number("--nodes", 500)).expect("a number of nodes");
    let sectors = number("--sectors", 100_000);
    println!("{nodes} nodes, {sectors} sectors, seed {SEED}");
    for strategy in [
        LoadBalanceStrategy::PlayerCount,
        LoadBalanceStrategy::ActivityLevel,
        LoadBalanceStrategy::ResourceUsage,
        LoadBalanceStrategy::Geographic,
    ] {
        decide(strategy, nodes, sectors);
    }
    look_up(nodes, sectors);
}

/// Plans until nothing moves any more.
fn decide(strategy: LoadBalanceStrategy, nodes: u32, sectors: u64) {
    let settings = Settings {
        strategy,
        moves_max: nodes as usize,
        sectors_max: 8 * nodes as usize,
        ..Settings::default()
    };
    let mut directory = directory(nodes);
    let mut load = load(nodes, sectors);
    let (mut costs, mut moves) = (Vec::new(), 0);
    let rest = loop {
        let began = cpu();
        let plan = plan(&directory, &load, &settings);
        let took = cpu() - began;
        if plan.is_empty() || costs.len() == 1000 {
            break took;
        }
        costs.push(took);
        moves += plan.moves.len();
        directory.apply(&plan.change()).expect("a plan is a change");
        load.now = Millis(load.now.0 + ROUND_MS);
    };
    let rounds = u32::try_from(costs.len().max(1)).expect("few");
    println!(
        "{strategy:?}: first plan {:.1?}, mean of {rounds} {:.1?}, worst {:.1?}, at rest {rest:.1?}; \
         {moves} moves, {} entries",
        costs.first().copied().unwrap_or_default(),
        costs.iter().sum::<Duration>() / rounds,
        costs.iter().max().copied().unwrap_or_default(),
        directory.count(),
    );
}

/// What routing asks of it.
fn look_up(nodes: u32, sectors: u64) {
    let (directory, load) = (directory(nodes), load(nodes, sectors));
    let asked = 10 * load.sectors.len();
    let began = cpu();
    let mut found = 0_usize;
    for sector in load.sectors.iter().cycle().take(asked) {
        found += usize::from(directory.node_of(EntityKey::Sector(sector.sector)).is_some());
    }
    let took = cpu() - began;
    assert_eq!(found, asked);
    let each = took / u32::try_from(asked).expect("fewer than 2^32");
    println!("look-ups in {} entries: {each:.1?} each", directory.count());
}

/// Squares of 256 km, each with some node.
fn directory(nodes: u32) -> Directory {
    let root = SectorId { x: 0, y: 0, scale: 14 };
    let squares = (0..40).flat_map(|x| (0..40).map(move |y| SectorId { x, y, scale: 8 }));
    let node = |at: SectorId| {
        let node = draw(SEED, "benches/balance node", &[at.x as u64, at.y as u64]);
        NodeId(1 + (node % u64::from(nodes)) as u32)
    };
    let edits: Vec<_> = std::iter::once(root)
        .chain(squares)
        .map(|square| Edit::Assign { entity: EntityKey::Sector(square), node: node(square) })
        .collect();
    let mut directory = Directory::default();
    for edits in edits.chunks(EDITS_MAX) {
        let change = Change { seen: directory.version(), edits: edits.to_vec() };
        directory.apply(&change).expect("a change");
    }
    directory
}

/// Sectors about 300 centres, few of them heavy; nodes on five continents.
fn load(nodes: u32, sectors: u64) -> ClusterLoad {
    let mut found = std::collections::BTreeMap::new();
    let mut n = 0;
    while (found.len() as u64) < sectors {
        let random = |what| draw(SEED, "benches/balance sector", &[n, what]);
        let centre = random(0) % 300;
        let at = |axis: u64| {
            let centre = draw(SEED, "benches/balance centre", &[centre, axis]) % 9_600;
            (200 + centre + random(1 + axis) % 60 - random(3 + axis) % 60) as i64
        };
        let mut sector = SectorLoad::new(SectorId::tactical(at(0), at(1)), Millis(0));
        let heavy = random(5).is_multiple_of(500);
        sector.cost_us = (random(6) % if heavy { 25_000 } else { 420 }) as u32;
        sector.players = sector.cost_us / 40;
        sector.activity = sector.cost_us / 6;
        sector.cold_since = None;
        let gateway = NodeId(1 + (random(7) % u64::from(nodes)) as u32);
        sector.gateways = vec![(gateway, sector.players + 1)];
        found.insert(sector.sector, sector);
        n += 1;
    }
    let far = |a: u32, b: u32| if a % 5 == b % 5 { 10_000 } else { 120_000 };
    let nodes = (1..=nodes).map(|id| NodeLoad {
        round_trips: (1..=nodes).map(|other| (NodeId(other), far(id, other))).collect(),
        ..NodeLoad::new(NodeId(id), 2)
    });
    let (nodes, sectors) = (nodes.collect(), found.into_values().collect());
    ClusterLoad { now: Millis(ROUND_MS), nodes, sectors }
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().expect("a whole number"))
}

/// What this thread has taken of a processor.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}
