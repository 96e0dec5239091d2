//! Owns the one write: asks, decides, has it carried out, as often as others
//! change what it was decided on. Never answers before the server called it
//! durable. Invariant: after any failure the session is given up and the
//! node's row is read anew, so that the next attempt learns what became of
//! this one.

use std::time::Instant;

use crate::base::{Millis, NodeId};
use crate::entity::commit::{Commit, CommitAnswer, CommitError, NodeRow};
use crate::entity::keys;
use crate::store::decide::{Decision, decide};

use super::Shared;
use super::bridge::Bridge;
use super::connection::Link;
use super::error::Failure;
use super::present::{Known, Touched, unsigned};
use super::read;
use super::write::Write;

/// What of the last commit serves the next one.
#[derive(Default)]
pub struct Writer {
    link: Option<Link>,
    /// The node that commits, and its row as the last commit left it.
    row: Option<(NodeId, (u64, NodeRow))>,
}

/// What the server did with a decided commit.
enum Outcome {
    Done {
        version: u64,
        time: Millis,
    },
    /// Nothing: what it was decided on is not so any more.
    Stale,
}

/// See [`Store::commit`](crate::store::Store::commit).
///
/// # Errors
/// See [`CommitError`].
pub fn commit(
    bridge: &Bridge,
    shared: &Shared,
    writer: &mut Writer,
    commit: &Commit,
) -> Result<CommitAnswer, CommitError> {
    let touched = Touched::of(commit);
    let began = Instant::now();
    let mut guess = match &writer.row {
        Some((node, row)) if *node == commit.node => Known::guess(commit, &touched, row),
        _ => None,
    };
    loop {
        let known = match guess.take() {
            Some(known) => known,
            None => writer.read(bridge, shared, commit.node, &touched)?,
        };
        match decide(&known, commit)? {
            Decision::Repeated { version, refused } => {
                let store_time = writer.confirm(bridge, shared)?;
                return Ok(CommitAnswer { version, refused, store_time });
            }
            Decision::Accepted(accepted) => {
                let refused = accepted.refused.clone();
                let write = Write::new(accepted, &known, &touched)?;
                let row = own_row(&write, commit.node);
                let outcome = writer.carry_out(bridge, shared, write)?;
                if let Outcome::Done { version, time: store_time } = outcome {
                    writer.row = row.map(|row| (commit.node, (version, row)));
                    return Ok(CommitAnswer { version, refused, store_time });
                }
            }
        }
        if began.elapsed() > shared.options.statement_within {
            let why = "others changed what it is about again and again; nothing of it happened";
            return Err(CommitError::Unknown(why.into()));
        }
    }
}

/// The row that the commit leaves behind.
fn own_row(write: &Write, node: NodeId) -> Option<NodeRow> {
    let at = write.put.binary_search(&keys::row(node)).ok()?;
    NodeRow::from_bytes(write.value.get(at)?).ok()
}

impl Writer {
    fn read(
        &mut self,
        bridge: &Bridge,
        shared: &Shared,
        node: NodeId,
        touched: &Touched,
    ) -> Result<Known, Failure> {
        let touched = touched.clone();
        self.with(bridge, shared, move |link| async move {
            let known = Known::read(&link, node, &touched).await?;
            Ok((link, known))
        })
    }

    /// The time, when all that the server shows is as durable as it should
    /// be: a commit whose wait for the standby was cut short is shown before.
    fn confirm(&mut self, bridge: &Bridge, shared: &Shared) -> Result<Millis, Failure> {
        self.with(bridge, shared, |link| async move {
            // It commits inside, for the limit on a statement's time to hold
            // for the wait too.
            let wait = "DO $$ BEGIN
                PERFORM pg_logical_emit_message(true, 'starmesh', '');
                COMMIT;
            END $$";
            link.client.batch_execute(wait).await?;
            sure(&link)?;
            let time = read::time_of(&link).await?;
            Ok((link, time))
        })
    }

    fn carry_out(
        &mut self,
        bridge: &Bridge,
        shared: &Shared,
        write: Write,
    ) -> Result<Outcome, Failure> {
        let done = self.with(bridge, shared, move |link| async move {
            match call(&link, &write).await {
                Err(failure) if failure.is_passing() => Ok((link, Outcome::Stale)),
                outcome => Ok((link, outcome?)),
            }
        });
        if !matches!(done, Ok(Outcome::Done { .. })) {
            self.row = None;
        }
        done
    }

    /// What `work` comes to in the session for commits; a new one if there is
    /// none. A session in which something failed is not used again.
    fn with<T: Send + 'static, F>(
        &mut self,
        bridge: &Bridge,
        shared: &Shared,
        work: impl FnOnce(Link) -> F + Send + 'static,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<(Link, T), Failure>> + Send + 'static,
    {
        let target = shared.pool.target.clone();
        let link = self.link.take().filter(|link| !link.client.is_closed());
        // Longer than the server's own limit, so that it ends its part first.
        let within = shared.options.connect_within + shared.options.statement_within * 2;
        let (link, answer) = bridge.wait(within, async move {
            let link = match link {
                Some(link) => link,
                None => Link::connect(&target).await?,
            };
            work(link).await
        })?;
        self.link = Some(link);
        Ok(answer)
    }
}

async fn call(link: &Link, write: &Write) -> Result<Outcome, Failure> {
    let row = link
        .client
        .query_one(
            &link.statements.commit,
            &[
                &write.checked,
                &write.expected,
                &write.absent,
                &write.forgot,
                &write.forgot_last,
                &write.forgot_head,
                &write.old,
                &write.old_known_last,
                &write.old_known_head,
                &write.old_last,
                &write.old_head,
                &write.new,
                &write.new_last,
                &write.new_head,
                &write.row_entity,
                &write.row_snapshot,
                &write.row_number,
                &write.row_bytes,
                &write.adopted,
                &write.put,
                &write.value,
                &write.deleted,
                &write.changed,
                &write.exact,
            ],
        )
        .await?;
    sure(link)?;
    let version: Option<i64> = row.try_get(0)?;
    let Some(version) = version else { return Ok(Outcome::Stale) };
    let time = Millis(unsigned(row.try_get(1)?)?);
    Ok(Outcome::Done { version: unsigned(version)?, time })
}

/// An answer that came with a warning is none: the server gave up waiting for
/// its standby.
fn sure(link: &Link) -> Result<(), Failure> {
    link.take_warning().map_or(Ok(()), |warning| Err(Failure::Warned(warning)))
}
