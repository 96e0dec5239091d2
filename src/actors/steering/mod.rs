//! Owns how an operator looks at a cluster and changes its directory, from any
//! node. Never moves an entity: cores do, when the directory says so. Called by
//! the admin calls. Invariants: a change is made from the directory as it is, in
//! whole or not at all; another node that does not answer within a second is
//! gone on without.

mod auditing;
mod balancer;
mod edits;
mod parked;
mod planning;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

pub use auditing::{Audited, Auditing, Findings};
pub use balancer::{BalanceSettings, Balancer};
pub use edits::{Refusal, finer, merge, split};
pub use planning::Planned;

use super::entities::Entities;
use super::membership;
use super::mesh::NodeMesh;
use super::peers::{PeerAnswer, PeerQuestion};
use super::rows::{GroupAnswer, Rows, StoreAway};
use super::ticker::Read;
use crate::base::{EntityKey, NodeId, SectorId};
use crate::cluster::core::directory::{Change, ChangeError, Edit};
use crate::cluster::core::map::Map;
use crate::cluster::links::PeerStatus;
use crate::cluster::links::join::Member;
use crate::entity::read::{Beyond, Query, Reading};

/// A node answers in this time, or is shown as silent.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Tries of a change that others overtook.
const TRIES: usize = 5;
/// The core reads the directory several times in this.
const READ_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The way of operators to the cluster; cheap to clone.
#[derive(Clone)]
pub struct Steering {
    entities: Entities,
    rows: Rows,
    mesh: Option<Arc<NodeMesh>>,
    /// The verification of the audit log.
    pub auditing: Auditing,
}

/// Why nothing was changed, or, with [`StoreAway::Unknown`], why it is not
/// known.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    #[error("this node is in no cluster; expected one that `starmesh node` started")]
    Alone,
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Directory(#[from] ChangeError),
    #[error("the directory changes all the time; nothing was changed, try again")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreAway),
}

/// A change that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steered {
    /// Of the directory now.
    pub version: u64,
    /// What was changed; nothing when all was so already.
    pub edits: Vec<Edit>,
}

impl Steering {
    pub fn new(
        entities: Entities,
        rows: Rows,
        mesh: Option<Arc<NodeMesh>>,
        auditing: Auditing,
    ) -> Steering {
        Steering { entities, rows, mesh, auditing }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.entities.mesh.me()
    }

    /// Whether the galaxy has such a sector.
    pub fn exists(&self, sector: SectorId) -> bool {
        self.entities.world.galaxy.area(sector).is_some()
    }

    /// The cluster, as this node knows it.
    ///
    /// # Errors
    /// When it is in none.
    pub fn map(&self) -> Result<Arc<Map>, SteerError> {
        Ok(self.mesh.as_ref().ok_or(SteerError::Alone)?.map())
    }

    /// Names and addresses of all members.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn members(&self) -> Result<Vec<Member>, StoreAway> {
        membership::members(&self.rows).await
    }

    /// This node's links.
    pub fn links(&self) -> Vec<PeerStatus> {
        self.mesh
            .as_ref()
            .and_then(|mesh| mesh.status())
            .map(|(peers, _)| peers)
            .unwrap_or_default()
    }

    /// Asks all living nodes the same, this one, too. Those that do not answer in
    /// time have `None`.
    pub async fn ask(
        &self,
        map: &Map,
        question: PeerQuestion,
    ) -> Vec<(NodeId, Option<PeerAnswer>)> {
        let living = map.nodes.keys().copied().filter(|node| map.lives(*node));
        let asked = living.map(|node| {
            let question = question.clone();
            async move { (node, self.ask_one(node, question).await) }
        });
        join_all(asked).await
    }

    async fn ask_one(&self, node: NodeId, question: PeerQuestion) -> Option<PeerAnswer> {
        if node == self.me() {
            let answer = self.entities.answer(node, question);
            return tokio::time::timeout(ANSWER_WITHIN, answer).await.ok();
        }
        let answer = self.entities.mesh.ask(node, question, ANSWER_WITHIN);
        tokio::time::timeout(ANSWER_WITHIN, answer).await.ok()?.ok()
    }

    /// Where an entity runs, of those nodes that answer.
    pub async fn runs_at(&self, map: &Map, entity: EntityKey) -> Vec<(NodeId, Option<bool>)> {
        let answers = self.ask(map, PeerQuestion::Runs(entity)).await;
        let runs = |answer| match answer {
            Some(PeerAnswer::Runs(runs)) => Some(runs),
            _ => None,
        };
        answers.into_iter().map(|(node, answer)| (node, runs(answer))).collect()
    }

    /// What a sector knows of units just beyond its borders, if it runs somewhere and
    /// says so in time.
    pub async fn beyond(&self, sector: SectorId) -> Vec<Beyond> {
        if sector.scale > 0 {
            return Vec::new();
        }
        let read = self.entities.read(EntityKey::Sector(sector), Query::Beyond);
        match tokio::time::timeout(ANSWER_WITHIN, read).await {
            Ok(Ok(Read { reading: Reading::Beyond(beyond), .. })) => beyond,
            _ => Vec::new(),
        }
    }

    /// Changes the directory by what `wish` makes of it, again when another
    /// change came first. When it returns this node knows of it, in general.
    ///
    /// # Errors
    /// When the wish is refused, others are always first, or the store is away.
    pub async fn change(
        &self,
        wish: impl Fn(&Map) -> Result<Vec<Edit>, Refusal>,
    ) -> Result<Steered, SteerError> {
        for _ in 0..TRIES {
            let map = self.map()?;
            let edits = wish(&map)?;
            let seen = map.directory.version();
            if edits.is_empty() {
                return Ok(Steered { version: seen, edits });
            }
            if let Some(steered) = self.commit(&map, Change { seen, edits }).await? {
                tracing::info!(version = steered.version, edits = ?steered.edits, "steered");
                return Ok(steered);
            }
            // Another change was first: it is read soon.
            self.read_past(seen).await;
        }
        Err(SteerError::Overtaken)
    }

    /// Makes `change` durable; `None` when another one came first.
    ///
    /// # Errors
    /// When the directory cannot be changed so, or the store is away.
    pub async fn commit(&self, map: &Map, change: Change) -> Result<Option<Steered>, SteerError> {
        map.directory.applied(&change)?;
        match self.rows.commit_group(change.group()).await? {
            GroupAnswer::Refused => Ok(None),
            GroupAnswer::Accepted { .. } => {
                self.read_past(change.seen).await;
                Ok(Some(Steered { version: change.seen + 1, edits: change.edits }))
            }
        }
    }

    /// Waits until this node has read a directory after `version`, but not for
    /// long.
    async fn read_past(&self, version: u64) {
        let until = Instant::now() + READ_WITHIN;
        while Instant::now() < until
            && self.map().is_ok_and(|map| map.directory.version() <= version)
        {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Gives `sector` to node `to`, to stay there.
    ///
    /// # Errors
    /// See [`change`](Self::change).
    pub async fn migrate(&self, sector: SectorId, to: NodeId) -> Result<Steered, SteerError> {
        let format = membership::formats::written(&self.rows).await?;
        self.change(|map| edits::migrate(map, sector, to, format)).await
    }

    /// Drains `node`, or ends that.
    ///
    /// # Errors
    /// See [`change`](Self::change).
    pub async fn drain(&self, node: NodeId, on: bool) -> Result<Steered, SteerError> {
        self.change(|map| edits::drain(map, node, on)).await
    }
}
