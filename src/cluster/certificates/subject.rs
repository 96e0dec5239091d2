//! Owns what a certificate says about its node: one URI among its alternative
//! names. Pure.

use std::str::FromStr;

use super::Name;
use crate::base::NodeId;

/// Whose certificate it is. Written `starmesh://CLUSTER/NUMBER/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub cluster: Name,
    pub node: NodeId,
    pub name: Name,
}

const SCHEME: &str = "starmesh://";

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.node, self.name)
    }
}

/// A text that names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected starmesh://CLUSTER/NUMBER/NAME")]
pub struct NotASubject;

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Subject, NotASubject> {
        let rest = text.strip_prefix(SCHEME).ok_or(NotASubject)?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [cluster, number, name] = parts[..] else { return Err(NotASubject) };
        let node: u32 = number.parse().map_err(|_| NotASubject)?;
        // One way to write each: not +7, not 007.
        if node.to_string() != number {
            return Err(NotASubject);
        }
        Ok(Subject {
            cluster: cluster.parse().map_err(|_| NotASubject)?,
            node: NodeId(node),
            name: name.parse().map_err(|_| NotASubject)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_written_and_in_no_other_way() {
        let text = "starmesh://demo/7/b";
        let subject: Subject = text.parse().unwrap();
        assert_eq!(subject.node, NodeId(7));
        assert_eq!(subject.to_string(), text);
        for text in
            ["", "demo/7/b", "starmesh://demo/7", "starmesh://demo/07/b", "starmesh://demo/7/b/"]
        {
            assert_eq!(text.parse::<Subject>(), Err(NotASubject), "{text}");
        }
    }
}
