//! Owns the sessions for reads. Never hands out one that failed before.
//! Invariant: there are at most so many as the server was said to bear; who
//! finds none free waits, within the time of the call.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::connection::Link;
use super::error::Failure;
use super::url::Target;

pub struct Pool {
    pub target: Target,
    free: Mutex<Vec<Link>>,
    places: Semaphore,
}

impl Pool {
    pub fn new(target: Target, most: usize) -> Pool {
        let places = Semaphore::new(most.max(1));
        Pool { target, free: Mutex::new(Vec::new()), places }
    }

    /// What `work` comes to in a session of this pool.
    ///
    /// # Errors
    /// Its own, or when there is no session; reads are not repeated here.
    pub async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Link) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _place = self.places.acquire().await.map_err(|_| Failure::Closed)?;
        let link = match self.take() {
            Some(link) => link,
            None => Link::connect(&self.target).await?,
        };
        let outcome = work(&link).await;
        let usable = !matches!(outcome, Err(Failure::Database(_) | Failure::Connect(_)));
        if usable && !link.client.is_closed() {
            self.free.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        }
        outcome
    }

    fn take(&self) -> Option<Link> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that the server closed meanwhile are dropped.
        free.retain(|link| !link.client.is_closed());
        free.pop()
    }
}
