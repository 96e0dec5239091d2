//! Owns the statements that sessions prepare. Never runs one.

use tokio_postgres::{Client, Statement};

use super::error::Failure;

const COMMIT: &str = "CALL starmesh.commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
    $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, NULL, NULL)";
const STAMPS: &str = "SELECT key, version, substring(value FOR 8) FROM starmesh.keys
    WHERE key = ANY ($1) AND value IS NOT NULL";
const JOURNALS: &str = "SELECT entity, last, head FROM starmesh.entities WHERE entity = ANY ($1)";
const VERSION: &str = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM starmesh.version";
const GET: &str = "SELECT version, value FROM starmesh.keys WHERE key = $1 AND value IS NOT NULL";
const SCAN: &str = "SELECT key, version, value FROM starmesh.keys
    WHERE key >= $1 AND key > $2 AND key < $3 AND value IS NOT NULL ORDER BY key LIMIT $4";
const SCAN_OPEN: &str = "SELECT key, version, value FROM starmesh.keys
    WHERE key >= $1 AND key > $2 AND value IS NOT NULL ORDER BY key LIMIT $3";
const CHANGES: &str =
    "SELECT version, key, value, upto, too_old FROM starmesh.changes_since($1, $2)";
/// One statement, so that all of a page is of one moment, and no partition is
/// dropped between what names it and what reads it. First the head (kind 0),
/// then chunks (1), each in its newest form, then records (2); a part is in
/// the page when those before it are less than $5 bytes.
const LOAD: &str = "
    WITH e AS MATERIALIZED (SELECT id, head, oldest FROM starmesh.entities WHERE entity = $1),
    parts AS (
        (SELECT DISTINCT ON (j.number) 1 AS kind, j.number, j.bytes
         FROM e JOIN starmesh.journal j ON j.part >= e.oldest AND j.id = e.id
             AND j.snapshot = e.head AND j.number >= $3
         WHERE e.head > 0 ORDER BY j.number, j.version DESC)
        UNION ALL
        SELECT 2, j.number, j.bytes
        FROM e JOIN starmesh.journal j ON j.part >= e.oldest AND j.id = e.id
            AND j.snapshot = 0 AND j.number > greatest(e.head, $4)
    ),
    placed AS (
        SELECT kind, number, bytes, count(*) OVER () AS parts,
            coalesce(sum(octet_length(bytes)) OVER (ORDER BY kind, number
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
        FROM parts
    )
    SELECT 0, head, (SELECT value FROM starmesh.keys WHERE key = $2), 0::bigint FROM e
    UNION ALL
    SELECT kind, number, bytes, parts FROM placed WHERE before < $5
    ORDER BY 1, 2";
const TIME: &str = "SELECT starmesh.now_ms()";
const ENTITIES: &str = "SELECT entity FROM starmesh.entities
    WHERE entity > $1 ORDER BY entity LIMIT $2";
const PINS: &str = "SELECT entity FROM starmesh.entities e
    WHERE e.oldest = (SELECT min(oldest) FROM starmesh.entities)
        AND e.oldest < (SELECT max(part) FROM starmesh.parts) ORDER BY entity LIMIT 64";

pub struct Statements {
    pub commit: Statement,
    pub stamps: Statement,
    pub journals: Statement,
    pub version: Statement,
    pub get: Statement,
    pub scan: Statement,
    pub scan_open: Statement,
    pub changes: Statement,
    pub load: Statement,
    pub time: Statement,
    pub entities: Statement,
    pub pins: Statement,
}

impl Statements {
    /// Prepares all of them, in one round trip.
    ///
    /// # Errors
    /// When the server does not know what they name.
    pub async fn prepare(client: &Client) -> Result<Statements, Failure> {
        let (commit, stamps, journals, version, get, scan) = tokio::try_join!(
            client.prepare(COMMIT),
            client.prepare(STAMPS),
            client.prepare(JOURNALS),
            client.prepare(VERSION),
            client.prepare(GET),
            client.prepare(SCAN),
        )?;
        let (scan_open, changes, load, time, entities, pins) = tokio::try_join!(
            client.prepare(SCAN_OPEN),
            client.prepare(CHANGES),
            client.prepare(LOAD),
            client.prepare(TIME),
            client.prepare(ENTITIES),
            client.prepare(PINS),
        )?;
        Ok(Statements {
            commit,
            stamps,
            journals,
            version,
            get,
            scan,
            scan_open,
            changes,
            load,
            time,
            entities,
            pins,
        })
    }
}
