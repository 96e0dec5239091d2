//! Owns how an operator sees what is parked and has it resumed, from any node. Never
//! runs anything: whoever an entity belongs to claims it when its row is gone.
//! Invariant: of two who resume one entity at once, one is told that it did.

use super::{Refusal, SteerError, Steering};
use crate::actors::rows::{GroupAnswer, StoreAway};
use crate::base::{EntityKey, NodeId};
use crate::entity::keys;
use crate::entity::parked::{Parked, resume_group};
use crate::store::recovery;

impl Steering {
    /// What is parked, ascending by entity, and why; a bounded number.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn parked(&self) -> Result<Vec<(EntityKey, Parked)>, StoreAway> {
        let found = self.rows.read(|store| recovery::parked(store, None)).await?;
        Ok(found.into_iter().map(|(entity, _, parked)| (entity, parked)).collect())
    }

    /// Has a parked entity run again; where it belongs, if anybody knows.
    ///
    /// # Errors
    /// When it is not parked, or the store does not answer.
    pub async fn resume(&self, entity: EntityKey) -> Result<Option<NodeId>, SteerError> {
        let row = self.rows.get(keys::parked(entity)).await?;
        let version = row.ok_or(Refusal::NotParked(entity))?.version;
        let home = self.mesh.as_ref().and_then(|mesh| mesh.map().directory.node_of(entity));
        let group = resume_group(entity, version, home.unwrap_or(self.me()));
        match self.rows.commit_group(group).await {
            Ok(GroupAnswer::Refused) => Err(Refusal::NotParked(entity).into()),
            Ok(GroupAnswer::Accepted { .. }) => {
                tracing::info!(%entity, "resumed");
                self.entities.resume(entity);
                Ok(home)
            }
            Err(away) => {
                // If it happened after all, whoever it belongs to looks now.
                self.entities.resume(entity);
                Err(away.into())
            }
        }
    }
}
