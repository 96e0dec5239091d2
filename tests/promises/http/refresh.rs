//! Refresh tokens: used once, revoked as families.

use serde_json::json;

use super::{Answer, Gateway, HOUR_MS};

async fn refresh(gateway: &Gateway, token: &str) -> Answer {
    gateway.post("/api/auth/refresh", &json!({ "refreshToken": token })).await
}

#[actix_web::test]
async fn each_refresh_token_is_answered_with_the_next() {
    let gateway = Gateway::new("").await;
    let mut token = gateway.register("Ada").await.text("refreshToken");
    for _ in 0..5 {
        gateway.pass_ms(29 * 24 * HOUR_MS);
        let answer = refresh(&gateway, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let me = gateway.get("/api/auth/me", &answer.text("accessToken")).await;
        assert_eq!(me.text("name"), "Ada");
        assert_ne!(answer.text("refreshToken"), token);
        token = answer.text("refreshToken");
    }
}

#[actix_web::test]
async fn a_refresh_token_that_comes_again_ends_its_family() {
    let gateway = Gateway::new("").await;
    let first = gateway.register("Ada").await.text("refreshToken");
    let other_login = gateway.login("Ada", "correct horse").await.text("refreshToken");
    let second = refresh(&gateway, &first).await.text("refreshToken");
    let again = refresh(&gateway, &first).await;
    assert_eq!((again.status, again.problem().as_str()), (401, "token-refused"));
    assert_eq!(again.text("detail"), "the refresh token is revoked");
    assert_eq!(refresh(&gateway, &second).await.status, 401);
    assert_eq!(refresh(&gateway, &other_login).await.status, 200);
}

#[actix_web::test]
async fn of_two_refreshes_at_once_at_most_one_succeeds() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("Ada").await.text("refreshToken");
    let (one, other) = tokio::join!(refresh(&gateway, &token), refresh(&gateway, &token));
    let succeeded = [&one, &other].iter().filter(|answer| answer.status == 200).count();
    assert!(succeeded <= 1, "{} {}", one.body, other.body);
}

#[actix_web::test]
async fn a_refresh_token_ends_after_its_time() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("Ada").await.text("refreshToken");
    gateway.pass_ms(30 * 24 * HOUR_MS);
    let answer = refresh(&gateway, &token).await;
    assert_eq!(
        (answer.status, answer.text("detail").as_str()),
        (401, "the refresh token is expired")
    );
}

#[actix_web::test]
async fn a_forged_refresh_token_is_refused_and_ends_nothing() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("Ada").await.text("refreshToken");
    for wrong in ["", "smr1_00", &token.replace("smr1_0", "smr1_1")] {
        let answer = refresh(&gateway, wrong).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "token-refused"), "{wrong}");
    }
    assert_eq!(refresh(&gateway, &token).await.status, 200);
}

#[actix_web::test]
async fn logging_out_ends_this_family_and_no_other() {
    let gateway = Gateway::new("").await;
    let here = gateway.register("Ada").await.text("refreshToken");
    let there = gateway.login("Ada", "correct horse").await.text("refreshToken");
    for _ in 0..2 {
        let answer = gateway.post("/api/auth/logout", &json!({ "refreshToken": here })).await;
        assert_eq!(answer.status, 204);
    }
    assert_eq!(refresh(&gateway, &here).await.status, 401);
    assert_eq!(refresh(&gateway, &there).await.status, 200);
}

#[actix_web::test]
async fn a_further_login_ends_the_oldest_family() {
    let gateway = Gateway::new("").await;
    let oldest = gateway.register("Ada").await.text("refreshToken");
    gateway.pass_ms(1);
    let second = gateway.login("Ada", "correct horse").await.text("refreshToken");
    for _ in 0..31 {
        gateway.pass_ms(1);
        assert_eq!(gateway.login("Ada", "correct horse").await.status, 200);
    }
    assert_eq!(refresh(&gateway, &oldest).await.status, 401);
    assert_eq!(refresh(&gateway, &second).await.status, 200);
}
