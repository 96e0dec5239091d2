//! Owns what must hold of a cluster when nothing happens any more: every unit
//! in one place, every entity with one owner that may have it, every message
//! applied once.

use std::collections::{BTreeMap, BTreeSet};

use starmesh::base::{EntityKey, NodeId, UnitId};
use starmesh::entity::Entity;
use starmesh::entity::channel::{ChannelId, ChannelMessage, Verdict};
use starmesh::entity::context::OpenClaim;
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::logics::KnownWorlds;
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::record::decode_record;
use starmesh::entity::replay::replay;
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use super::history::History;
use super::{Cluster, audit, signatures};

/// Before the node and the entity in such keys.
const OWNED: &[u8] = b"owned/";
/// For an instant at which nothing is under way no message may take longer: units
/// never rest.
const QUIET_LATE_MS: u64 = 100;
/// After faults end everything is settled within this time.
const CALM_MS_MAX: u64 = 120_000;
/// What was logged is signed within this time, when nothing fails.
const SIGNED_MS: u64 = 2_000;
/// So many entries of the audit log are taken out at least, one at a time.
const ENTRIES_TRIED: usize = 30;

/// What has to come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Message(ChannelId, u64),
    Request(EntityKey, u64),
}

impl Cluster {
    /// Stops all movement of chance: lets what is under way come to its end, and
    /// judges what is left.
    pub fn judge(&mut self) {
        self.calm();
        let began = self.now;
        // However late messages are, whatever was under way comes to its end.
        let mut open = self.under_way();
        while !open.is_empty() {
            assert!(self.now < began + CALM_MS_MAX, "10, 22: not in two minutes: {open:?}");
            self.run(500);
            let still = self.under_way();
            open.retain(|it| still.contains(it));
        }
        self.network.weather.late_ms = self.network.weather.late_ms.min(QUIET_LATE_MS);
        let began = self.now;
        while let Some(why) = self.why_not_calm() {
            assert!(self.now < began + CALM_MS_MAX, "22: not in two minutes: {why}");
            self.run(100);
        }
        for node in self.nodes.values() {
            assert!(node.unloadable.is_empty(), "{:?}", node.unloadable);
            assert_eq!(node.table.counts().misfits, 0);
            assert_eq!(node.other_heads, [], "32: nobody changed the store");
        }
        self.judge_owners();
        self.judge_units();
        self.witness.history.iter_mut().for_each(History::end);
        self.run(SIGNED_MS);
        audit::judge(&self.store, ENTRIES_TRIED);
        signatures::judge(&self.store, self.now - SIGNED_MS);
    }

    /// Messages without an acknowledgement and requests without an answer, of entities
    /// wherever they are.
    fn under_way(&self) -> BTreeSet<Open> {
        let mut open = BTreeSet::new();
        for (key, slept) in self.journals() {
            let live = self.nodes.values().find_map(|node| node.table.entity(key));
            let head = live.unwrap_or(&slept).head();
            let sent = head.outbox.waiting(key);
            open.extend(sent.map(|message| Open::Message(message.channel, message.number)));
            open.extend(head.open_requests.keys().map(|request| Open::Request(key, *request)));
        }
        open
    }

    fn why_not_calm(&self) -> Option<String> {
        let history = self.witness.history.as_ref();
        self.unsettled()
            .or_else(|| self.misplaced())
            .or_else(|| self.waits())
            .or_else(|| history.and_then(History::unsettled))
    }

    /// From now on whatever is sent arrives, and the store answers at once.
    pub fn calm(&mut self) {
        self.network.weather.lost = 0;
        self.network.weather.slow_ms = 0;
        self.network.cuts.clear();
    }

