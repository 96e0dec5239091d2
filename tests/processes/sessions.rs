//! A player's sessions against a real node: of two connections the newer one
//! stays, and what is sent twice, across a SIGKILL, is done once.

use serde_json::json;

use crate::socket::{Socket, of_command, register};
use crate::support::Home;

#[tokio::test]
async fn a_second_connection_of_a_player_ends_the_first() {
    let mut home = Home::new();
    let _node = home.start();
    let token = register(&home.target(), "anna").await;
    let mut first = Socket::connect(&home.target(), &token, None).await;
    let mut second = Socket::connect(&home.target(), &token, None).await;
    assert_eq!(second.session(), first.session() + 1);
    let told = first.wait_for("error").await;
    assert_eq!(told["answer"], json!({ "sessionEnded": { "reason": "superseded" } }));
    assert_eq!(first.next().await, None, "the first connection is closed");

    let sector = second.sector();
    let units = second.watch(&sector).await;
    let ack = second.order(&sector, 1, &units[0]).await;
    assert_eq!(ack["success"], true, "{ack}");
}

#[tokio::test]
async fn a_retry_after_a_sigkill_is_answered_with_the_same_acknowledgement() {
    let mut home = Home::new();
    let node = home.start();
    let token = register(&home.target(), "anna").await;
    let mut socket = Socket::connect(&home.target(), &token, None).await;
    let (session, sector) = (socket.session(), socket.sector());
    let units = socket.watch(&sector).await;
    let first = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(first["success"], true, "{first}");
    node.kill();

    let _node = home.start();
    let mut socket = Socket::connect(&home.target(), &token, Some(session)).await;
    assert_eq!(socket.connected["resumed"], true, "{}", socket.connected);
    let again = socket.order(&sector, 1, &units[0]).await;
    assert_eq!(of_command(&again), of_command(&first), "a retry is answered, not carried out");
    let next = socket.order(&sector, 2, &units[1]).await;
    assert_eq!(next["success"], true, "{next}");
}
