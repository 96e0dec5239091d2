//! Every error is a problem document that says what was expected and what
//! became of the state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{App, HttpServer};
use serde_json::{Value, json};
use starmesh::actors::rows::{GroupAnswer, Rows, RowsLimits};
use starmesh::base::Millis;
use starmesh::gateway::http::configure;
use starmesh::store::Store;
use starmesh::store::faults::{Faulty, Rates};
use starmesh::store::memory::Memory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Gateway, LOCAL, TEST_SETTINGS, registration, request, secret};

#[actix_web::test]
async fn names_the_field_and_what_it_may_be() {
    let gateway = Gateway::new("").await;
    for (field, value, expected) in [
        ("name", json!("a b"), "3 to 32 ASCII letters, digits, - and _"),
        ("email", json!("nobody"), "an e-mail address of at most 255 bytes, without spaces"),
        ("password", json!("short"), "8 to 256 characters"),
        ("displayName", json!("x".repeat(65)), "1 to 64 characters without line breaks"),
        ("faction", json!(""), "1 to 32 characters without line breaks"),
    ] {
        let mut body = registration("Ada");
        body[field] = value;
        let answer = gateway.post("/api/auth/register", &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-field"));
        assert_eq!(
            (answer.text("field").as_str(), answer.text("expected").as_str()),
            (field, expected)
        );
        assert_eq!(answer.text("changed"), "nothing");
    }
}

#[actix_web::test]
async fn says_where_a_body_is_wrong() {
    let gateway = Gateway::new("").await;
    for (body, detail) in [
        ("{\"name\":", "EOF while parsing a value at line 1 column 8"),
        (
            "{\"name\": \"Ada\",\n \"x\": 1}",
            "unknown field `x`, expected `name` or `password` at line 2 column 4",
        ),
        ("{\"name\": \"Ada\"}", "missing field `password` at line 1 column 15"),
        ("[]", "invalid length 0, expected struct Login with 2 elements at line 1 column 2"),
    ] {
        let call = request(Method::POST, LOCAL, "/api/auth/login")
            .insert_header(("content-type", "application/json"))
            .set_payload(body);
        let answer = gateway.call(call).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-body"));
        assert_eq!(answer.text("detail"), format!("the JSON body: {detail}"));
    }
}

#[actix_web::test]
async fn refuses_other_types_other_methods_and_other_paths() {
    let gateway = Gateway::new("").await;
    let form = request(Method::POST, LOCAL, "/api/auth/login").set_form([("name", "Ada")]);
    let answer = gateway.call(form).await;
    assert_eq!((answer.status, answer.problem().as_str()), (415, "unsupported-media-type"));
    let answer = gateway.get("/api/auth/login", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"));
    assert_eq!(answer.header("allow"), "POST");
    let answer = gateway.get("/nowhere", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
}

#[actix_web::test]
async fn refuses_a_body_that_is_too_large() {
    let gateway = Gateway::new("").await;
    let mut body = registration("Ada");
    body["displayName"] = json!("x".repeat(5000));
    let answer = gateway.post("/api/auth/register", &body).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "body-too-large"));
    assert_eq!(gateway.login("Ada", "correct horse").await.status, 401);
}

/// Over a real socket: the head arrives, the body does not.
#[actix_web::test]
async fn gives_up_on_a_body_that_does_not_arrive() {
    let gateway = Gateway::new("[http]\nrequest_timeout_s = 1\n").await;
    let state = gateway.state.clone();
    let server = HttpServer::new(move || {
        App::new().configure(|services| configure(services, state.clone()))
    })
    .workers(1)
    .bind((LOCAL, 0))
    .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") || !answer.contains('}') {
        let mut bytes = [0; 4096];
        let n = socket.read(&mut bytes).await.unwrap();
        assert!(n > 0, "closed after {answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("/problems/request-timeout"), "{answer}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_store_that_is_away_is_said_to_be_and_nothing_changed() {
    let store = Arc::new(Faulty::new(Arc::new(Memory::new()), 1, Rates::default()));
    let gateway = Gateway::on(Rows::direct(store.clone()), secret(), TEST_SETTINGS).await;
    store.go_away(Millis(u64::MAX));
    let answer = gateway.post("/api/auth/register", &registration("Ada")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "store-away"));
    assert_eq!(answer.text("changed"), "nothing");
    assert_eq!(answer.header("retry-after"), "2");
    store.heal();
    gateway.register("Ada").await;
}

#[actix_web::test]
async fn an_outcome_that_is_not_known_is_said_to_be_unknown() {
    let limits = RowsLimits {
        reads_at_once: 1,
        read_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        writes_waiting_max: 1,
    };
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let (rows, mut queue) = Rows::new(&store, limits);
    // The signing key and a block of ids are accepted; then the node falls silent.
    actix_web::rt::spawn(async move {
        for version in 1..=2 {
            let request = queue.recv().await.unwrap();
            request.answer.send(Ok(GroupAnswer::Accepted { version })).unwrap();
        }
        drop(queue.recv().await);
    });
    let gateway = Gateway::on(rows, secret(), TEST_SETTINGS).await;
    let answer = gateway.post("/api/auth/register", &registration("Ada")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "store-away"));
    assert_eq!(answer.text("changed"), "unknown");
    // The queue is gone: now nothing can have changed.
    let answer = gateway.post("/api/auth/register", &registration("Ada")).await;
    assert_eq!((answer.status, answer.text("changed").as_str()), (503, "nothing"));
}

#[actix_web::test]
async fn says_why_a_node_is_not_ready() {
    let gateway = Gateway::new("").await;
    assert_eq!(gateway.get("/readyz", "").await.body, json!({ "ready": true, "parked": 0 }));
    gateway.parked.store(2, Ordering::Relaxed);
    let answer = gateway.get("/readyz", "").await;
    assert_eq!((answer.status, answer.body), (200, json!({ "ready": true, "parked": 2 })));
    gateway.ready.store(false, Ordering::Relaxed);
    let answer = gateway.get("/readyz", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "not-ready"));
    assert_eq!(answer.text("detail"), "the disk is full");
    assert_eq!(gateway.get("/healthz", "").await.body, json!({ "alive": true }));
    assert!(matches!(gateway.get("/metrics", "").await.body, Value::String(_)));
}
