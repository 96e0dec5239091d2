//! Owns what this gateway knows of accounts' generations: which tokens are
//! still good. Follows the store's changes, tells sessions which have ended.
//! Invariant: an answer is never older than two seconds; when the changes
//! cannot be followed, the store itself is asked.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::broadcast;

use super::{Account, AccountError};
use crate::actors::rows::Rows;
use crate::base::PlayerId;
use crate::entity::keys;
use crate::store::Change;
use crate::telemetry::metrics::GENERATIONS_RAISED;

/// Knowledge older than this is not believed.
const FRESH_FOR: Duration = Duration::from_secs(2);
/// Changes read at once.
const PAGE: usize = 1_000;
/// Generations raised that wait for a slow subscriber; then it is told that it
/// missed some (`Lagged`) and has to ask [`Generations::current`].
const WAITING_MAX: usize = 4_096;

/// An account's generation rose: sessions of a lower one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    pub player: PlayerId,
    pub generation: u64,
}

/// The generations of accounts.
pub struct Generations {
    rows: Rows,
    /// Of players who used this gateway since it started, and of those whose
    /// generation rose since: 16 bytes each.
    known: DashMap<PlayerId, u64>,
    followed: Mutex<Followed>,
    raised: broadcast::Sender<Raised>,
}

/// How far the store's changes were followed, and when last.
#[derive(Clone, Copy)]
struct Followed {
    version: u64,
    at: Option<Instant>,
}

impl Generations {
    /// How often changes are read: a quarter of what may pass at most.
    pub const FOLLOW_PERIOD: Duration = Duration::from_millis(500);

    pub fn new(rows: Rows) -> Generations {
        let (raised, _) = broadcast::channel(WAITING_MAX);
        let followed = Mutex::new(Followed { version: 0, at: None });
        Generations { rows, known: DashMap::new(), followed, raised }
    }

    /// All raises from now on, at most two seconds after they are durable.
    /// After `Lagged` ask [`current`](Self::current) for every open session.
    pub fn subscribe(&self) -> broadcast::Receiver<Raised> {
        self.raised.subscribe()
    }

    /// The generation of `player`'s account, `None` when there is none.
    ///
    /// # Errors
    /// When the store must be asked and is away.
    pub async fn current(&self, player: PlayerId) -> Result<Option<u64>, AccountError> {
        if self.is_fresh()
            && let Some(generation) = self.known.get(&player)
        {
            return Ok(Some(*generation));
        }
        let Some(generation) = self.read(player).await? else { return Ok(None) };
        Ok(Some(self.learn(player, generation)))
    }

    /// Reads what changed since the last time; to be called every
    /// [`FOLLOW_PERIOD`](Self::FOLLOW_PERIOD).
    ///
    /// # Errors
    /// When the store is away; the next call goes on where this one stopped.
    pub async fn follow(&self) -> Result<(), AccountError> {
        loop {
            let asked = Instant::now();
            let since = self.followed().version;
            let page = self.rows.changes(since, PAGE).await?;
            if page.too_old {
                self.read_all_anew().await?;
            }
            page.changes.iter().for_each(|change| self.note(change));
            let reached_end = page.changes.len() < PAGE;
            let at = if reached_end { Some(asked) } else { self.followed().at };
            self.set_followed(Followed { version: page.upto, at });
            if reached_end {
                return Ok(());
            }
        }
    }

    /// The store no longer remembers all changes since we last asked: every
    /// known account is read instead.
    async fn read_all_anew(&self) -> Result<(), AccountError> {
        let players: Vec<PlayerId> = self.known.iter().map(|entry| *entry.key()).collect();
        for player in players {
            if let Some(generation) = self.read(player).await? {
                self.learn(player, generation);
            }
        }
        Ok(())
    }

    async fn read(&self, player: PlayerId) -> Result<Option<u64>, AccountError> {
        let row = self.rows.get(keys::account(player)).await?;
        row.map(|row| Ok(Account::from_bytes(&row.value)?.generation)).transpose()
    }

    fn note(&self, change: &Change) {
        let Some(player) = keys::account_player(&change.key) else { return };
        let account = change.value.as_deref().map(Account::from_bytes);
        match account {
            // Every account starts at 1; most changes are log-ins.
            Some(Ok(account)) if account.generation > 1 || self.known.contains_key(&player) => {
                self.learn(player, account.generation);
            }
            Some(Err(_)) => tracing::error!(%player, "the row of an account is damaged"),
            Some(Ok(_)) | None => {}
        }
    }

    /// Keeps the higher of what is known and `generation`, tells sessions when
    /// it rose, and returns it. What was unknown counts as risen: a session may
    /// have been opened on it before this gateway's memory began.
    fn learn(&self, player: PlayerId, generation: u64) -> u64 {
        let mut known = self.known.entry(player).or_insert(0);
        if generation > *known {
            *known = generation;
            if generation > 1 {
                GENERATIONS_RAISED.increment(1);
                // Without a subscriber there are no sessions to end.
                let _ = self.raised.send(Raised { player, generation });
            }
        }
        *known
    }

    fn is_fresh(&self) -> bool {
        self.followed().at.is_some_and(|at| at.elapsed() < FRESH_FOR)
    }

    fn followed(&self) -> Followed {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_followed(&self, followed: Followed) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = followed;
    }
}
