//! Who does not belong is not served, and both sides know why; what is no call
//! ends only the connection or the call that it came on.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use starmesh::base::NodeId;
use starmesh::cluster::certificates::{Identity, Subject, Validity};
use starmesh::cluster::links::store_calls::{CallLimits, MeshError, MeshState, MeshStore};
use starmesh::cluster::links::{By, End, Limits, Reason, Settings};
use starmesh::entity::commit::{Commit, CommitError};
use starmesh::store::Store;
use starmesh::store::conformance::{Process, put, value};
use starmesh::store::memory::Memory;
use tokio::runtime::Runtime;

use super::links_support::{Raw, Realm, TestNode, name, settings};
use super::store_mesh_support::{
    Gate, SERVING, calling, patient, runtime, serving, serving_with, until,
};

const PURPOSE: &str = "starmesh-store/1";

/// Why the other node refuses, or this one; once it is known.
fn refused(store: &MeshStore) -> End {
    until("a refusal", || match store.state() {
        MeshState::Away { why } => why.filter(|why| why.reason.is_refusal()),
        MeshState::Up { .. } => None,
    })
}

fn open(identity: &Identity, node: NodeId, to: &TestNode) -> MeshStore {
    let address = to.address().to_string();
    MeshStore::open(identity, node, address, patient()).expect("it opens")
}

/// This identity is not served, by this side, and both know the reason.
fn check(runtime: &Runtime, identity: &Identity, serving: &TestNode, reason: Reason, by: By) {
    let store = open(identity, serving.id, serving);
    let (here, there) = (refused(&store), runtime.block_on(serving.turned_away()));
    let other = if by == By::Us { By::Peer } else { By::Us };
    assert_eq!((here.reason, here.by), (reason, by), "{here} {there}");
    assert_eq!((there.reason, there.by), (reason, other), "{here} {there}");
}

#[test]
fn a_store_of_another_authority_is_not_believed() {
    let (runtime, ours, foreign) = (runtime(), Realm::new("demo"), Realm::new("demo"));
    let node = serving(&runtime, &foreign, Arc::new(Memory::new()));
    check(&runtime, &ours.identity(1), &node, Reason::ForeignCertificate, By::Us);
}

#[test]
fn a_certificate_of_another_authority_is_not_served() {
    let (runtime, ours, foreign) = (runtime(), Realm::new("demo"), Realm::new("demo"));
    let node = serving(&runtime, &ours, Arc::new(Memory::new()));
    let stranger = foreign.identity(1);
    let raw = Raw::connect(&ours, Some(&stranger), PURPOSE, node.address());
    let here = runtime.block_on(async {
        match raw.await {
            Ok(raw) => raw.end().await,
            Err(error) => End::from(&error),
        }
    });
    assert_eq!((here.reason, here.by), (Reason::ForeignCertificate, By::Peer), "{here}");
    let there = runtime.block_on(node.turned_away());
    assert_eq!((there.reason, there.by), (Reason::ForeignCertificate, By::Us), "{there}");
}

#[test]
fn an_expired_certificate_is_not_served() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let (now, day) = (SystemTime::now(), Duration::from_hours(24));
    let past = Validity { from: now - 10 * day, until: now - day };
    let expired = realm.identity_of(&realm.subject(1), past);
    check(&runtime, &expired, &node, Reason::ExpiredCertificate, By::Peer);
}

#[test]
fn another_cluster_of_the_same_authority_is_not_served() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let subject = Subject { cluster: name("other"), ..realm.subject(1) };
    let other = realm.identity_of(&subject, Validity::of_node(SystemTime::now()));
    let raw = Raw::connect(&realm, Some(&other), PURPOSE, node.address());
    let here = runtime.block_on(async { raw.await.expect("a handshake").end().await });
    let there = runtime.block_on(node.turned_away());
    assert_eq!((here.reason, there.reason), (Reason::OtherCluster, Reason::OtherCluster));
    assert_eq!(here.detail, "cluster other where demo was expected");
    // Nor does it call a store of another cluster.
    let store = open(&other, SERVING, &node);
    assert_eq!(refused(&store).reason, Reason::OtherCluster);
}

#[test]
fn a_node_at_the_address_of_another_is_not_taken_for_it() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let store = open(&realm.identity(1), NodeId(7), &node);
    let (here, there) = (refused(&store), runtime.block_on(node.turned_away()));
    for (end, by) in [(&here, By::Us), (&there, By::Peer)] {
        assert_eq!((end.reason, end.by), (Reason::OtherNode, by), "{end}");
        assert_eq!(end.detail, "node 7 was dialled, node 1000 answered");
    }
}

