//! Owns the HTTP side of the gateway: accounts, rules, maps, health, metrics, their
//! OpenAPI document, and the form of every error (RFC 9457). Never decides about accounts (`accounts` does)
//! and knows nothing of the WebSocket beside it. Called by the `node`
//! subcommand. Invariant: every request is limited, in size, in time and per
//! address, before it costs anything.

mod admin;
mod auth;
mod guard;
mod health;
mod input;
mod map;
pub mod openapi;
mod players;
mod problem;
mod query;
mod reads;
pub mod rules;
mod search;
mod tls;
mod universe;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::{self, ServiceConfig};

pub use health::{Health, Readiness};
pub use problem::{Kind, ProblemResponse};
pub use reads::{NodeOracle, Oracle, Reads};
pub use rules::RulesDocument;
pub use tls::{TlsError, server_config};

use self::guard::{Class, elsewhere, endpoint};
use self::players::Names;
use super::accounts::Accounts;
use super::limits::Limits;
use crate::actors::steering::Steering;
use crate::config;
use crate::protocol::http::{
    ADMIN_ANNOUNCE_PATH, ADMIN_AUDIT_PATH, ADMIN_AUDITED_PATH, ADMIN_BALANCE_PATH,
    ADMIN_DRAIN_PATH, ADMIN_ENTITY_PATH, ADMIN_MERGE_PATH, ADMIN_MIGRATE_PATH, ADMIN_NODES_PATH,
    ADMIN_PARKED_PATH, ADMIN_RESUME_PATH, ADMIN_SECTOR_PATH, ADMIN_SECTORS_PATH, ADMIN_SPLIT_PATH,
    ADMIN_UNDRAIN_PATH, LOGIN_PATH, LOGOUT_PATH, MAP_PATH, ME_PATH, PASSWORD_PATH, RANKING_PATH,
    REFRESH_PATH, REGISTER_PATH, RULES_PATH, STATISTICS_PATH, UNIVERSE_PATH,
};
use crate::telemetry::Recorder;

/// How often limits forget who is idle.
const FORGET_PERIOD: Duration = Duration::from_secs(60);

/// What all routes share; cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    pub accounts: Accounts,
    pub limits: Arc<Limits>,
    health: Arc<dyn Health>,
    recorder: Recorder,
    rules: RulesDocument,
    reads: Reads,
    names: Names,
    request_timeout: Duration,
    steering: Option<Steering>,
}

impl HttpState {
    pub fn new(
        accounts: Accounts,
        limits: Arc<Limits>,
        health: Arc<dyn Health>,
        recorder: Recorder,
        rules: RulesDocument,
        reads: Reads,
        settings: &config::Http,
    ) -> HttpState {
        let request_timeout = Duration::from_secs(settings.request_timeout_s.u64());
        let names = Names::default();
        HttpState {
            accounts,
            limits,
            health,
            recorder,
            rules,
            reads,
            names,
            request_timeout,
            steering: None,
        }
    }

    /// With the admin calls on a cluster; without they are answered 503.
    #[must_use]
    pub fn with_steering(self, steering: Steering) -> HttpState {
        HttpState { steering: Some(steering), ..self }
    }

    /// The reads of this gateway.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// What this gateway does by time: follows changes of accounts, forgets
    /// idle addresses, folds metrics. Runs until dropped, once per gateway.
    pub async fn upkeep(self) {
        let forget = every(FORGET_PERIOD, || self.limits.forget_idle());
        let fold = every(Recorder::UPKEEP_PERIOD, || self.recorder.upkeep());
        tokio::join!(self.accounts.follow(), forget, fold);
    }
}

async fn every(period: Duration, mut act: impl FnMut()) {
    let mut beat = tokio::time::interval(period);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        act();
    }
}

/// Adds all routes of this module, and the answer for paths that nothing
/// serves. Call it after everything else that adds routes.
pub fn configure(services: &mut ServiceConfig, state: HttpState) {
    services
        .app_data(web::Data::new(state))
        .app_data(web::QueryConfig::default().error_handler(query::refuse))
        .service(endpoint(REGISTER_PATH, Class::Register, "POST", auth::register))
        .service(endpoint(LOGIN_PATH, Class::Login, "POST", auth::login))
        .service(endpoint(REFRESH_PATH, Class::Request, "POST", auth::refresh))
        .service(endpoint(LOGOUT_PATH, Class::Request, "POST", auth::logout))
        .service(endpoint(PASSWORD_PATH, Class::Login, "POST", auth::password))
        .service(endpoint(ME_PATH, Class::Request, "GET", auth::me))
        .service(endpoint(RULES_PATH, Class::Request, "GET", rules::rules))
        .service(endpoint(MAP_PATH, Class::Request, "GET", map::map))
        .service(endpoint(STATISTICS_PATH, Class::Request, "GET", players::statistics))
        .service(endpoint(RANKING_PATH, Class::Request, "GET", players::rankings))
        .service(endpoint(UNIVERSE_PATH, Class::Request, "GET", universe::universe))
        .service(endpoint(ADMIN_NODES_PATH, Class::Request, "GET", admin::nodes))
        .service(endpoint(ADMIN_SECTORS_PATH, Class::Request, "GET", admin::sectors))
        .service(endpoint(ADMIN_SECTOR_PATH, Class::Request, "GET", admin::region))
        .service(endpoint(ADMIN_ENTITY_PATH, Class::Request, "GET", admin::entity_place))
        .service(endpoint(ADMIN_MIGRATE_PATH, Class::Request, "POST", admin::migrate))
        .service(endpoint(ADMIN_SPLIT_PATH, Class::Request, "POST", admin::split))
        .service(endpoint(ADMIN_MERGE_PATH, Class::Request, "POST", admin::merge))
        .service(endpoint(ADMIN_DRAIN_PATH, Class::Request, "POST", admin::drain))
        .service(endpoint(ADMIN_UNDRAIN_PATH, Class::Request, "POST", admin::undrain))
        .service(endpoint(ADMIN_BALANCE_PATH, Class::Request, "POST", admin::balance))
        .service(endpoint(ADMIN_ANNOUNCE_PATH, Class::Request, "POST", admin::announce))
        .service(endpoint(ADMIN_PARKED_PATH, Class::Request, "GET", admin::parked))
        .service(endpoint(ADMIN_RESUME_PATH, Class::Request, "POST", admin::resume))
        .service(endpoint(ADMIN_AUDIT_PATH, Class::Request, "POST", admin::audit))
        .service(endpoint(ADMIN_AUDITED_PATH, Class::Request, "GET", admin::audited))
        .service(openapi::service())
        .service(endpoint("/healthz", Class::Request, "GET", health::healthz))
        .service(endpoint("/readyz", Class::Request, "GET", health::readyz))
        .service(endpoint("/metrics", Class::Request, "GET", health::metrics))
        .service(elsewhere(not_found))
        .default_service(web::to(not_found));
}

async fn not_found(request: HttpRequest) -> ProblemResponse {
    ProblemResponse::new(Kind::NotFound, format!("nothing is served at {}", request.path()))
}
