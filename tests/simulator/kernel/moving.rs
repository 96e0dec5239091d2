//! A sector that changes its table goes on as if it had not: by its timers, its
//! waiting messages, its sleep. Here it goes to another table of the same thread,
//! so that nothing else differs.

use std::sync::Arc;

use starmesh::base::Millis;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::{FromTable, ToTable};
use starmesh::cluster::core::node::{Event, NodeEffect};
use starmesh::entity::input::Input;
use starmesh::entity::record::{Record, decode_record};
use starmesh::store::memory::Memory;

use super::Node;

/// Every record of the sector in a life in which it waits for an
/// acknowledgement, forgets a session by a timer and hibernates when it has been
/// quiet for so long; `then` happens while all of that is still to come.
fn life(quiet_ms: u64, then: impl Fn(&mut Node)) -> Vec<Record> {
    let limits = Limits { quiet_ms, ..Limits::default() };
    let mut node = Node::ready(&Arc::new(Memory::new()), limits);
    node.lose_acks = true;
    node.found(1);
    node.command(1);
    then(&mut node);
    node.lose_acks = false;
    node.run(25 * 60_000);
    let sector = node.sector(1);
    let groups = node.commits.iter().flat_map(|commit| &commit.groups);
    let appends = groups.filter_map(|group| group.append.as_ref());
    let own = appends.filter(|append| append.entity == sector);
    own.map(|append| decode_record(&append.bytes).expect("a record").1).collect()
}

#[test]
fn a_sector_that_moves_journals_what_it_would_have() {
    // Its timer falls due in its sleep, or while it is awake.
    for (quiet_ms, sleeps) in [(60_000, true), (3_600_000, false)] {
        let stays = life(quiet_ms, |_| ());
        let moves = life(quiet_ms, |node| {
            let entity = node.sector(1);
            for to in [1, 0, 1] {
                node.event(Event::Move { entity, to });
            }
            assert_eq!(node.core.counts().moves, 3);
        });
        assert_eq!(moves, stays);
        let inputs: Vec<&Input> = stays.iter().flat_map(|record| &record.inputs).collect();
        let has = |is: fn(&Input) -> bool| inputs.iter().any(|input| is(input));
        assert!(has(|input| matches!(input, Input::Acknowledged(_))), "carried again");
        assert!(has(|input| matches!(input, Input::Time)), "its timer fell due");
        assert_eq!(has(|input| matches!(input, Input::Close)), sleeps);
        assert!(has(|input| matches!(input, Input::Hash { .. })), "hashed");
    }
}

#[test]
fn what_is_for_a_sector_that_moves_waits_for_it() {
    let mut node = Node::ready(&Arc::new(Memory::new()), Limits::default());
    node.found(1);
    node.run(1000);
    let (entity, now) = (node.sector(1), Millis(node.now));
    let told = |node: &mut Node, event| {
        node.core.handle(event, now);
        let effects = node.core.drain_effects().into_iter();
        let told = effects.filter_map(|effect| match effect {
            NodeEffect::ToTable(table, message) => Some((table, message)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let first = told(&mut node, Event::Move { entity, to: 1 });
    assert!(matches!(&first[..], [(0, ToTable::Yield(key))] if *key == entity));
    assert!(!node.core.is_settled(), "nothing is settled while a sector is nowhere");
    let ids = Event::FromTable(FromTable::NeedIds(entity));
    assert!(told(&mut node, ids).is_empty() && told(&mut node, Event::Wake(entity)).is_empty());
    let stays = FromTable::Yielded { entity, moved: None };
    let after = told(&mut node, Event::FromTable(stays));
    assert!(
        matches!(
            &after[..],
            [(0, ToTable::Propose { input: Input::Ids { .. }, .. }), (0, ToTable::Awake(_))]
        ),
        "{after:?}"
    );
}
