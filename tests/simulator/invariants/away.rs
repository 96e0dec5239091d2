//! Invariant 25: while the store is away nothing moves and what waits stays
//! within its bounds; when it is back the tick goes on where it stopped, one by
//! one.

use starmesh::base::Tick;
use starmesh::entity::commit::CommitError;

use crate::scene::{Fact, Invariant, Scene, Waiting};

/// What a node submits for an entity however much waits: its ids, a timer's
/// time, a snapshot's.
const OF_ITS_OWN: usize = 3;

#[derive(Default)]
pub struct Away {
    away: bool,
    /// `None` until the process has told its first.
    tick: Option<Tick>,
}

impl Invariant for Away {
    fn name(&self) -> &'static str {
        "25 time stands still and nothing piles up while the store is away"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Began => *self = Away::default(),
            Fact::Answered(Err(CommitError::Unknown(_))) => self.away = true,
            Fact::Answered(Ok(_)) => self.away = false,
            Fact::Ticked(tick) => {
                let row = scene.row.as_ref().map(|row| row.tick).unwrap_or_default();
                let last = self.tick.replace(*tick).unwrap_or(row);
                if self.away || *tick != last.after(1) {
                    return Err(format!("{tick:?} after {last:?}, away: {}", self.away));
                }
            }
            Fact::Waiting(waiting) => return within(waiting, scene),
            _ => {}
        }
        Ok(())
    }
}

/// Only so much is taken; beyond it what cannot come again.
fn within(waiting: &Waiting, scene: &Scene) -> Result<(), String> {
    let limits = &scene.limits;
    // An entity that is loaded for the first time has no shadow yet.
    let entities = scene.shadows.len() + limits.loads;
    let bound = scene.tables * limits.inputs_per_table + waiting.lost + OF_ITS_OWN * entities;
    if waiting.inputs <= bound && waiting.for_a_load <= limits.waiting_per_load {
        return Ok(());
    }
    Err(format!("{waiting:?}, at most {bound} inputs, {} for a load", limits.waiting_per_load))
}
