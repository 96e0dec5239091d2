//! Owns the store on a PostgreSQL server, for a whole cluster; `docs/store.md`
//! has the schema. Never decides what a commit means (`store::decide`): it
//! asks what is there, decides, and has the server carry that out if it is
//! still so. Called by the node's store thread and by readers, from any
//! thread. Invariant: what it answered is in one transaction that the server
//! called durable; every other end is "unknown", and the node's row tells.

mod bridge;
mod commit;
mod connection;
mod error;
mod migrate;
mod pool;
mod present;
mod read;
mod statements;
mod tend;
mod url;
mod warnings;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::{EntityKey, Millis};
use crate::entity::commit::{Commit, CommitAnswer, CommitError};

use super::copy::Source;
use super::{Changes, Cursor, LoadPage, ReadError, Store, Versioned};

use bridge::Bridge;
use commit::Writer;
use pool::Pool;
use tend::Tended;

pub use error::{Failure, OpenError};
pub use url::{UrlError, is_url};

/// How the server is used; the defaults are what a node uses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections for reads, at most; more reads wait for one.
    pub read_connections: usize,
    /// For everything that making a connection takes.
    pub connect_within: Duration,
    /// For one statement, on the server; a little more here.
    pub statement_within: Duration,
    /// For one lock, on the server; less than a statement.
    pub lock_within: Duration,
    /// Of all partitions; above it [`Store::pins`] names entities.
    pub journal_bytes_max: u64,
    /// A partition that has so much, or is so old, is followed by another.
    pub part_bytes: u64,
    pub part_age: Duration,
    /// How often partitions are looked after.
    pub tend_every: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            read_connections: 8,
            connect_within: Duration::from_secs(5),
            statement_within: Duration::from_secs(5),
            lock_within: Duration::from_secs(2),
            journal_bytes_max: 4 << 30,
            part_bytes: 256 << 20,
            part_age: Duration::from_secs(3600),
            tend_every: Duration::from_secs(10),
        }
    }
}

/// What all calls share.
struct Shared {
    pool: Pool,
    options: Options,
    tended: Mutex<Tended>,
}

/// The store on a PostgreSQL server.
pub struct Postgres {
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    bridge: Bridge,
}

impl Postgres {
    /// Opens the store that `url` names, and brings its schema to this build's
    /// version.
    ///
    /// # Errors
    /// When the URL is wrong, the server does not answer, or its schema is of
    /// a newer build; nothing was changed then.
    pub fn open(url: &str, options: Options) -> Result<Postgres, OpenError> {
        let target = url::parse(url, &options)?;
        let bridge = Bridge::start()?;
        let within = options.connect_within + options.statement_within;
        let migrated = target.clone();
        bridge.wait(within, async move { Ok(migrate::migrate(&migrated).await) })??;
        let tended = Mutex::new(Tended::default());
        let pool = Pool::new(target, options.read_connections);
        let shared = Arc::new(Shared { pool, options, tended });
        bridge.spawn(tend::tend_regularly(Arc::clone(&shared)));
        Ok(Postgres { shared, writer: Mutex::new(Writer::default()), bridge })
    }

    /// What of the server's settings lets less survive than a cluster expects;
    /// one sentence each, to be logged as it is. Empty when all is well.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn durability_warnings(&self) -> Result<Vec<String>, ReadError> {
        self.read(|shared| async move { warnings::durability(&shared.pool).await })
    }

    /// Looks after the partitions now: begins one, carries forward, drops.
    /// A node does it by itself, regularly.
    ///
    /// # Errors
    /// When the server does not answer; nothing is lost.
    pub fn tend(&self) -> Result<Tended, ReadError> {
        self.read(|shared| async move { tend::tend(&shared).await })
    }

    fn read<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let options = &self.shared.options;
        let within = options.connect_within + options.statement_within * 2;
        Ok(self.bridge.wait(within, work(Arc::clone(&self.shared)))?)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A commit that panicked took its connection with it, so that its
        // outcome is asked for anew.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Postgres {
    fn entities(
        &self,
        after: Option<EntityKey>,
        limit: usize,
    ) -> Result<Vec<EntityKey>, ReadError> {
        self.read(move |shared| async move { read::entities(&shared.pool, after, limit).await })
    }
}

impl Store for Postgres {
    fn commit(&self, commit: &Commit) -> Result<CommitAnswer, CommitError> {
        commit::commit(&self.bridge, &self.shared, &mut self.writer(), commit)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Versioned>, ReadError> {
        let key = key.to_vec();
        self.read(|shared| async move { read::get(&shared.pool, key).await })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Versioned)>, ReadError> {
        let range = read::Range::new(prefix, after);
        self.read(move |shared| async move { read::scan(&shared.pool, range, limit).await })
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Changes, ReadError> {
        self.read(move |shared| async move { read::changes(&shared.pool, since, limit).await })
    }

    fn load(&self, entity: EntityKey, from: Option<Cursor>) -> Result<LoadPage, ReadError> {
        self.read(move |shared| async move { read::load(&shared.pool, entity, from).await })
    }

    fn time(&self) -> Result<Millis, ReadError> {
        self.read(|shared| async move { read::time(&shared.pool).await })
    }

    fn pins(&self) -> Vec<EntityKey> {
        let tended = self.shared.tended.lock().unwrap_or_else(PoisonError::into_inner);
        tended.pins.clone()
    }
}
