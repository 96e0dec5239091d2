//! Which keys a cluster keeps, and for how long; and what is counted by them.

use starmesh::base::{EntityKey, Incarnation, NodeId};
use starmesh::entity::keys;
use starmesh::store::{Store, recovery};

use super::Cluster;

/// What a node had, and another is to claim, needs the tick at which it ended.
#[test]
fn an_incarnation_is_forgotten_when_nobody_can_claim_what_it_left_and_not_before() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    cluster.assign(sector, 1);
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(1)));
    let ended = |cluster: &Cluster| {
        recovery::ended_of(&*cluster.store, NodeId(1)).expect("the memory answers")
    };
    // It belongs to a node that stands still, and its owner dies.
    cluster.node(2).stopped = true;
    cluster.assign(sector, 2);
    cluster.kill(1);
    cluster.start(1);
    cluster.run_until("node 1 runs again", |cluster| cluster.nodes[&NodeId(1)].ready);
    cluster.run(1_000);
    assert_eq!(cluster.owner(sector), None, "nobody has claimed it");
    assert_eq!(ended(&cluster), [Incarnation(1)]);
    cluster.node(2).stopped = false;
    cluster.run_until("node 2 claims it", |cluster| cluster.owner(sector) == Some(NodeId(2)));
    cluster.judge();
    cluster.run(65_000);
    assert_eq!(ended(&cluster), [], "all of it was claimed");
    for _ in 0..5 {
        cluster.kill(1);
        cluster.start(1);
        cluster.run_until("node 1 runs again", |cluster| cluster.nodes[&NodeId(1)].ready);
        cluster.leave(1);
        cluster.start(1);
        cluster.run_until("all have their share", |cluster| cluster.is_settled());
    }
    cluster.run(65_000);
    assert_eq!(ended(&cluster), []);
    cluster.judge();
}

#[test]
fn who_hibernates_is_counted_by_the_node_it_belongs_to() {
    let mut cluster = Cluster::of(2);
    let homes: Vec<EntityKey> =
        (1..=4).map(|player| EntityKey::Sector(cluster.found(player).1)).collect();
    let asleep = |cluster: &Cluster, node: u32| {
        let rows = cluster.store.scan(keys::SUMMARY, None, usize::MAX);
        let rows = rows.expect("the memory answers");
        let sectors = rows.iter().filter_map(|(key, _)| keys::parse_summary(key));
        sectors.filter(|sector| cluster.home(*sector) == node).count() as u64
    };
    let is_counted = |cluster: &Cluster| {
        let counted = |node| cluster.nodes[&NodeId(node)].core.counts().asleep;
        [1, 2].into_iter().all(|node| counted(node) == Some(asleep(cluster, node)))
    };
    let all_sleep = |cluster: &Cluster| asleep(cluster, 1) + asleep(cluster, 2) == 4;
    cluster.run_until("all hibernate", all_sleep);
    cluster.run_until("they are counted", is_counted);
    // They go to the other node as they are: nobody wakes them.
    for (to, sector) in (0..).zip(&homes) {
        cluster.assign(*sector, 1 + to % 2);
    }
    cluster.run_until("they are counted anew", |cluster| {
        asleep(cluster, 1) == 2 && is_counted(cluster)
    });
    cluster.kill(2);
    cluster.start(2);
    cluster.run_until("they are counted again", is_counted);
    cluster.judge();
}
