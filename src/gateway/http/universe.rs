//! Owns the search of what a player may see: its own units and what their
//! sensors see, and what is public. Never shows a unit that the sector's
//! entity did not say the caller sees. Called by the routes. Invariant: a page
//! asks at most [`PAGE_SECTORS`] sectors, and their neighbours for the cells
//! that the caller's units there reveal across the border.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{Data, Json, Query as Parameters};
use futures_util::future::join_all;
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::Bearer;
use super::players::presence;
use super::problem::ProblemResponse;
use super::reads::{Reading, compute};
use super::search::{Area, Page, Search, What};
use super::{HttpState, map, search};
use crate::base::{CompressedPosition, EntityKey, PlayerId, SectorId, Tick, UnitId};
use crate::cluster::core::table::Unavailable;
use crate::entity::read::{self, Query, Sight, UnitsQuery};
use crate::protocol::http;
use crate::sim::galaxy::FeatureKind;
use crate::sim::{Galaxy, Unit};
use crate::view::fog::Mask;

/// Sectors that one page asks.
const PAGE_SECTORS: usize = 16;
/// Sectors and squares of 16 × 16 sectors that a page of public things looks
/// at.
const PAGE_PLACES: u64 = 65_536;
const PAGE_CELLS: u64 = 16_384;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// A unit type's id or name; or `star`, `planet`, `asteroidField` or
    /// `station`, which are public. All units if absent.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A player's id, or `me`.
    pub owner: Option<String>,
    /// `core`, `midRim`, `outerRim` or `deepSpace`.
    pub region: Option<String>,
    /// `X,Y,X,Y`: the first and the last column and row of sectors.
    pub rectangle: Option<String>,
    /// The scale of the rectangle's sectors, 0 if absent.
    #[param(value_type = Option<u8>)]
    pub scale: Option<String>,
    /// What `next` of the answer before said.
    pub cursor: Option<String>,
    /// 1 to 500 units or features, 100 if absent.
    #[param(value_type = Option<u16>)]
    pub limit: Option<String>,
}

