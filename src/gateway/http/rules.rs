//! Owns what everybody may read of the rules: the content of the game as a
//! document. Never changes them. Made once per gateway, for rules do not
//! change while a node runs.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use actix_web::web::Data;

use super::HttpState;
use crate::protocol::http;
use crate::sim::rules::{HullClass, Multiplier, UnitType};
use crate::sim::{Rules, UnitTypeId};

/// Milliseconds of a battle tick.
const BATTLE_TICK_MS: u32 = 100;

/// The rules as they are served.
#[derive(Clone)]
pub struct RulesDocument {
    etag: String,
    json: actix_web::web::Bytes,
}

impl RulesDocument {
    pub fn new(rules: &Rules) -> RulesDocument {
        let document = document(rules);
        // Strings and numbers always become JSON.
        let json = serde_json::to_vec(&document).unwrap_or_default();
        RulesDocument { etag: format!("\"{}\"", document.hash), json: json.into() }
    }
}

#[utoipa::path(
    get, path = http::RULES_PATH, tag = "galaxy",
    responses(
        (status = 200, body = http::Rules),
        (status = 304, description = "The rules are those that `If-None-Match` names"),
    )
)]
/// The content of the game: unit types, hulls, what a new player gets.
pub async fn rules(state: Data<HttpState>, request: actix_web::HttpRequest) -> HttpResponse {
    let RulesDocument { etag, json } = &state.rules;
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match known.is_some_and(|known| known.contains(etag.as_str())) {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response.insert_header((ETAG, etag.as_str()));
    if known.is_some_and(|known| known.contains(etag.as_str())) {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, "application/json")).body(json.clone())
}

/// The rules as a document.
pub fn document(rules: &Rules) -> http::Rules {
    http::Rules {
        hash: format!("{:016x}", rules.hash()),
        unit_types: rules.types().iter().map(unit_type).collect(),
        hull_multipliers: rules.multipliers().iter().map(multiplier).collect(),
        start: rules.start().iter().map(type_count).collect(),
    }
}

fn unit_type(unit_type: &UnitType) -> http::UnitType {
    let cost = unit_type.cost;
    http::UnitType {
        id: unit_type.id.0,
        name: unit_type.name.clone(),
        hull: hull(unit_type.hull),
        hit_points: unit_type.hit_points,
        attack: unit_type.attack,
        defence: unit_type.defence,
        range: unit_type.range,
        fire_ms: u32::from(unit_type.fire_ticks) * BATTLE_TICK_MS,
        speed: unit_type.speed.map(|speed| speed.steps()),
        warp_speed: unit_type.speed.map(|_| unit_type.warp_speed.steps()),
        sensor: unit_type.sensor,
        cargo: unit_type.cargo,
        cost: http::Cost {
            energy: cost.energy,
            minerals: cost.minerals,
            rare: cost.rare,
            population: cost.population,
        },
        build_ms: unit_type.build_ms,
    }
}

fn multiplier(multiplier: &Multiplier) -> http::HullMultiplier {
    http::HullMultiplier {
        attacker: hull(multiplier.attacker),
        target: hull(multiplier.target),
        thousandths: multiplier.thousandths,
    }
}

fn type_count(&(type_id, count): &(UnitTypeId, u32)) -> http::TypeCount {
    http::TypeCount { type_id: type_id.0, count }
}

fn hull(hull: HullClass) -> String {
    let name = match hull {
        HullClass::Fighter => "fighter",
        HullClass::Corvette => "corvette",
        HullClass::Frigate => "frigate",
        HullClass::Cruiser => "cruiser",
        HullClass::Battleship => "battleship",
        HullClass::Carrier => "carrier",
        HullClass::Civil => "civil",
        HullClass::Structure => "structure",
    };
    name.to_string()
}
