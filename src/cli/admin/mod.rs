//! `starmesh admin`: looks at a cluster and steers it, over the admin calls of
//! any of its nodes. Never changes anything itself.

mod tables;
mod waiting;

use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;

use super::{UsageError, print};
use crate::base::SectorId;
use crate::client::Target;
use crate::client::admin::AdminTarget;
use crate::protocol::http::admin::Balance;
use crate::protocol::http::{Login, Secret};

/// Look at a cluster and steer it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Any node of the cluster.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7400", global = true)]
    url: String,
    /// An access token of an account that `players.admins` names; else
    /// STARMESH_TOKEN.
    #[arg(long, value_name = "TOKEN", global = true)]
    token: Option<String>,
    /// Log in as this account, with the password in STARMESH_PASSWORD.
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "token")]
    user: Option<String>,
    /// Print JSON, as the node answered it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All nodes: who lives, what they run, how busy they are.
    Nodes,
    /// The sectors that have most to do.
    Sectors {
        /// Only those that are observed, have a thread for themselves, or take a
        /// tenth of one.
        #[arg(long)]
        hot: bool,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 40,
              value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// One sector of any scale: whose it is, what runs of it where.
    Sector { sector: SectorId },
    /// Whose an entity is: sector:X,Y,SCALE, ledger:N, board:N.
    Entity { entity: String },
    /// What nobody runs because it breaks whoever does, and why.
    Parked,
    /// Have a parked entity run again: sector:X,Y,SCALE, ledger:N, board:N.
    Resume { entity: String },
    /// Give a sector, and what is in it, to a node.
    Migrate {
        sector: SectorId,
        #[arg(long, value_name = "NODE")]
        to: u32,
        #[command(flatten)]
        wait: Wait,
    },
    /// Have all that a node has go to others.
    Drain {
        node: u32,
        #[command(flatten)]
        wait: Wait,
    },
    /// Let a node have something again.
    Undrain { node: u32 },
    /// Give the four parts of a sector entries of their own.
    Split { sector: SectorId },
    /// Remove the entries inside of a sector.
    Merge {
        sector: SectorId,
        /// Also where that gives parts to another node.
        #[arg(long = "move")]
        may_move: bool,
    },
    /// Have the node verify the audit log of all nodes. The exit code is 1 when
    /// one is not whole.
    Audit {
        /// Seconds to wait at most.
        #[arg(long, value_name = "S", default_value_t = 600)]
        within: u64,
    },
    /// Say one line to everybody who is connected, at all gateways.
    Announce { text: String },
    /// Have a strategy say what should move, and move it.
    Balance {
        #[arg(long, value_name = "S", value_parser = ["PlayerCount", "ActivityLevel", "ResourceUsage", "Geographic"])]
        strategy: String,
        /// Only say it.
        #[arg(long)]
        dry_run: bool,
    },
}

/// How long to wait for what moves.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Wait {
    /// Do not wait for what moves.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait at most.
    #[arg(long, value_name = "S", default_value_t = 60, conflicts_with = "no_wait")]
    within: u64,
}

impl Wait {
    fn within(self) -> Option<Duration> {
        (!self.no_wait).then(|| Duration::from_secs(self.within))
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(steer(args))
}

async fn steer(args: Args) -> anyhow::Result<()> {
    let target: Target = args.url.parse().map_err(|e| UsageError(format!("--url: {e}")))?;
    let token = token(&args, &target).await?;
    let admin = AdminTarget::new(target, token);
    let json = args.json;
    match args.what {
        What::Nodes => show(json, &admin.nodes().await?, tables::nodes),
        What::Sectors { hot, limit } => {
            let mut sectors = admin.sectors(limit).await?;
            if hot {
                sectors.sectors.retain(tables::is_hot);
            }
            show(json, &sectors, tables::sectors)
        }
        What::Sector { sector } => show(json, &admin.sector(sector).await?, tables::region),
        What::Entity { entity } => show(json, &admin.entity(&entity).await?, tables::entity),
        What::Parked => show(json, &admin.parked().await?, tables::parked),
        What::Resume { entity } => show(json, &admin.resume(&entity).await?, tables::resumed),
        What::Migrate { sector, to, wait } => {
            waiting::migrate(&admin, json, sector, to, wait.within()).await
        }
        What::Drain { node, wait } => waiting::drain(&admin, json, node, wait.within()).await,
        What::Undrain { node } => show(json, &admin.drain(node, false).await?, tables::steered),
        What::Split { sector } => show(json, &admin.split(sector).await?, tables::steered),
        What::Merge { sector, may_move } => {
            show(json, &admin.merge(sector, may_move).await?, tables::steered)
        }
        What::Audit { within } => waiting::audit(&admin, json, Duration::from_secs(within)).await,
        What::Announce { text } => {
            let said = admin.announce(text).await?;
            show(json, &said, tables::announced)?;
            let silent = "a node did not answer: whether it was said there is not known";
            anyhow::ensure!(said.silent.is_empty(), silent);
            Ok(())
        }
        What::Balance { strategy, dry_run } => {
            let plan = admin.balance(Balance { strategy, dry_run }).await?;
            show(json, &plan, tables::plan)
        }
    }
}

async fn token(args: &Args, target: &Target) -> anyhow::Result<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(name) = &args.user {
        let missing = || UsageError("--user needs the password in STARMESH_PASSWORD".into());
        let password = variable("STARMESH_PASSWORD").ok_or_else(missing)?;
        let login = Login { name: name.clone(), password: Secret(password) };
        let tokens = target.log_in(login).await.with_context(|| format!("logging in as {name}"))?;
        return Ok(tokens.access_token.0);
    }
    let missing = "an access token is missing: --token TOKEN, STARMESH_TOKEN, or --user NAME";
    let token = args.token.clone().or_else(|| variable("STARMESH_TOKEN"));
    Ok(token.ok_or_else(|| UsageError(missing.into()))?)
}

/// Prints an answer for scripts, or for people.
fn show<A: Serialize>(json: bool, answer: &A, table: impl Fn(&A) -> String) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(answer)? + "\n" } else { table(answer) };
    print(&text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Cli::try_parse_from(std::iter::once("admin").chain(line.split(' '))).map(|cli| cli.args)
    }

    #[test]
    fn reads_every_form_of_its_call() {
        for line in [
            "nodes",
            "sectors --hot",
            "sectors --limit 500 --json",
            "sector 5,6,0",
            "entity ledger:3",
            "parked --json",
            "resume sector:5,6,0",
            "migrate 5,6,0 --to 2",
            "migrate 5,6,3 --to 2 --no-wait",
            "drain 2 --within 5",
            "undrain 2",
            "split 1,1,2",
            "merge 1,1,2 --move",
            "balance --strategy Geographic --dry-run",
            "audit --within 5 --json",
            "announce Hello",
            "nodes --url http://a:1 --token t",
            "--user ada nodes",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
        for line in [
            "",
            "node",
            "sector 5",
            "resume",
            "migrate 5,6,0",
            "drain",
            "drain x",
            "sectors --limit 0",
            "announce",
            "balance",
            "balance --strategy Fair",
            "nodes --token t --user u",
            "drain 2 --no-wait --within 5",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
