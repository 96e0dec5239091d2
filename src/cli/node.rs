//! `starmesh node`: one node of the mesh, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Run a node until Ctrl-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Settings; what it leaves out has the defaults of config/starmesh.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where journal, store and keys are kept.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where HTTP and WebSocket listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// The node's name in logs and in its row.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build has no node yet")
}
