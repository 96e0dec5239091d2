//! Owns what a node knows of its cluster and does about it: it reads the nodes'
//! rows and the directory a few times a second, declares dead who is, has the
//! directory name those who live, and finds what others left behind. Never reads
//! a store itself. A node without a cluster has none of this, and owns all that
//! there is.
//!
//! ```text
//!   ReadCluster ──> Cluster ─┬─ a row unmoved ──> group: vacant row ──> others may claim
//!                            ├─ who lives changed, and this is the planner ──> group: directory
//!                            ├─ an incarnation ended ──> ScanOwnedBy ──> loads
//!                            └─ the directory names another ──> hand-over
//! ```
//!
//! The planner is the node with the smallest id of those that live and have the
//! role coordinator, or of all that live where nobody has it; two are harmless,
//! because a change names the version that it was made from.
//!
//! Invariants: nothing is loaded before the directory is known; a node claims
//! what the directory says is its own, or what it was given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::ahead::{Early, Waits};
use super::audit::head;
use super::handover::{Asked, Handed, Leaving};
use super::versions::{Foreign, Retiring};
use super::{NodeCore, NodeEffect, Phase};
use crate::base::{EntityKey, Millis, NodeId, StateHash, Tick};
use crate::cluster::core::deaths::DeathsRead;
use crate::cluster::core::directory::{Change, Directory};
use crate::cluster::core::map::Map;
use crate::cluster::core::members::{Members, RowRead};
use crate::cluster::core::message::NodeMessage;
use crate::cluster::core::pipeline::{Dead, Slot};
use crate::cluster::core::roles::{Role, Roles};
use crate::cluster::core::shares::{self, Takers};
use crate::entity::commit::{Group, Put};
use crate::entity::input::Input;
use crate::entity::keys;

/// Rows and directory are read so often.
const READ_MS: u64 = 200;

/// What is in the store of the other nodes.
#[derive(Clone, Debug)]
pub struct ClusterRead {
    /// Read before the rows.
    pub deaths: DeathsRead,
    /// Of every node that ever was.
    pub rows: Vec<RowRead>,
    pub roles: BTreeMap<NodeId, Roles>,
    /// `None` when its version is still the one asked about.
    pub directory: Option<Directory>,
}

/// What is known of the cluster, and what is under way.
#[derive(Debug)]
pub(super) struct Cluster {
    pub members: Members,
    /// This node's, and those that others said.
    pub own_roles: Roles,
    roles: BTreeMap<NodeId, Roles>,
    pub directory: Arc<Directory>,
    /// What was last handed out.
    shown: Map,
    /// Asked and not answered.
    reading: bool,
    next_read: Millis,
    /// The same, when it is not one of those that come by themselves: somebody's row
    /// will not have moved for as long as it may.
    look_at: Option<Millis>,
    /// Whose entities are to be looked for, because an incarnation ended.
    pub bereft: BTreeSet<NodeId>,
    /// Somebody may be declared dead with the next commit; and whether a
    /// declaration is not settled.
    accusing: bool,
    declaring: bool,
    /// A change of the directory that waits for a commit; and whether one is
    /// not settled.
    change: Option<Group>,
    changing: bool,
    /// What may leave when the row says that tick, in order. Bounded: what is
    /// dropped comes again.
    pub outgoing: VecDeque<(Tick, NodeId, NodeMessage)>,
    /// What is about to leave.
    pub leaving: BTreeMap<EntityKey, Leaving>,
    /// Of those: nothing waits for them any more, and their state's hash.
    pub ready_to_leave: BTreeMap<EntityKey, (Tick, StateHash)>,
    /// What came for those that leave and does not come again: it is seen to when
    /// they are another's.
    pub kept: BTreeMap<EntityKey, Vec<Input>>,
    /// What others offered, loaded before it is given.
    pub ahead: BTreeMap<EntityKey, Early>,
    /// What else they offered, and is loaded when there is a place.
    pub offers: BTreeMap<EntityKey, Waits>,
    /// What nobody has claimed yet, as far as is known, though it is another's.
    pub handed: BTreeMap<EntityKey, Handed>,
    /// What this node was asked to claim; whoever asked is answered when it has.
    pub asked: BTreeMap<EntityKey, Asked>,
    /// Given to nodes of another version, and not yet their snapshot.
    pub retiring: BTreeMap<EntityKey, Retiring>,
    /// What nobody here can run: it is of another version.
    pub foreign: BTreeMap<EntityKey, Foreign>,
    /// Nodes that do not run and have left nothing.
    forgotten: BTreeSet<NodeId>,
    /// Something owned here may belong elsewhere: all of it is to be looked at.
    pub review: bool,
    /// What was owned here and belonged elsewhere when it was looked at, in the
    /// order in which it is offered.
    pub strays: VecDeque<EntityKey>,
}