    /// Who does not know what the others know, or has what is another's.
    pub fn unsettled(&self) -> Option<String> {
        let directory = self.directory();
        let version = directory.version();
        let dead = directory.entries().find(|(_, node)| !self.nodes.contains_key(node));
        if version == 0 || dead.is_some() {
            return Some(format!("the directory of version {version} names the dead: {dead:?}"));
        }
        self.nodes.values().find_map(|node| {
            let (id, known, living) = (node.id, node.core.directory_version(), node.core.living());
            let stray = node.table.keys().find(|key| directory.node_of(*key) != Some(id));
            let is_current = known == version && living.iter().eq(self.nodes.keys());
            let what = format!("{id} knows directory {known} and {living:?}, runs {stray:?}");
            (!node.ready || !is_current || stray.is_some()).then_some(what)
        })
    }

    /// Something that is not at its end.
    pub fn waits(&self) -> Option<String> {
        for node in self.nodes.values() {
            if !node.core.is_settled() {
                return Some(format!("node {} has something to commit", node.id));
            }
            let of = |key: &EntityKey| node.table.entity(*key).map(|it| &it.head().outbox);
            let full = |key: &EntityKey| of(key).is_some_and(|it| it.waiting(*key).count() > 0);
            if let Some(key) = node.table.keys().find(full) {
                return Some(format!("{key} has sent something that nobody acknowledged"));
            }
        }
        let runs = |(node, key): &(NodeId, EntityKey)| {
            self.nodes.get(node).is_some_and(|node| node.table.entity(*key).is_some())
        };
        let idle = self.owned().into_iter().find(|it| !runs(it));
        idle.map(|(node, key)| format!("{key} is node {node}'s and does not run"))
    }

    /// By the keys: who has which entity.
    fn owned(&self) -> Vec<(NodeId, EntityKey)> {
        let rows = self.store.scan(OWNED, None, usize::MAX).expect("the memory answers");
        let parse = |key: &[u8]| {
            let (node, entity) = key.strip_prefix(OWNED)?.split_first_chunk::<4>()?;
            Some((NodeId(u32::from_be_bytes(*node)), EntityKey::from_bytes(entity).ok()?))
        };
        rows.iter().map(|(key, _)| parse(key).expect("a key of an owned entity")).collect()
    }

    /// One node runs an entity, and the journal says the same.
    fn judge_owners(&self) {
        let mut owners: BTreeMap<EntityKey, NodeId> = BTreeMap::new();
        for node in self.nodes.values() {
            for key in node.table.keys() {
                let other = owners.insert(key, node.id);
                assert_eq!(other, None, "21: two nodes run {key}");
            }
        }
        let owned: BTreeSet<(NodeId, EntityKey)> = self.owned().into_iter().collect();
        for (key, node) in &owners {
            assert!(owned.contains(&(*node, *key)), "2.8: {key} runs at {node} without a key");
        }
        for (key, entity) in self.journals() {
            let claimed = entity.head().claim.map(|open| open.claim.node);
            assert_eq!(claimed, owners.get(&key).copied(), "1: who owns {key}");
        }
    }

    /// Whether there is such an input behind an entity's snapshot.
    pub fn has_record_of(&self, key: EntityKey, input: &Input) -> bool {
        let image = recovery::image(&*self.store, key).expect("the memory answers");
        let inputs = |bytes: &[u8]| decode_record(bytes).expect("a record").1.inputs;
        image.records.iter().any(|(_, bytes)| inputs(bytes).contains(input))
    }

    /// How many hashes of an entity a replay compares; each must be right.
    pub fn hashes(&self, key: EntityKey) -> u64 {
        let image = recovery::image(&*self.store, key).expect("the memory answers");
        let replayed = replay(key, &image, &self.known).expect("a journal");
        assert!(replayed.mismatches.is_empty(), "4: {key}: {:?}", replayed.mismatches);
        replayed.hashes
    }

    /// Every entity that has a journal, as it says.
    pub fn journals(&self) -> Vec<(EntityKey, Entity)> {
        let mut keys: Vec<EntityKey> = self.owned().into_iter().map(|(_, key)| key).collect();
        for (key, _) in self.store.scan(b"summary/", None, usize::MAX).expect("it answers") {
            keys.extend(starmesh::entity::keys::parse_summary(&key));
        }
        keys.extend(recovery::parked_keys(&*self.store).expect("it answers"));
        keys.sort_unstable();
        keys.dedup();
        let replayed = |key| {
            let image = recovery::image(&*self.store, key).expect("the memory answers");
            let replayed = replay(key, &image, &self.known).expect("a journal");
            assert!(replayed.mismatches.is_empty(), "4: {key}: {:?}", replayed.mismatches);
            (key, replayed.entity)
        };
        keys.into_iter().map(replayed).filter(|(_, it)| it.head().sequence > 0).collect()
    }

