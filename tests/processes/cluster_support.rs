//! Owns a cluster of real nodes on loopback: the first one and those that joined
//! with a line of it, each in a folder of its own, with the store in the first
//! one's or on a server. Never looks at what they keep (`audit` does).
//! Invariant: a node is started with a join line only once.

use std::time::Duration;

use crate::audit::{Counts, audit_told};
use crate::operator::OPERATOR;
use crate::support::{Home, Process, metric, metrics, starmesh, value, wait_for};
use crate::swarm::{Swarm, Told, scenario};

/// Units in the sectors of a node.
pub const UNITS: &str = "starmesh_sector_units_count";
/// Sectors that run on a node.
pub const SECTORS: &str = "starmesh_sector_active_count";
/// Nodes that a node declared dead.
pub const DEATHS: &str = "starmesh_mesh_deaths_declared_total";

/// Where nobody is to be declared dead: any process may stand still for seconds.
const PATIENT_MS: &str = "20000";
/// Where somebody is: as short as a busy machine can bear.
const IMPATIENT_MS: &str = "3000";

/// Sectors that a warp leads at most: far enough that many who start beside a
/// border of shares cross it.
const WARP: u16 = 24;

/// One node, whether it runs or not.
pub struct Member {
    pub home: Home,
    process: Option<Process>,
}

/// The first node of all has the store, unless a server has it.
pub struct Cluster {
    members: Vec<Member>,
    used: Vec<String>,
    silent_ms: &'static str,
    format_max: &'static str,
    url: Option<String>,
}

impl Cluster {
    /// So many nodes, of which none is declared dead.
    pub fn start(count: usize) -> Cluster {
        Cluster::empty().of(count)
    }

    /// So many nodes, and who stands still for three seconds is dead.
    pub fn impatient(count: usize) -> Cluster {
        Cluster::empty().burying().of(count)
    }

    /// No node yet, and none will be declared dead.
    pub fn empty() -> Cluster {
        let (members, used) = (Vec::new(), Vec::new());
        Cluster { members, used, silent_ms: PATIENT_MS, format_max: "0", url: None }
    }

    /// Who stands still for three seconds will be declared dead.
    pub fn burying(self) -> Cluster {
        Cluster { silent_ms: IMPATIENT_MS, ..self }
    }

    /// Of nodes that read no higher format version, "0" for all that they could.
    pub fn reading(self, format_max: &'static str) -> Cluster {
        Cluster { format_max, ..self }
    }

    /// With the store in this database.
    pub fn on(self, url: &str) -> Cluster {
        Cluster { url: Some(url.to_owned()), ..self }
    }

    /// Starts so many nodes.
    pub fn of(self, count: usize) -> Cluster {
        let mut homes = ["a", "b", "c"].into_iter().take(count).map(|name| self.home(name));
        let first = homes.next().expect("a cluster has a node");
        let others = homes.collect();
        self.started(first, others)
    }

    /// Starts the first node and has the others join it.
    pub fn started(self, mut first: Home, others: Vec<Home>) -> Cluster {
        let process = first.start();
        self.begun(first, process, others)
    }

    /// The same, with the first node running already.
    pub fn begun(mut self, first: Home, process: Process, others: Vec<Home>) -> Cluster {
        self.members.push(Member { home: first, process: Some(process) });
        others.into_iter().for_each(|home| self.join(home));
        self.wait_until_linked();
        self
    }

    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// A home for one more node of this name.
    pub fn home(&self, name: &str) -> Home {
        // The smallest galaxy, so that players start beside a border of two
        // nodes' shares.
        let home = Home::new().with("GALAXY__SECTORS_PER_SIDE", "512");
        let home = home.with("NODE__NAME", name).with("CLUSTER__LISTEN", "127.0.0.1:0");
        let home = home.with("PLAYERS__ADMINS", &format!("['{OPERATOR}']"));
        let home = home.with("CLUSTER__SILENT_MS", self.silent_ms);
        let home = home.with("CLUSTER__FORMAT_MAX", self.format_max);
        match &self.url {
            Some(url) => home.with("STORE__URL", url),
            None => home,
        }
    }

    /// A line that nobody used.
    pub fn line(&self) -> String {
        let first = &self.members[0].home;
        wait_for("an unused join line", || {
            first.join_line().filter(|line| !self.used.contains(line))
        })
    }

    /// The line with which the last one joined.
    pub fn used_line(&self) -> &str {
        self.used.last().expect("somebody joined")
    }

    /// Starts a node here with a new line; returns when it takes players.
    pub fn join(&mut self, mut home: Home) {
        let line = self.line();
        let mut command = home.command();
        command.env("STARMESH_CLUSTER__JOIN", &line);
        let mut process = home.spawn_by(command);
        home.wait_until_ready(&mut process);
        self.used.push(line);
        self.members.push(Member { home, process: Some(process) });
    }

    pub fn node(&self, index: usize) -> &Home {
        &self.members[index].home
    }

    /// One more setting of a node, from its next start on.
    pub fn set(&mut self, index: usize, key: &str, value: &str) {
        self.members[index].home.set(key, value);
    }

    pub fn process(&mut self, index: usize) -> &mut Process {
        self.members[index].process.as_mut().expect("it runs")
    }

