//! Owns the golden bytes of what has no journal: keys of entities, keys of the
//! store, envelopes of every kind, rows. Lines are only added.

use std::collections::BTreeMap;

use super::Drift;
use crate::base::{EntityKey, Incarnation, Millis, NodeId, PlayerId, SectorId, Tick};
use crate::entity::account::{Account, AccountRole, RefreshFamily};
use crate::entity::attempt::{Attempt, How};
use crate::entity::audit::{Decision, DirectoryChange, Entry, Head, Place, Signature, Statement};
use crate::entity::commit::NodeRow;
use crate::entity::envelope::{self, Kind, Logic};
use crate::entity::input::InputPlace;
use crate::entity::member::{CertificateRow, MemberRow, TokenRow, TokenUse};
use crate::entity::parked::Parked;
use crate::entity::world::{read_rules, rules_row};
use crate::entity::{World, keys};

const PAYLOAD: &[u8] = b"payload";
const LOGIC: Logic = Logic { version: 0x0102_0304, rules: 0x0506_0708_090A_0B0C };

/// A line for each name and row.
pub fn lines() -> Vec<(String, String)> {
    let entities = entities().map(|(name, key)| (format!("entity/{name}"), key.to_bytes()));
    let keys = store_keys().into_iter().map(|(name, key)| (format!("key/{name}"), key));
    let envelopes = kinds()
        .into_iter()
        .map(|(name, kind)| (format!("envelope/{name}"), envelope::seal(kind, LOGIC, PAYLOAD)));
    let rows = [
        ("row/node", row().to_bytes()),
        ("row/account", account().to_bytes()),
        ("row/refresh-family", family().to_bytes()),
        ("row/galaxy", super::Worlds::new().first.to_bytes()),
        ("row/member", member().to_bytes()),
        ("row/join-token", token().to_bytes()),
        ("row/rules", rules_row(&super::Worlds::new().first.rules)),
        ("row/audit-signature", signature().to_bytes()),
        ("row/certificate", certificate().to_bytes()),
        ("row/parked", parked().put(EntityKey::Ledger(9)).value.unwrap_or_default()),
        ("row/attempt", attempt().put().value.unwrap_or_default()),
    ];
    let rows = rows.into_iter().map(|(name, bytes)| (name.to_owned(), bytes));
    let entries = audit_entries().into_iter().enumerate();
    let entries = entries.map(|(n, entry)| (format!("audit/{n:02}"), entry.to_bytes()));
    let rows = rows.chain(entries);
    let all = entities.into_iter().chain(keys).chain(envelopes).chain(rows);
    all.map(|(name, bytes)| (name, super::to_hex(&bytes))).collect()
}

/// Reads every stored line back.
///
/// # Errors
/// The first that is not what it was.
pub fn read(found: &BTreeMap<&str, &str>) -> Result<(), Drift> {
    let expect = |line: String, read: &dyn Fn(&[u8]) -> Result<bool, String>| {
        let why = match read(&super::bytes(found, &line)?) {
            Ok(true) => return Ok(()),
            Ok(false) => "it is read as something else".to_owned(),
            Err(why) => why,
        };
        Err(Drift::Unreadable { line, why })
    };
    for (name, key) in entities() {
        expect(format!("entity/{name}"), &|bytes| {
            EntityKey::from_bytes(bytes).map(|read| read == key).map_err(|e| e.to_string())
        })?;
    }
    for (name, kind) in kinds() {
        expect(format!("envelope/{name}"), &|bytes| {
            let opened = envelope::open(kind, bytes).map_err(|e| e.to_string())?;
            Ok(opened == (LOGIC, PAYLOAD))
        })?;
    }
    expect("row/node".into(), &|bytes| {
        NodeRow::from_bytes(bytes).map(|read| read == row()).map_err(|e| e.to_string())
    })?;
    expect("row/account".into(), &|bytes| {
        Account::from_bytes(bytes).map(|read| read == account()).map_err(|e| e.to_string())
    })?;
    expect("row/refresh-family".into(), &|bytes| {
        RefreshFamily::from_bytes(bytes).map(|read| read == family()).map_err(|e| e.to_string())
    })?;
    expect("row/galaxy".into(), &|bytes| {
        World::from_bytes(bytes)
            .map(|read| read == *super::Worlds::new().first)
            .map_err(|e| e.to_string())
    })?;
    read_rows(&expect)?;
    audit_entries().into_iter().enumerate().try_for_each(|(n, entry)| {
        expect(format!("audit/{n:02}"), &|bytes| {
            Entry::from_bytes(bytes).map(|read| read == entry).map_err(|e| e.to_string())
        })
    })
}

