//! Owns how a call of the store and its answer are written: a kind (u8) and a
//! length (u32, little endian), then postcard; an answer is a length and
//! postcard. Pure. Sent: a new form gets a new name in the handshake
//! (`tls::STORE`). Invariant: nothing is read that says it is longer than it
//! may be, and bytes that are no call are a [`WireError`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::EntityKey;
use crate::entity::commit::{COMMIT_BYTES_MAX, Commit, GROUPS_MAX};
use crate::store::{Cursor, Versioned};

/// Bytes of a written commit at most: what it weighs counts more for every
/// part than its lengths and kinds take here, but for those of its groups.
pub const COMMIT_MAX: usize = COMMIT_BYTES_MAX + 8 * GROUPS_MAX;
/// Bytes of any other request at most: some keys.
pub const READ_MAX: usize = 16 << 10;
/// Bytes of an answer at most. The longest are changes: [`PAGE`] of them, or
/// all of one commit.
pub const ANSWER_MAX: usize = 48 << 20;

/// Keys or changes in one answer at most, whatever was asked for.
pub const PAGE: usize = 256;
/// Bytes of a page of keys after which it ends.
pub const PAGE_BYTES: usize = 1 << 20;
/// Entities named in one answer at most.
pub const PINS_MAX: usize = 1024;

/// What a stream begins with.
pub const HEAD: usize = 5;
/// What an answer begins with.
pub const ANSWER_HEAD: usize = 4;

/// Which call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Commit,
    Read,
}

/// Every call but `commit`. Sent: variants keep their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Read {
    Get {
        key: Vec<u8>,
    },
    /// Answered with a [`Page`].
    Scan {
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: u64,
    },
    Changes {
        since: u64,
        limit: u64,
    },
    Load {
        entity: EntityKey,
        from: Option<Cursor>,
    },
    Time,
    FreeBytes,
    Pins,
}

/// A part of what a scan finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub found: Vec<(Vec<u8>, Versioned)>,
    /// There may be more, behind the last of these.
    pub more: bool,
}

/// Bytes that are no call, or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("a call of kind {0}, which does not exist")]
    Kind(u8),
    #[error("{got} bytes; at most {max} are allowed")]
    TooLong { got: usize, max: usize },
    #[error("{got} bytes that do not decode: {why}")]
    Payload { got: usize, why: String },
}

impl Call {
    fn longest(self) -> usize {
        match self {
            Call::Commit => COMMIT_MAX,
            Call::Read => READ_MAX,
        }
    }

    /// Which call a stream begins, and the bytes that follow.
    ///
    /// # Errors
    /// When there is no such call, or it is too long.
    pub fn parse(head: [u8; HEAD]) -> Result<(Call, usize), WireError> {
        let [kind, length @ ..] = head;
        let call = match kind {
            0 => Call::Commit,
            1 => Call::Read,
            kind => return Err(WireError::Kind(kind)),
        };
        Ok((call, at_most(u32::from_le_bytes(length) as usize, call.longest())?))
    }

    fn write(self, what: &impl Serialize) -> Result<Vec<u8>, WireError> {
        let kind = match self {
            Call::Commit => 0,
            Call::Read => 1,
        };
        write(what, &[kind, 0, 0, 0, 0], self.longest())
    }
}

/// A commit, as it goes over a stream.
///
/// # Errors
/// When it is longer than any engine would take.
pub fn write_commit(commit: &Commit) -> Result<Vec<u8>, WireError> {
    Call::Commit.write(commit)
}

/// Any other call, likewise.
///
/// # Errors
/// When its keys are too long.
pub fn write_read(read: &Read) -> Result<Vec<u8>, WireError> {
    Call::Read.write(read)
}

/// An answer, likewise.
///
/// # Errors
/// When it is too long.
pub fn write_answer(answer: &impl Serialize) -> Result<Vec<u8>, WireError> {
    write(answer, &[0; ANSWER_HEAD], ANSWER_MAX)
}

/// The bytes of the answer that follow this head.
///
/// # Errors
/// When they are too many.
pub fn answer_length(head: [u8; ANSWER_HEAD]) -> Result<usize, WireError> {
    at_most(u32::from_le_bytes(head) as usize, ANSWER_MAX)
}

/// What `bytes` are, all of them.
///
/// # Errors
/// When they are something else.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let wrong = |why: String| WireError::Payload { got: bytes.len(), why };
    let (value, rest) =
        postcard::take_from_bytes(bytes).map_err(|error| wrong(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(wrong(format!("{} too many", rest.len()))) }
}

