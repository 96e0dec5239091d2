//! Owns the telling of an entity's journal: what happened, record by record,
//! what came of it, and whether the journalled hashes are those of replay.
//! Never reads a store and changes nothing. Called by `starmesh replay`.
//! Invariant: what it tells of is what [`replay_with`] did.

mod event;

use std::collections::BTreeMap;

use serde::Serialize;

use super::commands::CommandAnswer;
use super::effect::{Effect, PlayerEffect};
use super::input::Input;
use super::kinds::Kind;
use super::kinds::board;
use super::logics::Logics;
use super::record::{Record, decode_record};
use super::replay::{Image, Replayed, begin, replay_with};
use super::{Entity, World};
use crate::base::{
    EntityKey, GalaxyPosition, Incarnation, NodeId, Position, StateHash, Tick, UnitId,
};
use crate::sim::{SectorState, Unit};
pub use event::{Event, Order, Outcome, Place, Verdict, metres};

/// The last durable tick of incarnations, as far as it is known.
pub type NodeTicks = BTreeMap<(NodeId, Incarnation), Tick>;

/// What an entity's snapshot and journal tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct History {
    pub entity: String,
    /// Of the snapshot that it begins from; 0 without one.
    pub snapshot_bytes: u64,
    pub records: Vec<Told>,
    /// `None` when replay did not get to the end.
    pub end: Option<End>,
    /// Journalled hashes compared, and how many of them were other ones.
    pub hashes: u64,
    pub mismatches: u64,
    /// Why replay did not get to the end.
    pub problem: Option<String>,
}

/// A record in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    pub sequence: u64,
    pub tick: u64,
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    pub events: Vec<Event>,
}

/// The entity after the last record told, stepped to `tick`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    pub tick: u64,
    pub hash: String,
    #[serde(flatten)]
    pub contents: Contents,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Contents {
    Units(Vec<UnitLine>),
    Players(Vec<PlayerLine>),
    Board(Vec<PlaceLine>),
}

/// A place on a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlaceLine {
    pub rank: u64,
    pub player: u64,
    pub power: u64,
}

/// A unit; lengths in grid steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnitLine {
    pub id: u64,
    #[serde(rename = "type")]
    pub kind: String,
    pub owner: u64,
    pub x: i32,
    pub y: i32,
    /// Steps of its sector until it stands.
    pub steps: u16,
    pub health: u16,
    pub order: String,
}

/// What a ledger has of a player.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlayerLine {
    pub player: u64,
    pub session: u64,
    /// Sector and what the player has in it.
    pub presence: Vec<(String, String)>,
}

impl History {
    /// Replays `image` up to `to`, or else to where the entity's owner had it
    /// at its last durable tick, which is in `node_ticks`. Types of units are called
    /// as the own rules of `logics` do.
    pub fn tell(
        key: EntityKey,
        mut image: Image,
        logics: &impl Logics,
        to: Option<Tick>,
        node_ticks: &NodeTicks,
    ) -> History {
        let world = logics.own();
        let cut = to.is_some_and(|to| cut_behind(&mut image, to));
        let mut teller = Teller { world, units: BTreeMap::new(), records: Vec::new() };
        let replayed = begin(key, &image, logics).and_then(|began| {
            // A snapshot's units were here before the first record.
            teller.note_units(&began.entity);
            let mut replayed = replay_with(key, &image, logics, |entity, record, effects| {
                teller.tell(entity, record, effects);
            })?;
            let to = end_tick(&replayed.entity, to, cut, node_ticks);
            replayed.run_to(to, logics)?;
            Ok((began.entity.tick(), replayed))
        });
        let mut history = History {
            entity: key.to_string(),
            snapshot_bytes: image.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            records: teller.records,
            end: None,
            hashes: 0,
            mismatches: 0,
            problem: None,
        };
        match replayed {
            Ok((began, replayed)) => {
                history.judge_hashes(began, &replayed);
                history.end = Some(End::of(&replayed, logics));
            }
            Err(error) => history.problem = Some(error.to_string()),
        }
        history
    }

    /// Whether replay got to the end and found every hash.
    pub fn is_sound(&self) -> bool {
        self.problem.is_none() && self.mismatches == 0
    }

