//! What is noticed of a sector that goes to another node by those who command it:
//! its door is open until its tick moves, and who attaches meanwhile is told when it
//! runs there.

use starmesh::base::{EntityKey, NodeId, PlayerId};
use starmesh::cluster::core::attaching::Ticket;
use starmesh::cluster::core::message::{NodeBody, NodeMessage};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::{Release, Unavailable};
use starmesh::entity::commands::CommandResult;
use starmesh::entity::read::Query;
use starmesh::sim::Instruction;

use super::Cluster;

/// A cluster of two and a sector of node 1 in which a unit flies about.
fn busy() -> (Cluster, EntityKey) {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let sector = EntityKey::Sector(home);
    cluster.assign(sector, 1);
    cluster.run_until("it is there", is_at(sector, 1));
    let unit = cluster.units(home)[0];
    cluster.patrol(1, 1, unit, home);
    (cluster, sector)
}

fn is_at(sector: EntityKey, node: u32) -> impl Fn(&Cluster) -> bool {
    move |cluster| cluster.owner(sector) == Some(NodeId(node))
}

fn is_taken(sector: EntityKey) -> impl Fn(&Cluster) -> bool {
    let is_accept = move |message: &NodeMessage| matches!(message.body, NodeBody::Accept { entity, .. } if entity == sector);
    move |cluster| cluster.network.log.iter().any(|(.., message)| is_accept(message))
}

/// What attaching to it now leads to at a node.
fn attach(cluster: &mut Cluster, node: u32, sector: EntityKey) -> Result<(), Unavailable> {
    let (session, _) = cluster.session(1).expect("a session");
    let query = Query::Applied { player: PlayerId(1), session };
    cluster.node(node).table.read(1_000, sector, &query)
}

/// A command in each hundredth of a second, whatever the tick: one is refused only
/// if it is this node's no more.
#[test]
fn commands_are_taken_until_the_tick_with_which_a_sector_leaves() {
    let (mut cluster, sector) = busy();
    let EntityKey::Sector(home) = sector else { panic!("{sector}") };
    let unit = cluster.units(home)[0];
    // The answers to these are late, so that something is recorded in every tick.
    let mut ticket: Ticket = cluster.attach(1, sector, 1).expect("it answers");
    cluster.assign_by(2, sector, 2);
    let (mut taken, mut sequence) = (0, 1);
    while cluster.node(1).table.entity(sector).is_some() {
        sequence += 1;
        let command = cluster.command(1, sequence, unit, Instruction::Stop);
        cluster.note_commanded(unit, &command);
        let admitted = cluster.node(1).table.admit(sector, ticket, command);
        assert_eq!(admitted, Ok(()), "command {sequence}");
        ticket = ticket.next();
        taken += 1;
        cluster.event(1, Event::Clock);
        cluster.run(10);
    }
    assert!(taken > 5, "it took a while: {taken}");
    cluster.run_until("it is there", is_at(sector, 2));
    let answered = |n| cluster.nodes[&NodeId(1)].answer(1, n).map(|it| it.result.clone());
    for n in 2..=sequence {
        assert!(matches!(answered(n), Some(CommandResult::Done(_))), "{n}: {:?}", answered(n));
    }
    cluster.judge();
}

/// Its step at that tick, of which the row says nothing yet, too.
#[test]
fn all_that_a_sector_did_before_it_left_is_shown() {
    let (mut cluster, sector) = busy();
    for (from, to) in [(1, 2), (2, 1)].into_iter().cycle().take(8) {
        cluster.node(from).table.follow(sector).expect("it runs");
        // Not always at the same time of a step.
        cluster.run(730);
        cluster.assign(sector, to);
        cluster.run_until("it is there", is_at(sector, to));
        let left = cluster.node(to).table.entity(sector).expect("it runs").tick();
        let shown = cluster.node(from).released.iter().rev().find_map(|release| match release {
            Release::Scene { entity, scene } if *entity == sector => Some(scene.tick),
            Release::Step { entity, delta } if *entity == sector => Some(delta.tick),
            _ => None,
        });
        let shown = shown.expect("it is followed");
        assert!(left.since(shown) <= 1, "it left at {left:?}, and {shown:?} was shown last");
        cluster.run(500);
    }
    cluster.judge();
}

