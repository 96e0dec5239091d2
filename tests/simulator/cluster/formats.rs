//! Nodes that read different format versions: what is written in the newer form is in
//! the store only while nobody has a place who cannot read it, whoever is killed,
//! comes back, or goes back to the build before, and whatever is under way meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, NodeId};
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::node::{Event, NodeEffect};
use starmesh::entity::commit::{
    Check, Commit, CommitAnswer, CommitError, Expect, Group, NodeRow, Put,
};
use starmesh::entity::envelope::{self, DEFLATED};
use starmesh::entity::format::{FORMATS, Format, Formats, Raise, Reader, raise};
use starmesh::entity::keys;
use starmesh::entity::member::LastNode;
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use super::logic::{busy_in, limits};
use super::node::Node;
use super::{Cluster, STEP_MS};
use crate::random::Random;

/// A build that knows no newer version than the first.
const FIRST: Formats = Formats { lowest: 1, highest: 1 };
/// The group of rows with which a process begins.
pub const BEGIN: u64 = u64::MAX;
/// A node looks at the version so often.
const LOOK_MS: u64 = 1_000;
const STORMS: u64 = 12;
const STORM_MS: u64 = 30_000;

/// What becomes of the format version.
#[derive(Default)]
pub struct Raises {
    /// What processes of a node that are started from now on read, if not all that
    /// this build does.
    pub reads: BTreeMap<u32, Formats>,
    /// So long what a node decided is on its way to its core.
    pub late_ms: u64,
    /// Processes that found that they do not read what is written.
    pub refused: u64,
}

/// A process of a node, as far as the format version depends on it.
pub struct Process {
    incarnation: Incarnation,
    reads: Formats,
    /// What it began with is in the store.
    has_begun: bool,
}

impl Process {
    pub fn of(node: &Node) -> Process {
        Process { incarnation: node.core.incarnation(), reads: node.reads, has_begun: false }
    }
}

fn value(store: &Memory, key: &[u8]) -> Option<(Vec<u8>, u64)> {
    let row = store.get(key).expect("the memory answers");
    row.map(|row| (row.value, row.version))
}

fn row(store: &Memory, node: NodeId) -> Option<(NodeRow, u64)> {
    let (bytes, version) = value(store, &keys::row(node))?;
    Some((NodeRow::from_bytes(&bytes).expect("a row"), version))
}

fn reads(store: &Memory, node: NodeId) -> Option<(Formats, u64)> {
    let (bytes, version) = value(store, &keys::reads(node))?;
    Some((Formats::from_bytes(&bytes).expect("versions"), version))
}

fn last_node(store: &Memory) -> LastNode {
    let row = value(store, keys::LAST_NODE);
    let node = row.as_ref().map(|(id, _)| u32::from_be_bytes(id[..].try_into().expect("a number")));
    LastNode { node: NodeId(node.unwrap_or(0)), version: row.map(|(_, version)| version) }
}

/// Whether the snapshot of `entity` is of the newer form.
fn is_deflated(store: &Memory, entity: EntityKey) -> bool {
    let image = recovery::image(store, entity).expect("the memory answers");
    image.chunks.first().and_then(|chunk| envelope::form(chunk)) == Some(DEFLATED)
}

/// Nothing that a node has just written is unreadable to a process that has a place:
/// its row is its own, and what it began with was accepted.
pub fn check_written(
    store: &Memory,
    commit: &Commit,
    done: &Result<CommitAnswer, CommitError>,
    processes: &mut BTreeMap<NodeId, Process>,
) {
    let Ok(answer) = done else { return };
    let groups = (0_u32..).zip(&commit.groups);
    let accepted = groups.filter(|(index, _)| !answer.refused.contains(index));
    for (_, group) in accepted {
        let begins = group.checks.iter().any(|check| check.key == keys::FORMAT);
        if let Some(process) = processes.get_mut(&commit.node).filter(|_| begins) {
            process.has_begun = process.incarnation == commit.incarnation;
        }
        for put in &group.puts {
            let is_first = keys::parse_chunk(&put.key).is_some_and(|(_, _, index)| index == 0);
            let form = put.value.as_deref().and_then(envelope::form);
            if is_first && form == Some(DEFLATED) {
                expect_readers(store, processes);
            }
        }
    }
}

fn expect_readers(store: &Memory, processes: &BTreeMap<NodeId, Process>) {
    for (node, process) in processes.iter().filter(|(_, process)| process.has_begun) {
        let has_place = row(store, *node)
            .is_some_and(|(row, _)| !row.is_vacant() && row.incarnation == process.incarnation);
        let reads = process.reads;
        assert!(!has_place || reads.reads(2), "version 2 is written, and {node} reads {reads}");
    }
}

