//! The universe as one player sees it: all that its sensors see, page by page,
//! and never a unit outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use starmesh::actors::ticker::Read;
use starmesh::base::{EntityKey, Millis, PlayerId, Position, SectorId, Tick, UnitId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::World;
use starmesh::entity::effect::SectorPresence;
use starmesh::entity::read::{self, Presence, Query, Reading, Sight};
use starmesh::gateway::http::Oracle;
use starmesh::sim::rules::sample::{FIGHTER, FREIGHTER};
use starmesh::sim::{Changes, SectorState, Unit, UnitState};
use starmesh::view::SectorSnapshot;

use super::{Gateway, Nobody};

/// Metres that every type of the sample rules sees.
const SENSOR: i64 = 300;
const AT: Tick = Tick(42);

/// Sectors that a test fills; all others are not in memory.
#[derive(Default)]
struct Sky {
    sectors: Mutex<BTreeMap<SectorId, SectorState>>,
    /// What the ledger says all the same.
    asleep: Mutex<BTreeSet<SectorId>>,
    /// What the store says.
    hibernating: Mutex<BTreeSet<SectorId>>,
}

impl Sky {
    fn put(&self, sector: SectorId, unit: Unit) {
        let mut sectors = self.sectors.lock().unwrap();
        let state = sectors.entry(sector).or_insert_with(|| SectorState::new(sector));
        state.insert(unit, &mut Changes::default());
    }

    fn presence(&self, player: PlayerId) -> Option<Presence> {
        let sectors = self.sectors.lock().unwrap();
        let has = |state: &SectorState| state.units().iter().any(|unit| unit.owner == player);
        let awake = sectors.iter().filter(|(_, state)| has(state)).map(|(sector, _)| *sector);
        let all: Vec<SectorId> = awake.chain(self.asleep.lock().unwrap().iter().copied()).collect();
        let one = |sector| SectorPresence { sector, counts: vec![(FIGHTER, 1)], as_of: AT };
        let sectors = all.into_iter().map(one).collect();
        Some(Presence { sectors, power: 1, as_of: Millis(1) })
    }
}

impl Oracle for Sky {
    fn world(&self) -> Arc<World> {
        Nobody.world()
    }

    fn summary(&self, _: SectorId) -> Option<(SectorSnapshot, Millis)> {
        None
    }

    fn ask(
        &self,
        entity: EntityKey,
        query: Query,
    ) -> LocalBoxFuture<'_, Result<Read, Unavailable>> {
        let rules = self.world().rules.clone();
        let answer = match (entity, query) {
            (EntityKey::Ledger(_), Query::Presence { player }) => {
                Ok(Reading::Presence(self.presence(player)))
            }
            (EntityKey::Sector(sector), query) => {
                let sectors = self.sectors.lock().unwrap();
                let state = sectors.get(&sector).ok_or(Unavailable::NotHere);
                state.map(|state| match query {
                    Query::Sight { player } => {
                        Reading::Sight(Box::new(Sight::of(state, &rules, player)))
                    }
                    Query::Units(query) => {
                        let (units, more) = read::units(state, &rules, &query);
                        Reading::Units { units, more }
                    }
                    other => panic!("nobody asks that: {other:?}"),
                })
            }
            _ => Err(Unavailable::NotHere),
        };
        Box::pin(async { answer.map(|reading| Read { at: AT, reading, attached: None }) })
    }

    fn wake(&self, _: EntityKey) {}

    fn hibernates(&self, sector: SectorId) -> LocalBoxFuture<'_, bool> {
        let hibernates = self.hibernating.lock().unwrap().contains(&sector);
        Box::pin(async move { hibernates })
    }

    fn now(&self) -> Millis {
        Millis(1)
    }
}

/// A unit in the middle of cell (x, y).
fn unit(id: u64, owner: PlayerId, (x, y): (i32, i32)) -> Unit {
    let middle = |cell: i32| (cell << 17) + (1 << 16);
    Unit::new(UnitId(id), FIGHTER, owner, Position { x: middle(x), y: middle(y) })
}

/// A gateway that reads from `sky`, and a player with a token.
async fn player(sky: &Arc<Sky>) -> (Gateway, PlayerId, String) {
    let gateway = Gateway::reading("", sky.clone()).await;
    let answer = gateway.register("ada").await;
    let id = PlayerId(answer.body["player"].as_u64().unwrap());
    (gateway, id, answer.text("accessToken"))
}

