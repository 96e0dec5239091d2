//! A player has one session, whichever gateway gave it; and it lives on when its
//! ledger moves, when links break and when answers get lost on the way.

use std::time::Duration;

use starmesh::actors::peers::{PeerMessage, ToGateway};
use starmesh::actors::ports::ToSession;
use starmesh::base::{EntityKey, PlayerId, SessionId};
use starmesh::entity::effect::{Connected, PlayerEffect};
use starmesh::entity::input::{FromGateway, Input, Left};
use starmesh::entity::record::decode_record;
use starmesh::store::recovery::image;

use super::mesh_support::{B, Pair};
use super::node_support::{Player, connected};

const PLAYER: PlayerId = PlayerId(7);

fn ended(session: SessionId) -> impl Fn(&ToSession) -> Option<()> {
    move |message| match message {
        ToSession::Player(PlayerEffect::SessionEnded { session: ended, .. }) => {
            (*ended == session).then_some(())
        }
        _ => None,
    }
}

fn resumed(message: &ToSession) -> Option<Connected> {
    connected(message).filter(|connected| connected.resumed)
}

/// Whether the ledger's journal at A holds such an input.
fn has_input(pair: &Pair, is_it: impl Fn(&Input) -> bool) -> bool {
    let image = image(&*pair.store, EntityKey::Ledger(0)).expect("the journal can be read");
    let records = image.records.iter();
    records.flat_map(|(_, bytes)| decode_record(bytes).unwrap().1.inputs).any(|input| is_it(&input))
}

async fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap_or_else(|_| panic!("{what}"));
}

#[actix::test]
async fn the_newest_session_wins_whichever_gateway_gave_it() {
    let pair = Pair::start().await;
    let here = Player::new(&pair.a, PLAYER);
    let first = here.connect(None).await;
    let there = Player::new(&pair.b, PLAYER);
    let second = there.connect(None).await;
    assert_eq!(second.session, SessionId(first.session.0 + 1));
    here.port.wait_for(ended(first.session)).await;
    let back = Player::new(&pair.a, PLAYER);
    back.connect(None).await;
    there.port.wait_for(ended(second.session)).await;
    pair.stop().await;
}

#[actix::test]
async fn a_session_that_is_resumed_elsewhere_ends_where_it_was() {
    let pair = Pair::start().await;
    let there = Player::new(&pair.b, PLAYER);
    let session = there.connect(None).await.session;
    let here = Player::new(&pair.a, PLAYER);
    assert!(here.connect(Some(session)).await.resumed);
    there.port.wait_for(ended(session)).await;
    assert!(!here.port.has(ended(session)), "the newer connection keeps it");
    pair.stop().await;
}

#[actix::test]
async fn an_answer_to_connect_that_got_lost_comes_when_the_link_is_up_again() {
    let pair = Pair::start().await;
    pair.cable.lose(Some(|message| {
        matches!(message, PeerMessage::ToGateway(ToGateway::Player(PlayerEffect::Connected(_))))
    }));
    let player = Player::new(&pair.b, PLAYER);
    player.ask(None);
    wait_until("the ledger answers", || pair.cable.has_lost()).await;
    pair.cable.link(false);
    pair.cable.lose(None);
    pair.cable.link(true);
    let given = player.port.wait_for(connected).await;
    assert_eq!((given.session, given.resumed), (SessionId(1), false), "the same session");
    pair.stop().await;
}

#[actix::test]
async fn a_ledger_that_runs_anew_hears_what_sessions_there_are() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let session = player.connect(None).await.session;
    pair.tell(B, ToGateway::LedgerStarted(pair.b.entities.world.ledger_of(PLAYER)));
    let again = player.port.wait_for(resumed).await;
    assert_eq!((again.session, again.connection), (session, player.connection));
    let left = Left { player: PLAYER, session, connection: player.connection };
    let held = Input::Gateway(FromGateway::Held(left));
    assert!(has_input(&pair, |input| *input == held), "it is in the journal");
    pair.stop().await;
}

#[actix::test]
async fn a_session_that_ended_behind_a_broken_link_ends_when_it_is_up() {
    let pair = Pair::start().await;
    let there = Player::new(&pair.b, PLAYER);
    let first = there.connect(None).await.session;
    pair.cable.link(false);
    let here = Player::new(&pair.a, PLAYER);
    let second = here.connect(None).await.session;
    assert!(!there.port.has(ended(first)));
    pair.cable.link(true);
    there.port.wait_for(ended(first)).await;
    assert!(!here.port.has(ended(second)), "the newer one goes on");
    pair.stop().await;
}

#[actix::test]
async fn a_connection_that_closed_behind_a_broken_link_is_known_as_lost() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let session = player.connect(None).await.session;
    pair.cable.link(false);
    let left = Left { player: PLAYER, session, connection: player.connection };
    pair.b.entities.ports.close(player.connection, Some(PLAYER));
    pair.b.entities.left(left);
    pair.cable.link(true);
    wait_until("the ledger is told", || has_input(&pair, |input| *input == Input::Left(left)))
        .await;
    pair.stop().await;
}

#[actix::test]
async fn the_sessions_of_a_dead_gateway_are_left_and_a_short_break_leaves_none() {
    let pair = Pair::start().await;
    let player = Player::new(&pair.b, PLAYER);
    let session = player.connect(None).await.session;
    pair.cable.link(false);
    pair.cable.link(true);
    player.port.wait_for(resumed).await;
    let is_lost = |input: &Input| match input {
        Input::Gateway(FromGateway::Lost { first, end }) => {
            (*first..*end).contains(&player.connection)
        }
        Input::Left(left) => left.session == session,
        _ => false,
    };
    assert!(!has_input(&pair, is_lost), "nobody left");
    pair.a.entities.handle_dead(B);
    wait_until("the ledger is told", || has_input(&pair, is_lost)).await;
    pair.stop().await;
}
