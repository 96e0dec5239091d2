//! Owns the admin calls that look: nodes, sectors, one sector, one entity. They
//! ask every living node and wait a second at most for each.

use std::collections::BTreeMap;

use actix_web::web::{Json, Path, Query as Parameters};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Admin, entity, sector};
use crate::actors::mesh::round_trip;
use crate::actors::peers::{PeerAnswer, PeerQuestion};
use crate::actors::reports::{Busiest, NodeReport, SECTORS_MAX};
use crate::actors::steering::{Steering, finer};
use crate::base::{EntityKey, NodeId, SectorId};
use crate::cluster::core::balance::planner_of;
use crate::cluster::core::map::Map;
use crate::cluster::links::{LinkState, PeerStatus};
use crate::entity::read::Beyond;
use crate::gateway::http::problem::ProblemResponse;
use crate::gateway::http::query;
use crate::protocol::http;
use crate::protocol::http::admin;

type Answer<T> = Result<Json<T>, ProblemResponse>;

/// Entries inside of a sector that are told.
const FINER_MAX: usize = 100;

#[utoipa::path(
    get, path = http::ADMIN_NODES_PATH, tag = "admin",
    responses(
        (status = 200, body = admin::Nodes),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// All nodes, and what each that lives says of itself.
pub async fn nodes(Admin(steering): Admin) -> Answer<admin::Nodes> {
    let map = steering.map()?;
    let (reports, members) =
        tokio::join!(steering.ask(&map, PeerQuestion::Report), steering.members());
    let mut reports: BTreeMap<_, _> = reports.into_iter().collect();
    // Without the store they have no names, and all else is told.
    let members = members.unwrap_or_default();
    let (links, me) = (steering.links(), steering.me());
    let nodes = map.nodes.iter().map(|(node, standing)| {
        let member = members.iter().find(|member| member.node == *node);
        let link = links.iter().find(|link| link.node == *node);
        let report = reports.remove(node).flatten();
        admin::Node {
            node: node.0,
            name: member.map(|member| member.name.to_string()),
            address: member.map(|member| member.address.clone()),
            lives: standing.lives,
            draining: map.directory.is_draining(*node),
            roles: map.roles(*node).iter().map(|role| role.to_string()).collect(),
            entries: map.directory.entries().filter(|(_, owner)| owner == node).count() as u64,
            link: if *node == me { "self" } else { state(link) }.to_owned(),
            round_trip_us: link.and_then(round_trip).map(|(_, us)| us),
            report: report.and_then(report_of),
        }
    });
    let nodes = nodes.collect();
    let planner = planner_of(&map).map(|node| node.0);
    Ok(Json(admin::Nodes { me: me.0, directory: map.directory.version(), planner, nodes }))
}

fn state(link: Option<&PeerStatus>) -> &'static str {
    match link.map(|link| &link.state) {
        Some(LinkState::Up { .. }) => "up",
        Some(LinkState::Refused { .. }) => "refused",
        Some(LinkState::Down { .. }) | None => "down",
    }
}

