//! Owns what orchestrators and Prometheus ask: is the process alive, does the
//! node take players, what do the metrics say.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Data, Json};
use actix_web::{HttpResponse, Responder};
use serde_json::json;

use super::HttpState;
use super::problem::{Kind, ProblemResponse};

/// What must hold for a node to take players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The store answers.
    pub store: bool,
    /// The node's tick goes on.
    pub ticking: bool,
    /// It has its links to other nodes, or went without them when it started.
    pub linked: bool,
    /// There is disk space for more commands.
    pub disk: bool,
    /// Entities that cannot be loaded. The node takes players all the same:
    /// theirs are the only ones that miss them.
    pub parked: usize,
}

/// The node, as far as health is concerned. Answers at once.
pub trait Health: Send + Sync {
    fn readiness(&self) -> Readiness;
}

impl<F: Fn() -> Readiness + Send + Sync> Health for F {
    fn readiness(&self) -> Readiness {
        self()
    }
}

#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "The process answers")))]
/// The process answers, which is all this says: restarting it helps nobody
/// whose store is away.
pub async fn healthz() -> impl Responder {
    Json(json!({ "alive": true }))
}

#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, description = "The node takes players"),
        (status = 503, description = "It does not; `detail` says why", body = crate::protocol::http::Problem, content_type = "application/problem+json"),
    )
)]
/// Whether the node does its part: where it has the role gateway, whether it
/// takes players.
pub async fn readyz(state: Data<HttpState>) -> Result<impl Responder, ProblemResponse> {
    let Readiness { store, ticking, linked, disk, parked } = state.health.readiness();
    let parts = [
        (store, "the store does not answer"),
        (ticking, "the tick stands still"),
        (linked, "the links to other nodes are not up yet"),
        (disk, "the disk is full"),
    ];
    let wrong: Vec<_> = parts.iter().filter(|(well, _)| !well).map(|(_, what)| *what).collect();
    match wrong.is_empty() {
        true => Ok(Json(json!({ "ready": true, "parked": parked }))),
        false => Err(ProblemResponse::new(Kind::NotReady, wrong.join("; "))),
    }
}

#[utoipa::path(
    get, path = "/metrics", tag = "service",
    responses((status = 200, description = "For Prometheus, see docs/metrics.md", body = String, content_type = "text/plain"))
)]
/// What this node counts.
pub async fn metrics(state: Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(state.recorder.render())
}
