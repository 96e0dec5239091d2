//! Owns the thread that signs heads of audit logs, so that no key, however slow,
//! holds up the core. Never decides what is signed: the core asks for one
//! signature at a time. Invariant: each that is asked for is answered; the thread
//! ends when its [`SignerHandle`] is dropped.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::core_thread::{CoreHandle, ToCore};
use crate::cluster::certificates::Signer;
use crate::cluster::core::node::Event;
use crate::entity::audit::Statement;

/// The way to the thread that signs.
pub struct SignerHandle(SyncSender<Statement>);

impl SignerHandle {
    /// Has `statement` signed; the core hears what came of it. False when there
    /// is nobody to.
    pub fn sign(&self, statement: Statement) -> bool {
        self.0.try_send(statement).is_ok()
    }
}

/// Starts the thread.
///
/// # Errors
/// When the system gives none.
pub fn start(signer: Signer, core: CoreHandle) -> std::io::Result<SignerHandle> {
    // The core asks for one at a time.
    let (statements, queue) = sync_channel(1);
    std::thread::Builder::new()
        .name("signer".into())
        .spawn(move || sign_all(&signer, &queue, &core))?;
    Ok(SignerHandle(statements))
}

fn sign_all(signer: &Signer, queue: &Receiver<Statement>, core: &CoreHandle) {
    while let Ok(statement) = queue.recv() {
        let failed = |error: &_| tracing::error!(%error, "the audit log could not be signed");
        let signature = signer.sign(statement).inspect_err(failed).ok();
        core.send(ToCore::Event(Event::Signed { statement, signature }));
    }
}
