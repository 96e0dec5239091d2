//! Registering, logging in, being somebody.

use std::sync::Arc;

use serde_json::json;
use starmesh::actors::rows::Rows;
use starmesh::gateway::accounts::{Accounts, SigningError};
use starmesh::store::memory::Memory;

use super::{Gateway, HOUR_MS, clock, registration, secret, test_settings};

#[actix_web::test]
async fn registering_returns_tokens_that_say_who_one_is() {
    let gateway = Gateway::new("").await;
    let mut body = registration("Ada");
    body["displayName"] = json!("Ada, Countess of L.");
    body["faction"] = json!("blue");
    let tokens = gateway.post("/api/auth/register", &body).await;
    assert_eq!(tokens.status, 201);
    assert_eq!(tokens.body["expiresIn"], 24 * 3600);
    assert_eq!(tokens.header("cache-control"), "no-store");
    let me = gateway.get("/api/auth/me", &tokens.text("accessToken")).await;
    assert_eq!(
        me.body,
        json!({
            "player": tokens.body["player"],
            "name": "Ada",
            "email": "Ada@example.org",
            "displayName": "Ada, Countess of L.",
            "faction": "blue",
            "roles": ["player"],
            "created": 1_800_000_000_000u64,
            "lastLogin": 1_800_000_000_000u64,
        })
    );
}

#[actix_web::test]
async fn a_name_or_email_is_taken_without_case() {
    let gateway = Gateway::new("").await;
    gateway.register("Ada").await;
    let mut same_name = registration("aDA");
    same_name["email"] = json!("other@example.org");
    let answer = gateway.post("/api/auth/register", &same_name).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "name-taken"));
    assert_eq!(answer.text("field"), "name");
    assert_eq!(answer.text("changed"), "nothing");
    let mut same_email = registration("Grace");
    same_email["email"] = json!("ADA@example.ORG");
    let answer = gateway.post("/api/auth/register", &same_email).await;
    assert_eq!((answer.status, answer.problem().as_str()), (409, "email-taken"));
}

#[actix_web::test]
async fn logs_in_by_name_or_email_in_any_case() {
    let gateway = Gateway::new("").await;
    let player = gateway.register("Ada").await.body["player"].clone();
    gateway.pass_ms(HOUR_MS);
    for user in ["Ada", "ada", "ada@example.org", "ADA@Example.org"] {
        let answer = gateway.login(user, "correct horse").await;
        assert_eq!((answer.status, &answer.body["player"]), (200, &player), "{user}");
        let me = gateway.get("/api/auth/me", &answer.text("accessToken")).await;
        assert_eq!(me.body["lastLogin"], 1_800_000_000_000u64 + HOUR_MS);
    }
}

#[actix_web::test]
async fn an_unknown_user_and_a_wrong_password_look_the_same() {
    let gateway = Gateway::new("").await;
    gateway.register("Ada").await;
    let wrong = gateway.login("Ada", "battery staple").await;
    let unknown = gateway.login("Grace", "battery staple").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (401, "wrong-credentials"));
    assert_eq!((wrong.status, wrong.body), (unknown.status, unknown.body));
    assert_eq!(wrong.headers, unknown.headers);
}

#[actix_web::test]
async fn an_access_token_ends_after_its_time() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("Ada").await.text("accessToken");
    gateway.pass_ms(24 * HOUR_MS - 1000);
    assert_eq!(gateway.get("/api/auth/me", &token).await.status, 200);
    gateway.pass_ms(4000);
    let answer = gateway.get("/api/auth/me", &token).await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "token-refused"));
    assert_eq!(answer.text("detail"), "the access token is expired");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[actix_web::test]
async fn tokens_of_another_cluster_are_not_believed() {
    let (here, elsewhere) = (Gateway::new("").await, Gateway::new("").await);
    here.register("Ada").await;
    let token = elsewhere.register("Ada").await.text("accessToken");
    assert_eq!(here.get("/api/auth/me", &token).await.status, 401);
    // {"alg":"none"}, with the claims of a good token.
    let claims = here.login("Ada", "correct horse").await.text("accessToken");
    let claims = claims.split('.').nth(1).unwrap();
    let none = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let answer = here.get("/api/auth/me", &none).await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "token-refused"));
    assert_eq!(here.get("/api/auth/me", "").await.status, 401);
}

#[actix_web::test]
async fn accounts_and_tokens_survive_a_restart_with_the_same_secret_only() {
    let store = Arc::new(Memory::new());
    let cluster = secret();
    let settings = super::TEST_SETTINGS;
    let before = Gateway::on(Rows::direct(store.clone()), cluster.clone(), settings).await;
    let tokens = before.register("Ada").await;
    let after = Gateway::on(Rows::direct(store.clone()), cluster, settings).await;
    let me = after.get("/api/auth/me", &tokens.text("accessToken")).await;
    assert_eq!(me.text("name"), "Ada");
    // A block of ids is of one process; the next one begins a new block.
    let next = after.register("Grace").await.body["player"].as_u64().unwrap();
    assert_eq!((tokens.body["player"].as_u64().unwrap(), next), (1, 1 + (1 << 20)));

    let players = test_settings().players;
    let other = Accounts::open(Rows::direct(store), secret(), &players, clock(&after.time)).await;
    assert_eq!(other.err(), Some(SigningError::OtherSecret));
}

#[actix_web::test]
async fn signing_keys_are_renewed_and_the_one_before_stays_valid() {
    let gateway = Gateway::new("").await;
    gateway.register("Ada").await;
    let day = 24 * HOUR_MS;
    gateway.pass_ms(91 * day);
    let renewing = gateway.accounts.clone();
    let old = gateway.login("Ada", "correct horse").await.text("accessToken");
    renewing.maintain_keys().await.unwrap();
    gateway.pass_ms(HOUR_MS);
    let new = gateway.login("Ada", "correct horse").await.text("accessToken");
    assert_ne!(old.split('.').next(), new.split('.').next(), "signed by the same key");
    assert_eq!(gateway.get("/api/auth/me", &old).await.status, 200);
    assert_eq!(gateway.get("/api/auth/me", &new).await.status, 200);
}