/// The giver's door is closed and its last record on its way; the taker's claim, too.
#[test]
fn who_attaches_on_the_way_is_told_when_it_runs_where_it_goes() {
    let (mut cluster, sector) = busy();
    cluster.assign(sector, 2);
    cluster.run_until("the taker takes it", is_taken(sector));
    cluster.node(1).hold_commits = true;
    cluster.run_until("its door is closed", |cluster| cluster.nodes[&NodeId(1)].is_holding());
    cluster.run(200);
    (1..=2).for_each(|id| cluster.node(id).woken.clear());
    assert_eq!(attach(&mut cluster, 1, sector), Err(Unavailable::NotHere));
    (1..=2).for_each(|id| cluster.event(id, Event::Wake(sector)));
    cluster.run(100);
    assert_eq!(cluster.node(1).woken, [], "it waits");
    assert_eq!(cluster.node(2).woken, [], "and where it goes, too");
    cluster.node(2).hold_commits = true;
    let event = cluster.node(1).let_commits_go();
    cluster.event(1, event);
    cluster.run_until("it is loaded there", |cluster| {
        cluster.nodes[&NodeId(2)].table.entity(sector).is_some()
    });
    assert_eq!(cluster.node(1).woken, [(sector, Some(NodeId(2)))]);
    cluster.run(100);
    assert_eq!(attach(&mut cluster, 2, sector), Err(Unavailable::Busy), "not claimed yet");
    cluster.event(2, Event::Wake(sector));
    assert_eq!(cluster.node(2).woken, []);
    let event = cluster.node(2).let_commits_go();
    cluster.event(2, event);
    let is_told = |cluster: &Cluster| cluster.nodes[&NodeId(2)].woken == [(sector, None)];
    cluster.run_until("who waited is told", is_told);
    assert_eq!(attach(&mut cluster, 2, sector), Ok(()), "who is told may attach");
    cluster.judge();
}

#[test]
fn who_wants_what_is_being_loaded_ahead_is_sent_to_who_has_it() {
    let (mut cluster, sector) = busy();
    cluster.node(2).slow_loads_ms = 2_000;
    cluster.assign(sector, 2);
    let is_offer = |message: &NodeMessage| matches!(message.body, NodeBody::Offer { entity, .. } if entity == sector);
    cluster.run_until("it is offered", |cluster| {
        cluster.network.log.iter().any(|(.., message)| is_offer(message))
    });
    cluster.run(100);
    cluster.node(2).woken.clear();
    cluster.event(2, Event::Wake(sector));
    assert_eq!(cluster.node(2).woken, [(sector, Some(NodeId(1)))], "at once");
    assert_eq!(attach(&mut cluster, 1, sector), Ok(()));
    cluster.run_until("it is there", is_at(sector, 2));
    assert_eq!(cluster.node(2).core.counts().ahead, 1);
    cluster.judge();
}

/// The taker waits for what its owner, which has died, will not give.
#[test]
fn who_waits_for_what_is_not_given_is_told_all_the_same() {
    let (mut cluster, sector) = busy();
    cluster.assign(sector, 2);
    cluster.run_until("the taker takes it", is_taken(sector));
    cluster.node(1).hold_commits = true;
    cluster.run(100);
    cluster.node(2).woken.clear();
    cluster.event(2, Event::Wake(sector));
    assert_eq!(cluster.node(2).woken, []);
    cluster.kill(1);
    let is_told = |cluster: &Cluster| cluster.nodes[&NodeId(2)].woken == [(sector, None)];
    let took = cluster.run_until("who waited is told", is_told);
    assert!(took <= 8_000, "{took} ms");
    cluster.start(1);
    cluster.judge();
}
