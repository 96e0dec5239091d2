//! Owns the admin calls: who may make them, and what they say of a cluster.
//! Never decides what a wish means (`actors::steering` does). Invariant: nobody
//! without the role admin learns anything of the cluster, or has a body read.

mod announcing;
mod auditing;
mod balance;
mod looking;
mod parked;
mod steering;

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;

pub use announcing::*;
pub use auditing::*;
pub use balance::*;
pub use looking::*;
pub use parked::*;
pub use steering::*;

use super::HttpState;
use super::input::{Bearer, Input};
use super::problem::{Kind, ProblemResponse};
use super::query;
use crate::actors::steering::{SteerError, Steering};
use crate::base::{EntityKey, NodeId, SectorId};
use crate::gateway::accounts::AccountRole;

/// The cluster, for a request whose bearer token has the role admin.
pub struct Admin(Steering);

impl FromRequest for Admin {
    type Error = ProblemResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ProblemResponse>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bearer = Bearer::from_request(request, payload);
        let state = request.app_data::<Data<HttpState>>();
        let steering = state.and_then(|state| state.steering.clone());
        Box::pin(async move {
            let Bearer(who) = bearer.await?;
            if !who.roles.contains(&AccountRole::Admin) {
                let detail = format!("player {} has not the role admin", who.player);
                let expected = "a token of an account whose name is in players.admins";
                return Err(ProblemResponse::new(Kind::Forbidden, detail).expected(expected));
            }
            let none = || ProblemResponse::new(Kind::NotReady, "this gateway has no cluster yet");
            steering.map(Admin).ok_or_else(none)
        })
    }
}

/// The cluster and a JSON body, which is read only of those who may.
pub struct Wish<T>(Steering, T);

impl<T: DeserializeOwned + 'static> FromRequest for Wish<T> {
    type Error = ProblemResponse;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ProblemResponse>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let admin = Admin::from_request(request, payload);
        let body = Input::from_request(request, payload);
        Box::pin(async move {
            let Admin(steering) = admin.await?;
            let Input(body) = body.await?;
            Ok(Wish(steering, body))
        })
    }
}

impl From<SteerError> for ProblemResponse {
    fn from(error: SteerError) -> ProblemResponse {
        match error {
            SteerError::Store(away) => away.into(),
            SteerError::Overtaken => ProblemResponse::new(Kind::Busy, error.to_string()),
            SteerError::Alone | SteerError::Refused(_) | SteerError::Directory(_) => {
                let detail = format!("{error}; nothing was changed");
                ProblemResponse::new(Kind::Refused, detail)
            }
        }
    }
}

/// A sector of the galaxy.
fn sector(steering: &Steering, text: &str) -> Result<SectorId, ProblemResponse> {
    let sector = query::sector("sector", text)?;
    let outside = || {
        let detail = format!("sector {sector} lies outside of the galaxy; nothing was changed");
        ProblemResponse::new(Kind::NotFound, detail).expected("a sector of the galaxy")
    };
    steering.exists(sector).then_some(sector).ok_or_else(outside)
}

fn node(text: &str) -> Result<NodeId, ProblemResponse> {
    text.parse().map(NodeId).map_err(|_| query::invalid("node", "a node's number"))
}

/// The entity of that name.
fn entity(text: &str) -> Result<EntityKey, ProblemResponse> {
    let expected = "sector:X,Y,SCALE, ledger:N, board:N, alliance:N or market:N";
    parse_entity(text).ok_or_else(|| query::invalid("entity", expected))
}

/// An entity written `KIND:NUMBER`, or a sector as everywhere.
fn parse_entity(text: &str) -> Option<EntityKey> {
    let Some((kind, rest)) = text.split_once(':') else {
        return text.parse().ok().map(EntityKey::Sector);
    };
    let number = || rest.parse().ok();
    match kind {
        "sector" => rest.parse().ok().map(EntityKey::Sector),
        "ledger" => number().map(EntityKey::Ledger),
        "market" => number().map(EntityKey::Market),
        "alliance" => number().map(EntityKey::Alliance),
        "board" => number().map(EntityKey::Board),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_named_by_its_kind_and_number() {
        assert_eq!(parse_entity("ledger:7"), Some(EntityKey::Ledger(7)));
        assert_eq!(parse_entity("board:0"), Some(EntityKey::Board(0)));
        let sector = SectorId { x: 1, y: -2, scale: 3 };
        assert_eq!(parse_entity("sector:1,-2,3"), Some(EntityKey::Sector(sector)));
        assert_eq!(parse_entity("1,-2,3"), Some(EntityKey::Sector(sector)));
        for wrong in ["", "ledger", "ledger:", "ledger:-1", "fleet:3", "sector:1"] {
            assert_eq!(parse_entity(wrong), None, "{wrong}");
        }
    }
}
