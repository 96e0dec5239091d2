//! Owns the last word on a node that was killed, or a cluster that was: replays
//! every entity of its store and compares that with what clients were told. Never
//! starts anything; called when no process holds the data, of a cluster those of
//! the node that has the store. Checks invariants 1, 4, 12, 13, 22 and,
//! by `rebuilt`, 27.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use starmesh::actors::galaxy::find_or_make;
use starmesh::base::{EntityKey, NodeId, PlayerId, SessionId, UnitId};
use starmesh::cluster::core::members::RowRead;
use starmesh::config::Config;
use starmesh::entity::channel::ChannelMessage;
use starmesh::entity::commands::{CommandAnswer, CommandResult};
use starmesh::entity::effect::{Effect, PlayerEffect};
use starmesh::entity::envelope;
use starmesh::entity::history::NodeTicks;
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Notice};
use starmesh::entity::record::Record;
use starmesh::entity::replay::replay_with;
use starmesh::entity::{Entity, World};
use starmesh::sim::{Unit, UnitTypeId, rules};
use starmesh::store::Store;
use starmesh::store::recovery::{cluster, image, node_ticks, owned};
use starmesh::store::sled::{Options, SegmentReader, Sled};
use starmesh::store::worlds::Worlds;

use crate::rebuilt::{Rebuilt, Shown, compare};
use crate::swarm::{Answered, Told};

/// What names a command for ever.
type CommandKey = (PlayerId, SessionId, u32);

/// What was looked at.
#[derive(Debug, Default)]
pub struct Counts {
    pub entities: u64,
    pub records: u64,
    pub hashes: u64,
    /// Answers of the swarm that were found in a record.
    pub found: u64,
    /// Answers whose record a snapshot has trimmed.
    pub trimmed: u64,
    pub units: u64,
    /// Of those, on their way from one sector to another.
    pub travelling: u64,
    /// Transfers that all units together have made.
    pub hops: u64,
    /// Entities whose snapshot is of the form that came with format version 2.
    pub deflated: u64,
    /// Records by which an owner gave an entity to another node.
    pub handed_over: u64,
    pub players: u64,
    /// Nodes that ever were.
    pub nodes: u64,
    /// What clients had rebuilt, by what was in the journals.
    pub rebuilt: Rebuilt,
    /// Players with acknowledged commands that several nodes carried out.
    pub on_several: u64,
}

/// A whole galaxy, replayed.
struct Audit {
    world: Arc<World>,
    worlds: Worlds,
    counts: Counts,
    /// Where each command was applied, and with what answer.
    applied: BTreeMap<CommandKey, CommandAnswer>,
    /// Which node carried it out.
    nodes: BTreeMap<CommandKey, NodeId>,
    /// The first record that each entity still has.
    first: BTreeMap<EntityKey, u64>,
    units: BTreeMap<UnitId, (EntityKey, Unit)>,
    /// As their owners left them.
    entities: BTreeMap<EntityKey, Entity>,
    /// The last durable tick of each incarnation.
    ticks: NodeTicks,
    players: BTreeSet<PlayerId>,
}

/// Checks the data of a node that is not running against what its clients
/// were told; panics with what is wrong.
pub fn audit(data: &Path, told: &[Answered]) -> Counts {
    check(data, told, &[])
}

/// The same against all that a swarm's clients wrote down.
pub fn audit_told(data: &Path, told: &Told) -> Counts {
    let counts = check(data, &told.answered, &told.shown);
    let Rebuilt { compared, trimmed } = counts.rebuilt;
    assert!(compared > trimmed, "too little of what was shown could be compared: {counts:?}");
    let keyframes = told.report["keyframes"].as_u64();
    assert!(keyframes > Some(0), "invariant 27: no keyframe was compared: {}", told.report);
    counts
}

fn check(data: &Path, told: &[Answered], shown: &[Shown]) -> Counts {
    let folder = data.join("store");
    let store = Sled::open(&folder, Options::default()).expect("the store opens");
    let built_in = rules::file::built_in().expect("the rules are valid");
    let config = Config::with("").expect("the defaults are valid");
    let found = find_or_make(&store, &config, built_in).expect("a galaxy");
    assert!(found.made.is_none(), "the galaxy was lost");
    let world = Arc::new(found.world);
    let reader = SegmentReader::open(&folder).expect("segments");
    let entities: Vec<EntityKey> = reader.entities().collect();
    let members = cluster(&store, 0).expect("the store answers");
    for node in members.rows.iter().map(|read| read.node) {
        let claimed = owned(&store, node).expect("the store answers");
        let mut unwritten = claimed.iter().filter(|entity| !entities.contains(entity));
        assert_eq!(unwritten.next(), None, "owned by {node} but never written");
    }
    let mut audit = Audit {
        worlds: Worlds::new(world.clone()),
        world,
        counts: Counts::default(),
        applied: BTreeMap::new(),
        nodes: BTreeMap::new(),
        first: BTreeMap::new(),
        units: BTreeMap::new(),
        entities: BTreeMap::new(),
        ticks: node_ticks(&store).expect("the store answers"),
        players: BTreeSet::new(),
    };
    entities.into_iter().for_each(|entity| audit.replay(&store, entity));
    told.iter().for_each(|answered| audit.expect_kept(answered));
    audit.add_travellers();
    audit.check_units();
    let parked = store.scan(b"parked/", None, 1).expect("the store answers");
    assert!(parked.is_empty(), "invariant 22: {parked:?} is parked");
    audit.check_claims(&members.rows);
    audit.counts.rebuilt = compare(&store, &audit.worlds, shown);
    audit.counts.nodes = members.rows.len() as u64;
    audit.counts.on_several = audit.on_several(told);
    audit.counts
}

