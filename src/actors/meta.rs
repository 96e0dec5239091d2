//! Owns the mailbox of an entity that is not a sector: a ledger now; boards,
//! alliances and markets are the same shell. Never holds state, see
//! [`sector`](super::sector).

use actix::{Actor, Addr, Context, Handler, Message, ResponseFuture};

use super::sector::Ask;
use super::ticker::{self, Read};
use crate::base::EntityKey;
use crate::cluster::core::table::Unavailable;
use crate::entity::input::{Input, Left};

/// Messages that may wait; a sender beyond it is told `busy`.
const MAILBOX: usize = 4096;

/// The actor of one ledger, board, alliance or market.
pub struct MetaActor {
    key: EntityKey,
}

impl MetaActor {
    /// Starts it; its mailbox has its room from the first message on.
    pub fn open(key: EntityKey) -> Addr<MetaActor> {
        MetaActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            MetaActor { key }
        })
    }
}

impl Actor for MetaActor {
    type Context = Context<Self>;
}

/// An input for the entity.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Propose(pub Input);

/// To a ledger: a session's connection is lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave(pub Left);

impl Handler<Leave> for MetaActor {
    type Result = ();

    fn handle(&mut self, Leave(left): Leave, _: &mut Self::Context) {
        ticker::leave(left);
    }
}

impl Handler<Propose> for MetaActor {
    type Result = ();

    fn handle(&mut self, Propose(input): Propose, _: &mut Self::Context) {
        ticker::propose(self.key, input);
    }
}

impl Handler<Ask> for MetaActor {
    type Result = ResponseFuture<Result<Read, Unavailable>>;

    fn handle(&mut self, Ask(query): Ask, _: &mut Self::Context) -> Self::Result {
        let asked = ticker::read(self.key, &query);
        // Nobody answers only when the arbiter ends.
        Box::pin(async { asked?.await.map_err(|_| Unavailable::NotHere) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn takes_a_mailbox_of_messages_before_its_first_turn() {
        let ledger = MetaActor::open(EntityKey::Ledger(0));
        for n in 0..MAILBOX {
            assert!(ledger.try_send(Propose(Input::Time)).is_ok(), "message {n}");
        }
        let beyond = (0..2).any(|_| ledger.try_send(Propose(Input::Time)).is_err());
        assert!(beyond, "the mailbox has a bound");
    }
}
