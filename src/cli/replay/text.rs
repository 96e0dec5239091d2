//! Owns how a history looks on a terminal: a line per event, then a table of
//! what is there in the end.

use std::fmt::Write;

use crate::entity::history::{Contents, End, History, PlaceLine, PlayerLine, UnitLine, metres};

/// The whole history, without a line's end behind it.
pub fn of(history: &History) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_history(&mut out, history);
    out
}

fn write_history(out: &mut String, history: &History) -> std::fmt::Result {
    match history.snapshot_bytes {
        0 => writeln!(out, "{}, from the galaxy's seed\n", history.entity)?,
        bytes => writeln!(out, "{}, from a snapshot of {bytes} bytes\n", history.entity)?,
    }
    writeln!(out, "{:>7} {:>9}  {:<24}  what happened", "record", "tick", "time (UTC)")?;
    for record in &history.records {
        let mut place = format!("{:>7} {:>9}  {}", record.sequence, record.tick, utc(record.time));
        for event in &record.events {
            writeln!(out, "{place}  {event}")?;
            place = " ".repeat(43);
        }
    }
    writeln!(out)?;
    if let Some(end) = &history.end {
        write_end(out, end)?;
    }
    write!(out, "{} hashes compared, {} differ", history.hashes, history.mismatches)
}

fn write_end(out: &mut String, end: &End) -> std::fmt::Result {
    let End { tick, hash, contents } = end;
    match contents {
        Contents::Units(units) => {
            writeln!(out, "{} units at tick {tick}, hash {hash}", units.len())?;
            write_units(out, units)?;
        }
        Contents::Board(places) => {
            writeln!(out, "{} players at tick {tick}, hash {hash}", places.len())?;
            for PlaceLine { rank, player, power } in places {
                writeln!(out, "{rank:>8}. {player:>10} {power:>20}")?;
            }
        }
        Contents::Players(players) => {
            writeln!(out, "{} players at tick {tick}, hash {hash}", players.len())?;
            write_players(out, players)?;
        }
    }
    writeln!(out)
}

fn write_units(out: &mut String, units: &[UnitLine]) -> std::fmt::Result {
    if units.is_empty() {
        return Ok(());
    }
    let (id, x, y) = ("unit", "x (m)", "y (m)");
    writeln!(out, "{id:>10} {:<14} {:>8} {x:>6} {y:>6} {:>6}  order", "type", "owner", "steps")?;
    for unit in units {
        let (x, y) = (metres(unit.x), metres(unit.y));
        write!(out, "{:>10} {:<14} {:>8} ", unit.id, unit.kind, unit.owner)?;
        writeln!(out, "{x:>6} {y:>6} {:>6}  {}", unit.steps, unit.order)?;
    }
    Ok(())
}

fn write_players(out: &mut String, players: &[PlayerLine]) -> std::fmt::Result {
    if players.is_empty() {
        return Ok(());
    }
    writeln!(out, "{:>10} {:>8}  units", "player", "session")?;
    for line in players {
        let places = line.presence.iter().map(|(sector, units)| format!("{sector}: {units}"));
        let places: Vec<String> = places.collect();
        writeln!(out, "{:>10} {:>8}  {}", line.player, line.session, places.join("; "))?;
    }
    Ok(())
}

/// Milliseconds since the Unix epoch as 2026-11-20T12:34:56.789Z. The day is
/// counted in eras of 400 years that begin on 1 March, when a leap day is the
/// last of its year.
fn utc(ms: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    const ERA_DAYS: u64 = 146_097;
    let (days, ms) = (ms / DAY_MS + 719_468, ms % DAY_MS);
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March: 31, 30, 31, 30, 31 days and again.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = 400 * era + year + next;
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::history::{Event, Told};

    #[test]
    fn tells_times_by_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(951_868_799_999), "2000-02-29T23:59:59.999Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(utc(1_795_177_296_789), "2026-11-20T12:21:36.789Z");
        assert_eq!(utc(1_798_761_599_999), "2026-12-31T23:59:59.999Z");
    }

    #[test]
    fn tells_a_record_with_a_line_for_each_event() {
        let told =
            Told { sequence: 3, tick: 40, time: 0, events: vec![Event::Time, Event::Closed] };
        let history = History {
            entity: "sector 1,2,0".into(),
            snapshot_bytes: 0,
            records: vec![told],
            end: None,
            hashes: 1,
            mismatches: 0,
            problem: None,
        };
        let text = of(&history);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "sector 1,2,0, from the galaxy's seed");
        assert_eq!(lines[3], "      3        40  1970-01-01T00:00:00.000Z  time passes");
        assert_eq!(lines[4].trim_start(), "let go by its owner");
        assert_eq!(lines[3].find("time passes"), lines[4].find("let go"));
        assert_eq!(lines[6], "1 hashes compared, 0 differ");
    }
}
