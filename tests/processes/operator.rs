//! Owns who runs a cluster: an account with the role admin that calls `starmesh
//! admin` as a person does, each call a process of its own. Never looks past
//! what these calls print. Invariant: a call that was not done fails the test,
//! with what it said.

use serde_json::Value;
use starmesh::base::SectorId;

use crate::socket::{PASSWORD, register};
use crate::support::{Home, starmesh, wait_for};

/// The name that the nodes of every cluster have in `players.admins`.
pub const OPERATOR: &str = "operator";

/// One with an account.
pub struct Operator;

impl Operator {
    /// Registers the account at this node.
    pub fn register(at: &Home) -> Operator {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(register(&at.target(), OPERATOR));
        Operator
    }

    /// What `starmesh admin ARGUMENTS`, asking this node, prints when it is done.
    pub fn call(&self, at: &Home, arguments: &[&str]) -> String {
        self.try_call(at, arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    /// The same; `Err` is what it said when it was not done.
    pub fn try_call(&self, at: &Home, arguments: &[&str]) -> Result<String, String> {
        let mut command = starmesh();
        command.env("STARMESH_PASSWORD", PASSWORD);
        command.args(["admin", "--url", &at.url(), "--user", OPERATOR]).args(arguments);
        let output = command.output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(said) } else { Err(format!("{said}{complained}")) }
    }

    /// The answer as programs get it.
    pub fn ask(&self, at: &Home, arguments: &[&str]) -> Value {
        let told = self.call(at, &[arguments, &["--json"]].concat());
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {told}"))
    }

    /// Gives a sector to a node and waits until it runs there.
    pub fn migrate(&self, at: &Home, sector: &str, to: u32) {
        print!(
            "migrate {sector}: {}",
            self.call(at, &["migrate", sector, "--to", &to.to_string()])
        );
    }

    /// The node's line of `admin nodes`.
    pub fn node(&self, at: &Home, number: u32) -> Value {
        let told = self.ask(at, &["nodes"]);
        let nodes = told["nodes"].as_array().expect("a list of nodes");
        let found = nodes.iter().find(|node| node["node"] == number);
        found.unwrap_or_else(|| panic!("node {number} in {told}")).clone()
    }

    /// How many entities the node runs, by its own word.
    pub fn running(&self, at: &Home, number: u32) -> u64 {
        let report = wait_for("a node's report", || {
            let node = self.node(at, number);
            node.get("report").filter(|report| report.is_object()).cloned()
        });
        let count = |name: &str| report[name].as_u64().expect("a number");
        count("sectors") + count("others")
    }

    /// The scale-0 sector with most units on this node, and the region of the
    /// directory that it is in.
    pub fn busiest(&self, at: &Home, number: u32) -> (String, String) {
        wait_for("a sector with units", || {
            let told = self.ask(at, &["sectors", "--limit", "500"]);
            let sectors = told["sectors"].as_array().expect("a list of sectors");
            let here = sectors.iter().filter(|it| it["node"] == number);
            let tactical = here.filter(|it| id(&it["sector"]).scale == 0);
            let most = tactical.max_by_key(|it| it["units"].as_u64())?;
            let sector = id(&most["sector"]).to_string();
            let entry = self.ask(at, &["sector", &sector])["entry"].clone();
            Some((sector, id(&entry["sector"]).to_string()))
        })
    }
}

/// A sector as an answer names it.
pub fn id(sector: &Value) -> SectorId {
    let number = |name: &str| sector[name].as_i64().expect("a number");
    let scale = u8::try_from(number("scale")).expect("a scale");
    SectorId { x: number("x"), y: number("y"), scale }
}
