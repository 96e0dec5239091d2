//! Owns the names of the store's keys. Never reads or writes them. A stored
//! format: a name that was ever written keeps its meaning.

use super::audit::Place;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId};

/// Accounts, their names and e-mails: `changes` follows them.
pub const ACCOUNT: &[u8] = b"account/";
/// What there is once of a galaxy.
pub const GALAXY: &[u8] = b"galaxy/";
/// The [`World`](super::World), which only a galaxy's first start writes: extent,
/// seed, shards, and the rules of that start.
pub const WORLD: &[u8] = b"galaxy/world";
/// The hash of the rules that came last, put together with them: of two sets that
/// come at once the second is judged with the first in view.
pub const RULES_LAST: &[u8] = b"galaxy/rules-last";
/// All [`rules`] keys.
pub const RULES: &[u8] = b"rules/";
/// All node rows.
pub const ROW: &[u8] = b"row/";
/// All [`roles`] keys.
pub const ROLES: &[u8] = b"roles/";
/// All snapshot chunks.
pub const SNAPSHOT: &[u8] = b"snapshot/";
/// All snapshot heads.
pub const HEAD: &[u8] = b"head/";
/// All [`ended_incarnation`] keys.
pub const ENDED: &[u8] = b"node/";
/// All timers of hibernating entities.
pub const DUE: &[u8] = b"due/";
/// All [`summary`] keys.
pub const SUMMARY: &[u8] = b"summary/";
/// The keys that sign access tokens, encrypted with the cluster secret.
pub const SIGNING: &[u8] = b"signing/keys";
/// There while `starmesh store copy` writes this store: no node runs on it.
pub const COPYING: &[u8] = b"copying";
/// The first id no block holds yet, big endian; without it, 1.
pub const NEXT_ID: &[u8] = b"ids/next";

/// All [`member`] keys.
pub const MEMBER: &[u8] = b"member/";
/// All [`join_token`] keys.
pub const JOIN_TOKEN: &[u8] = b"join/";
/// The last declarations of death: of each the node, a big-endian u32, and its
/// time in ms, a big-endian u64.
pub const DEATHS: &[u8] = b"deaths";
/// The cluster's [format version](super::format), a big-endian u16.
pub const FORMAT: &[u8] = b"format";
/// The highest number that a node was ever given, a big-endian u32.
pub const LAST_NODE: &[u8] = b"ids/last-node";

/// All of the cluster's directory, its version last.
pub const DIRECTORY: &[u8] = b"directory/";
/// The directory's version, a big-endian u64: every change checks and puts it.
pub const DIRECTORY_VERSION: &[u8] = b"directory/version";

/// All [`audit_entry`] keys.
pub const AUDIT: &[u8] = b"audit/";
/// All [`audit_signature`] keys.
pub const AUDIT_SIGNATURE: &[u8] = b"audit-signature/";
/// All [`certificate`] keys.
pub const CERTIFICATE: &[u8] = b"certificate/";
/// All [`parked`] keys.
pub const PARKED: &[u8] = b"parked/";
/// All [`attempt`] keys.
pub const ATTEMPT: &[u8] = b"attempt/";
/// All [`account_name`] keys.
pub const ACCOUNT_NAME: &[u8] = b"account/name/";

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The account of `player`.
pub fn account(player: PlayerId) -> Vec<u8> {
    join(&[b"account/id/", &player.0.to_be_bytes()])
}

/// The player that a key of [`account`] names, `None` for other keys.
pub fn account_player(key: &[u8]) -> Option<PlayerId> {
    let id = key.strip_prefix(b"account/id/")?.try_into().ok()?;
    Some(PlayerId(u64::from_be_bytes(id)))
}

/// The player id, big endian, of the account with this name in lower case.
pub fn account_name(name: &str) -> Vec<u8> {
    join(&[ACCOUNT_NAME, name.as_bytes()])
}

/// The player id, big endian, of the account with this e-mail in lower case.
pub fn account_email(email: &str) -> Vec<u8> {
    join(&[b"account/email/", email.as_bytes()])
}

