//! Owns how an entity is asked something, wherever it runs: attachments of
//! sessions, reads over HTTP. Never decides what it answers. Called by sessions
//! and by [`answer`](Entities::answer). Invariant: an entity is looked for a
//! bounded number of times.

use std::time::Duration;

use super::entities::Entities;
use super::peers::{PeerAnswer, PeerQuestion, Place};
use super::sector::Ask;
use super::ticker::Read;
use super::waking::Woken;
use crate::base::{EntityKey, NodeId, PlayerId, SessionId};
use crate::cluster::core::attaching::Attached;
use crate::cluster::core::table::Unavailable;
use crate::entity::read::{Query, Reading};

/// An entity may go to hibernate again, or to another node, before it is asked;
/// but not so often.
const TRIES: usize = 3;
/// Another node answers in this time: it may have to wake the entity.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// When the directory was wrong it is looked at again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why an entity was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// It is this other node's.
    At(NodeId),
    /// It is not where the directory said.
    Unknown,
    Unavailable(Unavailable),
}

impl From<Unavailable> for Elsewhere {
    fn from(why: Unavailable) -> Elsewhere {
        Elsewhere::Unavailable(why)
    }
}

impl Entities {
    /// Attaches a session to `entity`, wherever it is: the last sequence applied
    /// for it, and the name under which it takes commands from now on; `None`
    /// when a newer session has sent it commands. One that hibernates is woken.
    ///
    /// # Errors
    /// When the entity is nowhere or does not answer.
    pub async fn attach(
        &self,
        entity: EntityKey,
        player: PlayerId,
        session: SessionId,
    ) -> Result<Option<Attached>, Unavailable> {
        let (at, read) = self.read_awake(entity, Query::Applied { player, session }).await?;
        match read {
            Read { reading: Reading::Applied(last), attached, .. } => {
                let both = last.zip(attached);
                Ok(both.map(|(last, attachment)| Attached { last, attachment, at }))
            }
            _ => Err(Unavailable::NotHere),
        }
    }

    /// Asks an entity, which is woken if it hibernates; its answer, and the node
    /// where it runs. It may go on to another node meanwhile, or to hibernate
    /// again; but not for ever.
    async fn read_awake(
        &self,
        entity: EntityKey,
        query: Query,
    ) -> Result<(NodeId, Read), Unavailable> {
        let mut place = self.place_now(entity);
        for _ in 0..TRIES {
            let read = match place {
                Place::Here => self.read_here(entity, query, true).await,
                Place::There(node) => self.read_there(node, entity, query, true).await,
                Place::Nowhere => return Err(Unavailable::Busy),
            };
            place = match (read, place) {
                (Err(Elsewhere::At(node)), _) => Place::There(node),
                (Err(Elsewhere::Unknown), asked) => {
                    if self.place_now(entity) == asked {
                        // Whoever was asked heard of its new place first.
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    self.place_now(entity)
                }
                (Err(Elsewhere::Unavailable(why)), _) => return Err(why),
                (Ok(read), Place::There(node)) => return Ok((node, read)),
                (Ok(read), _) => return Ok((self.mesh.me(), read)),
            };
        }
        Err(Unavailable::Busy)
    }

    /// Here, if it runs here; else where the directory says.
    fn place_now(&self, entity: EntityKey) -> Place {
        if self.runs(entity) { Place::Here } else { self.mesh.place_of(entity) }
    }

    /// Asks an entity, wherever it runs; its answer may be seen when it comes,
    /// which may be never while the store is away. None is woken for it, see
    /// [`attach`](Self::attach).
    ///
    /// # Errors
    /// When the entity does not run, is of another kind, or does not answer.
    pub async fn read(&self, entity: EntityKey, query: Query) -> Result<Read, Unavailable> {
        let read = match self.place_now(entity) {
            Place::Here => self.read_here(entity, query, false).await,
            Place::There(node) => self.read_there(node, entity, query, false).await,
            Place::Nowhere => Err(Elsewhere::Unavailable(Unavailable::Busy)),
        };
        read.map_err(|elsewhere| match elsewhere {
            Elsewhere::Unavailable(why) => why,
            Elsewhere::At(_) | Elsewhere::Unknown => Unavailable::Busy,
        })
    }

    /// Asks an entity that belongs here, and goes nowhere else.
    pub(super) async fn read_here(
        &self,
        entity: EntityKey,
        query: Query,
        wake: bool,
    ) -> Result<Read, Elsewhere> {
        for _ in 0..TRIES {
            match self.ask_here(entity, query).await {
                // Busy is also one that has come and is not claimed yet: whoever waits
                // for it to be woken hears when it is, or where it goes.
                Err(Unavailable::NotHere | Unavailable::Busy) if wake => {
                    match self.wake_sector(entity).await {
                        Ok(Woken::Running) => {}
                        Ok(Woken::Dormant) => return Err(Unavailable::NotHere.into()),
                        Ok(Woken::Elsewhere(node)) => return Err(Elsewhere::At(node)),
                        Err(why) => return Err(why.into()),
                    }
                }
                read => return Ok(read?),
            }
        }
        Err(Unavailable::Busy.into())
    }

    async fn ask_here(&self, entity: EntityKey, query: Query) -> Result<Read, Unavailable> {
        let ask = Ask(query);
        let answer = match entity {
            EntityKey::Sector(_) => self.sector(entity)?.send(ask).await,
            _ => self.meta(entity)?.send(ask).await,
        };
        answer.map_err(|_| Unavailable::NotHere)?
    }

    /// Asks an entity that is another node's.
    async fn read_there(
        &self,
        node: NodeId,
        entity: EntityKey,
        query: Query,
        wake: bool,
    ) -> Result<Read, Elsewhere> {
        let question = PeerQuestion::Read { entity, query, wake };
        let PeerAnswer::Read(read) = self.mesh.ask(node, question, ASK_WITHIN).await? else {
            return Err(Unavailable::Busy.into());
        };
        read.map_err(|why| match why {
            // It is not there any more.
            Unavailable::AttachAgain => Elsewhere::Unknown,
            why => Elsewhere::Unavailable(why),
        })
    }
}