/// Nothing comes to a process that it cannot read.
pub fn check_read(store: &Memory, node: &Node, effect: &NodeEffect) {
    let (NodeEffect::Load(entity, ..) | NodeEffect::LoadAhead(entity)) = effect else { return };
    let own = node.core.incarnation();
    let has_place = row(store, node.id).is_some_and(|(row, _)| row.incarnation == own);
    if node.has_begun && has_place && !node.reads.reads(2) {
        let (id, reads) = (node.id, node.reads);
        assert!(!is_deflated(store, *entity), "node {id}, which reads {reads}, loads {entity}");
    }
}

impl Cluster {
    fn raises(&mut self) -> &mut Raises {
        self.formats.as_mut().expect("a cluster of formats")
    }

    /// With what a process of a node begins: what it reads, what is written, and the
    /// group that says so. None when it cannot read that.
    pub fn format_for(&mut self, id: u32) -> Option<((Formats, u16), Option<Group>)> {
        let Some(raises) = &mut self.formats else {
            return Some(((FORMATS, FORMATS.highest), None));
        };
        let (store, node) = (&*self.store, NodeId(id));
        let own = raises.reads.get(&id).copied().unwrap_or(FORMATS);
        let found = value(store, keys::FORMAT);
        let found = found.as_ref().map(|(value, version)| (value.as_slice(), *version));
        let last = last_node(store);
        let format = match found {
            None if last.version.is_none() => Format::of_new_galaxy(own),
            row => {
                let Ok(format) = Format::found(row, own) else {
                    raises.refused += 1;
                    return None;
                };
                format
            }
        };
        let mut group = format.begin(node, own, reads(store, node).map(|(told, _)| told));
        if node > last.node {
            let expect = last.version.map_or(Expect::Absent, Expect::Version);
            group.checks.push(Check { key: keys::LAST_NODE.to_vec(), expect });
            let member = Some(id.to_be_bytes().to_vec());
            group.puts.push(Put { key: keys::LAST_NODE.to_vec(), value: member });
        }
        Some(((own, format.number), Some(group)))
    }

    fn written(&self) -> u16 {
        let (row, _) = value(&self.store, keys::FORMAT).expect("somebody began");
        u16::from_be_bytes(row.try_into().expect("two bytes"))
    }

    /// Entities whose snapshot is of the newer form.
    fn deflated(&self) -> usize {
        let heads = self.store.scan(keys::HEAD, None, usize::MAX).expect("the memory answers");
        let keys = heads.iter().filter_map(|(key, _)| keys::parse_head(key));
        keys.filter(|key| is_deflated(&self.store, *key)).count()
    }

    /// Every node looks once a second whether the version rose, or may.
    pub fn look_at_formats(&mut self) {
        let Some(raises) = &self.formats else { return };
        let (late_ms, now) = (raises.late_ms, self.now);
        let turn = |id: &NodeId| (now + 137 * u64::from(id.0)) % LOOK_MS < STEP_MS;
        let ids = self.nodes.values().filter(|node| node.has_begun && !node.stopped && !node.away);
        let ids: Vec<NodeId> = ids.map(|node| node.id).filter(turn).collect();
        for id in ids {
            for event in self.look(id) {
                let process = self.nodes[&id].core.incarnation();
                self.network.put(now + 1 + late_ms, (id, Some(process), event));
            }
        }
    }

    fn look(&self, id: NodeId) -> Vec<Event> {
        let (store, own) = (&*self.store, self.nodes[&id].reads);
        let (found, version) = value(store, keys::FORMAT).expect("it began");
        let Ok(format) = Format::found(Some((&found, version)), own) else {
            return Vec::new();
        };
        let last = last_node(store);
        let reader = |id| {
            let node = NodeId(id);
            Reader { node, reads: reads(store, node), row: row(store, node) }
        };
        let readers: Vec<Reader> = (1..=last.node.0).map(reader).collect();
        let mut events = vec![Event::Format(format.number)];
        if let Raise::To(_, group) = raise(format, own, &readers, last) {
            events.push(Event::Rows { id: 3, group });
        }
        events
    }

    fn restart_reading(&mut self, id: u32, reads: Formats) {
        self.kill(id);
        self.raises().reads.insert(id, reads);
        self.start(id);
    }
}

const NODES: u32 = 3;

/// Nodes of the first version, of which one has a busy sector.
fn cluster(seed: u64) -> (Cluster, EntityKey) {
    let mut cluster = Cluster::empty(seed);
    let reads = (1..=NODES).map(|id| (id, FIRST)).collect();
    cluster.formats = Some(Raises { reads, ..Raises::default() });
    // Snapshots as often as can be.
    cluster.limits = Limits { journal_bytes_min: 300, ..limits() };
    for id in 1..=NODES {
        cluster.start(id);
        cluster.run_until("it began", |cluster| cluster.nodes[&NodeId(id)].has_begun);
    }
    let (sector, _) = busy_in(&mut cluster);
    (cluster, sector)
}

