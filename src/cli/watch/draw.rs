//! Owns the picture: a scene in, characters out. Never asks for anything and
//! reads no clock. Called once per frame, and by tests. Invariant: it writes to
//! the buffer's area only, whatever its size, and what is more important is
//! drawn later.

mod features;
mod ground;
mod status;
mod sums;
mod units;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::camera::{Spot, Window};
use super::keys;
use super::scene::{STATUS_ROWS, Scene};
use crate::base::SectorId;

/// Draws all of it.
pub fn draw(scene: &Scene, buffer: &mut Buffer) {
    let area = *buffer.area();
    let map = Rect { height: area.height.saturating_sub(STATUS_ROWS), ..area };
    if map.height > 0 && map.width > 0 {
        let window = scene.window(area.width, area.height);
        let mut canvas = Canvas { buffer, area: map, window };
        ground::draw(scene, &mut canvas);
        if scene.view.grid {
            ground::draw_grid(scene, &mut canvas);
        }
        features::draw(scene, &mut canvas);
        if scene.view.grid {
            ground::draw_labels(scene, &mut canvas);
        }
        sums::draw(scene, &mut canvas);
        units::draw(scene, &mut canvas);
        canvas.mark_centre();
    }
    let status = Rect { y: map.bottom(), height: area.height - map.height, ..area };
    status::draw(scene, buffer, map, status);
    if scene.view.help {
        draw_help(buffer, map);
    }
}

/// The part of the screen that shows the map.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    window: Window,
}

impl Canvas<'_> {
    /// Writes one character; none where the screen has none.
    fn put(&mut self, column: i64, row: i64, symbol: &str, style: Style) {
        let inside = |v: i64, most: u16| u16::try_from(v).ok().filter(|v| *v < most);
        let at = (inside(column, self.area.width), inside(row, self.area.height));
        let (Some(column), Some(row)) = at else { return };
        if let Some(cell) = self.buffer.cell_mut((self.area.x + column, self.area.y + row)) {
            cell.set_symbol(symbol).set_style(style);
        }
    }

    /// Writes a line of plain characters.
    fn write(&mut self, column: i64, row: i64, text: &str, style: Style) {
        let mut symbol = [0; 4];
        for (column, c) in (column..).zip(text.chars()) {
            self.put(column, row, c.encode_utf8(&mut symbol), style);
        }
    }

    fn put_at(&mut self, spot: Spot, symbol: &str, style: Style) {
        let (column, row) = (self.window.column(spot.x), self.window.row(spot.y));
        self.put(column, row, symbol, style);
    }

    /// All characters, by column and row.
    fn cells(&self) -> impl Iterator<Item = (i64, i64)> + use<> {
        let (columns, rows) = (self.window.columns, self.window.rows);
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (column, row)))
    }

    fn mark_centre(&mut self) {
        let Spot { x, y } = self.window.camera.centre;
        let (column, row) = (self.window.column(x), self.window.row(y));
        let at = (u16::try_from(column), u16::try_from(row));
        let (Ok(column), Ok(row)) = at else { return };
        if let Some(cell) = self.buffer.cell_mut((self.area.x + column, self.area.y + row)) {
            cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// The columns and rows where a sector's first character is.
fn corner(window: &Window, sector: SectorId) -> (i64, i64) {
    let side = super::camera::KM << sector.scale;
    (window.column(sector.x * side), window.row(sector.y * side))
}

/// The colour of a region, from the core outwards.
fn region_colour(region: Option<&String>) -> Color {
    match region.map(String::as_str) {
        Some("core") => Color::Yellow,
        Some("midRim") => Color::Green,
        Some("outerRim") => Color::Blue,
        _ => Color::DarkGray,
    }
}

fn draw_help(buffer: &mut Buffer, map: Rect) {
    let legend = [
        ("● ↗ ❷ ✚", "own units: standing, moving, two, more than nine"),
        ("○ ⇗ ② ⊕", "the same of others"),
        ("·", "nobody of yours sees what is there"),
        ("✶ ◉ ⌂ ∴", "star, planet, station, field of asteroids"),
        ("◆3", "three own units, where sectors are small"),
        ("40", "about so many units of anybody's; brighter where much goes on"),
    ];
    let lines = keys::HELP.iter().chain(&legend);
    let style = Style::new().add_modifier(Modifier::REVERSED);
    for (row, (what, means)) in (0_u16..).zip(lines) {
        let line = format!(" {what:<16} {means:<56} ");
        if row + 1 < map.height {
            buffer.set_stringn(map.x + 1, map.y + 1 + row, line, usize::from(map.width), style);
        }
    }
}

#[cfg(test)]
mod tests;
