//! Owns what happened to an entity, for people and scripts: one event for each
//! input of a record, and for what it did to the units. Never a stored format.
//! Invariant: the same journal is told in the same words.

use std::fmt;

use serde::Serialize;

use crate::base::geometry::SECTOR_STEPS;
use crate::base::{Position, StateHash};
use crate::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use crate::entity::input::{Claim, Connect, Dilation, FromGateway, Input, InputPlace, Left};
use crate::entity::message::{Answer, Body, Counts, Notice, Request};
use crate::sim::{Accepted, Command, Recipients, Rules, Unit};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Claimed {
        node: u32,
        incarnation: u64,
        node_tick: u64,
    },
    Closed,
    Ids {
        first: u64,
        count: u64,
    },
    Message {
        from: String,
        number: u64,
        says: String,
    },
    Acknowledged {
        by: String,
        upto: u64,
    },
    Command {
        player: u64,
        session: u64,
        sequence: u32,
        order: Order,
        outcome: Outcome,
    },
    Connect {
        player: u64,
        connection: u64,
        resume: Option<u64>,
    },
    ConnectAgain {
        player: u64,
        connection: u64,
        resume: Option<u64>,
    },
    Left {
        player: u64,
        session: u64,
        connection: u64,
    },
    Held {
        player: u64,
        session: u64,
        connection: u64,
    },
    Lost {
        first: u64,
        end: u64,
    },
    Hash {
        tick: u64,
        hash: String,
        verdict: Verdict,
    },
    Time,
    /// From here on it makes so many of ten ticks of its node.
    HandedOver {
        to: u32,
    },
    Dilated {
        tenths: u8,
        node_tick: u64,
    },
    /// It has another logic from here on than this.
    Adopted {
        from_version: u32,
        from_rules: String,
    },
    /// That input, of a record before, panics and is left out.
    SetAside {
        record: u64,
        input: u32,
    },
    /// Nobody runs it from here on until it is resumed.
    Parked {
        until: u64,
    },
    /// Units of one player that were not here before the record.
    Appeared {
        player: u64,
        units: Vec<u64>,
        counts: String,
    },
    /// Units that are not here any more after it.
    Gone {
        units: Vec<u64>,
    },
}

/// What a command asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    pub order: &'static str,
    pub units: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Place>,
}

/// A place in a sector, in grid steps of 2^-20 km.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    pub sector: String,
    pub x: i32,
    pub y: i32,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// `unit` is to stand at (x, y), in grid steps, after so many steps.
    Done {
        unit: u64,
        x: i32,
        y: i32,
        steps: u16,
    },
    Refused {
        rule: &'static str,
        unit: Option<u64>,
    },
    NotHere,
    /// The unit was on its way there.
    Moved {
        unit: u64,
        place: String,
    },
    SessionEnded,
    /// It was answered before; nothing was done again.
    Repeated,
}

/// What replay says of a journalled hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Verified,
    Differs {
        replayed: String,
    },
    /// It is of the snapshot's tick or one before, or replay did not get there.
    Unchecked,
}

/// What happened by one input; `answer` is the command's, if it is one.
pub(super) fn of_input(input: &Input, answer: Option<&CommandAnswer>, rules: &Rules) -> Event {
    match input {
        Input::Claim(Claim { node, incarnation, node_tick }) => {
            Event::Claimed { node: node.0, incarnation: incarnation.0, node_tick: node_tick.0 }
        }
        Input::Close => Event::Closed,
        Input::Ids { start } => Event::Ids { first: *start, count: crate::base::ids::ID_BLOCK },
        Input::Message(message) => Event::Message {
            from: message.channel.sender.to_string(),
            number: message.number,
            says: body(&message.body, rules),
        },
        Input::Acknowledged(ack) => {
            Event::Acknowledged { by: ack.channel.receiver.to_string(), upto: ack.upto }
        }
        Input::Command(command) => of_command(command, answer),
        Input::Connect(connect) => Event::Connect {
            player: connect.player.0,
            connection: connect.connection,
            resume: connect.resume.map(|session| session.0),
        },
        Input::Left(Left { player, session, connection }) => {
            Event::Left { player: player.0, session: session.0, connection: *connection }
        }
        Input::Gateway(word) => of_gateway(word),
        Input::Hash { tick, hash } => {
            Event::Hash { tick: tick.0, hash: hash.to_string(), verdict: Verdict::Unchecked }
        }
        Input::Time => Event::Time,
        Input::Adopt { from } => Event::Adopted {
            from_version: from.version,
            from_rules: format!("{:016x}", from.rules),
        },
        Input::HandOver { to } => Event::HandedOver { to: to.0 },
        Input::Skip(InputPlace { sequence, index }) => {
            Event::SetAside { record: *sequence, input: *index }
        }
        Input::Park { until } => Event::Parked { until: until.0 },
        Input::Dilate(Dilation { rate, node_tick }) => {
            Event::Dilated { tenths: rate.tenths(), node_tick: node_tick.0 }
        }
    }
}

