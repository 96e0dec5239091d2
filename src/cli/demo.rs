//! `starmesh demo`: a node and its scripted players in one process. The players
//! are clients like any other: they reach the node over WebSockets only.

mod meter;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;
use tokio::time::interval;

use super::players::Players;
use super::{node, print, settings};
use crate::actors::ending::Ended;
use crate::config::{Config, Override};
use crate::gateway::server::Server;
use crate::protocol::http::WEBSOCKET_PATH;
use crate::sim::rules;
use crate::swarm::{Report, Stats};
use crate::telemetry::{Recorder, logging};
use meter::{Meter, Reading};

const SETTINGS_NAME: &str = "config/scenarios/demo.toml";
const SETTINGS: &str = include_str!("../../config/scenarios/demo.toml");

/// Run a node with scripted players until Ctrl-C; it goes on where it stopped.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the demo's world is kept.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    data: PathBuf,
    /// Where HTTP and WebSocket listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// How many empires the computer plays.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    players: u32,
}

impl Args {
    fn config(&self) -> anyhow::Result<Config> {
        let mut flags =
            vec![Override::flag("--data", "node", "data", self.data.display().to_string())];
        flags.extend(self.http.iter().map(|at| Override::flag("--http", "http", "listen", at)));
        settings::layered(Some((SETTINGS_NAME, SETTINGS)), flags)
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config()?;
    logging::init(config.telemetry.log_format, &config.telemetry.log_level)?;
    let recorder = Recorder::install()?;
    actix::System::new().block_on(play(&args, &config, recorder))
}

/// Runs node and players until Ctrl-C or SIGTERM, or until the node may not go
/// on.
async fn play(args: &Args, config: &Config, recorder: Recorder) -> anyhow::Result<()> {
    let mut server = Server::start(config, rules::file::built_in()?, recorder).await?;
    introduce(args, &server);
    let deposed = server.take_deposed();
    let mut players = Players::start(
        args.players,
        vec![server.url().parse().context("the players need an http address")?],
    )?;
    let stats = players.stats.clone();
    let end = tokio::select! {
        () = node::stop_signal() => End::Asked,
        why = ended(deposed) => End::Deposed(why),
        report = players.gone() => End::Gone(report),
        () = watch(&server, &stats) => End::Asked,
    };
    say("\nstopping\n");
    let end = match end {
        End::Asked => End::Left(players.stop().await),
        end => end,
    };
    server.stop().await;
    conclude(args, end)
}

/// Why the demo ends.
enum End {
    Asked,
    /// The node owns nothing any more.
    Deposed(Ended),
    /// No player is left, though nobody told them to go.
    Gone(Option<Report>),
    /// All is as it should be; what the players found, if they had the time.
    Left(Option<Report>),
}

fn introduce(args: &Args, server: &Server) {
    let url = server.url();
    let socket = url.replacen("http", "ws", 1);
    let (players, data) = (args.players, args.data.display());
    let tick = server.summary().core.tick;
    say(&format!(
        "a node with {players} scripted players, kept in {data}
  players   {socket}{WEBSOCKET_PATH}
  HTTP      {url}
  metrics   {url}/metrics
begins at tick {tick}
Ctrl-C stops it; started again it goes on where it stopped\n\n"
    ));
}

/// Prints; nobody reads, or the disk is full: nobody misses it.
fn say(text: &str) {
    let _ = print(text);
}

/// Resolves with the reason when the node owns nothing any more.
async fn ended(deposed: Option<oneshot::Receiver<Ended>>) -> Ended {
    match deposed {
        Some(deposed) => Ended::heard(deposed.await),
        None => std::future::pending().await,
    }
}

/// Shows a line a second for ever: always the same one on a terminal.
async fn watch(server: &Server, stats: &Stats) {
    let mut beat = interval(Duration::from_secs(1));
    let mut meter = Meter::new(reading(server, stats));
    let (begin, end) = if std::io::stdout().is_terminal() { ("\r\x1b[K", "") } else { ("", "\n") };
    beat.tick().await;
    loop {
        beat.tick().await;
        let line = meter.line(reading(server, stats));
        say(&format!("{begin}{line}{end}"));
    }
}

fn reading(server: &Server, stats: &Stats) -> Reading {
    let summary = server.summary();
    let counts = stats.lock();
    Reading {
        players: summary.connections as u64,
        units: summary.tables.units,
        active: summary.tables.active_sectors,
        awake: summary.tables.sectors,
        hibernated: summary.core.asleep.unwrap_or(0),
        crossings: summary.tables.crossings,
        bytes: counts.traffic.bytes_in,
        commits: summary.core.commits,
        faults: counts.desyncs + counts.losses,
        latency: counts.latency.clone(),
    }
}

/// A desync or a lost command is an error here as well.
fn conclude(args: &Args, end: End) -> anyhow::Result<()> {
    match end {
        End::Deposed(why) => anyhow::bail!("the node may not go on: {why}"),
        End::Gone(Some(report)) => anyhow::bail!("all players left:\n{report}"),
        End::Gone(None) => anyhow::bail!("the players failed"),
        End::Left(Some(report)) if report.desyncs + report.losses > 0 => {
            anyhow::bail!("the players found faults:\n{report}")
        }
        End::Asked | End::Left(_) => {}
    }
    say(&format!("stopped; `make demo` goes on from here ({})\n", args.data.display()));
    Ok(())
}
