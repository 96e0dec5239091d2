//! Log-out everywhere and password changes end all tokens, on every gateway,
//! within two seconds (invariant 31, the accounts' half).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use serde_json::json;
use starmesh::actors::rows::Rows;
use starmesh::base::PlayerId;
use starmesh::gateway::accounts::Raised;
use starmesh::store::memory::Memory;

use super::{Gateway, LOCAL, TEST_SETTINGS, request, secret};

/// Two gateways of one cluster.
async fn two_gateways() -> (Gateway, Gateway) {
    let (rows, secret) = (Rows::direct(Arc::new(Memory::new())), secret());
    let one = Gateway::on(rows.clone(), secret.clone(), TEST_SETTINGS).await;
    (one, Gateway::on(rows, secret, TEST_SETTINGS).await)
}

#[actix_web::test]
async fn logging_out_everywhere_reaches_every_gateway() {
    let (here, there) = two_gateways().await;
    let following = there.accounts.clone();
    actix_web::rt::spawn(async move { following.follow().await });
    let tokens = here.register("Ada").await;
    let (access, refresh) = (tokens.text("accessToken"), tokens.text("refreshToken"));
    assert_eq!(there.get("/api/auth/me", &access).await.status, 200);
    let mut raised = there.accounts.generations().subscribe();

    let body = json!({ "refreshToken": refresh, "everywhere": true });
    let began = Instant::now();
    assert_eq!(here.post("/api/auth/logout", &body).await.status, 204);
    let told = tokio::time::timeout(Duration::from_secs(10), raised.recv()).await.unwrap().unwrap();
    println!("the other gateway was told after {:?}", began.elapsed());
    let player = PlayerId(tokens.body["player"].as_u64().unwrap());
    assert_eq!(told, Raised { player, generation: 2 });
    for gateway in [&here, &there] {
        let answer = gateway.get("/api/auth/me", &access).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.text("detail"), "the access token is revoked");
    }
    let answer = there.post("/api/auth/refresh", &json!({ "refreshToken": refresh })).await;
    assert_eq!(answer.status, 401);
    assert_eq!(there.login("Ada", "correct horse").await.status, 200);
}

#[actix_web::test]
async fn a_gateway_that_cannot_follow_asks_the_store() {
    let (here, there) = two_gateways().await;
    let tokens = here.register("Ada").await;
    let access = tokens.text("accessToken");
    assert_eq!(there.get("/api/auth/me", &access).await.status, 200);
    let body = json!({ "refreshToken": tokens.text("refreshToken"), "everywhere": true });
    assert_eq!(here.post("/api/auth/logout", &body).await.status, 204);
    assert_eq!(there.get("/api/auth/me", &access).await.status, 401);
}

#[actix_web::test]
async fn a_new_password_ends_all_tokens_but_its_own() {
    let gateway = Gateway::new("").await;
    let old = gateway.register("Ada").await;
    let change = |current: &str, token: &str| {
        let body = json!({ "current": current, "new": "battery staple" });
        let bearer = ("authorization", format!("Bearer {token}"));
        request(Method::POST, LOCAL, "/api/auth/password").insert_header(bearer).set_json(body)
    };
    let wrong = gateway.call(change("incorrect horse", &old.text("accessToken"))).await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (401, "wrong-credentials"));

    let new = gateway.call(change("correct horse", &old.text("accessToken"))).await;
    assert_eq!(new.status, 200, "{}", new.body);
    assert_eq!(gateway.get("/api/auth/me", &new.text("accessToken")).await.status, 200);
    assert_eq!(gateway.get("/api/auth/me", &old.text("accessToken")).await.status, 401);
    let refresh = json!({ "refreshToken": old.text("refreshToken") });
    assert_eq!(gateway.post("/api/auth/refresh", &refresh).await.status, 401);
    assert_eq!(gateway.login("Ada", "correct horse").await.status, 401);
    assert_eq!(gateway.login("Ada", "battery staple").await.status, 200);
}
