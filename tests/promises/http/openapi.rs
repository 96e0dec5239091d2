//! The OpenAPI document describes what is served, and all of it.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::Value;
use starmesh::gateway::http::openapi;

use super::{Gateway, LOCAL, request};

fn document() -> Value {
    serde_json::to_value(openapi::document()).unwrap()
}

/// Paths and methods of the document.
fn calls() -> Vec<(String, Method)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().clone();
    let of = |(path, item): (String, Value)| {
        let methods: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        methods.into_iter().map(move |method| (path.clone(), method.to_uppercase()))
    };
    let calls = paths.into_iter().flat_map(of);
    calls.map(|(path, method)| (path, Method::from_bytes(method.as_bytes()).unwrap())).collect()
}

/// The path with the examples of its parameters.
fn example(path: &str, method: &Method) -> String {
    let operation = &document()["paths"][path][method.as_str().to_lowercase()];
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
    in_path.fold(path.to_owned(), |path, parameter| {
        let example = parameter["example"].as_str().expect("an example");
        path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), example)
    })
}

#[actix_web::test]
async fn is_served_as_openapi_3_1() {
    let answer = Gateway::new("").await.get("/api/openapi.json", "").await;
    assert_eq!((answer.status, answer.text("openapi").as_str()), (200, "3.1.0"));
    assert_eq!(answer.body, document());
}

#[actix_web::test]
async fn every_call_of_the_document_is_served_by_that_method_only() {
    let gateway = Gateway::new("[http]\nread_timeout_ms = 10\n").await;
    assert!(calls().len() >= 10);
    for (path, method) in calls() {
        let path = example(&path, &method);
        let answer = gateway.call(request(method.clone(), LOCAL, &path)).await;
        let unserved = answer.body["detail"].as_str().is_some_and(|d| d.starts_with("nothing is"));
        assert!(answer.status != 405 && !unserved, "{method} {path}: {}", answer.body);
        let answer = gateway.call(request(Method::DELETE, LOCAL, &path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, method.as_str()), "{path}");
    }
}

/// The paths that this module routes are the constants of `protocol::http` and
/// three of the service; a new constant without an entry in the document fails.
#[test]
fn every_path_of_the_protocol_is_in_the_document() {
    let source = include_str!("../../../src/protocol/http.rs");
    let constants =
        source.lines().filter(|line| line.starts_with("pub const") && line.contains("_PATH"));
    let paths = constants.filter_map(|line| line.split('"').nth(1));
    let described: Vec<String> = calls().into_iter().map(|(path, _)| path).collect();
    for path in paths.filter(|path| !["/ws", "/api/openapi.json"].contains(path)) {
        assert!(described.iter().any(|known| known == path), "{path} is not in the document");
    }
}

#[test]
fn every_error_is_described_as_a_problem_document() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (status, response) in item
            .as_object()
            .unwrap()
            .values()
            .flat_map(|operation| operation["responses"].as_object().unwrap().clone())
        {
            let is_error = status.starts_with('4') || status.starts_with('5');
            let body = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(is_error, *body == "#/components/schemas/Problem", "{path} {status}");
        }
    }
}

#[actix_web::test]
async fn there_is_a_page_to_try_the_calls() {
    let gateway = Gateway::new("").await;
    let app = actix_web::App::new()
        .configure(|services| starmesh::gateway::http::configure(services, gateway.state.clone()));
    let app = actix_web::test::init_service(app).await;
    for file in ["", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let asked = TestRequest::get().uri(&format!("/api/docs/{file}")).to_request();
        let response = actix_web::test::call_service(&app, asked).await;
        assert_eq!(response.status(), 200, "{file}");
        let body = actix_web::test::read_body(response).await;
        assert!(
            file != "swagger-initializer.js"
                || String::from_utf8_lossy(&body).contains("/api/openapi.json")
        );
    }
}

#[actix_web::test]
async fn the_rules_name_every_unit_type_and_are_not_sent_twice() {
    let gateway = Gateway::new("").await;
    let answer = gateway.get("/api/rules", "").await;
    assert_eq!(answer.status, 200);
    let types = answer.body["unitTypes"].as_array().unwrap();
    let rules = starmesh::sim::rules::sample::rules().unwrap();
    assert_eq!(types.len(), rules.types().len());
    for (told, real) in types.iter().zip(rules.types()) {
        assert_eq!(
            (told["id"].as_u64(), told["name"].as_str()),
            (Some(real.id.0.into()), Some(real.name.as_str()))
        );
        assert_eq!(told["speed"].as_u64(), real.speed.map(|speed| speed.steps().into()));
        let warp = real.speed.map(|_| real.warp_speed.steps().into());
        assert_eq!(told["warpSpeed"].as_u64(), warp);
    }
    let etag = answer.header("etag").to_string();
    let again = request(Method::GET, LOCAL, "/api/rules").insert_header(("if-none-match", etag));
    assert_eq!(gateway.call(again).await.status, 304);
}
