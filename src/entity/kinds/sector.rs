//! Owns a sector as a durable entity: the simulated state, who is told what
//! of it, and foundings that wait for ids. Never simulates itself (`sim`
//! does). Called through [`Kind`](super::Kind).
//!
//! Invariant: a player's ledger is told when its first unit appears here and
//! its last one leaves, in order with the answers that depend on it.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::base::{EntityKey, PlayerId, SectorId, UnitId};
use crate::entity::commands::{CommandResult, PlayerCommand};
use crate::entity::context::Context;
use crate::entity::message::{Answer, Counts, Notice};
use crate::entity::world::World;
use crate::sim::{Changes, Command, Instruction, Refusal, Refused, SectorState, Surroundings};

/// A sector steps at even ticks of its own: every 200 ms.
pub const TICKS_PER_STEP: u64 = 2;

/// A sector of scale 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sector {
    state: SectorState,
    book: Book,
    /// Changes by records since the last step; shown with the next, so that a
    /// place has one update per step. Not state: whoever loads the sector
    /// begins with a keyframe.
    unshown: Changes,
}

/// What the sector sees of the world around it.
fn surroundings<'a>(ctx: &Context<'a>) -> Surroundings<'a> {
    let (rules, galaxy) = (&ctx.world.rules, &ctx.world.galaxy);
    Surroundings { rules, galaxy, open: &|_| false, step: ctx.tick().0 / TICKS_PER_STEP }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    /// What each player's ledger was last told.
    told: BTreeMap<PlayerId, Counts>,
    waiting: VecDeque<Founding>,
}

/// A request for a new player's units that waits for ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Founding {
    from: EntityKey,
    request: u64,
    player: PlayerId,
    units: Counts,
}

impl Sector {
    pub(super) fn genesis(id: SectorId, world: &World) -> Option<Sector> {
        (id.scale == 0 && world.galaxy.contains(id)).then(|| Sector {
            state: SectorState::new(id),
            book: Book::default(),
            unshown: Changes::default(),
        })
    }

    /// What is simulated.
    pub fn state(&self) -> &SectorState {
        &self.state
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.is_idle() && self.unshown.is_predictable()
    }

    pub(super) fn step(&mut self, ctx: &mut Context<'_>) {
        if !ctx.tick().0.is_multiple_of(TICKS_PER_STEP) {
            return;
        }
        let mut changes = std::mem::take(&mut self.unshown);
        // The seam for transfers: with every border closed nobody leaves.
        let mut leaving = Vec::new();
        self.state.step(&surroundings(ctx), &mut changes, &mut leaving);
        debug_assert!(leaving.is_empty(), "a unit left and nobody took it");
        if !changes.is_predictable() {
            ctx.show(changes);
        }
    }

    pub(super) fn command(
        &mut self,
        ctx: &mut Context<'_>,
        command: &PlayerCommand,
    ) -> CommandResult {
        let PlayerCommand { player, command, .. } = command;
        // The seam for transfers: until there are some, nobody sets out.
        if let Err(rule) = self.stays(command) {
            return CommandResult::Refused(Refused { rule, unit: None });
        }
        match self.state.apply_command(*player, command, &surroundings(ctx), &mut self.unshown) {
            Ok(accepted) => CommandResult::Done(accepted),
            Err(refused) => CommandResult::Refused(refused),
        }
    }

    fn stays(&self, command: &Command) -> Result<(), Refusal> {
        let located = command.what.target().map(|target| target.position.locate(target.sector));
        let sector = located.flatten().map(|(sector, _)| sector);
        let warps = matches!(command.what, Instruction::Warp { .. });
        let leaves = warps || sector.is_some_and(|sector| sector != self.state.sector());
        if leaves { Err(Refusal::OutsideSector) } else { Ok(()) }
    }

    pub(super) fn found(
        &mut self,
        ctx: &mut Context<'_>,
        from: EntityKey,
        request: u64,
        player: PlayerId,
        units: &Counts,
    ) {
        let units = units.clone();
        self.book.waiting.push_back(Founding { from, request, player, units });
        self.handle_ids(ctx);
    }

    /// Creates what waits, in order, as far as there are ids.
    pub(super) fn handle_ids(&mut self, ctx: &mut Context<'_>) {
        if self.book.waiting.is_empty() {
            return;
        }
        let obstacles = ctx.world.galaxy.obstacles(self.state.sector());
        while let Some(founding) = self.book.waiting.front() {
            let count = founding.units.iter().map(|(_, count)| u64::from(*count)).sum();
            let Some(mut next) = ctx.take_ids(count) else { return };
            let Some(founding) = self.book.waiting.pop_front() else { return };
            let Founding { from, request, player, units } = founding;
            let ids = || {
                next += 1;
                UnitId(next - 1)
            };
            self.state.found(player, &units, &obstacles, ids, &mut self.unshown);
            self.tell_presence(ctx, player);
            ctx.answer(from, request, Answer::Done);
        }
    }

    /// Tells the player's ledger what it has here, if that changed.
    fn tell_presence(&mut self, ctx: &mut Context<'_>, player: PlayerId) {
        let counts = self.state.counts(player);
        let told = self.book.told.entry(player).or_default();
        if *told != counts {
            told.clone_from(&counts);
            let (sector, as_of) = (self.state.sector(), ctx.tick());
            let ledger = ctx.world.ledger_of(player);
            // At most one count for each type that the rules know.
            let _ = ctx.notify(ledger, Notice::Presence { player, sector, counts, as_of });
        }
        self.book.told.retain(|_, counts| !counts.is_empty());
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        crate::entity::append(&self.book, out);
        self.state.write(out);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Sector, String> {
        let (book, rest) = postcard::take_from_bytes(bytes).map_err(|e| e.to_string())?;
        let state = SectorState::read(rest).map_err(|e| e.to_string())?;
        Ok(Sector { state, book, unshown: Changes::default() })
    }
}
