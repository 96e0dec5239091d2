//! Owns what ties a running node to its cluster: its row among the members, its
//! links, the join line that it prints, and whom it dials. Never decides who may
//! join (the desk does) or who lives (the core does). Made after the node
//! started; its task ends with it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::ServeError;
use crate::actors::membership::formats::Raising;
use crate::actors::membership::{
    self, MembersFile, Membership, OwnMember, RegisterError, StoreDesk,
};
use crate::actors::mesh::NodeMesh;
use crate::actors::node::{LinkSettings, Node, StartError};
use crate::actors::rows::{Rows, StoreAway};
use crate::base::NodeId;
use crate::cluster::certificates::{JoinLine, Signer};
use crate::cluster::links;
use crate::cluster::links::join::{JoinDesk, Member};
use crate::cluster::links::store_calls::MeshStore;
use crate::store::Store;

/// The members' rows are read so often.
const READ_EVERY: Duration = Duration::from_secs(1);
/// A node that starts waits so long for its links before it says that it takes
/// players: without them it would tell many that it is busy. Who lives by his row
/// only is not waited for any longer.
const LINKED_WITHIN: Duration = Duration::from_secs(2);
/// A row that could not be put is put again after so long.
const AGAIN: Duration = Duration::from_millis(100);

/// A node's part in its cluster.
pub struct Seated {
    task: tokio::task::JoinHandle<()>,
    line: watch::Receiver<Option<JoinLine>>,
}

impl Seated {
    /// The join line for the next node, where there is a desk.
    pub fn line(&self) -> watch::Receiver<Option<JoinLine>> {
        self.line.clone()
    }

    pub fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Seated {
    /// A start that is given up half-way leaves nothing behind that goes on.
    fn drop(&mut self) {
        self.end();
    }
}

/// Whose store is where.
pub struct Stores {
    /// Of this node, for those that have none.
    pub served: Option<Arc<dyn Store>>,
    /// Of another node.
    pub mesh: Option<Arc<MeshStore>>,
}

/// Registers the node, opens its links and its desk, and keeps both.
///
/// # Errors
/// When the node has no place in the cluster, or cannot listen.
pub async fn take_seat(
    mut membership: Membership,
    node: &Node,
    stores: Stores,
) -> Result<Seated, ServeError> {
    put_row(&node.rows, &membership.own()).await?;
    node.sign_with(Signer::of(&membership.identity)?).map_err(StartError::Threads)?;
    let desk = membership.desk(node.rows.clone());
    let settings = LinkSettings {
        identity: membership.identity.clone(),
        formats: membership.reads,
        listen: membership.listen,
        address: membership.address.clone(),
        limits: links::Limits::default(),
        store: stores.served,
    };
    let members = std::mem::take(&mut membership.members);
    let at_door = desk.clone().map(|desk| desk as Arc<dyn JoinDesk>);
    node.open_links(settings, at_door, members.clone()).await?;
    let Some(mesh) = node.mesh().cloned() else { return Err(ServeError::NoCluster) };
    let (told, line) = watch::channel(None);
    let upkeep = Upkeep {
        me: membership.node,
        mesh,
        rows: node.rows.clone(),
        store: stores.mesh,
        memory: membership.memory.clone(),
        known: members,
        told,
        raising: Raising::new(membership.reads, node.format_sink()),
    };
    if let Some(desk) = &desk {
        upkeep.offer(desk).await;
    }
    let task = actix::spawn(upkeep.run(desk));
    Ok(Seated { task, line })
}

/// Waits until there is a link to every node that lives, for a while.
pub async fn wait_for_links(mesh: &NodeMesh) {
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    let linked = async {
        while !mesh.is_linked() {
            beat.tick().await;
        }
    };
    if tokio::time::timeout(LINKED_WITHIN, linked).await.is_err() {
        tracing::warn!("taking players without a link to every node that lives");
    }
}

/// Puts the node's row, when the store takes it.
async fn put_row(rows: &Rows, own: &OwnMember) -> Result<(), RegisterError> {
    loop {
        match membership::register(rows, own).await {
            Err(RegisterError::Store(StoreAway::Unchanged(_) | StoreAway::Unknown)) => {
                tokio::time::sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

struct Upkeep {
    me: NodeId,
    mesh: Arc<NodeMesh>,
    rows: Rows,
    store: Option<Arc<MeshStore>>,
    memory: MembersFile,
    known: Vec<Member>,
    told: watch::Sender<Option<JoinLine>>,
    raising: Raising,
}

impl Upkeep {
    async fn run(mut self, desk: Option<Arc<StoreDesk>>) {
        let mut used = desk.as_ref().map(|desk| desk.subscribe());
        let mut beat = tokio::time::interval(READ_EVERY);
        let mut offered = self.told.borrow().is_some().then(Instant::now);
        loop {
            let used_up = async {
                match used.as_mut() {
                    Some(used) => used.changed().await.is_ok(),
                    None => std::future::pending().await,
                }
            };
            let is_used = tokio::select! {
                is_used = used_up => is_used,
                _ = beat.tick() => false,
            };
            self.read_members().await;
            self.raising.turn(&self.rows).await;
            if let Some(desk) = &desk
                && (is_used || offered.is_none_or(|at| at.elapsed() >= StoreDesk::TOKEN_VALID))
            {
                // One that failed is tried again with the next beat.
                offered = self.offer(desk).await.then(Instant::now);
            }
        }
    }

    /// Who is new is dialled, and remembered for the next start.
    async fn read_members(&mut self) {
        let Ok(mut members) = membership::members(&self.rows).await else {
            // Nobody is new, but the store's node may be elsewhere.
            return self.follow_host();
        };
        members.retain(|member| member.node != self.me);
        if members == self.known {
            return;
        }
        self.mesh.set_members(&members);
        if let (Some(store), Some(host)) = (&self.store, self.host(&members)) {
            store.set_address(host);
        }
        let (memory, remembered) = (self.memory.clone(), members.clone());
        let written = tokio::task::spawn_blocking(move || memory.remember(&remembered)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the members are not remembered");
        }
        self.known = members;
    }

    /// The node that has the store reads whom to dial from it, and says where it is
    /// now; its own row says so only to those that read the store.
    fn follow_host(&self) {
        let Some(store) = &self.store else { return };
        if let Some(address) = self.mesh.said_address(store.node()) {
            store.set_address(address);
        }
    }

    /// Where the node is that has the store.
    fn host(&self, members: &[Member]) -> Option<String> {
        let host = self.store.as_ref()?.node();
        members.iter().find(|member| member.node == host).map(|member| member.address.clone())
    }

    /// Prints a line with which one more node can join; whether there is one.
    async fn offer(&self, desk: &StoreDesk) -> bool {
        match desk.offer().await {
            Ok(line) => {
                let mut out = std::io::stdout().lock();
                // Nobody reads it: it is in the ready file, too.
                let _ = writeln!(out, "one more node joins with: --join {line}");
                self.told.send_replace(Some(line));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no join line; it is tried again");
                false
            }
        }
    }
}
