//! Invariant 18: no two accounts share a name or e-mail.

use futures_util::future::join_all;
use serde_json::json;

use super::{Gateway, registration};

async fn race(gateway: &Gateway, bodies: Vec<serde_json::Value>, loser: &str) {
    let answers =
        join_all(bodies.iter().map(|body| gateway.post("/api/auth/register", body))).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1, "{:?}", answers.iter().map(|answer| &answer.body).collect::<Vec<_>>());
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!((answer.status, answer.problem().as_str()), (409, loser));
    }
}

#[actix_web::test]
async fn of_registrations_of_one_name_at_once_one_wins() {
    let gateway = Gateway::new("").await;
    let bodies = (0..16).map(|i| {
        let mut body = registration(if i % 2 == 0 { "Ada" } else { "ADA" });
        body["email"] = json!(format!("ada{i}@example.org"));
        body
    });
    race(&gateway, bodies.collect(), "name-taken").await;
}

#[actix_web::test]
async fn of_registrations_of_one_email_at_once_one_wins() {
    let gateway = Gateway::new("").await;
    let bodies = (0..16).map(|i| {
        let mut body = registration(&format!("ada-{i}"));
        body["email"] = json!(if i % 2 == 0 { "ada@example.org" } else { "Ada@Example.org" });
        body
    });
    race(&gateway, bodies.collect(), "email-taken").await;
}
