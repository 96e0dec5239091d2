//! A thread that aborts while it runs an entity's code says on disk which one that was;
//! one that aborts for another reason, or is told to from outside, says nothing. Each is
//! tried in a process of its own: this test's binary, once more.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use rustix::process::{Signal, getpid, kill_process};
use starmesh::actors::last_words::LastWords;
use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::entity::attempt::How;
use starmesh::entity::workplace::{self, Workplace};

const NODE: NodeId = NodeId(3);
const ENTITY: EntityKey = EntityKey::Alliance(1 << 40);
/// How the child is to end, and where its data is.
const END: &str = "STARMESH_TEST_END";
const DATA: &str = "STARMESH_TEST_DATA";

/// What the child does: it is run as a test, which passes when nobody asked for it.
#[test]
fn ends_as_it_is_told() {
    let (Ok(end), Some(data)) = (std::env::var(END), std::env::var_os(DATA)) else { return };
    let (words, _) = LastWords::open(&PathBuf::from(data), NODE, Incarnation(1)).unwrap();
    words.on_abort().unwrap();
    let place: &'static Workplace = Box::leak(Box::default());
    let thread = std::thread::spawn(move || {
        workplace::settle(place);
        if end == "elsewhere" {
            std::process::abort();
        }
        let _entered = workplace::enter(ENTITY, Tick(7));
        workplace::reach(Tick(9));
        match &*end {
            "abort" => std::process::abort(),
            "overflow" => _ = overflow(1),
            "panics" => twice(),
            "told" => kill_process(getpid(), Signal::ABORT).unwrap(),
            end => panic!("{end}"),
        }
        // The signal may be another thread's to take.
        std::thread::park();
    });
    let _ = thread.join();
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(n: u64) -> u64 {
    black_box(overflow(black_box(n + 1))) + n
}

/// Panics while a panic is under way.
fn twice() {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("once more");
        }
    }
    let _worse = Worse;
    panic!("once");
}

/// Has a child end so.
fn ended(end: &str, data: &Path) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "last_words::ends_as_it_is_told", "--nocapture"]);
    command.env(END, end).env(DATA, data).output().unwrap().status
}

#[test]
fn who_aborts_names_the_entity_that_its_thread_ran_and_nobody_else_does() {
    use std::os::unix::process::ExitStatusExt;
    for (end, names) in [
        ("abort", true),
        ("overflow", true),
        ("panics", true),
        ("elsewhere", false),
        ("told", false),
    ] {
        let data = tempfile::tempdir().unwrap();
        let status = ended(end, data.path());
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{end}: as ever");
        let (_, found) = LastWords::open(data.path(), NODE, Incarnation(2)).unwrap();
        let found: Vec<_> = found.iter().map(|it| (it.entity, it.tick, it.how)).collect();
        let expected = names.then_some((ENTITY, Tick(9), How::Aborted));
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{end}");
    }
}
