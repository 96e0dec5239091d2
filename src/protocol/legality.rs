//! Owns the table of what a client may say in which state of its session.
//! Called by the gateway for every frame, before anything else is done with it.

use super::MessageType;

/// Where a connection stands.
///
/// ```text
/// AwaitingConnect --Connect--> Connecting --Connected--> Open --> Closing
///        |                          |                                ^
///        +---- 5 s, or illegal -----+--------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing but Connect is answered.
    AwaitingConnect,
    /// The player's ledger has been asked for the session.
    Connecting,
    Open,
    /// What still comes in is not read.
    Closing,
}

/// What is done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// Dropped without an answer.
    Ignored,
    /// The connection is closed.
    Illegal,
}

/// What becomes of a frame of type `kind` from a client.
pub const fn verdict(kind: MessageType, state: SessionState) -> Verdict {
    use SessionState::{AwaitingConnect, Closing, Connecting, Open};
    match (kind, state) {
        (_, Closing) => Verdict::Ignored,
        (MessageType::Disconnect, _) => Verdict::Allowed,
        (MessageType::Connect, AwaitingConnect) => Verdict::Allowed,
        (MessageType::Connect, Connecting | Open) => Verdict::Illegal,
        (MessageType::Ping, Connecting | Open) => Verdict::Allowed,
        (
            MessageType::MoveFleet
            | MessageType::Stop
            | MessageType::Hold
            | MessageType::AttackMove
            | MessageType::Patrol
            | MessageType::Warp
            | MessageType::JoinFleet
            | MessageType::BatchCommand
            | MessageType::Subscribe
            | MessageType::Unsubscribe
            | MessageType::KeyframeRequest,
            Open,
        ) => Verdict::Allowed,
        _ => Verdict::Illegal,
    }
}

#[cfg(test)]
mod tests {
    use super::SessionState::{AwaitingConnect, Closing, Connecting, Open};
    use super::*;

    #[test]
    fn only_connect_and_disconnect_come_first() {
        for &kind in MessageType::ALL {
            let first = matches!(kind, MessageType::Connect | MessageType::Disconnect);
            assert_eq!(verdict(kind, AwaitingConnect) == Verdict::Allowed, first, "{kind:?}");
        }
    }

    #[test]
    fn a_second_connect_is_illegal() {
        assert_eq!(verdict(MessageType::Connect, Connecting), Verdict::Illegal);
        assert_eq!(verdict(MessageType::Connect, Open), Verdict::Illegal);
    }

    #[test]
    fn what_a_server_says_is_illegal_from_a_client() {
        for kind in [MessageType::Ack, MessageType::Keyframe, MessageType::Connected] {
            assert_eq!(verdict(kind, Open), Verdict::Illegal);
        }
    }

    #[test]
    fn a_closing_session_reads_nothing() {
        for &kind in MessageType::ALL {
            assert_eq!(verdict(kind, Closing), Verdict::Ignored);
        }
    }
}
