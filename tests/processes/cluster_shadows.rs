//! Units near the border between two nodes' sectors, of which the sector beyond knows:
//! while the two have a link, and by way of a third node while they have none.

use std::slice;

use serde_json::{Value, json};

use crate::cluster_fleet::{Border, Fleet, begin, give, middle, place};
use crate::cluster_partition::behind_relay;
use crate::cluster_support::Cluster;
use crate::operator::{Operator, id};
use crate::support::wait_for;

const HANDED_ON: &str = r#"starmesh_mesh_shadow_datagrams_total{outcome="handed_on"}"#;
/// What was known before is gone by then.
const MANY: f64 = 30.0;

struct Scene {
    cluster: Cluster,
    operator: Operator,
    home: Value,
    beyond: Value,
}

impl Scene {
    /// Of how many units of `from` a sector knows, as the first node tells.
    fn known(&self, sector: &Value, from: &Value) -> u64 {
        let told = self.operator.ask(self.cluster.node(0), &["sector", &id(sector).to_string()]);
        let beyond = told["beyond"].as_array().into_iter().flatten();
        let mut of = beyond.filter(|it| id(&it["sector"]) == id(from));
        of.next().and_then(|it| it["units"].as_u64()).unwrap_or_default()
    }

    fn wait_for(&self, here: u64, there: u64) {
        let what = format!("{here} units known beyond the border, and {there} back");
        wait_for(&what, || {
            let known =
                (self.known(&self.beyond, &self.home), self.known(&self.home, &self.beyond));
            (known == (here, there)).then_some(())
        });
    }

    fn said(&self, index: usize, part: &str) -> usize {
        self.cluster.node(index).log().matches(part).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sectors_of_two_nodes_know_who_is_near_also_while_the_two_have_no_link() {
    let empty = Cluster::empty();
    let still = |home: crate::support::Home| home.with("CLUSTER__BALANCE", "off");
    let (second, to_second) = behind_relay(still(empty.home("b"))).await;
    let (third, to_third) = behind_relay(still(empty.home("c"))).await;
    let first = still(empty.home("a"));
    let cluster = tokio::task::block_in_place(|| empty.started(first, vec![second, third]));
    let (token, session, home, ships) = begin(&cluster).await;
    let (x, y) = middle(&ships);
    let border = Border::nearest(x, y);
    let beyond = json!({
        "x": home["x"].as_i64().expect("a number") + border.step.0,
        "y": home["y"].as_i64().expect("a number") + border.step.1, "scale": 0,
    });
    let sectors = [(&home, 2), (&beyond, 3)];
    let operator = tokio::task::block_in_place(|| give(&cluster, sectors));
    let gateway = cluster.node(0).target();
    let socket = crate::socket::Socket::connect_again(&gateway, &token, Some(session)).await;
    let mut fleet = Fleet::new(socket, home.clone(), beyond.clone());
    let all: Vec<u64> = ships.iter().filter_map(|ship| ship["id"].as_u64()).collect();
    let (ahead, rest) = all.split_at(1);
    let (before, behind) = (place(&home, border.before), place(&beyond, border.behind));
    fleet.send(&home, ahead, slice::from_ref(&behind)).await;
    fleet.send(&home, rest, slice::from_ref(&before)).await;
    tokio::task::block_in_place(|| {
        let scene = Scene { cluster, operator, home, beyond };
        scene.wait_for(rest.len() as u64, 1);
        assert_eq!(scene.cluster.happened(0, HANDED_ON), 0.0, "the two have a link");
        let downs = scene.said(1, "link down");
        [&to_second, &to_third].into_iter().for_each(|relay| relay.control().cut());
        wait_for("a link that is down", || (scene.said(1, "link down") > downs).then_some(()));
        scene.wait_for(rest.len() as u64, 1);
        wait_for("many datagrams handed on", || {
            (scene.cluster.happened(0, HANDED_ON) > MANY).then_some(())
        });
        scene.wait_for(rest.len() as u64, 1);
        [&to_second, &to_third].into_iter().for_each(|relay| relay.control().heal());
        scene.wait_for(rest.len() as u64, 1);
        scene.cluster.stop();
    });
}
