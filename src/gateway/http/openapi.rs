//! Owns the OpenAPI document of all calls, made from the code that serves
//! them, and the page to try them. Never describes what is not routed: a test
//! asks every path of the document.

use actix_web::dev::HttpServiceFactory;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{admin, auth, health, map, players, rules, universe};
use crate::protocol::http::OPENAPI_PATH;

/// The name of the bearer token in the document.
pub const BEARER: &str = "bearer";
/// Where the page is.
const PAGE: &str = "/api/docs/{file:.*}";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Starmesh",
        description = "What a node answers over HTTP. The game itself is played over the WebSocket at `/ws`, see docs/protocol.md. Errors are RFC 9457 problem documents; their `type` names what went wrong, `changed` says what became of the state.",
    ),
    paths(
        auth::register, auth::login, auth::refresh, auth::logout, auth::password, auth::me,
        health::healthz, health::readyz, health::metrics,
        rules::rules, map::map, players::statistics, players::rankings, universe::universe,
        admin::nodes, admin::sectors, admin::region, admin::entity_place, admin::migrate, admin::split, admin::merge,
        admin::drain, admin::undrain, admin::balance, admin::announce, admin::audit, admin::audited,
        admin::parked, admin::resume,
    ),
    tags(
        (name = "accounts", description = "Accounts and tokens"),
        (name = "galaxy", description = "What there is in the galaxy"),
        (name = "admin", description = "Looking at the cluster and steering it; needs the role admin"),
        (name = "service", description = "The state of this node"),
    ),
    modifiers(&Bearer),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The document and a page to try the calls, at `/api/docs/`.
pub fn service() -> impl HttpServiceFactory {
    let config = Config::default().try_it_out_enabled(true).persist_authorization(true);
    SwaggerUi::new(PAGE).config(config).url(OPENAPI_PATH, document())
}
