//! Owns how entities of a table are read: the question is answered from the
//! state at once, the answer leaves behind the publish barrier, like all that
//! is seen of an entity. A session that asks what was applied of it is attached
//! from then on ([`attaching`](crate::cluster::core::attaching)), unless a newer
//! one has sent commands. Never changes an entity. Called by the arbiter's
//! handlers, and bounded by how many ask: a session once for each entity it
//! commands, reads over HTTP at most so many at a time.

use super::{Release, Table, Unavailable};
use crate::base::EntityKey;
use crate::cluster::core::attaching::{Attachment, Sender};
use crate::entity::caught::caught;
use crate::entity::read::{Query, Reading};
use crate::entity::workplace;

impl Table {
    /// Asks `entity`. The answer comes as [`Release::Read`] with the caller's
    /// number `ask`.
    ///
    /// # Errors
    /// When the entity is not here or of a kind that the question is not for;
    /// `Busy` before this node's claim is durable, and when the node is over. For a
    /// session that attaches it is not here any more once it leaves.
    pub fn read(&mut self, ask: u64, entity: EntityKey, query: &Query) -> Result<(), Unavailable> {
        let cell = self.cells.get(&entity).ok_or(Unavailable::NotHere)?;
        if self.over || !cell.is_claimed() {
            return Err(Unavailable::Busy);
        }
        let attaches = matches!(query, Query::Applied { .. });
        if attaches && cell.left().is_some() {
            return Err(Unavailable::NotHere);
        }
        // While time stands still nothing leaves: only sessions wait for that.
        if self.away && !attaches {
            return Err(Unavailable::StoreAway);
        }
        // What reads changes nothing: a panic costs who asked, and is no reason to ask
        // again.
        let entered = workplace::enter(entity, cell.entity.tick());
        let reading = match query {
            Query::Beyond => Some(self.read_beyond(entity)),
            query => caught(|| cell.entity.read(query, &self.world)),
        };
        drop(entered);
        self.counts.broken += u64::from(reading.is_none());
        let reading = reading.flatten().ok_or(Unavailable::NotHere)?;
        let at = cell.tick_at(self.tick);
        let attached = match (query, &reading) {
            (Query::Applied { player, session }, Reading::Applied(Some(_))) => {
                Some(self.attach(entity, (*player, *session)))
            }
            _ => None,
        };
        self.hold(Release::Read { ask, entity, at, reading, attached });
        Ok(())
    }

    fn attach(&mut self, entity: EntityKey, sender: Sender) -> Attachment {
        let attachment = self.attachment;
        self.attachment = Attachment(attachment.0.wrapping_add(1));
        if let Some(cell) = self.cells.get_mut(&entity) {
            cell.attached.attach(sender, attachment, self.limits.attached_per_entity);
        }
        attachment
    }
}
