//! Owns looking after the journal's partitions. Never in a commit's way for
//! longer than a drop takes. Called by a task of the store's thread, on every
//! node; the server lets one at a time do it. Invariant: a partition goes only
//! when no entity is loaded from it.

use std::sync::{Arc, PoisonError};

use crate::base::EntityKey;

use super::Shared;
use super::error::Failure;
use super::present::entity;

/// Entities that are carried forward in one transaction.
const CARRIED: i32 = 256;
/// Of these in a row, before commits have the server for themselves again.
const TURNS: u32 = 16;

/// How the partitions were left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    pub partitions: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// See [`Store::pins`](crate::store::Store::pins).
    pub pins: Vec<EntityKey>,
}

/// Tends again and again, until the store is dropped.
pub(super) async fn tend_regularly(shared: Arc<Shared>) {
    let every = shared.options.tend_every;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // It is tried again; meanwhile there are more partitions than needed.
        if let Err(failure) = tend(&shared).await {
            tracing::warn!(%failure, "the journal's partitions were not looked after");
        }
    }
}

/// Begins a partition, drops those that are not needed; above the limit names
/// who holds the oldest, and carries what is still held out of it.
pub(super) async fn tend(shared: &Shared) -> Result<Tended, Failure> {
    let tended = shared.pool.with(async |link| {
        let options = &shared.options;
        let part_bytes = i64::try_from(options.part_bytes).unwrap_or(i64::MAX);
        let age = options.part_age.as_secs_f64();
        let tend = "CALL starmesh.tend($1, $2)";
        link.client.execute(tend, &[&part_bytes, &age]).await?;
        let mut tended = sizes(&link.client).await?;
        if tended.bytes <= options.journal_bytes_max {
            return Ok(tended);
        }
        for row in link.client.query(&link.statements.pins, &[]).await? {
            tended.pins.push(entity(row.try_get(0)?)?);
        }
        // Time enough for snapshots of those that are awake.
        let overdue = tended.bytes / 2 > options.journal_bytes_max / 2 + options.part_bytes / 2;
        for _ in 0..if overdue { TURNS } else { 0 } {
            link.client.execute("CALL starmesh.carry_forward($1)", &[&CARRIED]).await?;
        }
        Ok(tended)
    });
    let tended = tended.await?;
    *shared.tended.lock().unwrap_or_else(PoisonError::into_inner) = tended.clone();
    Ok(tended)
}

async fn sizes(client: &tokio_postgres::Client) -> Result<Tended, Failure> {
    let select = "SELECT count(*), coalesce(sum(pg_table_size(
        format('starmesh.journal_%s', part)::regclass)), 0)::bigint FROM starmesh.parts";
    let row = client.query_one(select, &[]).await?;
    let (partitions, bytes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (partitions, bytes) = (partitions.unsigned_abs(), bytes.unsigned_abs());
    Ok(Tended { partitions, bytes, pins: Vec::new() })
}
