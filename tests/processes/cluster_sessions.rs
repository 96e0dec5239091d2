//! A player at the gateways of two nodes, whichever of them has the ledger: the
//! newest session ends the one before, wherever that is; a session goes on at the
//! other gateway; who is logged out everywhere is so at both; and what happens to a
//! player's units is told at the gateway where it is, by the other node's ledger.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use starmesh::protocol::http::{Login, Logout, Secret};

use crate::cluster_fleet::{Border, middle, place};
use crate::cluster_support::Cluster;
use crate::operator::Operator;
use crate::socket::{PASSWORD, Socket, register};
use crate::support::Home;

/// As many as it takes for both nodes to have a ledger of some.
const PLAYERS: usize = 6;

/// What a connection hears last.
async fn expect_ended(mut socket: Socket, reason: &str) {
    let told = socket.wait_for("error").await;
    assert_eq!(told["answer"], json!({ "sessionEnded": { "reason": reason } }));
    assert_eq!(socket.next().await, None, "the connection is closed");
}

/// A player comes to one gateway, then to the other, and goes back with its session;
/// its number.
async fn come_and_go(name: &str, at: &Home, elsewhere: &Home) -> u64 {
    let token = register(&at.target(), name).await;
    let first = Socket::connect_again(&at.target(), &token, None).await;
    let second = Socket::connect_again(&elsewhere.target(), &token, None).await;
    assert_eq!(second.session(), first.session() + 1, "{name}");
    expect_ended(first, "superseded").await;

    let session = second.session();
    let mut third = Socket::connect_again(&at.target(), &token, Some(session)).await;
    assert_eq!((&third.connected["resumed"], third.session()), (&json!(true), session));
    expect_ended(second, "superseded").await;
    let sector = third.sector();
    let units = third.watch(&sector).await;
    third.order_again(&sector, 1, &units[0]).await;
    third.connected["player"].as_u64().expect("a number")
}

/// At one gateway somebody logs the account out everywhere; at the other it plays.
async fn log_out_everywhere(name: &str, at: &Home, elsewhere: &Home) {
    let login = Login { name: name.to_owned(), password: Secret(PASSWORD.to_owned()) };
    let tokens = at.target().log_in(login).await.expect("its account");
    let token = tokens.access_token.0;
    let socket = Socket::connect_again(&elsewhere.target(), &token, None).await;
    let logout = Logout { refresh_token: tokens.refresh_token, everywhere: true };
    at.target().log_out(logout).await.expect("it may");
    expect_ended(socket, "generationOutdated").await;
}

/// A ship crosses a border, and its player hears that it has one elsewhere.
async fn hear_of_a_crossing(name: &str, at: &Home) {
    let login = Login { name: name.to_owned(), password: Secret(PASSWORD.to_owned()) };
    let tokens = at.target().log_in(login).await.expect("its account");
    let mut socket = Socket::connect_again(&at.target(), &tokens.access_token.0, None).await;
    let home = socket.sector();
    let mut ships = socket.watch(&home).await;
    ships.retain(|ship| ship["type"].as_u64() <= Some(2));
    let (x, y) = middle(&ships[..1]);
    let border = Border::nearest(x, y);
    let next = |axis: &str, step: i64| home[axis].as_i64().expect("a number") + step;
    let beyond =
        json!({ "x": next("x", border.step.0), "y": next("y", border.step.1), "scale": 0 });
    socket
        .send(json!({
            "type": "moveFleet", "sequence": 1, "time": 0, "place": { "sector": home },
            "units": [ships[0]["id"]], "target": { "position": place(&beyond, border.behind) },
        }))
        .await;
    loop {
        let told = socket.wait_for("presence").await;
        let changed = told["changed"].as_array().expect("a list");
        let has = |it: &Value| it["sector"] == beyond && it["units"] != json!([]);
        if changed.iter().any(has) {
            return;
        }
    }
}

#[test]
fn a_player_has_one_session_and_hears_of_its_units_at_whichever_gateway() {
    let cluster = Cluster::start(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let operator = Operator::register(cluster.node(0));
    let (mut owners, mut told) = (BTreeSet::new(), false);
    for n in 0..PLAYERS {
        let name = format!("player{n}");
        let (at, elsewhere) = (cluster.node(n % 2), cluster.node(1 - n % 2));
        let player = runtime.block_on(come_and_go(&name, at, elsewhere));
        runtime.block_on(log_out_everywhere(&name, at, elsewhere));
        let ledger = format!("ledger:{}", player % 64);
        let owner = operator.ask(cluster.node(0), &["entity", &ledger])["node"].clone();
        owners.insert(owner.as_u64().expect("a node"));
        if owner == 1 && !told {
            runtime.block_on(hear_of_a_crossing(&name, cluster.node(1)));
            told = true;
        }
    }
    assert!(owners.len() == 2 && told, "all ledgers were of one node: {owners:?}");
    cluster.stop();
}
