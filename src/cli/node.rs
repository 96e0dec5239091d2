//! `starmesh node`: one node of the mesh, until it is told to stop.

use std::path::PathBuf;

use super::settings;
use crate::config::{Config, Override};

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
    anyhow::bail!("{}: this build has no node yet", config.node.name.as_str())
}
