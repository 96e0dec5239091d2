//! A gateway serves its players wherever their entities run: commands,
//! attachments and reads go to the other node, and what comes of them comes back.

use starmesh::actors::peers::{CONNECTION_BITS, Place, ToGateway, ToOwner};
use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId, SectorId, SessionId, UnitId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::read::{Query, Reading};

use super::mesh_support::{B, Pair};
use super::node_support::{Player, any_ticket, attach, connected, move_order};

const PLAYER: PlayerId = PlayerId(7);

/// Why a command of this sequence was not taken.
fn rejected(sequence: u32) -> impl Fn(&ToSession) -> Option<Unavailable> {
    move |message| match message {
        ToSession::Rejected { sequence: of, why, .. } if *of == sequence => Some(*why),
        _ => None,
    }
}

fn answered(sequence: u32) -> impl Fn(&ToSession) -> Vec<CommandAnswer> {
    move |message| match message {
        ToSession::Player(PlayerEffect::Answered(answer)) if answer.sequence == sequence => {
            vec![answer.clone()]
        }
        _ => Vec::new(),
    }
}

/// A session through B, its sector at A and a unit there.
async fn settle(player: &Player<'_>, pair: &Pair) -> (SessionId, SectorId, UnitId) {
    let connected = player.connect(None).await;
    let sector = connected.presence[0].sector;
    let watcher = Player::new(&pair.a, PLAYER);
    let view = watcher.look(sector).await;
    let unit = view.units().map(|unit| unit.id).min().expect("a start");
    (connected.session, sector, unit)
}

/// Sends it under a new attachment.
async fn order(player: &Player<'_>, pair: &Pair, sector: SectorId, command: &PlayerCommand) {
    let entity = EntityKey::Sector(sector);
    let ticket = attach(&pair.b, entity, command.player, command.session).await;
    pair.b.entities.command(player.connection, entity, ticket, command.clone());
}

#[actix::test]
async fn a_command_for_another_nodes_sector_is_answered_and_answered_again() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (session, sector, unit) = settle(&player, &pair).await;
    let command = move_order(PLAYER, session, 1, unit, sector);
    order(&player, &pair, sector, &command).await;
    let first = player.port.wait_for(|told| answered(1)(told).pop()).await;
    assert!(matches!(first.result, CommandResult::Done(_)), "{first:?}");
    order(&player, &pair, sector, &command).await;
    let twice = |port: &super::node_support::Port| port.all(answered(1)).len() == 2;
    let both = async {
        while !twice(&player.port) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("answers again");
    assert_eq!(player.port.all(answered(1)), [first.clone(), first], "it was applied once");
    pair.stop().await;
}

#[actix::test]
async fn what_is_read_may_be_another_nodes() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (_, sector, _) = settle(&player, &pair).await;
    let ledger = pair.b.entities.world.ledger_of(PLAYER);
    let read = pair.b.entities.read(ledger, Query::Presence { player: PLAYER }).await.unwrap();
    let Reading::Presence(Some(presence)) = read.reading else { panic!("{read:?}") };
    assert!(presence.sectors.iter().any(|there| there.sector == sector));
    pair.cable.link(false);
    let read = pair.b.entities.read(ledger, Query::Presence { player: PLAYER }).await;
    assert_eq!(read.unwrap_err(), Unavailable::Busy);
    pair.stop().await;
}

#[actix::test]
async fn an_owner_that_has_a_sector_no_more_sends_nothing_on() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (session, _, unit) = settle(&player, &pair).await;
    let sector = SectorId::tactical(4_999, 4_999);
    let entity = EntityKey::Sector(sector);
    pair.cable.put(entity, Place::There(B));
    let command = move_order(PLAYER, session, 1, unit, sector);
    let (connection, (_, ticket)) = (player.connection, any_ticket());
    let message = ToOwner::Command { connection, entity, ticket, command };
    pair.a.entities.handle_owner(B, message);
    assert_eq!(player.port.wait_for(rejected(1)).await, Unavailable::AttachAgain);
    pair.stop().await;
}

