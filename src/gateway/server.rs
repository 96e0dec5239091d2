//! Owns a whole node as a process runs it: store, entities, listener, and the
//! order in which they start and stop. Never decides anything else. Called by
//! `starmesh node`, `starmesh demo` and by tests.
//!
//! Start: place in the cluster, store, node, links, accounts, listener; ready when every entity this node
//! owned runs again, but for those that cannot be loaded. Stop: no new
//! connections and no new commands; what was admitted is made durable and
//! answered; sessions are told and closed; the store is closed. Each step has
//! its time, so that stopping ends also while the store is away; what was not
//! waited for is said, and none of it was acknowledged.

mod cluster;
mod error;
mod ready;
mod serving;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::actors::ending::Ended;
use crate::actors::membership::{self, Membership};
use crate::actors::mesh::NodeMesh;
use crate::actors::node::{Node, NodeSummary, SETTLE_WITHIN, Seat};
use crate::config::Config;
use crate::sim::Rules;
use crate::telemetry::Recorder;
use cluster::{Seated, Stores};
pub use error::ServeError;
use ready::ReadyFile;
use serving::{Served, serve};
use store::Opened;

/// The store is given so long to close: calls that are under way, then what it
/// does itself.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How a node stopped. What was acknowledged is durable in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// All that was admitted is durable, and was answered.
    pub settled: bool,
    /// The data folder is free for whoever opens it next.
    pub closed: bool,
}

/// A node that serves.
pub struct Server {
    stores: Opened,
    node: Node,
    seated: Seated,
    upkeep: [JoinHandle<()>; 3],
    addresses: Vec<SocketAddr>,
    handle: ServerHandle,
    ready_file: Option<PathBuf>,
    rewriting: Option<JoinHandle<()>>,
    secure: bool,
}