#[test]
fn a_node_that_serves_no_store_says_so() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = {
        let _context = runtime.enter();
        TestNode::start(Settings { limits: patient(), ..settings(realm.identity(SERVING.0)) })
    };
    let store = open(&realm.identity(1), SERVING, &node);
    let (here, there) = (refused(&store), runtime.block_on(node.turned_away()));
    assert_eq!((here.reason, there.reason), (Reason::NotAdmitted, Reason::NotAdmitted));
    assert_eq!(here.detail, "node 1000 serves no store");
}

#[test]
fn without_a_certificate_nobody_is_served() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let raw = Raw::connect(&realm, None, PURPOSE, node.address());
    let here = runtime.block_on(async { raw.await.expect("a handshake").end().await });
    let there = runtime.block_on(node.turned_away());
    assert_eq!((here.reason, there.reason), (Reason::NoCertificate, Reason::NoCertificate));
}

#[test]
fn no_node_calls_itself() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let own = realm.identity(SERVING.0);
    let opened = MeshStore::open(&own, SERVING, node.address().to_string(), patient());
    assert!(matches!(opened, Err(MeshError::Itself(SERVING))));
    let raw = Raw::connect(&realm, Some(&own), PURPOSE, node.address());
    let here = runtime.block_on(async { raw.await.expect("a handshake").end().await });
    assert_eq!(here.reason, Reason::OtherNode);
}

/// A connection of node 7, by hand.
fn by_hand(runtime: &Runtime, realm: &Realm, node: &TestNode) -> Raw {
    let identity = realm.identity(7);
    let raw = Raw::connect(realm, Some(&identity), PURPOSE, node.address());
    runtime.block_on(raw).expect("a handshake")
}

#[test]
fn what_is_no_call_ends_only_the_connection_that_it_came_on() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let store = calling(&realm, 1, node.address(), patient());
    let mut process = Process::begun(&store, 1);
    for (bytes, reason) in [
        (&[9, 0, 0, 0, 0][..], Reason::Malformed),
        (&[0, 255, 255, 255, 255], Reason::TooLong),
        (&[1, 255, 255, 0, 0], Reason::TooLong),
        (&[1, 1, 0, 0, 0, 99], Reason::Malformed),
        (&[1, 2, 0, 0, 0, 4, 0], Reason::Malformed),
        (&[0, 3, 0, 0, 0, 7, 7, 7], Reason::Malformed),
    ] {
        let raw = by_hand(&runtime, &realm, &node);
        let end = runtime.block_on(async {
            let _stream = raw.open(bytes).await;
            raw.end().await
        });
        assert_eq!((end.reason, end.by), (reason, By::Peer), "{bytes:?}: {end}");
        process.must(&store, vec![]);
    }
}

#[test]
fn a_call_of_which_a_part_is_missing_ends_only_itself() {
    let (runtime, realm, memory) = (runtime(), Realm::new("demo"), Arc::new(Memory::new()));
    let node = serving(&runtime, &realm, memory.clone());
    let raw = by_hand(&runtime, &realm, &node);
    let begin = written(&Process::new(7).next(vec![put(b"x", b"1")]));
    runtime.block_on(async {
        for bytes in [&begin[..3], &begin[..begin.len() - 1]] {
            let (mut send, mut receive) = raw.open(bytes).await;
            send.finish().expect("it is open");
            assert!(receive.read_to_end(100).await.is_err(), "no answer to a part");
        }
        assert_eq!(value(&*memory, b"x"), None);
        let (mut send, mut receive) = raw.open(&begin).await;
        send.finish().expect("it is open");
        assert!(!receive.read_to_end(100).await.expect("an answer").is_empty());
    });
    assert_eq!(value(&*memory, b"x"), Some(b"1".to_vec()));
}

/// A commit as it goes over a stream, written here anew.
fn written(commit: &Commit) -> Vec<u8> {
    let body = postcard::to_stdvec(commit).expect("it can be written");
    let length = u32::try_from(body.len()).expect("a short one").to_le_bytes();
    [&[0][..], &length, &body].concat()
}

