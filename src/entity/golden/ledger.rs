//! Owns the golden journal of a ledger: every input, players that are started,
//! refused and started again, sessions resumed and replaced. Records are only
//! added at the end.

use super::Worlds;
use super::play::Play;
use crate::base::{EntityKey, Incarnation, NodeId, PlayerId, SectorId, SessionId, Tick, UnitId};
use crate::entity::commands::PlayerCommand;
use crate::entity::input::{Claim, Connect, Input, Left};
use crate::entity::message::{Answer, Body, Counts, Notice, Request};
use crate::sim::rules::sample::{FIGHTER, FREIGHTER};
use crate::sim::{Command, Instruction, UnitIds};

const MINUTE: u64 = 60_000;

pub fn play(worlds: &Worlds) -> Play<'_> {
    let world = &worlds.first;
    let mut play = Play::new("ledger", EntityKey::Ledger(0), worlds);
    let places = [0, 1, 2].map(|n| world.galaxy.start_place(n));
    begin(&mut play, places);
    sessions(&mut play, places);
    end(&mut play, places);
    play
}

fn begin(play: &mut Play<'_>, [first, second, _]: [SectorId; 3]) {
    let claim = Claim { node: NodeId(1), incarnation: Incarnation(3), node_tick: Tick(70_000) };
    play.record(0, 1_000, vec![Input::Claim(claim)]);
    play.record(3, 1_300, vec![connect(1, 1, None), connect(2, 2, None)]);
    let counts = vec![(FIGHTER, 2), (FREIGHTER, 1)];
    let (here, there) = (EntityKey::Sector(first), EntityKey::Sector(second));
    let refused = Answer::Refused("it is full".into());
    play.record(
        5,
        1_500,
        vec![
            play.message(here, 4, 1, presence(1, first, counts, 7)),
            play.message(here, 4, 2, Body::Answer { id: 1, answer: Answer::Done }),
            // The player starts at the next place.
            play.message(there, 2, 1, Body::Answer { id: 2, answer: refused }),
            // Asked for nothing: dropped.
            play.message(there, 2, 2, Body::Answer { id: 77, answer: Answer::Done }),
            play.acknowledged(here, 2, 1),
            play.acknowledged(there, 2, 1),
        ],
    );
}

fn sessions(play: &mut Play<'_>, [first, ..]: [SectorId; 3]) {
    let (player, session) = (PlayerId(1), SessionId(2));
    play.record(
        40,
        5_000,
        vec![
            connect(1, 3, Some(1)),
            connect(1, 4, None),
            Input::Left(Left { player, session, connection: 3 }),
            Input::Left(Left { player, session, connection: 4 }),
            // No kind of entity but a sector takes it.
            Input::Command(stop(player, session)),
            Input::Ids { start: 1 << 20 },
        ],
    );
    let hash = play.hash(50);
    let units = vec![(FIGHTER, 1)];
    let request = Request::Found { player: PlayerId(7), units };
    let asked = Body::Request { id: 3, request };
    play.record(51, 6_100, vec![hash, play.message(EntityKey::Sector(first), 4, 3, asked)]);
    play.snapshot();
}

/// Too late to resume, nothing left in the sector, channels close, the owner
/// lets go, another comes.
fn end(play: &mut Play<'_>, [first, second, third]: [SectorId; 3]) {
    let [here, there, last] = [first, second, third].map(EntityKey::Sector);
    play.record(52, 6_200, vec![play.acknowledged(here, 2, 2), play.acknowledged(last, 3, 1)]);
    play.record(3_100, 6_200 + 6 * MINUTE, vec![connect(1, 5, Some(2))]);
    play.record(
        3_101,
        6_300 + 6 * MINUTE,
        vec![play.message(here, 4, 4, presence(1, first, vec![], 900))],
    );
    play.record(9_200, 6_300 + 16 * MINUTE, vec![Input::Time]);
    play.record(9_201, 6_400 + 16 * MINUTE, vec![play.message(there, 2, 3, Body::Close)]);
    let hash = play.hash(9_300);
    play.record(9_300, 7_000 + 16 * MINUTE, vec![hash, Input::Close]);
    let claim = Claim { node: NodeId(2), incarnation: Incarnation(1), node_tick: Tick(5) };
    play.record(9_300, 9_000 + 17 * MINUTE, vec![Input::Claim(claim)]);
    play.snapshot();
    board(play, here, first);
}

/// The board hears of a player's power at most every five seconds, and of what
/// it knows already never again.
fn board(play: &mut Play<'_>, here: EntityKey, first: SectorId) {
    let time = |ms: u64| ms + 17 * MINUTE;
    play.record(9_301, time(9_100), vec![play.acknowledged(EntityKey::Board(0), 4, 2)]);
    let told = |count, as_of| presence(1, first, vec![(FIGHTER, count)], as_of);
    play.record(9_310, time(10_000), vec![play.message(here, 4, 5, told(3, 9_000))]);
    play.record(9_320, time(11_000), vec![play.message(here, 4, 6, told(2, 9_001))]);
    play.record(9_330, time(12_000), vec![play.message(here, 4, 7, told(3, 9_002))]);
    let hash = play.hash(9_370);
    play.record(9_370, time(16_000), vec![hash, Input::Time]);
    play.snapshot();
    play.record(9_371, time(16_100), vec![Play::dilate(9, 76)]);
    play.record(9_372, time(16_300), vec![Input::HandOver { to: NodeId(3) }]);
    play.gateways(9_372, time(17_300));
    // By other rules the player is stronger, and the board is told.
    play.adopt(9_372, time(18_300));
    let hash = play.hash(9_430);
    play.record(9_431, time(24_200), vec![hash, Input::Time]);
    play.set_aside(9_440, time(26_000), connect(3, 9, None));
}

fn connect(player: u64, connection: u64, resume: Option<u64>) -> Input {
    let (player, resume) = (PlayerId(player), resume.map(SessionId));
    Input::Connect(Connect { player, connection, resume })
}

fn presence(player: u64, sector: SectorId, counts: Counts, as_of: u64) -> Body {
    let (player, as_of) = (PlayerId(player), Tick(as_of));
    Body::Notice(Notice::Presence { player, sector, counts, as_of })
}

fn stop(player: PlayerId, session: SessionId) -> PlayerCommand {
    // One id, from 1 on.
    let units = UnitIds::new(vec![UnitId(1)]).expect("well formed");
    PlayerCommand { player, session, sequence: 1, command: Command::new(units, Instruction::Stop) }
}
