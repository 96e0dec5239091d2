//! Owns the verification of the cluster's audit log while it runs: on the node that
//! was asked, in the background, one at a time, page by page with pauses, so that
//! commits and reads of others come between. Never writes anything. Called by the
//! admin calls.
//!
//! Bounds: a verification ends after ten minutes, after a million entries and
//! signatures, and before it holds more than 100 MB; then it says so and nothing
//! of the log. What it found last is kept until the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use crate::actors::rows::{Rows, StoreAway};
use crate::base::Millis;
use crate::cluster::certificates::{CertificateError, Notary};
use crate::entity::audit::chain::Chain;
use crate::store::audit::{Verification, certificates};

/// Read and judged between two pauses: tens of milliseconds of one core.
const PAGE: usize = 128;
const PAUSE: Duration = Duration::from_millis(5);
const WITHIN: Duration = Duration::from_secs(600);
const READ_MAX: u64 = 1_000_000;
const HELD_MAX: usize = 1_000_000;

/// Why there is no result; nothing was changed.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreAway),
    #[error("the authorities that this node believes")]
    Authorities(#[from] CertificateError),
    #[error(
        "the log is too long to be verified by a node that runs ({0} entries and signatures were \
         read): use `starmesh audit verify`"
    )]
    TooLong(u64),
}

/// What became of the last verification.
#[derive(Clone, Debug, Default)]
pub enum Audited {
    #[default]
    Never,
    Running {
        began: Millis,
        read: u64,
    },
    Done(Arc<Findings>),
    Failed {
        why: String,
    },
}

/// What a verification found.
#[derive(Debug)]
pub struct Findings {
    /// By the node's clock.
    pub began: Millis,
    pub ended: Millis,
    pub read: u64,
    /// Whether certificates were held against authorities.
    pub authorities: bool,
    pub chains: Vec<Chain>,
}

/// The verifications of one node; cheap to clone.
#[derive(Clone)]
pub struct Auditing {
    rows: Rows,
    authorities: Arc<Vec<CertificateDer<'static>>>,
    clock: fn() -> Millis,
    last: Arc<Mutex<Audited>>,
}

impl Auditing {
    pub fn new(
        rows: Rows,
        authorities: Vec<CertificateDer<'static>>,
        clock: fn() -> Millis,
    ) -> Auditing {
        Auditing { rows, authorities: Arc::new(authorities), clock, last: Arc::default() }
    }

    /// What there is, of a verification that runs or of the last one.
    pub fn last(&self) -> Audited {
        self.lock().clone()
    }

    /// Begins one, unless one runs.
    pub fn start(&self) -> Audited {
        let began = (self.clock)();
        {
            let mut last = self.lock();
            if matches!(*last, Audited::Running { .. }) {
                return last.clone();
            }
            *last = Audited::Running { began, read: 0 };
        }
        let auditing = self.clone();
        actix::spawn(async move {
            let audited = match auditing.verify(began).await {
                Ok(findings) => Audited::Done(Arc::new(findings)),
                Err(error) => Audited::Failed { why: error.to_string() },
            };
            *auditing.lock() = audited;
        });
        self.last()
    }

    async fn verify(&self, began: Millis) -> Result<Findings, AuditError> {
        let until = Instant::now() + WITHIN;
        let found = self.rows.read(certificates).await?;
        let notary = Arc::new(Notary::new(found, &self.authorities)?);
        let mut verification = self.rows.read(|store| Verification::begin(store, &[])).await?;
        loop {
            let judges = notary.clone();
            let (next, more) = self
                .rows
                .read(move |store| {
                    let judge = |signature: &_| judges.judge(signature);
                    let more = verification.step(store, &judge, PAGE)?;
                    Ok((verification, more))
                })
                .await?;
            verification = next;
            let read = verification.read();
            if !more {
                break;
            }
            *self.lock() = Audited::Running { began, read };
            if read > READ_MAX || verification.held() > HELD_MAX || Instant::now() > until {
                return Err(AuditError::TooLong(read));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let read = verification.read();
        let chains = self.rows.read(move |store| verification.finish(store)).await?;
        let (ended, authorities) = ((self.clock)(), notary.has_authorities());
        Ok(Findings { began, ended, read, authorities, chains })
    }

    fn lock(&self) -> MutexGuard<'_, Audited> {
        // Whole values only.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