    fn judge_hashes(&mut self, began: Tick, replayed: &Replayed) {
        self.hashes = replayed.hashes;
        self.mismatches = replayed.mismatches.len() as u64;
        let found: BTreeMap<u64, _> =
            replayed.mismatches.iter().map(|wrong| (wrong.tick.0, wrong.replayed)).collect();
        for event in self.records.iter_mut().flat_map(|record| &mut record.events) {
            if let Event::Hash { tick, verdict, .. } = event
                && *tick > began.0
            {
                *verdict = event::verdict(found.get(tick).copied());
            }
        }
    }
}

/// Takes the records of later ticks than `to` away; whether there were any.
fn cut_behind(image: &mut Image, to: Tick) -> bool {
    let later = |(_, bytes): &(u64, Vec<u8>)| {
        // One that does not decode stays, so that replay says why.
        decode_record(bytes).is_ok_and(|(_, record)| record.header.tick > to)
    };
    let kept = image.records.iter().position(later);
    image.records.truncate(kept.unwrap_or(usize::MAX));
    kept.is_some()
}

/// How far the entity is stepped behind its last record.
fn end_tick(entity: &Entity, to: Option<Tick>, cut: bool, node_ticks: &NodeTicks) -> Tick {
    let known = |claim: super::context::OpenClaim| {
        let owner = (claim.claim.node, claim.claim.incarnation);
        node_ticks.get(&owner).map(|tick| claim.tick_at(*tick))
    };
    let reached = entity.head().claim.and_then(known).unwrap_or(entity.tick());
    match to {
        // A later record says that it went on at least so far.
        Some(to) if cut => to,
        Some(to) => to.min(reached),
        None => reached,
    }
}

/// Tells records as replay comes by them.
struct Teller<'w> {
    world: &'w World,
    /// The sector's units after the record before.
    units: BTreeMap<UnitId, Unit>,
    records: Vec<Told>,
}

impl Teller<'_> {
    fn tell(&mut self, entity: &Entity, record: &Record, effects: &[Effect]) {
        let mut answers = effects.iter().filter_map(|effect| match effect {
            Effect::Player(PlayerEffect::Answered(answer)) => Some(answer),
            _ => None,
        });
        let mut event = |input: &Input| {
            let is_command = matches!(input, Input::Command(_));
            // Each command has one answer, in order.
            let answer = is_command.then(|| answers.next()).flatten();
            let answer = answer.filter(|answer: &&CommandAnswer| is_of(answer, entity));
            event::of_input(input, answer, &self.world.rules)
        };
        let mut events: Vec<Event> = record.inputs.iter().map(&mut event).collect();
        events.extend(self.note_units(entity));
        let header = record.header;
        let (tick, time) = (header.tick.0, header.time.0);
        self.records.push(Told { sequence: header.sequence, tick, time, events });
    }

    /// Which units came and went since the last call.
    fn note_units(&mut self, entity: &Entity) -> Vec<Event> {
        let Kind::Sector(sector) = entity.kind() else { return Vec::new() };
        let state: &SectorState = sector.state();
        let now: BTreeMap<UnitId, Unit> =
            state.units().iter().map(|unit| (unit.id, *unit)).collect();
        let mut by_player: BTreeMap<_, Vec<&Unit>> = BTreeMap::new();
        for unit in now.values().filter(|unit| !self.units.contains_key(&unit.id)) {
            by_player.entry(unit.owner).or_default().push(unit);
        }
        let rules = &self.world.rules;
        let mut events: Vec<Event> =
            by_player.values().filter_map(|units| event::appeared(units, rules)).collect();
        let gone = self.units.keys().filter(|id| !now.contains_key(id));
        let gone: Vec<u64> = gone.map(|id| id.0).collect();
        if !gone.is_empty() {
            events.push(Event::Gone { units: gone });
        }
        self.units = now;
        events
    }
}

/// Whether the answer is of the record just applied, and not remembered from
/// one before.
fn is_of(answer: &CommandAnswer, entity: &Entity) -> bool {
    answer.record == entity.head().sequence || answer.record == 0
}

