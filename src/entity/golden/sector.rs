//! Owns the golden journal of a sector: every input, a full channel with a
//! backlog behind it, commands remembered and forgotten. Records are only
//! added at the end.

use super::Worlds;
use super::play::Play;
use crate::base::{
    CompressedPosition, EntityKey, Incarnation, NodeId, PlayerId, SectorId, SessionId, Tick, UnitId,
};
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Claim, Connect, Input, Left};
use crate::entity::message::{Answer, Body, Notice, Request};
use crate::sim::rules::sample::{FIGHTER, FREIGHTER};
use crate::sim::{Command, Instruction, Target, UnitIds};

const LEDGER: EntityKey = EntityKey::Ledger(0);
const MINUTE: u64 = 60_000;

pub fn play(worlds: &Worlds) -> Play<'_> {
    let world = &worlds.first;
    let place = world.galaxy.start_place(0);
    let mut play = Play::new("sector", EntityKey::Sector(place), worlds);
    begin(&mut play);
    command(&mut play, place);
    fill(&mut play);
    strangers(&mut play, place);
    end(&mut play);
    play
}

fn begin(play: &mut Play<'_>) {
    let claim = Claim { node: NodeId(1), incarnation: Incarnation(3), node_tick: Tick(70_000) };
    play.record(0, 1_000, vec![Input::Claim(claim)]);
    // Without ids: it waits for them.
    let units = vec![(FIGHTER, 2), (FREIGHTER, 1)];
    let found = Request::Found { player: PlayerId(1), units };
    play.record(
        2,
        1_200,
        vec![play.message(LEDGER, 5, 1, Body::Request { id: 9, request: found })],
    );
    play.record(4, 1_400, vec![Input::Ids { start: 1 }]);
}

fn command(play: &mut Play<'_>, here: SectorId) {
    let to = |x, y| Target { sector: here, position: CompressedPosition { x, y } };
    let target = to(0x4000_0000, 0xC000_0000);
    play.record(
        6,
        1_600,
        vec![
            of_player(1, 1, Command::go(units(&[1, 2]), target)),
            of_player(1, 2, Command::new(units(&[3]), Instruction::Hold)),
            // Again: answered as before.
            of_player(1, 1, Command::go(units(&[1, 2]), target)),
            // Refused: nobody's unit.
            of_player(1, 4, Command::go(units(&[77]), to(1, 1))),
            // Overtaken.
            of_player(1, 3, Command::new(units(&[2]), Instruction::Stop)),
        ],
    );
    play.record(21, 3_100, vec![of_player(1, 5, Command::new(units(&[1]), Instruction::Stop))]);
    let hash = play.hash(50);
    play.record(51, 6_050, vec![hash]);
}

/// Forty more players: more to tell their ledger than its channel takes.
fn fill(play: &mut Play<'_>) {
    let found = |player| {
        let request = Request::Found { player: PlayerId(player), units: vec![(FIGHTER, 1)] };
        Body::Request { id: 10 + player, request }
    };
    let messages = (2..=41).map(|n| play.message(LEDGER, 5, n, found(n))).collect();
    play.record(60, 7_000, messages);
    play.snapshot();
    play.record(62, 7_200, vec![play.acknowledged(LEDGER, 3, 10)]);
    play.record(64, 7_400, vec![play.acknowledged(LEDGER, 3, 82)]);
}

/// What a sector does nothing about, and a newer session.
fn strangers(play: &mut Play<'_>, here: SectorId) {
    let (player, session, connection) = (PlayerId(1), SessionId(1), 8);
    let (sector, counts, as_of) = (here, vec![(FIGHTER, 3)], Tick(9));
    let notice = Body::Notice(Notice::Presence { player, sector, counts, as_of });
    let answer = |answer| Body::Answer { id: 1, answer };
    play.record(
        70,
        8_000,
        vec![
            play.message(LEDGER, 5, 42, notice),
            play.message(LEDGER, 5, 43, answer(Answer::Done)),
            play.message(LEDGER, 5, 44, answer(Answer::Refused("it is full".into()))),
            // One that came before, one that is missing others, one of the past.
            play.message(LEDGER, 5, 1, answer(Answer::Done)),
            play.message(LEDGER, 5, 99, answer(Answer::Done)),
            play.message(LEDGER, 4, 1, answer(Answer::Done)),
            Input::Connect(Connect { player, connection, resume: None }),
            Input::Left(Left { player, session, connection }),
            of_player(2, 1, Command::new(units(&[1]), Instruction::Hold)),
            of_player(1, 6, Command::new(units(&[2]), Instruction::Hold)),
        ],
    );
}

