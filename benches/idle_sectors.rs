//! Memory of an idle sector alone: no units, no player, no observer, nothing in
//! the store. What comes on top with a player is in `recovery`.
//!
//! `cargo bench --bench idle_sectors -- [SECTORS]...`
//!
//! Two growths of the resident set, with nothing freed in between: the cells
//! of an arbiter's table with entities as the galaxy's seed gives them, and
//! their actors with the registry's entries.

use std::sync::Arc;

use starmesh::actors::galaxy::find_or_make;
use starmesh::actors::registry::Registry;
use starmesh::actors::sector::{Ask, SectorActor};
use starmesh::base::{EntityKey, PlayerId, SectorId, SessionId};
use starmesh::cluster::core::attaching::Attachment;
use starmesh::cluster::core::limits::Limits;
use starmesh::cluster::core::message::{Installed, ToTable};
use starmesh::cluster::core::table::{Table, Unavailable};
use starmesh::config::Config;
use starmesh::entity::read::Query;
use starmesh::entity::{Entity, World};
use starmesh::sim::rules;
use starmesh::store::memory::Memory;

/// Sectors of one row of the galaxy.
const ROW: i64 = 1_000;

fn main() {
    let args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mut sizes: Vec<i64> = args.map(|arg| arg.parse().unwrap()).collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000];
    }
    let config = Config::with("").unwrap();
    let rules = rules::file::built_in().unwrap();
    let world = find_or_make(&Memory::new(), &config, rules).unwrap().world;
    actix::System::new().block_on(run(Arc::new(world), &sizes));
}

/// Each size is made beside those before it, of sectors of its own.
async fn run(world: Arc<World>, sizes: &[i64]) {
    let mut table = Table::new(world.clone(), Limits::default(), Attachment(1));
    let registry = Registry::default();
    let mut made = 0;
    println!("{:>8} {:>12} {:>12} {:>12}", "sectors", "cell B", "actor B", "together B");
    for &size in sizes {
        let keys = (made..made + size).map(|n| SectorId::tactical(n % ROW, n / ROW));
        let keys: Vec<EntityKey> = keys.map(EntityKey::Sector).collect();
        made += size;
        let start = resident();
        for &key in &keys {
            let entity = Entity::genesis(key, &world).unwrap();
            let installed =
                Installed { entity, generation: 1, snapshot_bytes: 0, journal_bytes: 0 };
            table.handle(ToTable::Install(Box::new(installed)));
        }
        let cell = resident();
        for &key in &keys {
            registry.insert_sector(key, SectorActor::open(key));
        }
        // Actors have their turns in order: the last answers when all had one.
        let last = keys.last().and_then(|key| registry.sector(*key)).unwrap();
        let ask = Ask(Query::Applied { player: PlayerId(1), session: SessionId(1) });
        assert_eq!(last.send(ask).await.unwrap(), Err(Unavailable::NotHere));
        let actor = resident();
        let each = |bytes: f64| bytes / size as f64;
        let [cells, actors] = [cell - start, actor - cell].map(each);
        println!("{size:>8} {cells:>12.0} {actors:>12.0} {:>12.0}", cells + actors);
    }
    assert_eq!(table.counts().entities, made as u64);
    assert_eq!(registry.counts().0, made as usize);
}

/// Bytes of memory this process has resident.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}
