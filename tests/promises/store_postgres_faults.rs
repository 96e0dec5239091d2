//! A PostgreSQL server that ends sessions, falls over, or has no standby:
//! what was answered is there once, what was not is settled by sending it
//! again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use starmesh::base::EntityKey;
use starmesh::entity::commit::{Commit, CommitAnswer, CommitError};
use starmesh::store::Store;
use starmesh::store::conformance::{Process, append, load, put, row, value};
use starmesh::store::postgres::{OpenError, Options, Postgres};

use crate::postgres_server::{Server, name, open, open_with, patient, shared};

/// The tests look after partitions themselves.
const NEVER: Duration = Duration::from_secs(1 << 20);
const RECORDS: u64 = 300;
const ENTITY: EntityKey = EntityKey::Ledger(7);

/// Sends the same commit until its outcome is known, as a node does; how
/// often it was not.
fn settle(store: &Postgres, commit: &Commit) -> (CommitAnswer, u32) {
    let began = Instant::now();
    let mut unknown = 0;
    loop {
        match store.commit(commit) {
            Ok(answer) => return (answer, unknown),
            Err(CommitError::Unknown(why)) => {
                assert!(began.elapsed() < Duration::from_secs(120), "never settled: {why}");
                unknown += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Commits records 1 to `n` of an entity, each with its number in it and in a
/// key of its own; how many outcomes were unknown at first.
fn write(store: &Postgres, n: u64, written: &AtomicU64) -> u32 {
    let mut process = Process::new(1);
    let mut unknown = settle(store, &process.next(vec![])).1;
    for sequence in 1..=n {
        let number = sequence.to_be_bytes();
        let mut group = append(ENTITY, sequence, &number);
        group.puts = put(&[b"n/", &number[..]].concat(), &number).puts;
        let (answer, doubts) = settle(store, &process.next(vec![group]));
        assert!(answer.refused.is_empty(), "record {sequence} was there before");
        unknown += doubts;
        written.store(sequence, Ordering::Release);
    }
    unknown
}

fn assert_written(store: &dyn Store, n: u64) {
    let expected: Vec<_> = (1..=n).map(|n| (n, n.to_be_bytes().to_vec())).collect();
    assert_eq!(load(store, ENTITY).records, expected);
    assert_eq!(store.scan(b"n/", None, usize::MAX).expect("it answers").len() as u64, n);
    assert_eq!(row(store, 1).number, n);
}

#[test]
fn sessions_that_are_killed_lose_nothing_and_double_nothing() {
    let server = shared();
    let url = server.database();
    let store = open(&url);
    let written = AtomicU64::new(0);
    let unknown = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&store, RECORDS, &written));
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'starmesh' AND datname = '";
        let mut seen = 0;
        while !writer.is_finished() {
            server.sql("postgres", &format!("{kill}{}'", name(&url)));
            // Faster than that and nothing would ever come through.
            let before = seen;
            while seen == before && !writer.is_finished() {
                std::thread::yield_now();
                seen = written.load(Ordering::Acquire);
            }
        }
        writer.join().expect("no panic")
    });
    assert!(unknown > 0, "no session was killed in time");
    println!("{unknown} outcomes were unknown at first");
    assert_written(&open(&url), RECORDS);
}

#[test]
fn a_server_that_falls_over_has_what_it_answered() {
    // Settings under which a session that took the server's word would lose.
    let options = ["fsync=on", "synchronous_commit=off", "wal_writer_delay=10s"];
    let server = Server::start(&options);
    let url = server.database();
    let store = open(&url);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3 {
                server.crash();
            }
            done.store(true, Ordering::Release);
        });
        let mut process = Process::new(9);
        settle(&store, &process.next(vec![]));
        let mut sequence = 0;
        while !done.load(Ordering::Acquire) {
            sequence += 1;
            let commit = process.next(vec![append(ENTITY, sequence, &sequence.to_be_bytes())]);
            assert!(settle(&store, &commit).0.refused.is_empty());
        }
        let records = load(&store, ENTITY).records;
        let expected: Vec<_> = (1..=sequence).map(|n| (n, n.to_be_bytes().to_vec())).collect();
        assert_eq!(records, expected);
    });
}

