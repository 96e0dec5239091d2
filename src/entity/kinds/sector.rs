//! Owns the sector: the simulation of its units, the requests and messages
//! that bring units into it, those that take them out, and what the ledgers of
//! their players know. Never steps faster than [`TICKS_PER_STEP`]. Called by
//! [`Entity`](crate::entity::Entity). Invariant: a unit is in the state, in one
//! message of the outbox, or gone from here; a player's ledger hears of every
//! change of what it has here.

pub mod presence;
mod transfer;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::presence::Presences;
use crate::base::{EntityKey, PlayerId, SectorId, UnitId};
use crate::entity::commands::{CommandResult, PlayerCommand};
use crate::entity::context::Context;
use crate::entity::message::{Answer, Counts, Notice};
use crate::entity::world::World;
use crate::sim::travel::WARP_SCALE;
use crate::sim::{Changes, Refusal, Refused, SectorState, Surroundings, Traveller};
use crate::view::motion::Mover;
use crate::view::stage::StepDelta;

/// A sector steps at even ticks of its own: every 200 ms.
pub const TICKS_PER_STEP: u64 = 2;

/// A sector of scale 0, or of the scale of units in warp.
#[derive(Clone, Debug, PartialEq)]
pub struct Sector {
    state: SectorState,
    book: Book,
    /// Changes by records since the last step; shown with the next, so that a
    /// place has one update per step. Not state: whoever loads the sector
    /// begins with a keyframe.
    unshown: Changes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    presences: Presences,
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
        let has_units = id.scale == 0 || id.scale == WARP_SCALE;
        let World { rules, galaxy, .. } = world;
        let around = Surroundings { rules, galaxy, open: &|_| false, step: 0 };
        (has_units && around.exists(id)).then(|| Sector {
            state: SectorState::new(id),
            book: Book::default(),
            unshown: Changes::default(),
        })
    }

    /// What is simulated.
    pub fn state(&self) -> &SectorState {
        &self.state
    }

    /// Players that have units here, a few seconds ago.
    pub fn players(&self) -> usize {
        self.book.presences.count()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.is_idle() && self.unshown.is_predictable() && self.book.presences.is_settled()
    }

    pub(super) fn adopted(&mut self) {
        self.state.note_other_rules();
    }

    /// Whether it is what the seed gives.
    pub(super) fn is_seed(&self) -> bool {
        self.state == SectorState::new(self.state.sector()) && self.book == Book::default()
    }

    pub(super) fn step(&mut self, ctx: &mut Context<'_>) {
        if !ctx.tick().0.is_multiple_of(TICKS_PER_STEP) {
            return;
        }
        let mut changes = std::mem::take(&mut self.unshown);
        let mut leaving = Vec::new();
        let delta = around(ctx, |around| {
            let moves = !self.state.is_idle();
            if moves {
                self.state.steer(around, &mut changes);
            }
            let mut delta = told(&self.state, &changes);
            if moves {
                self.state.travel(around, &mut changes, &mut leaving);
            }
            delta.left.extend(changes.left.iter().copied());
            delta
        });
        for gone in &leaving {
            self.book.presences.note_changed(gone.traveller.unit.owner);
        }
        for (to, travellers) in transfer::pack(leaving) {
            let sent = ctx.notify(EntityKey::Sector(to), Notice::Units { travellers });
            debug_assert!(sent.is_ok(), "`pack` makes no message that is too long: {sent:?}");
        }
        self.tell_ledgers(ctx);
        if !changes.is_predictable() {
            let tick = ctx.tick();
            ctx.show(StepDelta { tick, ..delta });
        }
    }

    pub(super) fn command(
        &mut self,
        ctx: &mut Context<'_>,
        command: &PlayerCommand,
    ) -> CommandResult {
        let PlayerCommand { player, command, .. } = command;
        let changes = &mut self.unshown;
        let applied =
            around(ctx, |around| self.state.apply_command(*player, command, around, changes));
        match applied {
            Ok(accepted) => CommandResult::Done(accepted),
            Err(refused) => match refused.unit.filter(|_| refused.rule == Refusal::UnknownUnit) {
                Some(unit) => gone(ctx, *player, unit),
                None => CommandResult::Refused(refused),
            },
        }
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
            // Before the answer, so that the player's first list has it.
            self.tell_ledger(ctx, player);
            ctx.answer(from, request, Answer::Done);
        }
    }

    /// Takes in units that another sector let go.
    pub(super) fn admit(&mut self, ctx: &mut Context<'_>, travellers: &[Traveller]) {
        for traveller in travellers {
            self.book.presences.note_changed(traveller.unit.owner);
        }
        let changes = &mut self.unshown;
        around(ctx, |around| self.state.admit(travellers.to_vec(), around, changes));
    }

    /// Tells the ledgers that are to be told now, as far as their channels
    /// have room; what is told later is then as true.
    fn tell_ledgers(&mut self, ctx: &mut Context<'_>) {
        if self.book.presences.is_settled() {
            return;
        }
        let units = self.state.units();
        let has_units = |player| units.iter().any(|unit| unit.owner == player);
        for player in self.book.presences.due(ctx.tick(), has_units) {
            if ctx.has_room(ctx.world.ledger_of(player)) {
                self.tell_ledger(ctx, player);
            }
        }
    }

    fn tell_ledger(&mut self, ctx: &mut Context<'_>, player: PlayerId) {
        let (counts, as_of) = (self.state.counts(player), ctx.tick());
        if self.book.presences.tell(player, &counts, as_of) {
            let (sector, ledger) = (self.state.sector(), ctx.world.ledger_of(player));
            // At most one count for each type that the rules know.
            let _ = ctx.notify(ledger, Notice::Presence { player, sector, counts, as_of });
        }
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

/// What observers are told of `changes`: units as they are before they move.
fn told(state: &SectorState, changes: &Changes) -> StepDelta {
    let movers = |ids: &BTreeSet<UnitId>| {
        ids.iter().filter_map(|id| state.unit(*id)).map(Mover::from).collect()
    };
    let changed = changes.changed.difference(&changes.appeared).copied().collect();
    StepDelta {
        appeared: movers(&changes.appeared),
        changed: movers(&changed),
        ..StepDelta::default()
    }
}

/// Runs `f` with what the sector knows of the world: a neighbour takes units
/// while the channel to it has room.
fn around<T>(ctx: &Context<'_>, f: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let open = |sector| ctx.has_room(EntityKey::Sector(sector));
    let World { rules, galaxy, .. } = ctx.world;
    f(&Surroundings { rules, galaxy, open: &open, step: ctx.tick().0 / TICKS_PER_STEP })
}

/// The answer about a unit that is not here: where it is, while it is on its
/// way, or that nobody knows here.
fn gone(ctx: &Context<'_>, player: PlayerId, unit: UnitId) -> CommandResult {
    match ctx.traveller(unit) {
        Some((to, owner)) if owner == player => CommandResult::Moved { unit, place: to },
        _ => CommandResult::Refused(Refused { rule: Refusal::UnknownUnit, unit: Some(unit) }),
    }
}