/// `what` behind a head whose last four bytes become its length.
fn write(what: &impl Serialize, head: &[u8], max: usize) -> Result<Vec<u8>, WireError> {
    let wrong = |error: postcard::Error| WireError::Payload { got: 0, why: error.to_string() };
    let mut bytes = postcard::to_extend(what, head.to_vec()).map_err(wrong)?;
    let length = at_most(bytes.len() - head.len(), max)? as u32;
    bytes[head.len() - 4..head.len()].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

fn at_most(got: usize, max: usize) -> Result<usize, WireError> {
    if got <= max { Ok(got) } else { Err(WireError::TooLong { got, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeId, Tick};
    use crate::entity::commit::{Append, Check, CommitAnswer, CommitError, Expect, Group, Put};
    use crate::store::ReadError;

    fn commit(groups: Vec<Group>) -> Commit {
        Commit {
            node: NodeId(u32::MAX),
            incarnation: Incarnation(u64::MAX),
            number: u64::MAX,
            nonce: u64::MAX,
            tick: Tick(u64::MAX),
            audit_root: [255; 32],
            groups,
            is_last: false,
        }
    }

    fn body(call: Call, bytes: &[u8]) -> &[u8] {
        let (head, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(Call::parse(*head), Ok((call, body.len())));
        body
    }

    #[test]
    fn every_call_comes_back_as_it_was_written() {
        let entity = EntityKey::Ledger(7);
        let from = Some(Cursor::Chunk { snapshot: 4, index: 2 });
        for call in [
            Read::Get { key: b"galaxy/seed".to_vec() },
            Read::Scan { prefix: vec![], after: Some(b"a".to_vec()), limit: u64::MAX },
            Read::Changes { since: 9, limit: 1 },
            Read::Load { entity, from },
            Read::Load { entity, from: Some(Cursor::After(3)) },
            Read::Time,
            Read::FreeBytes,
            Read::Pins,
        ] {
            let bytes = write_read(&call).unwrap();
            assert_eq!(read(body(Call::Read, &bytes)), Ok(call));
        }
        let append = Some(Append { entity, sequence: 1, bytes: vec![1, 2] });
        let group = Group { append, ..Group::default() };
        let bytes = write_commit(&commit(vec![group.clone()])).unwrap();
        assert_eq!(read(body(Call::Commit, &bytes)), Ok(commit(vec![group])));
    }

    /// What the form is: a change of it is another form.
    #[test]
    fn the_bytes_of_calls_and_answers_stay_what_they_are() {
        let call = Read::Scan { prefix: b"p".to_vec(), after: None, limit: 300 };
        assert_eq!(write_read(&call).unwrap(), [1, 6, 0, 0, 0, 1, 1, b'p', 0, 0xac, 2]);
        assert_eq!(write_read(&Read::Pins).unwrap(), [1, 1, 0, 0, 0, 6]);
        let row = Versioned { version: 5, value: vec![9] };
        let answer: Result<_, ReadError> = Ok(Some(row));
        assert_eq!(write_answer(&answer).unwrap(), [5, 0, 0, 0, 0, 1, 5, 1, 9]);
        let answer: Result<(), _> = Err(ReadError::Replaced);
        assert_eq!(write_answer(&answer).unwrap(), [2, 0, 0, 0, 1, 2]);
        let answer: Result<CommitAnswer, _> = Err(CommitError::Unknown("?".into()));
        assert_eq!(write_answer(&answer).unwrap(), [4, 0, 0, 0, 1, 1, 1, b'?']);
    }

    #[test]
    fn a_commit_that_an_engine_takes_is_never_too_long() {
        let check = Check { key: vec![1; 512], expect: Expect::Version(u64::MAX) };
        let put = Put { key: vec![1; 512], value: Some(vec![2; 60_000]) };
        let small = Put { key: vec![1], value: None };
        let bytes = vec![3; 1 << 20];
        let append =
            Some(Append { entity: EntityKey::Ledger(u16::MAX.into()), sequence: u64::MAX, bytes });
        for group in [
            Group::default(),
            Group { checks: vec![check], ..Group::default() },
            Group { puts: vec![put], ..Group::default() },
            Group { puts: vec![small; 1000], ..Group::default() },
            Group { append, ..Group::default() },
        ] {
            let count = ((COMMIT_BYTES_MAX - 256) / group.weight().max(1)).min(GROUPS_MAX);
            let whole = commit(vec![group; count]);
            assert!(whole.weight() <= COMMIT_BYTES_MAX);
            assert!(write_commit(&whole).is_ok());
        }
    }

    #[test]
    fn what_is_no_call_is_an_error_of_its_own() {
        let head = |kind, length: u32| {
            let [a, b, c, d] = length.to_le_bytes();
            Call::parse([kind, a, b, c, d])
        };
        assert_eq!(head(2, 0), Err(WireError::Kind(2)));
        let too_long = |got, max| Err(WireError::TooLong { got, max });
        assert_eq!(head(0, COMMIT_MAX as u32 + 1), too_long(COMMIT_MAX + 1, COMMIT_MAX));
        assert_eq!(head(1, READ_MAX as u32 + 1), too_long(READ_MAX + 1, READ_MAX));
        let length = (ANSWER_MAX as u32 + 1).to_le_bytes();
        assert_eq!(
            answer_length(length),
            Err(WireError::TooLong { got: ANSWER_MAX + 1, max: ANSWER_MAX })
        );
        let heavy = commit(vec![Group::default(); COMMIT_MAX]);
        assert!(matches!(write_commit(&heavy), Err(WireError::TooLong { .. })));
        let bytes = write_read(&Read::Get { key: b"key".to_vec() }).unwrap();
        let body = body(Call::Read, &bytes);
        for end in 0..body.len() {
            assert!(matches!(read::<Read>(&body[..end]), Err(WireError::Payload { .. })), "{end}");
        }
        assert!(matches!(read::<Read>(&[body, b"x"].concat()), Err(WireError::Payload { .. })));
        assert!(matches!(read::<Read>(&[99]), Err(WireError::Payload { .. })));
    }

    /// Random bytes, and sound ones with one byte changed.
    #[test]
    fn no_bytes_make_it_panic() {
        let sound = write_commit(&commit(vec![Group::default(); 3])).unwrap();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let mut bytes = sound[HEAD..].to_vec();
            let at = (random >> 32) as usize % bytes.len();
            bytes[at] = (random >> 16) as u8;
            let _ = read::<Commit>(&bytes);
            let _ = read::<Read>(&random.to_le_bytes()[..at % 9]);
            let _ = read::<Result<Page, ReadError>>(&bytes);
        }
    }
}
