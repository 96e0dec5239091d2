//! Owns this node's part of the [audit log](crate::entity::audit): which
//! decisions the groups of a commit are, the node's root, and when the other
//! nodes' heads are written down. Never decides anything that it tells of.
//! Called where a commit is put together and where its answer comes.
//!
//! Invariant: every group that carries out a decision has its entry, and the
//! root is that of the row as long as this process owns anything.

use super::{NodeCore, NodeEffect};
use crate::base::{Millis, NodeId};
use crate::cluster::core::heads::Heads;
use crate::cluster::core::message::{Committed, NodeBody, NodeMessage};
use crate::cluster::core::pipeline::{Dead, Slot};
use crate::entity::audit::{self, Decision, Entry, HEADS_MAX, Head, Place, Root};
use crate::entity::commit::{Commit, CommitAnswer, Group, NodeRow};
use crate::entity::machine::Skips;

/// The other nodes' heads are written down so often, if they moved.
const WITNESS_MS: u64 = 600_000;

/// What is known of the node's audit log.
#[derive(Debug)]
pub(super) struct Audit {
    /// Behind the last durable commit.
    root: Root,
    /// When the heads are written down next.
    witness_at: Millis,
    /// As they were written down last.
    heads: Vec<(NodeId, Head)>,
    /// As the nodes told themselves.
    told: Heads,
}

impl Audit {
    /// The log goes on where the row says.
    pub fn after(row: Option<&NodeRow>) -> Audit {
        let root = row.map_or([0; 32], |row| row.audit_root);
        Audit { root, witness_at: Millis(0), heads: Vec::new(), told: Heads::default() }
    }

    pub fn root(&self) -> Root {
        self.root
    }
}

impl NodeCore {
    /// A commit is durable.
    pub(super) fn note_logged(&mut self, commit: &Commit, answer: &CommitAnswer, now: Millis) {
        let root = audit::root_after(commit, &answer.refused);
        if root != self.audit.root {
            self.audit.root = root;
            let Commit { incarnation, number, .. } = *commit;
            self.signing.note_entries(Head { incarnation, number, root }, now);
        }
    }

    /// Puts an entry for each decision into the group that carries it out.
    pub(super) fn write_entries(&self, commit: &mut Commit, slots: &[Slot], now: Millis) {
        let Commit { node, incarnation, number, .. } = *commit;
        let mut index = 0;
        for (group, slot) in commit.groups.iter_mut().zip(slots) {
            for decision in self.decisions(group, slot) {
                let entry = Entry { base: commit.audit_root, time: now, decision };
                group.puts.push(entry.put(Place { node, incarnation, number, index }));
                index += 1;
            }
        }
    }

    fn decisions(&self, group: &Group, slot: &Slot) -> Vec<Decision> {
        let of = |record: &Committed| (record.entity, record.header.sequence);
        let ended = match slot {
            // The group is refused unless the rows are as they were read.
            Slot::Deaths(dead) => {
                let declared = |it: &Dead| Decision::DeclaredDead { node: it.node, last: it.last };
                return dead.iter().map(declared).collect();
            }
            Slot::Record(_) => None,
            Slot::HandOver { record, to } => {
                let (entity, sequence) = of(record);
                Some(Decision::HandedOver { entity, sequence, to: *to })
            }
            Slot::Close { record, is_kept } => {
                let (entity, sequence) = of(record);
                Some(Decision::Closed { entity, sequence, kept: *is_kept })
            }
            Slot::Park { entity, sequence } => {
                let (entity, sequence) = (*entity, *sequence);
                let claimed = Decision::Claimed { entity, sequence, woke: false };
                return vec![claimed, Decision::Parked { entity, sequence }];
            }
            Slot::Directory | Slot::Rows(_) => audit::of_rows(group),
            Slot::Began => {
                let began = Decision::Began { logic: self.world.logic() };
                let roles = self.cluster.as_ref().map(|cluster| cluster.own_roles.bits());
                let taken = roles.map(|roles| Decision::RolesTaken { roles });
                return std::iter::once(began).chain(taken).collect();
            }
            Slot::Stopping => Some(Decision::Stopping),
            Slot::Witness => self.witnessed(),
            Slot::Attempt(_)
            | Slot::Signature(_)
            | Slot::Ids
            | Slot::Stale
            | Slot::Chunks
            | Slot::Snapshot { .. } => None,
        };
        slot.claim().into_iter().chain(self.set_aside_by(slot)).chain(ended).collect()
    }

