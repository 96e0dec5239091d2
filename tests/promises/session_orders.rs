//! Every order and every refusal takes the whole way: from the client's text
//! through the session to the sector, and its answer back to the client.

use serde_json::{Value, json};
use starmesh::base::{
    EntityKey, FleetId, GalaxyPosition, Incarnation, Millis, NodeId, PlayerId, Position, SectorId,
    Tick, UnitId,
};
use starmesh::cluster::core::attaching::{Attached, Attachment};
use starmesh::entity::channel::{ChannelId, ChannelMessage};
use starmesh::entity::effect::{Effect as EntityEffect, PlayerEffect};
use starmesh::entity::input::{Claim, Input};
use starmesh::entity::kinds::Kind;
use starmesh::entity::message::{Body, Counts, Notice, Request};
use starmesh::entity::record::{Record, RecordHeader};
use starmesh::entity::{Entity, World};
use starmesh::gateway::session::Effect;
use starmesh::protocol::server::Ack;
use starmesh::protocol::{Answer, Place, ServerMessage};
use starmesh::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use starmesh::sim::travel::QUEUE_MAX;
use starmesh::sim::{Galaxy, Order, Refusal, Traveller, Unit, UnitState, UnitTypeId};

use super::session_script::{ME, Script, handle};

const HERE: SectorId = SectorId::tactical(1, 4);
const LEDGER: EntityKey = EntityKey::Ledger(0);
const OTHER: PlayerId = PlayerId(99);
/// Nobody has rules for it.
const RELIC: UnitTypeId = UnitTypeId(400);

/// A client, its session, and a sector. I have fighters 1 and 2, freighter 3,
/// turret 4 and a unit 5 of unknown type; 6 is another's.
struct Game {
    script: Script,
    world: World,
    sector: Entity,
    handle: u32,
    sequence: u32,
    messages: u64,
}

impl Game {
    fn new() -> Game {
        let galaxy = Galaxy::new(1, Galaxy::SIDE_MIN).expect("the smallest");
        let rules = sample::rules().expect("in range");
        let world = World::new(galaxy, 1, rules);
        let script = Script::watching(&[HERE.x]);
        let sector = Entity::genesis(EntityKey::Sector(HERE), &world).expect("it is there");
        let mut game =
            Game { script, world, sector, handle: handle(HERE.x), sequence: 0, messages: 0 };
        let claim = Claim { node: NodeId(1), incarnation: Incarnation(1), node_tick: Tick(1_000) };
        game.record(Input::Claim(claim));
        game.record(Input::Ids { start: 1 });
        game.found(ME, vec![(FIGHTER, 2), (FREIGHTER, 1), (TURRET, 1), (RELIC, 1)]);
        game.found(OTHER, vec![(FIGHTER, 1)]);
        game
    }

    fn found(&mut self, player: PlayerId, units: Counts) {
        let request = Request::Found { player, units };
        self.tell(Body::Request { id: self.messages, request });
    }

    /// A message from the ledger.
    fn tell(&mut self, body: Body) {
        self.messages += 1;
        let channel = ChannelId { sender: LEDGER, receiver: self.sector.key(), opened: 3 };
        self.record(Input::Message(ChannelMessage { channel, number: self.messages, body }));
    }

    fn record(&mut self, input: Input) -> Vec<EntityEffect> {
        let sequence = self.sector.head().sequence + 1;
        let header = RecordHeader { sequence, tick: self.sector.tick(), time: Millis(1_000) };
        let (record, mut effects) = (Record { header, inputs: vec![input] }, Vec::new());
        self.sector.apply(&record, &self.world, &mut effects).expect("the next record");
        effects
    }

