//! Owns, for its share of the players, what the galaxy keeps of each whatever
//! sector they are in: the newest session, the start, where they have units, how
//! strong they are. Never holds a unit. Called through [`Kind`](super::Kind).
//!
//! Invariants: a player's sessions are numbered 1, 2, 3; of two, only the
//! newer is open; a player is started once; the board hears of every change of
//! its power.

mod gateways;
pub mod power;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::power::Powers;
use super::board;
use crate::base::{EntityKey, Millis, PlayerId, SectorId, SessionId, Tick};
use crate::entity::context::Context;
use crate::entity::effect::{Connected, PlayerEffect, SectorPresence};
use crate::entity::input::{Connect, Left};
use crate::entity::message::{Answer, Counts, Notice, Request};
use crate::sim::Rules;

/// A session can be resumed for this long after its connection was lost.
pub const RESUME_MS: u64 = 5 * 60 * 1000;

/// A shard of player ledgers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    players: BTreeMap<PlayerId, Row>,
    /// Whose start each open request is for.
    starting: BTreeMap<u64, PlayerId>,
    /// How many start places this shard has given out.
    started: u64,
    powers: Powers,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    session: SessionId,
    /// The newest connection of that session.
    connection: u64,
    /// When the newest session's connection was lost; `None` while it holds.
    left: Option<Millis>,
    start: Start,
    presence: BTreeMap<SectorId, Presence>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Start {
    #[default]
    None,
    /// Units were asked for; the newest connection waits for them.
    Asked {
        connection: u64,
    },
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Presence {
    counts: Counts,
    as_of: Tick,
}

impl Row {
    fn can_resume(&self, session: SessionId, now: Millis) -> bool {
        session == self.session && self.left.is_none_or(|left| now.since(left) <= RESUME_MS)
    }

    fn presence(&self) -> Vec<SectorPresence> {
        let one = |(sector, presence): (&SectorId, &Presence)| SectorPresence {
            sector: *sector,
            counts: presence.counts.clone(),
            as_of: presence.as_of,
        };
        self.presence.iter().map(one).collect()
    }

    fn connected(&self, player: PlayerId, connection: u64, resumed: bool) -> PlayerEffect {
        let (session, presence) = (self.session, self.presence());
        PlayerEffect::Connected(Connected { connection, player, session, resumed, presence })
    }
}

impl Ledger {
    /// Players of this shard that ever connected, ascending.
    pub fn players(&self) -> impl Iterator<Item = PlayerId> + '_ {
        self.players.keys().copied()
    }

    /// The newest session of `player`.
    pub fn session(&self, player: PlayerId) -> Option<SessionId> {
        self.players.get(&player).map(|row| row.session)
    }

    /// Where `player` has units, as last told.
    pub fn presence(&self, player: PlayerId) -> Vec<SectorPresence> {
        self.players.get(&player).map(Row::presence).unwrap_or_default()
    }

    /// How strong `player` is, as far as this knows its units.
    pub fn power(&self, player: PlayerId, rules: &Rules) -> u64 {
        power_of(&self.players, player, rules)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.powers.is_settled()
    }

    /// Tells the board how strong players are, when it is time.
    pub(super) fn step(&mut self, ctx: &mut Context<'_>) {
        if !self.powers.is_due(ctx.tick()) {
            return;
        }
        let board = EntityKey::Board(board::POWER);
        for _ in 0..power::MESSAGES_MAX {
            if !ctx.has_room(board) {
                // What is told later is then as true.
                return;
            }
            let (players, rules) = (&self.players, &ctx.world.rules);
            let power = |player| power_of(players, player, rules);
            let standings = self.powers.next_standings(power);
            if standings.is_empty() {
                break;
            }
            self.powers.note_told(ctx.tick());
            let sent = ctx.notify(board, Notice::Power { standings, as_of: ctx.now() });
            debug_assert!(sent.is_ok(), "a message of standings is far below its bound: {sent:?}");
        }
    }

    pub(super) fn connect(&mut self, ctx: &mut Context<'_>, connect: &Connect) {
        let (player, connection) = (connect.player, connect.connection);
        let row = self.players.entry(player).or_default();
        let resumed = connect.resume.is_some_and(|session| row.can_resume(session, ctx.now()));
        if !resumed {
            if row.session.0 > 0 {
                ctx.tell(PlayerEffect::SessionEnded { player, session: row.session });
            }
            row.session.0 += 1;
        }
        row.left = None;
        row.connection = connection;
        match row.start {
            Start::Done => ctx.tell(row.connected(player, connection, resumed)),
            Start::Asked { .. } => row.start = Start::Asked { connection },
            Start::None => {
                row.start = Start::Asked { connection };
                self.start(ctx, player);
            }
        }
    }

    /// A new owner took over: every connection there was is lost.
    pub(super) fn claimed(&mut self, ctx: &mut Context<'_>) {
        for row in self.players.values_mut() {
            row.left = row.left.or(Some(ctx.now()));
        }
    }

    /// Units may cost something else by the new rules: the board is told anew.
    pub(super) fn adopted(&mut self) {
        let Ledger { players, powers, .. } = self;
        let has_units = players.iter().filter(|(_, row)| !row.presence.is_empty());
        has_units.for_each(|(player, _)| powers.note_changed(*player));
    }

    pub(super) fn left(&mut self, ctx: &mut Context<'_>, left: &Left) {
        let Some(row) = self.players.get_mut(&left.player) else { return };
        if (row.session, row.connection) == (left.session, left.connection) {
            row.left = Some(ctx.now());
        }
    }

    pub(super) fn answered(&mut self, ctx: &mut Context<'_>, id: u64, answer: &Answer) {
        let Some(player) = self.starting.remove(&id) else { return };
        if let Answer::Refused(_) = answer {
            // That place takes nobody; the next one may.
            self.start(ctx, player);
            return;
        }
        let row = self.players.entry(player).or_default();
        if let Start::Asked { connection } = row.start {
            row.start = Start::Done;
            ctx.tell(row.connected(player, connection, false));
        }
    }

    pub(super) fn notified(&mut self, ctx: &mut Context<'_>, notice: &Notice) {
        let Notice::Presence { player, sector, counts, as_of } = notice else { return };
        let (player, sector, as_of) = (*player, *sector, *as_of);
        let row = self.players.entry(player).or_default();
        if counts.is_empty() {
            row.presence.remove(&sector);
        } else {
            row.presence.insert(sector, Presence { counts: counts.clone(), as_of });
        }
        self.powers.note_changed(player);
        let presence = SectorPresence { sector, counts: counts.clone(), as_of };
        ctx.tell(PlayerEffect::Presence { player, session: row.session, presence });
    }

    /// Sends a player's first units to the next start place.
    fn start(&mut self, ctx: &mut Context<'_>, player: PlayerId) {
        let EntityKey::Ledger(shard) = ctx.key else { return };
        let n = shard + ctx.world.ledger_shards * self.started;
        self.started += 1;
        let place = EntityKey::Sector(ctx.world.galaxy.start_place(n));
        let units = ctx.world.rules.start().to_vec();
        // Rules give a start of a few types, far below a message's length.
        if let Ok(id) = ctx.request(place, Request::Found { player, units }) {
            self.starting.insert(id, player);
        }
    }
}

fn power_of(players: &BTreeMap<PlayerId, Row>, player: PlayerId, rules: &Rules) -> u64 {
    let presence = players.get(&player).into_iter().flat_map(|row| row.presence.values());
    power::power(presence.map(|presence| &presence.counts), rules)
}
