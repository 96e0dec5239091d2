//! `starmesh store`: what is done to a store while no node runs on it.

use std::path::Path;

use anyhow::Context;

use super::{UsageError, print};
use crate::config::StoreUrl;
use crate::store::copy::{Source, copy};
use crate::store::sled::{self, Options, Sled};

/// Work on the store of a stopped galaxy.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copy a galaxy into an empty store, of the same engine or another.
    ///
    /// A store is a node's data folder, or the postgres:// URL of a database.
    /// All nodes must be stopped. Accounts stay with the cluster secret: keep
    /// that file of the data folder with the nodes that run on the copy.
    Copy { from: String, to: String },
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let What::Copy { from, to } = args.what;
    check(&to, "TO")?;
    let source = existing(&from, "FROM")?;
    let target = open(&to).context("opening the target")?;
    let copied = copy(&*source, &*target)?;
    print(&format!(
        "copied {} entities ({} snapshot chunks, {} records), {} keys, {} nodes\n",
        copied.entities, copied.chunks, copied.records, copied.keys, copied.nodes
    ))
}

/// The store at `place`, which is there; `which` it is, for errors.
pub(super) fn existing(place: &str, which: &str) -> anyhow::Result<Box<dyn Source>> {
    check(place, which)?;
    if !is_url(place) && !Path::new(place).join(sled::FOLDER).is_dir() {
        return Err(UsageError(format!("{place} is no node's data folder")).into());
    }
    open(place).with_context(|| format!("opening {which}"))
}

fn check(place: &str, which: &str) -> Result<(), UsageError> {
    if !place.contains("://") || is_url(place) {
        return Ok(());
    }
    // Not repeated: it may hold a password.
    let expected = "expected a folder or postgres://USER@HOST/DATABASE";
    Err(UsageError(format!("{which} is a URL of another kind: {expected}")))
}

fn is_url(place: &str) -> bool {
    matches!(place.parse(), Ok(StoreUrl::Postgres(_)))
}

fn open(place: &str) -> anyhow::Result<Box<dyn Source>> {
    if is_url(place) {
        return open_postgres(place);
    }
    let folder = Path::new(place);
    std::fs::create_dir_all(folder).with_context(|| format!("making {place}"))?;
    Ok(Box::new(Sled::open(&folder.join(sled::FOLDER), Options::default())?))
}

#[cfg(feature = "postgres")]
fn open_postgres(url: &str) -> anyhow::Result<Box<dyn Source>> {
    use crate::store::postgres::{Options, Postgres};
    Ok(Box::new(Postgres::open(url, Options::default())?))
}

#[cfg(not(feature = "postgres"))]
fn open_postgres(_: &str) -> anyhow::Result<Box<dyn Source>> {
    Err(UsageError("this build was made without PostgreSQL".into()).into())
}
