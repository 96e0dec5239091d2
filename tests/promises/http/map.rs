//! The map: what anybody may know of any sector, in pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix_web::http::Method;
use serde_json::{Value, json};
use starmesh::base::SectorId;
use starmesh::sim::Galaxy;

use super::{Gateway, LOCAL, Nobody, request};

fn galaxy() -> Galaxy {
    use starmesh::gateway::http::Oracle;
    Nobody.world().galaxy
}

fn sector(x: i64, y: i64, scale: u8) -> Value {
    json!({ "x": x, "y": y, "scale": scale })
}

#[actix_web::test]
async fn tells_all_that_a_sector_was_made_with() {
    let gateway = Gateway::new("").await;
    let galaxy = galaxy();
    let home = galaxy.start_place(0);
    let system = galaxy.systems_in(galaxy.area(home.ancestor(6).unwrap()).unwrap()).next();
    let star = system.unwrap().star;
    for place in [home, star] {
        let answer = gateway.get(&format!("/api/map/{place}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let SectorId { x, y, .. } = place;
        assert_eq!(answer.body["sector"], sector(x, y, 0));
        assert_eq!(answer.body["parent"], sector(x >> 1, y >> 1, 1));
        assert_eq!(answer.body["children"], json!([]));
        assert_eq!(answer.body["neighbours"].as_array().unwrap().len(), 8);
        assert_eq!(answer.body["regions"], json!(["midRim"]));
        assert_eq!(answer.body["resourceDensity"], galaxy.density(place).unwrap());
        let features = answer.body["features"].as_array().unwrap();
        assert_eq!(features.len(), galaxy.contents(place).len());
        let first = galaxy.contents(place)[0].circle;
        assert_eq!(features[0]["position"]["x"], i64::from(first.centre.x) << 12);
        assert_eq!(features[0]["radius"], i64::from(first.radius) << 12);
        assert_eq!(answer.body.get("next"), None);
    }
    let answer = gateway.get(&format!("/api/map/{star}"), "").await;
    let told = &answer.body["features"][0];
    assert_eq!(told["type"], "star");
    let lanes = galaxy.lanes_of(star);
    let expected: Vec<Value> = lanes.iter().map(|to| sector(to.x, to.y, 0)).collect();
    assert_eq!(told["system"]["lanes"], json!(expected));
    assert!(!lanes.is_empty());
}

/// All pages: types and sectors of features, and how many pages there were.
async fn walk(gateway: &Gateway, path: &str) -> (Vec<(String, i64, i64)>, usize) {
    let (mut found, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let answer = gateway.get(&format!("{path}{cursor}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        pages += 1;
        for feature in answer.body["features"].as_array().unwrap() {
            let at = |axis: &str| feature["sector"][axis].as_i64().unwrap();
            found.push((feature["type"].as_str().unwrap().to_owned(), at("x"), at("y")));
        }
        match answer.body["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (found, pages),
        }
    }
}

#[actix_web::test]
async fn pages_of_an_area_have_everything_once() {
    let gateway = Gateway::new("").await;
    let galaxy = galaxy();
    let region = SectorId { x: 97, y: 80, scale: 6 };
    let (found, pages) = walk(&gateway, &format!("/api/map/{region}?limit=50")).await;
    let area = galaxy.area(region).unwrap();
    let expected: usize = galaxy.features_from(area, 0).map(|(_, _, f)| f.len()).sum();
    let once: BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), once.len()), (expected, expected));
    assert!(pages > expected / 50);

    let large = SectorId { x: 24, y: 20, scale: 8 };
    let (found, pages) = walk(&gateway, &format!("/api/map/{large}?limit=20")).await;
    let stars: BTreeSet<_> = found.iter().map(|(kind, x, y)| (kind.as_str(), *x, *y)).collect();
    let area = galaxy.area(large).unwrap();
    let expected: BTreeSet<_> =
        galaxy.systems_in(area).map(|system| ("star", system.star.x, system.star.y)).collect();
    assert!(stars == expected && pages > 3);
}

#[actix_web::test]
async fn the_root_is_told_in_bounded_pages_with_counts_to_expect() {
    let gateway = Gateway::new("").await;
    let answer = gateway.get("/api/map/0,0,14?limit=500", "").await;
    assert_eq!(answer.status, 200);
    let counts = &answer.body["counts"];
    assert_eq!(counts["exact"], false);
    assert!((97_000..=103_000).contains(&counts["systems"].as_u64().unwrap()));
    assert!(answer.body["features"].as_array().unwrap().len() <= 500);
    assert!(answer.body["next"].is_string());
    assert!(answer.body.to_string().len() < 512 * 1024);
    assert_eq!(answer.body.get("parent"), None);
    assert_eq!(answer.body["children"].as_array().unwrap().len(), 4);
    assert_eq!(answer.body["neighbours"], json!([]));
    // However far a cursor leads.
    let answer = gateway.get(&format!("/api/map/0,0,14?cursor={}", u64::MAX), "").await;
    assert_eq!((answer.status, &answer.body["features"]), (200, &json!([])));
}

#[actix_web::test]
async fn refuses_what_is_no_sector_and_what_lies_outside() {
    let gateway = Gateway::new("").await;
    for path in ["x", "1", "1,2,256", "1,2,0?limit=0", "1,2,0?limit=501", "1,2,0?cursor=-1"] {
        let answer = gateway.get(&format!("/api/map/{path}"), "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-field"), "{path}");
        assert!(!answer.text("field").is_empty() && !answer.text("expected").is_empty());
    }
    let answer = gateway.get("/api/map/1,2,0?limits=3", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-field"));
    for path in ["-1,0,0", "10000,0,0", "0,0,15", "9223372036854775807,0,255"] {
        let answer = gateway.get(&format!("/api/map/{path}"), "").await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
        assert!(answer.text("expected").contains("0,0,14"));
    }
}

#[actix_web::test]
async fn a_map_is_cached_and_not_sent_twice() {
    let gateway = Gateway::new("").await;
    let answer = gateway.get("/api/map/1250,1250,2", "").await;
    assert!(answer.header("cache-control").starts_with("public, max-age="));
    let etag = answer.header("etag").to_string();
    let path = "/api/map/1250,1250,2";
    let again = request(Method::GET, LOCAL, path).insert_header(("if-none-match", etag));
    let answer = gateway.call(again).await;
    assert_eq!((answer.status, answer.body), (304, json!("")));
}

#[actix_web::test]
async fn reads_beyond_the_bound_are_turned_away_and_told_when_to_come_again() {
    let gateway = Gateway::reading("[http]\nreads_at_once = 1\n", Arc::new(Nobody)).await;
    let one = gateway.state.reads().begin().unwrap();
    let answer = gateway.get("/api/map/5000,5000,0", "").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "busy"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    drop(one);
    assert_eq!(gateway.get("/api/map/5000,5000,0", "").await.status, 200);
}

#[actix_web::test]
async fn every_scale_tells_how_much_goes_on_rounded_and_as_of_when() {
    let gateway = Gateway::new("").await;
    for place in ["5000,2512,0", "312,157,4", "0,0,13"] {
        let answer = gateway.get(&format!("/api/map/{place}"), "").await;
        let summary = json!({ "unitCount": 4_000, "activity": 9, "asOf": 1_234 });
        assert_eq!(answer.body["summary"], summary, "{place}");
    }
    // Nothing was summed up there yet.
    let answer = gateway.get("/api/map/0,0,14", "").await;
    assert_eq!(answer.body.get("summary"), None);
}