#[utoipa::path(
    get, path = http::UNIVERSE_PATH, tag = "galaxy",
    params(Parts),
    responses(
        (status = 200, body = http::Universe),
        (status = 400, description = "A parameter is illegal; `field` and `expected` say which", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Units that the caller sees, or public things.
pub async fn universe(
    state: Data<HttpState>,
    Bearer(who): Bearer,
    parts: Parameters<Parts>,
) -> Result<Json<http::Universe>, ProblemResponse> {
    let reading = state.reads.begin()?;
    let world = reading.world();
    let Search { what, area, page, limit } = search::parse(&parts, &world, who.player)?;
    let universe = match what {
        What::Features(kinds) => {
            let (galaxy, first) = (world.galaxy, page.number());
            compute(move || features(&galaxy, kinds, &area, first, limit)).await?
        }
        What::Units { type_id, owner } => {
            let query = UnitsQuery {
                player: who.player,
                thrown: Mask::NONE,
                type_id,
                owner,
                after: UnitId(0),
                limit,
            };
            units(&reading, query, &area, page).await?
        }
    };
    Ok(Json(universe))
}

/// Public things, from a place's number on.
fn features(
    galaxy: &Galaxy,
    kind: search::Kind,
    area: &Area,
    first: u64,
    limit: usize,
) -> http::Universe {
    let is_meant = |found: FeatureKind| kind.is(found);
    let mut universe = http::Universe::default();
    let go_on = |index: u64, places: u64, found: &[http::Feature]| {
        let full = found.len() >= limit || index - first >= places;
        full.then(|| index.to_string())
    };
    let of = |sector: SectorId| {
        let contents = if area.has(galaxy, sector) { galaxy.contents(sector) } else { Vec::new() };
        contents.into_iter().filter(|feature| is_meant(feature.kind))
    };
    if kind == search::Kind::Star {
        for (index, system) in galaxy.systems_from(area.rectangle, first) {
            universe.next = go_on(index, PAGE_CELLS, &universe.features);
            if universe.next.is_some() {
                break;
            }
            let Some(system) = system else { continue };
            let star = of(system.star).map(|feature| map::told(galaxy, system.star, &feature));
            universe.features.extend(star);
        }
        return universe;
    }
    for (index, sector, contents) in galaxy.features_from(area.rectangle, first) {
        universe.next = go_on(index, PAGE_PLACES, &universe.features);
        if universe.next.is_some() {
            break;
        }
        if contents.iter().any(|feature| is_meant(feature.kind)) {
            universe.features.extend(of(sector).map(|feature| map::told(galaxy, sector, &feature)));
        }
    }
    universe
}

/// The units of one player's sight, sector by sector in their order.
async fn units(
    reading: &Reading,
    query: UnitsQuery,
    area: &Area,
    page: Page,
) -> Result<http::Universe, ProblemResponse> {
    let galaxy = reading.world().galaxy;
    let presence = presence(reading, query.player).await?;
    let there: BTreeSet<SectorId> =
        presence.iter().flat_map(|presence| &presence.sectors).map(|one| one.sector).collect();
    let (from, after) = page.place();
    let mut sectors = candidates(&galaxy, &there, area).into_iter().filter(|at| Some(*at) >= from);
    let asked: Vec<SectorId> = sectors.by_ref().take(PAGE_SECTORS).collect();
    let mut universe = http::Universe::default();

    let thrown = thrown(reading, query.player, &there, &asked, &mut universe.unavailable).await;
    let of = |sector: SectorId| {
        let after = if Some(sector) == from { after } else { UnitId(0) };
        let thrown = thrown.get(&sector).copied().unwrap_or_default();
        seen(reading, sector, UnitsQuery { thrown, after, ..query })
    };
    for (sector, seen) in asked.iter().zip(join_all(asked.iter().map(|at| of(*at))).await) {
        let Seen { units, more, at } = match seen {
            Ok(seen) => seen,
            Err(why) => {
                // Of most around nothing is seen, or nobody was ever there.
                let is_seen = thrown.get(sector).is_some_and(|mask| *mask != Mask::NONE);
                let may_have = why != Unavailable::NotHere
                    || there.contains(sector)
                    || is_seen && reading.hibernates(*sector).await;
                if may_have {
                    note(&mut universe.unavailable, *sector);
                }
                continue;
            }
        };
        if universe.units.len() >= query.limit {
            universe.next = Some(Page::to_text(*sector, UnitId(0)));
            return Ok(universe);
        }
        universe.sectors.push(http::AskedSector { sector: (*sector).into(), as_of: at.0 });
        let room = query.limit - universe.units.len();
        let is_more = more || units.len() > room;
        let last = units.iter().take(room).next_back().map(|unit| unit.id);
        let units = units.into_iter().take(room);
        let meant = units.filter(|unit| area.has_unit(&galaxy, *sector, unit));
        universe.units.extend(meant.map(|unit| told(*sector, &unit)));
        if let Some(last) = last.filter(|_| is_more) {
            universe.next = Some(Page::to_text(*sector, last));
            return Ok(universe);
        }
    }
    universe.next = sectors.next().map(|sector| Page::to_text(sector, UnitId(0)));
    Ok(universe)
}

/// The sectors in which a player may see units: those that it has some in, and
/// the ones around, for eyes see across borders.
fn candidates(galaxy: &Galaxy, there: &BTreeSet<SectorId>, area: &Area) -> BTreeSet<SectorId> {
    let near = |sector: &SectorId| {
        // Units in warp see nothing, and nobody sees them.
        let around = if sector.scale == 0 { -1..=1 } else { 0..=0 };
        let (sector, columns) = (*sector, around.clone());
        around.flat_map(move |dy| columns.clone().filter_map(move |dx| sector.neighbour(dx, dy)))
    };
    let all = there.iter().flat_map(near);
    all.filter(|sector| area.meets(galaxy, *sector)).collect()
}

/// The cells that the player's units in neighbouring sectors reveal of each of
/// `asked`. Which of them could not be asked is noted.
async fn thrown(
    reading: &Reading,
    player: PlayerId,
    there: &BTreeSet<SectorId>,
    asked: &[SectorId],
    unavailable: &mut Vec<http::Sector>,
) -> BTreeMap<SectorId, Mask> {
    let is_near = |from: &SectorId, to: &SectorId| {
        from != to && from.x.abs_diff(to.x) <= 1 && from.y.abs_diff(to.y) <= 1
    };
    let tactical = |sector: &&SectorId| sector.scale == 0;
    let eyes: Vec<SectorId> = there
        .iter()
        .filter(tactical)
        .filter(|from| asked.iter().filter(tactical).any(|to| is_near(from, to)))
        .copied()
        .collect();
    let sights = join_all(eyes.iter().map(|from| sight(reading, *from, player))).await;
    let mut thrown: BTreeMap<SectorId, Mask> = BTreeMap::new();
    for (from, sight) in eyes.iter().zip(sights) {
        let Ok(sight) = sight else {
            note(unavailable, *from);
            continue;
        };
        for to in asked.iter().filter(tactical).filter(|to| is_near(from, to)) {
            let mask = thrown.entry(*to).or_default();
            *mask = mask.with(sight.to((to.x - from.x, to.y - from.y)));
        }
    }
    thrown
}

fn note(unavailable: &mut Vec<http::Sector>, sector: SectorId) {
    if !unavailable.contains(&sector.into()) {
        unavailable.push(sector.into());
    }
}

async fn sight(
    reading: &Reading,
    sector: SectorId,
    player: PlayerId,
) -> Result<Box<Sight>, Unavailable> {
    match reading.ask(EntityKey::Sector(sector), Query::Sight { player }).await?.reading {
        read::Reading::Sight(sight) => Ok(sight),
        _ => Err(Unavailable::NotHere),
    }
}

/// What a sector says that the player sees of it.
struct Seen {
    units: Vec<Unit>,
    more: bool,
    at: Tick,
}

async fn seen(reading: &Reading, sector: SectorId, query: UnitsQuery) -> Result<Seen, Unavailable> {
    let read = reading.ask(EntityKey::Sector(sector), Query::Units(query)).await?;
    match read.reading {
        read::Reading::Units { units, more } => Ok(Seen { units, more, at: read.at }),
        _ => Err(Unavailable::NotHere),
    }
}

fn told(sector: SectorId, unit: &Unit) -> http::UniverseUnit {
    let CompressedPosition { x, y } = CompressedPosition::of(unit.position, sector.scale);
    http::UniverseUnit {
        id: unit.id.0,
        type_id: unit.type_id.0,
        owner: unit.owner.0,
        sector: sector.into(),
        position: http::Fraction { x, y },
        health: unit.health,
        state: unit.state.0,
    }
}
