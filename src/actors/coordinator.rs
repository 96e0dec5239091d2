//! Owns the way to entities that do not run yet: whoever has a message for one
//! sends it here, and the node's core claims the entity. With several nodes it
//! will own the directory and the links. Never sees a command for an entity
//! that runs: those go by the registry.

use actix::{Actor, Addr, Context, Handler, Message};

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
    /// Starts it; its mailbox has its room from the first message on.
    pub fn open(core: CoreHandle) -> Addr<CoordinatorActor> {
        CoordinatorActor::create(|ctx| {
            ctx.set_mailbox_capacity(MAILBOX);
            CoordinatorActor { core }
        })
    }
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;
}

/// An input for an entity that may have to be claimed first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Activate {
    pub entity: EntityKey,
    pub input: Input,
}

/// An entity that somebody wants to see or command.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake(pub EntityKey);

/// An entity that was parked is to run again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Resume(pub EntityKey);

impl Handler<Resume> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, Resume(entity): Resume, _: &mut Self::Context) {
        self.core.send(ToCore::Event(Event::Resumed(entity)));
    }
}

impl Handler<Wake> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, Wake(entity): Wake, _: &mut Self::Context) {
        self.core.send(ToCore::Event(Event::Wake(entity)));
    }
}

impl Handler<Activate> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, message: Activate, _: &mut Self::Context) {
        self.core.send(ToCore::Event(Event::Propose(message.entity, message.input)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::core_thread;

    #[actix::test]
    async fn takes_a_mailbox_of_messages_before_its_first_turn() {
        let (core, _receiver) = core_thread::queue();
        let coordinator = CoordinatorActor::open(core);
        let message = || Activate { entity: EntityKey::Ledger(0), input: Input::Time };
        for n in 0..MAILBOX {
            assert!(coordinator.try_send(message()).is_ok(), "message {n}");
        }
        let beyond = (0..2).any(|_| coordinator.try_send(message()).is_err());
        assert!(beyond, "the mailbox has a bound");
    }
}