impl Cluster {
    fn new(me: NodeId, silent_ms: u64) -> Cluster {
        Cluster {
            members: Members::new(me, silent_ms),
            own_roles: Roles::default(),
            roles: BTreeMap::new(),
            directory: Arc::default(),
            shown: Map::default(),
            reading: false,
            next_read: Millis(0),
            look_at: None,
            bereft: BTreeSet::new(),
            accusing: false,
            declaring: false,
            change: None,
            changing: false,
            outgoing: VecDeque::new(),
            leaving: BTreeMap::new(),
            ready_to_leave: BTreeMap::new(),
            kept: BTreeMap::new(),
            ahead: BTreeMap::new(),
            offers: BTreeMap::new(),
            handed: BTreeMap::new(),
            asked: BTreeMap::new(),
            retiring: BTreeMap::new(),
            foreign: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            review: false,
            strays: VecDeque::new(),
        }
    }

    /// Whether a directory was read that gives entities to nodes.
    fn is_known(&self) -> bool {
        self.directory.version() > 0
    }

    fn has_groups(&self) -> bool {
        self.accusing || self.change.is_some()
    }

    fn planner(&self) -> Option<NodeId> {
        self.with_role(Role::Coordinator).next().or_else(|| self.members.living().next())
    }

    /// Who lives and has this role, ascending.
    fn with_role(&self, role: Role) -> impl Iterator<Item = NodeId> {
        let roles = |node: &NodeId| self.roles.get(node).copied().unwrap_or_default();
        self.members.living().filter(move |node| roles(node).has(role))
    }

    /// Who of them is to have something; where all are to be left, nobody is.
    fn takers(&self, role: Role) -> Vec<NodeId> {
        let all: Vec<NodeId> = self.with_role(role).collect();
        let is_kept = |node: &NodeId| !self.directory.is_draining(*node);
        let kept: Vec<NodeId> = all.iter().copied().filter(is_kept).collect();
        if kept.is_empty() { all } else { kept }
    }
}

impl NodeCore {
    /// The same core as one node of several that share the store.
    #[must_use]
    pub fn in_cluster(mut self) -> NodeCore {
        self.cluster = Some(Cluster::new(self.node, self.limits.silent_ms));
        self
    }

    /// The same with these roles, where it has all else.
    #[must_use]
    pub fn with_roles(mut self, roles: Roles) -> NodeCore {
        self.cluster.iter_mut().for_each(|cluster| cluster.own_roles = roles);
        self
    }

    /// What begins an incarnation: with it the node says what it may do.
    pub(super) fn began(&self) -> Group {
        let roles = self.cluster.as_ref().map(|cluster| cluster.own_roles.to_bytes());
        let put = roles.map(|roles| Put { key: keys::roles(self.node), value: Some(roles) });
        Group { puts: put.into_iter().collect(), ..Group::default() }
    }

    /// Nodes of the cluster that live, as far as is known here; none without a
    /// cluster.
    pub fn living(&self) -> Vec<NodeId> {
        self.cluster.as_ref().map(|it| it.members.living().collect()).unwrap_or_default()
    }

