//! Owns who may join: the trait behind which the cluster decides, and a desk
//! that keeps its tokens in memory, for tests of the links. A node's own is
//! `actors::membership`'s.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use futures_util::future::BoxFuture;

use super::{Grant, JoinRefusal, JoinRequest, Member, StoreAt};
use crate::base::NodeId;
use crate::cluster::certificates::{
    Authority, CertificateError, JoinSecret, Name, Request, Subject, Validity,
};
use crate::cluster::links::hello::Formats;

/// Where a newcomer's secret is redeemed.
pub trait JoinDesk: Send + Sync + 'static {
    /// What this newcomer gets. A secret serves one key: asked again with the
    /// same secret and key, as after an answer that got lost, the desk grants
    /// the same node again.
    fn redeem(
        &self,
        request: JoinRequest,
        from: SocketAddr,
    ) -> BoxFuture<'_, Result<Grant, JoinRefusal>>;
}

/// Where the store is, as far as this desk is concerned.
const STORE: StoreAt = StoreAt::Node(NodeId(1));

/// A desk that keeps all in memory.
pub struct MemoryDesk {
    authority: Authority,
    cluster: Name,
    cluster_secret: Vec<u8>,
    formats: Formats,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the digests of their secrets: the key and node that used it.
    tokens: BTreeMap<[u8; 32], Option<(Vec<u8>, NodeId)>>,
    members: Vec<Member>,
}

impl MemoryDesk {
    pub fn new(
        authority: Authority,
        cluster: Name,
        cluster_secret: Vec<u8>,
        formats: Formats,
    ) -> MemoryDesk {
        MemoryDesk { authority, cluster, cluster_secret, formats, state: Mutex::default() }
    }

    /// A new token.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub fn offer(&self) -> Result<JoinSecret, CertificateError> {
        let secret = JoinSecret::random()?;
        self.with(|state| state.tokens.insert(secret.digest(), None));
        Ok(secret)
    }

    /// Whom newcomers are to dial.
    pub fn add_member(&self, member: Member) {
        self.with(|state| state.members.push(member));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn decide(&self, request: &JoinRequest, from: SocketAddr) -> Result<Grant, JoinRefusal> {
        let key = Request::from_der(&request.key)
            .map_err(|error| JoinRefusal::Request(error.to_string()))?;
        let (node, members) = self.with(|state| state.take(request, &key, from, self.formats))?;
        let subject = Subject { cluster: self.cluster.clone(), node, name: request.name.clone() };
        let chain = self
            .authority
            .sign(&key, &subject, Validity::of_node(SystemTime::now()))
            .map_err(|error| JoinRefusal::Unavailable(error.to_string()))?;
        Ok(Grant {
            node,
            chain: vec![chain.to_vec()],
            authorities: vec![self.authority.certificate().to_vec()],
            cluster: self.cluster.clone(),
            cluster_secret: self.cluster_secret.clone(),
            members,
            store: STORE,
        })
    }
}

impl State {
    /// Uses up the token: the node's id, and whom it is to dial.
    fn take(
        &mut self,
        request: &JoinRequest,
        key: &Request,
        from: SocketAddr,
        ours: Formats,
    ) -> Result<(NodeId, Vec<Member>), JoinRefusal> {
        let token = self.tokens.get_mut(&request.secret.digest());
        let token = token.ok_or(JoinRefusal::UnknownToken)?;
        if let Some((user, node)) = token {
            let others = |member: &&Member| member.node != *node;
            return match user.as_slice() == key.key_bytes() {
                true => Ok((*node, self.members.iter().filter(others).cloned().collect())),
                false => Err(JoinRefusal::UsedToken),
            };
        }
        if request.formats.common(ours).is_none() {
            return Err(JoinRefusal::Formats { theirs: request.formats, ours });
        }
        STORE.judge(request.has_store_url)?;
        if self.members.iter().any(|member| member.name == request.name) {
            return Err(JoinRefusal::NameTaken(request.name.clone()));
        }
        let last = self.members.iter().map(|member| member.node.0).max().unwrap_or(0);
        let node = NodeId(last + 1);
        *token = Some((key.key_bytes().to_vec(), node));
        let members = self.members.clone();
        let (name, address) = (request.name.clone(), request.address_from(from));
        self.members.push(Member { node, name, address });
        Ok((node, members))
    }
}

impl JoinDesk for MemoryDesk {
    fn redeem(
        &self,
        request: JoinRequest,
        from: SocketAddr,
    ) -> BoxFuture<'_, Result<Grant, JoinRefusal>> {
        Box::pin(async move { self.decide(&request, from) })
    }
}

impl JoinRequest {
    /// Where others are to dial the newcomer that came from `from`.
    pub fn address_from(&self, from: SocketAddr) -> String {
        match self.address.strip_prefix(':').map(str::parse) {
            Some(Ok(port)) => SocketAddr::new(from.ip().to_canonical(), port).to_string(),
            _ => self.address.clone(),
        }
    }
}
