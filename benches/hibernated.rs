//! What very many hibernated sectors cost a node: from opening the store to
//! taking players, per tick after that, and to wake some of them.
//!
//! `cargo bench --bench hibernated -- [SECTORS]`
//!
//! A child process fills a store with sectors that were claimed and closed,
//! each with a summary and a timer that is far away, and kills itself; this one
//! starts on what is left.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use starmesh::actors::galaxy::find_or_make;
use starmesh::actors::node::Node;
use starmesh::base::time::TICK_MS;
use starmesh::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SectorId, SessionId, Tick};
use starmesh::config::Config;
use starmesh::entity::commit::{Append, CommitError, Group, Put};
use starmesh::entity::envelope::Logic;
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::keys;
use starmesh::entity::record::{RecordHeader, encode_input, encode_record};
use starmesh::entity::summary::Summary;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;
use starmesh::store::sled::{Options, Sled};
use starmesh::store::{Store, conformance};

/// Sectors of one row of the galaxy, and of one commit.
const ROW: i64 = 4_000;
/// By the sectors' time: nothing is due while this runs.
const FAR: Millis = Millis(1 << 45);
/// Ticks over which the cost of one is measured.
const TICKS: u64 = 100;
/// Sectors that are woken.
const WOKEN: i64 = 1_000;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let first = args.next().unwrap_or_else(|| "20000".into());
    if first == "fill" {
        let folder = args.next().unwrap();
        fill(&folder, args.next().unwrap().parse().unwrap());
    }
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = folder.path().to_str().unwrap().to_string();
    let mut child = Process::new(std::env::current_exe().unwrap());
    let status = child.args(["fill", &path, &first]).status().unwrap();
    assert_eq!(status.signal(), Some(9), "the child kills itself");
    println!("{first} hibernated sectors, each with summary and timer, SIGKILL");
    actix::System::new().block_on(measure(&path, first.parse().unwrap()));
}

fn config() -> Config {
    Config::with("[store]\nfree_min_mib = 0").unwrap()
}

fn open(folder: &str) -> Sled {
    Sled::open(&Path::new(folder).join("store"), Options::default()).unwrap()
}

fn sector(n: i64) -> EntityKey {
    EntityKey::Sector(SectorId::tactical(n % ROW, n / ROW))
}

fn record(logic: Logic, sequence: u64, input: &Input) -> Vec<u8> {
    let mut inputs = Vec::new();
    encode_input(input, &mut inputs);
    let header = RecordHeader { sequence, tick: Tick(sequence), time: Millis(sequence * 1000) };
    encode_record(&header, logic, 1, &inputs)
}

/// The two groups of a sector that was claimed and closed.
fn groups(n: i64, logic: Logic) -> [Group; 2] {
    let entity = sector(n);
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    let claim = Input::Claim(Claim { node, incarnation, node_tick: Tick(1) });
    let append =
        |sequence, input| Some(Append { entity, sequence, bytes: record(logic, sequence, input) });
    let summary = Summary { unit_count: 1, last_update: Millis(2000), ..Summary::default() };
    let due = Millis(FAR.0 + n.unsigned_abs());
    let puts = vec![
        Put { key: keys::due(due, entity), value: Some(Vec::new()) },
        Put { key: keys::summary(entity), value: Some(summary.to_bytes()) },
    ];
    let first = Group { append: append(1, &claim), ..Group::default() };
    [first, Group { append: append(2, &Input::Close), puts, ..Group::default() }]
}

fn fill(folder: &str, sectors: i64) -> ! {
    let rules = rules::file::built_in().unwrap();
    let world = find_or_make(&Memory::new(), &config(), rules).unwrap().world;
    let store = open(folder);
    let mut process = conformance::Process::begun(&store, 1);
    process.tick = Tick(1);
    for first in (0..sectors).step_by(ROW as usize) {
        let here = first..sectors.min(first + ROW);
        let commit = process.next(here.flat_map(|n| groups(n, world.logic())).collect());
        let answer = loop {
            match store.commit(&commit) {
                // sled has not taken the keys of those before: the same again.
                Err(CommitError::Unknown(_)) => {}
                answer => break answer.unwrap(),
            }
        };
        assert!(answer.refused.is_empty());
    }
    let me = rustix::process::getpid();
    let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    unreachable!("it was killed");
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn measure(folder: &str, sectors: i64) {
    let (began, cpu) = (Instant::now(), cpu_time());
    let store = Arc::new(open(folder));
    say("store opened", began, cpu);
    let rules = rules::file::built_in().unwrap();
    let node = Node::start(&config(), rules, store).unwrap();
    until(|| node.status.ready.load(Ordering::Relaxed)).await;
    say("node ready", began, cpu);
    until(|| node.summary().core.asleep.is_some()).await;
    say("all counted", began, cpu);
    assert_eq!(node.summary().core.asleep, Some(sectors as u64));
    println!("resident            {:>10.1} MB", resident() / 1e6);

    // After the start sled still takes keys that it lacked.
    for what in ["at first", "then"] {
        let (tick, cpu) = (node.summary().core.tick, cpu_time());
        // Without a look at it, which would cost more than the ticks.
        tokio::time::sleep(Duration::from_millis(TICK_MS * TICKS)).await;
        let ticks = node.summary().core.tick - tick;
        let spent = cpu_time().saturating_sub(cpu).as_secs_f64() / ticks as f64;
        println!("per tick, {what:<10}{:>10.1} us of CPU, all threads", spent * 1e6);
    }

    let (began, cpu) = (Instant::now(), cpu_time());
    let woken = WOKEN.min(sectors);
    let (player, session) = (PlayerId(1), SessionId(1));
    let wakes = (0..woken).map(|n| {
        let (entities, entity) = (node.entities.clone(), sector(n * (sectors / woken)));
        actix::spawn(async move {
            while entities.attach(entity, player, session).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    });
    for wake in wakes.collect::<Vec<_>>() {
        wake.await.unwrap();
    }
    say(&format!("{woken} woken at once"), began, cpu);
    node.end().await;
}

fn say(what: &str, began: Instant, cpu: Duration) {
    let spent = cpu_time().saturating_sub(cpu).as_secs_f64();
    println!("{what:<20}{:>10.3} s (CPU {spent:.3} s)", began.elapsed().as_secs_f64());
}

/// Of the whole process.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let times = behind_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    // Linux counts them in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// Bytes of memory this process has resident.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}
