//! Owns one run: from a seed a storm of faults, then a calm in which
//! everything must come to its end, then the judgement of the end.

use std::sync::Arc;

use starmesh::base::{Millis, PlayerId};
use starmesh::cluster::core::node::Event;
use starmesh::entity::commit::NodeRow;
use starmesh::entity::keys;
use starmesh::entity::replay::replay;
use starmesh::store::faults::{Counts, Faulty};
use starmesh::store::memory::Memory;
use starmesh::store::{Store, recovery};

use crate::client::Client;
use crate::coverage::Coverage;
use crate::outside::{EPOCH_MS, Outside};
use crate::past;
use crate::process::{NODE, Process};
use crate::queue::{Happening, InNode};
use crate::random::Random;
use crate::registrar::Registrar;
use crate::scenario::Scenario;
use crate::scene::Fact;
use crate::witness::{Failure, Witness};

/// After faults end everything is settled within this time.
const CALM_MS_MAX: u64 = 120_000;
/// Settlers may come one by one, each when the sector is woken for it.
const SETTLER_MS: u64 = 2_500;
const QUIET_MS: u64 = 45 * 60 * 1000;

/// What came of a run.
pub struct Outcome {
    pub failure: Option<Failure>,
    /// Equal for equal seeds.
    pub trace: u64,
    pub virtual_ms: u64,
    pub faults: Counts,
    pub processes: u64,
    pub steps: u64,
    pub coverage: Coverage,
}

struct Simulation {
    outside: Outside,
    process: Option<Process>,
    processes: u64,
    clients: Vec<Client>,
    registrar: Registrar,
    calm_since: u64,
    settled: bool,
}

/// Runs `seed`; `loud` prints every fact.
pub fn run(seed: u64, loud: bool) -> Outcome {
    let mut random = Random::new(seed);
    let scenario = Scenario::draw(&mut random);
    if loud {
        println!("seed {seed}: {scenario:?}");
    }
    let world = scenario.world(seed);
    let memory = Arc::new(Memory::new());
    let store = Faulty::new(memory.clone(), random.number(), scenario.rates);
    let mut witness = Witness::new(world.clone(), memory.clone(), scenario.limits);
    witness.loud = loud;
    witness.scene.in_order = !scenario.unruly;
    if scenario.settlers > 0 {
        let (player, now) = (PlayerId(scenario.clients[0]), Millis(EPOCH_MS));
        witness.import(&past::import(&memory, &world, player, scenario.settlers, now));
    }
    if scenario.caravan {
        let (player, now) = (PlayerId(scenario.clients[0]), Millis(EPOCH_MS));
        witness.import(&past::caravan(&memory, &world, player, now));
    }
    let clients = scenario.clients.iter().enumerate();
    let clients = clients.map(|(index, player)| Client::new(index, *player)).collect();
    let registrar = Registrar::new(scenario.registrations);
    let mut simulation = Simulation {
        outside: Outside::new(random, scenario, store, world, witness),
        process: None,
        processes: 0,
        clients,
        registrar,
        calm_since: 0,
        settled: false,
    };
    simulation.schedule();
    simulation.run();
    simulation.outcome()
}

impl Simulation {
    /// The storm: what happens when, whatever the node does.
    fn schedule(&mut self) {
        let out = &mut self.outside;
        out.push_in(0, Happening::Start);
        let storm = out.scenario.storm_ms;
        for index in 0..self.clients.len() {
            let at = out.random.below(2000);
            out.push_in(at, Happening::ClientActs(index));
        }
        out.push_in(500, Happening::RegistrarActs);
        for _ in 0..out.scenario.crashes {
            let at = out.random.below(storm);
            out.push_in(at, Happening::Crash);
        }
        for _ in 0..out.scenario.clock_jumps {
            let at = out.random.below(storm);
            out.push_in(at, Happening::ClockJumps);
        }
        for _ in 0..out.scenario.moves {
            let at = out.random.below(storm);
            out.push_in(at, Happening::SectorMoves);
        }
        for _ in 0..storm / 2000 {
            let at = out.random.below(storm);
            out.push_in(at, Happening::StorePins);
        }
        let mut calm = storm;
        if out.scenario.quiet {
            let until = storm + QUIET_MS;
            (0..3).for_each(|n| out.push_in(storm + n * 60_000, Happening::OperatorLooks));
            self.clients.iter_mut().for_each(|client| client.be_quiet(storm, until));
            calm = until + 5000;
        }
        out.push_in(calm, Happening::Calm);
    }

    fn run(&mut self) {
        while !self.settled && self.outside.witness.failure.is_none() {
            let Some((at, happening)) = self.outside.queue.pop() else { return };
            self.outside.now = at;
            self.outside.witness.scene.now = at;
            self.outside.store.set_time(self.outside.steady());
            self.outside.store.set_clock(self.outside.wall());
            self.handle(happening);
            if self.process.as_ref().is_some_and(|process| process.deposed) {
                self.crash();
            }
        }
    }