impl End {
    fn of(replayed: &Replayed, logics: &impl Logics) -> End {
        let (entity, world) = (&replayed.entity, logics.own());
        let hash = StateHash::of(&entity.snapshot_of(replayed.logic));
        let contents = match entity.kind() {
            Kind::Sector(sector) => {
                let line = |unit: &Unit| unit_line(unit, world);
                Contents::Units(sector.state().units().iter().map(line).collect())
            }
            Kind::Board(board) => {
                let line = |board::Place { rank, player, power, .. }| PlaceLine {
                    rank,
                    player: player.0,
                    power,
                };
                Contents::Board(board.top(board.len()).into_iter().map(line).collect())
            }
            Kind::Ledger(ledger) => {
                let line = |player| PlayerLine {
                    player,
                    session: ledger.session(crate::base::PlayerId(player)).unwrap_or_default().0,
                    presence: presence(ledger.presence(crate::base::PlayerId(player)), world),
                };
                Contents::Players(ledger.players().map(|player| line(player.0)).collect())
            }
        };
        End { tick: entity.tick().0, hash: hash.to_string(), contents }
    }
}

fn unit_line(unit: &Unit, world: &World) -> UnitLine {
    let kind = world.rules.unit_type(unit.type_id);
    UnitLine {
        id: unit.id.0,
        kind: kind.map_or_else(|| unit.type_id.to_string(), |kind| kind.name.clone()),
        owner: unit.owner.0,
        x: unit.position.x,
        y: unit.position.y,
        steps: unit.course.remaining,
        health: unit.health,
        order: order_words(unit.order),
    }
}

fn order_words(order: crate::sim::Order) -> String {
    use crate::sim::Order;
    let place = |to: GalaxyPosition| {
        let sector = to.sector(0);
        let Position { x, y } = to.position(sector);
        format!("{} m, {} m of {sector}", metres(x), metres(y))
    };
    match order {
        Order::Idle => "idle".into(),
        Order::Hold => "hold".into(),
        Order::Move { to } => format!("move to {}", place(to)),
        Order::AttackMove { to } => format!("attack-move to {}", place(to)),
        Order::Patrol { from, to } => format!("patrol to {} and {}", place(to), place(from)),
        Order::Warp { to, .. } => format!("warp to {}", place(to)),
    }
}