#[test]
fn mixed_formats_the_version_rises_with_the_last_node_and_what_is_written_then_is_read() {
    let (mut cluster, sector) = cluster(1);
    assert_eq!(cluster.written(), 1);
    for id in 1..=NODES {
        cluster.run(3_000);
        assert_eq!((cluster.written(), cluster.deflated()), (1, 0), "before node {id}");
        cluster.restart_reading(id, FORMATS);
        cluster.run_until("it runs", |cluster| cluster.is_settled());
        // Between nodes of both versions.
        cluster.assign(sector, 1 + id % NODES);
        let is_there = |cluster: &Cluster| cluster.owner(sector) == Some(NodeId(1 + id % NODES));
        cluster.run_until("it is there", is_there);
    }
    cluster.run_until("it rises", |cluster| cluster.written() == 2);
    // What is adopted has a snapshot made of it.
    let (first, later) = (cluster.world.clone(), cluster.later.clone());
    (1..=NODES).for_each(|id| cluster.restart_with(id, &later));
    cluster.run_until("snapshots are deflated", |cluster| cluster.deflated() > 0);
    (1..=NODES).for_each(|id| cluster.restart_with(id, &first));
    cluster.run_until("all runs again", |cluster| cluster.owner(sector).is_some());
    cluster.judge();
    // There is no way back.
    cluster.restart_reading(2, FIRST);
    assert_eq!(cluster.raises().refused, 1);
    cluster.restart_reading(2, FORMATS);
    cluster.judge();
}

/// Node 3 had said that it reads the next version, and comes back with a build that
/// does not, while another node has seen the one and not the other. Whether it runs.
fn goes_back_while_it_rises(after_ms: u64, late_ms: u64) -> bool {
    let (mut cluster, _) = cluster(1);
    cluster.raises().late_ms = late_ms;
    cluster.restart_reading(3, FORMATS);
    cluster.restart_reading(2, FORMATS);
    cluster.run_until("all have their share", |cluster| cluster.is_settled());
    cluster.restart_reading(1, FORMATS);
    cluster.run(after_ms);
    cluster.restart_reading(3, FIRST);
    cluster.run(15_000);
    let runs = cluster.nodes.contains_key(&NodeId(3));
    assert_eq!(cluster.written(), if runs { 1 } else { 2 }, "after {after_ms} ms");
    if !runs {
        cluster.restart_reading(3, FORMATS);
    }
    cluster.judge();
    runs
}

#[test]
fn mixed_formats_who_goes_back_while_the_version_rises_is_waited_for_or_refused() {
    let ran = [0, 400].map(|late_ms| {
        (0..150).filter(|step| goes_back_while_it_rises(step * 10, late_ms)).count()
    });
    println!("of 150 each, so many run: {ran:?}");
    assert!(ran.iter().all(|count| (1..150).contains(count)), "one of the two never was");
}

/// Nodes are killed, stand still and come back with builds that read either.
fn storm(seed: u64) -> (u16, usize) {
    let mut random = Random::new(seed);
    let draw = |random: &mut Random, most: u64| if random.chance(most) { FORMATS } else { FIRST };
    let (mut cluster, sector) = cluster(seed);
    let until = cluster.now + STORM_MS;
    while cluster.now < until {
        let id = 1 + random.below(NODES.into()) as u32;
        let runs = cluster.nodes.contains_key(&NodeId(id));
        match random.below(5) {
            0 if runs => cluster.node(id).stopped = !cluster.node(id).stopped,
            1 if runs => cluster.kill(id),
            2 => {
                // More and more of them are of the later build.
                let reads =
                    draw(&mut random, 400 + 20 * (STORM_MS - (until - cluster.now)) / 1_000);
                // What others had is adopted, and has a snapshot made of it.
                let worlds = [&cluster.world, &cluster.later];
                let world = Arc::clone(random.pick(&worlds).expect("two"));
                cluster.builds.insert(id, world);
                cluster.restart_reading(id, reads);
            }
            3 => cluster.raises().late_ms = random.below(700),
            _ if runs => cluster.assign_by(id, sector, 1 + random.below(NODES.into()) as u32),
            _ => {}
        }
        let wait = random.within(10..=1_500);
        cluster.run(wait);
    }
    cluster.calm();
    cluster.nodes.values_mut().for_each(|node| node.stopped = false);
    let written = cluster.written();
    cluster.run(5_000);
    for id in 1..=NODES {
        if !cluster.nodes.contains_key(&NodeId(id)) {
            cluster.restart_reading(id, FORMATS);
        }
    }
    cluster.judge();
    (written, cluster.deflated())
}

#[test]
fn mixed_formats_storms_write_nothing_that_somebody_with_a_place_cannot_read() {
    let (mut risen, mut written_so) = (0, 0);
    for seed in 1..=STORMS {
        println!("storm {seed} of formats");
        let (written, deflated) = storm(seed);
        println!("version {written}, {deflated} snapshots of the newer form");
        risen += u64::from(written == 2);
        written_so += deflated;
    }
    assert!(written_so > 0, "no snapshot was ever deflated");
    assert!((1..STORMS).contains(&risen), "it rose in {risen} storms of {STORMS}");
}