/// Whether the line of that name is read as what it was.
type Expect<'e> = &'e dyn Fn(String, &dyn Fn(&[u8]) -> Result<bool, String>) -> Result<(), Drift>;

/// The rows that came later than the first ones.
fn read_rows(expect: Expect<'_>) -> Result<(), Drift> {
    expect("row/member".into(), &|bytes| {
        MemberRow::from_bytes(bytes).map(|read| read == member()).map_err(|e| e.to_string())
    })?;
    expect("row/join-token".into(), &|bytes| {
        TokenRow::from_bytes(bytes).map(|read| read == token()).map_err(|e| e.to_string())
    })?;
    expect("row/rules".into(), &|bytes| {
        let rules = &super::Worlds::new().first.rules;
        let read = read_rules(rules.hash(), bytes);
        read.map(|read| read == *rules).map_err(|e| e.to_string())
    })?;
    expect("row/audit-signature".into(), &|bytes| {
        let Statement { node, by, .. } = signature().statement;
        let key = keys::audit_signature(node, signature().statement.at(), by);
        let read = Signature::of_row(&key, bytes);
        read.map(|read| read == signature()).map_err(|e| e.to_string())
    })?;
    expect("row/certificate".into(), &|bytes| {
        let read = CertificateRow::from_bytes(bytes);
        read.map(|read| read == certificate()).map_err(|e| e.to_string())
    })?;
    expect("row/parked".into(), &|bytes| Ok(Parked::from_bytes(bytes) == Some(parked())))?;
    expect("row/attempt".into(), &|bytes| {
        Ok(Attempt::from_row(&attempt().key(), bytes) == Some(attempt()))
    })
}

