//! Writes the lines below the map: where one looks, how the connection is,
//! what the server said.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::units;
use crate::cli::watch::camera::{KM, Spot};
use crate::cli::watch::scene::{Link, Scene};

const HINT: &str = "? help  + - zoom  arrows pan  0 home  q quit";

pub fn draw(scene: &Scene, buffer: &mut Buffer, map: Rect, status: Rect) {
    let warning = Style::new().fg(Color::LightRed);
    let last = match scene.said {
        Some(said) => (said.to_owned(), warning),
        None => (HINT.to_owned(), Style::new().fg(Color::DarkGray)),
    };
    let lines = [
        (place(scene), Style::new().add_modifier(Modifier::REVERSED)),
        (link(scene, map), Style::new()),
        last,
    ];
    for (row, (line, style)) in status.rows().zip(lines) {
        buffer.set_style(row, style);
        buffer.set_stringn(row.x, row.y, format!(" {line}"), usize::from(row.width), style);
    }
}

/// Where one looks and what is there.
fn place(scene: &Scene) -> String {
    let camera = scene.view.camera;
    let Spot { x, y } = camera.centre;
    let hundredths = |v: i64| v * 100 / KM;
    let decimal = |v: i64| format!("{}.{:02}", hundredths(v) / 100, hundredths(v) % 100);
    let mut line = format!(
        "scale {}  {} km high  at {},{}",
        camera.scale,
        1_u32 << camera.scale,
        decimal(x),
        decimal(y)
    );
    if let Some(map) = scene.atlas.finest(camera.centre, camera.scale) {
        let counts = map.counts;
        let about = if counts.exact { "" } else { "~" };
        line += &format!(
            "  {}  resources {}  systems {about}{} in {}",
            map.regions.join("/"),
            map.resource_density,
            counts.systems,
            crate::base::SectorId::from(map.sector),
        );
    }
    line
}

/// How the connection is and what comes over it.
fn link(scene: &Scene, map: Rect) -> String {
    let world = scene.world;
    let link = match &world.link {
        Link::Connecting => "connecting".to_owned(),
        Link::Open => "open".to_owned(),
        Link::Lost(why) => format!("lost: {why}"),
        Link::Ended(why) => format!("ended: {why}"),
    };
    let window = scene.view.camera.window(map.width, map.height);
    let all = world.sights.values().map(|sight| sight.units.len()).sum::<usize>();
    let seen = world.sights.iter().flat_map(|(sector, sight)| {
        sight.units.iter().map(|unit| (units::spot(*sector, unit), unit.owner))
    });
    let shown = seen.filter(|(spot, _)| {
        let inside = |v: i64, most: i64| (0..most).contains(&v);
        inside(window.column(spot.x), window.columns) && inside(window.row(spot.y), window.rows)
    });
    let shown: Vec<_> = shown.collect();
    let own = shown.iter().filter(|(_, owner)| Some(*owner) == world.player).count();
    let rate = world.bytes_per_second;
    let per_unit = match all {
        0 => String::new(),
        all => format!("  {} B/s a unit", rate / all as u64),
    };
    let tick = world.tick.map_or("-".to_owned(), |tick| tick.to_string());
    let trip = world.round_trip_ms.map_or("-".to_owned(), |ms| ms.to_string());
    let missing = scene.atlas.missing(&window, scene.extent);
    let missing = if missing > 0 { format!("  {missing} maps to come") } else { String::new() };
    let (units, name) = (shown.len(), &world.name);
    format!(
        "{name} {link}  tick {tick}  units {units}, own {own}  {}{per_unit}  {trip} ms{missing}",
        bytes(rate)
    )
}

fn bytes(rate: u64) -> String {
    match rate {
        0..10_000 => format!("{rate} B/s"),
        _ => format!("{} kB/s", rate / 1000),
    }
}
