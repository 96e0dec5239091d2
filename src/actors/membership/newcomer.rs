//! Owns how a node joins: it makes its key, asks with the line, and keeps what
//! it is granted. Invariant: the key is on disk before it asks and the
//! certificate is written last, so that whatever cuts it off, it asks again with
//! the same line and gets the same.

use std::net::SocketAddr;

use super::remembered::MembersFile;
use super::{FOLDER, MembershipError, address, certificate};
use crate::cluster::certificates::authority::KEY_FILE as AUTHORITY_KEY_FILE;
use crate::cluster::certificates::identity::NodeKey;
use crate::cluster::certificates::{Identity, JoinLine};
use crate::cluster::links::Limits;
use crate::cluster::links::join::{Newcomer, join as ask};
use crate::cluster::secret::{self, SecretError};
use crate::config::{Config, StoreUrl};
use crate::store::sled;

/// Asks to be let in, and keeps what it is granted.
pub async fn join(
    config: &Config,
    line: &JoinLine,
    (memory, listen): (&MembersFile, SocketAddr),
    limits: &Limits,
) -> Result<Identity, MembershipError> {
    check_empty(config, memory)?;
    let data = &config.node.data;
    let folder = data.join(FOLDER);
    let wrong = |source| certificate(&folder, source);
    let key = NodeKey::open(&folder).map_err(wrong)?;
    let advertise = &config.cluster.advertise;
    let newcomer = Newcomer {
        key: &key,
        name: config.node.name.name().clone(),
        address: address::advertised(advertise, listen, Some(&line.address)).await,
        formats: config.cluster.formats(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        has_store_url: matches!(config.store.url, StoreUrl::Postgres(_)),
    };
    let grant = ask(line, newcomer, limits).await?;
    let identity = grant.identity(&key).map_err(wrong)?;
    // Before the secret: where that is alone, it is not of a join.
    memory.write(Some(grant.store), grant.members)?;
    secret::adopt(data, &grant.cluster_secret)?;
    identity.save(&folder).map_err(wrong)?;
    tracing::info!(subject = %identity.subject(), "joined the cluster");
    Ok(identity)
}

/// Nothing is left behind in the folder of one who joins.
fn check_empty(config: &Config, memory: &MembersFile) -> Result<(), MembershipError> {
    let data = &config.node.data;
    let folder = data.join(FOLDER);
    if data.join(sled::FOLDER).exists() {
        return Err(MembershipError::OwnGalaxy { data: data.clone() });
    }
    if folder.join(AUTHORITY_KEY_FILE).exists() {
        return Err(MembershipError::OwnAuthority { folder });
    }
    let path = data.join(secret::FILE_NAME);
    if path.exists() && !memory.is_there() {
        return Err(SecretError::Other { path }.into());
    }
    Ok(())
}
