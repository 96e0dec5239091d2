//! Draws what goes on in large sectors: how many units each has, all players'.

use ratatui::style::{Color, Modifier, Style};

use super::Canvas;
use crate::base::SectorId;
use crate::cli::watch::camera::Spot;
use crate::cli::watch::scene::Scene;
use crate::protocol::server::Sum;

pub fn draw(scene: &Scene, canvas: &mut Canvas) {
    for sum in scene.world.sums.values().flatten().filter(|sum| sum.unit_count > 0) {
        let spot = Spot::middle_of(SectorId::from(sum.sector));
        let (column, row) = (canvas.window.column(spot.x), canvas.window.row(spot.y));
        canvas.write(column, row, &short(sum.unit_count), style(sum));
    }
}

/// A number of one digit that counts, in at most four characters.
fn short(count: u32) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn style(sum: &Sum) -> Style {
    let colour = match sum.activity_level {
        0 => Color::Gray,
        1..10 => Color::LightYellow,
        10.. => Color::LightRed,
    };
    Style::new().fg(colour).add_modifier(Modifier::BOLD)
}
