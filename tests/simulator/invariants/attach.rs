//! A part of invariant 12: who attaches is never told a lower sequence than one
//! that was acknowledged before, or the client would send again what it need
//! not, or take what was done for undone.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, PlayerId, SessionId};
use starmesh::cluster::core::table::Release;
use starmesh::entity::commands::{CommandAnswer, CommandResult, FORGET_MS};
use starmesh::entity::effect::PlayerEffect;

use crate::scene::{Fact, Invariant, Scene};

/// Rows go ten minutes after their last command, by a clock that is up to a
/// hundredth faster than the run's.
const REMEMBERED_MS: u64 = FORGET_MS - FORGET_MS / 50;

#[derive(Default)]
pub struct Attach {
    /// The highest sequence acknowledged, and when; of each player the newest
    /// session that had one there.
    acknowledged: BTreeMap<(EntityKey, PlayerId), (SessionId, u32, u64)>,
}

impl Invariant for Attach {
    fn name(&self) -> &'static str {
        "12 attaching tells what was acknowledged"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Released(Release::Player(PlayerEffect::Answered(answer))) => {
                self.note(answer, scene.now);
                Ok(())
            }
            Fact::Attached { entity, player, session, last } => {
                let known = self.acknowledged.get(&(*entity, *player));
                let Some((newest, sequence, at)) = known.copied() else { return Ok(()) };
                let is_right = match last {
                    // A newer session has sent commands.
                    None => true,
                    Some(_) if scene.now >= at + REMEMBERED_MS => true,
                    Some(last) if newest == *session => *last >= sequence,
                    Some(_) => newest < *session,
                };
                if is_right {
                    return Ok(());
                }
                Err(format!("{entity} tells {player}, session {session}: {last:?}, but {known:?}"))
            }
            _ => Ok(()),
        }
    }
}

impl Attach {
    fn note(&mut self, answer: &CommandAnswer, now: u64) {
        if !matches!(answer.result, CommandResult::Done(_) | CommandResult::Refused(_)) {
            return;
        }
        let (session, sequence) = (answer.session, answer.sequence);
        let row = self.acknowledged.entry((answer.entity, answer.player));
        let row = row.or_insert((session, sequence, now));
        if (session, sequence) > (row.0, row.1) {
            *row = (session, sequence, now);
        }
    }
}
