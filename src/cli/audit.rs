//! `starmesh audit`: whether the log of what nodes decided is whole and signed, and
//! what it says. Reads a store and writes nothing.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{UsageError, print};
use crate::actors::membership;
use crate::base::{Millis, NodeId};
use crate::cluster::certificates::files::{self, Readers};
use crate::cluster::certificates::{Notary, identity};
use crate::entity::audit::chain::{Chain, KeptHead};
use crate::entity::audit::{Decision, Head, Place};
use crate::store::{Store, audit};

/// Verify or print the log of what the nodes decided.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Whether nothing was removed from the log of any node, changed or added, and
    /// all is signed.
    ///
    /// The exit code is 1 when something was, or is not.
    Verify {
        /// The authorities whose nodes are believed; else ca.pem of the node whose
        /// data it is.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// What an earlier --json printed, kept where nobody could change it.
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        #[command(flatten)]
        options: Options,
    },
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
        What::Verify { ca, heads, options } => verify(&options, ca.as_deref(), heads.as_deref()),
        What::List { node, options } => list(&options, node.map(NodeId)),
    }
}

fn verify(options: &Options, ca: Option<&Path>, heads: Option<&Path>) -> anyhow::Result<()> {
    let kept = heads.map(read_heads).transpose()?.unwrap_or_default();
    let authorities = authorities(options, ca)?;
    let store = open(options)?;
    let notary = Notary::new(audit::certificates(&*store)?, &authorities)?;
    if !notary.has_authorities() {
        eprintln!(
            "no authority to hold certificates against: give --ca FILE; signatures are held \
             against the certificates in the store only, which whoever writes it can replace"
        );
    }
    let chains = audit::verify(&*store, &|signature| notary.judge(signature), &kept)?;
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

/// Those in `ca`, else those that the node believes whose data it is; none where
/// there are none.
fn authorities(
    options: &Options,
    ca: Option<&Path>,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let file = match ca {
        Some(file) => file,
        None if options.store.is_none() => return Ok(membership::authorities(&options.data)?),
        None => return Ok(Vec::new()),
    };
    let text = files::read(file, Readers::Everybody)?;
    identity::certificates_of(&text).with_context(|| file.display().to_string())
}

/// Of a line that `--json` printed, what is compared.
#[derive(Deserialize)]
struct Kept {
    node: u32,
    head: Option<KeptHead>,
}

fn read_heads(file: &Path) -> anyhow::Result<Vec<(NodeId, Head)>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut heads = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || {
            let expected = "expected what `starmesh audit verify --json` printed";
            UsageError(format!("{}, line {}: {expected}", file.display(), n + 1))
        };
        let Kept { node, head } = serde_json::from_str(line).map_err(|_| wrong())?;
        if let Some(head) = head {
            heads.push((NodeId(node), head.head().ok_or_else(wrong)?));
        }
    }
    Ok(heads)
}

fn text(chain: &Chain) -> String {
    let Chain { node, entries, witnessed, signatures, unsigned, problem, .. } = chain;
    let ms = |at: Option<Millis>| at.map_or("-".into(), |at| at.0.to_string());
    let (from, to) = (ms(chain.from), ms(chain.to));
    let found = problem.as_ref().map_or("ok".into(), ToString::to_string);
    let tail = match chain.unsigned_since {
        Some(since) => format!("the last {unsigned} not yet, since ms {}", since.0),
        None => "all of them".into(),
    };
    format!(
        "node {node}: {entries} entries, ms {from} to {to}, signed {signatures} times, {tail}; \
         witnessed {witnessed} times: {found}"
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
