//! `starmesh cluster`: three nodes on this machine and scripted players, until
//! Ctrl-C. Starts the same program once for each node, as an operator would.

mod nodes;
mod operator;

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
    let targets = nodes.iter().map(|node| node.url.parse::<Target>());
    let targets = targets.collect::<Result<Vec<_>, _>>().context("the players need addresses")?;
    // Before anybody else can take the name.
    let steering = match targets.first() {
        Some(first) => operator::prepare(first, &args.data).await,
        None => Err(anyhow::anyhow!("there is no node")),
    };
    introduce(args, &nodes, &steering);
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

fn introduce(args: &Args, nodes: &Nodes, steering: &anyhow::Result<PathBuf>) {
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
    text += "their sectors are spread over the nodes by themselves (cluster.balance)\n\n";
    text += "try, in another terminal:\n";
    let program = std::env::args().next().unwrap_or_else(|| "starmesh".into());
    let mut nodes = nodes.iter();
    if let Some(first) = nodes.next() {
        text += &match steering {
            Ok(password) => steered(&program, &first.url, &password.display().to_string()),
            Err(error) => format!("  (nobody can steer it: {error:#})\n"),
        };
        let node = nodes.next().unwrap_or(first);
        text += &format!(
            "  kill -9 {:<40} what {} ran runs elsewhere in about two seconds; it is\n{:51}started \
             again here after ten\n  {program} watch --target {}\n",
            node.id, node.name, "", node.url
        );
    }
    say(&(text + "Ctrl-C stops it; started again it goes on where it stopped\n\n"));
}

/// What an operator may try, by the account whose password is in that file.
fn steered(program: &str, url: &str, password: &str) -> String {
    let tries = [
        ("nodes", "what each runs and carries, and who balances"),
        ("sectors --hot", "those with most to do, and where they are"),
        ("migrate SECTOR --to 3", "one of those goes to node 3, while it is played in"),
        ("drain 2", "node 2 gives all it has to the others"),
        ("undrain 2", "it takes its share again"),
        ("balance --strategy PlayerCount --dry-run", "what another strategy would move"),
    ];
    let mut text = format!(
        "  export STARMESH_PASSWORD=$(cat {password})\n  \
         alias admin='{program} admin --url {url} --user {}'\n",
        operator::NAME
    );
    for (call, what) in tries {
        text += &format!("  {:<48} {what}\n", format!("admin {call}"));
    }
    text
}

/// A line a second for ever; a node that ended is started again.
async fn watch(nodes: &mut Nodes, stats: &crate::swarm::Stats) {
    let mut beat = interval(Duration::from_secs(1));
    let mut moved = 0;
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
        let mut moves = 0;
        for shown in nodes.read().await {
            let Shown { name, sectors, units, .. } = &shown;
            line += &format!("{name} {sectors} sectors {units} units · ");
            moves += shown.moves;
        }
        if moves > moved {
            say(&format!("balanced: {} parts of the map go to another node\n", moves - moved));
        }
        // Of a node that was started anew it begins at 0.
        moved = moves;
        let p99 = latency.value_at_quantile(0.99);
        say(&format!("{line}{answered} commands answered, p99 {p99} ms, {faults} faults\n"));
    }
}

/// Nobody reads, or the disk is full: nobody misses it.
fn say(text: &str) {
    let _ = print(text);
}