#[test]
fn a_commit_that_no_standby_has_is_not_answered() {
    let server = Server::start(&[]);
    let url = server.database();
    let store = open(&url);
    let mut process = Process::begun(&store, 1);
    let short = Options { statement_within: Duration::from_millis(500), ..patient() };
    let hasty = open_with(&url, short);
    let standby = |names: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    standby("nobody");
    let said = |part: &str| {
        let warnings = store.durability_warnings().expect("it answers");
        warnings.iter().any(|warning| warning.contains(part))
    };
    wait_until(|| said("no synchronous standby is connected"));
    let commit = process.next(vec![put(b"k", b"1"), append(ENTITY, 1, b"r")]);
    for _ in 0..3 {
        // The first is carried out, and shown; it is still not acknowledged,
        // nor is what is answered from its row.
        let answer = hasty.commit(&commit);
        assert!(matches!(answer, Err(CommitError::Unknown(_))), "{answer:?}");
    }
    standby("");
    wait_until(|| said("synchronous_standby_names is empty"));
    let (answer, _) = settle(&store, &commit);
    assert_eq!(answer.refused, [0; 0]);
    assert_eq!(value(&store, b"k"), Some(b"1".to_vec()));
    assert_eq!(load(&store, ENTITY).records.len(), 1);
}

#[test]
fn weak_settings_are_said_and_made_up_for() {
    let server = Server::start(&["synchronous_commit=off", "full_page_writes=off"]);
    let store = server.store();
    let warnings = store.durability_warnings().expect("it answers").join("\n");
    for part in ["synchronous_standby_names", "synchronous_commit is off", "fsync", "full_page"] {
        assert!(warnings.contains(part), "{part} is not in: {warnings}");
    }
}

#[test]
fn an_empty_database_is_migrated_once_by_many() {
    let server = shared();
    let url = server.database();
    std::thread::scope(|scope| {
        for node in 1..=4 {
            let url = &url;
            scope.spawn(move || Process::begun(&open(url), node));
        }
    });
    assert_eq!(server.sql(name(&url), "SELECT * FROM starmesh.schema"), "1");
    assert_eq!(open(&url).scan(b"row/", None, 9).expect("it answers").len(), 4);
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let server = shared();
    let url = server.database();
    Process::begun(&open(&url), 1);
    server.sql(name(&url), "INSERT INTO starmesh.schema VALUES (2)");
    let Err(error) = Postgres::open(&url, Options::default()) else { panic!("it opened") };
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1 }), "{error}");
    assert!(error.to_string().contains("newer build"));
    server.sql(name(&url), "DELETE FROM starmesh.schema WHERE version = 2");
    assert_eq!(row(&open(&url), 1).number, 0);
}

