use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::base::{PlayerId, SectorId};
use crate::cli::watch::atlas::Atlas;
use crate::cli::watch::camera::Camera;
use crate::cli::watch::keys::View;
use crate::cli::watch::scene::samples::{GALAXY, PLAYER, feature, map, moving, unit};
use crate::cli::watch::scene::{Link, Sight, World};
use crate::protocol::http::Map;
use crate::protocol::server::Sum;
use crate::view::fog::Mask;

const HERE: SectorId = SectorId::tactical(5000, 4000);
const OTHER: PlayerId = PlayerId(8);

fn world(units: Vec<crate::protocol::UnitRecord>, mask: Mask) -> World {
    let mut world = World { player: Some(PLAYER), link: Link::Open, ..World::default() };
    world.name = "ada".to_owned();
    world.sights.insert(HERE, Sight { mask, units });
    world
}

/// An atlas that has these maps.
fn atlas(maps: Vec<Map>, view: &View) -> Atlas {
    let window = view.camera.window(20, 10);
    let mut atlas = Atlas::default();
    for map in maps {
        assert_eq!(atlas.admit(0, map.sector.into(), Ok(map), &window, GALAXY), None);
    }
    atlas
}

fn terminal(scene: &Scene, columns: u16, rows: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(scene, frame.buffer_mut())).unwrap();
    terminal
}

/// The rows of the map as text.
fn picture(scene: &Scene, columns: u16, rows: u16) -> Vec<String> {
    let terminal = terminal(scene, columns, rows);
    let buffer = terminal.backend().buffer();
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    cells.chunks(usize::from(columns)).map(|row| row.concat().trim_end().to_owned()).collect()
}

fn at(sector: SectorId, scale: u8) -> View {
    View { grid: false, ..View::new(Camera { centre: Spot::middle_of(sector), scale }, false) }
}

fn scene<'a>(view: &'a View, atlas: &'a Atlas, world: &'a World) -> Scene<'a> {
    Scene { view, extent: GALAXY, atlas, world, said: None }
}

#[test]
fn units_are_where_they_are_and_look_as_they_go() {
    let units = vec![
        unit(1, PLAYER, 75, 50),
        moving(unit(2, PLAYER, 175, 50), 0),
        moving(unit(3, PLAYER, 275, 50), 1 << 14),
        moving(unit(4, PLAYER, 375, 50), 7 << 13),
        unit(5, OTHER, 75, 150),
        moving(unit(6, OTHER, 175, 150), 1 << 15),
        unit(7, PLAYER, 75, 950),
        unit(8, OTHER, 60, 960),
        unit(9, PLAYER, 975, 950),
    ];
    let (view, world) = (at(HERE, 0), world(units, Mask::ALL));
    let shown = picture(&scene(&view, &Atlas::default(), &world), 20, 13);
    let map = [" ● → ↓ ↗", " ○ ⇐", "", "", "", "", "", "", "", " ❷                 ●"];
    assert_eq!(shown[..10], map);
}

#[test]
fn own_units_and_those_of_others_differ_in_colour() {
    let units = vec![unit(1, PLAYER, 75, 50), unit(2, OTHER, 175, 50), unit(3, OTHER, 60, 60)];
    let (view, world) = (at(HERE, 0), world(units, Mask::ALL));
    let terminal = terminal(&scene(&view, &Atlas::default(), &world), 20, 13);
    let colour = |column| terminal.backend().buffer()[(column, 0)].fg;
    // Where both are, it is one's own.
    assert_eq!(colour(1), Color::LightGreen);
    assert_ne!(colour(3), Color::LightGreen);
    assert_ne!(colour(3), Color::Reset);
}

#[test]
fn what_nobody_sees_is_dotted() {
    // The left four of eight columns of cells.
    let mask = Mask((0..8).fold(0, |mask, row| mask | 0x0F << (8 * row)));
    let (view, world) = (at(HERE, 0), world(Vec::new(), mask));
    let shown = picture(&scene(&view, &Atlas::default(), &world), 20, 13);
    assert_eq!(shown[0], "          · · · · ·");
    assert_eq!(shown[1], "           · · · · ·");
}

#[test]
fn borders_of_sectors_are_drawn_and_named() {
    let view = View { grid: true, ..at(HERE, 0) };
    let mut world = world(Vec::new(), Mask::ALL);
    let seen = world.sights[&HERE].clone();
    world.sights.insert(SectorId::tactical(5001, 4000), seen.clone());
    world.sights.insert(SectorId::tactical(4999, 4000), seen);
    let shown = picture(&scene(&view, &Atlas::default(), &world), 60, 13);
    // 20 columns of each neighbour beside 20 of its own.
    let line = "┼───────────────────┼───────────────────┼───────────────────";
    assert_eq!(shown[0], line);
    assert_eq!(shown[1], "│4999,4000          │5000,4000          │5001,4000");
    assert_eq!(shown[2], "│                   │                   │");
}

#[test]
fn planets_have_their_size() {
    let view = at(HERE, 0);
    let mut tile = map(HERE.ancestor(3).unwrap());
    tile.features = vec![feature("planet", HERE, 160)];
    let (atlas, world) = (atlas(vec![tile], &view), world(Vec::new(), Mask::ALL));
    let shown = picture(&scene(&view, &atlas, &world), 20, 13);
    let shape = ["", "         ▒▒", "       ▒▒▒▒▒▒", "       ▒▒▒▒▒▒", "         ▒▒", ""];
    let drawn: Vec<String> = shown[2..8].iter().map(|row| row.replace('◉', "▒")).collect();
    assert_eq!(drawn, shape);
    assert_eq!(shown[5].chars().nth(10), Some('◉'));
}

