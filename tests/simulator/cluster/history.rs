//! Owns what durable records made of every entity of a cluster, whichever nodes
//! wrote them, and has the invariants of the one-node simulator judge it. Never asks
//! a node anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use starmesh::base::{EntityKey, Incarnation, NodeId, SectorId, UnitId};
use starmesh::cluster::core::limits::Limits;
use starmesh::entity::commit::{Append, Commit, NodeRow};
use starmesh::entity::envelope::Logic;
use starmesh::entity::input::Input;
use starmesh::entity::kinds::Kind;
use starmesh::entity::record::{Record, decode_record};
use starmesh::entity::{Entity, World, keys};
use starmesh::store::Store;
use starmesh::store::memory::Memory;

use crate::invariants;
use crate::scene::{Fact, Invariant, Scene, Shadow};

pub struct History {
    scene: Scene,
    /// All that any process of the cluster may run.
    worlds: Vec<Arc<World>>,
    invariants: Vec<Box<dyn Invariant>>,
}

impl History {
    pub fn new(memory: &Arc<Memory>, worlds: Vec<Arc<World>>, limits: Limits) -> History {
        let scene = Scene {
            // There is one at least.
            world: worlds[0].clone(),
            memory: memory.clone(),
            now: 0,
            limits,
            alone: false,
            in_order: true,
            tables: 1,
            brought: 0,
            row: None,
            ticks: BTreeMap::new(),
            shadows: BTreeMap::new(),
        };
        History { scene, worlds, invariants: invariants::of_clusters() }
    }

    /// Has every invariant judge `fact`.
    pub fn note(&mut self, fact: &Fact<'_>) {
        for invariant in &mut self.invariants {
            let judged = invariant.observe(fact, &self.scene);
            judged.unwrap_or_else(|what| panic!("{}: {what}", invariant.name()));
        }
    }

    /// The same of what was seen of an entity.
    pub fn note_seen(&mut self, fact: &Fact<'_>, entity: EntityKey) {
        if let Some(shadow) = self.scene.shadows.get(&entity) {
            self.scene.world = shadow.world().clone();
        }
        self.note(fact);
    }

    /// The store has taken a commit, but for these groups.
    pub fn note_durable(&mut self, commit: &Commit, refused: &[u32], now: u64) {
        self.scene.now = now;
        let row = self.scene.memory.get(&keys::row(commit.node)).expect("the memory answers");
        let row = NodeRow::from_bytes(&row.expect("a row").value).expect("a row");
        self.scene.ticks.insert((commit.node, commit.incarnation), row.tick);
        self.note(&Fact::Sent(commit));
        self.note(&Fact::Durable { commit, refused });
        let groups = (0_u32..).zip(&commit.groups);
        for (_, group) in groups.filter(|(index, _)| !refused.contains(index)) {
            let Some(append) = &group.append else { continue };
            self.apply(append);
            let deleted = group.puts.iter().filter(|put| put.value.is_none());
            for key in deleted.filter_map(|put| keys::parse_head(&put.key)) {
                if let Some(shadow) = self.scene.shadows.remove(&key) {
                    self.note(&Fact::Deleted(shadow.entity()));
                }
            }
        }
    }

    fn world(&self, logic: Logic) -> Arc<World> {
        let world = self.worlds.iter().find(|world| world.logic() == logic);
        world.expect("a world of the cluster").clone()
    }

    fn apply(&mut self, append: &Append) {
        let (key, now) = (append.entity, self.scene.now);
        let (logic, record) = decode_record(&append.bytes).expect("a record");
        let world = self.world(logic);
        let fresh = || Shadow::new(Entity::genesis(key, &world).expect("it exists"), world.clone());
        let shadow = self.scene.shadows.entry(key).or_insert_with(fresh);
        let (before, old) = (shadow.entity().clone(), shadow.world().clone());
        let (mut after, mut effects) = (before.clone(), Vec::new());
        self.check_claim(&before, &record);
        if old.logic() != logic && !after.is_idle() {
            // Up to its record it is run by what it had.
            after.run_to(record.header.tick, &old, &mut effects);
        }
        let applied = after.apply(&record, &world, &mut effects);
        applied.unwrap_or_else(|error| panic!("1: {key} at {now}: {error}"));
        // The steps up to the record are made by what it had.
        self.scene.world = old;
        let shadow = self.scene.shadows.get_mut(&key).expect("inserted above");
        shadow.push(after.clone(), world);
        self.note(&Fact::Applied {
            before: &before,
            after: &after,
            record: &record,
            effects: &effects,
        });
    }

    /// Whose claim was open is dead, or has begun anew.
    fn check_claim(&self, before: &Entity, record: &Record) {
        let is_claim = |input: &Input| matches!(input, Input::Claim(_));
        let Some(open) = before.head().claim.filter(|_| record.inputs.iter().any(is_claim)) else {
            return;
        };
        let (node, incarnation) = (open.claim.node, open.claim.incarnation);
        let row = self.scene.memory.get(&keys::row(node)).expect("the memory answers");
        let row = NodeRow::from_bytes(&row.expect("a row").value).expect("a row");
        let key = before.key();
        assert!(row.incarnation > incarnation, "2: {key} is claimed, but {node} has it and lives");
    }

    /// Whether an entity has a record.
    pub fn knows(&self, key: EntityKey) -> bool {
        self.scene.shadows.contains_key(&key)
    }

    /// Who has an entity by its last record.
    pub fn owner(&self, key: EntityKey) -> Option<(NodeId, Incarnation)> {
        let open = self.scene.shadow(key)?.head().claim?;
        Some((open.claim.node, open.claim.incarnation))
    }

    /// Where the unit is by the last records.
    pub fn place(&self, unit: UnitId) -> Option<SectorId> {
        let places = self.scene.shadows.iter().filter_map(|(key, shadow)| {
            let (EntityKey::Sector(sector), Kind::Sector(state)) = (key, shadow.entity().kind())
            else {
                return None;
            };
            let unit = state.state().units().iter().find(|it| it.id == unit)?;
            Some((unit.hops, *sector))
        });
        places.max().map(|(_, sector)| sector)
    }

    /// Why not everything between entities has come to its end.
    pub fn unsettled(&self) -> Option<String> {
        self.scene.unsettled()
    }

    /// Has every invariant judge the end.
    pub fn end(&mut self) {
        for invariant in &mut self.invariants {
            let judged = invariant.end(&self.scene);
            judged.unwrap_or_else(|what| panic!("{}, at the end: {what}", invariant.name()));
        }
    }
}