impl Server {
    /// Opens the store and starts everything; returns when players may come.
    /// Called inside an actix system.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn start(
        config: &Config,
        rules: Rules,
        recorder: Recorder,
    ) -> Result<Server, ServeError> {
        let folder = config.node.data.clone();
        std::fs::create_dir_all(&folder)
            .map_err(|source| ServeError::Folder { folder: folder.clone(), source })?;
        let membership = Membership::open(config).await?;
        let stores = store::open(config, &membership)?;
        membership::check_store(stores.store.as_ref(), &membership.own())?;
        let seat = Seat::Member(NodeMesh::new(membership.node));
        let mut node = Node::start_at(config, rules, stores.store.clone(), seat, Some(&folder))?;
        let deposed = node.deposed.take();
        let begun = begin(config, &node, membership, &stores, recorder);
        let (deposed, begun) = or_deposed(deposed, begun).await;
        node.deposed = deposed;
        let (seated, (handle, addresses, upkeep)) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                node.close_links().await;
                node.end().await;
                let Opened { store, mesh } = stores;
                drop(mesh);
                close(store, CLOSE_WITHIN).await;
                return Err(error);
            }
        };
        let ready_file = config.node.ready_file.clone();
        let secure = config.http.tls_certificate.is_some();
        let rewriting = None;
        let mut server = Server {
            stores,
            node,
            seated,
            upkeep,
            addresses,
            handle,
            ready_file,
            rewriting,
            secure,
        };
        let ready = match server.wait_until_ready().await {
            Ok(()) => server.say_ready(),
            deposed => deposed,
        };
        match ready {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Where it listens, with the port that a 0 became.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The base URL of the first address.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let address = self.addresses.first().map(ToString::to_string).unwrap_or_default();
        format!("{scheme}://{address}")
    }

    /// What the node counts.
    pub fn summary(&self) -> NodeSummary {
        self.node.summary()
    }

    /// See [`Node::speak_on_abort`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn speak_on_abort(&self) -> std::io::Result<()> {
        self.node.speak_on_abort()
    }

    /// Resolves, once, when the node must end because it owns nothing any more.
    pub fn take_deposed(&mut self) -> Option<oneshot::Receiver<Ended>> {
        self.node.deposed.take()
    }

    /// Stops in order; what was acknowledged is durable whatever happens here.
    pub async fn stop(mut self) -> Stopped {
        self.rewriting.iter().for_each(JoinHandle::abort);
        if let Some(file) = &self.ready_file {
            // It may be gone already; nobody is misled by that.
            let _ = std::fs::remove_file(file);
        }
        self.handle.pause().await;
        let settled = self.node.settle(SETTLE_WITHIN).await;
        self.node.announce_shutdown();
        self.handle.stop(true).await;
        self.upkeep.iter().for_each(JoinHandle::abort);
        self.seated.end();
        self.node.close_links().await;
        self.node.end().await;
        let Opened { store, mesh } = self.stores;
        let is_elsewhere = mesh.is_some();
        drop(mesh);
        // A call to another node's store keeps no folder.
        let closed = close(store, CLOSE_WITHIN).await || is_elsewhere;
        match closed {
            true => tracing::info!("the store is closed"),
            false => tracing::error!(
                "the store is in a call that does not end; its folder is free with this process's end"
            ),
        }
        Stopped { settled, closed }
    }

    /// Writes the ready file, and again with each new join line.
    fn say_ready(&mut self) -> Result<(), ServeError> {
        let Some(file) = self.ready_file.clone() else { return Ok(()) };
        let cluster = self.node.mesh().and_then(|mesh| mesh.address());
        let (http, url) = (self.addresses.clone(), self.url());
        let ready = ReadyFile { file, http, url, cluster };
        let mut line = self.seated.line();
        ready.write(line.borrow_and_update().as_ref())?;
        self.rewriting = Some(actix::spawn(async move {
            while line.changed().await.is_ok() {
                if let Err(error) = ready.write(line.borrow_and_update().as_ref()) {
                    tracing::warn!(%error, "the ready file has an old join line");
                }
            }
        }));
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<(), ServeError> {
        let (status, mesh) = (self.node.status.clone(), self.node.mesh().cloned());
        let ready = async {
            let mut beat = tokio::time::interval(Duration::from_millis(5));
            while !status.ready.load(Ordering::Relaxed) {
                beat.tick().await;
            }
            if let Some(mesh) = &mesh {
                cluster::wait_for_links(mesh).await;
            }
            status.linked.store(true, Ordering::Relaxed);
        };
        let deposed = async {
            match self.node.deposed.as_mut() {
                Some(deposed) => Ended::heard(deposed.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ready => Ok(()),
            why = deposed => Err(why.into()),
        }
    }
}

/// What comes of `begun`, or why the node may not go on meanwhile.
async fn or_deposed<T>(
    deposed: Option<oneshot::Receiver<Ended>>,
    begun: impl Future<Output = Result<T, ServeError>>,
) -> (Option<oneshot::Receiver<Ended>>, Result<T, ServeError>) {
    let Some(mut deposed) = deposed else { return (None, begun.await) };
    let begun = tokio::select! {
        biased;
        why = &mut deposed => return (None, Err(Ended::heard(why).into())),
        begun = begun => begun,
    };
    // What begins ends then in errors of its own, a moment before or after.
    match begun.map_err(|error| deposed.try_recv().map_or(error, ServeError::from)) {
        Ok(begun) => (Some(deposed), Ok(begun)),
        Err(error) => (None, Err(error)),
    }
}

/// The node's links, and then what stands between it and its players.
async fn begin(
    config: &Config,
    node: &Node,
    membership: Membership,
    stores: &Opened,
    recorder: Recorder,
) -> Result<(Seated, Served), ServeError> {
    let served = stores.mesh.is_none().then(|| stores.store.clone());
    let stores = Stores { served, mesh: stores.mesh.clone() };
    let seated = cluster::take_seat(membership, node, stores).await?;
    match serve(config, node, recorder).await {
        Ok(served) => Ok((seated, served)),
        Err(error) => {
            seated.end();
            Err(error)
        }
    }
}

/// Closes what this is the last handle of, or will be when the calls that are
/// under way have ended. Whether it is closed; if not it closes by itself.
async fn close<T: Send + Sync + ?Sized + 'static>(shared: Arc<T>, within: Duration) -> bool {
    let closed = async {
        let mut beat = tokio::time::interval(Duration::from_millis(5));
        // Nobody makes a handle of the last one but who has it.
        while Arc::strong_count(&shared) > 1 {
            beat.tick().await;
        }
        // It may wait for a disk, which this thread must not.
        let (done, closed) = oneshot::channel();
        let closing = std::thread::Builder::new().name("store-close".into());
        let closing = closing.spawn(move || {
            drop(shared);
            // Nobody waits any more when it took too long.
            let _ = done.send(());
        });
        closing.is_ok() && closed.await.is_ok()
    };
    tokio::time::timeout(within, closed).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::ending::Ending;

    /// Only who was overtaken begins anew.
    #[actix::test]
    async fn what_fails_while_the_node_ends_fails_for_that_reason() {
        let overtaken = || Ended::Overtaken("another was first".into());
        for why in [None, Some(overtaken()), Some(Ended::Failed("a panic".into()))] {
            let (ending, heard) = Ending::new();
            let begun = async {
                why.iter().for_each(|why| ending.tell(why.clone()));
                Err::<(), _>(ServeError::NoCluster)
            };
            let (_, begun) = or_deposed(Some(heard), begun).await;
            match (why, begun) {
                (None, Err(ServeError::NoCluster)) => {}
                (Some(Ended::Overtaken(why)), Err(ServeError::Overtaken(said)))
                | (Some(Ended::Failed(why)), Err(ServeError::Failed(said))) => {
                    assert_eq!(why, said);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[actix::test]
    async fn says_closed_only_when_the_last_handle_is_dropped() {
        let store = Arc::new(());
        let call = store.clone();
        assert!(!close(store, Duration::from_millis(50)).await, "a call is under way");
        assert!(close(call, Duration::from_secs(20)).await);
    }
}