fn presence(places: Vec<super::effect::SectorPresence>, world: &World) -> Vec<(String, String)> {
    let words = |place: super::effect::SectorPresence| {
        (place.sector.to_string(), event::count_words(&place.counts, &world.rules))
    };
    places.into_iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Millis, PlayerId, SectorId, SessionId};
    use crate::entity::channel::{ChannelId, ChannelMessage};
    use crate::entity::commands::PlayerCommand;
    use crate::entity::input::Claim;
    use crate::entity::message::{Body, Request};
    use crate::entity::record::{RecordHeader, encode_input, encode_record};
    use crate::sim::rules::sample::{self, FREIGHTER};
    use crate::sim::{Command, Galaxy, Target, UnitIds};

    const HERE: SectorId = SectorId::tactical(5, 6);
    const KEY: EntityKey = EntityKey::Sector(HERE);

    fn world() -> World {
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        World::new(galaxy, 64, sample::rules().unwrap())
    }

    fn image(records: &[(u64, Vec<Input>)]) -> Image {
        let mut image = Image::default();
        for (sequence, (tick, inputs)) in (1..).zip(records) {
            let mut bytes = Vec::new();
            inputs.iter().for_each(|input| encode_input(input, &mut bytes));
            let header = RecordHeader { sequence, tick: Tick(*tick), time: Millis(*tick * 100) };
            let count = u32::try_from(inputs.len()).unwrap();
            let bytes = encode_record(&header, world().logic(), count, &bytes);
            image.records.push((sequence, bytes));
        }
        image
    }

    fn found() -> Input {
        let sender = EntityKey::Ledger(1);
        let channel = ChannelId { sender, receiver: KEY, opened: 1 };
        let request = Request::Found { player: PlayerId(1), units: vec![(FREIGHTER, 3)] };
        Input::Message(ChannelMessage {
            channel,
            number: 1,
            body: Body::Request { id: 1, request },
        })
    }

    fn go(sequence: u32) -> Input {
        let units = UnitIds::new(vec![UnitId(2), UnitId(3)]).unwrap();
        let target = Target { sector: HERE, position: Default::default() };
        let (player, session) = (PlayerId(1), SessionId(1));
        let command = Command::go(units, target);
        Input::Command(PlayerCommand { player, session, sequence, command })
    }

    fn claim() -> Input {
        let (node, incarnation) = (NodeId(1), Incarnation(1));
        Input::Claim(Claim { node, incarnation, node_tick: Tick(100) })
    }

    /// Claim and founding, a command twice, and this hash of tick 100.
    fn records(hash: StateHash) -> [(u64, Vec<Input>); 4] {
        [
            (0, vec![claim(), found(), Input::Ids { start: 1 }]),
            (10, vec![go(1)]),
            (11, vec![go(1)]),
            (101, vec![Input::Hash { tick: Tick(100), hash }]),
        ]
    }

    fn tell(hash: StateHash, to: Option<u64>) -> History {
        let ticks = NodeTicks::from([((NodeId(1), Incarnation(1)), Tick(300))]);
        History::tell(KEY, image(&records(hash)), &world(), to.map(Tick), &ticks)
    }

    /// The state's hash directly after the step to tick 100.
    fn hash() -> StateHash {
        let replayed = crate::entity::replay::replay(
            KEY,
            &image(&records(StateHash::default())[..3]),
            &world(),
        );
        let mut entity = replayed.unwrap().entity;
        entity.run_to(Tick(100), &world(), &mut Vec::new());
        entity.state_hash(&world())
    }

    fn words(told: &Told) -> Vec<String> {
        told.events.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tells_what_each_record_did() {
        let history = tell(hash(), None);
        assert_eq!(
            words(&history.records[0]),
            [
                "claimed by node 1, incarnation 1, at its tick 100",
                "message 1 from ledger 1: request 1: found player 1: 3 Freighter",
                "ids 1 to 1048576",
                "new units of player 1: 3 Freighter (unit 1 to 3)",
            ]
        );
        let command = "command 1 of player 1, session 1: move unit 2 to 3 to 0 m, 0 m of sector \
                       5,6,0: ";
        let done = words(&history.records[1]).remove(0);
        assert!(done.starts_with(&format!("{command}done, unit 2 stands at ")), "{done}");
        assert_eq!(words(&history.records[2]), [format!("{command}answered before")]);
    }

    #[test]
    fn ends_at_the_last_durable_tick_of_the_owner() {
        let end = tell(hash(), None).end.unwrap();
        assert_eq!(end.tick, 200);
        let Contents::Units(units) = end.contents else { panic!("a sector has units") };
        assert_eq!(units.len(), 3);
        assert!(units[1].steps > 0 && units[1].order == "move to 0 m, 0 m of 5,6,0");
    }

    #[test]
    fn ends_where_it_is_told_to() {
        for (to, tick, records) in [(5, 5, 1), (10, 10, 2), (150, 150, 4), (999, 200, 4)] {
            let history = tell(hash(), Some(to));
            assert_eq!((history.end.unwrap().tick, history.records.len()), (tick, records));
        }
    }

    #[test]
    fn verifies_the_journalled_hashes() {
        let history = tell(hash(), None);
        assert_eq!((history.hashes, history.mismatches, history.is_sound()), (1, 0, true));
        assert_eq!(words(&history.records[3]), [format!("hash {} of tick 100: ✓", hash())]);
        let wrong = tell(StateHash::default(), None);
        assert_eq!((wrong.hashes, wrong.mismatches, wrong.is_sound()), (1, 1, false));
        let told = words(&wrong.records[3]).remove(0);
        assert!(told.ends_with(&format!("✗ replay gives {}", hash())), "{told}");
    }

    #[test]
    fn says_why_a_record_cannot_be_replayed() {
        let mut image = image(&records(hash()));
        image.records.remove(1);
        let history = History::tell(KEY, image, &world(), None, &NodeTicks::new());
        assert_eq!(history.problem.as_deref(), Some("record: record 3 where 2 was expected"));
        assert_eq!((history.records.len(), history.is_sound()), (1, false));
    }
}
