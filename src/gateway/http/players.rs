//! Owns what is told of players: their statistics, and boards. Never says the
//! exact numbers of one player to another, but its place on a board, which is
//! what a board is for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use actix_web::web::{Data, Json, Path, Query as Parameters};
use actix_web::{Either, HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::MaybeBearer;
use super::problem::{Kind, ProblemResponse};
use super::reads::{Reading, public};
use super::{HttpState, query};
use crate::base::fixed::rounded;
use crate::base::{EntityKey, PlayerId};
use crate::entity::kinds::board;
use crate::entity::read::{self, Presence, Query, Ranking};
use crate::gateway::accounts::{Account, Accounts, Identity};
use crate::protocol::http::{self, TypeCount};

/// How long a board is good for, in seconds: as often it is told.
const GOOD_S: u32 = 5;
/// Places of a board in one answer.
const PLACES_MAX: usize = 100;
/// The board that there is.
const POWER: &str = "power";

#[utoipa::path(
    get, path = http::STATISTICS_PATH, tag = "galaxy",
    params(("id" = String, Path, description = "The player's id", example = "1")),
    responses(
        (status = 200, body = http::PlayerStatistics),
        (status = 400, description = "A parameter is illegal; `field` and `expected` say which", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such player", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security((), ("bearer" = [])),
)]
/// What a player has: exact with its own token, else rounded.
pub async fn statistics(
    state: Data<HttpState>,
    MaybeBearer(who): MaybeBearer,
    id: Path<String>,
) -> Result<Json<http::PlayerStatistics>, ProblemResponse> {
    let id = query::parse("id", Some(id.as_str()), "a player's id, from 1")?;
    let player = PlayerId(id.unwrap_or_default());
    let reading = state.reads.begin()?;
    let missing = || ProblemResponse::new(Kind::NotFound, format!("there is no player {player}"));
    let account = state.accounts.account(player).await?.ok_or_else(missing)?;
    let presence = presence(&reading, player).await?;
    let rank = match &presence {
        Some(presence) if presence.power > 0 => {
            ranking(&reading, Some(player), 1).await?.places.first().map(|place| place.rank)
        }
        _ => None,
    };
    let exact = who.is_some_and(|who| who.player == player);
    Ok(Json(told(&account, presence.as_ref(), rank, exact)))
}

fn told(
    account: &Account,
    presence: Option<&Presence>,
    rank: Option<u64>,
    exact: bool,
) -> http::PlayerStatistics {
    let shown = |count: u64| if exact { count } else { rounded(count) };
    let sectors = presence.map_or(&[][..], |presence| &presence.sectors);
    let mut units: BTreeMap<u16, u64> = BTreeMap::new();
    for (type_id, count) in sectors.iter().flat_map(|sector| &sector.counts) {
        *units.entry(type_id.0).or_default() += u64::from(*count);
    }
    let count = |(type_id, count): (u16, u64)| TypeCount {
        type_id,
        count: u32::try_from(shown(count)).unwrap_or(u32::MAX),
    };
    http::PlayerStatistics {
        player: account.player.0,
        name: account.name.clone(),
        since: account.created.0,
        exact,
        units: units.into_iter().map(count).collect(),
        sectors: shown(sectors.len() as u64),
        power: shown(presence.map_or(0, |presence| presence.power)),
        rank,
        as_of: presence.map(|presence| presence.as_of.0),
    }
}

/// What the player's ledger knows of it.
pub async fn presence(
    reading: &Reading,
    player: PlayerId,
) -> Result<Option<Presence>, ProblemResponse> {
    let ledger = reading.world().ledger_of(player);
    match reading.ask_awake(ledger, Query::Presence { player }).await? {
        read::Reading::Presence(presence) => Ok(presence),
        _ => Err(ProblemResponse::new(Kind::Internal, "a ledger answered something else")),
    }
}

async fn ranking(
    reading: &Reading,
    around: Option<PlayerId>,
    limit: usize,
) -> Result<Ranking, ProblemResponse> {
    let board = EntityKey::Board(board::POWER);
    match reading.ask_awake(board, Query::Ranking { around, limit }).await? {
        read::Reading::Ranking(ranking) => Ok(ranking),
        _ => Err(ProblemResponse::new(Kind::Internal, "a board answered something else")),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// A player's id, or `me` with a bearer token: the places around that one.
    /// The first places if absent.
    around: Option<String>,
    /// 1 to 100 places, 100 if absent.
    #[param(value_type = Option<u16>)]
    limit: Option<String>,
}

#[utoipa::path(
    get, path = http::RANKING_PATH, tag = "galaxy",
    params(
        ("board" = String, Path, description = "`power`: what the units of a player cost, energy and minerals once, rare elements five times", example = "power"),
        Part,
    ),
    responses(
        (status = 200, body = http::Ranking),
        (status = 304, description = "The answer is the one that `If-None-Match` names"),
        (status = 400, description = "A parameter is illegal; `field` and `expected` say which", body = http::Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is not valid, or `around=me` without one", body = http::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such board, or the player is not on it", body = http::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests from this address; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store does not answer, or too much is to do; `Retry-After` says when", body = http::Problem, content_type = "application/problem+json"),
    ),
    security((), ("bearer" = [])),
)]
/// The strongest players, or those around one.
pub async fn rankings(
    state: Data<HttpState>,
    request: HttpRequest,
    MaybeBearer(who): MaybeBearer,
    board: Path<String>,
    part: Parameters<Part>,
) -> Result<Either<HttpResponse, Json<http::Ranking>>, ProblemResponse> {
    if board.as_str() != POWER {
        let detail = format!("there is no board {:?}", board.as_str());
        return Err(ProblemResponse::new(Kind::NotFound, detail).expected(POWER));
    }
    let around = around(part.around.as_deref(), who.as_ref())?;
    let limit = places(part.limit.as_deref())?;
    let reading = state.reads.begin()?;
    let ranking = ranking(&reading, around, limit).await?;
    if let Some(player) = around.filter(|_| ranking.places.is_empty()) {
        let detail = format!("player {player} is not on the board");
        return Err(ProblemResponse::new(Kind::NotFound, detail));
    }
    let mut entries = Vec::with_capacity(ranking.places.len());
    for place in ranking.places {
        let own = who.as_ref().is_some_and(|who| who.player == place.player);
        entries.push(http::RankingEntry {
            rank: place.rank,
            player: place.player.0,
            name: state.names.of(&state.accounts, place.player).await?,
            power: if own { place.power } else { rounded(place.power) },
            as_of: place.as_of.0,
        });
    }
    let as_of = (ranking.heard.0 > 0).then_some(ranking.heard.0);
    let players = ranking.players as u64;
    let answer = http::Ranking { board: POWER.to_string(), players, entries, as_of };
    Ok(match who {
        Some(_) => Either::Right(Json(answer)),
        None => Either::Left(public(&request, GOOD_S, &answer)),
    })
}

fn around(text: Option<&str>, who: Option<&Identity>) -> Result<Option<PlayerId>, ProblemResponse> {
    let anonymous = || {
        ProblemResponse::new(Kind::TokenRefused, "`around=me` needs a token")
            .expected("Authorization: Bearer and an access token")
    };
    match text {
        Some("me") => who.map(|who| Some(who.player)).ok_or_else(anonymous),
        text => Ok(query::parse("around", text, "me, or a player's id")?.map(PlayerId)),
    }
}

fn places(text: Option<&str>) -> Result<usize, ProblemResponse> {
    let expected = "1 to 100";
    let limit = query::parse("limit", text, expected)?.unwrap_or(PLACES_MAX);
    let legal = (1..=PLACES_MAX).contains(&limit);
    if legal { Ok(limit) } else { Err(query::invalid("limit", expected)) }
}

/// Names of players, which never change; cheap to clone. Forgets all when it is
/// full.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<PlayerId, Option<String>>>>);

impl Names {
    const KEPT: usize = 10_000;

    async fn of(
        &self,
        accounts: &Accounts,
        player: PlayerId,
    ) -> Result<Option<String>, ProblemResponse> {
        // Whoever panicked in here left names that are as good as before.
        let names = || self.0.lock().unwrap_or_else(|lock| lock.into_inner());
        if let Some(name) = names().get(&player) {
            return Ok(name.clone());
        }
        let name = accounts.account(player).await?.map(|account| account.name);
        let mut names = names();
        if names.len() >= Self::KEPT {
            names.clear();
        }
        names.insert(player, name.clone());
        Ok(name)
    }
}