impl Audit {
    /// Invariants 1 and 4 for one entity, and what it says of commands.
    fn replay(&mut self, store: &Sled, entity: EntityKey) {
        let image = image(store, entity).expect("the store answers");
        let first = image.records.first().map_or(u64::MAX, |(sequence, _)| *sequence);
        assert!(image.head.is_some() || first == 1, "{entity} begins with record {first}");
        let form = image.chunks.first().and_then(|chunk| envelope::form(chunk));
        self.counts.deflated += u64::from(form == Some(envelope::DEFLATED));
        let numbers = image.records.iter().map(|(sequence, _)| *sequence);
        assert!(numbers.eq(first..first.saturating_add(image.records.len() as u64)), "{entity}");
        let (applied, nodes) = (&mut self.applied, &mut self.nodes);
        let mut seen = Seen { applied, nodes, last: BTreeMap::new() };
        let known = self.worlds.of_image(store, &image).expect("the store answers");
        let mut handed_over = 0;
        let watch = |state: &Entity, record: &Record, effects: &[Effect]| {
            let hands_over = |input: &Input| matches!(input, Input::HandOver { .. });
            handed_over += u64::from(record.inputs.iter().any(hands_over));
            let owner = state.head().claim.map(|open| open.claim.node);
            seen.note((entity, owner), record, effects);
        };
        let mut replayed = replay_with(entity, &image, &known, watch)
            .unwrap_or_else(|error| panic!("{entity} cannot be replayed: {error}"));
        // To where its owner left it: its last steps are in no record.
        if let Some(open) = replayed.entity.head().claim {
            let owner = (open.claim.node, open.claim.incarnation);
            let ended = self.ticks.get(&owner).copied();
            let ended =
                ended.unwrap_or_else(|| panic!("{entity}: nobody knows when {owner:?} ended"));
            replayed.run_to(open.tick_at(ended), &known).expect("its rules are stored");
        }
        assert!(replayed.mismatches.is_empty(), "{entity}: {:?}", replayed.mismatches);
        self.counts.entities += 1;
        self.counts.records += image.records.len() as u64;
        self.counts.hashes += replayed.hashes;
        self.counts.handed_over += handed_over;
        self.first.insert(entity, first);
        match replayed.entity.kind() {
            Kind::Board(_) => {}
            Kind::Ledger(ledger) => self.players.extend(ledger.players()),
            Kind::Sector(sector) => {
                sector.state().units().iter().for_each(|unit| self.add(entity, *unit));
            }
        }
        self.entities.insert(entity, replayed.entity);
    }

    /// Invariant 13: a unit is in one place.
    fn add(&mut self, place: EntityKey, unit: Unit) {
        let twice = self.units.insert(unit.id, (place, unit));
        assert_eq!(twice, None, "invariant 13: unit {} is in two places: {place}", unit.id);
    }

    /// Units in messages that their receivers have not applied.
    fn add_travellers(&mut self) {
        let outboxes = self.entities.iter().flat_map(|(key, it)| it.head().outbox.waiting(*key));
        let messages: Vec<ChannelMessage> = outboxes.collect();
        for message in messages {
            let Body::Notice(Notice::Units { travellers }) = &message.body else { continue };
            let receiver = self.entities.get(&message.channel.receiver);
            let applied = receiver.and_then(|it| it.head().inbox.applied(message.channel.sender));
            let channel = (message.channel.opened, message.number);
            if applied.is_some_and(|(opened, last)| opened == channel.0 && last >= channel.1) {
                continue;
            }
            for traveller in travellers {
                self.counts.travelling += 1;
                self.add(message.channel.receiver, traveller.unit);
            }
        }
    }

