//! Owns the desk of a node that has the authority's key: it gives out tokens and
//! lets newcomers in. All that it knows is rows in the store, changed by groups
//! that check what was read, so that several desks on one store give no number
//! and no name twice. Called by the links, and by whoever prints a join line.
//! Invariant: a token makes one key a node, in one group; who asks again with
//! both is granted the same node again.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::register::{last_node, members};
use super::{Membership, formats};
use crate::actors::rows::{GroupAnswer, Rows, StoreAway};
use crate::base::{Millis, NodeId};
use crate::cluster::certificates::{
    Authority, CertificateError, Fingerprint, Identity, JoinLine, JoinSecret, Name, Request,
    Subject, Validity,
};
use crate::cluster::links::join::{Grant, JoinDesk, JoinRefusal, JoinRequest, StoreAt};
use crate::cluster::secret::{self, BYTES};
use crate::entity::commit::{Check, Expect, Group, Put};
use crate::entity::format::{Format, Formats};
use crate::entity::keys;
use crate::entity::member::{self, LastNode, MemberRow, TokenRow, TokenUse};
use crate::store::Versioned;

/// Tries of an admission that another one overtook.
const TRIES: usize = 64;
/// Bytes of an address at most: a host's name and a port.
const ADDRESS_MAX: usize = 255 + 6;
/// Numbers end here; the last one is no node's.
const NODE_MAX: u32 = u32::MAX - 1;
/// Old tokens that are looked at when a new one is given out.
const SWEEP_MAX: usize = 256;

