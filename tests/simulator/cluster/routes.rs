//! Where things go: to the node that the directory names, around a stale one,
//! and across borders between nodes.

use starmesh::base::{EntityKey, NodeId};
use starmesh::cluster::core::message::NodeBody;

use super::Cluster;
use super::network::Weather;

#[test]
fn a_finer_entry_counts_more_than_a_coarser_one() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let (sector, region) = (EntityKey::Sector(home), home.ancestor(3).expect("an ancestor"));
    let beside = region.children().find(|child| child.ancestor(2) != home.ancestor(2));
    let beside = EntityKey::Sector(beside.expect("four children"));
    cluster.assign(EntityKey::Sector(region), 1);
    cluster.assign(sector, 2);
    assert_eq!((cluster.home(sector), cluster.home(beside)), (2, 1));
    cluster.run_until("it is there", |cluster| cluster.owner(sector) == Some(NodeId(2)));
    cluster.judge();
}

#[test]
fn units_go_to_and_fro_over_a_border_between_nodes_and_none_is_lost_or_doubled() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let east = home.neighbour(1, 0).expect("a neighbour");
    cluster.assign(EntityKey::Sector(home), 1);
    cluster.assign(EntityKey::Sector(east), 2);
    cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
    cluster.network.weather = Weather { lost: 200, doubled: 200, late_ms: 1_500, slow_ms: 0 };
    let units = cluster.units(home);
    for (sequence, unit) in (1..).zip(&units) {
        cluster.patrol(1, sequence, *unit, east);
    }
    for unit in units {
        for place in [east, home, east] {
            cluster.run_until("it is across", |cluster| {
                cluster.place(unit).is_some_and(|(_, at)| at == place)
            });
        }
    }
    cluster.judge();
}

#[test]
fn what_goes_to_a_node_that_gave_the_entity_away_is_passed_on() {
    let mut cluster = Cluster::of(3);
    let (_, home) = cluster.found(1);
    let east = home.neighbour(1, 0).expect("a neighbour");
    cluster.assign(EntityKey::Sector(home), 1);
    cluster.assign(EntityKey::Sector(east), 2);
    cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, east);
    cluster.run_until("it is near", |cluster| {
        cluster.position(unit).is_some_and(|(place, x)| place == home && x > 990_000)
    });
    // The next sector goes elsewhere at that moment; its sender learns it last.
    cluster.assign(EntityKey::Sector(east), 3);
    cluster.run_until("it is across", |cluster| cluster.place(unit) == Some((NodeId(3), east)));
    let log = &cluster.network.log;
    let hops = log.iter().map(|(.., message)| message.hops).max();
    assert!(hops <= Some(4), "24: {hops:?}");
    cluster.judge();
}

#[test]
fn nodes_that_do_not_hear_each_other_lose_nothing() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let east = home.neighbour(1, 0).expect("a neighbour");
    cluster.assign(EntityKey::Sector(home), 1);
    cluster.assign(EntityKey::Sector(east), 2);
    cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
    cluster.network.cuts.insert((NodeId(1), NodeId(2)));
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, east);
    cluster.run(60_000);
    assert_eq!(cluster.nodes.len(), 2, "both commit: nobody is dead");
    assert_eq!(cluster.place(unit), None, "it is in a message");
    let tries = cluster.network.log.iter().filter(|(_, from, _, message)| {
        from.0 == 1 && matches!(message.body, NodeBody::Deliver(_))
    });
    assert!(tries.count() > 5, "it is sent again and again");
    cluster.network.cuts.clear();
    cluster
        .run_until("it is across", |cluster| cluster.place(unit).is_some_and(|(_, at)| at == east));
    cluster.judge();
}