/// All refresh families of `player`. Not under [`ACCOUNT`]: nobody follows
/// them.
pub fn refresh_of(player: PlayerId) -> Vec<u8> {
    join(&[b"refresh/", &player.0.to_be_bytes()])
}

/// A log-in and the refresh tokens that grew from it.
pub fn refresh(player: PlayerId, family: [u8; 16]) -> Vec<u8> {
    join(&[&refresh_of(player), &family])
}

/// The rules with this hash, as [`world::rules_row`](super::world::rules_row)
/// writes them: once, before the first record that names them, and never again.
pub fn rules(hash: u64) -> Vec<u8> {
    join(&[RULES, &hash.to_be_bytes()])
}

/// The node's [`NodeRow`](super::commit::NodeRow).
pub fn row(node: NodeId) -> Vec<u8> {
    join(&[ROW, &node.0.to_be_bytes()])
}

/// The [format versions](super::format::Formats) that `node` reads.
pub fn reads(node: NodeId) -> Vec<u8> {
    join(&[b"reads/", &node.0.to_be_bytes()])
}

/// What `node` may do: its [roles](crate::cluster::core::roles).
pub fn roles(node: NodeId) -> Vec<u8> {
    join(&[ROLES, &node.0.to_be_bytes()])
}

/// The node that a key of [`roles`] names.
pub fn parse_roles(key: &[u8]) -> Option<NodeId> {
    let id = key.strip_prefix(ROLES)?.try_into().ok()?;
    Some(NodeId(u32::from_be_bytes(id)))
}

/// The prefix of all [`ended_incarnation`] keys of `node`.
pub fn ended_of(node: NodeId) -> Vec<u8> {
    join(&[ENDED, &node.0.to_be_bytes()])
}

/// The last tick of an incarnation that ended, as big-endian u64; kept until
/// no open claim names it.
pub fn ended_incarnation(node: NodeId, incarnation: Incarnation) -> Vec<u8> {
    join(&[ENDED, &node.0.to_be_bytes(), &incarnation.0.to_be_bytes()])
}

/// Says that `node` has, or had, an open claim on `entity`.
pub fn owned(node: NodeId, entity: EntityKey) -> Vec<u8> {
    join(&[&owned_by(node), &entity.to_bytes()])
}

/// The prefix of all [`owned`] keys of `node`.
pub fn owned_by(node: NodeId) -> Vec<u8> {
    join(&[b"owned/", &node.0.to_be_bytes()])
}

/// Says that hibernating `entity` has a timer due at `at`.
pub fn due(at: Millis, entity: EntityKey) -> Vec<u8> {
    join(&[DUE, &at.0.to_be_bytes(), &entity.to_bytes()])
}

/// What hibernating `entity` counts for in what is rolled up: a
/// [`Summary`](super::summary::Summary).
pub fn summary(entity: EntityKey) -> Vec<u8> {
    join(&[SUMMARY, &entity.to_bytes()])
}

/// Says that `entity` is kept but not run, and why: a [`Parked`](super::parked::Parked).
pub fn parked(entity: EntityKey) -> Vec<u8> {
    join(&[PARKED, &entity.to_bytes()])
}

/// Says that this process ended of itself while it ran `entity`: an
/// [`Attempt`](super::attempt::Attempt).
pub fn attempt(entity: EntityKey, node: NodeId, incarnation: Incarnation) -> Vec<u8> {
    let (node, incarnation) = (node.0.to_be_bytes(), incarnation.0.to_be_bytes());
    join(&[ATTEMPT, &entity.to_bytes(), &node, &incarnation])
}

/// The snapshot an entity is restored from: the big-endian u64 sequence of the
/// last record in it, then an enveloped
/// `SnapshotHead`. Putting it trims the entity's journal up to that sequence
/// and removes the chunks of all snapshots before it. Deleting it makes the
/// store forget the entity: journal, chunks and sequence.
pub fn head(entity: EntityKey) -> Vec<u8> {
    join(&[HEAD, &entity.to_bytes()])
}

/// The prefix of the chunks of `entity`'s snapshot at `sequence`.
pub fn snapshot(entity: EntityKey, sequence: u64) -> Vec<u8> {
    join(&[SNAPSHOT, &entity.to_bytes(), &sequence.to_be_bytes()])
}

