//! Draws what the galaxy was made with: lanes as lines, circles true to size
//! where they are larger than a character.

use ratatui::style::{Color, Modifier, Style};

use super::{Canvas, ground};
use crate::base::SectorId;
use crate::cli::watch::atlas::CROWDED_SCALE;
use crate::cli::watch::camera::{KM, Spot};
use crate::cli::watch::scene::Scene;
use crate::protocol::http::Feature;

/// Up to this scale of the screen planets and fields are told apart.
const DETAIL_SCALE: u8 = 5;
/// Up to this scale lanes are told apart.
const LANES_SCALE: u8 = 8;
const LANE: Style = Style::new().fg(Color::Blue);

pub fn draw(scene: &Scene, canvas: &mut Canvas) {
    let scale = canvas.window.camera.scale;
    if scale >= CROWDED_SCALE {
        return;
    }
    let maps = scene.atlas.shown(&canvas.window, scene.extent);
    let mut features: Vec<&Feature> = maps.iter().flat_map(|map| &map.features).collect();
    // Stars over all others.
    features.sort_by_key(|feature| feature.kind == "star");
    let is_tactical = canvas.window.is_tactical(scene.extent);
    if scale <= LANES_SCALE && !is_tactical {
        features.iter().for_each(|feature| draw_lanes(canvas, feature));
    }
    for feature in features {
        let has_room = scale <= DETAIL_SCALE || matches!(&*feature.kind, "star" | "station");
        if has_room {
            draw_feature(scene, canvas, feature, is_tactical);
        }
    }
}

fn draw_lanes(canvas: &mut Canvas, star: &Feature) {
    let from = SectorId::from(star.sector);
    for lane in star.system.iter().flat_map(|system| &system.lanes) {
        let to = SectorId::from(*lane);
        // Both ends name it: the line must be the same.
        draw_line(canvas, Spot::middle_of(from.min(to)), Spot::middle_of(from.max(to)));
    }
}

/// A line of characters that lean as it does.
fn draw_line(canvas: &mut Canvas, from: Spot, to: Spot) {
    let ends = |spot: Spot| (canvas.window.column(spot.x), canvas.window.row(spot.y));
    let ((x0, y0), (x1, y1)) = (ends(from), ends(to));
    let (dx, dy) = (x1 - x0, y1 - y0);
    let count = dx.abs().max(dy.abs()).max(1);
    let symbol = match (dx.abs(), dy.abs()) {
        (dx, dy) if dy * 4 < dx => "─",
        (dx, dy) if dx * 2 < dy => "│",
        _ if (dx > 0) == (dy > 0) => "╲",
        _ => "╱",
    };
    for i in 1..count {
        canvas.put(x0 + dx * i / count, y0 + dy * i / count, symbol, LANE);
    }
}

fn middle(feature: &Feature) -> Spot {
    let axis = |sector: i64, fraction: u32| sector * KM + (i64::from(fraction) >> 12);
    let (sector, position) = (feature.sector, feature.position);
    Spot { x: axis(sector.x, position.x), y: axis(sector.y, position.y) }
}

fn draw_feature(scene: &Scene, canvas: &mut Canvas, feature: &Feature, is_tactical: bool) {
    let (symbol, fill, colour) = look(feature);
    let style = Style::new().fg(colour);
    let style_at = |spot: Spot| match is_tactical && !ground::is_seen(scene, spot) {
        true => style.add_modifier(Modifier::DIM),
        false => style,
    };
    let (centre, radius) = (middle(feature), i64::from(feature.radius) >> 12);
    let window = canvas.window;
    let rows = window.row(centre.y - radius)..=window.row(centre.y + radius);
    for row in rows.filter(|row| (0..window.rows).contains(row)) {
        for column in window.column(centre.x - radius)..=window.column(centre.x + radius) {
            let spot = window.spot(column, row);
            let square = |v: i64| i128::from(v).pow(2);
            if square(spot.x - centre.x) + square(spot.y - centre.y) <= square(radius) {
                canvas.put(column, row, fill, style_at(spot));
            }
        }
    }
    canvas.put_at(centre, symbol, style_at(centre).add_modifier(Modifier::BOLD));
}

/// The character in the middle, those around it, and the colour.
fn look(feature: &Feature) -> (&'static str, &'static str, Color) {
    match (&*feature.kind, feature.planet.as_deref()) {
        ("star", _) => ("✶", "▓", Color::Yellow),
        ("planet", Some("terrestrial")) => ("◉", "▒", Color::Green),
        ("planet", Some("gasGiant")) => ("◉", "▒", Color::Magenta),
        ("planet", _) => ("◉", "▒", Color::Gray),
        ("station", _) => ("⌂", "█", Color::Cyan),
        _ => ("∴", "∴", Color::Gray),
    }
}