#[test]
fn a_server_that_is_not_there_is_an_error_in_time() {
    let server = shared();
    let (missing, began) = (server.url("no_such_database"), Instant::now());
    for url in [missing.as_str(), "postgres://u@127.0.0.1:1/galaxy"] {
        let Err(error) = Postgres::open(url, Options::default()) else { panic!("it opened") };
        assert!(matches!(error, OpenError::Away(_)), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn partitions_that_nothing_needs_are_dropped() {
    let server = shared();
    let url = server.database();
    let tiny = Options { part_bytes: 1, tend_every: NEVER, ..patient() };
    let store = open_with(&url, tiny);
    let mut process = Process::begun(&store, 1);
    // The oldest partition has all of one entity and the beginning of another.
    let (quiet, busy) = (EntityKey::Ledger(1), EntityKey::Ledger(2));
    process.must(&store, vec![append(quiet, 1, b"quiet"), append(busy, 1, b"busy")]);
    for sequence in 2..6 {
        store.tend().expect("it answers");
        process.must(&store, vec![append(busy, sequence, b"busy")]);
    }
    assert_eq!(server.sql(name(&url), "SELECT count(*) FROM starmesh.parts"), "5");
    adopt(&mut process, &store, busy, 5);
    store.tend().expect("it answers");
    let first = "SELECT min(part) FROM starmesh.parts";
    assert_eq!(server.sql(name(&url), first), "1", "the quiet one needs it");
    adopt(&mut process, &store, quiet, 1);
    store.tend().expect("it answers");
    assert_eq!(server.sql(name(&url), first), "5", "that of the busy one's snapshot");
    assert_eq!(load(&store, quiet).chunks, [b"chunk".to_vec()]);
    assert_eq!(load(&store, busy).chunks, [b"chunk".to_vec()]);
    assert!(process.must(&store, vec![append(quiet, 2, b"on")]).refused.is_empty());
}

#[test]
fn a_backup_of_hours_stops_no_commit() {
    let server = shared();
    let url = server.database();
    let tiny = Options { part_bytes: 1, tend_every: NEVER, ..patient() };
    let store = open_with(&url, tiny);
    let mut process = Process::begun(&store, 1);
    process.must(&store, vec![append(ENTITY, 1, b"r")]);
    store.tend().expect("it answers");
    adopt(&mut process, &store, ENTITY, 1);
    std::thread::scope(|scope| {
        // What pg_dump does.
        let backup =
            "BEGIN; LOCK TABLE starmesh.journal IN ACCESS SHARE MODE; SELECT pg_sleep(600)";
        let backup = scope.spawn(|| server.query(name(&url), backup).is_err());
        let sessions = format!(
            "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '{}'",
            name(&url)
        );
        let count = format!("SELECT count(*) {sessions}");
        wait_until(|| server.sql("postgres", &count) == "1");
        let first = || server.sql(name(&url), "SELECT min(part) FROM starmesh.parts");
        let (tended, kept) = (store.tend(), first());
        let committed = process.commit(&store, vec![append(ENTITY, 2, b"r")]);
        // Before anything is looked at: a test that fails must end, too.
        server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) {sessions}"));
        assert!(backup.join().expect("no panic"), "it was ended");
        assert!(tended.is_ok() && committed.is_ok(), "{tended:?}, {committed:?}");
        assert_eq!(kept, "1", "it is being read");
        wait_until(|| store.tend().is_ok() && first() != "1");
    });
    assert_eq!(load(&store, ENTITY).chunks, [b"chunk".to_vec()]);
}

fn adopt(process: &mut Process, store: &Postgres, entity: EntityKey, at: u64) {
    use starmesh::store::conformance::{chunk, head};
    let answer = process.must(store, vec![chunk(entity, at, 0, b"chunk"), head(entity, at)]);
    assert!(answer.refused.is_empty());
}

#[test]
fn who_holds_the_oldest_partition_is_named_and_then_carried_forward() {
    let server = shared();
    let url = server.database();
    let full =
        Options { part_bytes: 1, journal_bytes_max: 300 << 10, tend_every: NEVER, ..patient() };
    let store = open_with(&url, full);
    let mut process = Process::begun(&store, 1);
    let asleep = EntityKey::Ledger(1);
    process.must(&store, vec![append(asleep, 1, b"kept")]);
    let mut named = false;
    for n in 2..9 {
        store.tend().expect("it answers");
        named |= store.pins() == [asleep];
        let filler = EntityKey::Ledger(n);
        process.must(&store, vec![append(filler, 1, &vec![0; 200 << 10])]);
        adopt(&mut process, &store, filler, 1);
    }
    assert!(named, "nobody was asked for a snapshot");
    let first = server.sql(name(&url), "SELECT min(part) FROM starmesh.parts");
    assert!(first.parse::<u32>().expect("a number") > 1, "the oldest partition is {first}");
    assert_eq!(load(&store, asleep).records, [(1, b"kept".to_vec())]);
    assert!(process.must(&store, vec![append(asleep, 2, b"on")]).refused.is_empty());
    assert_eq!(load(&store, asleep).records.len(), 2);
}

fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(120), "it never came");
        std::thread::yield_now();
    }
}