    /// The process of one that will be started again.
    pub fn take(&mut self, index: usize) -> Process {
        self.members[index].process.take().expect("it runs")
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.take(index).kill();
    }

    /// SIGTERM; it is to end in order.
    pub fn terminate(&mut self, index: usize) {
        let (status, took) = self.take(index).terminate();
        println!("node {} stopped after {took:?}", index + 1);
        assert!(status.success(), "{status}:\n{}", self.node(index).log());
    }

    /// Starts one again that ended, without a line; returns when it has a link.
    pub fn restart(&mut self, index: usize) {
        let Member { home, process } = &mut self.members[index];
        assert!(process.is_none(), "it runs");
        let links = |home: &Home| home.log().matches("link up").count();
        let before = links(home);
        *process = Some(home.start());
        wait_for("a link", || (links(home) > before).then_some(()));
    }

    /// Starts one again that is not to start; what it said.
    pub fn refused(&self, index: usize) -> String {
        let Member { home, process } = &self.members[index];
        assert!(process.is_none(), "it runs");
        let before = home.log().len();
        let status = home.spawn().wait();
        assert_eq!(status.code(), Some(1), "{}", home.log());
        home.log().split_off(before)
    }

    /// The value of a node's metric as soon as it says one: silence shows nothing.
    pub fn metric(&self, index: usize, name: &str) -> f64 {
        let what = format!("{name} of node {}", index + 1);
        wait_for(&what, || metric(&self.node(index).target(), name))
    }

    /// How often a node says that something happened, which it says of nothing that
    /// never did: of what is counted by label.
    pub fn happened(&self, index: usize, name: &str) -> f64 {
        let what = format!("what node {} says of itself", index + 1);
        let said = wait_for(&what, || metrics(&self.node(index).target()));
        value(&said, name).unwrap_or_default()
    }

    /// Whether a node says that it takes players.
    pub fn is_ready(&self, index: usize) -> bool {
        self.readiness(index) == Some(200)
    }

    /// Whether a node says that it takes none.
    pub fn refuses(&self, index: usize) -> bool {
        self.readiness(index) == Some(503)
    }

    /// What a node says, if it says anything.
    fn readiness(&self, index: usize) -> Option<u16> {
        let call = ureq::get(format!("{}/readyz", self.node(index).url())).config();
        let call = call.timeout_global(Some(Duration::from_secs(5))).http_status_as_error(false);
        call.build().call().ok().map(|response| response.status().as_u16())
    }

    /// Waits until node `index` runs sectors that have units.
    pub fn wait_for_units(&self, index: usize) {
        wait_for("a node with units of its own", || {
            (self.metric(index, UNITS) > 0.0).then_some(())
        });
    }

    /// Waits until every node has a link with the ones that joined before it.
    fn wait_until_linked(&self) {
        for member in self.members.iter().skip(1) {
            wait_for("a link", || member.home.log().contains("link up").then_some(()));
        }
    }

    /// Stops all in order, the one with the store last; what they said.
    pub fn stop(mut self) -> Vec<Home> {
        let parked = |index| self.metric(index, "starmesh_entity_parked_count");
        let parked: Vec<f64> = (0..self.count()).map(parked).collect();
        assert!(
            parked.iter().all(|count| *count == 0.0),
            "invariant 22: parked, of each: {parked:?}"
        );
        let mut homes = Vec::new();
        while let Some(Member { home, process }) = self.members.pop() {
            let (status, took) = process.expect("it runs").terminate();
            println!("{} stopped after {took:?}", home.url());
            assert!(status.success(), "{status}:\n{}", home.log());
            homes.push(home);
        }
        homes.reverse();
        homes.iter().for_each(expect_sound);
        homes
    }

    /// Stops all in order and audits what they kept against what a swarm was
    /// told: the store's folder, or a copy of the database in one.
    pub fn audited(self, told: &Told) -> Counts {
        let url = self.url.clone();
        let homes = self.stop();
        let Some(url) = url else { return audit_told(homes[0].data(), told) };
        let copy = homes[0].path().join("copy");
        let copied = starmesh().args(["store", "copy", &url]).arg(&copy).output();
        let copied = copied.expect("the binary starts");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        audit_told(&copy, told)
    }

    /// A swarm on the gateways of all nodes, whose orders are for single units.
    pub fn swarm(&self, clients: u64, seed: u64) -> Swarm {
        Swarm::of(&self.homes(), clients, seed, WARP)
    }

    /// The same, with orders to several units at once.
    pub fn fleets(&self, clients: u64, seed: u64) -> Swarm {
        Swarm::playing(&self.homes(), clients, seed, &scenario(WARP, 4))
    }

    fn homes(&self) -> Vec<&Home> {
        self.members.iter().map(|member| &member.home).collect()
    }

    /// One line: how much each node runs.
    pub fn shown(&self) -> String {
        let each = |index| {
            let (sectors, units) = (self.metric(index, SECTORS), self.metric(index, UNITS));
            format!("node {}: {sectors} sectors, {units} units", index + 1)
        };
        (0..self.members.len()).map(each).collect::<Vec<_>>().join("; ")
    }
}

/// Nothing that only a fault of the product says.
pub fn expect_sound(home: &Home) {
    let log = home.log();
    for bad in ["panicked", "invariant", "replay differs"] {
        assert!(!log.contains(bad), "{bad}:\n{log}");
    }
}
