//! Owns the admin calls about what is parked: one shows it, one has it resumed.

use actix_web::web::{Json, Path};

use super::{Admin, entity};
use crate::base::EntityKey;
use crate::entity::parked::Parked as Row;
use crate::gateway::http::problem::ProblemResponse;
use crate::protocol::http;
use crate::protocol::http::admin;

type Answer<T> = Result<Json<T>, ProblemResponse>;

#[utoipa::path(
    get, path = http::ADMIN_PARKED_PATH, tag = "admin",
    responses(
        (status = 200, body = admin::ParkedEntities),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// The entities that nobody runs because they break whoever does; the first thousand.
pub async fn parked(Admin(steering): Admin) -> Answer<admin::ParkedEntities> {
    let entities = steering.parked().await?.into_iter().map(told).collect();
    Ok(Json(admin::ParkedEntities { entities }))
}

fn told((entity, row): (EntityKey, Row)) -> admin::ParkedEntity {
    admin::ParkedEntity {
        entity: name(entity),
        why: row.why,
        since: row.time.0,
        node: row.node.0,
        record: row.sequence,
        tick: row.tick.0,
    }
}

/// As [`entity`] reads it.
fn name(key: EntityKey) -> String {
    match key {
        EntityKey::Sector(sector) => format!("sector:{sector}"),
        EntityKey::Ledger(n) => format!("ledger:{n}"),
        EntityKey::Market(n) => format!("market:{n}"),
        EntityKey::Alliance(n) => format!("alliance:{n}"),
        EntityKey::Board(n) => format!("board:{n}"),
        battle @ EntityKey::Battle { .. } => battle.to_string(),
    }
}

#[utoipa::path(
    post, path = http::ADMIN_RESUME_PATH, tag = "admin",
    params(("entity" = String, Path, description = "sector:X,Y,SCALE, ledger:N, board:N", example = "ledger:0")),
    responses(
        (status = 200, description = "It is claimed by whoever it belongs to, within seconds", body = admin::Resumed),
        (status = 400, description = "No entity is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not parked", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer; `changed` says what is known", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Has a parked entity run again. One that still breaks is parked again.
pub async fn resume(Admin(steering): Admin, path: Path<String>) -> Answer<admin::Resumed> {
    let key = entity(&path)?;
    let home = steering.resume(key).await?;
    Ok(Json(admin::Resumed { entity: path.into_inner(), node: home.map(|node| node.0) }))
}

#[cfg(test)]
mod tests {
    use super::super::parse_entity;
    use super::*;
    use crate::base::SectorId;

    #[test]
    fn what_is_parked_is_named_as_it_is_resumed() {
        let sector = EntityKey::Sector(SectorId { x: 1, y: -2, scale: 3 });
        for key in [sector, EntityKey::Ledger(7), EntityKey::Board(0), EntityKey::Market(2)] {
            assert_eq!(parse_entity(&name(key)), Some(key));
        }
    }
}
