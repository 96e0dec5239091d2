//! The admin calls: who may make them, what they say and refuse. The calls that
//! need a cluster run on a whole node, a cluster of one.

use actix_web::http::Method;
use serde_json::{Value, json};
use starmesh::actors::rows::Rows;
use starmesh::config::Config;
use starmesh::gateway::server::Server;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;
use starmesh::telemetry::Recorder;
use std::sync::Arc;
use tempfile::TempDir;

use super::{Gateway, LOCAL, request, secret};

const CALLS: [(&str, &str); 15] = [
    ("GET", "/api/admin/nodes"),
    ("GET", "/api/admin/sectors"),
    ("GET", "/api/admin/sectors/5000,5000,0"),
    ("GET", "/api/admin/entities/ledger:0"),
    ("POST", "/api/admin/sectors/5000,5000,0/migrate"),
    ("POST", "/api/admin/sectors/5000,5000,2/split"),
    ("POST", "/api/admin/sectors/5000,5000,2/merge"),
    ("POST", "/api/admin/nodes/1/drain"),
    ("POST", "/api/admin/nodes/1/undrain"),
    ("POST", "/api/admin/balance"),
    ("POST", "/api/admin/announce"),
    ("GET", "/api/admin/parked"),
    ("POST", "/api/admin/entities/ledger:0/resume"),
    ("POST", "/api/admin/audit"),
    ("GET", "/api/admin/audit/last"),
];

#[actix_web::test]
async fn nobody_without_the_role_admin_may_look_or_steer() {
    let gateway = Gateway::new("").await;
    let player = gateway.register("ada").await.text("accessToken");
    for (method, path) in CALLS {
        let call = || request(Method::from_bytes(method.as_bytes()).unwrap(), LOCAL, path);
        let answer = gateway.call(call()).await;
        assert_eq!((answer.status, answer.problem().as_str()), (401, "token-refused"), "{path}");
        let bearer = ("authorization", format!("Bearer {player}"));
        let answer = gateway.call(call().insert_header(bearer)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"), "{path}");
        assert!(answer.text("expected").contains("players.admins"));
    }
}

#[actix_web::test]
async fn the_role_is_given_by_the_list_and_taken_with_the_next_token() {
    let (rows, secret) = (Rows::direct(Arc::new(Memory::new())), secret());
    let base =
        "[limits]\nexempt = ['127.0.0.0/8']\n[players]\nargon2_memory_kib = 8\nargon2_passes = 1\n";
    let listed = format!("{base}admins = ['ADA']\n");
    let with = Gateway::on(rows.clone(), secret.clone(), &listed).await;
    let answer = with.register("Ada").await;
    let me = with.get("/api/auth/me", &answer.text("accessToken")).await;
    assert_eq!(me.body["roles"], json!(["player", "admin"]));
    let other = with.register("ada-2").await.text("accessToken");
    assert_eq!(with.get("/api/auth/me", &other).await.body["roles"], json!(["player"]));
    // It is admin, and this gateway has no cluster.
    let admin = with.get("/api/admin/nodes", &answer.text("accessToken")).await;
    assert_eq!((admin.status, admin.problem().as_str()), (503, "not-ready"));

    let without = Gateway::on(rows, secret, base).await;
    let body = json!({ "refreshToken": answer.text("refreshToken") });
    let next = without.post("/api/auth/refresh", &body).await.text("accessToken");
    let refused = without.get("/api/admin/nodes", &next).await;
    assert_eq!((refused.status, refused.problem().as_str()), (403, "forbidden"));
}

/// A whole node, and an admin's token.
struct Cluster {
    server: Server,
    token: String,
    _data: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let data = TempDir::new().unwrap();
        let settings = format!(
            "[node]\ndata = '{}'\n[http]\nlisten = '127.0.0.1:0'\nworkers = 1\nshutdown_timeout_s = 1\n\
             [limits]\nexempt = ['127.0.0.0/8']\n[galaxy]\nledger_shards = 2\n\
             [players]\nargon2_memory_kib = 8\nargon2_passes = 1\nadmins = ['ada']\n",
            data.path().display()
        );
        let config = Config::with(&settings).unwrap();
        let rules = rules::file::built_in().unwrap();
        let server = Server::start(&config, rules, Recorder::detached().unwrap()).await.unwrap();
        let mut cluster = Cluster { server, token: String::new(), _data: data };
        let (status, body) = cluster.post("/api/auth/register", &super::registration("ada")).await;
        assert_eq!(status, 201, "{body}");
        cluster.token = body["accessToken"].as_str().unwrap().to_owned();
        cluster
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let call = ureq::get(format!("{}{path}", self.server.url()));
        let call = call.header("authorization", format!("Bearer {}", self.token));
        let call = call.config().http_status_as_error(false).build();
        answer(move || call.call().unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let call = ureq::post(format!("{}{path}", self.server.url()));
        let call = call.header("authorization", format!("Bearer {}", self.token));
        let call = call.config().http_status_as_error(false).build();
        let (call, body) = (call.content_type("application/json"), body.to_string());
        answer(move || call.send(body).unwrap()).await
    }

    async fn refused(&self, path: &str, body: Value, detail: &str) {
        let version = self.version().await;
        let (status, problem) = self.post(path, &body).await;
        assert_eq!((status, problem["type"].as_str()), (409, Some("/problems/refused")));
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(detail) && told.ends_with("nothing was changed"), "{told}");
        assert!(told.contains("expected") || told.contains("already"), "{told}");
        assert_eq!((&problem["changed"], self.version().await), (&json!("nothing"), version));
    }

    async fn version(&self) -> u64 {
        self.get("/api/admin/nodes").await.1["directory"].as_u64().unwrap()
    }
}

