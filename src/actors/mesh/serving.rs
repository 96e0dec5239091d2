//! Owns to which part of this node goes what other nodes send. Never decides;
//! called on the links' thread.

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::host::Serves;
use crate::actors::core_thread::{CoreHandle, ToCore};
use crate::actors::entities::Entities;
use crate::actors::peers::{PeerAnswer, PeerQuestion, ToGateway, ToOwner, ViewMessage};
use crate::base::{Incarnation, NodeId};
use crate::cluster::core::message::NodeMessage;
use crate::cluster::core::table::Unavailable;

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

    fn handle_to_owner(&self, _: NodeId, _: ToOwner) {}

    fn handle_to_gateway(&self, _: NodeId, _: ToGateway) {}

    fn handle_view(&self, _: NodeId, _: ViewMessage) {}

    fn answer(&self, _: NodeId, question: PeerQuestion) -> BoxFuture<'static, PeerAnswer> {
        let PeerQuestion::Read { .. } = question;
        Box::pin(async { PeerAnswer::Read(Err(Unavailable::Busy)) })
    }

    fn handle_link(&self, _: NodeId, _: bool) {}

    fn handle_dead(&self, _: NodeId) {}
}
