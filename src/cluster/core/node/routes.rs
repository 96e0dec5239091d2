//! Owns where what is for an entity goes when the entity does not run here: by
//! the directory, to the node that it belongs to. Never waits for an answer:
//! whatever goes to another node comes again until it is acknowledged. Called by
//! the [core](super) for its tables' messages and for those of other nodes.
//!
//! Invariants: nothing leaves for another node before the row says the tick at
//! which it came up, so that nobody has seen what a successor would make
//! otherwise; what goes round, because directories differ, does so four times at
//! most.

use super::{NodeCore, NodeEffect};
use crate::base::{EntityKey, Incarnation, Millis, NodeId};
use crate::cluster::core::message::{NodeBody, NodeMessage, ToTable};
use crate::entity::input::Input;

/// How often something is passed on from node to node.
pub(super) const HOPS_MAX: u8 = 4;

/// Where an entity belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Here,
    There(NodeId),
    /// To a node that died, or nobody knows yet.
    Nowhere,
}

impl NodeCore {
    pub(super) fn route(&self, entity: EntityKey) -> Route {
        let Some(cluster) = &self.cluster else { return Route::Here };
        match cluster.directory.node_of(entity) {
            Some(node) if node == self.node => Route::Here,
            Some(node) if cluster.members.is_living(node) => Route::There(node),
            _ => Route::Nowhere,
        }
    }

    /// Whether this node may claim it unasked.
    pub(super) fn is_ours(&self, entity: EntityKey) -> bool {
        self.route(entity) == Route::Here
    }

    /// Whether it runs here and takes what comes.
    pub(super) fn is_open(&self, entity: EntityKey) -> bool {
        self.owned.contains_key(&entity)
            && !self.closing.contains_key(&entity)
            && !self.is_leaving(entity)
    }

    /// Whether it still runs here but takes nothing more, for another node gets it.
    pub(super) fn is_leaving(&self, entity: EntityKey) -> bool {
        let leaving = self.cluster.as_ref().and_then(|cluster| cluster.leaving.get(&entity));
        leaving.is_some_and(|leaving| leaving.accepted.is_some())
    }

    /// What comes for an entity that leaves, and not again, goes after it.
    fn keep_for_taker(&mut self, entity: EntityKey, input: Input) {
        let Some(cluster) = &mut self.cluster else { return };
        let kept = cluster.kept.entry(entity).or_default();
        if kept.len() < self.limits.waiting_per_load {
            kept.push(input);
        } else {
            self.counts.dropped += 1;
        }
    }

    /// An entity runs here no more: what waited for that goes where it is now, and
    /// who wanted to see it is told where that is.
    pub(super) fn send_after(&mut self, entity: EntityKey) {
        let kept = self.cluster.as_mut().and_then(|cluster| cluster.kept.remove(&entity));
        for input in kept.into_iter().flatten() {
            self.pass(NodeBody::Lost { entity, input }, 0);
        }
        if self.sought.remove(&entity) {
            self.handle_wake(entity);
        }
    }

    /// What is for an entity goes to its table, waits until it is loaded here,
    /// or goes to its node. What cannot is dropped: it comes again.
    pub(super) fn pass(&mut self, body: NodeBody, hops: u8) {
        let Some(entity) = body.entity() else { return };
        if self.is_open(entity) {
            return match body {
                NodeBody::Deliver(message) => self.tell(entity, ToTable::Deliver(message)),
                NodeBody::Acknowledge(ack) => self.tell(entity, ToTable::Acknowledge(ack)),
                NodeBody::Lost { entity, input } => {
                    self.tell(entity, ToTable::Propose { entity, input });
                }
                _ => {}
            };
        }
        let body = match body {
            NodeBody::Lost { input, .. } if self.is_leaving(entity) => {
                return self.keep_for_taker(entity, input);
            }
            body => body,
        };
        match (self.route(entity), body) {
            (Route::There(node), body) if hops < HOPS_MAX && !self.owned.contains_key(&entity) => {
                self.send_node(node, NodeMessage { hops: hops + 1, body });
            }
            (Route::Here, NodeBody::Deliver(message)) => {
                self.send_to(entity, ToTable::Deliver(message));
            }
            (Route::Here, NodeBody::Lost { entity, input }) => {
                self.send_to(entity, ToTable::Propose { entity, input });
            }
            // A sender that does not run asks again when it does.
            (Route::Here, NodeBody::Acknowledge(_)) => {}
            _ => self.counts.dropped += 1,
        }
    }

    /// To another node's core, when the row says the tick that is now.
    pub(super) fn send_node(&mut self, node: NodeId, message: NodeMessage) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.outgoing.is_empty() && self.durable >= self.tick {
            self.effects.push(NodeEffect::ToNode(node, message));
        } else if cluster.outgoing.len() < self.limits.waiting_for_nodes {
            cluster.outgoing.push_back((self.tick, node, message));
            self.wanted = self.wanted.max(self.tick);
        } else {
            self.counts.dropped += 1;
        }
    }

    /// The row says more: what waited for it leaves.
    pub(super) fn send_waiting(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        while let Some((tick, ..)) = cluster.outgoing.front()
            && *tick <= self.durable
            && let Some((_, node, message)) = cluster.outgoing.pop_front()
        {
            self.effects.push(NodeEffect::ToNode(node, message));
        }
    }

    /// From another node's core. What one says that was declared dead is not
    /// heeded: its entities may run elsewhere already.
    pub(super) fn handle_from_node(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        message: NodeMessage,
        now: Millis,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.members.may_speak(node, incarnation) {
            self.counts.unheeded += 1;
            return;
        }
        let NodeMessage { hops, body } = message;
        match body {
            NodeBody::Deliver(_) | NodeBody::Acknowledge(_) | NodeBody::Lost { .. } => {
                self.pass(body, hops);
            }
            NodeBody::Signed(head) => self.handle_told_head(node, head),
            NodeBody::Offer { entity, version } => self.handle_offer(entity, version, node, now),
            NodeBody::Accept { entity, version } => {
                self.handle_accept(entity, version, node, now);
            }
            NodeBody::Reclaim { entity, version } => self.handle_reclaim(entity, version),
            NodeBody::Claim { entity, sequence } => {
                self.handle_claim(entity, sequence, node, now);
            }
            NodeBody::Claimed { entity, sequence } => {
                if cluster.handed.get(&entity).is_some_and(|it| it.sequence == sequence) {
                    cluster.handed.remove(&entity);
                }
            }
        }
    }
}
