//! A node that is stopped and started again goes on where it stopped: players
//! keep session, units and what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use starmesh::actors::node::Node;
use starmesh::base::{CompressedPosition, EntityKey, PlayerId, SessionId};
use starmesh::config::Config;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::protocol::UnitRecord;
use starmesh::sim::{Command, Rules, Speed, Target, UnitIds, rules};
use starmesh::store::memory::Memory;
use starmesh::store::recovery;

use super::node_support::{Player, move_order, ready, start};

const PLAYER: PlayerId = PlayerId(7);

/// The built-in rules, but that everything that moves is as slow as may be.
fn slow_rules() -> Rules {
    let rules = rules::file::built_in().unwrap();
    let mut types = rules.types().to_vec();
    for moving in types.iter_mut().filter(|kind| kind.speed.is_some()) {
        moving.speed = Some(Speed::MIN);
    }
    Rules::new(types, rules.multipliers().to_vec(), rules.start().to_vec()).unwrap()
}

#[actix::test]
async fn a_node_that_is_restarted_with_other_rules_goes_on_by_those() {
    let store = Arc::new(Memory::default());
    let node = start(store.clone()).await;
    let player = Player::new(&node, PLAYER);
    let first = player.connect(None).await;
    let sector = first.presence[0].sector;
    let unit = player.look(sector).await.units().map(|unit| unit.id).min().unwrap();
    let command = |sequence| move_order(PLAYER, first.session, sequence, unit, sector);
    let fast = player.order(sector, command(1)).await;
    assert_eq!(node.summary().core.adopted, 0);
    node.stop().await;

    let slow = slow_rules();
    let node = Node::start(&Config::with("").unwrap(), slow.clone(), store.clone()).unwrap();
    ready(&node).await;
    assert_eq!(node.entities.world.rules, slow);
    let player = Player::new(&node, PLAYER);
    let second = player.connect(Some(first.session)).await;
    assert!(second.resumed);
    assert_eq!(player.order(sector, command(1)).await, fast, "what was answered is known");
    // To the opposite quarter it is at least as far, wherever it has come to.
    let position = CompressedPosition { x: 3 << 30, y: 3 << 30 };
    let back = Command::go(UnitIds::new(vec![unit]).unwrap(), Target { sector, position });
    let answered = player.order(sector, PlayerCommand { command: back, ..command(2) }).await;
    let steps = |answer: &CommandAnswer| match &answer.result {
        CommandResult::Done(accepted) => accepted.steps,
        other => panic!("{other:?}"),
    };
    assert!(steps(&answered) > steps(&fast), "{answered:?}, {fast:?}");
    let entity = EntityKey::Sector(sector);
    assert!(node.summary().core.adopted > 0);
    node.stop().await;
    let image = recovery::image(&*store, entity).unwrap();
    assert_eq!(image.logics().last().map(|logic| logic.rules), Some(slow.hash()));
}

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
