//! Owns the beat of balancing: once a second this node tells its load to the node
//! that plans, and when that is itself it makes a plan every so often and has it
//! committed. Never weighs anything (`balance::plan` does) and never moves an
//! entity (cores do, when the directory says so). Invariants: without a plan, or
//! without this node, everything goes on where it is; a plan that was overtaken
//! changes nothing, and the next one is made from what is known then.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{SteerError, Steered, Steering};
use crate::actors::peers::PeerMessage;
use crate::base::{Millis, NodeId};
use crate::cluster::core::balance::{
    self, Carried, ClusterLoad, LoadBalanceStrategy, Plan, RestLoad, Rounds, Settings,
};
use crate::cluster::core::map::Map;
use crate::cluster::core::update::TimestampedUpdate;
use crate::telemetry::metrics;

/// Load is told this often.
const BEAT: Duration = Duration::from_secs(1);
/// A node that is not ready for so many beats says that it holds balancing up.
const UNREADY_BEATS: u32 = 5;
/// Of a plan so many moves are logged one by one.
const LOGGED_MAX: usize = 16;

/// What a node balances by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceSettings {
    /// None: it makes no plans.
    pub strategy: Option<LoadBalanceStrategy>,
    pub every_ms: u64,
}

/// The beat of one node.
pub struct Balancer {
    steering: Steering,
    settings: Option<Settings>,
    rounds: Rounds,
    /// Who was silent when the last plan was due.
    silent: Vec<NodeId>,
    /// For so many beats this node has told nothing, because it is not ready.
    unready: u32,
}

impl Balancer {
    pub fn new(steering: Steering, settings: BalanceSettings) -> Balancer {
        let BalanceSettings { strategy, every_ms } = settings;
        let settings = strategy.map(|strategy| steering.settings(strategy));
        let rounds = Rounds::new(every_ms);
        Balancer { steering, settings, rounds, silent: Vec::new(), unready: 0 }
    }

