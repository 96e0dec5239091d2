//! An operator who asks a node for what another one has: each call of `starmesh
//! admin` says and does the same there, while players play.
//! STARMESH_CRASH_SEED repeats the orders.

use std::time::Instant;

use serde_json::{Value, json};
use starmesh::base::SectorId;

use crate::cluster_support::{Cluster, UNITS};
use crate::crash::number;
use crate::operator::{Operator, id};
use crate::socket::{Socket, register};
use crate::support::{Home, wait_for};
use crate::swarm::{AT_HOME, Swarm};

const CLIENTS: u64 = 12;

/// A home where all players begin at one node, and nothing moves by itself.
fn home(cluster: &Cluster, name: &str) -> Home {
    let home = cluster.home(name).with("GALAXY__SECTORS_PER_SIDE", "10000");
    home.with("CLUSTER__BALANCE", "off").with("ENGINE__SECTOR_QUIET_S", "3600")
}

/// The cluster, who steers it, and the node that is asked: it has nothing of what
/// it is asked for.
struct Asked {
    cluster: Cluster,
    operator: Operator,
    owner: usize,
    asked: usize,
}

impl Asked {
    fn ask(&self, arguments: &[&str]) -> Value {
        self.operator.ask(self.cluster.node(self.asked), arguments)
    }

    /// What both nodes say, which is the same.
    fn ask_both(&self, arguments: &[&str], part: &str) -> Value {
        let told = self.ask(arguments)[part].clone();
        let own = self.operator.ask(self.cluster.node(self.owner), arguments);
        assert_eq!(own[part], told, "{arguments:?}: {own}");
        told
    }

    /// A sector that the other node runs, told by what each call says of it.
    fn look(&self) -> SectorId {
        let owner = self.owner as u64 + 1;
        let told = self.ask(&["sectors", "--limit", "500"]);
        assert_eq!(told["silent"], json!([]), "{told}");
        let sectors = told["sectors"].as_array().expect("a list");
        let found = sectors.iter().find(|it| it["units"].as_u64() >= Some(8));
        let found = found.unwrap_or_else(|| panic!("nobody's sector in {told}"));
        assert_eq!(found["node"], owner, "{told}");
        let sector = id(&found["sector"]);
        let told = self.ask(&["sector", &sector.to_string()]);
        assert_eq!(told["entry"]["node"], owner, "{told}");
        let running = told["running"].as_array().expect("a list");
        let at = running.iter().find(|it| it["sectors"].as_u64() > Some(0));
        assert_eq!(at.map(|it| &it["node"]), Some(&json!(owner)), "{told}");
        let name = format!("sector:{},{},{}", sector.x, sector.y, sector.scale);
        let told = self.ask(&["entity", &name]);
        assert_eq!((&told["node"], &told["runsAt"]), (&json!(owner), &json!([owner])), "{told}");
        sector
    }

    /// Gives the parts of a sector's surroundings entries, and takes them away.
    fn split_and_merge(&self, sector: SectorId) {
        let whole = sector.ancestor(2).expect("an ancestor").to_string();
        let (name, owner) = (sector.to_string(), self.owner as u64 + 1);
        let split = self.ask(&["split", &whole]);
        assert_eq!(split["changes"], 4, "{split}");
        // The other node may hear of it a little later.
        wait_for("an entry of its own at each node", || {
            let at = |index| self.operator.ask(self.cluster.node(index), &["sector", &name]);
            let has = |told: Value| {
                told["entry"]["sector"]["scale"] == 1 && told["entry"]["node"] == owner
            };
            (has(at(0)) && has(at(1))).then_some(())
        });
        let twice = self.operator.try_call(self.cluster.node(self.asked), &["split", &whole]);
        assert!(twice.is_err_and(|said| said.contains("split already")), "it was done again");
        let merged = self.ask(&["merge", &whole]);
        assert_eq!(merged["changes"], 4, "{merged}");
        let told = self.ask(&["sector", &name]);
        assert!(told["entry"]["sector"]["scale"].as_u64() > Some(1), "{told}");
    }

