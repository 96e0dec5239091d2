//! Owns whether a node has its store for itself or shares it, and the links of
//! one that does. Never decides anything. Called by whoever starts and stops the
//! node.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Node;
use crate::actors::core_thread::ToCore;
use crate::actors::mesh::{MeshError, NodeMesh, Parts};
use crate::actors::peers::Mesh;
use crate::base::NodeId;
use crate::cluster::certificates::Identity;
use crate::cluster::core::node::Event;
use crate::cluster::links::join::{JoinDesk, Member};
use crate::cluster::links::{self, Formats};
use crate::store::Store;

/// Whether a node has its store for itself.
#[derive(Clone)]
pub enum Seat {
    /// It has; to others, if there are any, it gets by this.
    Own(Arc<dyn Mesh>),
    /// Other nodes have it, too.
    Member(Arc<NodeMesh>),
}

impl Seat {
    pub(super) fn node(&self) -> NodeId {
        match self {
            Seat::Own(mesh) => mesh.me(),
            Seat::Member(mesh) => mesh.me(),
        }
    }

    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Seat::Member(_))
    }

    pub(super) fn mesh(&self) -> Arc<dyn Mesh> {
        match self {
            Seat::Own(mesh) => mesh.clone(),
            Seat::Member(mesh) => mesh.clone(),
        }
    }
}

/// How a node's links are to be, but for what the node itself knows.
pub struct LinkSettings {
    pub identity: Identity,
    pub formats: Formats,
    pub listen: SocketAddr,
    /// Where others dial it.
    pub address: String,
    pub limits: links::Limits,
    /// For the nodes that have none.
    pub store: Option<Arc<dyn Store>>,
}

impl Node {
    /// Listens for the other nodes, and dials those that are known. Returns where
    /// it listens, `None` for a node that is alone.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn open_links(
        &self,
        settings: LinkSettings,
        desk: Option<Arc<dyn JoinDesk>>,
        members: Vec<Member>,
    ) -> Result<Option<SocketAddr>, MeshError> {
        let Seat::Member(mesh) = &self.seat else { return Ok(None) };
        let LinkSettings { identity, formats, listen, address, limits, store } = settings;
        self.entities.about.note_store(store.is_some());
        let settings = links::Settings {
            identity,
            incarnation: self.incarnation,
            formats,
            build: concat!("starmesh ", env!("CARGO_PKG_VERSION")).into(),
            listen,
            address,
            limits,
            store,
        };
        let parts = Parts { core: self.core.clone(), entities: self.entities.clone() };
        mesh.start(settings, desk, Arc::new(parts), members).await.map(Some)
    }

    /// Tells the core which format version the cluster writes, as its row says.
    pub fn format_sink(&self) -> impl Fn(u16) + Send + 'static + use<> {
        let core = self.core.clone();
        move |version| core.send(ToCore::Event(Event::Format(version)))
    }

    /// Tells the other nodes that this one stops, and hears no more of them.
    pub async fn close_links(&self) {
        if let Seat::Member(mesh) = &self.seat {
            mesh.stop().await;
        }
    }

    /// The mesh of a node in a cluster.
    pub fn mesh(&self) -> Option<&Arc<NodeMesh>> {
        match &self.seat {
            Seat::Own(_) => None,
            Seat::Member(mesh) => Some(mesh),
        }
    }
}