async fn answer(
    call: impl FnOnce() -> ureq::http::Response<ureq::Body> + Send + 'static,
) -> (u16, Value) {
    let call = move || {
        let mut response = call();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
    };
    tokio::task::spawn_blocking(call).await.unwrap()
}

#[actix::test]
async fn a_cluster_of_one_is_shown_and_steered() {
    let it = Cluster::start().await;
    let (status, nodes) = it.get("/api/admin/nodes").await;
    assert_eq!(status, 200, "{nodes}");
    let node = &nodes["nodes"][0];
    assert_eq!(
        (&nodes["me"], &node["node"], &node["link"]),
        (&json!(1), &json!(1), &json!("self"))
    );
    assert_eq!((&node["lives"], &node["draining"]), (&json!(true), &json!(false)));
    assert_eq!(node["report"]["store"], "sled");
    assert!(node["name"].is_string() && node["entries"].as_u64().unwrap() > 0, "{node}");

    let (status, sectors) = it.get("/api/admin/sectors?limit=5").await;
    assert_eq!((status, &sectors["silent"]), (200, &json!([])), "{sectors}");
    let (_, ledger) = it.get("/api/admin/entities/ledger:1").await;
    assert_eq!((&ledger["node"], &ledger["ownEntry"]), (&json!(1), &json!(false)));
    let (_, region) = it.get("/api/admin/sectors/1250,1250,2").await;
    assert_eq!((&region["entry"]["node"], &region["finerCount"]), (&json!(1), &json!(0)));

    for (path, problem) in [
        ("/api/admin/sectors/x", (400, "/problems/invalid-field")),
        ("/api/admin/sectors?limit=0", (400, "/problems/invalid-field")),
        ("/api/admin/entities/fleet:1", (400, "/problems/invalid-field")),
        ("/api/admin/sectors/-1,0,0", (404, "/problems/not-found")),
    ] {
        let (status, told) = it.get(path).await;
        assert_eq!((status, told["type"].as_str().unwrap()), problem, "{path}");
    }

    // Split, and merged again: entries come and go, and nothing moves.
    let (split, merge) =
        ("/api/admin/sectors/1250,1250,2/split", "/api/admin/sectors/1250,1250,2/merge");
    it.refused(merge, json!({}), "no finer entries").await;
    let (status, steered) = it.post(split, &json!(null)).await;
    assert_eq!((status, &steered["changes"]), (200, &json!(4)), "{steered}");
    let (_, region) = it.get("/api/admin/sectors/1250,1250,2").await;
    assert_eq!(region["finerCount"], 4, "the node that answered knows of it");
    it.refused(split, json!(null), "split already").await;
    it.refused("/api/admin/sectors/1,1,0/split", json!(null), "scale 0").await;
    let (status, steered) = it.post(merge, &json!({})).await;
    assert_eq!((status, &steered["changes"]), (200, &json!(4)), "{steered}");

    // It is here already; and nobody else is there.
    let migrate = "/api/admin/sectors/5000,5000,0/migrate";
    let (status, steered) = it.post(migrate, &json!({ "to": 1 })).await;
    assert_eq!((status, &steered["changes"]), (200, &json!(0)));
    it.refused(migrate, json!({ "to": 9 }), "there is no node 9").await;
    it.refused("/api/admin/nodes/9/drain", json!(null), "there is no node 9").await;
    it.refused("/api/admin/nodes/1/drain", json!(null), "the last").await;
    let (status, steered) = it.post("/api/admin/nodes/1/undrain", &json!(null)).await;
    assert_eq!((status, &steered["changes"]), (200, &json!(0)));

    for strategy in ["PlayerCount", "ActivityLevel", "ResourceUsage", "Geographic"] {
        let body = json!({ "strategy": strategy, "dryRun": true });
        let (status, plan) = it.post("/api/admin/balance", &body).await;
        assert_eq!((status, &plan["moves"]), (200, &json!([])), "one node: {plan}");
        assert_eq!((&plan["silent"], plan.get("directory")), (&json!([]), None));
    }
    let (status, told) = it.post("/api/admin/balance", &json!({ "strategy": "Fair" })).await;
    assert_eq!((status, told["field"].as_str()), (400, Some("strategy")));
    it.server.stop().await;
}