fn report_of(answer: PeerAnswer) -> Option<admin::Report> {
    let PeerAnswer::Report(report) = answer else { return None };
    let NodeReport { incarnation, build, store, tick, taking_commands, directory, .. } = *report;
    let NodeReport { sectors, others, leaving, parked, units, connections, .. } = *report;
    Some(admin::Report {
        incarnation: incarnation.0,
        build,
        store,
        tick,
        taking_commands,
        directory,
        sectors,
        others,
        leaving,
        parked,
        units,
        connections,
        threads: report.threads,
        sectors_us: report.sectors_us,
        other_us: report.other_us,
        balance: report.balance,
    })
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Most {
    /// 1 to 500 sectors, 100 if absent.
    #[param(value_type = Option<u16>)]
    limit: Option<String>,
}

#[utoipa::path(
    get, path = http::ADMIN_SECTORS_PATH, tag = "admin",
    params(Most),
    responses(
        (status = 200, body = admin::BusySectors),
        (status = 400, description = "A parameter is illegal; `field` and `expected` say which", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// The sectors of all nodes that have most to do.
pub async fn sectors(Admin(steering): Admin, most: Parameters<Most>) -> Answer<admin::BusySectors> {
    let limit = query::limit(most.limit.as_deref())?;
    let map = steering.map()?;
    let most = u16::try_from(SECTORS_MAX).unwrap_or(u16::MAX);
    let answers = steering.ask(&map, PeerQuestion::Busiest { most }).await;
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    for (node, answer) in answers {
        match answer {
            Some(PeerAnswer::Busiest(busiest)) => told.push((node, busiest)),
            _ => silent.push(node.0),
        }
    }
    let total = told.iter().map(|(_, busiest)| busiest.total).sum();
    let mut sectors = busy(&told);
    sectors.sort_by_key(|it| (std::cmp::Reverse((it.load, it.units)), SectorId::from(it.sector)));
    sectors.truncate(limit);
    Ok(Json(admin::BusySectors { sectors, total, silent }))
}

fn busy(told: &[(NodeId, Busiest)]) -> Vec<admin::BusySector> {
    let mut observers: BTreeMap<SectorId, u32> = BTreeMap::new();
    for (sector, count) in told.iter().flat_map(|(_, busiest)| &busiest.observed) {
        *observers.entry(*sector).or_default() += count;
    }
    let of = |node: NodeId, busiest: &Busiest| -> Vec<_> {
        let sectors = busiest.sectors.iter().map(|it| admin::BusySector {
            sector: it.sector.into(),
            node: node.0,
            units: it.units,
            activity: it.activity,
            observers: observers.get(&it.sector).copied().unwrap_or_default(),
            load: it.load,
            own_thread: it.own_thread,
        });
        sectors.collect()
    };
    told.iter().flat_map(|(node, busiest)| of(*node, busiest)).collect()
}

#[utoipa::path(
    get, path = http::ADMIN_SECTOR_PATH, tag = "admin",
    params(("sector" = String, Path, description = "X,Y,SCALE", example = "5000,5000,0")),
    responses(
        (status = 200, body = admin::Region),
        (status = 400, description = "No sector is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "The sector lies outside of the galaxy", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Whose a sector of any scale is, and what runs of it where.
pub async fn region(Admin(steering): Admin, path: Path<String>) -> Answer<admin::Region> {
    let asked = sector(&steering, &path)?;
    let map = steering.map()?;
    let answers = steering.ask(&map, PeerQuestion::Region(asked)).await;
    let (mut running, mut silent) = (Vec::new(), Vec::new());
    for (node, answer) in answers {
        match answer {
            Some(PeerAnswer::Region(told)) => running.push(admin::Running {
                node: node.0,
                directory: told.directory,
                sectors: told.sectors,
                units: told.units,
                leaving: told.leaving,
            }),
            _ => silent.push(node.0),
        }
    }
    let entry = |(sector, node): (SectorId, NodeId)| admin::Entry {
        sector: sector.into(),
        node: node.0,
        pinned: map.directory.is_pinned(sector),
    };
    Ok(Json(admin::Region {
        sector: asked.into(),
        directory: map.directory.version(),
        entry: map.directory.region_of(asked).map(entry),
        finer: finer(&map.directory, asked).take(FINER_MAX).map(entry).collect(),
        finer_count: finer(&map.directory, asked).count() as u64,
        running,
        beyond: steering.beyond(asked).await.into_iter().map(beyond_of).collect(),
        silent,
    }))
}

fn beyond_of(Beyond { sector, tick, units, moving }: Beyond) -> admin::Beyond {
    admin::Beyond { sector: sector.into(), tick: tick.0, units, moving }
}

#[utoipa::path(
    get, path = http::ADMIN_ENTITY_PATH, tag = "admin",
    params(("entity" = String, Path, description = "`sector:X,Y,SCALE`, `ledger:N`, `board:N`, `alliance:N` or `market:N`", example = "ledger:0")),
    responses(
        (status = 200, body = admin::EntityPlace),
        (status = 400, description = "No entity is written so", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The role admin is missing", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = [])),
)]
/// Whose an entity is, and where it runs.
pub async fn entity_place(
    Admin(steering): Admin,
    path: Path<String>,
) -> Answer<admin::EntityPlace> {
    let key = entity(&path)?;
    let map = steering.map()?;
    Ok(Json(place(&steering, &map, key, path.into_inner()).await))
}

async fn place(steering: &Steering, map: &Map, key: EntityKey, text: String) -> admin::EntityPlace {
    let answers = steering.runs_at(map, key).await;
    let nodes = |which: Option<bool>| {
        let found = answers.iter().filter(move |(_, runs)| *runs == which);
        found.map(|(node, _)| node.0).collect()
    };
    admin::EntityPlace {
        entity: text,
        node: map.directory.node_of(key).map(|node| node.0),
        own_entry: map.directory.entry(key).is_some(),
        runs_at: nodes(Some(true)),
        silent: nodes(None),
    }
}
