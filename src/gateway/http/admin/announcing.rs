//! Owns the admin call that says something to everybody who is connected to any
//! gateway. Never keeps what was said: who comes later does not hear it.

use actix_web::web::Json;

use super::Wish;
use crate::actors::peers::{PeerAnswer, PeerQuestion};
use crate::gateway::http::problem::ProblemResponse;
use crate::gateway::http::query;
use crate::protocol::Announcement;
use crate::protocol::http;
use crate::protocol::http::admin;

#[utoipa::path(
    post, path = http::ADMIN_ANNOUNCE_PATH, tag = "admin", request_body = admin::Announce,
    responses(
        (status = 200, description = "It was said at these gateways, once at each", body = admin::Announced),
        (status = 400, description = "The text is illegal", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "This gateway has no cluster yet", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Says one line to everybody who is connected, at all gateways.
pub async fn announce(
    Wish(steering, body): Wish<admin::Announce>,
) -> Result<Json<admin::Announced>, ProblemResponse> {
    let expected = "1 to 500 characters, none of them a control character";
    let text = Announcement::new(&body.text).map_err(|_| query::invalid("text", expected))?;
    let map = steering.map()?;
    let (mut gateways, mut silent) = (Vec::new(), Vec::new());
    for (node, answer) in steering.ask(&map, PeerQuestion::Announce(text)).await {
        match answer {
            Some(PeerAnswer::Announced(connections)) => {
                gateways.push(admin::AnnouncedBy { node: node.0, connections });
            }
            _ => silent.push(node.0),
        }
    }
    Ok(Json(admin::Announced { gateways, silent }))
}
