//! Owns the way to entities that do not run yet: whoever has a message for one
//! sends it here, and the node's core claims the entity. With several nodes it
//! will own the directory and the links. Never sees a command for an entity
//! that runs: those go by the registry.

use actix::{Actor, Context, Handler, Message};

use super::core_thread::{CoreHandle, ToCore};
use crate::base::EntityKey;
use crate::cluster::core::node::Event;
use crate::entity::input::Input;

/// Messages that may wait; a sender beyond it is told `busy`.
const MAILBOX: usize = 16 * 1024;

/// The node's coordinator.
pub struct CoordinatorActor {
    core: CoreHandle,
}

impl CoordinatorActor {
    pub fn new(core: CoreHandle) -> CoordinatorActor {
        CoordinatorActor { core }
    }
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// An input for an entity that may have to be claimed first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Activate {
    pub entity: EntityKey,
    pub input: Input,
}

impl Handler<Activate> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, message: Activate, _: &mut Self::Context) {
        self.core.send(ToCore::Event(Event::Propose(message.entity, message.input)));
    }
}
