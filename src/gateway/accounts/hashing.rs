//! Owns the hashing of passwords: argon2id on a few threads of its own, because
//! it takes tens of milliseconds of a core. Never blocks a caller: when too many
//! wait, it says so at once. Invariant: a hash is checked with the parameters
//! it carries, so changed settings lock nobody out.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::sync::oneshot;

use super::AccountError;
use super::fields::Password;
use crate::config::Players;
use crate::telemetry::metrics::HASH_SECONDS;

enum Work {
    Hash(oneshot::Sender<Option<String>>),
    /// Against this hash.
    Verify(String, oneshot::Sender<bool>),
}

struct Job {
    password: Password,
    work: Work,
}

/// The pool; its threads end when it is dropped.
pub struct Hasher {
    jobs: SyncSender<Job>,
    /// A hash of nothing anybody knows, to check the passwords of unknown
    /// users against: it must take as long as for a known one.
    dummy: String,
}

impl Hasher {
    /// # Errors
    /// When argon2id refuses the settings.
    pub fn new(settings: &Players) -> Result<Hasher, AccountError> {
        let argon2 = argon2(settings).ok_or(AccountError::Hashing)?;
        let dummy = argon2.hash_password(b"nobody").map_err(|_| AccountError::Hashing)?.to_string();
        let (jobs, queue) = sync_channel(settings.hashing_queue_max.usize());
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..settings.hashing_threads.u64() {
            let (argon2, queue) = (argon2.clone(), queue.clone());
            std::thread::spawn(move || run(&argon2, &queue));
        }
        Ok(Hasher { jobs, dummy })
    }

    /// A hash of `password`, with a fresh salt, as a PHC string.
    ///
    /// # Errors
    /// When too many wait.
    pub async fn hash(&self, password: Password) -> Result<String, AccountError> {
        let (answer, outcome) = oneshot::channel();
        self.admit(Job { password, work: Work::Hash(answer) })?;
        outcome.await.ok().flatten().ok_or(AccountError::Hashing)
    }

    /// True when `hash` was made of `password`. Without a hash it takes as long
    /// and is false.
    ///
    /// # Errors
    /// When too many wait.
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<&str>,
    ) -> Result<bool, AccountError> {
        let (answer, outcome) = oneshot::channel();
        let against = hash.unwrap_or(&self.dummy).to_string();
        self.admit(Job { password, work: Work::Verify(against, answer) })?;
        let matches = outcome.await.map_err(|_| AccountError::Hashing)?;
        Ok(matches && hash.is_some())
    }

    fn admit(&self, job: Job) -> Result<(), AccountError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => AccountError::Busy,
            TrySendError::Disconnected(_) => AccountError::Hashing,
        })
    }
}

fn argon2(settings: &Players) -> Option<Argon2<'static>> {
    let (memory, passes) = (settings.argon2_memory_kib.u32(), settings.argon2_passes.u32());
    let params = Params::new(memory, passes, 1, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn run(argon2: &Argon2<'_>, queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: the threads take jobs one by one.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, work }) = job else { return };
        let begun = Instant::now();
        // Whoever gave up meanwhile is not worth the work, or the answer.
        match work {
            Work::Hash(answer) if !answer.is_closed() => {
                let hash = argon2.hash_password(password.as_bytes()).ok();
                let _ = answer.send(hash.map(|hash| hash.to_string()));
            }
            Work::Verify(hash, answer) if !answer.is_closed() => {
                let _ = answer.send(matches(argon2, &password, &hash));
            }
            Work::Hash(_) | Work::Verify(..) => continue,
        }
        HASH_SECONDS.record(begun.elapsed().as_secs_f64());
    }
}

fn matches(argon2: &Argon2<'_>, password: &Password, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    argon2.verify_password(password.as_bytes(), &hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn settings(changes: &str) -> Players {
        Config::with(&format!("[players]\nargon2_memory_kib = 8\nargon2_passes = 1\n{changes}"))
            .unwrap()
            .players
    }

    fn password(text: &str) -> Password {
        Password::parse(text, "password").unwrap()
    }

    #[tokio::test]
    async fn a_hash_matches_its_password_and_no_other() {
        let hasher = Hasher::new(&settings("")).unwrap();
        let hash = hasher.hash(password("correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(hasher.verify(password("correct horse"), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(password("battery staple"), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(password("correct horse"), None).await.unwrap());
        assert!(!hasher.verify(password("correct horse"), Some("damaged")).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_outlives_a_change_of_settings() {
        let old = Hasher::new(&settings("")).unwrap();
        let hash = old.hash(password("correct horse")).await.unwrap();
        let new = Config::with("[players]\nargon2_memory_kib = 64\nargon2_passes = 2\n").unwrap();
        let new = Hasher::new(&new.players).unwrap();
        assert!(new.verify(password("correct horse"), Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn says_at_once_when_too_many_wait() {
        let hasher = Hasher::new(&settings("hashing_queue_max = 1\n")).unwrap();
        let asked = (0..64).map(|_| hasher.hash(password("correct horse")));
        let outcomes = futures_util::future::join_all(asked).await;
        let busy = outcomes.iter().filter(|o| matches!(o, Err(AccountError::Busy))).count();
        assert!((1..64).contains(&busy), "{busy} of 64 were refused");
    }
}