    /// Says a command to the place of `handle`; what the client reads of it.
    fn say(&mut self, kind: &str, fields: Value) -> Ack {
        self.sequence += 1;
        let mut message =
            json!({"type": kind, "handle": self.handle, "sequence": self.sequence, "time": 0});
        let fields: Value = fields;
        for (name, value) in fields.as_object().expect("an object") {
            message[name] = value.clone();
        }
        // Slowly, for the limits of the session.
        self.script.now.set(self.script.now.get() + 10_000);
        self.script.say(&message.to_string());
        if let [Effect::Attach { .. }] = self.script.effects[..] {
            self.script.effects.clear();
            let entity = self.sector.key();
            let attached = Ok(Some(Attached { last: 0, attachment: Attachment(1), at: NodeId(1) }));
            self.script.on(|session, around| session.handle_attached(entity, attached, around));
        }
        for effect in self.script.take_effects() {
            let Effect::Command { entity, command, .. } = effect else { panic!("{effect:?}") };
            assert_eq!(entity, self.sector.key());
            for told in self.record(Input::Command(command)) {
                if let EntityEffect::Player(answer @ PlayerEffect::Answered(_)) = told {
                    self.script.told(answer);
                }
            }
        }
        let read = self.script.read_messages();
        match &read[..] {
            [ServerMessage::Ack(ack)] if ack.sequence == self.sequence => ack.clone(),
            other => panic!("not one acknowledgement: {other:?}"),
        }
    }

    /// Says a command that is carried out.
    #[track_caller]
    fn obey(&mut self, kind: &str, fields: Value) -> Ack {
        let ack = self.say(kind, fields);
        assert!(ack.success && ack.error.is_none(), "{ack:?}");
        ack
    }

    /// Says a command that `rule` refuses, because of `unit`.
    #[track_caller]
    fn refused(&mut self, kind: &str, fields: Value, rule: Refusal, unit: Option<u64>) {
        let before = self.sector.clone();
        let ack = self.say(kind, fields);
        let state = (rule == Refusal::InTransit).then_some(UnitState::IN_TRANSIT.0);
        let (code, why) = (rule.code().to_owned(), rule.to_string());
        let expected = Answer::Refused { rule: code, why, unit: unit.map(UnitId), state };
        assert!(!ack.success, "{ack:?}");
        assert_eq!(ack.error, Some(expected));
        assert_eq!(self.sector.kind(), before.kind(), "nothing changed");
    }

    fn pass(&mut self, steps: u64) {
        let until = self.sector.tick().after(2 * steps);
        self.sector.run_to(until, &self.world, &mut Vec::new());
    }

    #[track_caller]
    fn unit(&self, id: u64) -> Unit {
        *self.find(id).unwrap_or_else(|| panic!("unit {id} is gone"))
    }

    fn find(&self, id: u64) -> Option<&Unit> {
        let Kind::Sector(sector) = self.sector.kind() else { panic!("a sector") };
        sector.state().unit(UnitId(id))
    }
}

/// `position` here as a destination.
fn target_in(sector: SectorId, position: Position) -> Value {
    let x = u64::try_from(position.x).expect("inside") << 12;
    let y = u64::try_from(position.y).expect("inside") << 12;
    json!({"position": {"sector": {"x": sector.x, "y": sector.y, "scale": 0}, "x": x, "y": y}})
}

const THERE: Position = Position { x: 600_000, y: 450_000 };

fn target() -> Value {
    target_in(HERE, THERE)
}

fn goal() -> GalaxyPosition {
    GalaxyPosition::of(HERE, THERE)
}

fn is_near(unit: &Unit, place: Position) -> bool {
    unit.position.x.abs_diff(place.x).max(unit.position.y.abs_diff(place.y)) < 1_100
}

#[test]
fn move_and_attack_move_lead_to_the_target() {
    for (kind, order) in [
        ("moveFleet", Order::Move { to: goal() }),
        ("attackMove", Order::AttackMove { to: goal() }),
    ] {
        let mut game = Game::new();
        let ack = game.obey(kind, json!({"units": [1], "target": target()}));
        assert_eq!(game.unit(1).order, order);
        assert!(ack.arrival.is_some_and(|arrival| arrival.steps > 0));
        game.pass(200);
        assert!(is_near(&game.unit(1), THERE) && game.unit(1).order == Order::Idle);
    }
}

