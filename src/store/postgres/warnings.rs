//! Owns what is to be said loudly about the server: settings with which an
//! acknowledged command may be lost. Never changes one.

use super::error::Failure;
use super::pool::Pool;

const SETTINGS: &str = "SELECT current_setting('synchronous_standby_names') <> '',
    EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
    (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'";

/// One sentence for each setting that lets less survive than a cluster expects.
pub async fn durability(pool: &Pool) -> Result<Vec<String>, Failure> {
    pool.with(async |link| {
        let row = link.client.query_one(SETTINGS, &[]).await?;
        let (named, connected, sees): (bool, bool, bool) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let default: String = row.try_get(3)?;
        let (fsync, pages): (bool, bool) = (row.try_get(4)?, row.try_get(5)?);
        let weak = ["off", "local", "remote_write"].contains(&default.as_str());
        let said = [
            (!named, "synchronous_standby_names is empty: what is acknowledged is on one machine only, and lost with its disk".into()),
            (named && sees && !connected, "no synchronous standby is connected: commits wait until one is, and time stands still".into()),
            (named && !sees, "this role may not see pg_stat_replication (grant pg_read_all_stats): whether a synchronous standby is connected is not known".into()),
            (weak, format!("synchronous_commit is {default} on the server; sessions of this node use on")),
            (!fsync, "fsync is off: a power cut loses or damages everything".into()),
            (!pages, "full_page_writes is off: a power cut may damage what is acknowledged".into()),
        ];
        Ok(said.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect())
    })
    .await
}
