//! Owns the sectors and commands that the tests of this folder share.

use proptest::prelude::*;

use super::SectorState;
use crate::base::geometry::SECTOR_STEPS;
use crate::base::{CompressedPosition, PlayerId, Position, SectorId, UnitId};
use crate::sim::rules::sample::{self, FIGHTER, FREIGHTER, TURRET};
use crate::sim::{Accepted, Changes, Command, Refused, Rules, Target, UnitIds};

pub(super) const HERE: SectorId = SectorId { x: 7, y: -3, scale: 0 };
pub(super) const ANNA: PlayerId = PlayerId(100);
pub(super) const BEN: PlayerId = PlayerId(200);

pub(super) fn rules() -> Rules {
    sample::rules().unwrap()
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
    sector.found(ANNA, &[(FIGHTER, 3), (FREIGHTER, 1), (TURRET, 1)], &mut next_id, changes);
    sector.found(BEN, &[(FIGHTER, 2)], &mut next_id, changes);
    sector
}

pub(super) fn units(ids: &[u64]) -> UnitIds {
    UnitIds::new(ids.iter().copied().map(UnitId).collect()).unwrap()
}

pub(super) fn place(sector: SectorId, x: i32, y: i32) -> Target {
    Target { sector, position: CompressedPosition::of(Position { x, y }, 0) }
}

pub(super) fn go(ids: &[u64], x: i32, y: i32) -> Command {
    Command::Move { units: units(ids), target: place(HERE, x, y) }
}

/// Applies with the sample rules and forgets the changes.
pub(super) fn apply(
    sector: &mut SectorState,
    player: PlayerId,
    command: &Command,
) -> Result<Accepted, Refused> {
    sector.apply_command(player, command, &rules(), &mut Changes::default())
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
    let some = || prop::sample::subsequence(vec![1, 2, 3, 4, 5, 6, 7, 8], 1..4);
    let axis = || -1000..SECTOR_STEPS + 1000;
    let command = prop_oneof![
        4 => (some(), axis(), axis()).prop_map(|(ids, x, y)| go(&ids, x, y)),
        1 => some().prop_map(|ids| Command::Stop { units: units(&ids) }),
        1 => some().prop_map(|ids| Command::Hold { units: units(&ids) }),
    ];
    let player = prop::sample::select(vec![ANNA, BEN]);
    let happening = prop_oneof![
        (player, command).prop_map(|(player, command)| Happening::Command(player, command)),
        prop_oneof![0_u64..20, 0_u64..800].prop_map(Happening::Advance),
    ];
    prop::collection::vec(happening, 0..40)
}
