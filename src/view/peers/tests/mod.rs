mod cluster;
mod sums;

use std::cell::RefCell;
use std::sync::Arc;

use cluster::{A, B, C, Cluster, ship};

use super::lending::{SECTORS_MAX, WAIT_TICKS};
use super::{Ask, Following, Lending, Place, ViewMessage};
use crate::base::draw::draw;
use crate::base::{NodeId, SectorId, Tick};
use crate::view::fanout::{Packet, Shown};
use crate::view::stage::{Scene, StepDelta};

const HOME: SectorId = SectorId::tactical(5, 5);

fn ticks(packets: &[Packet]) -> Vec<u64> {
    packets.iter().map(|packet| packet.tick.0).collect()
}

/// A sector with a ship that runs at A, and one who observes it at B.
fn followed() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.start(HOME, A, vec![ship(1)], 100);
    cluster.observe(B, HOME, 20);
    cluster.run(6);
    cluster
}

#[test]
fn an_observer_elsewhere_gets_a_keyframe_and_every_step_with_the_same_bytes() {
    let mut cluster = followed();
    cluster.observe(A, HOME, 10);
    cluster.observe(B, HOME, 21);
    for id in 2..30 {
        cluster.appear(HOME, ship(id));
        cluster.run(3);
    }
    let (here, there) = (cluster.packets(A, 10), cluster.packets(B, 21));
    let whole = there.iter().rposition(|packet| packet.keyframe).unwrap();
    let there = &there[whole..];
    let from = here.iter().rposition(|packet| packet.keyframe).unwrap();
    let here: Vec<Packet> = here[from..].to_vec();
    let common = here.iter().filter(|packet| packet.tick >= there[0].tick);
    let of_common = |packet: &Packet| (packet.tick, packet.keyframe, packet.bytes.clone());
    let common: Vec<_> = common.map(of_common).collect();
    assert!(common.len() > 20, "{} packets", common.len());
    assert!(there.iter().skip(1).map(of_common).eq(common.into_iter().skip(1)));
    assert_eq!(cluster.seen(B, 21), (1..30).collect::<Vec<_>>());
}

#[test]
fn a_step_that_is_lost_brings_a_keyframe_and_never_a_wrong_view() {
    let mut cluster = followed();
    let before = cluster.packets(B, 20).len();
    cluster.link(A, B, |link| link.lose = 1);
    cluster.appear(HOME, ship(2));
    cluster.run(8);
    cluster.appear(HOME, ship(3));
    cluster.run(4);
    let after = cluster.packets(B, 20).split_off(before);
    assert!(after[0].keyframe, "what comes behind the gap is all of it");
    assert_eq!(after.iter().filter(|packet| packet.keyframe).count(), 1, "it was asked for once");
    assert_eq!(cluster.seen(B, 20), [1, 2, 3]);
}

#[test]
fn a_sector_that_moves_goes_on_with_its_handle_in_the_order_of_its_ticks() {
    for told_first in [true, false] {
        let mut cluster = followed();
        [(A, 10), (C, 30)].into_iter().for_each(|(at, who)| cluster.observe(at, HOME, who));
        cluster.run(10);
        let moves = |cluster: &mut Cluster| {
            let (units, tick) = cluster.stop(HOME);
            cluster.run(3);
            (units, tick + 3)
        };
        // Those that follow hear of it before the owner, or behind.
        let (units, tick) = if told_first {
            cluster.directory.insert(HOME, B);
            cluster.run(4);
            moves(&mut cluster)
        } else {
            let moved = moves(&mut cluster);
            cluster.run(4);
            cluster.directory.insert(HOME, B);
            moved
        };
        cluster.start(HOME, B, units, tick);
        cluster.appear(HOME, ship(2));
        cluster.run(8);
        for (at, who) in [(A, 10), (B, 20), (C, 30)] {
            let packets = cluster.packets(at, who);
            assert!(packets.iter().all(|packet| packet.handle == packets[0].handle));
            assert!(ticks(&packets).is_sorted(), "{:?}", ticks(&packets));
            assert_eq!(cluster.seen(at, who), [1, 2], "at {at}");
            assert!(cluster.shown(at, who).contains(&Shown::Gone(HOME)));
        }
        assert_eq!(cluster.lent(A), 8, "of those around it, which stay there, and no more of it");
    }
}

