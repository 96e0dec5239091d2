//! A board has every player once, the strongest first; and once faults have
//! ended it says of each what its ledger says.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, PlayerId};
use starmesh::entity::kinds::Kind;
use starmesh::entity::kinds::board::{Board, POWER};

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Boards;

impl Invariant for Boards {
    fn name(&self) -> &'static str {
        "boards say what ledgers say, the strongest first"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        let Fact::Applied { after, .. } = fact else { return Ok(()) };
        let Kind::Board(board) = after.kind() else { return Ok(()) };
        let places = board.top(usize::MAX);
        let powers = powers(board);
        let is_ordered = places.windows(2).all(|two| two[0].power >= two[1].power);
        let is_known = places
            .iter()
            .all(|place| place.power > 0 && board.power(place.player) == Some(place.power));
        if is_ordered && is_known && powers.len() == board.len() {
            return Ok(());
        }
        Err(format!("{places:?}"))
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        let said = match scene.shadow(EntityKey::Board(POWER)).map(|board| board.kind()) {
            Some(Kind::Board(board)) => powers(board),
            _ => BTreeMap::new(),
        };
        let mut expected = BTreeMap::new();
        for shadow in scene.shadows.values() {
            let Kind::Ledger(ledger) = shadow.entity().kind() else { continue };
            let power = |player: PlayerId| ledger.power(player, &scene.world.rules);
            let strong = ledger.players().filter(|player| power(*player) > 0);
            expected.extend(strong.map(|player| (player.0, power(player))));
        }
        if said == expected {
            return Ok(());
        }
        Err(format!("ledgers say {expected:?}, the board {said:?}"))
    }
}

/// Power by player.
fn powers(board: &Board) -> BTreeMap<u64, u64> {
    board.top(usize::MAX).iter().map(|place| (place.player.0, place.power)).collect()
}