    /// Has the asked node's share go there by a strategy.
    fn balance(&self) {
        let strategy = ["balance", "--strategy", "PlayerCount"];
        let dry = [strategy.as_slice(), &["--dry-run"]].concat();
        let version = || self.ask(&["nodes"])["directory"].as_u64().expect("a version");
        let before = version();
        let plan = wait_for("a plan by what both nodes tell", || {
            let plan = self.ask(&dry);
            (plan["silent"] == json!([]) && plan["moves"] != json!([])).then_some(plan)
        });
        let (from, to) = (self.owner as u64 + 1, self.asked as u64 + 1);
        let moves = plan["moves"].as_array().expect("a list");
        let right = |it: &Value| it["from"] == from && it["to"] == to && it["why"] == "load";
        assert!(moves.iter().all(right), "{plan}");
        assert!(plan.get("directory").is_none() && version() == before, "it was dry: {plan}");
        assert_eq!(self.cluster.metric(self.asked, UNITS), 0.0, "nothing moved");

        let plan = self.ask(&strategy);
        assert!(plan["directory"].as_u64() > Some(before), "{plan}");
        self.cluster.wait_for_units(self.asked);
        let part = id(&plan["moves"][0]["sector"]).to_string();
        wait_for("both to say whose it is", || {
            let at = |index| self.operator.ask(self.cluster.node(index), &["sector", &part]);
            (0..2).all(|index| at(index)["entry"]["node"] == to).then_some(())
        });
        println!(
            "admin: {} moves; {}",
            plan["moves"].as_array().map_or(0, Vec::len),
            self.cluster.shown()
        );
    }

    /// A player at the other node hears once what is said at the asked one.
    async fn announce(&self) {
        const SAID: &str = "Node 2 restarts at noon";
        let target = self.cluster.node(self.owner).target();
        let token = register(&target, "listener").await;
        let mut socket = Socket::connect_again(&target, &token, None).await;
        let told = self.ask(&["announce", SAID]);
        assert_eq!(told["silent"], json!([]), "{told}");
        let gateways = told["gateways"].as_array().expect("a list");
        let connections = gateways.iter().map(|it| it["connections"].as_u64().expect("a count"));
        assert_eq!((gateways.len(), connections.sum::<u64>()), (2, CLIENTS + 1), "{told}");
        // It was in the queue before the answer to this.
        socket.send(json!({ "type": "ping", "handle": 0, "tick": 0, "time": 1 })).await;
        let mut heard = Vec::new();
        while let Some(message) = socket.next().await.filter(|it| it["type"] != "pong") {
            heard.extend(message.get("notice").cloned());
        }
        assert_eq!(heard, [json!({ "announcement": { "text": SAID } })]);
        let owner = self.cluster.node(self.owner);
        let twice = self.operator.try_call(owner, &["announce", "two\nlines"]);
        assert!(twice.is_err_and(|said| said.contains("500 characters")), "it was said");
    }

    /// The audit log of both is whole, by the word of the asked one.
    fn audit(&self) {
        let told = wait_for("signatures of both", || {
            let told = self.ask(&["audit"]);
            let logs = told["logs"].as_array().expect("a list");
            let is_signed = |log: &Value| log["signatures"].as_u64() > Some(0);
            (logs.len() == 2 && logs.iter().all(is_signed)).then_some(told)
        });
        let logs = told["logs"].as_array().expect("a list");
        assert!(logs.iter().all(|log| log.get("problem").is_none()), "{told}");
        assert_eq!(
            (&told["state"], &told["authorities"]),
            (&json!("done"), &json!(true)),
            "{told}"
        );
    }
}

#[test]
fn each_call_at_a_node_that_has_not_what_it_is_about_says_and_does_the_same() {
    let seed = number("STARMESH_CRASH_SEED").unwrap_or_else(|| std::process::id().into());
    println!("admin: STARMESH_CRASH_SEED={seed}");
    let began = Instant::now();
    let cluster = Cluster::empty();
    let (first, second) = (home(&cluster, "a"), home(&cluster, "b"));
    let cluster = cluster.started(first, vec![second]);
    let operator = Operator::register(cluster.node(0));
    let mut swarm = Swarm::playing(&[cluster.node(0), cluster.node(1)], CLIENTS, seed, AT_HOME);
    swarm.wait_for_everybody(0);
    let (owner, asked) = if cluster.metric(0, UNITS) > 0.5 { (0, 1) } else { (1, 0) };
    println!("admin: {} after {:?}", cluster.shown(), began.elapsed());
    let it = Asked { cluster, operator, owner, asked };

    let sector = it.look();
    for ledger in ["ledger:1", "ledger:2", "board:1"] {
        assert!(it.ask_both(&["entity", ledger], "node").is_u64(), "{ledger} is nobody's");
    }
    it.split_and_merge(sector);
    it.balance();
    let known = swarm.answered().len();
    swarm.wait_for_everybody(known);
    it.audit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(it.announce());
    assert!(swarm.disconnected().is_empty(), "{:?}", swarm.disconnected());
    swarm.expect_settled();
    let told = swarm.told();
    println!("admin: swarm {}", told.report);
    let found = it.cluster.audited(&told);
    println!("admin: {} answers, {found:?}, {:?}", told.answered.len(), began.elapsed());
    assert_eq!((found.players, found.nodes), (CLIENTS + 1, 2), "with who listened");
    assert!(found.handed_over > 0, "nothing moved: {found:?}");
}