#[test]
fn a_link_that_goes_down_and_up_brings_gone_and_then_a_keyframe() {
    let mut cluster = followed();
    cluster.set_link((A, B), false);
    let before = cluster.shown(B, 20).len();
    assert_eq!(cluster.shown(B, 20)[before - 1], Shown::Gone(HOME));
    assert_eq!((cluster.lent(A), cluster.is_followed(HOME)), (0, false));
    cluster.appear(HOME, ship(2));
    cluster.run(20);
    assert_eq!(cluster.shown(B, 20).len(), before, "nothing comes");
    cluster.set_link((A, B), true);
    cluster.run(6);
    let Shown::Packet(first) = &cluster.shown(B, 20)[before] else { panic!("a packet") };
    assert!(first.keyframe);
    assert_eq!(cluster.seen(B, 20), [1, 2]);
}

#[test]
fn a_slow_link_costs_frames_and_no_memory() {
    let mut cluster = followed();
    cluster.observe(C, HOME, 30);
    cluster.run(4);
    cluster.link(A, B, |link| link.room = 2);
    let before = [cluster.packets(B, 20).len(), cluster.packets(C, 30).len()];
    for id in 2..60 {
        cluster.appear(HOME, ship(id));
        cluster.run(4);
    }
    let [slow, quick] = [(B, 20, before[0]), (C, 30, before[1])]
        .map(|(at, who, before)| cluster.packets(at, who).split_off(before));
    assert!(slow.len() * 2 < quick.len(), "{} of {}", slow.len(), quick.len());
    let whole = quick.iter().filter(|packet| packet.keyframe).count();
    assert!(whole * 4 < quick.len(), "{whole} keyframes for others of {}", quick.len());
    // As the link was before: what waits there then is bounded by it alone.
    assert!(cluster.link(A, B, |link| link.most) <= 12);
    cluster.link(A, B, |link| link.room = 0);
    cluster.run(100);
    assert_eq!(cluster.seen(B, 20), (1..60).collect::<Vec<_>>());
}

#[test]
fn who_is_observed_by_nobody_is_told_so_and_sends_no_more() {
    let mut cluster = followed();
    cluster.unobserve(B, HOME, 20);
    cluster.run(2);
    assert_eq!((cluster.lent(A), cluster.is_followed(HOME)), (0, false));
    let taken = cluster.link(A, B, |link| link.taken.len());
    cluster.run(20);
    assert_eq!(cluster.link(A, B, |link| link.taken.len()), taken);
}

#[test]
fn a_sector_without_a_record_is_shown_as_the_seed_until_it_runs() {
    let mut cluster = Cluster::new();
    cluster.observe(B, HOME, 20);
    cluster.run(4);
    assert_eq!(ticks(&cluster.packets(B, 20)), [0]);
    cluster.run(100);
    let asked = cluster.link(B, A, |link| link.taken.len());
    assert_eq!(asked, 9, "the sector and those around it were asked for once");
    cluster.start(HOME, A, vec![ship(1)], 200);
    cluster.run(4);
    assert_eq!(cluster.seen(B, 20), [1]);
    // It is another node's by then.
    let mut cluster = Cluster::new();
    cluster.observe(B, HOME, 20);
    cluster.run(4);
    cluster.directory.insert(HOME, C);
    cluster.run(2);
    cluster.start(HOME, C, vec![ship(1)], 200);
    cluster.run(4);
    assert_eq!(cluster.seen(B, 20), [1]);
}

#[test]
fn a_node_that_refuses_is_asked_a_few_times_a_second() {
    let mut cluster = followed();
    cluster.stop(HOME);
    // B believes that it is A's, A that it is C's.
    cluster.start(HOME, C, vec![ship(1)], 200);
    cluster.observe(A, HOME, 10);
    let before = cluster.link(B, A, |link| link.taken.len());
    cluster.run(30);
    let asked = cluster.link(B, A, |link| link.taken.len()) - before;
    assert!(asked <= 12, "{asked} messages in three seconds");
}

#[test]
fn a_node_that_follows_too_much_is_refused_and_others_are_not() {
    let mut lending = Lending::default();
    for x in 0..SECTORS_MAX as i64 {
        assert!(lending.lend(B, SectorId::tactical(x, 0)));
    }
    assert!(!lending.lend(B, HOME) && lending.lend(C, HOME));
    assert!(lending.lend(B, SectorId::tactical(0, 0)), "asked again, it is no other one");
    lending.end(B, SectorId::tactical(0, 0));
    assert!(lending.lend(B, HOME));
}

