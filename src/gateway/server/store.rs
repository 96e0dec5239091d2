//! Owns how a node's store is opened: by its place and its settings. Never
//! writes to it. Called once, at a node's start.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ServeError;
use super::serving::wall;
use crate::actors::membership::{Membership, StorePlace};
use crate::base::Millis;
use crate::cluster::core::clock::Clock;
use crate::cluster::links;
use crate::cluster::links::store_calls::MeshStore;
use crate::config::{Config, StoreUrl};
use crate::entity::keys;
#[cfg(feature = "postgres")]
use crate::store::postgres;
use crate::store::sled::{self, Options, Sled};
use crate::store::{ReadError, Store};

/// A store that does not answer at the start is asked again after so long, and
/// said to be away every so many times.
const AGAIN: Duration = Duration::from_millis(100);
const SAID_EVERY: u32 = 50;

/// A node's store.
pub struct Opened {
    pub store: Arc<dyn Store>,
    /// The same, when it is another node's.
    pub mesh: Option<Arc<MeshStore>>,
}

/// Opens it; blocks until another node's answers.
pub fn open(config: &Config, membership: &Membership) -> Result<Opened, ServeError> {
    let opened = match (&membership.store, &config.store.url) {
        (StorePlace::Of { node, address }, StoreUrl::Embedded) => {
            let limits = store_limits();
            let store = MeshStore::open(&membership.identity, *node, address.clone(), limits)?;
            let store = Arc::new(store);
            Opened { store: store.clone(), mesh: Some(store) }
        }
        (_, StoreUrl::Embedded) => Opened { store: open_embedded(config)?, mesh: None },
        (_, StoreUrl::Postgres(url)) => Opened { store: open_postgres(config, url)?, mesh: None },
    };
    match answer_of(opened.store.as_ref())? {
        true => Err(ServeError::HalfCopied),
        false => Ok(opened),
    }
}

/// Dialled again quickly: a node that is not back soon after its store may be taken
/// for dead by those that are.
fn store_limits() -> links::Limits {
    links::Limits {
        handshake: Duration::from_secs(1),
        redial_most: Duration::from_millis(200),
        ..links::Limits::default()
    }
}

/// Whether the store is half a copy, when it answers: one that is away is waited
/// for, since a cluster's nodes are started in any order.
#[expect(clippy::disallowed_methods, reason = "nothing runs yet that would wait for this thread")]
fn answer_of(store: &dyn Store) -> Result<bool, ReadError> {
    for tried in 0_u32.. {
        match store.get(keys::COPYING) {
            Err(ReadError::Away(why)) if tried.is_multiple_of(SAID_EVERY) => {
                tracing::warn!(why, "the store does not answer; the node starts when it does");
            }
            Err(ReadError::Away(_)) => {}
            answer => return Ok(answer?.is_some()),
        }
        std::thread::sleep(AGAIN);
    }
    Ok(false)
}

#[cfg(not(feature = "postgres"))]
fn open_postgres(_: &Config, _: &str) -> Result<Arc<dyn Store>, ServeError> {
    Err(ServeError::NoPostgres)
}

#[cfg(feature = "postgres")]
fn open_postgres(config: &Config, url: &str) -> Result<Arc<dyn Store>, ServeError> {
    let options = postgres::Options {
        journal_bytes_max: config.store.journal_max_bytes(),
        part_bytes: (config.store.journal_max_bytes() / 8).max(16 << 20),
        read_connections: config.store.reads_at_once.usize(),
        ..postgres::Options::default()
    };
    let store = postgres::Postgres::open(url, options)?;
    for warning in store.durability_warnings()? {
        tracing::error!("PostgreSQL may lose what was acknowledged: {warning}");
    }
    Ok(Arc::new(store))
}

fn open_embedded(config: &Config) -> Result<Arc<dyn Store>, ServeError> {
    let folder = config.node.data.clone();
    let journal_bytes_max = config.store.journal_max_bytes();
    let options = Options { journal_bytes_max, clock: led_clock(), ..Options::default() };
    let opened = Sled::open(&folder.join(sled::FOLDER), options);
    Ok(Arc::new(opened.map_err(|source| ServeError::Store { folder, source })?))
}

/// The clock of a store in this process: led as the node's own is, so that the
/// two agree whatever the wall clock does. A store elsewhere has its own.
fn led_clock() -> Arc<dyn Fn() -> Millis + Send + Sync> {
    let began = Instant::now();
    let clock = Mutex::new(Clock::new(wall(), Millis(0)));
    Arc::new(move || {
        let steady = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Whoever panicked in here left a clock that is as good as before.
        let mut clock = clock.lock().unwrap_or_else(|lock| lock.into_inner());
        clock.read(wall(), Millis(steady)).0
    })
}
