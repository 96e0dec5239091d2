//! What the gateway promises over HTTP, by its public interface: real routes
//! over the memory store, with a clock that the test moves.

mod accounts;
mod admin;
mod generations;
mod limits;
mod map;
mod openapi;
mod players;
mod problems;
mod refresh;
mod uniqueness;
mod universe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use actix_web::http::Method;
use actix_web::{App, test};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use starmesh::actors::rows::Rows;
use starmesh::actors::ticker::Read;
use starmesh::base::{EntityKey, Millis, SectorId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::config::Config;
use starmesh::entity::World;
use starmesh::entity::read::Query;
use starmesh::gateway::accounts::{Accounts, Clock, ClusterSecret};
use starmesh::gateway::http::{HttpState, Oracle, Readiness, Reads, RulesDocument, configure};
use starmesh::gateway::limits::Limits;
use starmesh::sim::Galaxy;
use starmesh::sim::rules::sample;
use starmesh::store::Store;
use starmesh::store::memory::Memory;
use starmesh::telemetry::Recorder;
use starmesh::view::SectorSnapshot;

/// Hashing that costs next to nothing, and an address without limits.
const TEST_SETTINGS: &str = "
[players]
argon2_memory_kib = 8
argon2_passes = 1
[limits]
exempt = ['127.0.0.0/8']
";
pub const LOCAL: &str = "127.0.0.1";
pub const HOUR_MS: u64 = 3_600_000;

/// One gateway, and what it stands on.
pub struct Gateway {
    pub accounts: Accounts,
    pub state: HttpState,
    pub time: Arc<AtomicU64>,
    pub ready: Arc<AtomicBool>,
    pub parked: Arc<AtomicUsize>,
}

/// A galaxy in which no entity runs.
pub struct Nobody;

impl Oracle for Nobody {
    fn world(&self) -> Arc<World> {
        let galaxy = Galaxy::new(2026, Galaxy::SIDE).unwrap();
        Arc::new(World { galaxy, ledger_shards: 4, rules: sample::rules().unwrap() })
    }

    fn summary(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)> {
        let (unit_count, last_update) = (4_567 + u32::from(sector.scale), Millis(5));
        let resource_density = 1;
        let snapshot =
            SectorSnapshot { unit_count, resource_density, activity_level: 9, last_update };
        (sector.scale < 14).then_some((snapshot, Millis(1_234)))
    }

    fn ask(&self, _: EntityKey, _: Query) -> LocalBoxFuture<'_, Result<Read, Unavailable>> {
        Box::pin(async { Err(Unavailable::NotHere) })
    }

    fn wake(&self, _: EntityKey) {}

    fn hibernates(&self, _: SectorId) -> LocalBoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    fn now(&self) -> Millis {
        Millis(1_800_000_000_000)
    }
}

/// What a call was answered.
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(String, String)>,
}

impl Answer {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no header {name}"))
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", self.body)).to_string()
    }

    /// The last part of the problem's type.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        assert_eq!(self.body["status"], self.status);
        assert!(!self.text("title").is_empty() && !self.text("detail").is_empty());
        self.text("type").strip_prefix("/problems/").unwrap().to_string()
    }
}

impl Gateway {
    /// A gateway on an empty store, with `changes` to the settings, which must
    /// not be of [players] or [limits].
    pub async fn new(changes: &str) -> Gateway {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        Self::on(Rows::direct(store), secret(), &format!("{TEST_SETTINGS}{changes}")).await
    }

    /// A gateway on an empty store that reads from `oracle`.
    pub async fn reading(changes: &str, oracle: Arc<dyn Oracle>) -> Gateway {
        let rows = Rows::direct(Arc::new(Memory::new()));
        Self::with(rows, secret(), &format!("{TEST_SETTINGS}{changes}"), oracle).await
    }

    /// A gateway on these rows, as another process of the same cluster.
    pub async fn on(rows: Rows, secret: ClusterSecret, settings: &str) -> Gateway {
        Self::with(rows, secret, settings, Arc::new(Nobody)).await
    }

    async fn with(
        rows: Rows,
        secret: ClusterSecret,
        settings: &str,
        oracle: Arc<dyn Oracle>,
    ) -> Gateway {
        let config = Config::with(settings).unwrap();
        let time = Arc::new(AtomicU64::new(1_800_000_000_000));
        let accounts = Accounts::open(rows, secret, &config.players, clock(&time)).await.unwrap();
        let ready = Arc::new(AtomicBool::new(true));
        let parked = Arc::new(AtomicUsize::new(0));
        let (disk, unloadable) = (ready.clone(), parked.clone());
        let health = move || Readiness {
            store: true,
            ticking: true,
            linked: true,
            disk: disk.load(Ordering::Relaxed),
            parked: unloadable.load(Ordering::Relaxed),
        };
        let state = HttpState::new(
            accounts.clone(),
            Arc::new(Limits::new(&config.limits, &config.http)),
            Arc::new(health),
            Recorder::detached().unwrap(),
            RulesDocument::new(&sample::rules().unwrap()),
            Reads::new(oracle, &config.http),
            &config.http,
        );
        Gateway { accounts, state, time, ready, parked }
    }

    pub fn pass_ms(&self, ms: u64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
    }

    pub async fn call(&self, request: test::TestRequest) -> Answer {
        let app = App::new().configure(|services| configure(services, self.state.clone()));
        let app = test::init_service(app).await;
        let response = test::call_service(&app, request.to_request()).await;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_string()))
            .collect();
        let body = test::read_body(response).await;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Answer { status, body, headers }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_from(LOCAL, path, body).await
    }

    pub async fn post_from(&self, address: &str, path: &str, body: &Value) -> Answer {
        self.call(request(Method::POST, address, path).set_json(body)).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = ("authorization", format!("Bearer {token}"));
        self.call(request(Method::GET, LOCAL, path).insert_header(bearer)).await
    }

    /// Without a token.
    pub async fn get_public(&self, path: &str) -> Answer {
        self.call(request(Method::GET, LOCAL, path)).await
    }

    /// Registers `name`; its tokens.
    pub async fn register(&self, name: &str) -> Answer {
        let answer = self.post("/api/auth/register", &registration(name)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer
    }

    pub async fn login(&self, name: &str, password: &str) -> Answer {
        self.post("/api/auth/login", &json!({ "name": name, "password": password })).await
    }
}

pub fn registration(name: &str) -> Value {
    json!({ "name": name, "email": format!("{name}@example.org"), "password": "correct horse" })
}

pub fn request(method: Method, address: &str, path: &str) -> test::TestRequest {
    let peer = std::net::SocketAddr::new(address.parse().unwrap(), 4711);
    test::TestRequest::with_uri(path).method(method).peer_addr(peer)
}

pub fn secret() -> ClusterSecret {
    ClusterSecret::open(tempfile::tempdir().unwrap().path()).unwrap()
}

pub fn test_settings() -> Config {
    Config::with(TEST_SETTINGS).unwrap()
}

pub fn clock(time: &Arc<AtomicU64>) -> Clock {
    let time = time.clone();
    Arc::new(move || Millis(time.load(Ordering::Relaxed)))
}
