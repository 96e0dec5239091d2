//! Invariant 10: every request between entities has exactly one answer once
//! faults have ended. (What clients send is looked after by the run itself:
//! it does not end before everything has its outcome.)

use std::collections::BTreeMap;

use starmesh::base::EntityKey;
use starmesh::entity::effect::Effect;
use starmesh::entity::message::Body;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Requests {
    /// Who asked whom, with which number; how often it was answered.
    answers: BTreeMap<(EntityKey, EntityKey, u64), u32>,
}

impl Invariant for Requests {
    fn name(&self) -> &'static str {
        "10 every request has exactly one answer"
    }

    fn observe(&mut self, fact: &Fact<'_>, _: &Scene) -> Result<(), String> {
        if let Fact::Imported(entity) = fact {
            let asked = entity.head().open_requests.iter();
            self.answers.extend(asked.map(|(id, to)| ((entity.key(), *to, *id), 0)));
        }
        let Fact::Applied { effects, .. } = fact else { return Ok(()) };
        for effect in *effects {
            let Effect::Carry(message) = effect else { continue };
            let (sender, receiver) = (message.channel.sender, message.channel.receiver);
            match &message.body {
                Body::Request { id, .. } => {
                    self.answers.entry((sender, receiver, *id)).or_default();
                }
                Body::Answer { id, .. } => {
                    let name = (receiver, sender, *id);
                    let Some(answers) = self.answers.get_mut(&name) else {
                        return Err(format!("{name:?} is answered and was never asked"));
                    };
                    *answers += 1;
                    if *answers > 1 {
                        return Err(format!("{name:?} is answered twice"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene) -> Result<(), String> {
        if let Some((name, _)) = self.answers.iter().find(|(_, answers)| **answers == 0) {
            return Err(format!("{name:?} was never answered"));
        }
        scene.unsettled().map_or(Ok(()), Err)
    }
}
