//! What goes on in sectors is summed up over all scales within seconds, stays
//! counted while they hibernate and after a restart, and is public.

use std::sync::Arc;
use std::time::Duration;

use starmesh::actors::node::Node;
use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId, SectorId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::protocol::codec::Received;
use starmesh::protocol::server::Aggregate;
use starmesh::protocol::{ServerFrame, ServerMessage};
use starmesh::store::memory::Memory;
use starmesh::view::SectorSnapshot;
use starmesh::view::fanout::Shown;

use super::node_support::{Player, move_order, start, start_with, watcher};

const PLAYER: PlayerId = PlayerId(7);
/// What a player starts with.
const UNITS: u32 = 8;

/// Until the sector's sum is like that; and the sum.
async fn wait_for(
    node: &Node,
    sector: SectorId,
    is_it: impl Fn(&SectorSnapshot) -> bool,
) -> SectorSnapshot {
    let waiting = async {
        loop {
            match node.entities.summary(sector) {
                Some((sum, as_of)) if is_it(&sum) => {
                    assert!(as_of >= sum.last_update, "{as_of:?} {sum:?}");
                    return sum;
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    within.unwrap_or_else(|_| panic!("{sector}: {:?}", node.entities.summary(sector)))
}

#[actix::test]
async fn all_scales_have_the_units_of_those_who_started_and_what_they_do() {
    let node = start(Arc::new(Memory::default())).await;
    let root = node.entities.world.galaxy.root();
    let player = Player::new(&node, PLAYER);
    let connected = player.connect(None).await;
    let home = connected.presence[0].sector;
    for scale in 0..=root.scale {
        let sector = home.ancestor(scale).unwrap();
        let sum = wait_for(&node, sector, |sum| sum.unit_count == UNITS).await;
        assert!(sum.last_update.0 > 0 && sum.resource_density > 0, "{sum:?}");
    }
    let beside = home.ancestor(2).unwrap().neighbour(1, 0).unwrap();
    assert_eq!(node.entities.summary(beside).unwrap().0.unit_count, 0);
    assert_eq!(node.entities.summary(SectorId { scale: root.scale + 1, ..root }), None);

    // One more player, one more home; an order is activity for a second.
    let other = Player::new(&node, PlayerId(8));
    other.connect(None).await;
    wait_for(&node, root, |sum| sum.unit_count == 2 * UNITS).await;
    wait_for(&node, root, |sum| sum.activity_level == 0).await;
    let unit = player.look(home).await.units().next().unwrap().id;
    player.order(home, move_order(PLAYER, connected.session, 1, unit, home)).await;
    wait_for(&node, root, |sum| sum.activity_level == 1).await;
    wait_for(&node, root, |sum| sum.activity_level == 0).await;
    node.stop().await;
}

#[actix::test]
async fn units_stay_counted_while_they_hibernate_and_after_a_restart() {
    let store = Arc::new(Memory::default());
    let settings = "[engine]\nsector_quiet_s = 1\n";
    let node = start_with(settings, store.clone()).await;
    let root = node.entities.world.galaxy.root();
    Player::new(&node, PLAYER).connect(None).await;
    wait_for(&node, root, |sum| sum.unit_count == UNITS).await;
    let quiet = async {
        while node.entity_counts().0 > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), quiet).await.expect("sectors hibernate");
    let (_, as_of) = node.entities.summary(root).unwrap();
    while node.entities.summary(root).unwrap().1.since(as_of) < 2_500 {
        assert_eq!(node.entities.summary(root).unwrap().0.unit_count, UNITS);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop().await;

    let node = start_with(settings, store).await;
    wait_for(&node, root, |sum| sum.unit_count == UNITS).await;
    assert_eq!(node.entity_counts().0, 0, "nobody was woken for it");
    node.stop().await;
}

/// What an observer was told of a large sector, once that is so.
async fn told(player: &Player<'_>, is_it: impl Fn(&Aggregate) -> bool) -> Aggregate {
    let codec = watcher(PLAYER).codec.codec();
    let read = |shown: &Shown| {
        let Shown::Packet(packet) = shown else { return None };
        let Ok(Received::Message(ServerFrame { header, message })) = codec.receive(&packet.bytes)
        else {
            return None;
        };
        assert!(header.handle == packet.handle && packet.keyframe);
        match message {
            ServerMessage::Aggregate(aggregate) => Some(aggregate).filter(&is_it),
            _ => None,
        }
    };
    let shown = player.port.wait_for(|message| match message {
        ToSession::Shown(shown) => shown.iter().find_map(read),
        _ => None,
    });
    shown.await
}

#[actix::test]
async fn whoever_watches_a_large_sector_is_told_its_sum_and_when_it_changes() {
    let node = start(Arc::new(Memory::default())).await;
    let galaxy = node.entities.world.galaxy;
    let home = galaxy.start_place(PLAYER.0);
    let large = home.ancestor(7).unwrap();
    let player = Player::new(&node, PlayerId(9));
    let observe = |sector| {
        node.entities.observe(player.connection, EntityKey::Sector(sector), watcher(PLAYER))
    };
    observe(large).unwrap();
    // As the galaxy was made, at once.
    let empty = told(&player, |_| true).await;
    assert_eq!((empty.unit_count, empty.children.len()), (0, 4));
    assert_eq!(empty.resource_density, galaxy.made_density(galaxy.area(large).unwrap()));
    let outside = SectorId { x: -1, ..large };
    assert_eq!(observe(outside), Err(Unavailable::NotHere));

    let settled = Player::new(&node, PLAYER).connect(None).await.presence[0].sector;
    assert_eq!(settled, home, "it is the first of its ledger");
    let told = told(&player, |told| told.unit_count > 0).await;
    assert_eq!(told.unit_count, UNITS);
    let child = SectorId::from(told.children.iter().max_by_key(|it| it.unit_count).unwrap().sector);
    assert!(child.contains(home) && child.parent() == Some(large));
    let all = told.children.iter().map(|child| child.unit_count).sum::<u32>();
    assert_eq!((all, told.as_of >= told.last_update), (UNITS, true));
    node.stop().await;
}