/// B knows already that the sector is to be its own, and A has it.
#[actix::test]
async fn a_command_goes_where_its_session_is_attached_whatever_the_directory_says() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (session, sector, unit) = settle(&player, &pair).await;
    let entity = EntityKey::Sector(sector);
    let ticket = attach(&pair.b, entity, PLAYER, session).await;
    pair.cable.put(entity, Place::There(B));
    let command = move_order(PLAYER, session, 1, unit, sector);
    pair.b.entities.command(player.connection, entity, ticket, command);
    let answer = player.port.wait_for(|told| answered(1)(told).pop()).await;
    assert!(matches!(answer.result, CommandResult::Done(_)), "{answer:?}");
    pair.stop().await;
}

#[actix::test]
async fn while_the_link_is_down_a_command_is_busy_and_then_goes_on() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (session, sector, unit) = settle(&player, &pair).await;
    let entity = EntityKey::Sector(sector);
    let ticket = attach(&pair.b, entity, PLAYER, session).await;
    pair.cable.link(false);
    let command = move_order(PLAYER, session, 1, unit, sector);
    pair.b.entities.command(player.connection, entity, ticket, command.clone());
    assert_eq!(player.port.wait_for(rejected(1)).await, Unavailable::Busy);
    pair.cable.link(true);
    order(&player, &pair, sector, &command).await;
    let answer = player.port.wait_for(|told| answered(1)(told).pop()).await;
    assert!(matches!(answer.result, CommandResult::Done(_)), "{answer:?}");
    pair.stop().await;
}

#[actix::test]
async fn a_session_is_spoken_for_only_by_the_node_that_has_its_ledger() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.a, PLAYER);
    let session = player.connect(None).await.session;
    let forged = SessionId(u64::MAX);
    let connection = (u64::from(B.0) << CONNECTION_BITS) | 1;
    let taken = ToGateway::Taken { player: PLAYER, session: forged, connection };
    pair.a.entities.handle_gateway(B, taken);
    let ended = PlayerEffect::SessionEnded { player: PLAYER, session };
    pair.a.entities.handle_gateway(B, ToGateway::Player(ended));
    // Of a session that is not, to an owner: it outdates none that is given.
    let entity = EntityKey::Sector(SectorId::tactical(4_999, 4_999));
    let command = move_order(PLAYER, forged, 1, UnitId(1), SectorId::tactical(4_999, 4_999));
    let (_, ticket) = any_ticket();
    let message = ToOwner::Command { connection, entity, ticket, command };
    pair.a.entities.handle_owner(B, message);
    let again = Player::new(&pair.a, PLAYER);
    assert!(again.connect(Some(session)).await.resumed, "it is there still");
    let ended = |told: &ToSession| match told {
        ToSession::Player(PlayerEffect::SessionEnded { .. }) => Some(()),
        _ => None,
    };
    assert!(!again.port.has(ended), "and not outdated");
    pair.stop().await;
}

#[actix::test]
async fn nobody_speaks_for_a_connection_of_another_node() {
    let pair = Pair::start().await;
    let mine = Player::new(&pair.a, PLAYER);
    let forged = starmesh::entity::input::Connect {
        player: PLAYER,
        connection: mine.connection,
        resume: None,
    };
    pair.a.entities.handle_owner(B, ToOwner::Connect(forged));
    // Behind it, at the same ledger.
    let other = Player::new(&pair.b, PLAYER);
    let given = other.connect(None).await;
    assert_eq!(given.session, SessionId(1), "the forged one was never asked for");
    assert!(!mine.port.has(|told| connected(told).map(drop)));
    pair.stop().await;
}

#[actix::test]
async fn what_is_for_a_session_that_nobody_heard_of_finds_its_gateway() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let (session, sector, unit) = settle(&player, &pair).await;
    let entity = EntityKey::Sector(sector);
    let ticket = attach(&pair.b, entity, PLAYER, session).await;
    // The command gets there; whose it is is forgotten before it is answered.
    let command = move_order(PLAYER, session, 1, unit, sector);
    pair.a.entities.handle_link(B, true);
    pair.a.entities.command(player.connection, entity, ticket, command);
    let answer = player.port.wait_for(|told| answered(1)(told).pop()).await;
    assert!(matches!(answer.result, CommandResult::Done(_)), "{answer:?}");
    pair.stop().await;
}
