//! A cluster writes the highest format version that all nodes that run read, and no
//! node that does not read what is written has a place in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use starmesh::actors::membership::formats::Raising;
use starmesh::actors::membership::{OwnMember, RegisterError, register};
use starmesh::actors::rows::{Rows, RowsLimits};
use starmesh::base::{Incarnation, NodeId, Tick};
use starmesh::config::Config;
use starmesh::entity::commit::{Commit, Group, Put};
use starmesh::entity::format::{FORMATS, FormatError, Formats};
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::memory::Memory;

use super::membership_support::{First, Folder};

/// A build that reads one version more than this one.
const NEXT: Formats = Formats { lowest: FORMATS.highest, highest: FORMATS.highest + 1 };

/// A process of a node begins.
fn begin(store: &Memory, node: u32) {
    let commit = Commit {
        node: NodeId(node),
        incarnation: Incarnation(1),
        number: 0,
        nonce: 7,
        tick: Tick(0),
        audit_root: [0; 32],
        is_last: false,
        groups: Vec::new(),
    };
    store.commit(&commit).expect("the memory takes it");
}

fn raising(reads: Formats) -> Raising {
    Raising::new(reads, |_| {})
}

fn with(own: OwnMember, reads: Formats) -> OwnMember {
    OwnMember { reads, ..own }
}

fn written(store: &Memory) -> u16 {
    let row = store.get(keys::FORMAT).unwrap().expect("it was put");
    u16::from_be_bytes(row.value.try_into().expect("two bytes"))
}

/// A first node of this build, which runs.
async fn first() -> First {
    let first = First::start().await;
    let value = Some(FORMATS.highest.to_be_bytes().to_vec());
    let put = Put { key: keys::FORMAT.to_vec(), value };
    let group = Group { checks: Vec::new(), puts: vec![put], append: None };
    first.rows.commit_group(group).await.unwrap();
    begin(&first.store, 1);
    first
}

#[tokio::test]
async fn it_is_raised_when_the_last_node_was_restarted_with_the_next_build() {
    let first = first().await;
    let (_folder, second) = first.joined("b").await;
    begin(&first.store, 2);
    assert!(!raising(FORMATS).turn(&first.rows).await, "nobody reads more");
    register(&first.rows, &with(first.membership.own(), NEXT)).await.unwrap();
    let mut raising = raising(NEXT);
    assert!(!raising.turn(&first.rows).await, "the second does not read it");
    assert_eq!(written(&first.store), FORMATS.highest);
    register(&first.rows, &with(second.own(), NEXT)).await.unwrap();
    assert!(raising.turn(&first.rows).await);
    assert_eq!(written(&first.store), NEXT.highest);
    assert!(!raising.turn(&first.rows).await, "once");
    // Going back is no more possible.
    let back = register(&first.rows, &second.own()).await;
    let expected = FormatError::Unreadable { found: NEXT.highest, reads: FORMATS };
    assert!(matches!(back, Err(RegisterError::Format(error)) if error == expected));
}

#[tokio::test]
async fn who_encodes_is_told_of_a_rise_by_whomever_it_was() {
    let first = first().await;
    let (own, other) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0)));
    let telling = |to: &Arc<AtomicU16>| {
        let to = to.clone();
        Raising::new(NEXT, move |version| to.store(version, Ordering::Relaxed))
    };
    let told = || [&own, &other].map(|it| it.load(Ordering::Relaxed));
    let (mut raises, mut hears) = (telling(&own), telling(&other));
    assert!(!hears.turn(&first.rows).await, "it is said to read less");
    assert_eq!(told(), [0, FORMATS.highest]);
    register(&first.rows, &with(first.membership.own(), NEXT)).await.unwrap();
    assert!(raises.turn(&first.rows).await);
    assert_eq!(told(), [NEXT.highest, FORMATS.highest]);
    assert!(!hears.turn(&first.rows).await, "it is done");
    assert_eq!(told(), [NEXT.highest; 2]);
}

#[tokio::test]
async fn a_node_with_a_lower_format_max_says_so_and_holds_the_others_back() {
    let mut folder = Folder::new("a");
    folder.more = "format_max = 1".into();
    let kept = First::start_in(folder).await;
    let reads = kept.store.get(&keys::reads(NodeId(1))).unwrap().map(|row| row.value);
    assert_eq!(reads, Formats { lowest: 1, highest: 1 }.put(NodeId(1)).value);
    begin(&kept.store, 1);
    let value = Some(1_u16.to_be_bytes().to_vec());
    let put = Put { key: keys::FORMAT.to_vec(), value };
    kept.rows.commit_group(Group { puts: vec![put], ..Group::default() }).await.unwrap();
    let (_folder, second) = kept.joined("b").await;
    register(&kept.rows, &second.own()).await.unwrap();
    begin(&kept.store, 2);
    assert!(!raising(second.own().reads).turn(&kept.rows).await, "node 1 does not read it");
    assert_eq!(written(&kept.store), 1);
}

#[tokio::test]
async fn a_node_that_does_not_run_is_not_waited_for_and_reads_what_it_finds() {
    let first = first().await;
    let (_folder, second) = first.joined("b").await;
    register(&first.rows, &with(first.membership.own(), NEXT)).await.unwrap();
    assert!(raising(NEXT).turn(&first.rows).await);
    let refused = register(&first.rows, &second.own()).await;
    assert!(matches!(refused, Err(RegisterError::Format(_))));
    register(&first.rows, &with(second.own(), NEXT)).await.unwrap();
}

/// A node of the next build, the only one that runs, has looked at all of them and is
/// about to raise it when `meanwhile` is done.
async fn raised_behind<F: Future<Output = ()>>(first: &First, meanwhile: F) -> bool {
    register(&first.rows, &with(first.membership.own(), NEXT)).await.unwrap();
    let store: Arc<dyn Store> = first.store.clone();
    let (rows, mut queue) = Rows::new(&store, RowsLimits::from(&Config::with("").unwrap().store));
    let mut raising = raising(NEXT);
    let commit = async {
        let asked = queue.recv().await.expect("it raises it");
        meanwhile.await;
        let answer = first.rows.commit_group(asked.group).await;
        asked.answer.send(answer).expect("it waits for the answer");
    };
    let (raised, ()) = tokio::join!(raising.turn(&rows), commit);
    assert_eq!(written(&first.store), if raised { NEXT } else { FORMATS }.highest);
    raised
}

#[tokio::test]
async fn it_is_not_raised_where_somebody_came_since_all_were_looked_at() {
    let first = first().await;
    let (_folder, second) = first.joined("b").await;
    register(&first.rows, &with(second.own(), NEXT)).await.unwrap();
    begin(&first.store, 2);
    // It comes back with the build that it had.
    let again = async { register(&first.rows, &second.own()).await.unwrap() };
    assert!(!raised_behind(&first, again).await, "one that came back was overlooked");
    register(&first.rows, &with(second.own(), NEXT)).await.unwrap();
    let joins = async {
        first.joined("c").await;
    };
    assert!(!raised_behind(&first, joins).await, "one that joined was overlooked");
    // With nobody in between it is.
    assert!(raised_behind(&first, async {}).await);
}
