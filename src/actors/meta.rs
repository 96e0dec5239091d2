//! Owns the mailbox of an entity that is not a sector: a ledger now; boards,
//! alliances and markets are the same shell. Never holds state, see
//! [`sector`](super::sector).

use actix::{Actor, Context, Handler, Message};

use super::ticker;
use crate::base::EntityKey;
use crate::cluster::core::table::Unavailable;
use crate::entity::input::Input;

/// Messages that may wait; a sender beyond it is told `busy`.
const MAILBOX: usize = 4096;

/// The actor of one ledger, board, alliance or market.
pub struct MetaActor {
    key: EntityKey,
}

impl MetaActor {
    pub fn new(key: EntityKey) -> MetaActor {
        MetaActor { key }
    }
}

impl Actor for MetaActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// An input for the entity.
#[derive(Message)]
#[rtype(result = "Result<(), Unavailable>")]
pub struct Propose(pub Input);

impl Handler<Propose> for MetaActor {
    type Result = Result<(), Unavailable>;

    fn handle(&mut self, Propose(input): Propose, _: &mut Self::Context) -> Self::Result {
        ticker::propose(self.key, input)
    }
}