    /// What the record's claim says is left out.
    fn set_aside_by(&self, slot: &Slot) -> Vec<Decision> {
        let Some(Decision::Claimed { entity, sequence, .. }) = slot.claim() else {
            return Vec::new();
        };
        let skips = self.setting_aside.get(&entity).into_iter().flat_map(Skips::iter);
        skips.map(|place| Decision::SetAside { entity, sequence, place }).collect()
    }

    fn witnessed(&self) -> Option<Decision> {
        Some(Decision::Witnessed { heads: self.audit.heads.clone() })
    }

    /// Tells the others how far this node's log is signed.
    pub(super) fn tell_head(&mut self, head: Head) {
        let Some(cluster) = &self.cluster else { return };
        let others = cluster.members.living().filter(|node| *node != self.node);
        let tell = |node| {
            let body = NodeBody::Signed(head);
            NodeEffect::ToNode(node, NodeMessage { hops: 0, body })
        };
        self.effects.extend(others.map(tell));
    }

    /// Another node told how far its log is signed.
    pub(super) fn handle_told_head(&mut self, node: NodeId, head: Head) {
        let cluster = self.cluster.as_ref();
        if cluster.is_some_and(|cluster| cluster.members.row(node).is_some()) {
            self.audit.told.note_told(node, head);
        }
    }

    /// The rows were read: whose log is not as it told?
    pub(super) fn compare_heads(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let differing = self.audit.told.compare(cluster.members.rows());
        self.effects
            .extend(differing.into_iter().map(|(node, told)| NodeEffect::OtherHead(node, told)));
    }

    /// The group that writes down the other nodes' heads, when it is time to and
    /// one of them moved.
    pub(super) fn take_witness(&mut self, now: Millis) -> Option<(Group, Slot)> {
        let cluster = self.cluster.as_ref()?;
        let heads = cluster.members.rows().filter(|(node, _)| *node != self.node);
        // What a node told itself counts for more than a row that says less.
        let further = |node, row| {
            let head = head(row);
            let told = self.audit.told.of(node);
            let is_further =
                |told: &Head| (told.incarnation, told.number) > (head.incarnation, head.number);
            (node, told.filter(is_further).unwrap_or(head))
        };
        let heads = heads.take(HEADS_MAX).map(|(node, row)| further(node, row));
        let heads: Vec<_> = heads.collect();
        let roots = |heads: &[(NodeId, Head)]| -> Vec<(NodeId, Root)> {
            heads.iter().map(|(node, head)| (*node, head.root)).collect()
        };
        if now < self.audit.witness_at || roots(&heads) == roots(&self.audit.heads) {
            return None;
        }
        self.audit.witness_at = Millis(now.0 + WITNESS_MS);
        self.audit.heads = heads;
        Some((Group::default(), Slot::Witness))
    }
}

/// How far the log had come whose node has this row.
pub(super) fn head(row: &NodeRow) -> Head {
    let NodeRow { incarnation, number, audit_root: root, .. } = *row;
    Head { incarnation, number, root }
}

impl Slot {
    /// The claim in its record, if there is one.
    fn claim(&self) -> Option<Decision> {
        let (Slot::Record(record) | Slot::Close { record, .. } | Slot::HandOver { record, .. }) =
            self
        else {
            return None;
        };
        record.claim.map(|_| Decision::Claimed {
            entity: record.entity,
            sequence: record.header.sequence,
            woke: record.woke,
        })
    }
}
