//! Owns the sectors and commands that the tests of this folder share.

use proptest::prelude::*;

use super::SectorState;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{CompressedPosition, FleetId, PlayerId, Position, SectorId, UnitId};
use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use crate::sim::{
    Accepted, Changes, Command, Galaxy, Instruction, Leaving, Recipients, Refused, Rules,
    Surroundings, Target, UnitIds,
};

pub(super) const HERE: SectorId = SectorId { x: 7, y: 5, scale: 0 };
pub(super) const ANNA: PlayerId = PlayerId(100);
pub(super) const BEN: PlayerId = PlayerId(200);

/// Rules and a galaxy.
pub(super) struct World {
    rules: Rules,
    galaxy: Galaxy,
}

impl World {
    pub(super) fn new() -> World {
        let galaxy = Galaxy::new(1, Galaxy::SIDE).unwrap();
        World { rules: sample::rules().unwrap(), galaxy }
    }

    /// With every border open.
    pub(super) fn around(&self, step: u64) -> Surroundings<'_> {
        self.with(&|_| true, step)
    }

    pub(super) fn with<'a>(
        &'a self,
        open: &'a dyn Fn(SectorId) -> bool,
        step: u64,
    ) -> Surroundings<'a> {
        Surroundings { rules: &self.rules, galaxy: &self.galaxy, open, step }
    }
}

/// One step with open borders; what left.
pub(super) fn step(sector: &mut SectorState, at: u64) -> Vec<Leaving> {
    let (world, mut leaving) = (World::new(), Vec::new());
    sector.step(&world.around(at), &mut Changes::default(), &mut leaving);
    leaving
}

/// Steps until nothing happens any more, as long as there is reason to wait.
pub(super) fn settle(sector: &mut SectorState) {
    let world = World::new();
    sector.advance(5_000, &world.around(0), &mut Changes::default(), &mut Vec::new());
    assert!(sector.is_idle(), "still busy after 5,000 steps");
}

/// Anna has fighters 1 to 3, freighter 4 and turret 5; Ben fighters 6 and 7.
pub(super) fn two_players() -> SectorState {
    let mut sector = SectorState::new(HERE);
    let mut last = 0;
    let mut next_id = || {
        last += 1;
        UnitId(last)
    };
    let changes = &mut Changes::default();
    sector.found(ANNA, &[(FIGHTER, 3), (FREIGHTER, 1), (TURRET, 1)], &[], &mut next_id, changes);
    sector.found(BEN, &[(FIGHTER, 2)], &[], &mut next_id, changes);
    sector
}

pub(super) fn units(ids: &[u64]) -> UnitIds {
    UnitIds::new(ids.iter().copied().map(UnitId).collect()).unwrap()
}

pub(super) fn place(sector: SectorId, x: i32, y: i32) -> Target {
    Target { sector, position: CompressedPosition::of(Position { x, y }, 0) }
}

pub(super) fn go(ids: &[u64], x: i32, y: i32) -> Command {
    Command::go(units(ids), place(HERE, x, y))
}

pub(super) fn order(ids: &[u64], what: Instruction) -> Command {
    Command::new(units(ids), what)
}

/// Applies with the sample rules and forgets the changes.
pub(super) fn apply(
    sector: &mut SectorState,
    player: PlayerId,
    command: &Command,
) -> Result<Accepted, Refused> {
    let world = World::new();
    sector.apply_command(player, command, &world.around(0), &mut Changes::default())
}

pub(super) fn bytes(sector: &SectorState) -> Vec<u8> {
    let mut bytes = Vec::new();
    sector.write(&mut bytes);
    bytes
}

/// What can happen to a sector.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Command(PlayerId, Command),
    Advance(u64),
}

/// Commands of both players, right and wrong, and time between them.
pub(super) fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let player = prop::sample::select(vec![ANNA, BEN]);
    let happening = prop_oneof![
        (player, command()).prop_map(|(player, command)| Happening::Command(player, command)),
        prop_oneof![0_u64..20, 0_u64..800].prop_map(Happening::Advance),
    ];
    prop::collection::vec(happening, 0..40)
}

fn command() -> impl Strategy<Value = Command> {
    let some = prop::sample::subsequence(vec![1, 2, 3, 4, 5, 6, 7, 8], 1..4);
    let fleet = prop::sample::select(vec![FleetId(1), FleetId(2)]);
    let to = prop_oneof![
        5 => some.prop_map(|ids| Recipients::Units(units(&ids))),
        1 => fleet.clone().prop_map(Recipients::Fleet),
    ];
    let what = prop_oneof![
        8 => target().prop_map(|target| Instruction::Move { target }),
        2 => target().prop_map(|target| Instruction::AttackMove { target }),
        1 => target().prop_map(|target| Instruction::Patrol { target }),
        1 => target().prop_map(|target| Instruction::Warp { target }),
        1 => Just(Instruction::Stop),
        1 => Just(Instruction::Hold),
        2 => fleet.prop_map(|fleet| Instruction::Join { fleet }),
    ];
    (to, what, prop::bool::weighted(0.2)).prop_map(|(to, what, queue)| Command { to, what, queue })
}

/// Mostly in the sector, at times in one next to it.
fn target() -> impl Strategy<Value = Target> {
    let axis = || 0..SECTOR_STEPS;
    let next = prop_oneof![6 => Just((0, 0)), 1 => (-1_i64..=1, -1_i64..=1)];
    (next, axis(), axis()).prop_map(|((dx, dy), x, y)| place(HERE.neighbour(dx, dy).unwrap(), x, y))
}
