//! `starmesh audit`: whether the log of what nodes decided is whole, and what it
//! says. Reads a store and writes nothing.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::{UsageError, print};
use crate::base::{Millis, NodeId};
use crate::entity::audit::chain::Chain;
use crate::entity::audit::{Decision, Place};
use crate::store::{Store, audit};

/// Verify or print the log of what the nodes decided.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Whether nothing was removed from the log of any node, changed or added.
    ///
    /// The exit code is 1 when something was.
    Verify(Options),
    /// Print the entries, node by node, in order.
    List {
        /// Only those of this node.
        #[arg(long, value_name = "NUMBER")]
        node: Option<u32>,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// A node's data; no node may run on it.
    #[arg(long, value_name = "DIR", conflicts_with = "store", default_value = "data")]
    data: PathBuf,
    /// The postgres:// URL of the store; nodes may run on it.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Print one JSON object per line instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    place: Place,
    time: Millis,
    decision: &'a Decision,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::Verify(options) => verify(&options),
        What::List { node, options } => list(&options, node.map(NodeId)),
    }
}

fn verify(options: &Options) -> anyhow::Result<()> {
    let chains = audit::verify(&*open(options)?)?;
    if chains.is_empty() {
        return Err(UsageError("the store holds no node's log".into()).into());
    }
    for chain in &chains {
        let line = if options.json { json(chain)? } else { text(chain) };
        print(&format!("{line}\n"))?;
    }
    let broken = chains.iter().filter(|chain| chain.problem.is_some()).count();
    if broken > 0 {
        anyhow::bail!("the logs of {broken} of {} nodes are not whole", chains.len());
    }
    Ok(())
}

fn text(chain: &Chain) -> String {
    let Chain { node, entries, witnessed, problem, .. } = chain;
    let ms = |at: Option<Millis>| at.map_or("-".into(), |at| at.0.to_string());
    let (from, to) = (ms(chain.from), ms(chain.to));
    let found = problem.as_ref().map_or("ok".into(), ToString::to_string);
    format!(
        "node {node}: {entries} entries, ms {from} to {to}, witnessed {witnessed} times: {found}"
    )
}

fn list(options: &Options, node: Option<NodeId>) -> anyhow::Result<()> {
    let store = open(options)?;
    audit::list(&*store, |place, entry| -> anyhow::Result<()> {
        if node.is_some_and(|node| node != place.node) {
            return Ok(());
        }
        let entry = entry.with_context(|| place.to_string())?;
        let Place { node, incarnation, number, .. } = place;
        let line = match options.json {
            true => json(&Line { place, time: entry.time, decision: &entry.decision })?,
            false => {
                let at = entry.time.0;
                format!("{at} node {node}/{incarnation} commit {number}: {}", entry.decision)
            }
        };
        print(&format!("{line}\n"))
    })
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string(value).context("writing JSON")
}

fn open(options: &Options) -> anyhow::Result<Box<dyn Store>> {
    let place = match &options.store {
        Some(url) => url.clone(),
        None => options.data.display().to_string(),
    };
    Ok(super::store::existing(&place, "the store")?)
}