#[test]
fn a_patrol_goes_back_and_forth() {
    let mut game = Game::new();
    let home = game.unit(1).position;
    game.obey("patrol", json!({"units": [1], "target": target()}));
    let mut visits = Vec::new();
    for _ in 0..200 {
        game.pass(1);
        let unit = game.unit(1);
        let place = [home, THERE].into_iter().position(|place| is_near(&unit, place));
        if let Some(place) = place
            && visits.last() != Some(&place)
        {
            visits.push(place);
        }
    }
    assert!(visits.starts_with(&[1, 0, 1]), "{visits:?}");
}

#[test]
fn warp_takes_the_unit_out_of_its_sector() {
    let mut game = Game::new();
    let far = target_in(SectorId::tactical(200, 100), THERE);
    game.obey("warp", json!({"units": [1], "target": far}));
    game.pass(24);
    assert!(matches!(game.unit(1).order, Order::Warp { wait: 1, .. }));
    game.pass(2);
    assert_eq!(game.find(1), None);
    // Its commands are answered with where it is now.
    let place = Place::sector(HERE.ancestor(4).expect("above"));
    let ack = game.say("stop", json!({"units": [1]}));
    assert_eq!(ack.error, Some(Answer::Moved { place }));
}

#[test]
fn stop_and_hold_end_a_move() {
    for (kind, order) in [("stop", Order::Idle), ("hold", Order::Hold)] {
        let mut game = Game::new();
        game.obey("moveFleet", json!({"units": [1, 2], "target": target()}));
        game.pass(4);
        assert!(game.unit(1).course.is_moving());
        game.obey(kind, json!({"units": [1]}));
        game.pass(1);
        assert!(!game.unit(1).course.is_moving() && game.unit(2).course.is_moving());
        assert_eq!(game.unit(1).order, order);
    }
}

#[test]
fn orders_that_wait_begin_when_the_one_before_has_ended() {
    let mut game = Game::new();
    game.obey("moveFleet", json!({"units": [1], "target": target()}));
    game.obey("hold", json!({"units": [1], "queue": true}));
    assert_eq!(game.unit(1).order, Order::Move { to: goal() });
    game.pass(200);
    assert!(is_near(&game.unit(1), THERE) && game.unit(1).order == Order::Hold);
}

#[test]
fn a_fleet_obeys_as_one_at_the_speed_of_its_slowest() {
    let mut game = Game::new();
    game.obey("joinFleet", json!({"units": [1, 3], "into": 7}));
    assert_eq!((game.unit(1).fleet, game.unit(2).fleet), (FleetId(7), FleetId(0)));
    game.obey("moveFleet", json!({"fleet": 7, "target": target()}));
    assert_eq!(game.unit(1).speed, game.unit(3).speed);
    assert!(game.unit(1).course.is_moving() && !game.unit(2).course.is_moving());
    game.obey("joinFleet", json!({"fleet": 7, "into": 0}));
    game.refused("stop", json!({"fleet": 7}), Refusal::NoSuchFleet, None);
}

#[test]
fn a_batch_gives_each_its_own_order() {
    let mut game = Game::new();
    game.obey("joinFleet", json!({"units": [1, 2], "into": 7}));
    let item = |sequence: u32, who: Value, order: Value| {
        let mut item = json!({"sequence": sequence, "order": order});
        item["units"] = who;
        item
    };
    let mut fleet = json!({"sequence": 4, "fleet": 7, "queue": true});
    fleet["order"] = json!({"attackMove": {"target": target()}});
    let commands = json!([
        item(2, json!([1]), json!({"patrol": {"target": target()}})),
        item(3, json!([2]), json!({"joinFleet": {"into": 8}})),
        fleet,
        item(5, json!([3]), json!({"warp": {"target": target()}})),
    ]);
    let batch =
        json!({"type": "batchCommand", "handle": game.handle, "time": 0, "commands": commands});
    game.script.say(&batch.to_string());
    let mut told = Vec::new();
    for effect in game.script.take_effects() {
        let Effect::Command { command, .. } = effect else { panic!("{effect:?}") };
        told.extend(game.record(Input::Command(command)));
    }
    let done = |effect: &&EntityEffect| matches!(effect, EntityEffect::Player(_));
    assert_eq!(told.iter().filter(done).count(), 4);
    assert!(matches!(game.unit(1).order, Order::Patrol { .. }));
    assert_eq!(game.unit(2).fleet, FleetId(8));
    assert!(matches!(game.unit(3).order, Order::Warp { .. }));
    let Kind::Sector(sector) = game.sector.kind() else { panic!("a sector") };
    assert_eq!(sector.state().queue(UnitId(1)).count(), 1);
    assert_eq!(sector.state().queue(UnitId(2)).count(), 0);
}

