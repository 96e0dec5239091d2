//! Owns the format version of a cluster: in which form everything is stored and
//! sent that is not read by one build alone. It is one row of the store. A node
//! that cannot read it does not start; it is raised when every node that runs reads
//! the next one, so that a rolling change of builds goes through, and until its end
//! back again. There is one form so far, so nobody who encodes asks yet: who adds the
//! next hands `Format::number` to `envelope::start`. Never reads a store: `actors::membership` does, and commits what is
//! made here. Invariant: a node that registered, or that runs, reads what is
//! written, for each of them checks the row's version in the group by which it
//! comes, and whoever raises it checks that nobody came.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, NodeRow, Put};
use super::envelope::FORMAT;
use super::keys;
use super::member::LastNode;
use crate::base::NodeId;

/// The format versions that a build reads. It is to write whichever the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    pub lowest: u16,
    pub highest: u16,
}

/// Those of the first builds, which did not say so.
const FIRST: Formats = Formats { lowest: 1, highest: 1 };
/// Those of this build.
pub const FORMATS: Formats = Formats { lowest: 1, highest: FORMAT as u16 };

impl Formats {
    /// The highest that both read.
    pub fn common(self, other: Formats) -> Option<u16> {
        let (lowest, highest) = (self.lowest.max(other.lowest), self.highest.min(other.highest));
        (lowest <= highest).then_some(highest)
    }

    /// What a store has of them, as it was read; `None` when it is damaged.
    pub fn from_bytes(value: &[u8]) -> Option<Formats> {
        let (lowest, highest) = value.split_first_chunk()?;
        let highest = u16::from_be_bytes(highest.try_into().ok()?);
        Some(Formats { lowest: u16::from_be_bytes(*lowest), highest })
    }

    /// That `node` reads them.
    pub fn put(self, node: NodeId) -> Put {
        let value = [self.lowest.to_be_bytes(), self.highest.to_be_bytes()].concat();
        Put { key: keys::reads(node), value: Some(value) }
    }

    pub fn reads(self, version: u16) -> bool {
        (self.lowest..=self.highest).contains(&version)
    }
}

impl fmt::Display for Formats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.lowest, self.highest)
    }
}

/// Why a build has no place on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error(
        "the cluster's format version is {found}, and this build reads {reads}: start a build that \
         reads it; nothing was changed"
    )]
    Unreadable { found: u16, reads: Formats },
    #[error("the row of the cluster's format version is damaged")]
    Damaged,
}

/// The row as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub number: u16,
    /// Of the row; none where there is none yet.
    pub version: Option<u64>,
}

impl Format {
    /// What a store has for a node that reads `reads`: for a new one its highest.
    ///
    /// # Errors
    /// When the node cannot read it.
    pub fn found(row: Option<(&[u8], u64)>, reads: Formats) -> Result<Format, FormatError> {
        let Some((value, version)) = row else {
            return Ok(Format { number: reads.highest, version: None });
        };
        let number = value.try_into().map(u16::from_be_bytes).map_err(|_| FormatError::Damaged)?;
        if !reads.reads(number) {
            return Err(FormatError::Unreadable { found: number, reads });
        }
        Ok(Format { number, version: Some(version) })
    }

    /// That the row is still as it was read.
    pub fn check(self) -> Check {
        let expect = self.version.map_or(Expect::Absent, Expect::Version);
        Check { key: keys::FORMAT.to_vec(), expect }
    }

    fn put(self) -> Put {
        Put { key: keys::FORMAT.to_vec(), value: Some(self.number.to_be_bytes().to_vec()) }
    }

    /// With what a node begins: refused when the row is not as it was read.
    pub fn begin(self) -> Group {
        let puts = if self.version.is_none() { vec![self.put()] } else { Vec::new() };
        Group { checks: vec![self.check()], puts, append: None }
    }
}

/// A member of a cluster, as far as its format version depends on it.
#[derive(Clone, Debug)]
pub struct Reader {
    pub node: NodeId,
    /// What it said that it reads, and the version of that row: none for a build from
    /// before nodes said so, which reads what [`FIRST`] has.
    pub reads: Option<(Formats, u64)>,
    /// The node's row and its version: none when it never ran.
    pub row: Option<(NodeRow, u64)>,
}

impl Reader {
    /// One that does not run needs not read what is written: it looks at the row
    /// before it begins.
    fn runs(&self) -> bool {
        self.row.as_ref().is_some_and(|(row, _)| !row.is_vacant())
    }

    fn highest(&self) -> u16 {
        self.reads.map_or(FIRST, |(formats, _)| formats).highest
    }

    /// That it is of the build that it was, and does not run if it did not.
    fn checks(&self) -> impl Iterator<Item = Check> {
        let expect = |version: Option<u64>| version.map_or(Expect::Absent, Expect::Version);
        let version = self.reads.map(|(_, version)| version);
        let reads = Check { key: keys::reads(self.node), expect: expect(version) };
        let version = self.row.as_ref().map(|(_, version)| *version);
        let row = Check { key: keys::row(self.node), expect: expect(version) };
        [Some(reads), (!self.runs()).then_some(row)].into_iter().flatten()
    }
}

