//! Draws what lies under everything: fog, regions and how full they are, the
//! borders of sectors.

use ratatui::style::{Color, Modifier, Style};

use super::{Canvas, corner, region_colour};
use crate::base::{Position, SectorId};
use crate::cli::watch::atlas::{self, CROWDED_SCALE};
use crate::cli::watch::camera::{Extent, KM, Spot};
use crate::cli::watch::scene::Scene;
use crate::protocol::http::Map;
use crate::view::fog::Cell;

const FOG: Style = Style::new().fg(Color::DarkGray).add_modifier(Modifier::DIM);
const GRID: Style = Style::new().fg(Color::DarkGray);
/// A sector's name is written where it has room for it.
const LABEL_COLUMNS: i64 = 10;

pub fn draw(scene: &Scene, canvas: &mut Canvas) {
    let is_tactical = canvas.window.is_tactical(scene.extent);
    let scale = canvas.window.camera.scale;
    for (column, row) in canvas.cells() {
        let spot = canvas.window.spot(column, row);
        if !scene.extent.has(spot) {
            continue;
        }
        if is_tactical {
            if (column + row) % 2 == 0 && !is_seen(scene, spot) {
                canvas.put(column, row, "·", FOG);
            }
        } else if scale >= CROWDED_SCALE
            && let Some(map) = scene.atlas.finest(spot, scale)
        {
            let (symbol, style) = shade(map, scene.extent);
            canvas.put(column, row, symbol, style);
        }
    }
}

/// Whether a unit of the player's sees this place now.
pub fn is_seen(scene: &Scene, spot: Spot) -> bool {
    let Some(sight) = scene.world.sights.get(&spot.sector(0)) else { return false };
    // Below one sector, so it fits.
    let axis = |v: i64| i32::try_from(v.rem_euclid(KM)).unwrap_or(0);
    sight.mask.has(Cell::of(Position { x: axis(spot.x), y: axis(spot.y) }))
}

/// How many systems there are for the space, and whose region it is.
fn shade(map: &Map, extent: Extent) -> (&'static str, Style) {
    let style = Style::new().fg(region_colour(map.regions.first()));
    // A full galaxy has one system in 16 x 16 sectors.
    let squares = (sectors(map.sector.into(), extent) / 256).max(1);
    let symbol = match map.counts.systems.saturating_mul(1_000) / squares {
        500.. => "▓",
        350.. => "▒",
        200.. => "░",
        _ => "·",
    };
    (symbol, style.add_modifier(Modifier::DIM))
}

/// How many scale-0 sectors of the galaxy it has.
fn sectors(sector: SectorId, extent: Extent) -> u64 {
    let side = 1_i64 << sector.scale;
    let length = |v: i64| (extent.side - v * side).clamp(0, side).unsigned_abs();
    length(sector.x) * length(sector.y)
}

/// The scale of the sectors whose borders are drawn on a screen of this one.
fn grid_scale(scale: u8) -> u8 {
    match scale {
        0..CROWDED_SCALE => scale.saturating_sub(1),
        _ => atlas::levels(scale)[0],
    }
}

pub fn draw_grid(scene: &Scene, canvas: &mut Canvas) {
    let window = canvas.window;
    let sectors = window.sectors(grid_scale(window.camera.scale), scene.extent);
    let (left, top) = corner(&window, first(sectors.x.0, sectors.y.0, sectors.scale));
    let (right, bottom) = corner(&window, first(sectors.x.1 + 1, sectors.y.1 + 1, sectors.scale));
    let end = scene.extent.side * KM;
    let (right, bottom) = (right.min(window.column(end)), bottom.min(window.row(end)));
    for x in sectors.x.0..=sectors.x.1 + 1 {
        let column = corner(&window, first(x, 0, sectors.scale)).0.min(right);
        (top.max(0)..=bottom.min(window.rows)).for_each(|row| canvas.put(column, row, "│", GRID));
    }
    for y in sectors.y.0..=sectors.y.1 + 1 {
        let row = corner(&window, first(0, y, sectors.scale)).1.min(bottom);
        for column in left.max(0)..=right.min(window.columns) {
            canvas.put(column, row, "─", GRID);
        }
        for x in sectors.x.0..=sectors.x.1 + 1 {
            let column = corner(&window, first(x, 0, sectors.scale)).0.min(right);
            canvas.put(column, row, "┼", GRID);
        }
    }
}

/// Writes what each sector is called.
pub fn draw_labels(scene: &Scene, canvas: &mut Canvas) {
    let window = canvas.window;
    let sectors = window.sectors(grid_scale(window.camera.scale), scene.extent);
    for sector in sectors.by_distance(window.camera.centre) {
        label(scene, canvas, sector);
    }
}

fn first(x: i64, y: i64, scale: u8) -> SectorId {
    SectorId { x, y, scale }
}

/// Writes a sector's name into its corner, and how many systems it has.
fn label(scene: &Scene, canvas: &mut Canvas, sector: SectorId) {
    let (column, row) = corner(&canvas.window, sector);
    let (next, below) = corner(&canvas.window, first(sector.x + 1, sector.y + 1, sector.scale));
    let next = next.min(canvas.window.column(scene.extent.side * KM));
    if next - column < LABEL_COLUMNS || below - row < 3 {
        return;
    }
    let (column, row) = (column.max(-1) + 1, row.max(-1) + 1);
    let room = usize::try_from(next - column).unwrap_or(0);
    let name = match sector.scale {
        0 => format!("{},{}", sector.x, sector.y),
        _ => sector.to_string(),
    };
    if name.len() <= room {
        canvas.write(column, row, &name, GRID);
    }
    let Some(map) = scene.atlas.tile(sector).filter(|_| row + 1 < below) else { return };
    let style = Style::new().fg(region_colour(map.regions.first()));
    let about = if map.counts.exact { "" } else { "~" };
    let systems = match map.counts.systems {
        1 => format!("{about}1 system"),
        count => format!("{about}{count} systems"),
    };
    if systems.len() <= room {
        canvas.write(column, row + 1, &systems, style);
    } else {
        canvas.write(column, row + 1, &format!("{about}{}✶", map.counts.systems), style);
    }
}
