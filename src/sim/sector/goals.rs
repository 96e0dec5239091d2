//! Owns where each unit of a command is sent: to a spot of its own around the
//! target, beside what lies there. Called when a command is applied. Invariant:
//! what it gives follows from the state and the galaxy, and no two units of a
//! command get one spot while there are others.

use std::collections::BTreeMap;

use super::SectorState;
use super::formation::spots;
use super::obstacles::{covers, obstacles};
use super::spots::Spots;
use crate::base::{GalaxyPosition, SectorId};
use crate::sim::galaxy::Circle;
use crate::sim::{Instruction, Refused, Surroundings, Target};

impl SectorState {
    /// A spot around the target for each unit, by ids: distinct, so that they
    /// stand apart; `None` for each when there is no target.
    pub(super) fn goals(
        &self,
        addressed: &[usize],
        what: Instruction,
        around: &Surroundings<'_>,
    ) -> Result<Vec<Option<GalaxyPosition>>, Refused> {
        let Some(target) = what.target() else { return Ok(vec![None; addressed.len()]) };
        let middle = place(target, around)?;
        let mut by_id: Vec<usize> = (0..addressed.len()).collect();
        by_id.sort_unstable_by_key(|n| addressed[*n]);
        let mut shores = Shores { here: self, around, sectors: BTreeMap::new() };
        let mut goals = vec![Some(middle); addressed.len()];
        for (n, spot) in by_id.into_iter().zip(spots(middle, around.galaxy, addressed.len())) {
            goals[n] = Some(shores.beside(spot));
        }
        Ok(goals)
    }
}

fn place(target: Target, around: &Surroundings<'_>) -> Result<GalaxyPosition, Refused> {
    let located = target.locate(around.galaxy);
    let (sector, position) = located.map_err(|rule| Refused { rule, unit: None })?;
    Ok(GalaxyPosition::of(sector, position))
}

/// What lies in the sectors that one command leads to.
struct Shores<'a> {
    here: &'a SectorState,
    around: &'a Surroundings<'a>,
    sectors: BTreeMap<SectorId, Shore>,
}

struct Shore {
    obstacles: Vec<Circle>,
    /// Made when the first spot of the command needs another.
    spots: Option<Spots>,
}

impl Shores<'_> {
    /// `goal`, or the nearest spot beside the obstacle that it lies in.
    fn beside(&mut self, goal: GalaxyPosition) -> GalaxyPosition {
        let (sector, here) = (goal.sector(0), self.here);
        let is_here = sector == here.sector;
        let galaxy = self.around.galaxy;
        let shore = self.sectors.entry(sector).or_insert_with(|| {
            let obstacles =
                if is_here { here.obstacles().to_vec() } else { obstacles(galaxy, sector) };
            Shore { obstacles, spots: None }
        });
        let position = goal.position(sector);
        if !covers(&shore.obstacles, position) {
            return goal;
        }
        // Who is in another sector is not known here.
        let units = if is_here { &here.units[..] } else { &[] };
        let spots = shore.spots.get_or_insert_with(|| Spots::new(sector, units, &shore.obstacles));
        spots.take_near(position).map_or(goal, |spot| GalaxyPosition::of(sector, spot))
    }
}
