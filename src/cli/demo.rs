//! `starmesh demo`: one node and its scripted players in one process.

/// Run a node with 20 scripted players until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build has no demo yet")
}
