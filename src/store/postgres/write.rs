//! Owns the shape of a decided commit on its way to the server: the arrays
//! that `starmesh.commit` takes. Never decides anything. Invariant: with what
//! was decided on, `Known`, they say all that must still hold and all that
//! changes, each key and journal once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::base::EntityKey;
use crate::entity::commit::CommitError;
use crate::entity::keys;
use crate::store::decide::{Accepted, Journal, Op};

use super::present::{Known, Touched, signed};

/// The arguments of `starmesh.commit`, which says what each is.
#[derive(Debug, Default)]
pub struct Write {
    pub checked: Vec<Vec<u8>>,
    pub expected: Vec<Option<i64>>,
    pub absent: Vec<Vec<u8>>,
    pub forgot: Vec<Vec<u8>>,
    pub forgot_last: Vec<i64>,
    pub forgot_head: Vec<i64>,
    pub old: Vec<Vec<u8>>,
    pub old_known_last: Vec<i64>,
    pub old_known_head: Vec<Option<i64>>,
    pub old_last: Vec<i64>,
    pub old_head: Vec<Option<i64>>,
    pub new: Vec<Vec<u8>>,
    pub new_last: Vec<i64>,
    pub new_head: Vec<i64>,
    pub row_entity: Vec<i32>,
    pub row_snapshot: Vec<i64>,
    pub row_number: Vec<i64>,
    pub row_bytes: Vec<Vec<u8>>,
    pub adopted: Vec<Vec<u8>>,
    pub put: Vec<Vec<u8>>,
    pub value: Vec<Vec<u8>>,
    pub deleted: Vec<Vec<u8>>,
    pub changed: Vec<Vec<u8>>,
    pub exact: Option<i64>,
}

/// What becomes of one entity.
#[derive(Default)]
struct Fate<'a> {
    journal: Journal,
    forgotten: bool,
    adopted: bool,
    /// Snapshot (0 for a record) and number, and the bytes.
    rows: BTreeMap<(u64, u64), &'a [u8]>,
}

type Keys<'a> = BTreeMap<Cow<'a, [u8]>, Option<Cow<'a, [u8]>>>;

impl Write {
    /// What `accepted`, decided on `known`, asks of the server.
    ///
    /// # Errors
    /// Malformed, when a number is beyond what the engine counts to.
    pub fn new(
        accepted: Accepted<'_>,
        known: &Known,
        touched: &Touched,
    ) -> Result<Write, CommitError> {
        let mut fates: BTreeMap<EntityKey, Fate<'_>> = BTreeMap::new();
        for (entity, journal) in &known.journals {
            fates.insert(*entity, Fate { journal: *journal, ..Fate::default() });
        }
        let mut puts = Keys::new();
        for op in accepted.ops {
            fold(op, &mut fates, &mut puts);
        }
        let mut write = Write::default();
        // Only such a check can tell this commit's own version from others.
        if touched.version_max > known.version {
            write.exact = Some(signed(accepted.version)?);
        }
        write.push_checks(known, &puts)?;
        write.push_keys(puts);
        write.push_entities(&fates, known, touched)?;
        Ok(write)
    }

    fn push_checks(&mut self, known: &Known, puts: &Keys<'_>) -> Result<(), CommitError> {
        for (key, stamp) in &known.stamps {
            self.checked.push(key.clone());
            self.expected.push(stamp.map(|stamp| signed(stamp.version)).transpose()?);
            if stamp.is_none() && !puts.contains_key(key.as_slice()) {
                // The place that was held for it goes again; nothing changed.
                self.deleted.push(key.clone());
            }
        }
        Ok(())
    }

    fn push_keys(&mut self, puts: Keys<'_>) {
        for (key, value) in puts {
            if key.starts_with(keys::ACCOUNT) {
                self.changed.push(key.to_vec());
            }
            match value {
                Some(value) => {
                    self.put.push(key.into_owned());
                    self.value.push(value.into_owned());
                }
                None => self.deleted.push(key.into_owned()),
            }
        }
    }