/// One of each kind, with coordinates of both signs.
fn entities() -> [(&'static str, EntityKey); 7] {
    let sector = SectorId { x: 6259, y: -3740, scale: 0 };
    let region = SectorId { x: -1, y: 97, scale: 7 };
    [
        ("sector", EntityKey::Sector(sector)),
        ("region", EntityKey::Sector(region)),
        ("ledger", EntityKey::Ledger(0x0102_0304_0506_0708)),
        ("market", EntityKey::Market(3)),
        ("alliance", EntityKey::Alliance(1 << 40)),
        ("board", EntityKey::Board(5)),
        ("battle", EntityKey::Battle { host: sector, n: 6 }),
    ]
}

/// Every name of `entity::keys`.
fn store_keys() -> Vec<(&'static str, Vec<u8>)> {
    let (node, incarnation) = (NodeId(0x0102_0304), Incarnation(0x0506_0708));
    let (player, entity) = (PlayerId(0x1122), EntityKey::Ledger(9));
    let place = Place { node, incarnation, number: 0x090A, index: 0x0B };
    vec![
        ("prefix-account", keys::ACCOUNT.to_vec()),
        ("prefix-galaxy", keys::GALAXY.to_vec()),
        ("world", keys::WORLD.to_vec()),
        ("prefix-row", keys::ROW.to_vec()),
        ("prefix-snapshot", keys::SNAPSHOT.to_vec()),
        ("prefix-head", keys::HEAD.to_vec()),
        ("prefix-ended", keys::ENDED.to_vec()),
        ("prefix-due", keys::DUE.to_vec()),
        ("signing", keys::SIGNING.to_vec()),
        ("next-id", keys::NEXT_ID.to_vec()),
        ("account", keys::account(player)),
        ("account-name", keys::account_name("ada")),
        ("account-email", keys::account_email("ada@example.org")),
        ("prefix-refresh", keys::refresh_of(player)),
        ("refresh", keys::refresh(player, *b"0123456789abcdef")),
        ("row", keys::row(node)),
        ("ended-incarnation", keys::ended_incarnation(node, incarnation)),
        ("owned", keys::owned(node, entity)),
        ("prefix-owned", keys::owned_by(node)),
        ("due", keys::due(Millis(0x0A0B), entity)),
        ("prefix-summary", keys::SUMMARY.to_vec()),
        ("summary", keys::summary(entity)),
        ("parked", keys::parked(entity)),
        ("prefix-directory", keys::DIRECTORY.to_vec()),
        ("directory-version", keys::DIRECTORY_VERSION.to_vec()),
        ("directory-entry", keys::directory_entry(entity)),
        ("directory-kind", keys::directory_kind(2)),
        ("head", keys::head(entity)),
        ("prefix-snapshot-of", keys::snapshot(entity, 0x0C0D)),
        ("chunk", keys::chunk(entity, 0x0C0D, 0x0E)),
        ("prefix-member", keys::MEMBER.to_vec()),
        ("format", keys::FORMAT.to_vec()),
        ("reads", keys::reads(node)),
        ("prefix-join-token", keys::JOIN_TOKEN.to_vec()),
        ("last-node", keys::LAST_NODE.to_vec()),
        ("member", keys::member(node)),
        ("member-name", keys::member_name("node-1")),
        ("join-token", keys::join_token(b"0123456789abcdef0123456789abcdef")),
        ("prefix-audit", keys::AUDIT.to_vec()),
        ("audit-entry", keys::audit_entry(place)),
        ("prefix-rules", keys::RULES.to_vec()),
        ("rules", keys::rules(0x0102_0304_0506_0708)),
        ("prefix-audit-signature", keys::AUDIT_SIGNATURE.to_vec()),
        ("audit-signature", keys::audit_signature(node, (incarnation, 0x090A), NodeId(0x0B))),
        ("certificate", keys::certificate(node, b"0123456789abcdef0123456789abcdef")),
        ("rules-last", keys::RULES_LAST.to_vec()),
        ("prefix-parked", keys::PARKED.to_vec()),
        ("prefix-attempt", keys::ATTEMPT.to_vec()),
        ("attempt", keys::attempt(entity, node, incarnation)),
    ]
}

fn kinds() -> [(&'static str, Kind); 19] {
    [
        ("record", Kind::Record),
        ("snapshot", Kind::Snapshot),
        ("snapshot-head", Kind::SnapshotHead),
        ("account", Kind::Account),
        ("galaxy", Kind::Galaxy),
        ("node-row", Kind::NodeRow),
        ("refresh-family", Kind::RefreshFamily),
        ("signing-keys", Kind::SigningKeys),
        ("summary", Kind::Summary),
        ("directory-entry", Kind::DirectoryEntry),
        ("directory-kind", Kind::DirectoryKind),
        ("member", Kind::Member),
        ("join-token", Kind::JoinToken),
        ("audit-entry", Kind::AuditEntry),
        ("rules", Kind::Rules),
        ("audit-signature", Kind::AuditSignature),
        ("certificate", Kind::Certificate),
        ("parked", Kind::Parked),
        ("attempt", Kind::Attempt),
    ]
}

fn row() -> NodeRow {
    NodeRow {
        incarnation: Incarnation(300),
        nonce: u64::MAX,
        number: 1 << 33,
        tick: Tick(70_000),
        refused: vec![0, 300],
        audit_root: *b"0123456789abcdef0123456789abcdef",
    }
}

fn account() -> Account {
    Account {
        player: PlayerId(7),
        name: "Ada".into(),
        email: "ada@example.org".into(),
        display_name: Some("Countess".into()),
        faction: None,
        password_hash: "$argon2id$".into(),
        roles: vec![AccountRole::Player, AccountRole::Moderator, AccountRole::Admin],
        generation: 2,
        created: Millis(1),
        last_login: Millis(300),
    }
}

fn family() -> RefreshFamily {
    RefreshFamily {
        current: *b"0123456789abcdef0123456789abcdef",
        generation: 2,
        issued: Millis(300),
        expires: Millis(1 << 40),
    }
}

fn member() -> MemberRow {
    MemberRow {
        name: "node-1".into(),
        address: "node-1.example.org:7500".into(),
        cluster: *b"0123456789abcdef0123456789abcdef",
    }
}

fn token() -> TokenRow {
    let key = *b"fedcba9876543210fedcba9876543210";
    TokenRow { issued: Millis(300), used: Some(TokenUse { key, node: NodeId(300) }) }
}

fn signature() -> Signature {
    let root = *b"0123456789abcdef0123456789abcdef";
    let head = Head { incarnation: Incarnation(300), number: 1 << 33, root };
    let (node, by, tick) = (NodeId(300), NodeId(7), Tick(70_000));
    let statement = Statement { node, head, by, after: Some(1 << 32), tick, time: Millis(1 << 40) };
    let certificate = *b"fedcba9876543210fedcba9876543210";
    Signature { statement, certificate, scheme: 0x0403, bytes: b"signature".to_vec() }
}

fn certificate() -> CertificateRow {
    CertificateRow { chain: vec![b"certificate".to_vec(), b"above".to_vec()] }
}

fn parked() -> Parked {
    let why = "its step to tick 9 panics".to_owned();
    Parked { node: NodeId(300), time: Millis(1 << 40), sequence: 1 << 33, tick: Tick(8), why }
}

fn attempt() -> Attempt {
    let (entity, node, incarnation) = (EntityKey::Ledger(9), NodeId(300), Incarnation(301));
    Attempt { entity, node, incarnation, tick: Tick(1 << 33), how: How::Aborted }
}

/// An entry of each decision.
fn audit_entries() -> Vec<Entry> {
    let (node, player, sequence) = (NodeId(300), PlayerId(7), 1 << 33);
    let (entity, token) = (EntityKey::Ledger(9), *b"fedcba9876543210fedcba9876543210");
    let root = *b"0123456789abcdef0123456789abcdef";
    let last = Head { incarnation: Incarnation(300), number: 1 << 33, root };
    let change = DirectoryChange {
        version: 300,
        changed: 2,
        entities: vec![entity],
        draining: vec![(node, true)],
        digest: token,
    };
    let decisions = [
        Decision::Began { logic: LOGIC },
        Decision::Claimed { entity, sequence, woke: true },
        Decision::HandedOver { entity, sequence, to: node },
        Decision::Closed { entity, sequence, kept: true },
        Decision::DeclaredDead { node, last },
        Decision::DirectoryChanged(change),
        Decision::GalaxyMade,
        Decision::AccountMade { player },
        Decision::AccountChanged { player, generation: 300, roles: 2 },
        Decision::NodeAdmitted { node, token: Some(token) },
        Decision::TokenOffered { token },
        Decision::TokenWithdrawn { token },
        Decision::Witnessed { heads: vec![(node, last)] },
        Decision::RolesTaken { roles: 5 },
        Decision::Stopping,
        Decision::SetAside { entity, sequence, place: InputPlace { sequence: 300, index: 2 } },
        Decision::Parked { entity, sequence },
        Decision::Resumed { entity },
        Decision::FormatRaised { version: 300 },
    ];
    let entry = |decision| Entry { base: root, time: Millis(300), decision };
    decisions.into_iter().map(entry).collect()
}
