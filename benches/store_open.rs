//! How long a store takes to open after it was filled and its process got
//! SIGKILL, and to load all entities, for three layouts. The decision on the
//! layout (`docs/store.md`) rests on it.
//!
//! `cargo bench --bench store_open -- --records 1000000 --entities 10000`

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use starmesh::base::EntityKey;
use starmesh::store::Store;
use starmesh::store::conformance::{Process, append, put};
use starmesh::store::sled::{Options, Sled};

/// Records and keys of one commit.
const BATCH: u64 = 100;
const RECORD: [u8; 100] = [7; 100];
const VALUE: [u8; 60] = [8; 60];

/// What is filled and opened.
#[derive(Clone, Copy)]
struct Size {
    records: u64,
    entities: u64,
    keys: u64,
}

/// Where keys and records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Keys in sled, records in segments: what a node uses.
    Beside,
    /// Keys only in the segments and in memory: sled gets none.
    Segments,
    /// Keys and records in sled, without segments.
    Sled,
}

const LAYOUTS: [Layout; 3] = [Layout::Beside, Layout::Segments, Layout::Sled];

fn main() {
    let size = Size {
        records: number("--records", 20_000),
        entities: number("--entities", 200),
        keys: number("--keys", 20_000),
    };
    if let Some(dir) = text("--fill") {
        let layout = LAYOUTS[number("--layout", 0) as usize];
        return fill(Path::new(&dir), layout, size);
    }
    let Size { records, entities, keys } = size;
    println!("{records} records of 100 B over {entities} entities, {keys} keys of 60 B, SIGKILL");
    for layout in LAYOUTS {
        measure(layout, size);
    }
}

fn measure(layout: Layout, size: Size) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let filled = fill_and_kill(dir.path(), layout, size);
    let bytes = bytes_below(dir.path()) / 1_000_000;
    println!("{layout:?}: filled in {:.1} s, {bytes} MB", filled.as_secs_f64());
    for cache in ["warm", "cold"] {
        if cache == "cold" && !drop_caches() {
            println!("  cold: not allowed to drop the page cache");
            continue;
        }
        let (opened, loaded) = reopen(dir.path(), layout, size);
        let per = loaded.wall.as_secs_f64() * 1e5 / size.records.max(1) as f64;
        println!("  {cache}: open {opened}, load all {loaded}: {per:.3} s per 10^5 records");
    }
}

/// Fills the store in a process of its own and kills that; how long it took.
fn fill_and_kill(dir: &Path, layout: Layout, size: Size) -> Duration {
    let began = Instant::now();
    let mut child = Command::new(std::env::current_exe().expect("this bench"))
        .args(["--fill".as_ref(), dir.as_os_str()])
        .args(["--layout", &(layout as usize).to_string()])
        .args(["--records", &size.records.to_string()])
        .args(["--entities", &size.entities.to_string()])
        .args(["--keys", &size.keys.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says when it is done");
    let took = began.elapsed();
    child.kill().expect("it is alive");
    child.wait().expect("it was killed");
    assert_eq!(line, "filled\n");
    took
}

fn options(layout: Layout) -> Options {
    let defaults = Options::default();
    match layout {
        Layout::Segments => Options {
            segment_bytes: 512 << 20,
            batch_keys: usize::MAX,
            batch_bytes: usize::MAX,
            ..defaults
        },
        Layout::Beside | Layout::Sled => defaults,
    }
}

fn fill(dir: &Path, layout: Layout, size: Size) {
    if layout == Layout::Sled {
        fill_sled(dir, size);
    } else {
        let store = Sled::open(dir, options(layout)).expect("a new store");
        fill_store(&store, size);
        wait_for_kill();
    }
}

fn fill_store(store: &Sled, size: Size) {
    let mut process = Process::begun(store, 1);
    for first in (0..size.records.max(size.keys)).step_by(BATCH as usize) {
        let mut groups = Vec::new();
        for n in first..first + BATCH {
            if n < size.records {
                let entity = EntityKey::Ledger(n % size.entities);
                groups.push(append(entity, n / size.entities + 1, &RECORD));
            }
            if n < size.keys {
                groups.push(put(format!("key/{n:010}").as_bytes(), &VALUE));
            }
        }
        let answer = process.must(store, groups);
        assert!(answer.refused.is_empty());
    }
}

fn sled(dir: &Path) -> sled::Db {
    sled::Config::new().path(dir).flush_every_ms(None).open().expect("sled opens")
}

fn record_key(entity: u64, sequence: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&entity.to_be_bytes());
    key[8..].copy_from_slice(&sequence.to_be_bytes());
    key
}

fn fill_sled(dir: &Path, size: Size) {
    let database = sled(dir);
    for first in (0..size.records.max(size.keys)).step_by(BATCH as usize) {
        let mut batch = sled::Batch::default();
        for n in first..first + BATCH {
            if n < size.records {
                let key = record_key(n % size.entities, n / size.entities + 1);
                batch.insert(&key, &RECORD[..]);
            }
            if n < size.keys {
                batch.insert(format!("key/{n:010}").as_bytes(), &VALUE[..]);
            }
        }
        database.apply_batch(batch).expect("sled writes");
        database.flush().expect("sled flushes");
    }
    wait_for_kill();
}

fn wait_for_kill() {
    println!("filled");
    loop {
        std::thread::park();
    }
}

fn reopen(dir: &Path, layout: Layout, size: Size) -> (Took, Took) {
    let mut watch = Stopwatch::start();
    if layout == Layout::Sled {
        let database = sled(dir);
        let opened = watch.lap();
        let records = (0..size.entities).map(|entity| {
            let range = record_key(entity, 0)..record_key(entity + 1, 0);
            database.range(range).count() as u64
        });
        assert_eq!(records.sum::<u64>(), size.records);
        return (opened, watch.lap());
    }
    let store = Sled::open(dir, options(layout)).expect("it opens again");
    let opened = watch.lap();
    let mut records = 0;
    for entity in (0..size.entities).map(EntityKey::Ledger) {
        let mut from = None;
        loop {
            let page = store.load(entity, from).expect("it loads");
            records += page.records.len() as u64;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    let loaded = watch.lap();
    assert_eq!(records, size.records);
    let last = format!("key/{:010}", size.keys - 1);
    assert!(store.get(last.as_bytes()).expect("it reads").is_some());
    (opened, loaded)
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry"));
    let sizes = entries.map(|entry| {
        let meta = entry.metadata().expect("an entry");
        if meta.is_dir() { bytes_below(&entry.path()) } else { meta.len() }
    });
    sizes.sum()
}

/// Time that something took.
struct Took {
    wall: Duration,
    /// Of this thread: what stays when other work on the machine is gone.
    cpu: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} s (CPU {:.3} s)", self.wall.as_secs_f64(), self.cpu.as_secs_f64())
    }
}

struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    fn start() -> Stopwatch {
        Stopwatch { wall: Instant::now(), cpu: cpu_time() }
    }

    fn lap(&mut self) -> Took {
        let began = std::mem::replace(self, Stopwatch::start());
        Took { wall: self.wall - began.wall, cpu: self.cpu - began.cpu }
    }
}

/// Of the main thread, as Linux counts it.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// Empties the system's page cache, where that is allowed.
fn drop_caches() -> bool {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    synced && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: u64) -> u64 {
    text(name).map_or(default, |text| text.parse().expect("a number"))
}