    fn push_entities(
        &mut self,
        fates: &BTreeMap<EntityKey, Fate<'_>>,
        known: &Known,
        touched: &Touched,
    ) -> Result<(), CommitError> {
        let mut new = BTreeMap::new();
        for (entity, fate) in fates {
            let before = known.journals.get(entity).copied().unwrap_or_default();
            let bytes = entity.to_bytes();
            if fate.forgotten {
                self.forgot.push(bytes.clone());
                self.forgot_last.push(signed(before.last)?);
                self.forgot_head.push(signed(before.head)?);
            }
            if before.last > 0 && !fate.forgotten {
                let head_counts = touched.journals.get(entity).copied().unwrap_or(true);
                self.push_old(&bytes, before, fate, head_counts)?;
                continue;
            }
            if before.last == 0 {
                self.absent.push(bytes.clone());
            }
            if fate.journal.last > 0 || !fate.rows.is_empty() {
                new.insert(bytes, fate);
            }
        }
        // The server tells new ones by the order of their keys' bytes.
        for (bytes, fate) in new {
            self.push_new(&bytes, fate)?;
        }
        Ok(())
    }

    fn push_old(
        &mut self,
        bytes: &[u8],
        before: Journal,
        fate: &Fate<'_>,
        head_counts: bool,
    ) -> Result<(), CommitError> {
        let head = |sequence| if head_counts { signed(sequence).map(Some) } else { Ok(None) };
        self.old.push(bytes.to_vec());
        self.old_known_last.push(signed(before.last)?);
        self.old_known_head.push(head(before.head)?);
        self.old_last.push(signed(fate.journal.last)?);
        self.old_head.push(head(fate.journal.head)?);
        self.push_rows(self.old.len(), bytes, fate)
    }

    fn push_new(&mut self, bytes: &[u8], fate: &Fate<'_>) -> Result<(), CommitError> {
        self.new.push(bytes.to_vec());
        self.new_last.push(signed(fate.journal.last)?);
        self.new_head.push(signed(fate.journal.head)?);
        self.push_rows(self.old.len() + self.new.len(), bytes, fate)
    }

    fn push_rows(
        &mut self,
        place: usize,
        bytes: &[u8],
        fate: &Fate<'_>,
    ) -> Result<(), CommitError> {
        if fate.adopted {
            self.adopted.push(bytes.to_vec());
        }
        for ((snapshot, number), bytes) in &fate.rows {
            // Groups are few enough: `GROUPS_MAX`.
            self.row_entity.push(place as i32);
            self.row_snapshot.push(signed(*snapshot)?);
            self.row_number.push(signed(*number)?);
            self.row_bytes.push(bytes.to_vec());
        }
        Ok(())
    }
}

fn fold<'a>(op: Op<'a>, fates: &mut BTreeMap<EntityKey, Fate<'a>>, puts: &mut Keys<'a>) {
    match op {
        Op::Put { key, value } => {
            puts.insert(key, value);
        }
        Op::Row { node, row } => {
            puts.insert(keys::row(node).into(), Some(row.to_bytes().into()));
        }
        Op::Append { entity, sequence, bytes } => {
            let fate = fates.entry(entity).or_default();
            fate.journal.last = sequence;
            fate.rows.insert((0, sequence), bytes);
        }
        Op::Chunk { entity, snapshot, index, bytes } => {
            let fate = fates.entry(entity).or_default();
            fate.rows.insert((snapshot, u64::from(index)), bytes);
        }
        Op::Head { entity, snapshot, value } => {
            let fate = fates.entry(entity).or_default();
            let last = fate.journal.last.max(snapshot);
            fate.journal = Journal { last, head: snapshot };
            fate.adopted = true;
            puts.insert(keys::head(entity).into(), Some(value.into()));
        }
        Op::Forget { entity } => {
            let fate = fates.entry(entity).or_default();
            *fate = Fate { forgotten: true, ..Fate::default() };
            puts.insert(keys::head(entity).into(), None);
        }
    }
}
