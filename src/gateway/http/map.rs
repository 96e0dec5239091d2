//! Owns the map: what anybody may know of a sector of any scale. Never tells
//! of units but how many there are, rounded. All but that follows from the
//! galaxy's seed and is computed for the page that is asked for.

use actix_web::web::{Data, Path, Query as Parameters};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::problem::{Kind, ProblemResponse};
use super::reads::{compute, public};
use super::{HttpState, query};
use crate::base::fixed::rounded;
use crate::base::{CompressedPosition, SectorId};
use crate::protocol::http;
use crate::sim::Galaxy;
use crate::sim::galaxy::{COUNTED_SECTORS_MAX, Feature, FeatureKind, Rectangle, StarSystem};
use crate::view::aggregates::round_level;

/// Squares of 16 × 16 sectors that a page with stars only looks at, at most.
const PAGE_CELLS: u64 = 4_096;
/// How long a map is good for, in seconds: the units in it change.
const GOOD_S: u32 = 5;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// 1 to 500 features, 100 if absent.
    #[param(value_type = Option<u16>)]
    limit: Option<String>,
    /// What `next` of the answer before said.
    cursor: Option<String>,
}

#[utoipa::path(
    get, path = http::MAP_PATH, tag = "galaxy",
    params(
        ("sector" = String, Path, description = "X,Y,SCALE; a side has 2^SCALE km", example = "5000,5000,0"),
        Page,
    ),
    responses(
        (status = 200, body = http::Map),
        (status = 304, description = "The map is the one that `If-None-Match` names"),
        (status = 400, description = "A parameter is illegal; `field` and `expected` say which", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The sector lies outside of the galaxy", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too much to do; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    )
)]
/// What the galaxy has in a sector of any scale.
pub async fn map(
    state: Data<HttpState>,
    request: HttpRequest,
    sector: Path<String>,
    page: Parameters<Page>,
) -> Result<HttpResponse, ProblemResponse> {
    let sector = query::sector("sector", &sector)?;
    let limit = query::limit(page.limit.as_deref())?;
    let cursor = query::cursor(page.cursor.as_deref())?;
    let reading = state.reads.begin()?;
    let galaxy = reading.world().galaxy;
    let area = galaxy.area(sector).ok_or_else(|| outside(&galaxy))?;
    let mut map = compute(move || made(&galaxy, sector, area, cursor, limit)).await?;
    map.summary = reading.summary(sector).map(|(snapshot, as_of)| http::SectorSummary {
        unit_count: rounded(u64::from(snapshot.unit_count)),
        activity: round_level(snapshot.activity_level),
        as_of: as_of.0,
    });
    Ok(public(&request, GOOD_S, &map))
}

fn outside(galaxy: &Galaxy) -> ProblemResponse {
    let detail = "the sector lies outside of the galaxy";
    let expected = format!("a sector that has a part in {}", galaxy.root());
    ProblemResponse::new(Kind::NotFound, detail).expected(expected)
}

fn made(
    galaxy: &Galaxy,
    sector: SectorId,
    area: Rectangle,
    cursor: u64,
    limit: usize,
) -> http::Map {
    let survey = galaxy.survey(area);
    let (features, next) = match survey.exact {
        true => features(galaxy, area, cursor, limit),
        false => stars(galaxy, area, cursor, limit),
    };
    let there = |sector: &SectorId| galaxy.area(*sector).is_some();
    let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
    let around = around.filter(|to| *to != (0, 0));
    let neighbours = around.filter_map(|(dx, dy)| sector.neighbour(dx, dy));
    http::Map {
        sector: sector.into(),
        regions: survey.regions.iter().map(|region| region.name().to_string()).collect(),
        resource_density: survey.density,
        parent: sector.parent().filter(there).map(Into::into),
        children: sector.children().filter(there).map(Into::into).collect(),
        neighbours: neighbours.filter(there).map(Into::into).collect(),
        counts: http::MapCounts {
            systems: survey.systems,
            planets: survey.planets,
            stations: survey.stations,
            asteroid_fields: survey.asteroid_fields,
            exact: survey.exact,
        },
        features,
        next: next.map(|next| next.to_string()),
        summary: None,
    }
}

/// All features of a small area, from a sector's number on; and the number to
/// go on from. A sector's features stay together.
fn features(
    galaxy: &Galaxy,
    area: Rectangle,
    first: u64,
    limit: usize,
) -> (Vec<http::Feature>, Option<u64>) {
    debug_assert!(area.sectors() <= COUNTED_SECTORS_MAX);
    let mut found = Vec::new();
    for (index, sector, features) in galaxy.features_from(area, first) {
        if !found.is_empty() && found.len() + features.len() > limit {
            return (found, Some(index));
        }
        found.extend(features.iter().map(|one| told(galaxy, sector, one)));
    }
    (found, None)
}

/// The stars of a large area, from a cell's number on; and the number to go on
/// from.
fn stars(
    galaxy: &Galaxy,
    area: Rectangle,
    first: u64,
    limit: usize,
) -> (Vec<http::Feature>, Option<u64>) {
    let mut found = Vec::new();
    for (index, system) in galaxy.systems_from(area, first) {
        if found.len() >= limit || index - first >= PAGE_CELLS {
            return (found, Some(index));
        }
        found.extend(system.and_then(|system| star(galaxy, &system)));
    }
    (found, None)
}

fn star(galaxy: &Galaxy, system: &StarSystem) -> Option<http::Feature> {
    let features = galaxy.contents(system.star);
    let star = features.iter().find(|feature| feature.kind == FeatureKind::Star)?;
    Some(told(galaxy, system.star, star))
}

/// A feature, and with a star what belongs to it.
pub fn told(galaxy: &Galaxy, sector: SectorId, feature: &Feature) -> http::Feature {
    let system = match feature.kind {
        FeatureKind::Star => galaxy.system_at(sector).map(|system| http::System {
            planets: system.planets,
            station: system.station,
            lanes: galaxy.lanes_of(sector).into_iter().map(Into::into).collect(),
        }),
        _ => None,
    };
    let planet = match feature.kind {
        FeatureKind::Planet(kind) => Some(kind.name().to_string()),
        _ => None,
    };
    let CompressedPosition { x, y } = CompressedPosition::of(feature.circle.centre, 0);
    let radius = u64::from(feature.circle.radius.unsigned_abs()) << 12;
    http::Feature {
        kind: name(feature.kind).to_string(),
        planet,
        sector: sector.into(),
        position: http::Fraction { x, y },
        radius: u32::try_from(radius).unwrap_or(u32::MAX),
        system,
    }
}

/// What players call it.
pub fn name(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Star => "star",
        FeatureKind::Planet(_) => "planet",
        FeatureKind::AsteroidField => "asteroidField",
        FeatureKind::Station => "station",
    }
}