/// What is to become of the format version.
#[derive(Clone, Debug, PartialEq)]
pub enum Raise {
    /// All that run read no higher one than is written.
    Settled,
    /// These groups raise it to that: refused when somebody came meanwhile.
    To(u16, Group),
    /// These nodes do not read the next one, which others do.
    Waits(Vec<NodeId>),
}

/// Whether a node that reads `own` can raise `format` for `readers`, all members.
pub fn raise(format: Format, own: Formats, readers: &[Reader], last: LastNode) -> Raise {
    let running = || readers.iter().filter(|reader| reader.runs());
    let highest = running().map(Reader::highest).fold(own.highest, u16::min);
    if highest <= format.number {
        let reads_less = |reader: &&Reader| reader.highest() <= format.number;
        let behind: Vec<NodeId> = running().filter(reads_less).map(|reader| reader.node).collect();
        let is_settled = own.highest <= format.number;
        return if is_settled { Raise::Settled } else { Raise::Waits(behind) };
    }
    let raised = Format { number: highest, ..format };
    let last = last
        .version
        .map(|version| Check { key: keys::LAST_NODE.to_vec(), expect: Expect::Version(version) });
    let checks = std::iter::once(format.check()).chain(last);
    let checks = checks.chain(readers.iter().flat_map(Reader::checks)).collect();
    Raise::To(highest, Group { checks, puts: vec![raised.put()], append: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, Tick};

    const NEXT: Formats = Formats { lowest: 1, highest: 2 };

    fn format() -> Format {
        Format::found(Some((&[0, 1], 40)), FORMATS).unwrap()
    }

    fn reader(node: u32, reads: Formats, runs: bool) -> Reader {
        let nonce = if runs { 5 } else { NodeRow::VACANT };
        let row = NodeRow {
            incarnation: Incarnation(2),
            nonce,
            number: 3,
            tick: Tick(4),
            refused: Vec::new(),
            audit_root: [0; 32],
        };
        Reader { node: NodeId(node), reads: Some((reads, 10)), row: Some((row, 20)) }
    }

    fn raised(readers: &[Reader]) -> Raise {
        raise(format(), NEXT, readers, LastNode { node: NodeId(3), version: Some(30) })
    }

    #[test]
    fn a_node_begins_on_a_store_that_it_reads_and_on_no_other() {
        assert_eq!(format(), Format { number: 1, version: Some(40) });
        assert_eq!(format().begin().puts, []);
        let new = Format::found(None, NEXT).unwrap();
        let (check, put) = (&new.begin().checks[0], &new.begin().puts[0]);
        assert_eq!((&check.expect, put.value.as_deref()), (&Expect::Absent, Some(&[0, 2][..])));
        let later = Format::found(Some((&[0, 3], 1)), NEXT).unwrap_err();
        assert!(later.to_string().contains("is 3, and this build reads 1 to 2"), "{later}");
        let late = Formats { lowest: 4, highest: 5 };
        let before = Format::found(Some((&[0, 3], 1)), late).unwrap_err();
        assert_eq!(before, FormatError::Unreadable { found: 3, reads: late });
        assert_eq!(Format::found(Some((&[3], 1)), NEXT), Err(FormatError::Damaged));
        let told = late.put(NodeId(7)).value.unwrap();
        assert_eq!(Formats::from_bytes(&told), Some(late));
        assert_eq!(Formats::from_bytes(&told[1..]), None);
    }

    #[test]
    fn it_is_raised_when_every_node_that_runs_reads_the_next() {
        let (a, b) = (reader(1, NEXT, true), reader(2, FORMATS, true));
        let silent = Reader { reads: None, ..b.clone() };
        assert_eq!(raised(&[a.clone(), silent]), Raise::Waits(vec![NodeId(2)]));
        assert_eq!(raised(&[a.clone(), b.clone()]), Raise::Waits(vec![NodeId(2)]));
        assert_eq!(
            raise(format(), FORMATS, &[a.clone(), b], LastNode { node: NodeId(2), version: None }),
            Raise::Settled
        );
        let Raise::To(2, group) = raised(&[a, reader(2, NEXT, true)]) else {
            panic!("both read it")
        };
        assert_eq!(group.puts[0].value, Some(vec![0, 2]));
    }

    #[test]
    fn one_that_does_not_run_is_not_waited_for_and_must_not_have_begun() {
        let readers = [reader(1, NEXT, true), reader(2, FORMATS, false)];
        let Raise::To(2, group) = raised(&readers) else { panic!("who runs reads it") };
        let version = |key: Vec<u8>| {
            let check = group.checks.iter().find(|check| check.key == key);
            check.map(|check| check.expect)
        };
        assert_eq!(version(keys::row(NodeId(2))), Some(Expect::Version(20)));
        assert_eq!(version(keys::row(NodeId(1))), None, "its row moves all the time");
        assert_eq!(version(keys::reads(NodeId(1))), Some(Expect::Version(10)));
        assert_eq!(version(keys::LAST_NODE.to_vec()), Some(Expect::Version(30)), "nobody joined");
        assert_eq!(version(keys::FORMAT.to_vec()), Some(Expect::Version(40)));
    }
}
