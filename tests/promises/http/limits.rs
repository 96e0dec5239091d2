//! What an address may do how often, over HTTP.

use actix_web::http::Method;
use serde_json::json;

use super::{Answer, Gateway, LOCAL, registration, request};

const FAR: &str = "203.0.113.9";

#[track_caller]
fn assert_limited(answer: &Answer) {
    assert_eq!((answer.status, answer.problem().as_str()), (429, "limited"));
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    assert_eq!(answer.text("changed"), "nothing");
}

#[actix_web::test]
async fn the_eleventh_login_of_a_minute_is_refused() {
    let gateway = Gateway::new("").await;
    gateway.register("Ada").await;
    let body = json!({ "name": "Ada", "password": "correct horse" });
    for _ in 0..10 {
        assert_eq!(gateway.post_from(FAR, "/api/auth/login", &body).await.status, 200);
    }
    assert_limited(&gateway.post_from(FAR, "/api/auth/login", &body).await);
    assert_eq!(gateway.post_from("203.0.113.10", "/api/auth/login", &body).await.status, 200);
}

#[actix_web::test]
async fn the_sixth_registration_of_an_hour_is_refused() {
    let gateway = Gateway::new("").await;
    for i in 0..5 {
        let body = registration(&format!("player-{i}"));
        assert_eq!(gateway.post_from(FAR, "/api/auth/register", &body).await.status, 201);
    }
    assert_limited(&gateway.post_from(FAR, "/api/auth/register", &registration("six")).await);
}

/// Of the next calls the first that is refused: on a slow machine some more are
/// admitted meanwhile, two for each second.
async fn soon_limited<F: Future<Output = Answer>>(call: impl Fn() -> F) -> Answer {
    for _ in 0..120 {
        let answer = call().await;
        if answer.status == 429 {
            return answer;
        }
    }
    call().await
}

#[actix_web::test]
async fn every_other_endpoint_is_limited_too() {
    for path in [
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/auth/me",
        "/api/map/0,0,0",
        "/api/players/x/statistics",
        "/api/rankings/wealth",
        "/api/universe",
        "/",
        "/no/where",
    ] {
        let gateway = Gateway::new("").await;
        let call = || gateway.call(request(Method::GET, FAR, path));
        for _ in 0..120 {
            assert_ne!(call().await.status, 429, "{path}");
        }
        assert_limited(&soon_limited(call).await);
    }
    for path in ["/api/auth/refresh", "/api/auth/logout"] {
        let gateway = Gateway::new("").await;
        let body = json!({ "refreshToken": "" });
        let call = || gateway.post_from(FAR, path, &body);
        for _ in 0..120 {
            assert_ne!(call().await.status, 429, "{path}");
        }
        assert_limited(&soon_limited(call).await);
    }
}

#[actix_web::test]
async fn exempt_networks_are_free() {
    let gateway = Gateway::new("").await;
    for i in 0..20 {
        gateway.register(&format!("player-{i}")).await;
        assert_eq!(gateway.login(&format!("player-{i}"), "correct horse").await.status, 200);
    }
}

#[actix_web::test]
async fn clients_behind_a_trusted_proxy_count_by_themselves() {
    let gateway = Gateway::new("[http]\ntrusted_proxies = ['10.0.0.0/8']\n").await;
    let health = |peer, client: &str| {
        let forwarded = ("x-forwarded-for", client.to_string());
        gateway.call(request(Method::GET, peer, "/healthz").insert_header(forwarded))
    };
    for _ in 0..120 {
        assert_eq!(health("10.0.0.1", FAR).await.status, 200);
    }
    assert_limited(&soon_limited(|| health("10.0.0.1", FAR)).await);
    let through = format!("{LOCAL}, {FAR}");
    assert_limited(&soon_limited(|| health("10.0.0.1", &through)).await);
    assert_eq!(health("10.0.0.1", "198.51.100.1").await.status, 200);
    // Whoever is no proxy names nobody else.
    assert_limited(&soon_limited(|| health(FAR, LOCAL)).await);
}
