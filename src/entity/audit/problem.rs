//! Owns what can be wrong with a node's log, in words. Never looks for it: the
//! [`chain`](super::chain) does.

use std::fmt;

use serde::Serialize;

use super::signature::{Doubt, Statement};
use super::{Head, Place};
use crate::base::{Incarnation, NodeId};

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Problem {
    #[error("there are entries, but no row of the node")]
    NoRow,
    #[error("{at} cannot be read: {why}")]
    Damaged { at: Place, why: String },
    #[error("{0} does not follow from those before it: one was removed, added or changed")]
    Broken(Place),
    #[error(
        "the last entries are not those that the node's row stands for: some were removed, added or changed"
    )]
    Tail,
    #[error(
        "{by} saw this chain at commit {number} of incarnation {incarnation}, and it says otherwise: it was written anew"
    )]
    Contradicted { by: Witness, incarnation: Incarnation, number: u64 },
    #[error(
        "{by} saw this chain at commit {number} of incarnation {incarnation}, which is beyond its end: it was cut off"
    )]
    CutOff { by: Witness, incarnation: Incarnation, number: u64 },
    #[error("{0} cannot be read: it was changed")]
    DamagedSignature(SignedPlace),
    #[error("{at} is not to be believed: {doubt}")]
    Doubtful { at: SignedPlace, doubt: Doubt },
    #[error("{0} is over another chain: it was written anew")]
    SignedOtherwise(SignedPlace),
    #[error("{0} is beyond the end of the chain: it was cut off")]
    SignedBeyond(SignedPlace),
    #[error("the signature before {before} is not there: it was removed")]
    SignatureMissing { before: SignedPlace },
    #[error(
        "{entries} entries at the end are not signed, though the node ran for {ms} ms with them: signatures were removed, or it cannot sign"
    )]
    Unsigned { entries: u64, ms: u64 },
}

/// Who says how far a chain had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Witness {
    /// Another node, by this entry.
    Entry(Place),
    /// A head that was kept elsewhere.
    Kept,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Entry(place) => place.fmt(f),
            Witness::Kept => f.write_str("the head that was kept elsewhere"),
        }
    }
}

/// What a signature is over, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SignedPlace {
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub number: u64,
    pub by: NodeId,
}

impl SignedPlace {
    pub(super) fn of(statement: &Statement) -> SignedPlace {
        let Statement { node, head: Head { incarnation, number, .. }, by, .. } = *statement;
        SignedPlace { node, incarnation, number, by }
    }
}

impl fmt::Display for SignedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SignedPlace { node, incarnation, number, by } = self;
        write!(
            f,
            "the signature of node {by} over commit {number} of incarnation {incarnation} of node {node}"
        )
    }
}