/// Chunk `index` of a snapshot, at most
/// [`VALUE_BYTES_MAX`](super::commit::VALUE_BYTES_MAX) bytes.
pub fn chunk(entity: EntityKey, sequence: u64, index: u32) -> Vec<u8> {
    join(&[&snapshot(entity, sequence), &index.to_be_bytes()])
}

/// The node that `entity` belongs to, with all in it when it is a sector.
pub fn directory_entry(entity: EntityKey) -> Vec<u8> {
    join(&[b"directory/entry/", &entity.to_bytes()])
}

/// The nodes that share the entities of the kind with this byte.
pub fn directory_kind(kind: u8) -> Vec<u8> {
    join(&[b"directory/kind/", &[kind]])
}

/// Says that this node is to be left: nothing is given to it.
pub fn directory_draining(node: NodeId) -> Vec<u8> {
    join(&[b"directory/draining/", &node.0.to_be_bytes()])
}

/// The node that a key of [`directory_draining`] names.
pub fn parse_directory_draining(key: &[u8]) -> Option<NodeId> {
    let id = key.strip_prefix(b"directory/draining/")?.try_into().ok()?;
    Some(NodeId(u32::from_be_bytes(id)))
}

/// The [`MemberRow`](super::member::MemberRow) of `node`.
pub fn member(node: NodeId) -> Vec<u8> {
    join(&[MEMBER, &node.0.to_be_bytes()])
}

/// The node, a big-endian u32, that has this name.
pub fn member_name(name: &str) -> Vec<u8> {
    join(&[b"member-name/", name.as_bytes()])
}

/// The [`TokenRow`](super::member::TokenRow) of the token whose secret has this
/// digest.
pub fn join_token(digest: &[u8; 32]) -> Vec<u8> {
    join(&[JOIN_TOKEN, digest])
}

/// The prefix of all audit entries in a commit.
pub fn audit_of(node: NodeId, incarnation: Incarnation, number: u64) -> Vec<u8> {
    let (node, incarnation) = (node.0.to_be_bytes(), incarnation.0.to_be_bytes());
    join(&[AUDIT, &node, &incarnation, &number.to_be_bytes()])
}

/// An [audit entry](super::audit::Entry). In the order of these keys a node's
/// entries are in the order in which they came to be.
pub fn audit_entry(place: Place) -> Vec<u8> {
    let commit = audit_of(place.node, place.incarnation, place.number);
    join(&[&commit, &place.index.to_be_bytes()])
}

/// A [`Signature`](super::audit::Signature) over a head of `node`'s log, by the
/// key of node `by`. In the order of these keys a node's signatures are in the
/// order of what they are over.
pub fn audit_signature(node: NodeId, head: (Incarnation, u64), by: NodeId) -> Vec<u8> {
    let (incarnation, number) = (head.0.0.to_be_bytes(), head.1.to_be_bytes());
    join(&[AUDIT_SIGNATURE, &node.0.to_be_bytes(), &incarnation, &number, &by.0.to_be_bytes()])
}

/// The [`CertificateRow`](super::member::CertificateRow) of a certificate that
/// `node` has or had; by the SHA-256 of the node's own.
pub fn certificate(node: NodeId, fingerprint: &[u8; 32]) -> Vec<u8> {
    join(&[CERTIFICATE, &node.0.to_be_bytes(), fingerprint])
}

/// The node whose [`row`] this key names.
pub fn parse_row(key: &[u8]) -> Option<NodeId> {
    let id = key.strip_prefix(ROW)?.try_into().ok()?;
    Some(NodeId(u32::from_be_bytes(id)))
}

/// The node whose [`member`] row this key names.
pub fn parse_member(key: &[u8]) -> Option<NodeId> {
    let id = key.strip_prefix(MEMBER)?.try_into().ok()?;
    Some(NodeId(u32::from_be_bytes(id)))
}

/// The digest of the secret of the token whose [`join_token`] this key names.
pub fn parse_join_token(key: &[u8]) -> Option<[u8; 32]> {
    key.strip_prefix(JOIN_TOKEN)?.try_into().ok()
}