    /// Goes on until it is dropped.
    pub async fn run(mut self) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            self.turn().await;
        }
    }

    async fn turn(&mut self) {
        let entities = &self.steering.entities;
        let Ok(map) = self.steering.map() else { return };
        if entities.is_stopping() {
            return;
        }
        // Before all runs again that ran here, what it would say is too little.
        if !entities.is_ready() {
            return self.note_unready(&map);
        }
        self.note_ready();
        let entities = &self.steering.entities;
        let (data, me) = (entities.load().await, self.steering.me());
        let sectors_us = RestLoad::of(&data.sectors).plus(data.rest).cost_us;
        metrics::LOAD_SECTORS.set(seconds(sectors_us));
        metrics::LOAD_OTHER.set(seconds(data.other_us.into()));
        let now = entities.time().1;
        let update = TimestampedUpdate { data, timestamp: now, server_id: me };
        match balance::planner_of(&map) {
            Some(planner) if planner == me => {
                entities.loads.note((me, entities.about.incarnation()), update, now);
                self.plan(&map, now).await;
            }
            // What the link does not take is said again in a second.
            Some(planner) => {
                _ = entities.mesh.send(planner, PeerMessage::Load(Box::new(update)));
            }
            None => {}
        }
    }

    /// Makes a plan, if one is due.
    async fn plan(&mut self, map: &Map, now: Millis) {
        let Some(settings) = self.settings else { return };
        let loads = &self.steering.entities.loads;
        let settled = loads.read(|told| {
            told.tidy(now);
            told.is_settled(map, now)
        });
        if !self.rounds.is_due(map.directory.version(), settled, now) {
            return;
        }
        let (silent, load) = loads.read(|told| (told.silent(map, now), told.load(map, now)));
        self.note_silent(silent);
        let directory = map.directory.clone();
        // Of a large cluster that takes a while, which sessions would notice.
        let planned = tokio::task::spawn_blocking(move || {
            (balance::plan(&directory, &load, &settings), uneven(&directory, &load, &settings))
        });
        let Ok((plan, uneven)) = planned.await else { return };
        metrics::BALANCE_UNEVEN.set(uneven);
        let outcome =
            if plan.is_empty() { self.at_rest() } else { self.carry_out(map, &plan).await };
        metrics::BALANCE_PLANS.with(&[outcome]).increment(1);
    }

    /// The others know only that this node is silent; when it is the planner they
    /// do not know even that.
    fn note_unready(&mut self, map: &Map) {
        self.unready = self.unready.saturating_add(1);
        metrics::BALANCE_UNREADY.set(self.unready.into());
        if self.unready == UNREADY_BEATS {
            let plans = balance::planner_of(map) == Some(self.steering.me());
            let clock_agrees = self.steering.entities.status.may_claim.load(Ordering::Relaxed);
            tracing::warn!(
                plans,
                clock_agrees,
                "this node tells no load until all that it had runs again: the cluster is balanced \
                 only as far as it must be, and not at all while this is the node that plans"
            );
        }
    }

    fn note_ready(&mut self) {
        if std::mem::take(&mut self.unready) >= UNREADY_BEATS {
            tracing::info!("this node tells its load");
        }
        metrics::BALANCE_UNREADY.set(0.0);
    }

    fn note_silent(&mut self, silent: Vec<NodeId>) {
        if silent != self.silent {
            let nodes: Vec<u32> = silent.iter().map(|node| node.0).collect();
            match nodes.is_empty() {
                true => tracing::info!("all nodes tell their load; it is balanced"),
                false => tracing::warn!(
                    ?nodes,
                    "they live and do not tell their load: until they do only what must move does"
                ),
            }
            self.silent = silent;
        }
    }

    fn at_rest(&self) -> &'static str {
        if self.silent.is_empty() { "even" } else { "silent" }
    }

    async fn carry_out(&self, map: &Map, plan: &Plan) -> &'static str {
        match self.steering.carry_out(map, plan).await {
            Ok(Some(_)) => "committed",
            Ok(None) => {
                tracing::debug!(seen = plan.seen, "a plan was overtaken; nothing was changed");
                "overtaken"
            }
            // It may have been done; the next plan is made from what is there then.
            Err(SteerError::Store(error)) => {
                tracing::debug!(%error, "a plan was not committed, as far as is known");
                "store"
            }
            Err(error) => {
                tracing::warn!(%error, seen = plan.seen, "a plan was refused; nothing was changed");
                "refused"
            }
        }
    }
}

impl Steering {
    /// Makes a plan durable; `None` when another change came first.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn carry_out(&self, map: &Map, plan: &Plan) -> Result<Option<Steered>, SteerError> {
        metrics::BALANCE_PLANNED.increment(plan.moves.len() as u64);
        let steered = self.commit(map, plan.change()).await?;
        if let Some(steered) = &steered {
            log(plan, steered.version);
            for it in &plan.moves {
                metrics::BALANCE_MOVES.with(&[it.why.name()]).increment(1);
            }
        }
        Ok(steered)
    }
}

/// What was decided, and why.
fn log(plan: &Plan, version: u64) {
    for it in plan.moves.iter().take(LOGGED_MAX) {
        let (region, from, to, why) = (it.region, it.from, it.to, it.why);
        let (sectors, weight) = (it.sectors, it.weight);
        tracing::info!(%region, %from, %to, sectors, weight, %why, "moves");
    }
    let (moves, merged) = (plan.moves.len(), plan.merged.len());
    let (released, shares) = (plan.released.len(), plan.shares.len());
    tracing::info!(version, moves, merged, released, shares, "balanced");
}

/// What the node with most carries, as a multiple of its part; 1 where nobody
/// carries anything.
fn uneven(
    directory: &crate::cluster::core::directory::Directory,
    load: &ClusterLoad,
    settings: &Settings,
) -> f64 {
    let carried = balance::carried(directory, load, settings);
    let of = |it: Carried| it.load as f64 / it.part.max(1) as f64;
    carried.into_iter().map(|(_, it)| of(it)).fold(1.0, f64::max)
}

/// Microseconds of each tick as seconds of a second.
fn seconds(us: u64) -> f64 {
    us as f64 / 100_000.0
}
