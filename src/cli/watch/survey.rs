//! Owns finding out how large a server's galaxy is, by its maps alone.

use std::time::Duration;

use anyhow::Context;

use super::camera::{Extent, SCALE_MAX};
use crate::base::SectorId;
use crate::client::{CallError, Target};
use crate::protocol::http::Map;

/// A server that limits is asked again so often.
const ATTEMPTS: u32 = 5;

/// Asks for the map of the root, and from there on for that of the last child.
///
/// # Errors
/// When the server does not answer, or has no galaxy that can be shown.
pub async fn extent(target: &Target) -> anyhow::Result<Extent> {
    let mut root = None;
    for scale in (0..=SCALE_MAX).rev() {
        root = map(target, SectorId { x: 0, y: 0, scale }).await?;
        if root.is_some() {
            break;
        }
    }
    let mut map_now = root.context("the server has no galaxy of scale 0 to 14")?;
    let scale = map_now.sector.scale;
    anyhow::ensure!(map_now.parent.is_none(), "the galaxy is larger than scale {SCALE_MAX}");
    while let Some(last) = last_child(&map_now) {
        map_now = map(target, last).await?.with_context(|| format!("{last} has no map"))?;
    }
    let last = map_now.sector;
    anyhow::ensure!(last.scale == 0 && last.x == last.y, "the galaxy ends at {}", last.x);
    Ok(Extent { side: last.x + 1, scale })
}

fn last_child(map: &Map) -> Option<SectorId> {
    map.children.iter().map(|child| SectorId::from(*child)).max_by_key(|child| (child.x, child.y))
}

/// A sector's map; `None` where the galaxy has none.
async fn map(target: &Target, sector: SectorId) -> anyhow::Result<Option<Map>> {
    for _ in 1..ATTEMPTS {
        match target.map(sector, 1).await {
            Err(CallError::Limited { after_seconds }) => {
                tokio::time::sleep(Duration::from_secs(after_seconds)).await;
            }
            Err(CallError::Refused(problem)) if problem.status == 404 => return Ok(None),
            answer => return answer.map(Some).with_context(|| asking(target)),
        }
    }
    let last = target.map(sector, 1).await;
    last.map(Some).with_context(|| asking(target))
}

fn asking(target: &Target) -> String {
    format!("asking {target} for its map, where a node was expected")
}