/// The entry whose [`audit_entry`] this key names.
pub fn parse_audit(key: &[u8]) -> Option<Place> {
    let (node, rest) = key.strip_prefix(AUDIT)?.split_first_chunk::<4>()?;
    let (incarnation, rest) = rest.split_first_chunk::<8>()?;
    let (number, index) = rest.split_first_chunk::<8>()?;
    Some(Place {
        node: NodeId(u32::from_be_bytes(*node)),
        incarnation: Incarnation(u64::from_be_bytes(*incarnation)),
        number: u64::from_be_bytes(*number),
        index: u32::from_be_bytes(index.try_into().ok()?),
    })
}

/// Node, commit and signer of the [`audit_signature`] this key names.
pub fn parse_audit_signature(key: &[u8]) -> Option<(NodeId, (Incarnation, u64), NodeId)> {
    let (node, rest) = key.strip_prefix(AUDIT_SIGNATURE)?.split_first_chunk::<4>()?;
    let (incarnation, rest) = rest.split_first_chunk::<8>()?;
    let (number, by) = rest.split_first_chunk::<8>()?;
    let head = (Incarnation(u64::from_be_bytes(*incarnation)), u64::from_be_bytes(*number));
    let by = NodeId(u32::from_be_bytes(by.try_into().ok()?));
    Some((NodeId(u32::from_be_bytes(*node)), head, by))
}

/// Node and fingerprint of the [`certificate`] this key names.
pub fn parse_certificate(key: &[u8]) -> Option<(NodeId, [u8; 32])> {
    let (node, fingerprint) = key.strip_prefix(CERTIFICATE)?.split_first_chunk::<4>()?;
    Some((NodeId(u32::from_be_bytes(*node)), fingerprint.try_into().ok()?))
}

/// The incarnation whose end this key names.
pub fn parse_ended_incarnation(key: &[u8]) -> Option<(NodeId, Incarnation)> {
    let (node, incarnation) = key.strip_prefix(ENDED)?.split_first_chunk::<4>()?;
    let incarnation = u64::from_be_bytes(incarnation.try_into().ok()?);
    Some((NodeId(u32::from_be_bytes(*node)), Incarnation(incarnation)))
}

/// When the entity whose timer this key of [`due`] names is due, by the
/// entity's time.
pub fn parse_due(key: &[u8]) -> Option<(Millis, EntityKey)> {
    let (at, entity) = key.strip_prefix(DUE)?.split_first_chunk::<8>()?;
    Some((Millis(u64::from_be_bytes(*at)), EntityKey::from_bytes(entity).ok()?))
}

/// The hash of the rules that this key of [`rules`] names.
pub fn parse_rules(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.strip_prefix(RULES)?.try_into().ok()?))
}

/// The entity whose [`summary`] this key names.
pub fn parse_summary(key: &[u8]) -> Option<EntityKey> {
    EntityKey::from_bytes(key.strip_prefix(SUMMARY)?).ok()
}

/// The entity that this key of [`parked`] names.
pub fn parse_parked(key: &[u8]) -> Option<EntityKey> {
    EntityKey::from_bytes(key.strip_prefix(PARKED)?).ok()
}

/// Entity and process that this key of [`attempt`] names.
pub fn parse_attempt(key: &[u8]) -> Option<(EntityKey, NodeId, Incarnation)> {
    let (rest, incarnation) = key.strip_prefix(ATTEMPT)?.split_last_chunk::<8>()?;
    let (entity, node) = rest.split_last_chunk::<4>()?;
    let entity = EntityKey::from_bytes(entity).ok()?;
    let incarnation = Incarnation(u64::from_be_bytes(*incarnation));
    Some((entity, NodeId(u32::from_be_bytes(*node)), incarnation))
}

/// The entity whose [`head`] this key names.
pub fn parse_head(key: &[u8]) -> Option<EntityKey> {
    EntityKey::from_bytes(key.strip_prefix(HEAD)?).ok()
}

