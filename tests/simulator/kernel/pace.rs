//! A sector that is dilated: how its ticks follow from its node's, who is told,
//! and what ends it.

use std::sync::Arc;

use starmesh::base::{EntityKey, PlayerId, SessionId, Tick};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::table::Release;
use starmesh::entity::pace::Rate;
use starmesh::entity::read::Query;
use starmesh::entity::replay::replay;
use starmesh::store::memory::Memory;
use starmesh::store::recovery;

use super::Node;

fn rate(tenths: u8) -> Rate {
    Rate::try_from(tenths).expect("a rate")
}

/// The node's tick and the sector's.
fn ticks(node: &mut Node, sector: EntityKey) -> (Tick, Tick) {
    let query = Query::Applied { player: PlayerId(1), session: SessionId(1) };
    node.table.read(7, sector, &query).expect("it runs");
    let now = node.core.tick();
    node.pump();
    node.run(300);
    let at = node.released.iter().rev().find_map(|release| match release {
        Release::Read { at, .. } => Some(*at),
        _ => None,
    });
    (now, at.expect("an answer"))
}

fn dilate(node: &mut Node, sector: EntityKey, tenths: u8) {
    node.table.dilate(sector, rate(tenths));
    node.pump();
    node.run(300);
    assert_eq!(node.table.entity(sector).map(|entity| entity.rate()), Some(rate(tenths)));
}

#[test]
fn a_dilated_sector_makes_its_share_of_the_nodes_ticks_and_takes_commands() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    let sector = node.sector(1);
    for (sequence, tenths) in (1..).zip([3, 1, 7, 10]) {
        dilate(&mut node, sector, tenths);
        let (node_before, before) = ticks(&mut node, sector);
        // Answered at once, though its tick may not move for a second.
        node.command(sequence);
        node.run(20_000);
        let (node_after, after) = ticks(&mut node, sector);
        let share = node_after.since(node_before) * u64::from(tenths) / 10;
        let made = after.since(before);
        assert!(made.abs_diff(share) <= 1, "{made} ticks at {tenths} tenths, not {share}");
    }
    assert_eq!(node.table.counts().misfits, 0);
}

#[test]
fn whoever_follows_it_is_told_with_the_scene_and_when_it_changes() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    let sector = node.sector(1);
    let told = |node: &mut Node| -> Vec<u8> {
        let released = std::mem::take(&mut node.released).into_iter();
        released
            .filter_map(|release| match release {
                Release::Scene { .. } => Some(0),
                Release::Pace { percent, .. } => Some(percent),
                _ => None,
            })
            .collect()
    };
    dilate(&mut node, sector, 5);
    assert_eq!(told(&mut node), [0; 0], "nobody follows it");
    node.table.follow(sector).expect("it runs");
    node.run(400);
    let scene = told(&mut node);
    assert_eq!(scene[..2], [0, 50]);
    dilate(&mut node, sector, 4);
    assert!(told(&mut node).contains(&40));
    dilate(&mut node, sector, 10);
    node.run(2_000);
    assert_eq!(told(&mut node).last(), Some(&100), "one scene is enough");
    node.run(2_000);
    assert_eq!(told(&mut node), [0; 0], "nothing is to be said of full pace");
}

#[test]
fn whoever_follows_the_slowest_has_word_of_it_every_second() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    let sector = node.sector(1);
    dilate(&mut node, sector, 1);
    node.table.follow(sector).expect("it runs");
    node.run(4_000);
    let is_pace = |release: &Release| matches!(release, Release::Pace { percent: 10, .. });
    for second in 0..30 {
        node.released.clear();
        node.run(1_000);
        assert!(node.released.iter().any(is_pace), "nothing in second {second}");
    }
}

#[test]
fn one_that_falls_quiet_is_at_full_rate_before_it_hibernates() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits { quiet_ms: 2_000, ..Limits::default() });
    node.found(1);
    let sector = node.sector(1);
    dilate(&mut node, sector, 2);
    node.run_until("it hibernates", |node| node.table.entity(sector).is_none());
    let image = recovery::image(&*store, sector).expect("the memory answers");
    let asleep = replay(sector, &image, &node.world).expect("its journal").entity;
    let slept = asleep.head().slept.expect("a claim that was closed");
    assert_eq!(slept.pace.rate(), Rate::FULL);
}

#[test]
fn a_new_process_takes_it_up_where_it_was_and_at_full_rate() {
    let store = Arc::new(Memory::new());
    let mut node = Node::ready(&store, Limits::default());
    node.found(1);
    let sector = node.sector(1);
    dilate(&mut node, sector, 1);
    node.run(20_000);
    let (_, before) = ticks(&mut node, sector);
    let mut node = Node::ready(&store, Limits::default());
    let (_, after) = ticks(&mut node, sector);
    assert!((0..=10).contains(&after.since(before)) && after >= before, "{before:?} {after:?}");
    assert_eq!(node.table.entity(sector).map(|entity| entity.rate()), Some(Rate::FULL));
}