    fn handle(&mut self, happening: Happening) {
        let out = &mut self.outside;
        match happening {
            Happening::Start => self.start(),
            Happening::Crash => self.crash(),
            Happening::InNode(id, message) => {
                if let Some(process) = self.process.as_mut().filter(|process| process.id == id) {
                    process.handle(message, out);
                    // What hibernates does so in a moment, which is to be hit.
                    let is_closing = process.core.closing() > 0;
                    if is_closing && !out.calm && out.random.chance(5) {
                        self.crash();
                    }
                }
            }
            Happening::Request { connection, request } => {
                if let Some(process) = &mut self.process {
                    process.request(connection, request, out);
                }
            }
            Happening::ToClient { client, connection, message } => {
                self.clients[client].hear(connection, message, out);
            }
            Happening::ClientActs(client) => self.clients[client].act(out),
            Happening::RegistrarActs => self.registrar.act(self.process.as_mut(), out),
            Happening::ClockJumps => out.jump(),
            Happening::OperatorLooks => self.start_again_if_off(),
            Happening::SectorMoves => {
                if let Some(process) = &mut self.process {
                    process.move_one(out);
                }
            }
            Happening::StorePins => self.pin(),
            Happening::Calm => self.calm(),
            Happening::Settled => self.look_whether_settled(),
        }
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let out = &mut self.outside;
        let row = match out.store.get(&keys::row(NODE)) {
            Ok(row) => row.and_then(|row| NodeRow::from_bytes(&row.value).ok()),
            Err(_) => return out.push_in(100, Happening::Start),
        };
        self.processes += 1;
        self.process = Some(Process::start(self.processes, row.as_ref(), out));
    }

    fn crash(&mut self) {
        let Some(process) = self.process.take() else { return };
        process.kill(&mut self.outside);
        let out = &mut self.outside;
        let down = match out.random.below(10) {
            0 if !out.calm => out.random.below(6000),
            _ => out.random.below(500),
        };
        out.push_in(down, Happening::Start);
    }

    fn pin(&mut self) {
        let Some(process) = &mut self.process else { return };
        // Also of those that hibernate.
        let keys: Vec<_> = self.outside.witness.scene.shadows.keys().copied().collect();
        let pinned = keys.into_iter().filter(|_| self.outside.random.chance(300)).collect();
        let message = InNode::Core(Event::Pinned(pinned));
        self.outside.later_in_node(process.id, 0, message);
    }

    fn calm(&mut self) {
        self.outside.calm = true;
        self.outside.store.heal();
        self.outside.witness.note(&Fact::Calm);
        self.calm_since = self.outside.now;
        // At times long enough for units to cross another border.
        let look_in = if self.outside.random.chance(250) { 12_000 } else { 2000 };
        self.outside.push_in(look_in, Happening::Settled);
    }

    /// Whoever runs it reads that its clock is off, and starts it again.
    fn start_again_if_off(&mut self) {
        if self.process.as_ref().is_some_and(|process| !process.may_claim) {
            self.crash();
        }
    }

    /// Everything sent has its outcome, everything asked its answer.
    fn look_whether_settled(&mut self) {
        self.start_again_if_off();
        let Some(why) = self.unsettled() else {
            self.settled = true;
            return;
        };
        let most = CALM_MS_MAX + SETTLER_MS * self.outside.scenario.settlers;
        if self.outside.now > self.calm_since + most {
            return self.outside.witness.fail("10 everything is answered once faults end", why);
        }
        self.outside.push_in(500, Happening::Settled);
    }

    fn unsettled(&mut self) -> Option<String> {
        let Some(process) = &mut self.process else { return Some("no process runs".into()) };
        if !process.ready {
            return Some("the node is not ready".into());
        }
        if let Some(why) = self.clients.iter().find_map(Client::unsettled) {
            return Some(why);
        }
        if let Some(why) = self.registrar.unsettled() {
            return Some(why);
        }
        if let Some(why) = process.due(&self.outside) {
            return Some(why);
        }
        self.outside.witness.scene.unsettled()
    }

    /// The end: what the node has, and what the store has, is what the
    /// journal says.
    fn judge_end(&mut self) {
        let out = &mut self.outside;
        if let Some(process) = &self.process {
            process.show_live(out);
        }
        let shadows: Vec<_> = out.witness.scene.shadows.keys().copied().collect();
        for key in shadows {
            let image = recovery::image(&out.store, key);
            let replayed = image.map(|image| replay(key, &image, &out.world));
            match replayed {
                Ok(Ok(replayed)) if replayed.mismatches.is_empty() => {
                    out.witness.note(&Fact::Live(&replayed.entity));
                }
                Ok(Ok(replayed)) => {
                    let what = format!("{key}: {:?}", replayed.mismatches);
                    out.witness.note(&Fact::Never(what));
                }
                other => out.witness.note(&Fact::Never(format!("{key}: {other:?}"))),
            }
        }
        out.witness.end();
    }

    fn outcome(mut self) -> Outcome {
        if self.outside.witness.failure.is_none() {
            self.judge_end();
        }
        let mut out = self.outside;
        if let Some(process) = &self.process {
            let dropped = process.core.counts().dropped;
            out.witness.coverage.note("proposal dropped while loading", dropped);
        }
        Outcome {
            failure: out.witness.failure.clone(),
            trace: out.witness.trace(),
            virtual_ms: out.now,
            faults: out.store.counts(),
            processes: self.processes,
            steps: out.witness.step,
            coverage: out.witness.coverage,
        }
    }
}