/// All pages: the ids of units in the order told, and the pages.
async fn walk(gateway: &Gateway, token: &str, parts: &str) -> (Vec<u64>, Vec<Value>) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let answer = gateway.get(&format!("/api/universe?{parts}{cursor}"), token).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let units = answer.body["units"].as_array().unwrap();
        ids.extend(units.iter().map(|unit| unit["id"].as_u64().unwrap()));
        let next = answer.body["next"].as_str().map(str::to_owned);
        pages.push(answer.body);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (ids, pages),
        }
    }
}

/// Numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i32) -> i32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.0 >> 33) % u64::try_from(bound).unwrap()) as i32
    }
}

#[actix_web::test]
async fn shows_exactly_what_the_players_sensors_see_across_all_borders() {
    for seed in 1..=12 {
        println!("seed {seed}");
        let sky = Arc::new(Sky::default());
        let (gateway, ada, token) = player(&sky).await;
        let mut random = Random(seed);
        let mut all = Vec::new();
        for id in 1..=120 {
            let owner = if random.below(12) == 0 { ada } else { PlayerId(1_000) };
            let cell = (random.below(40), random.below(40));
            let sector =
                SectorId::tactical(5_000 + i64::from(cell.0 / 8), 5_000 + i64::from(cell.1 / 8));
            let mut unit = unit(id, owner, (cell.0 % 8, cell.1 % 8));
            let cloaked = random.below(5) == 0;
            unit.state = unit.state.set(UnitState::CLOAKED, cloaked);
            sky.put(sector, unit);
            all.push((id, owner, cell, cloaked));
        }
        // The rule as it is written: centres of cells within r + 88 m.
        let eyes: Vec<_> = all.iter().filter(|(_, owner, ..)| *owner == ada).collect();
        let sees = |cell: (i32, i32)| {
            eyes.iter().any(|(_, _, eye, _)| {
                let metres = |a: i32, b: i32| 125 * i64::from(a - b);
                let (dx, dy) = (metres(cell.0, eye.0), metres(cell.1, eye.1));
                dx * dx + dy * dy <= (SENSOR + 88).pow(2)
            })
        };
        let expected: BTreeSet<u64> = all
            .iter()
            .filter(|(_, owner, cell, cloaked)| *owner == ada || (!cloaked && sees(*cell)))
            .map(|(id, ..)| *id)
            .collect();
        let foreign = expected.len() > eyes.len();
        for limit in [7, 500] {
            let (ids, pages) = walk(&gateway, &token, &format!("limit={limit}")).await;
            let found: BTreeSet<u64> = ids.iter().copied().collect();
            assert_eq!((&found, ids.len()), (&expected, expected.len()), "seed {seed}");
            assert!(pages.len() >= expected.len() / limit && (foreign || eyes.is_empty()));
        }
        let (own, _) = walk(&gateway, &token, "owner=me").await;
        assert_eq!(own.len(), eyes.len());
    }
}

#[actix_web::test]
async fn narrows_by_type_owner_region_and_rectangle() {
    let sky = Arc::new(Sky::default());
    let (gateway, ada, token) = player(&sky).await;
    let ben = PlayerId(1_000);
    let (left, right) = (SectorId::tactical(5_000, 5_000), SectorId::tactical(9_000, 5_000));
    sky.put(left, unit(1, ada, (3, 3)));
    sky.put(left, Unit { type_id: FREIGHTER, ..unit(2, ada, (3, 3)) });
    sky.put(left, unit(3, ben, (3, 3)));
    sky.put(right, unit(4, ada, (3, 3)));
    let freighter = sky.world().rules.unit_type(FREIGHTER).unwrap().name.clone();
    for (parts, expected) in [
        ("", &[1, 2, 3, 4][..]),
        ("owner=me", &[1, 2, 4]),
        ("owner=1000", &[3]),
        ("region=core", &[1, 2, 3]),
        ("region=deepSpace", &[4]),
        ("region=midRim", &[]),
        ("rectangle=0,0,5000,5000", &[1, 2, 3]),
        ("rectangle=562,312,562,312&scale=4", &[4]),
        (&format!("type={}", FREIGHTER.0), &[2]),
        (&format!("type={}", freighter.to_lowercase()), &[2]),
    ] {
        let (ids, _) = walk(&gateway, &token, parts).await;
        assert_eq!(ids, expected, "{parts}");
    }
    let (_, pages) = walk(&gateway, &token, "owner=1000").await;
    let told = &pages[0]["units"][0];
    assert_eq!(told["sector"], json!({ "x": 5_000, "y": 5_000, "scale": 0 }));
    assert_eq!(told["position"]["x"], (7_u64 << 32) / 16);
    assert_eq!((&told["owner"], &told["health"]), (&json!(1_000), &json!(65_535)));
    assert_eq!(pages[0]["sectors"][0]["asOf"], AT.0);
}

