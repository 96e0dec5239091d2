//! Players who all begin in one part of the galaxy, which is one node's: their
//! sectors are spread over all nodes by themselves, while they are played in, and
//! then nothing moves any more. STARMESH_CRASH_SEED repeats the orders.

use std::ops::RangeInclusive;
use std::time::Instant;

use serde_json::json;
use starmesh::base::SectorId;
use starmesh::protocol::Place;

use crate::audit::audit;
use crate::cluster_support::{Cluster, UNITS};
use crate::crash::number;
use crate::operator::Operator;
use crate::support::{Home, wait_for};
use crate::swarm::{AT_HOME, Answered, Swarm};

/// How the load is spread, of how many, and how even that is at least.
struct Spread {
    strategy: &'static str,
    clients: u64,
    /// Units at each node; a player has eight.
    share: RangeInclusive<f64>,
}

/// By players, of whom there are as many however busy the machine is: at each node
/// eight, and what two of them or a quarter are off that is left alone.
const BY_PLAYERS: Spread = Spread { strategy: "player-count", clients: 24, share: 48.0..=80.0 };
/// By the time that sectors take. However little that is, each counts as a twentieth of
/// a millisecond; what is a millisecond off is left alone.
const BY_COSTS: Spread = Spread { strategy: "resource-usage", clients: 60, share: 40.0..=320.0 };
/// Plans in a row that change nothing.
const RESTS: f64 = 5.0;

fn home(cluster: &Cluster, name: &str, strategy: &str) -> Home {
    // So large, and one beside the other, that all players begin in one of the
    // regions that nodes share.
    let home = cluster.home(name).with("GALAXY__SECTORS_PER_SIDE", "10000");
    let home = home.with("GALAXY__LEDGER_SHARDS", "1");
    let home = home.with("CLUSTER__BALANCE", strategy);
    home.with("CLUSTER__BALANCE_EVERY_MS", "1000").with("ENGINE__SECTOR_QUIET_S", "3600")
}

/// Plans of the planner with that outcome.
fn plans(cluster: &Cluster, outcome: &str) -> f64 {
    cluster.happened(0, &format!("starmesh_balance_plans_total{{outcome=\"{outcome}\"}}"))
}

fn is_spread(cluster: &Cluster, share: &RangeInclusive<f64>) -> bool {
    (0..3).all(|index| share.contains(&cluster.metric(index, UNITS)))
}

/// The region of which a command's sector is a part.
fn region(answered: &Answered) -> Option<SectorId> {
    match answered.place? {
        Place::Sector(sector) => SectorId::from(sector).ancestor(10),
        _ => None,
    }
}

/// A sector that sleeps, where nobody was ever: balancing would do without its entry.
#[test]
fn what_an_operator_moved_stays_there_until_an_operator_balances() {
    let cluster = Cluster::empty();
    let [first, second] = ["a", "b"].map(|name| home(&cluster, name, "player-count"));
    let cluster = cluster.started(first, vec![second]);
    let operator = Operator::register(cluster.node(0));
    let entry = |sector: &str| operator.ask(cluster.node(0), &["sector", sector])["entry"].clone();
    let rests = || {
        let even = plans(&cluster, "even");
        wait_for("plans that change nothing", || {
            (plans(&cluster, "even") >= even + RESTS).then_some(())
        });
    };
    let sectors = ["1234,4321,0", "700,800,3"];
    for sector in sectors {
        let to = if entry(sector)["node"] == 1 { 2 } else { 1 };
        operator.migrate(cluster.node(1), sector, to);
        rests();
        let found = entry(sector);
        assert_eq!((&found["node"], &found["pinned"]), (&json!(to), &json!(true)), "{found}");
    }
    let plan = operator.ask(cluster.node(1), &["balance", "--strategy", "PlayerCount"]);
    // Nothing is awake under them: they go.
    assert_eq!((&plan["merged"], &plan["unpinned"]), (&json!(2), &json!(0)), "{plan}");
    wait_for("entries that are an operator's no more, and go", || {
        sectors.iter().all(|sector| entry(sector)["pinned"] == false).then_some(())
    });
    cluster.stop();
}

#[test]
fn players_of_one_region_are_spread_by_themselves_and_come_to_rest() {
    spread(&BY_PLAYERS);
}

#[test]
fn sectors_of_one_region_are_spread_by_what_they_cost_and_come_to_rest() {
    spread(&BY_COSTS);
}

fn spread(Spread { strategy, clients, share }: &Spread) {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("balance: {strategy}, STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    let cluster = Cluster::empty();
    let [first, others @ ..] = ["a", "b", "c"].map(|name| home(&cluster, name, strategy));
    let cluster = cluster.started(first, others.into());
    println!("balance: three nodes after {:?}", began.elapsed());
    let homes: Vec<&Home> = (0..3).map(|index| cluster.node(index)).collect();
    let mut swarm = Swarm::playing(&homes, *clients, seed, AT_HOME);
    swarm.wait_for_everybody(0);
    wait_for("each node's share of the units", || is_spread(&cluster, share).then_some(()));
    println!("balance: {} after {:?}", cluster.shown(), began.elapsed());
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    let (told, report) = swarm.stop();
    println!("balance: swarm {report}");
    let regions: Vec<_> = told.iter().filter_map(region).collect();
    assert!(!regions.is_empty() && regions.iter().all(|region| *region == regions[0]));

    let (mut moved, mut even) = (plans(&cluster, "committed"), plans(&cluster, "even"));
    wait_for("plans in a row that change nothing", || {
        let now = plans(&cluster, "committed");
        if now > moved {
            (moved, even) = (now, plans(&cluster, "even"));
        }
        (plans(&cluster, "even") >= even + RESTS).then_some(())
    });
    println!("balance: at rest after {moved} changes, {:?}: {}", began.elapsed(), cluster.shown());
    assert!(moved >= 1.0, "nobody planned");
    assert!(is_spread(&cluster, share), "{}", cluster.shown());
    assert_eq!(plans(&cluster, "refused"), 0.0);
    let homes = cluster.stop();
    let found = audit(homes[0].data(), &told);
    println!("balance: {} answers, {found:?}, {:?}", told.len(), began.elapsed());
    assert_eq!((found.players, found.nodes), (*clients, 3));
}
