//! Owns the first words on a link: who each side is and what it reads, and
//! whether they fit together. Pure. Invariant: after a hello was judged sound,
//! certificate, cluster and node are what the peer says they are.

use serde::{Deserialize, Serialize};

use super::end::{End, Reason};
use crate::base::{Incarnation, NodeId};
use crate::cluster::certificates::{Name, Subject};
pub use crate::entity::format::Formats;

/// What each side says first. Sent: only ever longer, at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub cluster: Name,
    pub node: NodeId,
    pub name: Name,
    pub incarnation: Incarnation,
    pub formats: Formats,
    /// Whom the one that dials expects.
    pub expects: Option<NodeId>,
    /// For people; nothing is decided by it.
    pub build: String,
    /// `HOST:PORT` where others dial this node from now on.
    pub address: String,
}

/// Bytes of a hello at most.
pub const HELLO_MAX: usize = 1_024;
/// Before every hello: that it is one, and in which form.
const MAGIC: &[u8; 9] = b"starmesh\x01";

impl Hello {
    pub fn to_bytes(&self) -> Vec<u8> {
        // It has no map and no sequence without a length.
        let bytes = postcard::to_extend(self, MAGIC.to_vec());
        bytes.unwrap_or_default()
    }

    /// # Errors
    /// When it is no hello.
    pub fn from_bytes(bytes: &[u8]) -> Result<Hello, End> {
        let wrong = |why: &str| End::us(Reason::Malformed, format!("expected a hello; {why}"));
        let payload = bytes.strip_prefix(MAGIC).ok_or_else(|| wrong("the bytes are others"))?;
        // What a newer build says besides is not for this one.
        let (hello, _) =
            postcard::take_from_bytes(payload).map_err(|error| wrong(&error.to_string()))?;
        Ok(hello)
    }

    /// Whether `peer`, whose certificate says `certificate`, fits this node.
    ///
    /// # Errors
    /// With what does not fit.
    pub fn judge(&self, peer: &Hello, certificate: Option<&Subject>) -> Result<(), End> {
        let refused = |reason, detail| Err(End::us(reason, detail));
        let Some(shown) = certificate else {
            return refused(Reason::OtherNode, "the certificate names no node".into());
        };
        if peer.cluster != self.cluster || shown.cluster != self.cluster {
            let theirs = if peer.cluster == self.cluster { &shown.cluster } else { &peer.cluster };
            let ours = &self.cluster;
            let detail = format!("cluster {theirs} where {ours} was expected");
            return refused(Reason::OtherCluster, detail);
        }
        if shown.node != peer.node {
            let (shown, said) = (shown.node, peer.node);
            let detail = format!("node {said} shows the certificate of node {shown}");
            return refused(Reason::OtherNode, detail);
        }
        if peer.node == self.node {
            let detail = format!("node {} cannot have a link to itself", self.node);
            return refused(Reason::OtherNode, detail);
        }
        if let Some(expected) = peer.expects.filter(|expected| *expected != self.node) {
            let detail = format!("node {expected} was dialled, this is node {}", self.node);
            return refused(Reason::OtherNode, detail);
        }
        if self.formats.common(peer.formats).is_none() {
            let detail = format!(
                "node {} ({}) reads formats {}, node {} ({}) reads {}",
                peer.node, peer.build, peer.formats, self.node, self.build, self.formats
            );
            return refused(Reason::Formats, detail);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: u32) -> Hello {
        Hello {
            cluster: "demo".parse().unwrap(),
            node: NodeId(node),
            name: "a".parse().unwrap(),
            incarnation: Incarnation(3),
            formats: Formats { lowest: 1, highest: 2 },
            expects: None,
            build: "0.1.0".into(),
            address: "one.example:20001".into(),
        }
    }

    fn subject(node: u32) -> Subject {
        Subject { cluster: "demo".parse().unwrap(), node: NodeId(node), name: "a".parse().unwrap() }
    }

    #[test]
    fn comes_back_also_from_a_build_that_says_more() {
        let mut bytes = hello(7).to_bytes();
        assert!(bytes.len() < HELLO_MAX);
        assert_eq!(Hello::from_bytes(&bytes), Ok(hello(7)));
        bytes.extend(b"more");
        assert_eq!(Hello::from_bytes(&bytes), Ok(hello(7)));
        for bytes in [&b""[..], b"GET / HTTP/1.1", b"starmesh\x01", b"starmesh\x02aaaaaaaaaaaa"] {
            assert_eq!(Hello::from_bytes(bytes).unwrap_err().reason, Reason::Malformed);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let us = hello(1);
        let check = |peer: &Hello, certificate: Option<&Subject>, reason| {
            let judged = us.judge(peer, certificate);
            assert_eq!(judged.err().map(|end| end.reason), reason, "{peer:?}");
        };
        let sound = hello(7);
        check(&sound, Some(&subject(7)), None);
        check(&sound, Some(&subject(8)), Some(Reason::OtherNode));
        check(&sound, None, Some(Reason::OtherNode));
        check(&hello(1), Some(&subject(1)), Some(Reason::OtherNode));
        let meant = |node| Hello { expects: Some(NodeId(node)), ..hello(7) };
        check(&meant(1), Some(&subject(7)), None);
        check(&meant(2), Some(&subject(7)), Some(Reason::OtherNode));
        let other = Hello { cluster: "other".parse().unwrap(), ..hello(7) };
        check(&other, Some(&subject(7)), Some(Reason::OtherCluster));
        let foreign = Subject { cluster: "other".parse().unwrap(), ..subject(7) };
        check(&sound, Some(&foreign), Some(Reason::OtherCluster));
        let newer = Hello { formats: Formats { lowest: 3, highest: 4 }, ..hello(7) };
        check(&newer, Some(&subject(7)), Some(Reason::Formats));
        let next = Hello { formats: Formats { lowest: 2, highest: 3 }, ..hello(7) };
        check(&next, Some(&subject(7)), None);
    }
}
