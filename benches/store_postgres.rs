//! Durable commits and records per second on a PostgreSQL server of this
//! machine, as the number of nodes that commit at once grows; beside it the
//! bare appends with `fdatasync` that the same disk does in the same run.
//!
//! `cargo bench --bench store_postgres -- --seconds 5`

#[path = "../tests/promises/postgres_server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod postgres_server;

use std::io::Write;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use starmesh::base::EntityKey;
use starmesh::entity::commit::Group;
use starmesh::store::conformance::{Process, append};

use postgres_server::{Server, open};

const RECORD: [u8; 100] = [7; 100];

fn main() {
    let time = Duration::from_secs(number("--seconds", 2));
    let server = Server::start(&["fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"]);
    println!(
        "{:>6} {:>8} {:>12} {:>10} {:>11} {:>10}",
        "nodes", "records", "fdatasync/s", "commits/s", "records/s", "p99 ms"
    );
    for batch in [1, 100, 1000, 4000] {
        for nodes in [1, 2, 4] {
            measure(&server, nodes, batch, time);
        }
    }
}

fn measure(server: &Server, nodes: u32, batch: u64, time: Duration) {
    let raw = fdatasyncs(120 + batch * 126, time / 4);
    let url = server.database();
    let begin = Barrier::new(nodes as usize);
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let node = |node| {
            scope.spawn({
                let (url, begin) = (&url, &begin);
                move || run(url, node, batch, time, begin)
            })
        };
        let threads: Vec<_> = (1..=nodes).map(node).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    took.sort();
    let commits = took.len() as f64 / time.as_secs_f64();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let records = commits * batch as f64;
    println!("{nodes:>6} {batch:>8} {raw:>12.0} {commits:>10.0} {records:>11.0} {p99:>10.1}");
}

/// How long each commit of a node took. Each appends a record to each of
/// `batch` entities.
fn run(url: &str, node: u32, batch: u64, time: Duration, begin: &Barrier) -> Vec<Duration> {
    let store = open(url);
    let mut process = Process::begun(&store, node);
    let first = u64::from(node) << 32;
    let groups = |sequence| -> Vec<Group> {
        (0..batch).map(|n| append(EntityKey::Ledger(first + n), sequence, &RECORD)).collect()
    };
    process.must(&store, groups(1));
    begin.wait();
    let (began, mut took) = (Instant::now(), Vec::new());
    for sequence in 2.. {
        let commit = Instant::now();
        let answer = process.must(&store, groups(sequence));
        assert!(answer.refused.is_empty());
        took.push(commit.elapsed());
        if began.elapsed() > time {
            break;
        }
    }
    took
}

/// Appends of so many bytes, each with `fdatasync`, per second.
fn fdatasyncs(bytes: u64, time: Duration) -> f64 {
    // Beside the server's own folder.
    let mut file = tempfile::tempfile().expect("a temporary file");
    let bytes = vec![7; usize::try_from(bytes).expect("small")];
    let (began, mut done) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("a disk that takes it");
        done += 1;
    }
    f64::from(done) / time.as_secs_f64()
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::args().skip_while(|argument| argument != name).nth(1);
    text.map_or(default, |text| text.parse().expect("a number"))
}
