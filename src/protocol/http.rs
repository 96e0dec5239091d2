//! Owns the bodies and paths of the calls over HTTP, shared by gateway and
//! client library. All are JSON; errors are RFC 9457 problem documents.

pub mod admin;
mod galaxy;

use serde::{Deserialize, Serialize};

use crate::base::PlayerId;

pub use super::wire::Sector;
pub use galaxy::{
    AskedSector, Feature, Fraction, Map, MapCounts, PlayerStatistics, Ranking, RankingEntry,
    SectorSummary, System, Universe, UniverseUnit,
};

/// Where the WebSocket is.
pub const WEBSOCKET_PATH: &str = "/ws";
/// POST [`Register`], answered 201 with [`Tokens`].
pub const REGISTER_PATH: &str = "/api/auth/register";
/// POST [`Login`], answered 200 with [`Tokens`].
pub const LOGIN_PATH: &str = "/api/auth/login";
/// POST [`Refresh`], answered 200 with new [`Tokens`]; the old ones end.
pub const REFRESH_PATH: &str = "/api/auth/refresh";
/// POST [`Logout`], answered 204.
pub const LOGOUT_PATH: &str = "/api/auth/logout";
/// POST [`Password`] with a bearer token, answered 200 with new [`Tokens`];
/// all others of the account end.
pub const PASSWORD_PATH: &str = "/api/auth/password";
/// GET with a bearer token, answered 200 with [`Me`].
pub const ME_PATH: &str = "/api/auth/me";
/// GET, answered 200 with [`Rules`].
pub const RULES_PATH: &str = "/api/rules";
/// GET, answered 200 with [`Map`]; the sector is written `X,Y,SCALE`.
pub const MAP_PATH: &str = "/api/map/{sector}";
/// GET, with a bearer token or without, answered 200 with
/// [`PlayerStatistics`].
pub const STATISTICS_PATH: &str = "/api/players/{id}/statistics";
/// GET, with a bearer token or without, answered 200 with [`Ranking`].
pub const RANKING_PATH: &str = "/api/rankings/{board}";
/// GET with a bearer token, answered 200 with [`Universe`].
pub const UNIVERSE_PATH: &str = "/api/universe";
/// All from here on with a bearer token of role admin. GET, answered 200 with
/// [`admin::Nodes`].
pub const ADMIN_NODES_PATH: &str = "/api/admin/nodes";
/// GET, answered 200 with [`admin::BusySectors`].
pub const ADMIN_SECTORS_PATH: &str = "/api/admin/sectors";
/// GET, answered 200 with [`admin::Region`]; the sector is written `X,Y,SCALE`.
pub const ADMIN_SECTOR_PATH: &str = "/api/admin/sectors/{sector}";
/// GET, answered 200 with [`admin::EntityPlace`].
pub const ADMIN_ENTITY_PATH: &str = "/api/admin/entities/{entity}";
/// POST [`admin::Migrate`], answered 200 with [`admin::Steered`].
pub const ADMIN_MIGRATE_PATH: &str = "/api/admin/sectors/{sector}/migrate";
/// POST, answered 200 with [`admin::Steered`].
pub const ADMIN_SPLIT_PATH: &str = "/api/admin/sectors/{sector}/split";
/// POST [`admin::Merge`], answered 200 with [`admin::Steered`].
pub const ADMIN_MERGE_PATH: &str = "/api/admin/sectors/{sector}/merge";
/// POST, answered 200 with [`admin::Steered`].
pub const ADMIN_DRAIN_PATH: &str = "/api/admin/nodes/{node}/drain";
/// POST, answered 200 with [`admin::Steered`].
pub const ADMIN_UNDRAIN_PATH: &str = "/api/admin/nodes/{node}/undrain";
/// POST [`admin::Balance`], answered 200 with [`admin::BalancePlan`].
pub const ADMIN_BALANCE_PATH: &str = "/api/admin/balance";
/// POST [`admin::Announce`], answered 200 with [`admin::Announced`].
pub const ADMIN_ANNOUNCE_PATH: &str = "/api/admin/announce";
/// GET, answered 200 with [`admin::ParkedEntities`].
pub const ADMIN_PARKED_PATH: &str = "/api/admin/parked";
/// POST, answered 200 with [`admin::Resumed`].
pub const ADMIN_RESUME_PATH: &str = "/api/admin/entities/{entity}/resume";
pub const ADMIN_AUDIT_PATH: &str = "/api/admin/audit";
pub const ADMIN_AUDITED_PATH: &str = "/api/admin/audit/last";
/// GET, answered 200 with the OpenAPI 3.1 document of all calls.
pub const OPENAPI_PATH: &str = "/api/openapi.json";
/// The media type of [`Problem`].
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// A password or token: its text is on the wire, never in a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Register {
    /// 3 to 32 ASCII letters, digits, `-` and `_`; unique without case.
    pub name: String,
    /// At most 255 bytes; unique.
    pub email: String,
    /// 8 to 256 characters.
    pub password: Secret,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub faction: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Login {
    /// The account's name or its e-mail, in any case.
    pub name: String,
    pub password: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refresh {
    pub refresh_token: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logout {
    pub refresh_token: Secret,
    /// End all sessions of the account, not only this token.
    #[serde(default)]
    pub everywhere: bool,
}

/// What registering, logging in and refreshing return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub player: PlayerId,
    /// For Connect, and as `Authorization: Bearer`.
    pub access_token: Secret,
    /// Seconds until the access token ends.
    pub expires_in: u64,
    /// For one refresh.
    pub refresh_token: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Password {
    pub current: Secret,
    /// 8 to 256 characters.
    pub new: Secret,
}

/// The account that a bearer token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Me {
    #[cfg_attr(feature = "server", schema(value_type = u64))]
    pub player: PlayerId,
    pub name: String,
    pub email: String,
    pub display_name: Option<String>,
    pub faction: Option<String>,
    pub roles: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub created: u64,
    pub last_login: u64,
}

/// The content of the game: what units there are and what they can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// Names these rules: 16 hexadecimal digits, others when anything differs.
    pub hash: String,
    /// By id.
    pub unit_types: Vec<UnitType>,
    /// What differs from 1000, the neutral multiplier.
    pub hull_multipliers: Vec<HullMultiplier>,
    /// What a new player gets.
    pub start: Vec<TypeCount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct UnitType {
    pub id: u16,
    pub name: String,
    /// `fighter`, `corvette`, `frigate`, `cruiser`, `battleship`, `carrier`,
    /// `civil` or `structure`.
    pub hull: String,
    pub hit_points: u32,
    pub attack: u32,
    pub defence: u32,
    /// Metres that its weapons reach.
    pub range: u32,
    /// Milliseconds between two shots.
    pub fire_ms: u32,
    /// Grid steps (2^-20 km) per sector step (200 ms); absent when it cannot
    /// move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
    /// In warp, as `speed`; absent when it cannot move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warp_speed: Option<u32>,
    /// Metres that it sees.
    pub sensor: u32,
    pub cargo: u32,
    pub cost: Cost,
    /// Milliseconds that one takes to build.
    pub build_ms: u32,
}

/// An amount of each resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub energy: u32,
    pub minerals: u32,
    pub rare: u32,
    pub population: u32,
}

/// How much the weapons of one hull class do to another, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HullMultiplier {
    pub attacker: String,
    pub target: String,
    pub thousandths: u16,
}

/// So many units of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TypeCount {
    #[serde(rename = "type")]
    pub type_id: u16,
    pub count: u32,
}

/// RFC 9457: what went wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A name that stays the same, as `/problems/name-taken`.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    /// Which field of the body, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What that field, header or method may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What became of the state.
    pub changed: Changed,
}

/// What a call that failed changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Changed {
    /// Nothing, now and later.
    Nothing,
    /// All or nothing of what was asked; ask what is there, then decide.
    Unknown,
}