/// Whatever links, the directory and sectors did: when all is quiet again,
/// everybody sees what is there; and each saw keyframes and what followed them.
#[test]
fn whatever_happened_everybody_sees_what_is_there_when_it_is_over() {
    for seed in 0..150_u64 {
        let mut draws = 0;
        let mut draw = |below: u64| {
            draws += 1;
            draw(seed, "starmesh views storm", &[draws]) % below
        };
        let mut cluster = followed();
        let mut next = 2;
        for _ in 0..60 {
            let node = |n: u64| [A, B, C][n as usize % 3];
            let (one, other) = (node(draw(3)), node(draw(3)));
            match draw(9) {
                0 => cluster.observe(one, HOME, 40 + draw(2)),
                1 => cluster.unobserve(one, HOME, 40 + draw(2)),
                2 => _ = cluster.directory.insert(HOME, one),
                3 => {
                    let (units, tick) = cluster.stop(HOME);
                    cluster.run(draw(4));
                    let to = cluster.directory.get(&HOME).copied().unwrap_or(A);
                    cluster.start(HOME, to, units, tick + 4);
                }
                4 if one != other => {
                    cluster.set_link((one, other), false);
                    cluster.run(draw(5));
                    cluster.set_link((one, other), true);
                }
                5 if one != other => cluster.link(one, other, |link| link.lose = 2),
                6 if one != other => {
                    let room = draw(3) as usize;
                    cluster.link(one, other, |link| link.room = room);
                }
                _ => {
                    cluster.appear(HOME, ship(next));
                    next += 1;
                }
            }
            cluster.run(draw(6));
        }
        for (one, other) in [(A, B), (A, C), (B, A), (B, C), (C, A), (C, B)] {
            cluster.link(one, other, |link| (link.room, link.lose) = (0, 0));
        }
        cluster.directory.insert(HOME, cluster.runs_at(HOME).unwrap());
        [(A, 50), (B, 51), (C, 52)]
            .into_iter()
            .for_each(|(at, who)| cluster.observe(at, HOME, who));
        cluster.run(200);
        let all = cluster.has(HOME);
        for (at, who) in [(B, 20), (A, 50), (B, 51), (C, 52)] {
            assert_eq!(cluster.seen(at, who), all, "seed {seed}, {who} at {at}");
        }
        assert!(cluster.packets(B, 20)[0].keyframe);
    }
}

#[test]
fn messages_are_read_as_they_were_written() {
    let message = ViewMessage::Absent { sector: HOME };
    let bytes = postcard::to_stdvec(&message).unwrap();
    assert_eq!(postcard::from_bytes::<ViewMessage>(&bytes).unwrap(), message);
}

fn scene(tick: u64) -> Arc<Scene> {
    Arc::new(Scene { tick: Tick(tick), units: Vec::new() })
}

fn step(tick: u64) -> Arc<StepDelta> {
    Arc::new(StepDelta { tick: Tick(tick), ..StepDelta::default() })
}

#[test]
fn who_did_not_take_a_step_gets_nothing_before_all_of_it_a_second_later() {
    let (mut lending, sent) = (Lending::default(), RefCell::new(Vec::new()));
    let take = |_: NodeId, message: ViewMessage| {
        sent.borrow_mut().push(message);
        true
    };
    assert!(lending.lend(B, HOME));
    lending.handle_scene(HOME, &scene(10), &take);
    lending.handle_step(HOME, &step(12), &|_, _| false);
    lending.drain_asks();
    lending.handle_step(HOME, &step(14), &take);
    lending.handle_pace(HOME, 50, &take);
    assert_eq!(sent.borrow().len(), 1, "the scene alone");
    (1..WAIT_TICKS).for_each(|_| lending.handle_tick());
    assert_eq!(lending.drain_asks(), []);
    lending.handle_tick();
    assert_eq!(lending.drain_asks(), [(HOME, true)]);
    lending.handle_scene(HOME, &scene(16), &take);
    lending.handle_step(HOME, &step(18), &take);
    assert_eq!(sent.borrow().len(), 3);
}

#[test]
fn what_comes_from_another_node_than_the_one_that_was_asked_is_dropped_and_told_off() {
    let mut following = Following::default();
    following.follow(HOME, true);
    following.look_soon(&|_| Place::There(A));
    assert_eq!(following.drain_asks(), [Ask::There { node: A, sector: HOME, on: true }]);
    let stray = ViewMessage::Scene { sector: HOME, scene: scene(10) };
    assert!(!following.handle_peer(C, &stray));
    assert_eq!(following.drain_asks(), [Ask::There { node: C, sector: HOME, on: false }]);
    assert!(following.handle_peer(A, &stray));
    // Nor is what a table here hands out to others shown in between.
    assert!(!following.handle_scene(HOME, Tick(30)) && !following.shows(HOME));
    following.handle_started(HOME);
    let asks =
        [Ask::There { node: A, sector: HOME, on: false }, Ask::Here { sector: HOME, on: true }];
    assert_eq!(following.drain_asks(), asks);
    assert!(!following.shows(HOME), "steps come behind all of it");
    assert!(following.handle_scene(HOME, Tick(30)) && following.shows(HOME));
}
