//! Owns the golden journal of a board: every input, players that come on it,
//! pass each other and leave it. Records are only added at the end.

use super::Worlds;
use super::play::Play;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SessionId, Tick, UnitId};
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Claim, Connect, Input, Left};
use crate::entity::message::{Body, Notice, Request, Standing};
use crate::sim::rules::sample::FIGHTER;
use crate::sim::{Command, Instruction, UnitIds};

const MINUTE: u64 = 60_000;

pub fn play(worlds: &Worlds) -> Play<'_> {
    let mut play = Play::new("board", EntityKey::Board(0), worlds);
    let [here, there] = [0, 1].map(EntityKey::Ledger);
    let claim = Claim { node: NodeId(1), incarnation: Incarnation(3), node_tick: Tick(70_000) };
    play.record(0, 1_000, vec![Input::Claim(claim)]);
    play.record(
        4,
        1_400,
        vec![
            play.message(here, 9, 1, told(900, &[(1, 300), (2, 70_000), (3, 300)])),
            play.message(there, 7, 1, told(1_200, &[(65, u64::MAX)])),
            // Comes again, and counts once.
            play.message(here, 9, 1, told(900, &[(1, 300), (2, 70_000), (3, 300)])),
        ],
    );
    play.snapshot();
    let player = PlayerId(1);
    let session = SessionId(1);
    play.record(
        50,
        6_000,
        vec![
            play.message(here, 9, 2, told(5_900, &[(1, 80_000), (2, 0)])),
            play.message(there, 7, 2, told(5_100, &[(65, 1)])),
            // What no board takes.
            Input::Connect(Connect { player, connection: 1, resume: None }),
            Input::Left(Left { player, session, connection: 1 }),
            Input::Command(stop(player, session)),
            Input::Ids { start: 1 << 20 },
            play.message(there, 7, 3, found(player)),
        ],
    );
    play.record(51, 6_100, vec![play.acknowledged(there, 3, 1)]);
    let hash = play.hash(100);
    play.record(100, 11_000, vec![hash, Input::Time]);
    play.record(6_200, 11 * MINUTE, vec![play.message(here, 9, 3, Body::Close), Input::Close]);
    let claim = Claim { node: NodeId(2), incarnation: Incarnation(1), node_tick: Tick(5) };
    play.record(6_200, 12 * MINUTE, vec![Input::Claim(claim)]);
    play.snapshot();
    play.record(6_205, 13 * MINUTE, vec![Play::dilate(1, 10)]);
    play.record(6_205, 13 * MINUTE + 100, vec![Input::HandOver { to: NodeId(3) }]);
    play.gateways(6_205, 13 * MINUTE + 1_100);
    play.adopt(6_205, 13 * MINUTE + 2_100);
    let broken = play.message(here, 10, 1, found(PlayerId(1)));
    play.set_aside(6_206, 13 * MINUTE + 3_000, broken);
    play
}

fn told(as_of: u64, standings: &[(u64, u64)]) -> Body {
    let standing = |&(player, power): &(u64, u64)| Standing { player: PlayerId(player), power };
    let standings = standings.iter().map(standing).collect();
    Body::Notice(Notice::Power { standings, as_of: Millis(as_of) })
}

fn found(player: PlayerId) -> Body {
    let request = Request::Found { player, units: vec![(FIGHTER, 1)] };
    Body::Request { id: 1, request }
}

fn stop(player: PlayerId, session: SessionId) -> PlayerCommand {
    // One id, from 1 on.
    let units = UnitIds::new(vec![UnitId(1)]).expect("well formed");
    PlayerCommand { player, session, sequence: 1, command: Command::new(units, Instruction::Stop) }
}
