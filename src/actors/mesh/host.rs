//! Owns what becomes of what other nodes send: each message goes to the part of
//! this node that it is for. Never decides; a peer that sends what is no message
//! loses its link. Called on the links' thread.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{NodeMesh, count, wire};
use crate::actors::peers::{
    PeerAnswer, PeerMessage, PeerQuestion, ToGateway, ToOwner, ViewMessage,
};
use crate::base::{Incarnation, NodeId};
use crate::cluster::core::balance::NodeTold;
use crate::cluster::core::message::NodeMessage;
use crate::cluster::core::roles::Role;
use crate::cluster::core::shadows::{Cast, Caster, datagram};
use crate::cluster::core::update::TimestampedUpdate;
use crate::cluster::links::{Arrival, Class, End, Hello, Host, Link, Question, Reason};

/// Batches of messages for the core that it has not taken yet, of all peers
/// together. When there are as many, links are not read on; as many batches of
/// shadows, beyond which they are lost.
const BATCHES_MAX: usize = 64;

/// What takes what comes. None of it may wait.
pub trait Serves: Send + Sync + 'static {
    /// For the core; the permit is to be dropped when it has them.
    fn handle_core(
        &self,
        from: (NodeId, Incarnation),
        messages: Vec<NodeMessage>,
        permit: OwnedSemaphorePermit,
    );

    /// For the core, too.
    fn handle_casts(&self, casts: Vec<(Caster, Cast)>, permit: OwnedSemaphorePermit);

    fn handle_to_owner(&self, from: NodeId, message: ToOwner);

    fn handle_to_gateway(&self, from: NodeId, message: ToGateway);

    fn handle_view(&self, from: NodeId, message: ViewMessage);

    /// What an incarnation of a node says of its load.
    fn handle_load(&self, from: (NodeId, Incarnation), update: TimestampedUpdate<NodeTold>);

    fn answer(&self, from: NodeId, question: PeerQuestion) -> BoxFuture<'static, PeerAnswer>;

    /// A link came up, or went down.
    fn handle_link(&self, node: NodeId, up: bool);

    /// An incarnation of this node ended: what it had is lost with it.
    fn handle_dead(&self, node: NodeId);
}

/// What serves the links.
pub struct Inbound {
    mesh: Arc<NodeMesh>,
    serves: Arc<dyn Serves>,
    room: Arc<Semaphore>,
    shadow_room: Arc<Semaphore>,
}

impl Inbound {
    pub fn new(mesh: Arc<NodeMesh>, serves: Arc<dyn Serves>) -> Inbound {
        let room = || Arc::new(Semaphore::new(BATCHES_MAX));
        Inbound { mesh, serves, room: room(), shadow_room: room() }
    }

    async fn take(&self, link: &Link, arrivals: Vec<Arrival>) -> Result<(), wire::Unreadable> {
        let from = link.node();
        let mut core = Vec::new();
        for arrival in arrivals {
            match arrival {
                Arrival::Message(bytes) => match wire::decode(&bytes)? {
                    PeerMessage::Core(message) => core.push(message),
                    PeerMessage::ToOwner(message) => self.serves.handle_to_owner(from, message),
                    PeerMessage::ToGateway(message) => {
                        self.serves.handle_to_gateway(from, message);
                    }
                    PeerMessage::View(message) => self.serves.handle_view(from, message),
                    PeerMessage::Load(update) => {
                        self.serves.handle_load((from, link.incarnation()), *update);
                    }
                },
                Arrival::Ask(question) => self.answer(from, question)?,
            }
        }
        // It is never closed.
        if !core.is_empty()
            && let Ok(permit) = self.room.clone().acquire_owned().await
        {
            self.serves.handle_core((from, link.incarnation()), core, permit);
        }
        Ok(())
    }

    /// Whether what a node sent may be another's: a coordinator hands on.
    fn may_say(&self, node: NodeId, caster: NodeId) -> bool {
        node == caster || self.mesh.map().has(node, Role::Coordinator)
    }

    /// Answers when the answer is there; the link bounds how many are open.
    fn answer(&self, from: NodeId, question: Question) -> Result<(), wire::Unreadable> {
        let answer = self.serves.answer(from, wire::decode_question(&question.body)?);
        tokio::spawn(async move {
            let answer = wire::encode_answer(&answer.await);
            if let Err(fault) = question.answer(answer).await {
                tracing::debug!(node = %from, %fault, "an answer was not taken");
            }
        });
        Ok(())
    }
}

impl Host for Inbound {
    fn admit(&self, peer: &Hello) -> Result<(), End> {
        self.mesh.admit(peer)
    }

    fn handle_up(&self, link: &Link) {
        self.mesh.note_up(link);
        self.serves.handle_link(link.node(), true);
        // It may have been declared dead since it was admitted.
        if let Err(dead) = self.mesh.admit(link.hello()) {
            link.close(dead);
        }
    }

    fn handle_arrivals<'a>(
        &'a self,
        link: &'a Link,
        _: Class,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(unreadable) = self.take(link, arrivals).await {
                let detail = format!("a message that cannot be read: {unreadable}");
                tracing::error!(node = %link.node(), detail);
                link.close(End::us(Reason::Malformed, detail));
            }
        })
    }

    /// Shadows, each datagram for itself; what views say goes on a stream. Those that
    /// the core has no room for are lost, as on a bad link. One that cannot be read
    /// ends no link: a coordinator may only have handed it on.
    fn handle_datagrams(&self, link: &Link, datagrams: Vec<Bytes>) {
        let mut casts: Vec<(Caster, Cast)> = Vec::new();
        for bytes in datagrams {
            match datagram::read(&bytes) {
                Ok(read) if !self.may_say(link.node(), read.caster.node) => {
                    count("unreadable");
                    tracing::debug!(node = %link.node(), caster = %read.caster.node, "not its own");
                }
                Ok(read) if read.to == self.mesh.me => casts.push((read.caster, read.cast)),
                Ok(read) => {
                    count(if self.mesh.hand_on(read.to, bytes) { "handed_on" } else { "no_way" });
                }
                Err(unreadable) => {
                    count("unreadable");
                    tracing::debug!(node = %link.node(), %unreadable, "no datagram of shadows");
                }
            }
        }
        match self.shadow_room.clone().try_acquire_owned() {
            _ if casts.is_empty() => {}
            Ok(permit) => self.serves.handle_casts(casts, permit),
            Err(_) => casts.iter().for_each(|_| count("full")),
        }
    }

    fn handle_down(&self, link: &Link, _: &End) {
        self.mesh.note_down(link);
        self.serves.handle_link(link.node(), false);
    }
}