#[test]
fn each_rule_that_refuses_says_its_code_and_why() {
    let mut game = Game::new();
    let go = |unit: u64| json!({"units": [unit], "target": target()});
    game.refused(
        "moveFleet",
        json!({"units": [1, 6], "target": target()}),
        Refusal::NotYourUnit,
        Some(6),
    );
    game.refused("moveFleet", go(4), Refusal::Immobile, Some(4));
    game.refused("patrol", go(5), Refusal::UnknownType, Some(5));
    let outside = target_in(SectorId::tactical(511, 512), THERE);
    let outside = json!({"units": [1], "target": outside});
    game.refused("warp", outside, Refusal::OutsideGalaxy, Some(1));
    let far = json!({"units": [1, 3], "target": target_in(SectorId::tactical(60, 4), THERE)});
    game.refused("attackMove", far, Refusal::OutOfReach, Some(3));
    game.refused("hold", json!({"fleet": 3}), Refusal::NoSuchFleet, None);
    game.refused("stop", json!({"units": [1], "queue": true}), Refusal::CannotWait, None);
    let join = json!({"units": [1], "queue": true, "into": 2});
    game.refused("joinFleet", join, Refusal::CannotWait, None);
    game.obey("moveFleet", go(1));
    for _ in 0..QUEUE_MAX {
        game.obey("hold", json!({"units": [1], "queue": true}));
    }
    game.refused("hold", json!({"units": [2, 1], "queue": true}), Refusal::QueueFull, Some(1));
}

#[test]
fn a_unit_in_transit_takes_no_commands() {
    let mut game = Game::new();
    let mut unit = Unit::new(UnitId(70), FIGHTER, ME, THERE);
    unit.state = UnitState::IN_TRANSIT;
    let travellers = vec![Traveller { unit, queue: Vec::new() }];
    game.tell(Body::Notice(Notice::Units { travellers }));
    game.refused("stop", json!({"units": [70]}), Refusal::InTransit, Some(70));
}

#[test]
fn units_in_warp_take_only_orders_that_wait() {
    let mut game = Game::new();
    let above = HERE.ancestor(4).expect("above");
    game.sector = Entity::genesis(EntityKey::Sector(above), &game.world).expect("it is there");
    (game.messages, game.handle) = (0, 0);
    let mut unit = Unit::new(UnitId(1), FIGHTER, ME, Position { x: 1 << 22, y: 1 << 22 });
    unit.order = Order::Warp { to: GalaxyPosition { x: 1 << 28, y: 1 << 28 }, wait: 0 };
    let travellers = vec![Traveller { unit, queue: Vec::new() }];
    game.tell(Body::Notice(Notice::Units { travellers }));
    let place = json!({"sector": {"x": above.x, "y": above.y, "scale": 4}});
    let stop = json!({"place": place, "units": [1]});
    game.refused("stop", stop, Refusal::InWarp, Some(1));
    game.obey("hold", json!({"place": place, "units": [1], "queue": true}));
}

#[test]
fn a_unit_that_is_not_here_is_no_rules_business() {
    let mut game = Game::new();
    let ack = game.say("stop", json!({"units": [1, 444]}));
    assert_eq!(ack.error, Some(Answer::NotHere {}));
}
