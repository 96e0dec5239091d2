//! Owns the judging of a run: hands every fact to every invariant, keeps the
//! shadows, and the hash that two runs of a seed must share. Never changes
//! anything in the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use starmesh::base::NodeId;
use starmesh::cluster::core::limits::Limits;
use starmesh::entity::commit::{Append, Commit, NodeRow, Put};
use starmesh::entity::record::decode_record;
use starmesh::entity::{Entity, World, keys};
use starmesh::store::Store;
use starmesh::store::memory::Memory;

use crate::coverage::Coverage;
use crate::invariants;
use crate::process;
use crate::scene::{Fact, Invariant, Scene, Shadow};

/// What went wrong first.
#[derive(Clone, Debug)]
pub struct Failure {
    pub invariant: &'static str,
    pub at_ms: u64,
    pub step: u64,
    pub what: String,
}

/// The judge of one run.
pub struct Witness {
    pub scene: Scene,
    pub failure: Option<Failure>,
    /// Facts so far.
    pub step: u64,
    trace: u64,
    invariants: Vec<Box<dyn Invariant>>,
    /// Which rare things happened.
    pub coverage: Coverage,
    /// Incarnation and number of the last commit seen durable.
    durable: Option<(u64, u64)>,
    /// Print every fact.
    pub loud: bool,
}

impl Witness {
    pub fn new(world: Arc<World>, memory: Arc<Memory>, limits: Limits) -> Witness {
        let (shadows, tables) = (BTreeMap::new(), process::TABLES);
        let (row, ticks) = (None, BTreeMap::new());
        let scene = Scene {
            world,
            memory,
            now: 0,
            limits,
            alone: true,
            in_order: true,
            tables,
            brought: 0,
            row,
            ticks,
            shadows,
        };
        Witness {
            scene,
            failure: None,
            step: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            invariants: invariants::all(),
            coverage: Coverage::default(),
            durable: None,
            loud: false,
        }
    }

