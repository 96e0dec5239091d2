//! Data folders of nodes, first nodes that let newcomers in over a store in
//! memory, and newcomers' requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use starmesh::actors::membership::{Membership, MembershipError, StoreDesk, check_store, register};
use starmesh::actors::rows::Rows;
use starmesh::base::Millis;
use starmesh::cluster::certificates::identity::NodeKey;
use starmesh::cluster::certificates::{JoinLine, JoinSecret};
use starmesh::cluster::links::Settings;
use starmesh::cluster::links::join::{Grant, JoinDesk, JoinRefusal, JoinRequest};
use starmesh::config::Config;
use starmesh::store::memory::Memory;
use tempfile::TempDir;

use super::links_support::{FORMATS, TestNode, limits, name, settings};

/// An URL that nothing here opens.
pub const STORE_URL: &str = "postgres://nobody:x@127.0.0.1:1/none?sslmode=disable";
pub const FROM: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

/// A data folder, and what a node in it is told.
pub struct Folder {
    dir: TempDir,
    pub name: String,
    pub join: String,
    pub store_url: String,
    pub more: String,
}

impl Folder {
    pub fn new(name: &str) -> Folder {
        let dir = tempfile::tempdir().expect("a folder");
        let [join, store_url, more] = [const { String::new() }; 3];
        Folder { dir, name: name.into(), join, store_url, more }
    }

    pub fn joining(name: &str, line: &JoinLine) -> Folder {
        Folder { join: line.to_string(), ..Folder::new(name) }
    }

    pub fn data(&self) -> &Path {
        self.dir.path()
    }

    /// A file of `cluster/`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data().join("cluster").join(name)
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).expect("a text")
    }

    /// All files of the folder, by their paths in it.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [self.data().to_owned(), self.data().join("cluster")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    let path = path.strip_prefix(self.data()).expect("it is in it");
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    pub fn config(&self) -> Config {
        let Folder { name, join, store_url, more, .. } = self;
        let data = self.data().display();
        Config::with(&format!(
            "[node]\nname = '{name}'\ndata = '{data}'\n[store]\nurl = '{store_url}'\n\
             [cluster]\nlisten = '127.0.0.1:0'\njoin = '{join}'\n{more}\n"
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn open(&self) -> Result<Membership, MembershipError> {
        Membership::open_with(&self.config(), &limits()).await
    }

    pub async fn opened(&self) -> Membership {
        self.open().await.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A first node that lets newcomers in.
pub struct First {
    pub folder: Folder,
    pub membership: Membership,
    pub store: Arc<Memory>,
    pub rows: Rows,
    pub desk: Arc<StoreDesk>,
    pub node: TestNode,
}

impl First {
    pub async fn start() -> First {
        First::start_in(Folder::new("a")).await
    }

    pub async fn start_in(folder: Folder) -> First {
        let store = Arc::new(Memory::new());
        store.set_time(Millis(1_000_000));
        let rows = Rows::direct(store.clone());
        let mut membership = folder.opened().await;
        check_store(store.as_ref(), &membership.own()).expect("it is its store");
        register(&rows, &membership.own()).await.expect("it registers");
        let desk = membership.desk(rows.clone()).expect("an authority");
        let settings =
            Settings { listen: membership.listen, ..settings(membership.identity.clone()) };
        let node = TestNode::with_desk(settings, Some(desk.clone()));
        First { folder, membership, store, rows, desk, node }
    }

    pub async fn line(&self) -> JoinLine {
        self.desk.offer().await.expect("a token")
    }

    /// A newcomer joins.
    pub async fn joined(&self, name: &str) -> (Folder, Membership) {
        let folder = Folder::joining(name, &self.line().await);
        let membership = folder.opened().await;
        (folder, membership)
    }
}

pub fn request(secret: &JoinSecret, key: &NodeKey, called: &str) -> JoinRequest {
    JoinRequest {
        secret: secret.clone(),
        key: key.request().expect("a request"),
        name: name(called),
        address: ":7001".into(),
        formats: FORMATS,
        build: "test".into(),
        has_store_url: false,
    }
}

/// Asks until it is decided, as a newcomer may: a busy machine's store may not
/// answer in time.
pub async fn redeem(desk: &StoreDesk, request: &JoinRequest) -> Result<Grant, JoinRefusal> {
    loop {
        match desk.redeem(request.clone(), FROM).await {
            Err(JoinRefusal::Unavailable(_)) => tokio::task::yield_now().await,
            decided => return decided,
        }
    }
}
