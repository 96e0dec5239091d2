//! Invariant 9: of every channel the messages 1…m are applied in order, each
//! as it was sent; in the end all that were sent.

use std::collections::BTreeMap;

use starmesh::entity::Entity;
use starmesh::entity::channel::{ChannelId, ChannelMessage};
use starmesh::entity::effect::Effect;
use starmesh::entity::input::Input;
use starmesh::entity::message::Body;
use starmesh::entity::record::Record;

use crate::scene::{Fact, Invariant, Scene};

#[derive(Default)]
pub struct Channels {
    sent: BTreeMap<(ChannelId, u64), Body>,
    applied: BTreeMap<ChannelId, u64>,
}

impl Invariant for Channels {
    fn name(&self) -> &'static str {
        "9 per channel 1…m in order"
    }

    fn observe(&mut self, fact: &Fact<'_>, scene: &Scene) -> Result<(), String> {
        if let Fact::Imported(entity) = fact {
            let key = entity.key();
            return entity.head().outbox.waiting(key).try_for_each(|message| self.send(&message));
        }
        let Fact::Applied { before, after, record, effects } = fact else { return Ok(()) };
        for effect in *effects {
            if let Effect::Carry(message) = effect {
                self.send(message)?;
            }
        }
        self.receive(before, after, record, scene)
    }

    fn end(&mut self, _: &Scene) -> Result<(), String> {
        let lost = self.sent.keys().find(|(channel, number)| {
            self.applied.get(channel).is_none_or(|applied| applied < number)
        });
        lost.map_or(Ok(()), |lost| Err(format!("{lost:?} was sent and never applied")))
    }
}

impl Channels {
    fn send(&mut self, message: &ChannelMessage) -> Result<(), String> {
        let name = (message.channel, message.number);
        match self.sent.insert(name, message.body.clone()) {
            Some(body) if body != message.body => Err(format!("{name:?} was sent as {body:?} too")),
            Some(_) => Err(format!("{name:?} was sent twice")),
            None => Ok(()),
        }
    }

    fn receive(
        &mut self,
        before: &Entity,
        after: &Entity,
        record: &Record,
        scene: &Scene,
    ) -> Result<(), String> {
        let messages = record.inputs.iter().filter_map(|input| match input {
            Input::Message(message) => Some(message),
            _ => None,
        });
        for message in messages.clone() {
            let name = (message.channel, message.number);
            let sent = match self.sent.get(&name) {
                Some(body) => *body == message.body,
                None => is_sent_by_a_step(message, scene),
            };
            if !sent {
                return Err(format!("{} was sent {message:?}, which is not so", before.key()));
            }
            let last = self.applied.entry(message.channel).or_default();
            if message.number == *last + 1 {
                *last = message.number;
            }
        }
        // The newest channel of each sender says what was applied.
        for message in messages {
            let sender = message.channel.sender;
            let Some((opened, number)) = after.head().inbox.applied(sender) else { continue };
            let channel = ChannelId { opened, ..message.channel };
            let expected = self.applied.get(&channel).copied().unwrap_or(0);
            if expected != number {
                let key = before.key();
                return Err(format!("{key} applied {number} of {channel:?}, not {expected}"));
            }
        }
        Ok(())
    }
}

/// Whether the steps up to the durable tick, behind the sender's last durable
/// record, send it.
fn is_sent_by_a_step(message: &ChannelMessage, scene: &Scene) -> bool {
    let Some(sender) = scene.now(message.channel.sender) else { return false };
    sender.head().outbox.waiting(message.channel.sender).any(|sent| sent == *message)
}