fn of_gateway(word: &FromGateway) -> Event {
    match *word {
        FromGateway::ConnectAgain(Connect { player, connection, resume }) => {
            let resume = resume.map(|session| session.0);
            Event::ConnectAgain { player: player.0, connection, resume }
        }
        FromGateway::Held(Left { player, session, connection }) => {
            Event::Held { player: player.0, session: session.0, connection }
        }
        FromGateway::Lost { first, end } => Event::Lost { first, end },
    }
}

fn of_command(command: &PlayerCommand, answer: Option<&CommandAnswer>) -> Event {
    Event::Command {
        player: command.player.0,
        session: command.session.0,
        sequence: command.sequence,
        order: order(&command.command),
        outcome: answer.map_or(Outcome::Repeated, |answer| outcome(&answer.result)),
    }
}

fn order(command: &Command) -> Order {
    let units = match &command.to {
        Recipients::Units(units) => units.iter().map(|id| id.0).collect(),
        Recipients::Fleet(_) => Vec::new(),
    };
    let order = command.what.code();
    let target = command.what.target();
    let target = target.and_then(|target| target.position.locate(target.sector));
    let place = |(sector, Position { x, y }): (crate::base::SectorId, Position)| Place {
        sector: sector.to_string(),
        x,
        y,
    };
    Order { order, units, target: target.map(place) }
}

fn outcome(result: &CommandResult) -> Outcome {
    match result {
        CommandResult::Done(Accepted { unit, arrival, steps, .. }) => {
            Outcome::Done { unit: unit.0, x: arrival.x, y: arrival.y, steps: *steps }
        }
        CommandResult::Refused(refused) => {
            Outcome::Refused { rule: refused.rule.code(), unit: refused.unit.map(|id| id.0) }
        }
        CommandResult::NotHere => Outcome::NotHere,
        CommandResult::SessionEnded => Outcome::SessionEnded,
        CommandResult::Moved { unit, place } => {
            Outcome::Moved { unit: unit.0, place: place.to_string() }
        }
    }
}

/// Units of one player that are new.
pub(super) fn appeared(units: &[&Unit], rules: &Rules) -> Option<Event> {
    let first = units.first()?;
    let mut counts = std::collections::BTreeMap::new();
    units.iter().for_each(|unit| *counts.entry(unit.type_id).or_insert(0) += 1);
    Some(Event::Appeared {
        player: first.owner.0,
        units: units.iter().map(|unit| unit.id.0).collect(),
        counts: count_words(&counts.into_iter().collect(), rules),
    })
}

/// The verdict on a hash that replay compared.
pub(super) fn verdict(replayed: Option<StateHash>) -> Verdict {
    match replayed {
        None => Verdict::Verified,
        Some(replayed) => Verdict::Differs { replayed: replayed.to_string() },
    }
}

fn body(body: &Body, rules: &Rules) -> String {
    match body {
        Body::Request { id, request: Request::Found { player, units } } => {
            format!("request {id}: found player {player}: {}", count_words(units, rules))
        }
        Body::Answer { id, answer: Answer::Done } => format!("answer to request {id}: done"),
        Body::Answer { id, answer: Answer::Refused(why) } => {
            format!("answer to request {id}: refused, {why}")
        }
        Body::Notice(Notice::Presence { player, sector, counts, as_of }) => {
            let counts = count_words(counts, rules);
            format!("player {player} has in sector {sector}, as of tick {}: {counts}", as_of.0)
        }
        Body::Notice(Notice::Units { travellers }) => {
            let ids: Vec<String> = travellers.iter().map(|t| t.unit.id.to_string()).collect();
            format!("units {}", ids.join(", "))
        }
        Body::Notice(Notice::Power { standings, as_of }) => {
            let words: Vec<String> =
                standings.iter().map(|told| format!("{} {}", told.player, told.power)).collect();
            format!("power of players, as of {}: {}", as_of.0, words.join(", "))
        }
        Body::Close => "the last of this channel".into(),
    }
}

