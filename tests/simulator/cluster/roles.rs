//! What nodes may do: who has a role is given what it is for, nobody else is, and
//! no role is needed by the others.

use starmesh::base::{EntityKey, NodeId, PlayerId};
use starmesh::cluster::core::roles::{Role, Roles};

use super::Cluster;

impl Cluster {
    /// Starts a process of node `id` with these roles.
    fn start_as(&mut self, id: u32, roles: &[Role]) {
        self.start_with(id, Roles::of(roles.iter().copied()).expect("a role"));
    }

    /// One node plans and has the ledgers, one the sectors, one neither.
    fn of_three_roles() -> Cluster {
        let mut cluster = Cluster::empty(1);
        cluster.start_as(1, &[Role::Coordinator, Role::Meta]);
        cluster.start_as(2, &[Role::Sector]);
        cluster.start_as(3, &[Role::Gateway]);
        cluster.run_until("all have their share", |cluster| {
            cluster.is_settled() && cluster.directory().regions().count() > 1
        });
        cluster
    }

    fn runs_anything(&mut self, id: u32) -> bool {
        self.node(id).table.keys().next().is_some()
    }
}

#[test]
fn who_has_no_role_for_it_is_given_nothing_also_when_nobody_else_lives() {
    let mut cluster = Cluster::of_three_roles();
    let (_, home) = cluster.found(1);
    let (sector, ledger) = (EntityKey::Sector(home), cluster.world.ledger_of(PlayerId(1)));
    assert_eq!(cluster.owner(sector), Some(NodeId(2)));
    assert_eq!(cluster.owner(ledger), Some(NodeId(1)));
    cluster.kill(2);
    cluster.run(10_000);
    assert_eq!(cluster.owner(sector), None, "nobody else runs sectors");
    assert!(!cluster.runs_anything(3));
    cluster.start_as(2, &[Role::Sector]);
    cluster.run_until("it runs again", |cluster| cluster.owner(sector) == Some(NodeId(2)));
    cluster.kill(1);
    cluster.run(10_000);
    assert_eq!((cluster.owner(ledger), cluster.owner(sector)), (None, Some(NodeId(2))));
    cluster.start_as(1, &[Role::Coordinator, Role::Meta]);
    cluster.run_until("it runs again", |cluster| cluster.owner(ledger) == Some(NodeId(1)));
    assert!(!cluster.runs_anything(3));
    cluster.judge();
}

#[test]
fn while_no_coordinator_lives_another_node_plans() {
    let mut cluster = Cluster::empty(1);
    let running = [Role::Sector, Role::Meta];
    cluster.start_as(1, &[Role::Coordinator]);
    cluster.start_as(2, &running);
    cluster.start_as(3, &running);
    cluster.run_until("all have their share", |cluster| {
        cluster.is_settled() && cluster.directory().regions().any(|(_, node)| node == NodeId(3))
    });
    let (_, home) = cluster.found(1);
    let (sector, unit) = (EntityKey::Sector(home), cluster.units(home)[0]);
    // It does not hibernate meanwhile.
    cluster.patrol(1, 1, unit, home);
    cluster.kill(1);
    cluster.run(15_000);
    let victim = cluster.home(sector);
    cluster.kill(victim);
    let other = NodeId(5 - victim);
    cluster.run_until("it runs elsewhere", |cluster| cluster.owner(sector) == Some(other));
    cluster.judge();
}

#[test]
fn a_node_with_other_roles_than_before_gives_away_what_it_may_not_have() {
    let mut cluster = Cluster::of(2);
    cluster.found(1);
    cluster.found(2);
    cluster.kill(2);
    cluster.start_as(2, &[Role::Meta, Role::Gateway]);
    cluster.run_until("it has no sector", |cluster| {
        cluster.is_settled() && cluster.directory().regions().all(|(_, node)| node == NodeId(1))
    });
    let sectors = cluster.node(2).table.keys().filter(|key| matches!(key, EntityKey::Sector(_)));
    assert_eq!(sectors.count(), 0);
    cluster.judge();
}

#[test]
fn a_first_node_that_may_have_nothing_is_ready_and_later_ones_get_it_all() {
    let mut cluster = Cluster::empty(1);
    cluster.start_as(1, &[Role::Gateway]);
    cluster.run_until("it is ready", |cluster| cluster.nodes[&NodeId(1)].ready);
    cluster.start(2);
    cluster.run_until("the other has all", |cluster| {
        cluster.is_settled() && cluster.directory().regions().any(|(_, node)| node == NodeId(2))
    });
    let (_, home) = cluster.found(1);
    assert_eq!(cluster.owner(EntityKey::Sector(home)), Some(NodeId(2)));
    cluster.judge();
}