/// Why there is no new token.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    #[error(transparent)]
    Secret(#[from] CertificateError),
    #[error(transparent)]
    Store(#[from] StoreAway),
    #[error("the store has this token already")]
    Taken,
}

/// Where newcomers are let in.
pub struct StoreDesk {
    rows: Rows,
    identity: Identity,
    authority: Authority,
    cluster_secret: [u8; BYTES],
    /// Where newcomers dial this node.
    address: String,
    store: StoreAt,
    /// What this node reads.
    reads: Formats,
    /// Counts tokens that were used up here.
    redeemed: watch::Sender<u64>,
}

/// Whom a request makes a node.
struct Admitted {
    node: NodeId,
    name: Name,
    is_new: bool,
}

impl StoreDesk {
    /// How long a token can be used.
    pub const TOKEN_VALID: Duration = Duration::from_hours(24);
    /// So long it is kept after that, so that whoever shows it hears why it is
    /// refused.
    const TOKEN_KEPT: Duration = Duration::from_hours(7 * 24);

    pub(super) fn new(membership: &Membership, authority: Authority, rows: Rows) -> StoreDesk {
        StoreDesk {
            rows,
            identity: membership.identity.clone(),
            authority,
            cluster_secret: membership.secret,
            address: membership.address.clone(),
            store: membership.store_at,
            reads: membership.reads,
            redeemed: watch::channel(0).0,
        }
    }

    /// A line with a new token, with which one newcomer can join here.
    ///
    /// # Errors
    /// When the store is away. At worst there is a token that nobody knows.
    pub async fn offer(&self) -> Result<JoinLine, OfferError> {
        let secret = JoinSecret::random()?;
        let issued = self.rows.time().await?;
        self.sweep(issued).await;
        let key = keys::join_token(&secret.digest());
        let token = TokenRow { issued, used: None };
        let group = Group {
            checks: vec![Check { key: key.clone(), expect: Expect::Absent }],
            puts: vec![Put { key, value: Some(token.to_bytes()) }],
            append: None,
        };
        match self.rows.commit_group(group).await? {
            GroupAnswer::Accepted { .. } => {
                let (address, authority) = (self.address.clone(), self.authority.fingerprint());
                Ok(JoinLine { address, authority, secret })
            }
            GroupAnswer::Refused => Err(OfferError::Taken),
        }
    }

    /// Changes whenever a token was used up here.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.redeemed.subscribe()
    }

    /// Removes tokens that expired unused long ago. Those that were used stay:
    /// their nodes may ask again.
    async fn sweep(&self, now: Millis) {
        let Ok(rows) = self.rows.scan(keys::JOIN_TOKEN.to_vec(), None, SWEEP_MAX).await else {
            return;
        };
        let limit = Self::TOKEN_VALID + Self::TOKEN_KEPT;
        let is_old = |(_, row): &(Vec<u8>, Versioned)| {
            TokenRow::from_bytes(&row.value)
                .is_ok_and(|token| token.used.is_none() && age(&token, now) > limit)
        };
        let (checks, puts): (Vec<Check>, Vec<Put>) = rows
            .into_iter()
            .filter(is_old)
            .map(|(key, row)| {
                let check = Check { key: key.clone(), expect: Expect::Version(row.version) };
                (check, Put { key, value: None })
            })
            .unzip();
        if !puts.is_empty() {
            // What stays now goes with the next.
            let _ = self.rows.commit_group(Group { checks, puts, append: None }).await;
        }
    }

    async fn decide(&self, request: JoinRequest, from: SocketAddr) -> Result<Grant, JoinRefusal> {
        let unsound = |why: String| JoinRefusal::Request(why);
        let key = Request::from_der(&request.key).map_err(|error| unsound(error.to_string()))?;
        let address = request.address_from(from);
        if !is_address(&address) {
            return Err(unsound(format!("{address:?} is no address to dial")));
        }
        let mut admitted = None;
        for _ in 0..TRIES {
            admitted = self.admit(&request, &key, &address).await?;
            if admitted.is_some() {
                break;
            }
        }
        let busy = || JoinRefusal::Unavailable("too many nodes join at once".into());
        let admitted = admitted.ok_or_else(busy)?;
        if admitted.is_new {
            self.redeemed.send_modify(|count| *count += 1);
        }
        self.grant(&key, admitted).await
    }

    /// One try: none when another admission came first.
    async fn admit(
        &self,
        request: &JoinRequest,
        key: &Request,
        address: &str,
    ) -> Result<Option<Admitted>, JoinRefusal> {
        let digest = request.secret.digest();
        let row = self.rows.get(keys::join_token(&digest)).await.map_err(unavailable)?;
        let row = row.ok_or(JoinRefusal::UnknownToken)?;
        let token = TokenRow::from_bytes(&row.value).map_err(unavailable)?;
        let key = Fingerprint::of(key.key_bytes()).0;
        if let Some(used) = &token.used {
            if used.key != key {
                return Err(JoinRefusal::UsedToken);
            }
            self.check_fit(request)?;
            return self.admitted_before(used.node).await.map(Some);
        }
        if age(&token, self.rows.time().await.map_err(unavailable)?) > Self::TOKEN_VALID {
            return Err(JoinRefusal::ExpiredToken);
        }
        self.check_fit(request)?;
        let format = self.format(request).await?;
        let last = self.free_number(&request.name).await?;
        let node = NodeId(last.node.0 + 1);
        let used = TokenRow { used: Some(TokenUse { key, node }), ..token };
        let (name, cluster) = (request.name.to_string(), secret::digest(&self.cluster_secret));
        let member = MemberRow { name, address: address.to_owned(), cluster };
        let group = member::admission(
            (last, format),
            (&member, request.formats),
            &digest,
            (&used, row.version),
        );
        match self.rows.commit_group(group).await.map_err(unavailable)? {
            GroupAnswer::Accepted { .. } => {
                Ok(Some(Admitted { node, name: request.name.clone(), is_new: true }))
            }
            GroupAnswer::Refused => Ok(None),
        }
    }

    /// Whether newcomer and cluster can talk, and share the store.
    fn check_fit(&self, request: &JoinRequest) -> Result<(), JoinRefusal> {
        if request.formats.common(self.reads).is_none() {
            return Err(JoinRefusal::Formats { theirs: request.formats, ours: self.reads });
        }
        self.store.judge(request.has_store_url)
    }

    /// What the cluster writes, which the newcomer must read.
    async fn format(&self, request: &JoinRequest) -> Result<Format, JoinRefusal> {
        let format = formats::read(&self.rows, self.reads).await.map_err(unavailable)?;
        if request.formats.reads(format.number) {
            return Ok(format);
        }
        let ours = Formats { lowest: format.number, highest: format.number };
        Err(JoinRefusal::Formats { theirs: request.formats, ours })
    }

    /// The highest number given, after which there is one more, if nobody has
    /// this name.
    async fn free_number(&self, name: &Name) -> Result<LastNode, JoinRefusal> {
        let named = self.rows.get(keys::member_name(name.as_str())).await.map_err(unavailable)?;
        if named.is_some() {
            return Err(JoinRefusal::NameTaken(name.clone()));
        }
        let own = self.identity.subject().node;
        let last = last_node(&self.rows, own).await.map_err(unavailable)?;
        if last.node.0 >= NODE_MAX {
            return Err(JoinRefusal::Unavailable("all numbers were given".into()));
        }
        Ok(last)
    }

    /// It asked before and did not hear the answer. It is whom it was made then,
    /// whatever it calls itself now.
    async fn admitted_before(&self, node: NodeId) -> Result<Admitted, JoinRefusal> {
        let row = self.rows.get(keys::member(node)).await.map_err(unavailable)?;
        let row = row.ok_or_else(|| unavailable(format!("node {node} has no row")))?;
        let row = MemberRow::from_bytes(&row.value).map_err(unavailable)?;
        let name = row.name.parse().map_err(unavailable)?;
        Ok(Admitted { node, name, is_new: false })
    }

    async fn grant(&self, key: &Request, admitted: Admitted) -> Result<Grant, JoinRefusal> {
        let Admitted { node, name, .. } = admitted;
        let cluster = self.identity.subject().cluster.clone();
        let mut members = members(&self.rows).await.map_err(unavailable)?;
        members.retain(|member| member.node != node);
        let subject = Subject { cluster: cluster.clone(), node, name };
        let validity = Validity::of_node(SystemTime::now());
        let signed = self.authority.sign(key, &subject, validity).map_err(unavailable)?;
        let authorities = self.identity.authorities().iter().map(|one| one.to_vec()).collect();
        Ok(Grant {
            node,
            chain: vec![signed.to_vec()],
            authorities,
            cluster,
            cluster_secret: self.cluster_secret.to_vec(),
            members,
            store: self.store,
        })
    }
}

impl JoinDesk for StoreDesk {
    fn redeem(
        &self,
        request: JoinRequest,
        from: SocketAddr,
    ) -> BoxFuture<'_, Result<Grant, JoinRefusal>> {
        Box::pin(self.decide(request, from))
    }
}

/// Whatever it is, asking again is safe.
fn unavailable(error: impl ToString) -> JoinRefusal {
    JoinRefusal::Unavailable(error.to_string())
}

fn age(token: &TokenRow, now: Millis) -> Duration {
    Duration::from_millis(now.0.saturating_sub(token.issued.0))
}

/// `HOST:PORT`, as others are to dial it.
fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    let sound = |(host, port): (&str, &str)| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
        !host.is_empty() && host.bytes().all(legal) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    text.len() <= ADDRESS_MAX && parts.is_some_and(sound)
}
