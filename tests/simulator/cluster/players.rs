//! What gateways and clients say twice, or to a node that it does not concern.

use starmesh::base::{EntityKey, NodeId, PlayerId, SessionId};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Release;
use starmesh::entity::commands::CommandResult;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::{Connect, FromGateway, Input, Left};
use starmesh::sim::Instruction;

use super::{Cluster, UNITS};

fn connect(connection: u64) -> Connect {
    Connect { player: PlayerId(1), connection, resume: None }
}

/// What a node said of sessions, in order: to which connection one was given, or
/// which one ended.
fn said(cluster: &Cluster, node: u32) -> Vec<Result<(u64, SessionId), SessionId>> {
    let one = |release: &Release| match release {
        Release::Player(PlayerEffect::Connected(it)) => Some(Ok((it.connection, it.session))),
        Release::Player(PlayerEffect::SessionEnded { session, .. }) => Some(Err(*session)),
        _ => None,
    };
    cluster.nodes[&NodeId(node)].released.iter().filter_map(one).collect()
}

#[test]
fn two_connections_of_one_player_leave_one_session_wherever_its_ledger_is() {
    let mut cluster = Cluster::of(2);
    let (first, _) = cluster.found(1);
    let second = SessionId(first.0 + 1);
    let ledger = cluster.world.ledger_of(PlayerId(1));
    let (node, other) = (cluster.home(ledger), 3 - cluster.home(ledger));
    cluster.event(node, Event::Propose(ledger, Input::Connect(connect(2))));
    cluster
        .run_until("the second has one", |cluster| said(cluster, node).contains(&Ok((2, second))));
    assert!(said(&cluster, node).contains(&Err(first)), "the first is told");
    cluster.assign(ledger, other);
    cluster.run_until("it is there", |cluster| cluster.owner(ledger) == Some(NodeId(other)));
    // The gateways did not hear, and say what they have; the first asks once more.
    let held = |connection, session| {
        let left = Left { player: PlayerId(1), session, connection };
        Input::Gateway(FromGateway::Held(left))
    };
    let again = Input::Gateway(FromGateway::ConnectAgain(connect(1)));
    for input in [held(1, first), held(2, second), again, held(1, first)] {
        cluster.event(other, Event::Propose(ledger, input));
        cluster.run(300);
    }
    let told = [Err(first), Ok((2, second)), Err(first)];
    assert_eq!(said(&cluster, other), told, "the newer connection keeps it");
    cluster.judge();
}

/// A gateway whose map is old asks the wrong node, which passes no Connect on.
/// It asks again every five seconds, by then the right one, until it is answered.
#[test]
fn a_connect_that_reached_no_owner_is_made_good_by_the_next_and_counts_once() {
    let mut cluster = Cluster::of(2);
    let ledger = cluster.world.ledger_of(PlayerId(1));
    let (node, other) = (cluster.home(ledger), 3 - cluster.home(ledger));
    cluster.event(other, Event::Propose(ledger, Input::Connect(connect(1))));
    cluster.run(5_000);
    assert_eq!(said(&cluster, node), []);
    assert_eq!(cluster.node(other).core.counts().dropped, 1);
    let again = Input::Gateway(FromGateway::ConnectAgain(connect(1)));
    for _ in 0..3 {
        cluster.event(node, Event::Propose(ledger, again.clone()));
        cluster.run(5_000);
    }
    cluster.founded += UNITS;
    assert_eq!(said(&cluster, node), vec![Ok((1, SessionId(1))); 3]);
    cluster.judge();
}

#[test]
fn a_retry_after_the_unit_moved_to_another_node_is_answered_as_before() {
    let mut cluster = Cluster::of(2);
    let (_, home) = cluster.found(1);
    let east = home.neighbour(1, 0).expect("a neighbour");
    let (here, there) = (EntityKey::Sector(home), EntityKey::Sector(east));
    cluster.assign(here, 1);
    cluster.assign(there, 2);
    cluster.run_until("each is where it belongs", |cluster| cluster.is_settled());
    let unit = cluster.units(home)[0];
    // Where it stands it is not: it has somewhere to go.
    cluster.patrol(1, 1, unit, east);
    let first = cluster.node(1).answer(1, 1).expect("an answer").clone();
    cluster.run_until("it is across", |cluster| cluster.place(unit) == Some((NodeId(2), east)));
    let before = cluster.position(unit);
    let patrol = {
        let position = starmesh::base::CompressedPosition { x: 1 << 30, y: 1 << 30 };
        let target = starmesh::sim::Target { sector: east, position };
        cluster.command(1, 1, unit, Instruction::Patrol { target })
    };
    let answers = |cluster: &Cluster| {
        let released = cluster.nodes[&NodeId(1)].released.iter();
        let is_first = |release: &&Release| matches!(release, Release::Player(PlayerEffect::Answered(it)) if *it == first);
        released.filter(is_first).count()
    };
    let ticket = cluster.attach(1, here, 1).expect("it answers");
    let known = answers(&cluster);
    cluster.node(1).table.admit(here, ticket, patrol).expect("there is room");
    cluster.event(1, Event::Clock);
    cluster.run_until("it is answered again", |cluster| answers(cluster) == known + 1);
    // A new command there finds nobody; where the unit is it is taken.
    let ticket = cluster.attach(1, here, 1).expect("it answers");
    let stop = cluster.command(1, 2, unit, Instruction::Stop);
    cluster.node(1).table.admit(here, ticket, stop).expect("there is room");
    cluster.event(1, Event::Clock);
    let is_answered = |cluster: &Cluster| cluster.nodes[&NodeId(1)].answer(1, 2).is_some();
    cluster.run_until("it is answered", is_answered);
    let answer = &cluster.node(1).answer(1, 2).expect("an answer").result;
    let is_gone = matches!(answer, CommandResult::NotHere | CommandResult::Moved { .. });
    assert!(is_gone, "{answer:?}");
    cluster
        .run_until("it flies on as it was told once", |cluster| cluster.position(unit) != before);
    let answer = cluster.order(1, 3, unit, Instruction::Stop);
    assert!(matches!(answer, CommandResult::Done(_)), "{answer:?}");
    cluster.judge();
}