/// For example "4 Fighter, 2 Corvette".
pub(super) fn count_words(counts: &Counts, rules: &Rules) -> String {
    let words = counts.iter().map(|(id, count)| match rules.unit_type(*id) {
        Some(kind) => format!("{count} {}", kind.name),
        None => format!("{count} of type {id}"),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

/// Grid steps as whole metres.
pub fn metres(steps: i32) -> i64 {
    (i64::from(steps) * 1000).div_euclid(i64::from(SECTOR_STEPS))
}

/// For example "1 to 3, 7".
struct Ids<'a>(&'a [u64]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        for (at, run) in runs.enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            match run {
                [first, .., last] => write!(f, "{separator}{first} to {last}")?,
                [only] => write!(f, "{separator}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Claimed { node, incarnation, node_tick } => {
                write!(f, "claimed by node {node}, incarnation {incarnation}, at its tick ")?;
                write!(f, "{node_tick}")
            }
            Event::Closed => write!(f, "let go by its owner"),
            Event::Ids { first, count } => {
                write!(f, "ids {first} to {}", first.saturating_add(count.saturating_sub(1)))
            }
            Event::Message { from, number, says } => {
                write!(f, "message {number} from {from}: {says}")
            }
            Event::Acknowledged { by, upto } => {
                write!(f, "{by} has applied messages up to {upto}")
            }
            Event::Command { player, session, sequence, order, outcome } => {
                write!(f, "command {sequence} of player {player}, session {session}: ")?;
                write!(f, "{order}: {outcome}")
            }
            Event::Connect { player, connection, resume: None } => {
                write!(f, "player {player} connects as connection {connection}")
            }
            Event::Connect { player, connection, resume: Some(session) } => {
                write!(f, "player {player} resumes session {session}, connection {connection}")
            }
            Event::ConnectAgain { player, connection, .. } => {
                write!(f, "player {player} was not answered at connection {connection} yet")
            }
            Event::Held { player, session, connection } => {
                write!(f, "player {player} has session {session} at connection {connection} still")
            }
            Event::Lost { first, end } => {
                write!(f, "connections from {first} on, before {end}, are lost")
            }
            Event::Left { player, session, connection } => {
                write!(f, "player {player} lost connection {connection} of session {session}")
            }
            Event::Hash { tick, hash, verdict } => {
                write!(f, "hash {hash} of tick {tick}: {verdict}")
            }
            Event::Time => write!(f, "time passes"),
            Event::HandedOver { to } => write!(f, "handed over to node {to}"),
            Event::SetAside { record, input } => {
                write!(f, "set aside input {input} of record {record}")
            }
            Event::Parked { until } => write!(f, "parked, to go on at tick {until}"),
            Event::Dilated { tenths, node_tick } => {
                write!(f, "runs at {tenths} ticks of its node's ten, from its tick {node_tick} on")
            }
            Event::Adopted { from_version, from_rules } => {
                write!(f, "adopts this logic; until here {from_version}, rules {from_rules}")
            }
            Event::Appeared { player, units, counts } => {
                write!(f, "new units of player {player}: {counts} (unit {})", Ids(units))
            }
            Event::Gone { units } => write!(f, "units gone: {}", Ids(units)),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unit {}", self.order, Ids(&self.units))?;
        match &self.target {
            Some(Place { sector, x, y }) => {
                write!(f, " to {} m, {} m of sector {sector}", metres(*x), metres(*y))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done { unit, x, y, steps } => {
                let (x, y) = (metres(*x), metres(*y));
                write!(f, "done, unit {unit} stands at {x} m, {y} m after {steps} steps")
            }
            Outcome::Refused { rule, unit: Some(unit) } => {
                write!(f, "refused, {rule} (unit {unit})")
            }
            Outcome::Refused { rule, unit: None } => write!(f, "refused, {rule}"),
            Outcome::NotHere => write!(f, "not here"),
            Outcome::Moved { unit, place } => write!(f, "unit {unit} is on its way to {place}"),
            Outcome::SessionEnded => write!(f, "a newer session has taken over"),
            Outcome::Repeated => write!(f, "answered before"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Verified => write!(f, "✓"),
            Verdict::Differs { replayed } => write!(f, "✗ replay gives {replayed}"),
            Verdict::Unchecked => write!(f, "not compared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_in_runs() {
        let told = |ids: &[u64]| Ids(ids).to_string();
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[4]), "4");
        assert_eq!(told(&[1, 2, 3, 7, 9, 8]), "1 to 3, 7, 9, 8");
        assert_eq!(told(&[u64::MAX, 0]), format!("{}, 0", u64::MAX));
    }

    #[test]
    fn grid_steps_are_told_in_whole_metres() {
        assert_eq!([0, 1, SECTOR_STEPS / 4, SECTOR_STEPS - 1].map(metres), [0, 0, 250, 999]);
        assert_eq!([-1, i32::MIN, i32::MAX].map(metres), [-1, -2_048_000, 2_047_999]);
    }
}
