//! Owns what an entity does with a player's command and another entity's message:
//! its kind carries it out, and here it is noted as applied and answered. Never judges
//! twice: each is applied once, or answered from what is remembered. Called by
//! [`Entity`]. Invariant: whatever is noted as received is noted as answered.

use super::Entity;
use crate::entity::World;
use crate::entity::channel::ChannelMessage;
use crate::entity::commands::{Admission, CommandAnswer, CommandResult, PlayerCommand};
use crate::entity::effect::{Effect, PlayerEffect};
use crate::entity::message::Body;

impl Entity {
    pub(super) fn apply_command(
        &mut self,
        command: &PlayerCommand,
        world: &World,
        effects: &mut Vec<Effect>,
    ) {
        let answer = match self.judge_command(command.key()) {
            Admission::Answer(answer) => answer,
            Admission::Apply => {
                let result = self.with_kind(world, effects, |kind, ctx| kind.command(ctx, command));
                self.note_result(command, result)
            }
        };
        effects.push(Effect::Player(PlayerEffect::Answered(answer)));
    }

    pub(super) fn note_result(
        &mut self,
        command: &PlayerCommand,
        result: CommandResult,
    ) -> CommandAnswer {
        let answer = CommandAnswer {
            entity: self.key,
            player: command.player,
            session: command.session,
            sequence: command.sequence,
            result,
            tick: self.head.tick,
            record: self.head.sequence,
        };
        self.head.commands.note_applied(&answer, self.head.time);
        answer
    }

    pub(super) fn apply_message(
        &mut self,
        message: &ChannelMessage,
        world: &World,
        effects: &mut Vec<Effect>,
    ) {
        self.note_received(message, effects);
        let from = message.channel.sender;
        match &message.body {
            Body::Request { id, request } => {
                self.with_kind(world, effects, |kind, ctx| kind.request(ctx, from, *id, request));
            }
            Body::Answer { id, answer } => {
                // An answer to what was not asked is dropped: it can change nothing.
                if self.head.open_requests.remove(id).is_some() {
                    self.with_kind(world, effects, |kind, ctx| {
                        kind.answered(ctx, *id, answer);
                    });
                }
            }
            Body::Notice(notice) => {
                self.with_kind(world, effects, |kind, ctx| kind.notified(ctx, notice));
            }
            Body::Close => {}
        }
    }

    pub(super) fn note_received(&mut self, message: &ChannelMessage, effects: &mut Vec<Effect>) {
        let is_close = message.body == Body::Close;
        let (channel, now) = (message.channel, self.head.time);
        let ack = self.head.inbox.note_applied(channel, message.number, is_close, now);
        effects.push(Effect::Acknowledge(ack));
    }
}
