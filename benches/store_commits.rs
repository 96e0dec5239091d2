//! Durable commits per second, against bare appends with `fdatasync` on the
//! same disk in the same run: they take turns, so that a slow hour of the disk
//! slows both.
//!
//! `cargo bench --bench store_commits -- --seconds 5`

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use starmesh::base::EntityKey;
use starmesh::entity::commit::Group;
use starmesh::store::conformance::{Process, append};
use starmesh::store::sled::{Options, Sled};

const RECORD: [u8; 100] = [7; 100];
/// Turns of each, in every line.
const TURNS: u32 = 10;

fn main() {
    let turn = Duration::from_secs(number("--seconds", 1)) / TURNS;
    let dir = tempfile::tempdir_in(text("--dir").unwrap_or_else(|| ".".into())).expect("a folder");
    println!(
        "{:>9} {:>12} {:>12} {:>7} {:>14}",
        "appends", "fdatasync/s", "commits/s", "ratio", "appends/s"
    );
    for batch in [1, 10, 100, 1000] {
        measure(&dir.path().join(batch.to_string()), batch, turn);
    }
}

fn measure(dir: &Path, batch: u64, turn: Duration) {
    let store = Sled::open(dir, Options::default()).expect("a new store");
    let mut commits = Commits { process: Process::begun(&store, 1), store, batch, sequence: 0 };
    let mut raw = Raw::new(&dir.join("raw"), batch);
    let (mut done, mut raw_done) = (0, 0);
    for _ in 0..TURNS {
        raw_done += repeat(turn, || raw.append());
        done += repeat(turn, || commits.commit());
    }
    let seconds = (turn * TURNS).as_secs_f64();
    let (rate, raw_rate) = (done as f64 / seconds, raw_done as f64 / seconds);
    let appends = rate * batch as f64;
    println!("{batch:>9} {raw_rate:>12.0} {rate:>12.0} {:>7.2} {appends:>14.0}", rate / raw_rate);
}

/// How often `work` was done within `turn`.
fn repeat(turn: Duration, mut work: impl FnMut()) -> u64 {
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < turn {
        work();
        done += 1;
    }
    done
}

struct Commits {
    store: Sled,
    process: Process,
    batch: u64,
    sequence: u64,
}

impl Commits {
    /// One commit that appends a record to each of `batch` entities.
    fn commit(&mut self) {
        self.sequence += 1;
        let group = |n| -> Group { append(EntityKey::Ledger(n), self.sequence, &RECORD) };
        let groups = (0..self.batch).map(group).collect();
        let answer = self.process.must(&self.store, groups);
        assert!(answer.refused.is_empty());
    }
}

/// A file like a segment, without a store around it.
struct Raw {
    file: File,
    bytes: Vec<u8>,
    at: u64,
}

impl Raw {
    fn new(path: &Path, batch: u64) -> Raw {
        let file = File::create(path).expect("a file");
        reserve(&file);
        // About what a frame of so many records has.
        let bytes = vec![7; (120 + batch * 126) as usize];
        Raw { file, bytes, at: 0 }
    }

    fn append(&mut self) {
        if self.at + self.bytes.len() as u64 > 64 << 20 {
            self.file.set_len(0).expect("a shorter file");
            reserve(&self.file);
            self.at = 0;
        }
        self.file.write_all_at(&self.bytes, self.at).expect("a write");
        self.file.sync_data().expect("a sync");
        self.at += self.bytes.len() as u64;
    }
}

fn reserve(file: &File) {
    let all = rustix::fs::FallocateFlags::empty();
    rustix::fs::fallocate(file, all, 0, 64 << 20).expect("space");
    file.sync_all().expect("a sync");
}

fn text(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn number(name: &str, default: u64) -> u64 {
    text(name).map_or(default, |text| text.parse().expect("a number"))
}