    /// Invariant 12: what was acknowledged is in the records of the entity
    /// that was named, with that result.
    fn expect_kept(&mut self, told: &Answered) {
        let ack = &told.ack;
        if ack.entity_sequence == 0 {
            assert!(!ack.success, "a success that no record holds: {told:?}");
            return;
        }
        let place = told.place.expect("a command is for a place").key();
        if self.first.get(&place).is_some_and(|first| ack.entity_sequence < *first) {
            self.counts.trimmed += 1;
            return;
        }
        let key = (told.player, told.session, ack.sequence);
        let Some(kept) = self.applied.get(&key) else {
            panic!("invariant 12: acknowledged and in no record: {told:?}");
        };
        let is_done = matches!(kept.result, CommandResult::Done(_));
        let kept_as = (kept.entity, kept.record, kept.tick.0, is_done);
        let told_as = (place, ack.entity_sequence, ack.effect_tick, ack.success);
        assert_eq!(kept_as, told_as, "invariant 12: {told:?} is kept as {kept:?}");
        self.counts.found += 1;
    }

    /// Invariant 22: nothing is left with an incarnation that another one of its
    /// node followed, or that was declared dead while others lived.
    fn check_claims(&self, rows: &[RowRead]) {
        for (entity, it) in &self.entities {
            let Some(open) = it.head().claim else { continue };
            let owner = (open.claim.node, open.claim.incarnation);
            let row = rows.iter().find(|read| read.node == owner.0);
            let row = &row.unwrap_or_else(|| panic!("{entity} is of nobody: {owner:?}")).row;
            // Of a row that nobody runs under the incarnation before was the last.
            let last = row.incarnation.0 - u64::from(row.is_vacant());
            assert_eq!(
                owner.1.0, last,
                "invariant 22: {entity} was left with {owner:?}, which ended"
            );
        }
    }

    /// Players with successes that several nodes carried out.
    fn on_several(&self, told: &[Answered]) -> u64 {
        let mut nodes: BTreeMap<PlayerId, BTreeSet<NodeId>> = BTreeMap::new();
        for answered in told.iter().filter(|answered| answered.ack.success) {
            let key = (answered.player, answered.session, answered.ack.sequence);
            nodes.entry(answered.player).or_default().extend(self.nodes.get(&key));
        }
        nodes.values().filter(|nodes| nodes.len() > 1).count() as u64
    }

    /// Invariant 13: each player has what it started with, each unit once.
    fn check_units(&mut self) {
        let mut owned: BTreeMap<PlayerId, BTreeMap<UnitTypeId, u32>> = BTreeMap::new();
        for (_, unit) in self.units.values() {
            *owned.entry(unit.owner).or_default().entry(unit.type_id).or_default() += 1;
        }
        let start: BTreeMap<UnitTypeId, u32> = self.world.rules.start().iter().copied().collect();
        let players: BTreeSet<PlayerId> = owned.keys().copied().collect();
        assert_eq!(
            players, self.players,
            "invariant 13: players with units, and those that were started"
        );
        for (player, units) in &owned {
            assert_eq!(
                *units, start,
                "invariant 13: what player {player} has, and what it started with"
            );
        }
        self.counts.units = self.units.len() as u64;
        self.counts.hops = self.units.values().map(|(_, unit)| u64::from(unit.hops)).sum();
        self.counts.players = players.len() as u64;
    }
}

/// The commands in one entity's records.
struct Seen<'a> {
    applied: &'a mut BTreeMap<CommandKey, CommandAnswer>,
    nodes: &'a mut BTreeMap<CommandKey, NodeId>,
    /// The last command of each player in this entity.
    last: BTreeMap<PlayerId, (SessionId, u32)>,
}

impl Seen<'_> {
    /// Invariant 12: applied once in all the galaxy, in the session's order.
    fn note(
        &mut self,
        (entity, owner): (EntityKey, Option<NodeId>),
        record: &Record,
        effects: &[Effect],
    ) {
        let answers = effects.iter().filter_map(|effect| match effect {
            Effect::Player(PlayerEffect::Answered(answer)) => Some(answer),
            _ => None,
        });
        let mut commands = record.inputs.iter().filter_map(|input| match input {
            Input::Command(command) => Some(command),
            _ => None,
        });
        for answer in answers {
            let command = commands.next().expect("an answer has a command");
            let CommandAnswer { player, session, sequence, .. } = *answer;
            assert_eq!(
                (command.player, command.session, command.sequence),
                (player, session, sequence)
            );
            if answer.record != record.header.sequence {
                continue; // answered from what the entity remembers
            }
            let before = self.last.insert(player, (session, sequence));
            assert!(before < Some((session, sequence)), "{entity}: {answer:?} after {before:?}");
            let twice = self.applied.insert((player, session, sequence), answer.clone());
            assert_eq!(twice, None, "invariant 12: applied twice: {answer:?}");
            self.nodes.extend(owner.map(|owner| ((player, session, sequence), owner)));
        }
        assert_eq!(commands.next(), None, "{entity}: a command without an answer");
    }
}
