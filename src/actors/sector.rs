//! Owns a sector's mailbox. Never holds state: the sector itself is in its
//! arbiter's table, where its ticker steps it by direct calls. Messages come
//! from sessions. Invariant: a handler only admits; nothing here takes longer
//! than looking up a cell.

use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};

use super::ticker::{self, Read};
use crate::base::EntityKey;
use crate::cluster::core::attaching::Ticket;
use crate::cluster::core::table::Unavailable;
use crate::entity::commands::PlayerCommand;
use crate::entity::read::Query;

/// Messages that may wait for a sector between two turns of its arbiter; a
/// sender beyond it is told `busy`.
const MAILBOX: usize = 1024;

/// The actor of one sector.
pub struct SectorActor {
    key: EntityKey,
}

impl SectorActor {
    /// Starts it; its mailbox has its room from the first message on.
    pub fn open(key: EntityKey) -> Addr<SectorActor> {
        SectorActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            SectorActor { key }
        })
    }
}

impl Actor for SectorActor {
    type Context = Context<Self>;
}

/// A player's command, from the session of `connection`.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Admit {
    pub connection: u64,
    pub ticket: Ticket,
    pub command: PlayerCommand,
}

/// Asks the sector.
#[derive(Message)]
#[rtype(result = "Result<Read, Unavailable>")]
pub struct Ask(pub Query);

/// Whether the sector is to be handed out to the view.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Follow {
    pub on: bool,
}

impl Handler<Admit> for SectorActor {
    type Result = ();

    fn handle(&mut self, message: Admit, _: &mut Self::Context) {
        ticker::admit(self.key, message.connection, message.ticket, message.command);
    }
}

impl Handler<Ask> for SectorActor {
    type Result = ResponseFuture<Result<Read, Unavailable>>;

    fn handle(&mut self, Ask(query): Ask, _: &mut Self::Context) -> Self::Result {
        let asked = ticker::read(self.key, &query);
        // Nobody answers only when the arbiter ends.
        Box::pin(async { asked?.await.map_err(|_| Unavailable::NotHere) })
    }
}

impl Handler<Follow> for SectorActor {
    type Result = ();

    fn handle(&mut self, Follow { on }: Follow, _: &mut Self::Context) {
        ticker::follow(self.key, on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;

    #[actix::test]
    async fn takes_a_mailbox_of_messages_before_its_first_turn() {
        let sector = SectorActor::open(EntityKey::Sector(SectorId::tactical(0, 0)));
        // Nothing here lets the actor have a turn.
        for n in 0..MAILBOX {
            assert!(sector.try_send(Follow { on: false }).is_ok(), "message {n}");
        }
        let beyond = (0..2).any(|_| sector.try_send(Follow { on: false }).is_err());
        assert!(beyond, "the mailbox has a bound");
    }
}