/// Channels close, commands are forgotten, the owner lets go, another comes.
fn end(play: &mut Play<'_>) {
    play.record(6_100, 8_000 + 11 * MINUTE, vec![Input::Time]);
    play.record(6_110, 8_100 + 11 * MINUTE, vec![play.message(LEDGER, 5, 45, Body::Close)]);
    let hash = play.hash(6_150);
    play.record(6_150, 8_200 + 11 * MINUTE, vec![hash, Input::Close]);
    let claim = Claim { node: NodeId(2), incarnation: Incarnation(1), node_tick: Tick(5) };
    play.record(6_150, 9_000 + 12 * MINUTE, vec![Input::Claim(claim)]);
    play.snapshot();
    sleep(play, claim);
}

/// It hibernates for ten seconds of ticks and a minute of time, of which fifty
/// seconds do not count, and remembers a command.
fn sleep(play: &mut Play<'_>, claim: Claim) {
    let hold = Command::new(units(&[1]), Instruction::Hold);
    play.record(6_160, 10_000 + 12 * MINUTE, vec![of_player(2, 2, hold)]);
    play.record(6_170, 11_000 + 12 * MINUTE, vec![Input::Close]);
    let claim = Claim { node_tick: Tick(125), ..claim };
    play.record(6_270, 11_000 + 13 * MINUTE, vec![Input::Claim(claim)]);
    play.snapshot();
    dilate(play);
}

/// Twenty of its node's ticks at four tenths, then as fast again.
fn dilate(play: &mut Play<'_>) {
    play.record(6_270, 11_100 + 13 * MINUTE, vec![Play::dilate(4, 125)]);
    play.snapshot();
    let hash = play.hash(6_275);
    play.record(6_278, 13_100 + 13 * MINUTE, vec![hash, Play::dilate(10, 145)]);
    play.record(6_279, 13_200 + 13 * MINUTE, vec![Input::Time]);
    hand_over(play);
}

/// To another node, which goes on a second later at the tick there was.
fn hand_over(play: &mut Play<'_>) {
    let hash = play.hash(6_280);
    play.record(6_280, 13_300 + 13 * MINUTE, vec![hash, Input::HandOver { to: NodeId(3) }]);
    let claim = Claim { node: NodeId(3), incarnation: Incarnation(4), node_tick: Tick(77) };
    play.record(6_280, 14_300 + 13 * MINUTE, vec![Input::Claim(claim)]);
    play.snapshot();
    play.gateways(6_290, 15_300 + 13 * MINUTE);
    adopt(play);
}

/// Other rules: what is ordered from then on goes by them.
fn adopt(play: &mut Play<'_>) {
    let EntityKey::Sector(sector) = play.key else { return };
    let target = Target { sector, position: CompressedPosition { x: 9, y: 9 } };
    let go = |sequence, unit| of_player(3, sequence, Command::go(units(&[unit]), target));
    let time = |ms: u64| ms + 13 * MINUTE;
    play.record(6_292, time(15_500), vec![go(1, 2)]);
    play.snapshot();
    play.adopt(6_293, time(15_600));
    play.record(6_295, time(15_800), vec![go(2, 1)]);
    let hash = play.hash(6_310);
    play.record(6_311, time(17_400), vec![hash]);
    play.set_aside(6_312, time(17_600), go(3, 2));
}

fn of_player(session: u64, sequence: u32, command: Command) -> Input {
    let (player, session) = (PlayerId(1), SessionId(session));
    Input::Command(PlayerCommand { player, session, sequence, command })
}

fn units(ids: &[u64]) -> UnitIds {
    // One or two ids, each once, from 1 on.
    UnitIds::new(ids.iter().map(|id| UnitId(*id)).collect()).expect("well formed")
}
