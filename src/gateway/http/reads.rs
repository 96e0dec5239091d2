//! Owns how calls over HTTP read the galaxy: how many at a time, for how long,
//! and what is said when there is no answer. Never decides what may be seen
//! (`entity::read` does). Called by the calls that read. Invariant: a read
//! holds a place from its beginning to its end, and there are as many places
//! as the settings say.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::problem::{Kind, ProblemResponse};
use crate::actors::entities::Entities;
use crate::actors::rows::Rows;
use crate::actors::ticker::Read;
use crate::base::{EntityKey, Millis, SectorId};
use crate::cluster::core::table::Unavailable;
use crate::config;
use crate::entity::read::{self, Query};
use crate::entity::{World, keys};
use crate::view::SectorSnapshot;

/// From one try to reach an entity that wakes to the next.
const AGAIN: Duration = Duration::from_millis(50);

type Answering<'a> = Pin<Box<dyn Future<Output = Result<Read, Unavailable>> + 'a>>;
type Telling<'a> = Pin<Box<dyn Future<Output = bool> + 'a>>;

/// A node's entities, and its rows, which say what hibernates.
pub struct NodeOracle {
    pub entities: Entities,
    pub rows: Rows,
}

/// What answers questions about entities: the node, or a test.
pub trait Oracle: Send + Sync {
    fn world(&self) -> Arc<World>;

    /// Asks an entity that runs here.
    fn ask(&self, entity: EntityKey, query: Query) -> Answering<'_>;

    /// Has an entity run here that does not, soon.
    fn wake(&self, entity: EntityKey);

    /// Whether a sector that does not run here may have something in it: it
    /// hibernates, or that cannot be told now.
    fn hibernates(&self, sector: SectorId) -> Telling<'_>;

    /// How much goes on in a sector of any scale, and as of when.
    fn summary(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)>;

    /// The node's clock.
    fn now(&self) -> Millis;
}

impl Oracle for NodeOracle {
    fn world(&self) -> Arc<World> {
        self.entities.world.clone()
    }

    fn ask(&self, entity: EntityKey, query: Query) -> Answering<'_> {
        Box::pin(self.entities.read(entity, query))
    }

    fn wake(&self, entity: EntityKey) {
        self.entities.wake(entity);
    }

    fn hibernates(&self, sector: SectorId) -> Telling<'_> {
        let key = keys::summary(EntityKey::Sector(sector));
        Box::pin(async move { !matches!(self.rows.get(key).await, Ok(None)) })
    }

    fn summary(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)> {
        self.entities.summary(sector)
    }

    fn now(&self) -> Millis {
        self.entities.time().1
    }
}

/// The way of this gateway's calls to the galaxy; cheap to clone.
#[derive(Clone)]
pub struct Reads {
    oracle: Arc<dyn Oracle>,
    places: Arc<Semaphore>,
    timeout: Duration,
}

/// A place among the reads under way, for a time; ask through it.
pub struct Reading {
    reads: Reads,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Reads {
    pub fn new(oracle: Arc<dyn Oracle>, settings: &config::Http) -> Reads {
        Reads {
            oracle,
            places: Arc::new(Semaphore::new(settings.reads_at_once.usize())),
            timeout: Duration::from_millis(settings.read_timeout_ms.u64()),
        }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When there is none; nothing was read.
    pub fn begin(&self) -> Result<Reading, ProblemResponse> {
        let full = |_| ProblemResponse::new(Kind::Busy, "as many reads as may be are under way");
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        let until = Instant::now() + self.timeout;
        Ok(Reading { reads: self.clone(), until, _place: place })
    }
}

impl Reading {
    pub fn world(&self) -> Arc<World> {
        self.reads.oracle.world()
    }

    pub fn now(&self) -> Millis {
        self.reads.oracle.now()
    }

    /// How much goes on in a sector of any scale, and as of when.
    pub fn summary(&self, sector: SectorId) -> Option<(SectorSnapshot, Millis)> {
        self.reads.oracle.summary(sector)
    }

    /// Asks an entity.
    ///
    /// # Errors
    /// When it does not run here or does not answer while this read may last.
    pub async fn ask(&self, entity: EntityKey, query: Query) -> Result<Read, Unavailable> {
        let answer = timeout_at(self.until, self.reads.oracle.ask(entity, query)).await;
        // While time stands still no answer may be seen.
        answer.unwrap_or(Err(Unavailable::StoreAway))
    }

    /// Whether a sector that does not run here may have something in it.
    pub async fn hibernates(&self, sector: SectorId) -> bool {
        timeout_at(self.until, self.reads.oracle.hibernates(sector)).await.unwrap_or(true)
    }

    /// Asks an entity of which there are few, and wakes it for that.
    ///
    /// # Errors
    /// When it does not answer while this read may last.
    pub async fn ask_awake(
        &self,
        entity: EntityKey,
        query: Query,
    ) -> Result<read::Reading, ProblemResponse> {
        let mut woken = false;
        loop {
            match self.ask(entity, query).await {
                Ok(read) => return Ok(read.reading),
                Err(Unavailable::NotHere | Unavailable::Busy) if Instant::now() < self.until => {}
                Err(why) => return Err(unavailable(entity, why)),
            }
            if !std::mem::replace(&mut woken, true) {
                self.reads.oracle.wake(entity);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Why there is no answer of an entity.
pub fn unavailable(entity: EntityKey, why: Unavailable) -> ProblemResponse {
    let kind = match why {
        Unavailable::StoreAway => Kind::StoreAway,
        _ => Kind::Busy,
    };
    ProblemResponse::new(kind, format!("{entity}: {why}"))
}

/// Runs what computes for longer than a moment beside the threads that answer.
///
/// # Errors
/// When it panicked or the process ends.
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ProblemResponse> {
    let broken = |_| ProblemResponse::new(Kind::Internal, "the read broke off");
    web::block(work).await.map_err(broken)
}

/// An answer that everybody gets the same, for so many seconds.
pub fn public(request: &HttpRequest, seconds: u32, answer: &impl Serialize) -> HttpResponse {
    // Strings and numbers always become JSON.
    let body = serde_json::to_vec(answer).unwrap_or_default();
    let hash = blake3::hash(&body).to_hex();
    let etag = format!("\"{}\"", &hash[..32]);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.contains(&etag));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, etag));
    // Who names itself may be told more.
    response.insert_header((VARY, "Authorization"));
    response.insert_header((CACHE_CONTROL, format!("public, max-age={seconds}")));
    if is_known {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, "application/json")).body(body)
}