    /// Each unit that was made is in one sector, or on its way to one.
    fn judge_units(&self) {
        let live = |key: EntityKey, slept: Entity| {
            let live = self.nodes.values().find_map(|node| node.table.entity(key));
            live.cloned().unwrap_or(slept)
        };
        let entities: BTreeMap<EntityKey, Entity> =
            self.journals().into_iter().map(|(key, slept)| (key, live(key, slept))).collect();
        let mut places: BTreeMap<UnitId, EntityKey> = BTreeMap::new();
        for (key, entity) in &entities {
            for unit in here(entity).into_iter().chain(on_their_way(*key, entity, &entities)) {
                let other = places.insert(unit, *key);
                assert_eq!(other, None, "13: unit {unit} is of {key} and of another");
            }
        }
        assert_eq!(places.len(), self.founded, "13: units there, and units made");
    }
}

fn here(entity: &Entity) -> Vec<UnitId> {
    match entity.kind() {
        Kind::Sector(sector) => sector.state().units().iter().map(|unit| unit.id).collect(),
        _ => Vec::new(),
    }
}

/// Whether a message has units.
pub fn carries_units(message: &ChannelMessage) -> bool {
    matches!(message.body, Body::Notice(Notice::Units { .. }))
}

/// Those in messages that their receivers have not applied.
fn on_their_way(
    key: EntityKey,
    entity: &Entity,
    entities: &BTreeMap<EntityKey, Entity>,
) -> Vec<UnitId> {
    let head = entity.head();
    let is_new = |message: &ChannelMessage| {
        let receiver = entities.get(&message.channel.receiver);
        let verdict = receiver.map(|it| it.head().inbox.judge_message(message));
        !matches!(verdict, Some(Verdict::Repeat(_)))
    };
    let sent = head.outbox.waiting(key).filter(is_new).map(|message| message.body);
    let waiting = head.backlog.values().flatten().cloned();
    let mut units = Vec::new();
    for body in sent.chain(waiting) {
        let Body::Notice(Notice::Units { travellers }) = body else { continue };
        units.extend(travellers.iter().map(|traveller| traveller.unit.id));
    }
    units
}

/// What leaves `store`'s owner of a channel is in what a successor would make of
/// its journal, or was applied long ago.
pub fn check_sent(store: &Memory, known: &KnownWorlds, message: &ChannelMessage) {
    let sender = message.channel.sender;
    let Some(made) = successor(store, known, sender) else {
        panic!("3: a message of {sender}, which has no journal");
    };
    let mut waiting = made.head().outbox.waiting(sender);
    if waiting.any(|it| it == *message) {
        return;
    }
    let receiver = successor(store, known, message.channel.receiver);
    let verdict = receiver.map(|it| it.head().inbox.judge_message(message));
    let is_old = matches!(verdict, Some(Verdict::Repeat(_)));
    assert!(is_old, "3: a successor of {sender} does not send {message:?}");
}

/// An entity as whoever claims it after its owner's death has it.
fn successor(store: &Memory, known: &KnownWorlds, key: EntityKey) -> Option<Entity> {
    let image = recovery::image(store, key).expect("the memory answers");
    let mut replayed = replay(key, &image, known).ok()?;
    if let Some(open) = replayed.entity.head().claim {
        let OpenClaim { claim, .. } = open;
        let ticks = recovery::node_ticks(store).expect("the memory answers");
        let tick = ticks.get(&(claim.node, claim.incarnation)).copied().unwrap_or_default();
        replayed.run_to(open.tick_at(tick), known).ok()?;
    }
    Some(replayed.entity)
}