    /// The hash over everything noted.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Adds to the trace.
    pub fn mix(&mut self, number: u64) {
        self.trace = (self.trace ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    /// Takes an entity that is in the store when the run begins.
    pub fn import(&mut self, entity: &Entity) {
        let shadow = Shadow::new(entity.clone(), self.scene.world.clone());
        self.scene.shadows.insert(entity.key(), shadow);
        self.note(&Fact::Imported(entity));
    }

    /// Has every invariant judge `fact`.
    pub fn note(&mut self, fact: &Fact<'_>) {
        self.step += 1;
        self.mix(self.scene.now);
        if self.loud {
            println!("{:>9} ms  {}", self.scene.now, describe(fact));
        }
        if let Fact::Never(what) = fact {
            return self.fail("0 what must never happen", what.clone());
        }
        self.coverage.observe(fact, &self.scene);
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.observe(fact, &self.scene) {
                let name = invariant.name();
                return self.fail(name, what);
            }
        }
    }

    /// Has every invariant judge the end.
    pub fn end(&mut self) {
        for invariant in &mut self.invariants {
            let judged = invariant.judged();
            judged.into_iter().for_each(|(what, times)| self.coverage.note(what, times));
            if let Err(what) = invariant.end(&self.scene) {
                let name = invariant.name();
                return self.fail(name, what);
            }
        }
    }

    pub fn fail(&mut self, invariant: &'static str, what: String) {
        let (at_ms, step) = (self.scene.now, self.step);
        self.failure.get_or_insert(Failure { invariant, at_ms, step, what });
    }

    /// Looks whether `commit` is durable now.
    pub fn note_durable(&mut self, commit: &Commit) {
        let row = match self.scene.memory.get(&keys::row(NodeId(1))) {
            Ok(Some(row)) => NodeRow::from_bytes(&row.value),
            _ => return,
        };
        let Ok(row) = row else { return self.fail("0 what must never happen", "bad row".into()) };
        let last = (row.incarnation.0, row.number);
        let is_new = self.durable != Some(last);
        if !is_new || last != (commit.incarnation.0, commit.number) {
            return;
        }
        self.durable = Some(last);
        self.mix(row.tick.0);
        let refused = row.refused.clone();
        self.scene.ticks.insert((commit.node, commit.incarnation), row.tick);
        self.scene.row = Some(row);
        self.note(&Fact::Durable { commit, refused: &refused });
        for (index, group) in (0_u32..).zip(&commit.groups) {
            if let Some(append) = group.append.as_ref().filter(|_| !refused.contains(&index)) {
                self.apply(append);
                self.forget(&group.puts);
            }
        }
    }

    /// Looks whether the store forgot an entity.
    fn forget(&mut self, puts: &[Put]) {
        for put in puts.iter().filter(|put| put.value.is_none()) {
            let Some(key) = keys::parse_head(&put.key) else { continue };
            if let Some(shadow) = self.scene.shadows.remove(&key) {
                self.note(&Fact::Deleted(shadow.entity()));
            }
        }
    }

    fn apply(&mut self, append: &Append) {
        self.mix(u64::from(crc32fast::hash(&append.bytes)));
        let never = "0 what must never happen";
        let (key, world) = (append.entity, self.scene.world.clone());
        let record = match decode_record(&append.bytes) {
            Ok((_, record)) => record,
            Err(error) => return self.fail(never, format!("{key}: {error}")),
        };
        if !self.scene.shadows.contains_key(&key) {
            let Some(genesis) = Entity::genesis(key, &world) else {
                return self.fail(never, format!("{key} does not exist"));
            };
            self.scene.shadows.insert(key, Shadow::new(genesis, world.clone()));
        }
        // Inserted above.
        let Some(before) = self.scene.shadows.get(&key).map(|s| s.entity().clone()) else { return };
        let (mut after, mut effects) = (before.clone(), Vec::new());
        if let Err(error) = after.apply(&record, &world, &mut effects) {
            return self.fail("1 sequences without gap, by the holder", format!("{key}: {error}"));
        }
        if let Some(shadow) = self.scene.shadows.get_mut(&key) {
            shadow.push(after.clone(), world.clone());
        }
        self.note(&Fact::Applied {
            before: &before,
            after: &after,
            record: &record,
            effects: &effects,
        });
    }
}

/// A line for the log of one seed.
fn describe(fact: &Fact<'_>) -> String {
    match fact {
        Fact::Imported(entity) => format!("{} is there already", entity.key()),
        Fact::Busy(what) => format!("busy: {what}"),
        Fact::Attached { entity, player, session, last } => {
            format!("{entity} attaches {player}, session {session}: {last:?}")
        }
        Fact::Waiting(waiting) => format!("the store is away, {waiting:?}"),
        Fact::Began => "the process begins".into(),
        Fact::Ended => "the process ends".into(),
        Fact::Ready => "the process is ready".into(),
        Fact::Claiming(may_claim) => format!("the process may claim: {may_claim}"),
        Fact::Calm => "faults end".into(),
        Fact::Sent(commit) => format!(
            "commit {}.{} tick {} with {} groups",
            commit.incarnation,
            commit.number,
            commit.tick.0,
            commit.groups.len()
        ),
        Fact::Answered(result) => format!("answered {result:?}"),
        Fact::Durable { commit, refused } => {
            format!("durable {}.{} refused {refused:?}", commit.incarnation, commit.number)
        }
        Fact::Applied { after, record, .. } => {
            format!("{} applied {:?} {:?}", after.key(), record.header, record.inputs)
        }
        Fact::Deleted(entity) => format!("{} is forgotten", entity.key()),
        Fact::Ticked(tick) => format!("tick {}", tick.0),
        Fact::Released(release) => format!("released {release:?}"),
        Fact::Loaded(loaded) => {
            let head = loaded.entity.head();
            format!("{} loaded at {:?}, {}", loaded.entity.key(), head.tick, head.sequence)
        }
        Fact::Live(entity) => format!("{} is at {:?}", entity.key(), entity.tick()),
        Fact::Commanded { entity, command } => format!("{entity} is sent {command:?}"),
        Fact::Heard(answer) => format!("heard {answer:?}"),
        Fact::Seen { observer, .. } => {
            format!("{} seen at {:?} by {}", observer.entity, observer.tick, observer.connection)
        }
        Fact::Followed { sector, on } => format!("{sector} is followed: {on}"),
        Fact::RowsDone { id, accepted } => format!("rows {id} accepted: {accepted}"),
        Fact::Never(what) => what.clone(),
    }
}