/// Entity, sequence and index of the [`chunk`] this key names.
pub fn parse_chunk(key: &[u8]) -> Option<(EntityKey, u64, u32)> {
    let rest = key.strip_prefix(SNAPSHOT)?;
    let (rest, index) = rest.split_last_chunk::<4>()?;
    let (entity, sequence) = rest.split_last_chunk::<8>()?;
    let entity = EntityKey::from_bytes(entity).ok()?;
    Some((entity, u64::from_be_bytes(*sequence), u32::from_be_bytes(*index)))
}

/// The entity whose [`directory_entry`] this key names.
pub fn parse_directory_entry(key: &[u8]) -> Option<EntityKey> {
    EntityKey::from_bytes(key.strip_prefix(b"directory/entry/")?).ok()
}

/// The byte of the kind whose [`directory_kind`] this key names.
pub fn parse_directory_kind(key: &[u8]) -> Option<u8> {
    match key.strip_prefix(b"directory/kind/")? {
        [kind] => Some(*kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SectorId;

    #[test]
    fn parses_back_the_names_it_gives() {
        let battle = EntityKey::Battle { host: SectorId::tactical(-3, 9), n: 7 };
        for entity in [EntityKey::Ledger(5), EntityKey::Sector(SectorId::tactical(1, 2)), battle] {
            assert_eq!(parse_head(&head(entity)), Some(entity));
            assert_eq!(parse_chunk(&chunk(entity, 1 << 40, 3)), Some((entity, 1 << 40, 3)));
            assert_eq!(parse_due(&due(Millis(1 << 41), entity)), Some((Millis(1 << 41), entity)));
            assert_eq!(parse_summary(&summary(entity)), Some(entity));
            assert_eq!(parse_parked(&parked(entity)), Some(entity));
            let ended = (entity, NodeId(9), Incarnation(1 << 40));
            assert_eq!(parse_attempt(&attempt(ended.0, ended.1, ended.2)), Some(ended));
            assert_eq!(parse_directory_entry(&directory_entry(entity)), Some(entity));
        }
        assert_eq!(parse_rules(&rules(1 << 63)), Some(1 << 63));
        assert_eq!(parse_row(&row(NodeId(9))), Some(NodeId(9)));
        assert_eq!(parse_member(&member(NodeId(9))), Some(NodeId(9)));
        assert_eq!(parse_directory_kind(&directory_kind(5)), Some(5));
        assert_eq!(parse_join_token(&join_token(&[7; 32])), Some([7; 32]));
        let place =
            Place { node: NodeId(9), incarnation: Incarnation(3), number: 1 << 40, index: 2 };
        assert_eq!(parse_audit(&audit_entry(place)), Some(place));
        let signed = (NodeId(9), (Incarnation(3), 1 << 40), NodeId(4));
        let key = audit_signature(signed.0, signed.1, signed.2);
        assert_eq!(parse_audit_signature(&key), Some(signed));
        assert_eq!(parse_audit(&key), None);
        let key = certificate(NodeId(9), &[7; 32]);
        assert_eq!(parse_certificate(&key), Some((NodeId(9), [7; 32])));
        let ended = (NodeId(9), Incarnation(1 << 40));
        assert_eq!(parse_ended_incarnation(&ended_incarnation(ended.0, ended.1)), Some(ended));
    }

    #[test]
    fn parses_no_other_key() {
        assert_eq!(parse_rules(b"rules/123"), None);
        assert_eq!(parse_row(b"row/123"), None);
        assert_eq!(parse_member(&member_name("four")), None);
        assert_eq!(parse_ended_incarnation(b"node/1234"), None);
        assert_eq!(parse_audit(&audit_of(NodeId(9), Incarnation(1), 2)), None);
        assert_eq!(parse_join_token(b"join/12"), None);
        assert_eq!(parse_head(b"head/"), None);
        assert_eq!(parse_due(b"due/12345678"), None);
        assert_eq!(parse_summary(b"summary/"), None);
        assert_eq!(parse_parked(b"parked/"), None);
        assert_eq!(parse_directory_entry(DIRECTORY_VERSION), None);
        assert_eq!(parse_directory_kind(b"directory/kind/"), None);
        assert_eq!(parse_chunk(b"snapshot/short"), None);
        assert_eq!(parse_chunk(&head(EntityKey::Ledger(5))), None);
    }
}
