//! Owns to which part of this node goes what other nodes send. Never decides;
//! called on the links' thread.

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::host::Serves;
use crate::actors::core_thread::{CoreHandle, ToCore};
use crate::actors::entities::Entities;
use crate::actors::peers::{PeerAnswer, PeerQuestion, ToGateway, ToOwner, ViewMessage};
use crate::base::{Incarnation, NodeId};
use crate::cluster::core::balance::NodeTold;
use crate::cluster::core::message::NodeMessage;
use crate::cluster::core::shadows::{Cast, Caster};
use crate::cluster::core::update::TimestampedUpdate;

/// A node's parts, as links reach them.
pub struct Parts {
    pub core: CoreHandle,
    pub entities: Entities,
}

impl Serves for Parts {
    fn handle_core(
        &self,
        from: (NodeId, Incarnation),
        messages: Vec<NodeMessage>,
        permit: OwnedSemaphorePermit,
    ) {
        self.core.send(ToCore::FromNode { from, messages, permit });
    }

    fn handle_casts(&self, casts: Vec<(Caster, Cast)>, permit: OwnedSemaphorePermit) {
        self.core.send(ToCore::Casts { casts, permit });
    }

    fn handle_to_owner(&self, from: NodeId, message: ToOwner) {
        self.entities.handle_owner(from, message);
    }

    fn handle_to_gateway(&self, from: NodeId, message: ToGateway) {
        self.entities.handle_gateway(from, message);
    }

    fn handle_view(&self, from: NodeId, message: ViewMessage) {
        self.entities.view.handle_peer(from, message);
    }

    fn handle_load(&self, from: (NodeId, Incarnation), update: TimestampedUpdate<NodeTold>) {
        let now = self.entities.time().1;
        self.entities.loads.note(from, update, now);
    }

    fn answer(&self, from: NodeId, question: PeerQuestion) -> BoxFuture<'static, PeerAnswer> {
        Box::pin(self.entities.answer(from, question))
    }

    fn handle_link(&self, node: NodeId, up: bool) {
        self.entities.handle_link(node, up);
        self.entities.view.handle_link(node, up);
    }

    fn handle_dead(&self, node: NodeId) {
        self.entities.handle_dead(node);
    }
}