#[actix_web::test]
async fn a_sector_that_nobody_has_in_memory_is_named_and_the_others_are_told() {
    let sky = Arc::new(Sky::default());
    let (gateway, ada, token) = player(&sky).await;
    let (awake, asleep) = (SectorId::tactical(5_000, 5_000), SectorId::tactical(5_050, 5_000));
    sky.put(awake, unit(1, ada, (3, 3)));
    sky.asleep.lock().unwrap().insert(asleep);
    let (ids, pages) = walk(&gateway, &token, "").await;
    assert_eq!(ids, [1]);
    let unavailable: Vec<&Value> =
        pages.iter().flat_map(|page| page["unavailable"].as_array().unwrap()).collect();
    assert!(unavailable.contains(&&json!({ "x": 5_050, "y": 5_000, "scale": 0 })));
}

#[actix_web::test]
async fn a_sector_that_is_seen_and_hibernates_is_named_and_one_in_the_fog_is_not() {
    let (seen, fog, never) = (
        SectorId::tactical(5_001, 5_000),
        SectorId::tactical(4_999, 5_000),
        SectorId::tactical(5_001, 5_001),
    );
    let sky = Arc::new(Sky::default());
    let (gateway, me, token) = player(&sky).await;
    sky.put(SectorId::tactical(5_000, 5_000), unit(1, me, (7, 6)));
    sky.hibernating.lock().unwrap().extend([seen, fog]);
    let (ids, pages) = walk(&gateway, &token, "").await;
    assert_eq!(ids, [1]);
    let unavailable: Vec<&Value> =
        pages.iter().flat_map(|page| page["unavailable"].as_array().unwrap()).collect();
    let names = |sector: SectorId| {
        unavailable.contains(&&json!({ "x": sector.x, "y": sector.y, "scale": 0 }))
    };
    assert_eq!((names(seen), names(fog), names(never)), (true, false, false));
}

#[actix_web::test]
async fn public_things_are_found_by_type_page_by_page() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("ada").await.text("accessToken");
    let galaxy = Nobody.world().galaxy;
    let area = galaxy.area(SectorId { x: 20, y: 20, scale: 8 }).unwrap();
    let rectangle = "rectangle=20,20,20,20&scale=8";
    for (kind, expected) in [
        ("star", galaxy.systems_in(area).count()),
        ("station", galaxy.systems_in(area).filter(|system| system.station).count()),
    ] {
        let parts = format!("type={kind}&{rectangle}&limit=30");
        let (ids, pages) = walk(&gateway, &token, &parts).await;
        let found: Vec<&Value> =
            pages.iter().flat_map(|page| page["features"].as_array().unwrap()).collect();
        assert!(ids.is_empty() && found.iter().all(|feature| feature["type"] == kind));
        assert_eq!(found.len(), expected, "{kind}");
        assert!(pages.len() <= expected / 30 + 2, "{} pages", pages.len());
    }
}

#[actix_web::test]
async fn refuses_what_it_cannot_search_for() {
    let gateway = Gateway::new("").await;
    let token = gateway.register("ada").await.text("accessToken");
    for (parts, field) in [
        ("type=spoon", "type"),
        ("owner=ben", "owner"),
        ("type=star&owner=me", "owner"),
        ("region=rim", "region"),
        ("rectangle=1,2,3", "rectangle"),
        ("rectangle=3,2,1,4", "rectangle"),
        ("scale=2", "scale"),
        ("cursor=7", "cursor"),
        ("limit=501", "limit"),
    ] {
        let answer = gateway.get(&format!("/api/universe?{parts}"), &token).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-field"), "{parts}");
        assert_eq!(answer.text("field"), field, "{parts}");
    }
    assert_eq!(gateway.get_public("/api/universe").await.status, 401);
}
