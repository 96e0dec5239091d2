//! Invariant 22: a process is ready when it has claimed everything that this
//! node owned, two seconds after its begin at the latest if nothing goes wrong;
//! and once faults have ended, whoever a message waits for is claimed within
//! two seconds of when the message was carried.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, Incarnation};

use crate::scene::{Fact, Invariant, Scene};

const CLAIMED_MS: u64 = 2000;
/// What found no room is carried again after two seconds, three times at most
/// while others are being loaded, one at a time in some runs.
const CARRIED_MS: u64 = 6200;

#[derive(Default)]
pub struct Claimed {
    calm: bool,
    /// The process began when faults had ended, at this time.
    began: Option<u64>,
    ready: bool,
    may_claim: bool,
    /// Who is to be claimed for a message, and since when.
    wanted: BTreeMap<EntityKey, u64>,
    restarts: u64,
    woken: u64,
}

impl Invariant for Claimed {
    fn name(&self) -> &'static str {
        "22 who has work is claimed in time"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        match fact {
            Fact::Calm => {
                self.calm = true;
                self.wanted.clear();
            }
            Fact::Began => {
                self.began = self.calm.then_some(scene.now);
                (self.ready, self.may_claim) = (false, true);
                self.wanted.clear();
            }
            Fact::Claiming(may_claim) => {
                self.may_claim = *may_claim;
                self.began = None;
                self.wanted.clear();
            }
            Fact::Ready => return self.ready(scene),
            Fact::Ticked(_) if self.calm && self.ready && self.may_claim => {
                return self.look(scene);
            }
            _ => {}
        }
        Ok(())
    }

    fn judged(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("ready after a restart without faults", self.restarts),
            ("claimed for a message in the calm", self.woken),
        ]
    }
}

impl Claimed {
    fn ready(&mut self, scene: &Scene) -> Result<(), String> {
        self.ready = true;
        let owner = incarnation(scene);
        for (key, shadow) in &scene.shadows {
            let claim = shadow.entity().head().claim.map(|open| open.claim.incarnation);
            if claim.is_some() && claim != owner {
                return Err(format!("ready, but {key} is still claimed by {claim:?} of {owner:?}"));
            }
        }
        let Some(began) = self.began.take() else { return Ok(()) };
        self.restarts += 1;
        if scene.now <= began + CLAIMED_MS {
            return Ok(());
        }
        Err(format!("began at {began} ms and was ready at {} ms", scene.now))
    }

    fn look(&mut self, scene: &Scene) -> Result<(), String> {
        let owner = incarnation(scene);
        let runs = |key: EntityKey| {
            let claim = scene.shadow(key).and_then(|entity| entity.head().claim);
            claim.is_some_and(|open| Some(open.claim.incarnation) == owner)
        };
        let before = std::mem::take(&mut self.wanted);
        for (key, shadow) in &scene.shadows {
            let head = shadow.entity().head();
            for (receiver, _) in head.outbox.bodies().filter(|_| runs(*key)) {
                if !runs(receiver) {
                    let since = before.get(&receiver).copied().unwrap_or(scene.now);
                    self.wanted.insert(receiver, since);
                }
            }
        }
        self.woken += before.keys().filter(|key| runs(**key)).count() as u64;
        let late = self.wanted.iter().find(|(_, since)| scene.now > **since + CARRIED_MS);
        late.map_or(Ok(()), |(key, since)| {
            Err(format!("{key} has a message since {since} ms and nobody claims it"))
        })
    }
}

fn incarnation(scene: &Scene) -> Option<Incarnation> {
    scene.row.as_ref().map(|row| row.incarnation)
}
