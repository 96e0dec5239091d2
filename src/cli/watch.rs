//! `starmesh watch`: the galaxy as a player sees it, live in a terminal. A
//! client like any other: it knows what the server tells a player, no more.

mod account;
mod atlas;
mod camera;
mod draw;
mod keys;
mod player;
mod scene;
mod shell;
mod survey;

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{UsageError, print};
use crate::base::SectorId;
use crate::client::Target;
use account::Account;
use camera::{Camera, Extent, KM, SCALE_MAX, Spot};
use keys::View;
use player::Player;
use scene::World;
use shell::{Session, Shell};

/// The session has so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Draw the galaxy as a player sees it, live in a terminal.
///
/// Up to 25 sectors of 1 km are shown with all units that the player sees in
/// them; where the screen has more, systems, lanes, regions and where the
/// player's own units are. x grows to the right, y downwards. The key ? shows
/// the other keys and the signs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node, as http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    target: Target,
    /// Where to look, in sectors of scale 0 from the galaxy's corner, as
    /// 4096.5,4101; without it, the player's first sector.
    #[arg(long, value_name = "X,Y", value_parser = place, allow_hyphen_values = true)]
    at: Option<(f64, f64)>,
    /// The screen is as high as a sector of this scale: 0 is 1 km, 14 the
    /// whole galaxy.
    #[arg(long, value_name = "SCALE", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=i64::from(SCALE_MAX)))]
    scale: u8,
    /// The player whose eyes to look through, whose other session ends;
    /// without it, a player made for this.
    #[arg(long, value_name = "NAME", requires = "password")]
    name: Option<String>,
    /// Its password.
    #[arg(long, value_name = "PASSWORD", requires = "name")]
    password: Option<String>,
    /// Print one picture as text and end; so it is where the output is no
    /// terminal.
    #[arg(long)]
    once: bool,
    /// Columns and rows of that picture; without it, the terminal's, or 80x24.
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size, requires = "once")]
    size: Option<(u16, u16)>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let outcome = show(&args, &runtime);
    // What still asks is not waited for.
    runtime.shutdown_background();
    outcome
}

fn show(args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
    let extent = runtime.block_on(survey::extent(&args.target))?;
    let view = view(args, extent)?;
    let account = runtime.block_on(open_account(args))?;
    let (wanted, wants) = watch::channel(Vec::<SectorId>::new());
    let (told, worlds) = watch::channel(World::default());
    let player = Player::new(args.target.clone(), account, wants, told);
    let playing = runtime.spawn(player.play());
    let session = Session { wanted, worlds };
    let (target, handle) = (args.target.clone(), runtime.handle().clone());
    let mut shell = Shell::new(view, extent, args.scale, session, target, handle);
    let outcome = if args.once || !std::io::stdout().is_terminal() {
        let (columns, rows) = args.size.unwrap_or_else(shell::size);
        shell.once(columns, rows).and_then(|picture| print(&picture))
    } else {
        shell.live()
    };
    // Its end of the session is the sign to say goodbye.
    drop(shell);
    let _ = runtime.block_on(async { tokio::time::timeout(GOODBYE, playing).await });
    outcome
}

async fn open_account(args: &Args) -> anyhow::Result<Account> {
    match (&args.name, &args.password) {
        (Some(name), Some(password)) => {
            Account::open(&args.target, name.clone(), password.clone()).await
        }
        _ => Account::make(&args.target).await,
    }
}

/// Where one looks first.
fn view(args: &Args, extent: Extent) -> Result<View, UsageError> {
    let Some((x, y)) = args.at else {
        let centre = Camera::whole(extent).centre;
        let scale = args.scale.min(extent.scale);
        // The whole galaxy needs no player in its middle.
        let goes_home = scale < extent.scale;
        let scale = if goes_home { extent.scale } else { scale };
        return Ok(View::new(Camera { centre, scale }, goes_home));
    };
    let steps = |v: f64| (v * KM as f64) as i64;
    let centre = Spot { x: steps(x), y: steps(y) };
    if !extent.has(centre) {
        let side = extent.side;
        return Err(UsageError(format!(
            "--at {x},{y} lies outside of the galaxy: expected X and Y from 0 to below {side}"
        )));
    }
    Ok(View::new(Camera { centre, scale: args.scale.min(extent.scale) }, false))
}

/// Reads `X,Y`.
fn place(text: &str) -> Result<(f64, f64), String> {
    let wrong = || format!("`{text}`: expected X,Y in sectors, as 4096.5,4101");
    let (x, y) = text.split_once(',').ok_or_else(wrong)?;
    let axis = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    axis(x).zip(axis(y)).ok_or_else(wrong)
}

/// Reads `COLUMNSxROWS`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{text}`: expected columns and rows from 10 to 1000, as 120x40");
    let (columns, rows) = text.split_once('x').ok_or_else(wrong)?;
    let axis = |text: &str| text.parse::<u16>().ok().filter(|v| (10..=1000).contains(v));
    axis(columns).zip(axis(rows)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const GALAXY: Extent = Extent { side: 10_000, scale: 14 };

    #[derive(Parser)]
    struct Call {
        #[command(flatten)]
        args: Args,
    }

    fn view_of(more: &[&str]) -> Result<View, String> {
        let call = ["watch", "--target", "http://127.0.0.1:7400"];
        let call = Call::try_parse_from(call.iter().chain(more));
        let args = call.map_err(|error| error.to_string())?.args;
        view(&args, GALAXY).map_err(|error| error.to_string())
    }

    #[test]
    fn looks_where_it_is_told_to() {
        let view = view_of(&["--at", "4096.5, 4101", "--scale", "3"]).unwrap();
        let centre = Spot { x: 4096 * KM + KM / 2, y: 4101 * KM };
        assert_eq!(view, View::new(Camera { centre, scale: 3 }, false));
    }

    #[test]
    fn goes_home_from_the_whole_galaxy_unless_that_was_asked_for() {
        assert_eq!(view_of(&[]), Ok(View::new(Camera::whole(GALAXY), true)));
        assert_eq!(view_of(&["--scale", "14"]), Ok(View::new(Camera::whole(GALAXY), false)));
    }

    #[test]
    fn refuses_what_is_no_place_scale_or_size() {
        let wrong: [(&[&str], &str); 7] = [
            (&["--at", "10000,5"], "expected X and Y from 0 to below 10000"),
            (&["--at", "5,-0.1"], "expected X and Y from 0 to below 10000"),
            (&["--at", "5"], "expected X,Y in sectors"),
            (&["--at", "nan,5"], "expected X,Y in sectors"),
            (&["--scale", "15"], "0..=14"),
            (&["--once", "--size", "9x30"], "expected columns and rows"),
            (&["--name", "ada"], "--password"),
        ];
        for (call, expected) in wrong {
            let said = view_of(call).unwrap_err();
            assert!(said.contains(expected), "{call:?}: {said}");
        }
    }
}
