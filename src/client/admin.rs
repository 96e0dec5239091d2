//! Owns the admin calls over HTTP, as a client makes them. Never retries. Called
//! by `starmesh admin`.

use serde::de::DeserializeOwned;

use super::http::{CallError, Target, blocking, get_as, post_as};
use crate::base::SectorId;
use crate::protocol::http as paths;
use crate::protocol::http::admin::{
    Announce, Announced, Audit, Balance, BalancePlan, BusySectors, EntityPlace, Merge, Migrate,
    Nodes, ParkedEntities, Region, Resumed, Steered,
};

/// A server, and the access token of an admin.
#[derive(Clone)]
pub struct AdminTarget {
    target: Target,
    token: String,
}

type Called<A> = Result<A, CallError>;

impl AdminTarget {
    pub fn new(target: Target, token: String) -> AdminTarget {
        AdminTarget { target, token }
    }

    /// # Errors
    /// When the server refuses, or does not answer in time; so all of these.
    pub async fn nodes(&self) -> Called<Nodes> {
        self.get(paths::ADMIN_NODES_PATH.to_owned()).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn sectors(&self, limit: u16) -> Called<BusySectors> {
        self.get(format!("{}?limit={limit}", paths::ADMIN_SECTORS_PATH)).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn sector(&self, sector: SectorId) -> Called<Region> {
        self.get(of_sector(paths::ADMIN_SECTOR_PATH, sector)).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn entity(&self, entity: &str) -> Called<EntityPlace> {
        self.get(paths::ADMIN_ENTITY_PATH.replace("{entity}", entity)).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn migrate(&self, sector: SectorId, to: u32) -> Called<Steered> {
        self.post(of_sector(paths::ADMIN_MIGRATE_PATH, sector), &Migrate { to }).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn split(&self, sector: SectorId) -> Called<Steered> {
        self.post(of_sector(paths::ADMIN_SPLIT_PATH, sector), &()).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn merge(&self, sector: SectorId, may_move: bool) -> Called<Steered> {
        self.post(of_sector(paths::ADMIN_MERGE_PATH, sector), &Merge { may_move }).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn drain(&self, node: u32, on: bool) -> Called<Steered> {
        let path = if on { paths::ADMIN_DRAIN_PATH } else { paths::ADMIN_UNDRAIN_PATH };
        self.post(path.replace("{node}", &node.to_string()), &()).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn parked(&self) -> Called<ParkedEntities> {
        self.get(paths::ADMIN_PARKED_PATH.to_owned()).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn resume(&self, entity: &str) -> Called<Resumed> {
        self.post(paths::ADMIN_RESUME_PATH.replace("{entity}", entity), &()).await
    }

    /// Begins a verification of the audit log, unless one runs.
    ///
    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn audit(&self) -> Called<Audit> {
        self.post(paths::ADMIN_AUDIT_PATH.to_owned(), &()).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn audited(&self) -> Called<Audit> {
        self.get(paths::ADMIN_AUDITED_PATH.to_owned()).await
    }

    /// Says one line to everybody who is connected.
    ///
    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn announce(&self, text: String) -> Called<Announced> {
        self.post(paths::ADMIN_ANNOUNCE_PATH.to_owned(), &Announce { text }).await
    }

    /// # Errors
    /// See [`nodes`](Self::nodes).
    pub async fn balance(&self, body: Balance) -> Called<BalancePlan> {
        self.post(paths::ADMIN_BALANCE_PATH.to_owned(), &body).await
    }

    async fn get<A: DeserializeOwned + Send + 'static>(&self, path: String) -> Called<A> {
        let (url, token) = (format!("{}{path}", self.target), self.token.clone());
        blocking(move || get_as(&url, Some(&token))).await
    }

    async fn post<A: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
        body: &impl serde::Serialize,
    ) -> Called<A> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::NoAnswer(e.to_string()))?;
        let (url, token) = (format!("{}{path}", self.target), self.token.clone());
        blocking(move || post_as(&url, &body, Some(&token))).await
    }
}

fn of_sector(path: &str, sector: SectorId) -> String {
    path.replace("{sector}", &sector.to_string())
}
