//! `starmesh swarm`: many real clients that check what they are told.

/// Put clients on a node and check every answer.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build has no swarm yet")
}