    /// The version of the directory that is known here.
    pub fn directory_version(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.directory.version())
    }

    /// Whether it is known which entities are this node's.
    pub(super) fn knows_its_own(&self) -> bool {
        self.cluster.as_ref().is_none_or(Cluster::is_known)
    }

    /// Whether the cluster wants something committed.
    pub(super) fn cluster_has_work(&self) -> bool {
        self.cluster.as_ref().is_some_and(Cluster::has_groups)
    }

    /// When rows are to be read that nothing else would be done for.
    pub(super) fn look_at(&self) -> Option<Millis> {
        let cluster = self.cluster.as_ref().filter(|cluster| !cluster.reading);
        cluster.and_then(|cluster| cluster.look_at)
    }

    /// Has rows and directory read when it is time to.
    pub(super) fn read_cluster(&mut self, now: Millis) {
        let Some(cluster) = &mut self.cluster else { return };
        if self.phase != Phase::Beginning && !cluster.reading && now >= cluster.next_read {
            cluster.reading = true;
            cluster.next_read = Millis(now.0 + READ_MS);
            cluster.look_at = None;
            let version = cluster.directory.version();
            self.effects.push(NodeEffect::ReadCluster { version });
        }
    }

    /// What was read, `None` when the store did not answer.
    pub(super) fn handle_cluster(&mut self, read: Option<ClusterRead>, now: Millis) {
        self.forget_offers(now);
        let Some(cluster) = &mut self.cluster else { return };
        cluster.reading = false;
        let Some(ClusterRead { deaths, rows, roles, directory }) = read else { return };
        cluster.roles = roles;
        let living: Vec<NodeId> = cluster.members.living().collect();
        let vacant: Vec<NodeId> =
            rows.iter().filter(|read| read.row.is_vacant()).map(|read| read.node).collect();
        cluster.members.note_deaths(&deaths, now);
        let ended = cluster.members.note_rows(rows, now);
        // Who may be dead then need not wait for the reading after that.
        cluster.look_at = cluster.members.silent_at(now).filter(|at| *at < cluster.next_read);
        cluster.next_read = cluster.look_at.unwrap_or(cluster.next_read);
        let somebody_ended = !ended.is_empty();
        if somebody_ended {
            // They may have given this node something that they could not say any
            // more: its own keys are looked at, too.
            ended.iter().for_each(|node| _ = cluster.forgotten.remove(node));
            cluster.bereft.extend(ended);
            cluster.bereft.insert(self.node);
        }
        cluster.review |= !cluster.members.living().eq(living);
        if let Some(directory) = directory {
            let is_first = !cluster.is_known() && directory.version() > 0;
            cluster.directory = Arc::new(directory);
            cluster.review = true;
            self.census.note_moved();
            let known = &cluster.forgotten;
            cluster.bereft.extend(vacant.into_iter().filter(|node| !known.contains(node)));
            if is_first {
                self.effects.push(NodeEffect::ScanOwned);
            }
        }
        cluster.accusing =
            self.may_claim && !cluster.declaring && cluster.members.deaths(now).is_some();
        if somebody_ended {
            self.look_for_attempts();
        }
        self.compare_heads();
        self.plan_shares();
        self.show_map();
        self.look_for_claims(now);
        self.recount_asleep(now);
        self.look_for_bereft();
        self.hand_over_strays(now);
        self.say_handed(now);
        self.ask_for_logic(now);
    }

    /// The shells are told when what they may know changed.
    fn show_map(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let nodes = cluster.members.standings();
        if cluster.shown.directory.version() != cluster.directory.version()
            || cluster.shown.nodes != nodes
            || cluster.shown.roles != cluster.roles
        {
            let (directory, roles) = (cluster.directory.clone(), cluster.roles.clone());
            cluster.shown = Map { directory, nodes, roles };
            self.effects.push(NodeEffect::Map(cluster.shown.clone()));
        }
    }

    /// As long as a change is not settled no other is made.
    fn plan_shares(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.changing || self.settling || cluster.planner() != Some(self.node) {
            return;
        }
        let (sectors, meta) = (cluster.takers(Role::Sector), cluster.takers(Role::Meta));
        let plan = shares::plan(&cluster.directory, &Takers { sectors, meta }, &self.world.galaxy);
        // Also one that gives nobody anything: until there is one no node is ready.
        let first = (!cluster.is_known()).then(Change::default);
        if let Some(change) = plan.or(first) {
            cluster.changing = true;
            cluster.change = Some(change.group());
        }
    }

    fn look_for_bereft(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.is_known() {
            let nodes = std::mem::take(&mut cluster.bereft);
            self.effects.extend(nodes.into_iter().map(NodeEffect::ScanOwnedBy));
        }
    }

    /// What `node` has or had, by the keys; `None` when they could not be read.
    pub(super) fn handle_owned_by(&mut self, node: NodeId, entities: Option<Vec<EntityKey>>) {
        let Some(entities) = entities else {
            self.cluster.iter_mut().for_each(|cluster| _ = cluster.bereft.insert(node));
            return;
        };
        if let Some(cluster) = &mut self.cluster
            && entities.is_empty()
            && !cluster.members.is_living(node)
        {
            cluster.forgotten.insert(node);
        }
        let (is_own, mut strays) = (node == self.node, Vec::new());
        if is_own {
            self.note_own_keys(&entities);
        }
        for entity in entities {
            if self.owned.contains_key(&entity) {
                continue;
            }
            match self.is_ours(entity) {
                true => self.loading.want_left(entity),
                false if is_own => strays.push((entity, Handed::UNTOLD)),
                false => {}
            }
        }
        self.cluster.iter_mut().for_each(|cluster| cluster.handed.extend(strays.iter().copied()));
    }

    /// Groups for the next commit.
    pub(super) fn take_cluster_groups(&mut self, now: Millis) -> Vec<(Group, Slot)> {
        let Some(cluster) = &mut self.cluster else { return Vec::new() };
        let is_accusing = std::mem::take(&mut cluster.accusing);
        let deaths = cluster.members.deaths(now).filter(|_| is_accusing);
        cluster.declaring |= deaths.is_some();
        let members = &cluster.members;
        let dead = |node: &NodeId| {
            let row = members.row(*node)?;
            Some(Dead { node: *node, last: head(row), tick: row.tick })
        };
        let deaths = deaths
            .into_iter()
            .map(|(nodes, group)| (group, Slot::Deaths(nodes.iter().filter_map(dead).collect())));
        let change = cluster.change.take().map(|group| (group, Slot::Directory));
        deaths.chain(change).collect()
    }

    /// A declaration is settled; when it was refused, what it was made from is read
    /// anew first.
    pub(super) fn note_declared(&mut self, dead: Vec<Dead>, accepted: bool) {
        if accepted {
            self.counts.deaths += dead.len() as u64;
            dead.into_iter().for_each(|it| self.signing.note_buried(it));
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.declaring = false;
            cluster.next_read = Millis(0);
        }
    }

    /// A change is settled; when it lost against another, that one is read first.
    pub(super) fn note_directory_settled(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.changing = false;
            cluster.next_read = Millis(0);
        }
    }
}