/// Read in whole, it is carried out, whether or not anybody is still there.
#[test]
fn a_commit_that_was_read_is_done_though_its_connection_is_closed() {
    let (runtime, realm, gate) = (runtime(), Realm::new("demo"), Gate::shut());
    let node = serving(&runtime, &realm, gate.clone());
    let raw = by_hand(&runtime, &realm, &node);
    let store = calling(&realm, 1, node.address(), patient());
    let begin = written(&Process::new(7).next(vec![put(b"x", b"1")]));
    let _stream = runtime.block_on(raw.open(&begin));
    gate.until("the commit is at the store", |state| state.commits == 1);
    raw.connection.close(0_u32.into(), b"gone");
    store.time().expect("it answers");
    gate.set_shut(false);
    gate.until("it was carried out", |state| state.commits == 0);
    assert_eq!(value(&gate.memory, b"x"), Some(b"1".to_vec()));
}

#[test]
fn no_node_commits_as_another() {
    let (runtime, realm, memory) = (runtime(), Realm::new("demo"), Arc::new(Memory::new()));
    let node = serving(&runtime, &realm, memory.clone());
    let store = calling(&realm, 1, node.address(), patient());
    let refused = store.commit(&Process::new(2).next(vec![put(b"x", b"1")]));
    let Err(CommitError::Malformed(why)) = refused else { panic!("{refused:?}") };
    assert_eq!(why, "node 1 sent a commit of node 2");
    assert_eq!(value(&*memory, b"x"), None);
}

/// It says how much it will send and sends nothing: it takes its places and no
/// more, and after a while it is told that it is too slow.
#[test]
fn a_node_that_stalls_takes_its_own_places_only() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let raw = by_hand(&runtime, &realm, &node);
    let store = calling(&realm, 1, node.address(), patient());
    let places = 1 + CallLimits::default().reads_per_node as usize;
    let longest = [&[0][..], &(16_u32 << 20).to_le_bytes()].concat();
    runtime.block_on(async {
        let mut stalled = Vec::new();
        for _ in 0..places {
            stalled.push(raw.open(&longest).await);
        }
        // What goes after them has no place, and none comes.
        let mut process = Process::new(1);
        let more = raw.connection.open_bi();
        let others = tokio::task::spawn_blocking(move || {
            for _ in 0..20 {
                process.must(&store, vec![put(b"x", &[7; 60_000])]);
                store.get(b"x").expect("it answers");
            }
        });
        tokio::select! {
            biased;
            opened = more => panic!("one call more than there are places: {:?}", opened.is_ok()),
            done = others => done.expect("it does"),
        }
    });
}

#[test]
fn who_does_not_send_what_it_began_is_too_slow() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let calls = CallLimits { transfer: Duration::from_millis(20), ..patient().calls };
    let limits = Limits { calls, ..patient() };
    let node = serving_with(&runtime, &realm, Arc::new(Memory::new()), limits);
    let raw = by_hand(&runtime, &realm, &node);
    let end = runtime.block_on(async {
        let _stream = raw.open(&[0, 9, 0, 0, 0, 1]).await;
        raw.end().await
    });
    assert_eq!((end.reason, end.by), (Reason::TooSlow, By::Peer), "{end}");
}

/// One connection of each node: a node that started anew is not kept waiting
/// for the places of its last process.
#[test]
fn a_newer_connection_of_a_node_ends_the_one_before() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let node = serving(&runtime, &realm, Arc::new(Memory::new()));
    let first = by_hand(&runtime, &realm, &node);
    // Known by its answer to be the one that is there.
    runtime.block_on(async {
        let (mut send, mut receive) = first.open(&[1, 1, 0, 0, 0, 4]).await;
        send.finish().expect("it is open");
        receive.read_to_end(100).await.expect("an answer");
    });
    let _second = by_hand(&runtime, &realm, &node);
    let end = runtime.block_on(first.end());
    assert_eq!((end.reason, end.by), (Reason::Duplicate, By::Peer), "{end}");
}

#[test]
fn more_nodes_than_may_call_are_refused() {
    let (runtime, realm) = (runtime(), Realm::new("demo"));
    let calls = CallLimits { nodes_max: 1, ..patient().calls };
    let limits = Limits { calls, ..patient() };
    let node = serving_with(&runtime, &realm, Arc::new(Memory::new()), limits);
    let one = calling(&realm, 1, node.address(), patient());
    one.time().expect("it answers");
    let raw = by_hand(&runtime, &realm, &node);
    assert_eq!(runtime.block_on(raw.end()).reason, Reason::Busy);
    drop(one);
    // When it has gone there is room.
    let two = calling(&realm, 2, node.address(), patient());
    two.time().expect("it answers");
}
