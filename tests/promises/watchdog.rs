//! A thread that runs entities and does not come back ends its process, and what it was
//! at is known. One that goes on is left alone, however long it takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use starmesh::actors::core_thread::{self, ToCore};
use starmesh::actors::ending::{Ended, Ending};
use starmesh::actors::last_words::LastWords;
use starmesh::actors::status::CoreStatus;
use starmesh::actors::watchdog::{Watchdog, Watched};
use starmesh::base::{EntityKey, Incarnation, NodeId, Tick};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::watch::LOOK_MS;
use starmesh::entity::attempt::{Attempt, How};
use starmesh::entity::workplace::{self, Work, Workplace};

/// A thread that works on this and does not come back.
const WORK: Work = Work { entity: EntityKey::Board(7), tick: Tick(90) };

#[test]
fn the_end_of_a_stuck_process_is_told_with_its_entity_on_disk_and_in_the_store() {
    let data = tempfile::tempdir().unwrap();
    let (node, incarnation) = (NodeId(3), Incarnation(1));
    let (words, _) = LastWords::open(data.path(), node, incarnation).unwrap();
    let place: &'static Workplace = Box::leak(Box::default());
    let (release, stuck) = sync_channel::<()>(0);
    let thread = std::thread::spawn(move || {
        workplace::settle(place);
        // It goes on for longer than a thread may be silent, and then does not.
        for tick in 0..30 {
            let _entered = workplace::enter(WORK.entity, Tick(tick));
            std::thread::park_timeout(Duration::from_millis(LOOK_MS));
        }
        let _entered = workplace::enter(WORK.entity, WORK.tick);
        let _ = stuck.recv();
    });
    let (core, told) = core_thread::queue();
    let (ending, mut ended) = Ending::new();
    let status: Arc<CoreStatus> = Arc::default();
    let watchdog = Watchdog::start(Watched {
        tables: Vec::new(),
        places: vec![place],
        core,
        status: status.clone(),
        last_words: Some(Arc::new(words)),
        ending,
    });
    let Ok(ToCore::Event(Event::Blame(attempt))) = told.recv() else { panic!("its word") };
    let Work { entity, tick } = WORK;
    assert_eq!(attempt, Attempt { entity, node, incarnation, tick, how: How::Silent });
    assert!(ended.try_recv().is_err(), "it waits for the store");
    status.blamed.store(true, Ordering::Release);
    let Ok(Ended::Stuck(why)) = ended.blocking_recv() else { panic!("stuck") };
    assert!(why.starts_with("loader 0") && why.contains("board 7"), "{why}");
    watchdog.unwrap().stop();
    assert_eq!(LastWords::open(data.path(), node, Incarnation(2)).unwrap().1, [attempt]);
    drop(release);
    thread.join().unwrap();
}
