//! `starmesh cluster`: three nodes on this machine and scripted players, until
//! Ctrl-C. Starts the same program once for each node, as an operator would.

mod nodes;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::time::interval;

use super::players::Players;
use super::{node, print};
use crate::client::Target;
use crate::config::Config;
use crate::protocol::http::WEBSOCKET_PATH;
use crate::telemetry::logging;
use nodes::{Nodes, Shown};

/// Run three nodes on loopback with scripted players until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the nodes keep what they have.
    #[arg(long, value_name = "DIR", default_value = "data/cluster")]
    data: PathBuf,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    nodes: u32,
    /// The port of the first node's HTTP and WebSocket, the others have the next
    /// ones; 0 takes free ones.
    #[arg(long, value_name = "PORT", default_value_t = 7401)]
    port: u16,
    /// How many empires the computer plays, spread over the gateways.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1000))]
    players: u32,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::with("[telemetry]\nlog_level = \"warn\"")?;
    logging::init(config.telemetry.log_format, &config.telemetry.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(&args))
}

async fn play(args: &Args) -> anyhow::Result<()> {
    let mut nodes = Nodes::start(&args.data, args.nodes, args.port).await?;
    introduce(args, &nodes);
    let targets = nodes.iter().map(|node| node.url.parse::<Target>());
    let targets = targets.collect::<Result<Vec<_>, _>>().context("the players need addresses")?;
    let mut players = Players::start(args.players, targets)?;
    let stats = players.stats.clone();
    tokio::select! {
        () = node::stop_signal() => {}
        () = watch(&mut nodes, &stats) => {}
    }
    say("\nstopping\n");
    let report = players.stop().await;
    nodes.stop().await;
    match report {
        Some(report) if report.desyncs + report.losses > 0 => {
            anyhow::bail!("the players found faults:\n{report}")
        }
        _ => say(&format!("stopped; `make cluster` goes on from here ({})\n", args.data.display())),
    }
    Ok(())
}

fn introduce(args: &Args, nodes: &Nodes) {
    let mut text = format!(
        "{} nodes, one galaxy, {} scripted players, kept in {}\n",
        args.nodes,
        args.players,
        args.data.display()
    );
    for node in nodes.iter() {
        let socket = node.url.replacen("http", "ws", 1);
        text += &format!(
            "  {}  process {:<8} HTTP {}  players {socket}{WEBSOCKET_PATH}\n",
            node.name, node.id, node.url
        );
    }
    let second = nodes.iter().nth(1).or(nodes.iter().next());
    if let Some(node) = second {
        text += &format!(
            "try, in another terminal:
  kill -9 {}                        what {} ran runs elsewhere within two seconds; it is
                                      started again here after ten
  starmesh watch --target {}
  curl {}/readyz
Ctrl-C stops it; started again it goes on where it stopped\n\n",
            node.id, node.name, node.url, node.url
        );
    }
    say(&text);
}

/// A line a second for ever; a node that ended is started again.
async fn watch(nodes: &mut Nodes, stats: &crate::swarm::Stats) {
    let mut beat = interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
        let ended = nodes.revive().await;
        for name in ended {
            say(&format!("{name} ended; it is started again in ten seconds\n"));
        }
        let (answered, faults, latency) = {
            let counts = stats.lock();
            (counts.acknowledged, counts.desyncs + counts.losses, counts.latency.clone())
        };
        let mut line = String::new();
        for Shown { name, sectors, units } in nodes.read().await {
            line += &format!("{name} {sectors} sectors {units} units · ");
        }
        let p99 = latency.value_at_quantile(0.99);
        say(&format!("{line}{answered} commands answered, p99 {p99} ms, {faults} faults\n"));
    }
}

/// Nobody reads, or the disk is full: nobody misses it.
fn say(text: &str) {
    let _ = print(text);
}
