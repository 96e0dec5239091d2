//! Invariant 25: while the store is away nothing moves; when it is back the
//! tick goes on where it stopped, one by one.

use starmesh::base::Tick;
use starmesh::entity::commit::CommitError;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Away {
    away: bool,
    /// `None` until the process has told its first.
    tick: Option<Tick>,
}

impl Invariant for Away {
    fn name(&self) -> &'static str {
        "25 time stands still while the store is away"
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
            _ => {}
        }
        Ok(())
    }
}
