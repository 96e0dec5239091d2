//! What is told of players: exact to oneself, rounded to others, ranked for
//! all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use starmesh::actors::node::Node;
use starmesh::base::PlayerId;
use starmesh::gateway::http::NodeOracle;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;

use super::{Answer, Gateway};
use crate::node_support::{Player, start};

fn oracle(node: &Node) -> Arc<NodeOracle> {
    Arc::new(NodeOracle { entities: node.entities.clone(), rows: node.rows.clone() })
}

/// Registers `name`: its id and token.
async fn registered(gateway: &Gateway, name: &str) -> (PlayerId, String) {
    let answer = gateway.register(name).await;
    (PlayerId(answer.body["player"].as_u64().unwrap()), answer.text("accessToken"))
}

/// The answer of `path` when `is_there`, which takes a telling to the board.
async fn wait_for(gateway: &Gateway, path: &str, is_there: impl Fn(&Answer) -> bool) -> Answer {
    let found = async {
        loop {
            let answer = gateway.get_public(path).await;
            if is_there(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("it comes in time")
}

/// What the start of a player costs.
fn start_power() -> u64 {
    let rules = rules::file::built_in().unwrap();
    let one = |(type_id, count): &(_, u32)| {
        let cost = rules.unit_type(*type_id).unwrap().cost;
        let one = u64::from(cost.energy) + u64::from(cost.minerals) + 5 * u64::from(cost.rare);
        one * u64::from(*count)
    };
    rules.start().iter().map(one).sum()
}

#[actix_web::test]
async fn players_are_ranked_by_power_and_know_their_own_numbers_exactly() {
    let node = start(Arc::new(Memory::new())).await;
    let gateway = Gateway::reading("", oracle(&node)).await;
    let (ada, token) = registered(&gateway, "ada").await;
    let (ben, _) = registered(&gateway, "ben").await;
    let path = |player: PlayerId| format!("/api/players/{player}/statistics");

    // Before it ever connected; the ledger and the board are woken for that.
    let answer = gateway.get(&path(ada), &token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!((&answer.body["units"], &answer.body["power"]), (&json!([]), &json!(0)));
    assert_eq!(answer.body.get("asOf").or(answer.body.get("rank")), None);

    Player::new(&node, ada).connect(None).await;
    Player::new(&node, ben).connect(None).await;
    let power = start_power();
    let ranking = wait_for(&gateway, "/api/rankings/power", |answer| {
        answer.body["players"].as_u64() == Some(2)
    });
    let ranking = ranking.await;
    let entries = ranking.body["entries"].as_array().unwrap();
    let first = |count: u64| count / 10_u64.pow(count.ilog10()) * 10_u64.pow(count.ilog10());
    for (entry, (rank, player, name)) in entries.iter().zip([(1, ada, "ada"), (2, ben, "ben")]) {
        assert_eq!((&entry["rank"], &entry["player"]), (&json!(rank), &json!(player.0)));
        assert_eq!((&entry["name"], &entry["power"]), (&json!(name), &json!(first(power))));
    }
    assert!(ranking.body["asOf"].as_u64().unwrap() > 0 && first(power) < power);
    assert!(ranking.header("cache-control").starts_with("public"));

    let own = gateway.get(&path(ada), &token).await;
    let others = gateway.get_public(&path(ada)).await;
    assert_eq!((&own.body["exact"], &others.body["exact"]), (&json!(true), &json!(false)));
    assert_eq!((&own.body["power"], &others.body["power"]), (&json!(power), &json!(first(power))));
    assert_eq!((&own.body["rank"], &own.body["sectors"]), (&json!(1), &json!(1)));
    let rules = rules::file::built_in().unwrap();
    let expected: Vec<Value> = rules
        .start()
        .iter()
        .map(|(type_id, count)| json!({ "type": type_id.0, "count": count }))
        .collect();
    assert_eq!(own.body["units"], json!(expected));
    assert!(own.body["asOf"].as_u64() > Some(0) && own.text("name") == "ada");

    let around = gateway.get("/api/rankings/power?around=me&limit=1", &token).await;
    assert_eq!(around.header("cache-control"), "no-store");
    let entry = &around.body["entries"][0];
    assert_eq!((&entry["player"], &entry["power"]), (&json!(ada.0), &json!(power)));
    let around = gateway.get_public(&format!("/api/rankings/power?around={ben}&limit=1")).await;
    assert_eq!(around.body["entries"][0]["player"], json!(ben.0));
    node.stop().await;
}

#[actix_web::test]
async fn refuses_boards_and_players_that_are_not_there() {
    let node = start(Arc::new(Memory::new())).await;
    let gateway = Gateway::reading("", oracle(&node)).await;
    for (path, status, problem) in [
        ("/api/rankings/wealth", 404, "not-found"),
        ("/api/rankings/power?around=77", 404, "not-found"),
        ("/api/rankings/power?around=me", 401, "token-refused"),
        ("/api/rankings/power?around=you", 400, "invalid-field"),
        ("/api/rankings/power?limit=101", 400, "invalid-field"),
        ("/api/players/77/statistics", 404, "not-found"),
        ("/api/players/me/statistics", 400, "invalid-field"),
    ] {
        let answer = gateway.get_public(path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, problem), "{path}");
    }
    let answer = gateway.get("/api/rankings/power", "no token").await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "token-refused"));
    let empty = gateway.get_public("/api/rankings/power").await;
    assert_eq!((&empty.body["entries"], empty.body.get("asOf")), (&json!([]), None));
    node.stop().await;
}
