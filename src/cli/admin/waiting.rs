//! Owns the changes that are waited for: until the target runs a migrated
//! sector, until a drained node has nothing. Never waits for ever, and what it
//! did not wait for goes on all the same.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::{print, show, tables};
use crate::base::SectorId;
use crate::client::admin::AdminTarget;
use crate::protocol::http::admin::Region;

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What ran, and runs nowhere after so long, hibernates.
const ASLEEP_AFTER: Duration = Duration::from_secs(2);

pub async fn migrate(
    admin: &AdminTarget,
    json: bool,
    sector: SectorId,
    to: u32,
    within: Option<Duration>,
) -> anyhow::Result<()> {
    let before = running(&admin.sector(sector).await?);
    let began = Instant::now();
    let steered = admin.migrate(sector, to).await?;
    show(json, &steered, tables::steered)?;
    let Some(within) = within else { return Ok(()) };
    let mut gone: Option<Instant> = None;
    loop {
        let now = admin.sector(sector).await?;
        if !is_left(&now, steered.directory) {
            gone = None;
        } else if running(&now) >= before
            || gone.get_or_insert_with(Instant::now).elapsed() >= ASLEEP_AFTER
        {
            let (took, sectors) = (seconds(began), at(&now, to));
            let text = format!("node {to} runs {sectors} sectors of it, after {took} s\n");
            return if json { Ok(()) } else { print(&text) };
        }
        if began.elapsed() > within {
            bail!(
                "the directory gives {sector} to node {to}, and after {} s it is not there yet; it \
                 goes on: `starmesh admin sector {sector}` shows how far",
                seconds(began)
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub async fn drain(
    admin: &AdminTarget,
    json: bool,
    node: u32,
    within: Option<Duration>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let steered = admin.drain(node, true).await?;
    show(json, &steered, tables::steered)?;
    let Some(within) = within else { return Ok(()) };
    let mut last = None;
    loop {
        let nodes = admin.nodes().await?.nodes;
        let Some(found) = nodes.into_iter().find(|it| it.node == node) else { return Ok(()) };
        let left = found.report.map(|report| report.sectors + report.others);
        match left {
            // It is of no use to wait for one that does not live.
            _ if !found.lives => return Ok(()),
            Some(0) => {
                let text =
                    format!("node {node} has nothing any more, after {} s\n", seconds(began));
                return if json { Ok(()) } else { print(&text) };
            }
            Some(left) if !json && last != Some(left) => {
                print(&format!("node {node} has {left} entities\n"))?;
                last = Some(left);
            }
            _ => {}
        }
        if began.elapsed() > within {
            bail!(
                "node {node} is being left, and has something still after {} s; it goes on: \
                 `starmesh admin nodes` shows how far",
                seconds(began)
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Begins a verification of the audit log, waits for it and says what it found.
pub async fn audit(admin: &AdminTarget, json: bool, within: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut audit = admin.audit().await?;
    while audit.state == "running" {
        if began.elapsed() > within {
            bail!(
                "{} entries and signatures were read after {} s, and nothing is wrong so far as is \
                 known; it goes on: ask again",
                audit.read,
                seconds(began)
            );
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        audit = admin.audited().await?;
    }
    if let Some(why) = &audit.why {
        bail!("the audit log was not verified: {why}");
    }
    show(json, &audit, tables::audit)?;
    let broken = audit.logs.iter().filter(|log| log.problem.is_some()).count();
    if broken > 0 {
        bail!("the logs of {broken} of {} nodes are not whole", audit.logs.len());
    }
    Ok(())
}

/// Whether every node knows the directory, and none has what is another's.
fn is_left(region: &Region, directory: u64) -> bool {
    let settled = region.running.iter().all(|it| it.directory >= directory && it.leaving == 0);
    settled && region.silent.is_empty()
}

fn running(region: &Region) -> u64 {
    region.running.iter().map(|it| it.sectors).sum()
}

fn at(region: &Region, node: u32) -> u64 {
    region.running.iter().filter(|it| it.node == node).map(|it| it.sectors).sum()
}

fn seconds(since: Instant) -> String {
    format!("{:.1}", since.elapsed().as_secs_f64())
}
