//! `starmesh node`: one node of the mesh, until it is told to stop.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::settings;
use crate::actors::ending::Ended;
use crate::config::{Config, Override};
use crate::gateway::server::{ServeError, Server};
use crate::telemetry::{Recorder, logging};

/// A node that is overtaken while it starts begins anew so often.
const STARTS: u32 = 5;

/// Run a node until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Settings; what it leaves out has the defaults of config/starmesh.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where journal, store and keys are kept.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where HTTP and WebSocket listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// The node's name in logs and in its row.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Join the cluster of this line, HOST:PORT#TOKEN, which one of its nodes
    /// printed; once is enough.
    #[arg(long, value_name = "LINE")]
    join: Option<String>,
    /// Where other nodes reach this one (UDP); port 0 takes a free one and keeps it.
    #[arg(long, value_name = "ADDR")]
    cluster_listen: Option<String>,
    /// What other nodes are told to dial, if that is another address.
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// Written when players are taken: JSON that names the bound addresses.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<String>,
}

impl Args {
    /// What the flags say, each as the setting it stands for.
    fn overrides(&self) -> Vec<Override> {
        let flags = [
            ("--data", "node", "data", &self.data),
            ("--http", "http", "listen", &self.http),
            ("--name", "node", "name", &self.name),
            ("--join", "cluster", "join", &self.join),
            ("--cluster-listen", "cluster", "listen", &self.cluster_listen),
            ("--advertise", "cluster", "advertise", &self.advertise),
            ("--ready-file", "node", "ready_file", &self.ready_file),
        ];
        let given = |(flag, section, key, value): (_, _, _, &Option<String>)| {
            value.as_ref().map(|text| Override::flag(flag, section, key, text))
        };
        flags.into_iter().filter_map(given).collect()
    }

    fn config(&self) -> anyhow::Result<Config> {
        settings::load(self.config.as_deref(), self.overrides())
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config()?;
    logging::init(config.telemetry.log_format, &config.telemetry.log_level)?;
    let recorder = Recorder::install()?;
    actix::System::new().block_on(serve(&config, recorder))
}

/// Runs the node until it is told to stop, or may not go on.
async fn serve(config: &Config, recorder: Recorder) -> anyhow::Result<()> {
    let mut server = start(config, &recorder).await?;
    if let Err(error) = server.speak_on_abort() {
        tracing::warn!(%error, "should an entity abort this process, nobody will know which");
    }
    let name = config.node.name.as_str();
    tracing::info!(name, url = server.url(), data = %config.node.data.display(), "ready");
    let deposed = server.take_deposed();
    let why = tokio::select! {
        () = stop_signal() => None,
        why = async {
            match deposed {
                Some(deposed) => Ended::heard(deposed.await),
                None => std::future::pending().await,
            }
        } => Some(why),
    };
    if let Some(why) = why {
        // Nothing more may leave this process; what it acknowledged is durable.
        return Err(anyhow::Error::new(why).context("the node may not go on"));
    }
    tracing::info!(name, "stopping");
    server.stop().await;
    Ok(())
}

/// Starts it. One that is overtaken before it is ready begins anew: a commit of
/// its predecessor may have been on its way, or others declared that one dead
/// just then. Of two processes of one node, each overtaking the other, this ends.
async fn start(config: &Config, recorder: &Recorder) -> anyhow::Result<Server> {
    let rules = settings::rules(config)?;
    for _ in 1..STARTS {
        match Server::start(config, rules.clone(), recorder.clone()).await {
            Err(ServeError::Overtaken(why)) => {
                tracing::warn!(why, "overtaken before it was ready: it begins anew");
            }
            started => return Ok(started?),
        }
    }
    Ok(Server::start(config, rules, recorder.clone()).await?)
}

/// Resolves on Ctrl-C or SIGTERM.
pub async fn stop_signal() {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be awaited; Ctrl-C can");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
