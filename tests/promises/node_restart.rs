//! A node that is stopped and started again goes on where it stopped: players
//! keep session, units and what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use starmesh::base::{PlayerId, SessionId};
use starmesh::entity::commands::CommandResult;
use starmesh::protocol::UnitRecord;
use starmesh::store::memory::Memory;

use super::node_support::{Player, move_order, start};

const PLAYER: PlayerId = PlayerId(7);

#[actix::test]
async fn a_restarted_node_goes_on_where_it_stopped() {
    let store = Arc::new(Memory::default());
    let node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let first = player.connect(None).await;
    assert_eq!(first.session, SessionId(1));
    let sector = first.presence[0].sector;
    let view = player.look(sector).await;
    let mut units: Vec<UnitRecord> = view.units().copied().collect();
    units.sort_unstable_by_key(|unit| unit.id);
    assert_eq!(units.len(), 8);
    let command = move_order(PLAYER, first.session, 1, units[0].id, sector);
    let answered = player.order(sector, command.clone()).await;
    assert!(matches!(answered.result, CommandResult::Done(_)), "{answered:?}");
    let tick = node.status.tick.load(Ordering::Relaxed);
    node.stop().await;

    let node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let second = player.connect(Some(first.session)).await;
    assert!(second.resumed);
    assert_eq!(second.presence, first.presence);
    assert!(node.status.tick.load(Ordering::Relaxed) >= tick);
    let again = player.order(sector, command).await;
    assert_eq!(again, answered, "a repeated command is answered, not executed");
    let view = player.look(sector).await;
    let unit = view.unit(units[0].id).unwrap();
    assert!(unit.course.steps > 0 || unit.position != units[0].position);
    node.stop().await;
}
