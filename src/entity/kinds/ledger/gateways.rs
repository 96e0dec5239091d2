//! Owns what a ledger makes of what gateways say again: after a change of its
//! own node, after a lost link, after the death of a gateway. Never ends a
//! session for a connection that is not newer. Called through [`Ledger`].

use super::{Ledger, Row, Start};
use crate::entity::context::Context;
use crate::entity::effect::PlayerEffect;
use crate::entity::input::{Connect, FromGateway, Left};

impl Ledger {
    pub(in crate::entity::kinds) fn gateway(&mut self, ctx: &mut Context<'_>, word: &FromGateway) {
        match word {
            FromGateway::ConnectAgain(connect) => self.connect_again(ctx, connect),
            FromGateway::Held(held) => self.held(ctx, held),
            FromGateway::Lost { first, end } => self.lost(ctx, *first, *end),
        }
    }

    /// The answer may have been lost, or the question. With another connection
    /// there since nobody can tell whose is the newer one: not answered, and
    /// the client comes anew.
    fn connect_again(&mut self, ctx: &mut Context<'_>, connect: &Connect) {
        let (player, connection) = (connect.player, connect.connection);
        match self.players.get_mut(&player) {
            Some(row) if row.session.0 > 0 && row.connection == connection => {
                row.left = None;
                if row.start == Start::Done {
                    let resumed = connect.resume == Some(row.session);
                    ctx.tell(row.connected(player, connection, resumed));
                }
            }
            Some(row) if row.session.0 > 0 && row.left.is_none() => {}
            _ => self.connect(ctx, connect),
        }
    }

    /// What the connection may have missed is told again. When a newer one has
    /// the session, that one is named: whoever else has it ends it.
    fn held(&mut self, ctx: &mut Context<'_>, held: &Left) {
        let (player, session) = (held.player, held.session);
        let row = self.players.get_mut(&player).filter(|row| row.session == session);
        let Some(row) = row else {
            ctx.tell(PlayerEffect::SessionEnded { player, session });
            return;
        };
        if row.connection == held.connection {
            row.left = None;
        }
        if row.start == Start::Done {
            ctx.tell(row.connected(player, row.connection, true));
        }
    }

    fn lost(&mut self, ctx: &mut Context<'_>, first: u64, end: u64) {
        let is_lost = |row: &&mut Row| (first..end).contains(&row.connection);
        for row in self.players.values_mut().filter(is_lost) {
            row.left = row.left.or(Some(ctx.now()));
        }
    }
}
