//! Owns the format version of a cluster: in which form everything is stored and
//! sent that is not read by one build alone. It is one row of the store. A node
//! that cannot read it does not start; it is raised when every node that runs reads
//! the next one, so that a rolling change of builds goes through, and until its end
//! back again. Never reads a store: `actors` do, and commit what is made here; and
//! never encodes.
//!
//! | version | what is new in it |
//! |---|---|
//! | 1 | – |
//! | 2 | a [snapshot](super::packed) may be deflated, an entry of the directory pinned |
//!
//! Whoever encodes what has more than one form knows the version: the core is told,
//! for snapshots, and whoever pins an entry reads it. All else has the form of version 1 in both, what nodes send each other
//! included. Invariant: a node that begins, registers or runs reads what is written,
//! for each of them checks the row's version in the group by which it comes, and
//! whoever raises it checks that nobody came and that all say what they said.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::commit::{Check, Expect, Group, NodeRow, Put};
use super::keys;
use super::member::LastNode;
use super::packed;
use crate::base::NodeId;

/// The format versions that a node reads. It is to write whichever the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    pub lowest: u16,
    pub highest: u16,
}

/// Those of the first builds, which did not say so.
const FIRST: Formats = Formats { lowest: 1, highest: 1 };
/// Those of this build, of which a node may be told to leave out the last.
pub const FORMATS: Formats = Formats { lowest: 1, highest: packed::SINCE };

impl Formats {
    /// The highest that both read.
    pub fn common(self, other: Formats) -> Option<u16> {
        let (lowest, highest) = (self.lowest.max(other.lowest), self.highest.min(other.highest));
        (lowest <= highest).then_some(highest)
    }

    /// Without those above `highest`, as if this build did not know of them.
    pub fn up_to(self, highest: u16) -> Formats {
        Formats { highest: self.highest.min(highest), ..self }
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
        match self.lowest == self.highest {
            true => write!(f, "{}", self.lowest),
            false => write!(f, "{} to {}", self.lowest, self.highest),
        }
    }
}

/// Why a build has no place on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error(
        "the cluster's format version is {found}, and this node reads {reads}: start a build that \
         reads it, without a lower cluster.format_max; nothing was changed"
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
    /// What a store has for a node that reads `reads`. Where there is no row, builds
    /// of before there was one may run on it.
    ///
    /// # Errors
    /// When the node cannot read it.
    pub fn found(row: Option<(&[u8], u64)>, reads: Formats) -> Result<Format, FormatError> {
        let (number, version) = match row {
            None => (FIRST.highest, None),
            Some((value, version)) => {
                let number = value.try_into().map_err(|_| FormatError::Damaged)?;
                (u16::from_be_bytes(number), Some(version))
            }
        };
        match reads.reads(number) {
            true => Ok(Format { number, version }),
            false => Err(FormatError::Unreadable { found: number, reads }),
        }
    }

    /// Of a galaxy that a node which reads `reads` makes: its highest.
    pub fn of_new_galaxy(reads: Formats) -> Format {
        Format { number: reads.highest, version: None }
    }

    /// That the row is still as it was read.
    pub fn check(self) -> Check {
        let expect = self.version.map_or(Expect::Absent, Expect::Version);
        Check { key: keys::FORMAT.to_vec(), expect }
    }

    fn put(self) -> Put {
        Put { key: keys::FORMAT.to_vec(), value: Some(self.number.to_be_bytes().to_vec()) }
    }

    /// With what `node`, which reads `reads`, begins: refused when the row is not as
    /// it was read. What it said before, as `told`, was perhaps of a later build; so
    /// whoever is about to raise the version finds that changed.
    pub fn begin(self, node: NodeId, reads: Formats, told: Option<Formats>) -> Group {
        let put = self.version.is_none().then(|| self.put());
        let says = (told != Some(reads)).then(|| reads.put(node));
        let puts = put.into_iter().chain(says).collect();
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

    const THIS: Formats = Formats { lowest: 1, highest: 1 };
    const NEXT: Formats = Formats { lowest: 1, highest: 2 };
    const NEXT_ONLY: Formats = Formats { lowest: 2, highest: 2 };

    fn format() -> Format {
        Format::found(Some((&[0, 1], 40)), THIS).unwrap()
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
        let node = NodeId(7);
        assert_eq!(format().begin(node, NEXT, Some(NEXT)).puts, []);
        assert_eq!(format().begin(node, THIS, Some(NEXT)).puts, [THIS.put(node)]);
        let begun = Format::of_new_galaxy(NEXT).begin(node, NEXT, None);
        assert_eq!(begun.checks[0].expect, Expect::Absent);
        assert_eq!(begun.puts[0].value.as_deref(), Some(&[0, 2][..]));
        assert_eq!(begun.puts[1], NEXT.put(node));
        // Others may run on it that do not read the next, and did not say so.
        let before = Format::found(None, NEXT).unwrap();
        assert_eq!(before, Format { number: 1, version: None });
        let unread = FormatError::Unreadable { found: 1, reads: NEXT_ONLY };
        assert_eq!(Format::found(None, NEXT_ONLY), Err(unread));
        let later = Format::found(Some((&[0, 3], 1)), NEXT).unwrap_err();
        assert!(later.to_string().contains("is 3, and this node reads 1 to 2"), "{later}");
        let late = Formats { lowest: 4, highest: 5 };
        let before = Format::found(Some((&[0, 3], 1)), late).unwrap_err();
        assert_eq!(before, FormatError::Unreadable { found: 3, reads: late });
        assert_eq!(Format::found(Some((&[3], 1)), NEXT), Err(FormatError::Damaged));
        let kept = Format::found(Some((&[0, 2], 1)), NEXT.up_to(1)).unwrap_err();
        assert!(kept.to_string().contains("is 2, and this node reads 1:"), "{kept}");
        let told = late.put(node).value.unwrap();
        assert_eq!(Formats::from_bytes(&told), Some(late));
        assert_eq!(Formats::from_bytes(&told[1..]), None);
    }

    #[test]
    fn it_is_raised_when_every_node_that_runs_reads_the_next() {
        let (a, b) = (reader(1, NEXT, true), reader(2, THIS, true));
        let silent = Reader { reads: None, ..b.clone() };
        assert_eq!(raised(&[a.clone(), silent]), Raise::Waits(vec![NodeId(2)]));
        assert_eq!(raised(&[a.clone(), b.clone()]), Raise::Waits(vec![NodeId(2)]));
        assert_eq!(
            raise(format(), THIS, &[a.clone(), b], LastNode { node: NodeId(2), version: None }),
            Raise::Settled
        );
        let Raise::To(2, group) = raised(&[a, reader(2, NEXT, true)]) else {
            panic!("both read it")
        };
        assert_eq!(group.puts[0].value, Some(vec![0, 2]));
    }

    #[test]
    fn one_that_does_not_run_is_not_waited_for_and_must_not_have_begun() {
        let readers = [reader(1, NEXT, true), reader(2, THIS, false)];
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