#[test]
fn a_screen_of_many_sectors_has_systems_lanes_and_own_units_counted() {
    let star = |x, y| feature("star", SectorId::tactical(x, y), 150);
    // 128 km high: 64 to a map.
    let view = at(SectorId { x: 10, y: 10, scale: 7 }, 7);
    let from = view.camera.centre.sector(0);
    let mut first = star(from.x - 40, from.y);
    let lane = SectorId::tactical(from.x + 40, from.y);
    first.system.as_mut().unwrap().lanes = vec![lane.into()];
    let mut tiles: Vec<Map> = Vec::new();
    for one in [first, star(lane.x, lane.y)] {
        let mut tile = map(SectorId::from(one.sector).ancestor(6).unwrap());
        tile.features = vec![one];
        tiles.push(tile);
    }
    let atlas = atlas(tiles, &view);
    let mut world = world(Vec::new(), Mask::NONE);
    world.presence.insert(SectorId::tactical(from.x, from.y + 30), 8);
    world.presence.insert(SectorId::tactical(from.x, from.y + 31), 4);
    let shown = picture(&scene(&view, &atlas, &world), 40, 13);
    assert_eq!(shown[5], "             ✶────────────✶");
    assert!(shown[7].ends_with(" ◆12"), "{shown:?}");
}

#[test]
fn a_screen_of_many_sectors_has_what_goes_on_in_them() {
    let sum = |x: i64, unit_count, activity_level| Sum {
        sector: SectorId { x, y: 2000, scale: 1 }.into(),
        unit_count,
        resource_density: 0,
        activity_level,
        last_update: 0,
    };
    let mut world = world(Vec::new(), Mask::NONE);
    let parent = SectorId { x: 1250, y: 1000, scale: 2 };
    world.sums.insert(parent, vec![sum(2500, 40, 0), sum(2501, 2_000, 30), sum(2502, 0, 0)]);
    let view = at(HERE, 3);
    let atlas = Atlas::default();
    let rows = picture(&scene(&view, &atlas, &world), 40, 23);
    let row = rows.iter().find(|row| row.contains("40")).expect("it is drawn");
    assert!(row.contains("2k"), "{row}");
    assert!(rows.iter().take(20).all(|row| !row.contains('0') || row.contains("40")), "{rows:?}");
}

#[test]
fn the_galaxy_is_shaded_by_its_systems_and_empty_beyond() {
    let view = View { camera: Camera::whole(GALAXY), ..at(HERE, 0) };
    let mut tile = map(SectorId { x: 0, y: 0, scale: 12 });
    // Of 65,536 squares 45 %.
    tile.counts.systems = 29_000;
    let world = world(Vec::new(), Mask::NONE);
    let atlas = atlas(vec![tile], &view);
    let shown = picture(&scene(&view, &atlas, &world), 40, 23);
    let shaded = shown.iter().flat_map(|row| row.chars()).filter(|c| *c == '▒').count();
    // 5 rows and 10 columns.
    assert_eq!(shaded, 50, "{shown:?}");
    let (_, with_names) =
        (0, picture(&scene(&View { grid: true, ..view }, &atlas, &world), 80, 43));
    assert!(with_names.iter().any(|row| row.contains("29000 systems")), "{with_names:?}");
}

#[test]
fn the_lines_below_say_where_one_is_and_how_the_connection_is() {
    let units = vec![unit(1, PLAYER, 75, 50), unit(2, OTHER, 175, 50)];
    let (view, mut world) = (at(HERE, 0), world(units, Mask::ALL));
    (world.tick, world.bytes_per_second, world.round_trip_ms) = (Some(77), 1200, Some(3));
    let atlas = atlas(vec![map(HERE.ancestor(3).unwrap())], &view);
    let scene = Scene { said: Some("refused by the server: test"), ..scene(&view, &atlas, &world) };
    let shown = picture(&scene, 100, 13);
    let place =
        " scale 0  1 km high  at 5000.50,4000.50  midRim  resources 512  systems 0 in 625,500,3";
    assert_eq!(shown[10], place);
    assert!(
        shown[11].starts_with(" ada open  tick 77  units 2, own 1  1200 B/s  600 B/s a unit  3 ms")
    );
    assert_eq!(shown[12], " refused by the server: test");
}

#[test]
fn help_names_every_key() {
    let view = View { help: true, ..at(HERE, 0) };
    let (atlas, world) = (Atlas::default(), World::default());
    let shown = picture(&scene(&view, &atlas, &world), 90, 30).concat();
    assert!(keys::HELP.iter().all(|(key, means)| shown.contains(key) && shown.contains(means)));
}

#[test]
fn any_size_of_screen_will_do() {
    let view = View { help: true, grid: true, ..at(SectorId::tactical(0, 0), 0) };
    let (atlas, world) = (Atlas::default(), World::default());
    for (columns, rows) in [(1, 1), (1, 4), (2, 3), (300, 4), (3, 120)] {
        for scale in 0..=14 {
            let camera = Camera { scale, ..view.camera };
            picture(&scene(&View { camera, ..view }, &atlas, &world), columns, rows);
        }
    }
}
