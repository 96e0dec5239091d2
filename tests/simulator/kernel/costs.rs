//! What a sector costs its thread is its own, and what is told of it.

use std::cell::Cell;
use std::sync::Arc;

use starmesh::base::EntityKey;
use starmesh::cluster::core::attaching::Attachment;
use starmesh::cluster::core::balance::SectorLoad;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::table::Table;
use starmesh::store::memory::Memory;

use super::Node;

thread_local! {
    static WORKED_NS: Cell<u64> = const { Cell::new(0) };
}

/// Whatever is done between two looks at it takes a millisecond.
fn clock() -> u64 {
    WORKED_NS.set(WORKED_NS.get() + 1_000_000);
    WORKED_NS.get()
}

fn measured() -> Node {
    let limits = Limits::default();
    let mut node = Node::new(&Arc::new(Memory::new()), limits);
    node.table = Table::new(node.world.clone(), limits, Attachment(1)).measured_by(clock);
    node.event(starmesh::cluster::core::node::Event::Clock);
    node.run_until("it is ready", |node| node.ready);
    node
}

fn load(node: &Node, player: u64) -> SectorLoad {
    let EntityKey::Sector(sector) = node.sector(player) else { panic!("a sector") };
    let costs = node.table.costs(100);
    costs.sectors.into_iter().find(|load| load.sector == sector).expect("it runs")
}

#[test]
fn each_record_and_step_is_charged_to_its_sector() {
    let mut node = measured();
    node.found(1);
    node.found(2);
    node.run(10_000);
    let before = (load(&node, 1), load(&node, 2));
    assert_eq!((before.0.players, before.1.players), (1, 1));
    assert_eq!(before.0.activity, 0);
    (1..=40).for_each(|sequence| _ = node.command(sequence));
    let (busy, idle) = (load(&node, 1), load(&node, 2));
    assert!(busy.cost_us > before.0.cost_us + 200, "{busy:?} {before:?}");
    assert!(busy.cost_us > 4 * idle.cost_us, "{busy:?} {idle:?}");
    assert!(busy.activity > 16 && idle.activity == 0, "{busy:?} {idle:?}");
    assert_eq!(busy.cold_since, None, "players act in it");
    assert_eq!(node.table.costs(100).sectors[0].sector, busy.sector, "the costliest first");
}

#[test]
fn what_is_not_told_one_by_one_is_told_as_a_sum() {
    let mut node = measured();
    (1..=3).for_each(|player| _ = node.found(player));
    node.run(3_000);
    let all = node.table.costs(100);
    let some = node.table.costs(1);
    assert_eq!((all.sectors.len(), all.rest.count), (3, 0));
    assert_eq!((some.sectors.len(), some.rest.count, some.rest.players), (1, 2, 2));
    assert_eq!(some.sectors[0], all.sectors[0]);
    let rest: u64 = all.sectors[1..].iter().map(|load| u64::from(load.cost_us)).sum();
    assert_eq!(some.rest.cost_us, rest);
}
