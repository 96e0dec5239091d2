//! Owns what one device of a player knows: its session, its line to a gateway, what
//! it ordered and what it was answered. Never sends; [clients](super::clients) do.

use std::collections::BTreeMap;

use starmesh::base::{
    CompressedPosition, EntityKey, NodeId, PlayerId, SectorId, SessionId, UnitId,
};
use starmesh::entity::commands::{CommandAnswer, CommandResult, RESULTS_MAX};
use starmesh::entity::effect::Connected;
use starmesh::gateway::session::commands::CommandTable;
use starmesh::sim::{Command, Instruction, Target, UnitIds};

use crate::random::Random;

/// Whose session was taken over lets the other have it so long.
const LOST_MS: u64 = 5_000;

pub struct Pending {
    pub entity: EntityKey,
    pub command: Command,
    pub due: u64,
}

/// What a device has at a gateway.
pub struct Line {
    pub node: NodeId,
    pub connection: u64,
    pub is_open: bool,
    pub since: u64,
    pub asked: u64,
    pub commands: CommandTable,
    /// Since when it waits to be attached, and for the answer to which question.
    pub attaching: BTreeMap<EntityKey, (u64, u64)>,
}

pub struct Device {
    pub player: PlayerId,
    pub units: Vec<UnitId>,
    pub session: Option<SessionId>,
    pub sequence: u32,
    pub line: Option<Line>,
    pub pending: BTreeMap<u32, Pending>,
    pub answered: BTreeMap<u32, (Command, CommandAnswer)>,
    pub acts_at: u64,
    /// Another device has its player's session, and it lets that be.
    pub retired: bool,
    /// When nothing failed any more, an order of its was carried out.
    pub obeyed: bool,
}

impl Device {
    pub fn new(player: u64, units: &[UnitId], session: Option<(SessionId, u32)>) -> Device {
        Device {
            player: PlayerId(player),
            units: units.to_vec(),
            session: session.map(|(session, _)| session),
            sequence: session.map_or(0, |(_, sequence)| sequence),
            line: None,
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
            acts_at: 0,
            retired: false,
            obeyed: false,
        }
    }

    pub fn connected(&mut self, connected: &Connected) {
        let Some(line) = self.line.as_mut().filter(|line| !line.is_open) else { return };
        line.is_open = true;
        if self.session != Some(connected.session) {
            self.forget_commands();
            self.session = Some(connected.session);
        }
        self.pending.values_mut().for_each(|pending| pending.due = 0);
    }

    pub fn lose_session(&mut self, calm: bool, now: u64) {
        self.forget_commands();
        self.acts_at = now + LOST_MS;
        (self.session, self.line, self.retired) = (None, None, calm);
    }

    pub fn forget_commands(&mut self) {
        self.sequence = 0;
        self.pending.clear();
        self.answered.clear();
    }

    /// What was answered is answered the same, until it is so long ago that an entity
    /// need not know it.
    pub fn check_again(&self, first: &CommandAnswer, answer: &CommandAnswer) {
        let later = self.answered.range(first.sequence + 1..);
        let later = later.filter(|(_, (_, other))| other.entity == first.entity).count();
        let is_forgotten = answer.result == CommandResult::NotHere && later >= RESULTS_MAX;
        assert!(first == answer || is_forgotten, "12: {first:?}, and asked again {answer:?}");
    }
}

pub fn near(sector: SectorId, random: &mut Random) -> SectorId {
    let (x, y) = (random.below(3) as i64 - 1, random.below(3) as i64 - 1);
    sector.neighbour(x, y).unwrap_or(sector)
}

/// Mostly over a border, and more often to and fro for ever than not.
pub fn invent(unit: UnitId, place: SectorId, random: &mut Random) -> Command {
    let units = UnitIds::new(vec![unit]).expect("one unit");
    let position = CompressedPosition { x: random.number() as u32, y: random.number() as u32 };
    let target = Target { sector: near(place, random), position };
    match random.below(10) {
        0 | 1 => Command::new(units, Instruction::Stop),
        2..=4 => Command::go(units, target),
        _ => Command::new(units, Instruction::Patrol { target }),
    }
}
