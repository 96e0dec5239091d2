//! Owns the reads: each one statement, so that its answer is of one moment.

use tokio_postgres::Row;

use crate::base::{EntityKey, Millis};
use crate::entity::keys;
use crate::store::journal::PAGE_BYTES;
use crate::store::{Change, Changes, Cursor, LoadPage, Versioned};

use super::connection::Link;
use super::error::Failure;
use super::pool::Pool;
use super::present::{entity as entity_key, unsigned};

pub async fn get(pool: &Pool, key: Vec<u8>) -> Result<Option<Versioned>, Failure> {
    pool.with(async |link| {
        let found = link.client.query_opt(&link.statements.get, &[&key]).await?;
        found.map(|row| versioned(&row, 0)).transpose()
    })
    .await
}

/// The keys of a prefix behind another key.
pub struct Range {
    from: Vec<u8>,
    after: Vec<u8>,
    /// `None` when no key is greater than all with the prefix.
    before: Option<Vec<u8>>,
}

impl Range {
    pub fn new(prefix: &[u8], after: Option<&[u8]>) -> Range {
        let mut before = prefix.to_vec();
        while before.last() == Some(&u8::MAX) {
            before.pop();
        }
        let before = before.split_last().map(|(last, rest)| [rest, &[last + 1]].concat());
        // No key is empty, so all are behind that.
        Range { from: prefix.to_vec(), after: after.unwrap_or_default().to_vec(), before }
    }
}

pub async fn scan(
    pool: &Pool,
    range: Range,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Versioned)>, Failure> {
    let (Range { from, after, before }, limit) = (range, bounded(limit));
    pool.with(async |link| {
        let (client, statements) = (&link.client, &link.statements);
        let found = match &before {
            Some(before) => {
                client.query(&statements.scan, &[&from, &after, before, &limit]).await?
            }
            None => client.query(&statements.scan_open, &[&from, &after, &limit]).await?,
        };
        found.iter().map(|row| Ok((row.try_get(0)?, versioned(row, 1)?))).collect()
    })
    .await
}

pub async fn changes(pool: &Pool, since: u64, limit: usize) -> Result<Changes, Failure> {
    // A version beyond what is counted to is as unknown as the highest.
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let limit = bounded(limit.max(1));
    pool.with(async |link| {
        let found = link.client.query(&link.statements.changes, &[&since, &limit]).await?;
        let mut all = Changes { changes: vec![], upto: 0, too_old: false };
        for row in found {
            (all.upto, all.too_old) = (unsigned(row.try_get(3)?)?, row.try_get(4)?);
            let version: Option<i64> = row.try_get(0)?;
            let Some(version) = version else { continue };
            let (key, value) = (row.try_get(1)?, row.try_get(2)?);
            all.changes.push(Change { version: unsigned(version)?, key, value });
        }
        Ok(all)
    })
    .await
}

pub async fn load(
    pool: &Pool,
    entity: EntityKey,
    from: Option<Cursor>,
) -> Result<LoadPage, Failure> {
    let (name, head) = (entity.to_bytes(), keys::head(entity));
    let (chunk, after) = match from {
        None => (0, 0),
        Some(Cursor::Chunk { index, .. }) => (i64::from(index), 0),
        Some(Cursor::After(after)) => (i64::MAX, i64::try_from(after).unwrap_or(i64::MAX)),
    };
    let room = PAGE_BYTES as i64;
    pool.with(async |link| {
        let load = &link.statements.load;
        let rows = link.client.query(load, &[&name, &head, &chunk, &after, &room]).await?;
        page(entity, from, &rows)
    })
    .await
}

/// The page that rows of `LOAD` are.
fn page(entity: EntityKey, from: Option<Cursor>, rows: &[Row]) -> Result<LoadPage, Failure> {
    let at = rows.first().map_or(Ok(0), |row| unsigned(row.try_get(1)?))?;
    let mut next = match from {
        None => at + 1,
        Some(Cursor::Chunk { snapshot, .. }) if snapshot == at => at + 1,
        Some(Cursor::After(after)) if after >= at => after.saturating_add(1),
        Some(_) => return Err(Failure::Replaced),
    };
    let mut page = LoadPage::default();
    if let (None, Some(head)) = (from, rows.first()) {
        page.head = head.try_get(2)?;
    }
    let parts = rows.get(1..).unwrap_or_default();
    for row in parts {
        let (kind, number): (i32, u64) = (row.try_get(0)?, unsigned(row.try_get(1)?)?);
        let bytes = row.try_get(2)?;
        if kind == 1 {
            page.chunks.push(bytes);
            continue;
        }
        if number != next {
            let what = format!("record {next} of {entity} is missing, {number} follows");
            return Err(Failure::Damaged(what));
        }
        page.records.push((number, bytes));
        next += 1;
    }
    page.next = behind(at, parts)?;
    Ok(page)
}

/// Where a load goes on behind `parts`, if these are not all.
fn behind(snapshot: u64, parts: &[Row]) -> Result<Option<Cursor>, Failure> {
    let Some(last) = parts.last() else { return Ok(None) };
    let (kind, number, all): (i32, i64, i64) =
        (last.try_get(0)?, last.try_get(1)?, last.try_get(3)?);
    if all <= parts.len() as i64 {
        return Ok(None);
    }
    let after_chunk = u32::try_from(number).ok().and_then(|index| index.checked_add(1));
    Ok(Some(match (kind, after_chunk) {
        (1, Some(index)) => Cursor::Chunk { snapshot, index },
        (1, None) => Cursor::After(snapshot),
        _ => Cursor::After(unsigned(number)?),
    }))
}

pub async fn time(pool: &Pool) -> Result<Millis, Failure> {
    pool.with(time_of).await
}

pub async fn time_of(link: &Link) -> Result<Millis, Failure> {
    let row = link.client.query_one(&link.statements.time, &[]).await?;
    Ok(Millis(unsigned(row.try_get(0)?)?))
}

pub async fn entities(
    pool: &Pool,
    after: Option<EntityKey>,
    limit: usize,
) -> Result<Vec<EntityKey>, Failure> {
    let (after, limit) = (after.map(EntityKey::to_bytes).unwrap_or_default(), bounded(limit));
    pool.with(async |link| {
        let found = link.client.query(&link.statements.entities, &[&after, &limit]).await?;
        found.iter().map(|row| entity_key(row.try_get(0)?)).collect()
    })
    .await
}

fn versioned(row: &Row, at: usize) -> Result<Versioned, Failure> {
    Ok(Versioned { version: unsigned(row.try_get(at)?)?, value: row.try_get(at + 1)? })
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
