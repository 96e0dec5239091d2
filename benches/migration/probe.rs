//! What clients of a sector notice: probes, commands that each have a time at
//! which they are due, whether or not those before were answered, and watchers,
//! which note each step that they are shown. A probe's time runs from when it was
//! due, so that waiting to be sent counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use starmesh::base::EntityKey;
use starmesh::client::{CommandError, Event, Wanted};
use starmesh::protocol::command::Target as Aim;
use starmesh::protocol::{Order, Recipients};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::fleet::{Captain, Field};

/// An answer may come so long after the last probe.
const SETTLE: Duration = Duration::from_secs(20);
/// Ticks of a place from one step to the next.
pub const STEP_TICKS: u64 = 2;
/// How far a ship is sent, in thousandths of the sector's side.
const STRAY: u32 = 10;

#[derive(Clone, Copy)]
pub struct Answered {
    pub due: Instant,
    pub at: Instant,
}

/// What was wrong, over all probes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lost: u64,
    /// Answered a second time.
    pub doubled: u64,
    /// Applied after one that the player gave later.
    pub reordered: u64,
    pub refused: u64,
}

#[derive(Default)]
pub struct Probes {
    pub answered: Vec<Answered>,
    pub faults: Faults,
}

#[derive(Clone, Copy)]
pub struct Shown {
    pub at: Instant,
    pub tick: u64,
    pub keyframe: bool,
}

/// What a watcher was shown, in order.
#[derive(Default)]
pub struct Steps {
    pub shown: Vec<Shown>,
    /// A message was missing, or a keyframe differed from what it followed.
    pub broken: u64,
}

/// When probes of one player are due.
#[derive(Clone, Copy)]
pub struct Schedule {
    pub first: Instant,
    pub every: Duration,
}

struct Prober {
    captain: Captain,
    field: Field,
    schedule: Schedule,
    given: u32,
    /// Due times of what is not answered, by sequence.
    waiting: BTreeMap<u32, Instant>,
    /// Records that hold what was answered, by sequence.
    records: BTreeMap<u32, u64>,
}

/// Gives commands until `stop`, then waits for the answers.
pub async fn probe(
    captain: Captain,
    field: Field,
    schedule: Schedule,
    probes: Arc<Mutex<Probes>>,
    mut stop: watch::Receiver<bool>,
) {
    let (waiting, records) = (BTreeMap::new(), BTreeMap::new());
    let mut prober = Prober { captain, field, schedule, given: 0, waiting, records };
    while !*stop.borrow_and_update() {
        let next = prober.give();
        prober.take(next, &probes).await;
    }
    let end = Instant::now() + SETTLE;
    while !prober.waiting.is_empty() && Instant::now() < end {
        prober.take(end, &probes).await;
    }
    let mut probes = probes.lock().unwrap();
    probes.faults.lost += prober.waiting.len() as u64;
    let records: Vec<u64> = prober.records.into_values().filter(|record| *record > 0).collect();
    probes.faults.reordered += records.windows(2).filter(|two| two[0] > two[1]).count() as u64;
}

impl Prober {
    /// Gives all that is due and has room; when to look again.
    fn give(&mut self) -> Instant {
        loop {
            let due = self.schedule.first + self.schedule.every * self.given;
            if due > Instant::now() {
                return due;
            }
            let (now, place) = (self.captain.client.now(), EntityKey::Sector(self.field.sector));
            let wanted = self.wanted();
            match self.captain.client.core().command(now, place, wanted) {
                Ok(sequence) => _ = self.waiting.insert(sequence, due),
                Err(CommandError::Full | CommandError::NotConnected) => {
                    return Instant::now() + self.schedule.every;
                }
                Err(error) => panic!("{error}"),
            }
            self.given += 1;
        }
    }

    /// Its next ship goes there or back.
    fn wanted(&self) -> Wanted {
        let count = self.captain.ships.len();
        let ship = self.captain.ships[self.given as usize % count];
        let by = STRAY * (self.given / count as u32 % 2);
        let target = Aim::Position(self.field.place(self.captain.number, by));
        Wanted {
            recipients: Recipients::Units(vec![ship]),
            order: Order::MoveFleet { target },
            queue: false,
            predicted: None,
        }
    }

    async fn take(&mut self, until: Instant, probes: &Mutex<Probes>) {
        let Some(event) = self.captain.client.next(until).await else { return };
        let mut probes = probes.lock().unwrap();
        match event {
            Event::Answered { command, ack, .. } => {
                let sequence = command.command.sequence;
                probes.faults.refused += u64::from(!ack.success);
                match self.waiting.remove(&sequence) {
                    Some(due) => probes.answered.push(Answered { due, at: Instant::now() }),
                    None => probes.faults.doubled += 1,
                }
                self.records.insert(sequence, ack.entity_sequence);
            }
            Event::GaveUp { command, .. } => {
                self.waiting.remove(&command.command.sequence);
                probes.faults.lost += 1;
            }
            _ => {}
        }
    }
}

/// Notes what it is shown of the field until `stop`.
pub async fn watch(
    mut captain: Captain,
    field: Field,
    steps: Arc<Mutex<Steps>>,
    mut stop: watch::Receiver<bool>,
) {
    let now = captain.client.now();
    captain.client.core().subscribe(now, &[field.sector]);
    let watched = EntityKey::Sector(field.sector);
    while !*stop.borrow_and_update() {
        let until = Instant::now() + Duration::from_millis(100);
        match captain.client.next(until).await {
            Some(Event::Updated { place, tick, keyframe }) if place == watched => {
                let shown = Shown { at: Instant::now(), tick, keyframe };
                steps.lock().unwrap().shown.push(shown);
            }
            Some(Event::Gap { .. } | Event::Desync { .. } | Event::Stray { .. }) => {
                steps.lock().unwrap().broken += 1;
            }
            _ => {}
        }
    }
}
