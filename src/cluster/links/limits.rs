//! Owns how much and how long: the sizes of frames, queues and windows, and the
//! times after which a link or a stranger is given up. Pure.

use std::time::Duration;

use super::class::{Class, PerClass};
use super::frame;
use super::store_calls::CallLimits;

/// Bounds of one class, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLimits {
    /// Bytes of one message at most, the same on all nodes of a cluster.
    pub message_max: usize,
    /// Bytes of messages that wait here to be written; more are given back.
    pub queue_bytes: usize,
    /// Messages that wait here to be written; more are given back.
    pub queue_messages: usize,
}

/// Bounds of all links of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub classes: PerClass<ClassLimits>,
    /// Bytes of one stream that a peer may send before they are read here.
    pub stream_window: u32,
    /// Bytes of datagrams that wait to be sent, and to be read; the newest are
    /// dropped when sending, the oldest when reading.
    pub datagram_bytes: usize,
    /// Unanswered asks of one peer, in each direction.
    pub asks_max: usize,
    /// Peers with a link or an address.
    pub peers_max: usize,
    /// Connections at a time that have not said hello yet; more are refused.
    pub strangers_max: usize,
    /// Of them from one address.
    pub strangers_per_address: usize,

    /// A stranger has so long for its handshake and hello, a newcomer as long
    /// again for its request.
    pub handshake: Duration,
    /// Without a sign of life for so long a link is down.
    pub idle: Duration,
    /// A link that says nothing says so that often; a third of `idle` at most.
    pub keep_alive: Duration,
    /// The first wait before a peer is dialled again; it doubles each time.
    pub redial_first: Duration,
    /// The longest.
    pub redial_most: Duration,
    /// Each wait is shortened by a random part of up to its half; from here.
    pub seed: u64,

    /// Of calls of the store.
    pub calls: CallLimits,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        let class = |message_max, queue_bytes, queue_messages| ClassLimits {
            message_max,
            queue_bytes,
            queue_messages,
        };
        Limits {
            classes: PerClass {
                control: class(256 * KIB, 4 * MIB, 16_384),
                commands: class(256 * KIB, 16 * MIB, 131_072),
                bulk: class(16 * MIB, 64 * MIB, 16_384),
            },
            stream_window: 2 << 20,
            datagram_bytes: 512 * KIB,
            asks_max: 4_096,
            peers_max: 1_024,
            strangers_max: 64,
            strangers_per_address: 16,
            handshake: Duration::from_secs(5),
            idle: Duration::from_secs(3),
            keep_alive: Duration::from_millis(750),
            redial_first: Duration::from_millis(100),
            redial_most: Duration::from_secs(5),
            seed: 0,
            calls: CallLimits::default(),
        }
    }
}

/// Limits with which no link would work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    #[error("{0}: its queue has no room for one message of the largest size")]
    Queue(Class),
    #[error("{0}: a message may be empty or of up to 2^30 bytes, not more")]
    Message(Class),
    #[error(
        "a link must say more often that it lives than it is given up: idle is to be three times keep_alive"
    )]
    KeepAlive,
    #[error("every bound and every time is to be more than zero")]
    Zero,
    #[error(
        "calls of the store: every bound and time is to be more than zero, and there is to be room for one commit of the largest size"
    )]
    Calls,
}

impl Limits {
    /// # Errors
    /// When no link would work with them.
    pub fn check(&self) -> Result<(), LimitsError> {
        for class in Class::ALL {
            let limits = &self.classes[class];
            if limits.message_max > 1 << 30 {
                return Err(LimitsError::Message(class));
            }
            if limits.queue_messages == 0
                || limits.queue_bytes < limits.message_max + frame::HEAD_MAX
            {
                return Err(LimitsError::Queue(class));
            }
        }
        if self.keep_alive * 3 > self.idle {
            return Err(LimitsError::KeepAlive);
        }
        let times =
            [self.handshake, self.idle, self.keep_alive, self.redial_first, self.redial_most];
        let sizes = [self.asks_max, self.peers_max, self.strangers_max, self.strangers_per_address];
        if times.contains(&Duration::ZERO) || sizes.contains(&0) || self.stream_window == 0 {
            return Err(LimitsError::Zero);
        }
        if !self.calls.is_sound() {
            return Err(LimitsError::Calls);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn limits_that_would_never_work_are_refused() {
        let mut limits = Limits::default();
        limits.classes.bulk.queue_bytes = limits.classes.bulk.message_max;
        assert_eq!(limits.check(), Err(LimitsError::Queue(Class::Bulk)));
        let limits = Limits { keep_alive: Duration::from_secs(2), ..Limits::default() };
        assert_eq!(limits.check(), Err(LimitsError::KeepAlive));
        let limits = Limits { asks_max: 0, ..Limits::default() };
        assert_eq!(limits.check(), Err(LimitsError::Zero));
    }
}
