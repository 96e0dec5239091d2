//! Owns the admin call that balances: a plan by a strategy, told, and made
//! durable if it is wanted. Never weighs anything itself.

use actix_web::web::Json;

use super::Wish;
use crate::actors::steering::{Planned, SteerError};
use crate::cluster::core::balance::{LoadBalanceStrategy, Move};
use crate::gateway::http::problem::ProblemResponse;
use crate::gateway::http::query;
use crate::protocol::http;
use crate::protocol::http::admin;

#[utoipa::path(
    post, path = http::ADMIN_BALANCE_PATH, tag = "admin", request_body = admin::Balance,
    responses(
        (status = 200, description = "The plan, with the directory's version where it was carried out", body = admin::BalancePlan),
        (status = 400, description = "There is no such strategy, or the body is illegal", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The directory does not take the plan", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or the directory changed meanwhile; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// What a strategy would move now, and has it moved unless it is a dry run.
pub async fn balance(
    Wish(steering, body): Wish<admin::Balance>,
) -> Result<Json<admin::BalancePlan>, ProblemResponse> {
    let expected = "PlayerCount, ActivityLevel, ResourceUsage or Geographic";
    let strategy = strategy(&body.strategy).ok_or_else(|| query::invalid("strategy", expected))?;
    let planned = steering.plan(strategy).await?;
    let mut directory = None;
    if !body.dry_run && !planned.plan.is_empty() {
        let map = steering.map()?;
        // A plan holds for the directory that it saw, and for no other.
        let steered = steering.carry_out(&map, &planned.plan).await?;
        directory = Some(steered.ok_or(SteerError::Overtaken)?.version);
    }
    Ok(Json(told(body.strategy, planned, directory)))
}

fn strategy(name: &str) -> Option<LoadBalanceStrategy> {
    Some(match name {
        "PlayerCount" => LoadBalanceStrategy::PlayerCount,
        "ActivityLevel" => LoadBalanceStrategy::ActivityLevel,
        "ResourceUsage" => LoadBalanceStrategy::ResourceUsage,
        "Geographic" => LoadBalanceStrategy::Geographic,
        _ => return None,
    })
}

fn told(strategy: String, planned: Planned, directory: Option<u64>) -> admin::BalancePlan {
    let Planned { plan, silent, untold } = planned;
    let shown = |it: Move| admin::Move {
        sector: it.region.into(),
        from: it.from.0,
        to: it.to.0,
        sectors: it.sectors as u64,
        weight: it.weight,
        why: it.why.to_string(),
    };
    admin::BalancePlan {
        strategy,
        seen: plan.seen,
        directory,
        merged: plan.merged.len() as u64,
        released: plan.released.len() as u64,
        shares: plan.shares.len() as u64,
        unpinned: plan.unpinned.len() as u64,
        moves: plan.moves.into_iter().map(shown).collect(),
        silent: silent.into_iter().map(|node| node.0).collect(),
        untold,
    }
}
