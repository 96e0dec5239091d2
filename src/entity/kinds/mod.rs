//! Owns the kinds of entity: what each does with what happens to it. A kind
//! sees its own state and a [`Context`], nothing else.

pub mod board;
pub mod ledger;
pub mod sector;

use super::commands::{CommandResult, PlayerCommand};
use super::context::Context;
use super::input::{Connect, FromGateway, Left};
use super::message::{Answer, Notice, Request};
use super::world::World;
use crate::base::EntityKey;
use board::Board;
use ledger::Ledger;
use sector::Sector;

/// An entity's own state, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Board(Board),
    Ledger(Ledger),
    Sector(Box<Sector>),
}

impl Kind {
    /// The state before any record; `None` for kinds this build does not have.
    pub(super) fn genesis(key: EntityKey, world: &World) -> Option<Kind> {
        match key {
            EntityKey::Ledger(shard) => {
                (shard < world.ledger_shards).then(|| Kind::Ledger(Ledger::default()))
            }
            EntityKey::Board(board::POWER) => Some(Kind::Board(Board::default())),
            EntityKey::Sector(id) => Sector::genesis(id, world).map(Box::new).map(Kind::Sector),
            _ => None,
        }
    }

    /// Whether a step would change nothing.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Kind::Board(_) => true,
            Kind::Ledger(ledger) => ledger.is_idle(),
            Kind::Sector(sector) => sector.is_idle(),
        }
    }

    /// Whether it is what the seed gives.
    pub(super) fn is_seed(&self) -> bool {
        match self {
            Kind::Board(board) => *board == Board::default(),
            Kind::Ledger(ledger) => *ledger == Ledger::default(),
            Kind::Sector(sector) => sector.is_seed(),
        }
    }

    pub(super) fn claimed(&mut self, ctx: &mut Context<'_>) {
        if let Kind::Ledger(ledger) = self {
            ledger.claimed(ctx);
        }
    }

    /// The rules are others from here on. Orders under way are carried out as they
    /// began; what the ledger made of the rules it makes anew.
    pub(super) fn adopted(&mut self, _: &mut Context<'_>) {
        match self {
            Kind::Board(_) => {}
            Kind::Ledger(ledger) => ledger.adopted(),
            Kind::Sector(sector) => sector.adopted(),
        }
    }

    pub(super) fn step(&mut self, ctx: &mut Context<'_>) {
        match self {
            Kind::Board(_) => {}
            Kind::Ledger(ledger) => ledger.step(ctx),
            Kind::Sector(sector) => sector.step(ctx),
        }
    }

    pub(super) fn command(
        &mut self,
        ctx: &mut Context<'_>,
        command: &PlayerCommand,
    ) -> CommandResult {
        match self {
            Kind::Sector(sector) => sector.command(ctx, command),
            Kind::Board(_) | Kind::Ledger(_) => CommandResult::NotHere,
        }
    }

    pub(super) fn request(
        &mut self,
        ctx: &mut Context<'_>,
        from: EntityKey,
        id: u64,
        request: &Request,
    ) {
        match (self, request) {
            (Kind::Sector(sector), Request::Found { player, units }) => {
                sector.found(ctx, from, id, *player, units);
            }
            (Kind::Board(_) | Kind::Ledger(_), Request::Found { .. }) => {
                let why = format!("{} does not do this", ctx.key);
                ctx.answer(from, id, Answer::Refused(why));
            }
        }
    }

    pub(super) fn answered(&mut self, ctx: &mut Context<'_>, id: u64, answer: &Answer) {
        if let Kind::Ledger(ledger) = self {
            ledger.answered(ctx, id, answer);
        }
    }

    pub(super) fn notified(&mut self, ctx: &mut Context<'_>, notice: &Notice) {
        match (self, notice) {
            (Kind::Board(board), notice) => board.notified(notice),
            (Kind::Ledger(ledger), notice) => ledger.notified(ctx, notice),
            (Kind::Sector(sector), Notice::Units { travellers }) => sector.admit(ctx, travellers),
            (Kind::Sector(_), Notice::Presence { .. } | Notice::Power { .. }) => {}
        }
    }

    pub(super) fn connect(&mut self, ctx: &mut Context<'_>, connect: &Connect) {
        if let Kind::Ledger(ledger) = self {
            ledger.connect(ctx, connect);
        }
    }

    pub(super) fn left(&mut self, ctx: &mut Context<'_>, left: &Left) {
        if let Kind::Ledger(ledger) = self {
            ledger.left(ctx, left);
        }
    }

    pub(super) fn gateway(&mut self, ctx: &mut Context<'_>, word: &FromGateway) {
        if let Kind::Ledger(ledger) = self {
            ledger.gateway(ctx, word);
        }
    }

    pub(super) fn handle_ids(&mut self, ctx: &mut Context<'_>) {
        if let Kind::Sector(sector) = self {
            sector.handle_ids(ctx);
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Kind::Board(board) => board.write(out),
            Kind::Ledger(ledger) => super::append(ledger, out),
            Kind::Sector(sector) => sector.write(out),
        }
    }

    pub(super) fn read(key: EntityKey, bytes: &[u8]) -> Result<Kind, String> {
        match key {
            EntityKey::Board(_) => Board::read(bytes).map(Kind::Board),
            EntityKey::Ledger(_) => {
                postcard::from_bytes(bytes).map(Kind::Ledger).map_err(|e| e.to_string())
            }
            EntityKey::Sector(_) => Sector::read(bytes).map(Box::new).map(Kind::Sector),
            _ => Err("this build does not have the kind".into()),
        }
    }
}
