//! Draws units: one by one where sectors are large, counted where they are
//! small.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};

use super::Canvas;
use crate::base::{PlayerId, SectorId};
use crate::cli::watch::camera::{KM, Spot};
use crate::cli::watch::scene::{Scene, World};
use crate::protocol::UnitRecord;
use crate::sim::UnitState;

const OWN: Color = Color::LightGreen;
/// Other owners, by their ids.
const OTHERS: [Color; 5] =
    [Color::LightRed, Color::LightMagenta, Color::LightBlue, Color::LightCyan, Color::White];
/// From the right on, clockwise as the screen shows it.
const OWN_MOVING: [&str; 8] = ["→", "↘", "↓", "↙", "←", "↖", "↑", "↗"];
const OTHER_MOVING: [&str; 8] = ["⇒", "⇘", "⇓", "⇙", "⇐", "⇖", "⇑", "⇗"];

/// From two on, and the last for all that are more than nine.
const OWN_MANY: [&str; 9] = ["❷", "❸", "❹", "❺", "❻", "❼", "❽", "❾", "✚"];
const OTHER_MANY: [&str; 9] = ["②", "③", "④", "⑤", "⑥", "⑦", "⑧", "⑨", "⊕"];

pub fn draw(scene: &Scene, canvas: &mut Canvas) {
    if canvas.window.is_tactical(scene.extent) {
        draw_units(scene.world, canvas);
    } else {
        draw_presence(scene.world, canvas);
    }
}

fn draw_units(world: &World, canvas: &mut Canvas) {
    let mut at = BTreeMap::<(i64, i64), Vec<&UnitRecord>>::new();
    for (sector, sight) in &world.sights {
        for unit in &sight.units {
            let spot = spot(*sector, unit);
            let cell = (canvas.window.row(spot.y), canvas.window.column(spot.x));
            at.entry(cell).or_default().push(unit);
        }
    }
    for ((row, column), units) in at {
        let own = units.iter().find(|unit| is_own(world, unit));
        let Some(shown) = own.or(units.first()) else { continue };
        let many = if own.is_some() { OWN_MANY } else { OTHER_MANY };
        let symbol = match units.len() {
            1 => symbol(shown, own.is_some()),
            count => many[(count - 2).min(many.len() - 1)],
        };
        canvas.put(column, row, symbol, style(shown.owner, own.is_some()));
    }
}

fn is_own(world: &World, unit: &UnitRecord) -> bool {
    world.player == Some(unit.owner)
}

/// Where a unit of this sector is.
pub fn spot(sector: SectorId, unit: &UnitRecord) -> Spot {
    let axis = |sector: i64, steps: i32| sector * KM + i64::from(steps);
    Spot { x: axis(sector.x, unit.position.x), y: axis(sector.y, unit.position.y) }
}

fn symbol(unit: &UnitRecord, own: bool) -> &'static str {
    if !UnitState(unit.state).has(UnitState::MOVING) {
        return if own { "●" } else { "○" };
    }
    // The nearest of eight directions.
    let direction = usize::from(unit.heading.wrapping_add(1 << 12) >> 13);
    if own { OWN_MOVING[direction] } else { OTHER_MOVING[direction] }
}

fn style(owner: PlayerId, own: bool) -> Style {
    // Below the number of colours, so it fits.
    let other = || OTHERS[(owner.0 % OTHERS.len() as u64) as usize];
    let colour = if own { OWN } else { other() };
    Style::new().fg(colour).add_modifier(Modifier::BOLD)
}

fn draw_presence(world: &World, canvas: &mut Canvas) {
    let mut at = BTreeMap::<(i64, i64), u64>::new();
    for (sector, count) in &world.presence {
        let spot = Spot::middle_of(*sector);
        let cell = (canvas.window.row(spot.y), canvas.window.column(spot.x));
        *at.entry(cell).or_default() += u64::from(*count);
    }
    let style = Style::new().fg(OWN).add_modifier(Modifier::BOLD);
    for ((row, column), count) in at {
        canvas.write(column, row, &format!("◆{count}"), style);
    }
}
