//! `starmesh replay`: rebuilds an entity from its journal and verifies it.

use std::path::PathBuf;

/// Rebuild an entity from its journal and verify the journalled hashes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, clap::Subcommand)]
pub enum What {
    Sector(SectorArgs),
}

/// Rebuild a sector, print what happened in it and verify its hashes.
#[derive(Debug, clap::Args)]
pub struct SectorArgs {
    /// The sector, as logs and errors print it.
    pub sector: String,
    /// Stop after this tick of the sector.
    #[arg(long, value_name = "TICK")]
    pub to: Option<u64>,
    /// The node's data.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build cannot replay yet")
}