#[actix::test]
async fn what_is_not_parked_cannot_be_resumed() {
    let it = Cluster::start().await;
    let (status, parked) = it.get("/api/admin/parked").await;
    assert_eq!((status, parked), (200, json!({ "entities": [] })));
    it.refused("/api/admin/entities/ledger:0/resume", json!(null), "is not parked").await;
    let (status, told) = it.post("/api/admin/entities/fleet:0/resume", &json!(null)).await;
    assert_eq!((status, told["field"].as_str()), (400, Some("entity")));
    it.server.stop().await;
}

#[actix::test]
async fn the_audit_log_is_verified_while_the_node_runs() {
    let it = Cluster::start().await;
    let (status, before) = it.get("/api/admin/audit/last").await;
    assert_eq!((status, &before["state"]), (200, &json!("never")), "{before}");
    let mut found = Value::Null;
    // The first signature is made within a second; a read that a busy machine
    // leaves no time for fails, and says so.
    while found["logs"][0]["signatures"].as_u64().unwrap_or(0) == 0 {
        let (status, mut audit) = it.post("/api/admin/audit", &json!({})).await;
        assert_eq!((status, &audit["state"]), (200, &json!("running")), "{audit}");
        while audit["state"] == "running" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            audit = it.get("/api/admin/audit/last").await.1;
        }
        println!("{audit}");
        found = audit;
    }
    let log = &found["logs"][0];
    assert_eq!((&found["state"], &found["authorities"]), (&json!("done"), &json!(true)), "{found}");
    assert_eq!((&log["node"], &log["problem"]), (&json!(1), &Value::Null), "{found}");
    assert!(log["entries"].as_u64().unwrap() >= 3, "{found}");
    assert_eq!(log["head"]["root"].as_str().unwrap().len(), 64);
    it.server.stop().await;
}
