//! Owns the schema's versions. Never changes one that was released: a change
//! is another file. Called when a store opens. Invariant: one process at a
//! time migrates, in one transaction; a newer schema is left as it is.

use tokio_postgres::Client;

use super::connection;
use super::error::{Failure, OpenError};
use super::url::Target;

/// What makes schema n + 1 of schema n; the first makes it all.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// Brings the schema to this build's version.
///
/// # Errors
/// `Newer`; or when the server does not answer, nothing is changed then.
pub async fn migrate(target: &Target) -> Result<(), OpenError> {
    let (mut client, _) = connection::begin(target).await?;
    let done = migrate_locked(&mut client).await;
    // The transaction ends with the session if it did not end before.
    drop(client);
    done
}

async fn migrate_locked(client: &mut Client) -> Result<(), OpenError> {
    let transaction = client.transaction().await.map_err(Failure::from)?;
    let prepare = "SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(7498, 1);
        CREATE SCHEMA IF NOT EXISTS starmesh;
        CREATE TABLE IF NOT EXISTS starmesh.schema (version int NOT NULL)";
    transaction.batch_execute(prepare).await.map_err(Failure::from)?;
    let select = "SELECT coalesce(max(version), 0) FROM starmesh.schema";
    let row = transaction.query_one(select, &[]).await.map_err(Failure::from)?;
    let found: i32 = row.try_get(0).map_err(Failure::from)?;
    let known = MIGRATIONS.len() as i32;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(sql).await.map_err(Failure::from)?;
        let insert = format!("INSERT INTO starmesh.schema VALUES ({version})");
        transaction.batch_execute(&insert).await.map_err(Failure::from)?;
    }
    transaction.commit().await.map_err(Failure::from)?;
    Ok(())
}
