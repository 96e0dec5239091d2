//! Owns the admin calls that change the directory: migrate, split, merge, drain,
//! undrain. They end when the change is durable; what it moves moves after.

use actix_web::web::{Json, Path};

use super::{Admin, Wish, node, sector};
use crate::actors::steering::{self, Steered};
use crate::base::NodeId;
use crate::gateway::http::problem::ProblemResponse;
use crate::protocol::http;
use crate::protocol::http::admin;

type Answer = Result<Json<admin::Steered>, ProblemResponse>;

fn told(Steered { version, edits }: Steered) -> Json<admin::Steered> {
    Json(admin::Steered { directory: version, changes: edits.len() as u64 })
}

#[utoipa::path(
    post, path = http::ADMIN_MIGRATE_PATH, tag = "admin", request_body = admin::Migrate,
    params(("sector" = String, Path, description = "X,Y,SCALE", example = "5000,5000,0")),
    responses(
        (status = 200, description = "The directory gives it to that node", body = admin::Steered),
        (status = 400, description = "No sector is written so, or the body is illegal", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The sector lies outside of the galaxy", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "That node does not live, is drained, or is none", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Gives a sector, and what is in it under no finer entry, to a node, to stay there.
pub async fn migrate(Wish(steering, body): Wish<admin::Migrate>, path: Path<String>) -> Answer {
    let sector = sector(&steering, &path)?;
    let to = NodeId(body.to);
    Ok(told(steering.migrate(sector, to).await?))
}

#[utoipa::path(
    post, path = http::ADMIN_SPLIT_PATH, tag = "admin",
    params(("sector" = String, Path, description = "X,Y,SCALE", example = "1250,1250,2")),
    responses(
        (status = 200, description = "Its parts have entries of their own, where they were", body = admin::Steered),
        (status = 400, description = "No sector is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The sector lies outside of the galaxy", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has no parts, or is split already", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Gives the four parts of a sector entries of their own. Nothing moves.
pub async fn split(Admin(steering): Admin, path: Path<String>) -> Answer {
    let sector = sector(&steering, &path)?;
    let exists = |part| steering.exists(part);
    Ok(told(steering.change(|map| steering::split(map, sector, exists)).await?))
}

#[utoipa::path(
    post, path = http::ADMIN_MERGE_PATH, tag = "admin", request_body = admin::Merge,
    params(("sector" = String, Path, description = "X,Y,SCALE", example = "1250,1250,2")),
    responses(
        (status = 200, description = "It has no finer entries any more", body = admin::Steered),
        (status = 400, description = "No sector is written so, or the body is illegal", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The sector lies outside of the galaxy", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has no finer entries, or something would move that may not", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Removes the entries inside of a sector.
pub async fn merge(Wish(steering, body): Wish<admin::Merge>, path: Path<String>) -> Answer {
    let sector = sector(&steering, &path)?;
    Ok(told(steering.change(|map| steering::merge(map, sector, body.may_move)).await?))
}

#[utoipa::path(
    post, path = http::ADMIN_DRAIN_PATH, tag = "admin",
    params(("node" = String, Path, description = "The node's number", example = "1")),
    responses(
        (status = 200, description = "The node is being left", body = admin::Steered),
        (status = 400, description = "No node is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no such node, or no other one is left", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Has all that a node has go to others, and nothing come to it.
pub async fn drain(Admin(steering): Admin, path: Path<String>) -> Answer {
    Ok(told(steering.drain(node(&path)?, true).await?))
}

#[utoipa::path(
    post, path = http::ADMIN_UNDRAIN_PATH, tag = "admin",
    params(("node" = String, Path, description = "The node's number", example = "1")),
    responses(
        (status = 200, description = "The node may have something again", body = admin::Steered),
        (status = 400, description = "No node is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no such node", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Ends that a node is left; it takes its share again.
pub async fn undrain(Admin(steering): Admin, path: Path<String>) -> Answer {
    Ok(told(steering.drain(node(&path)?, false).await?))
}
