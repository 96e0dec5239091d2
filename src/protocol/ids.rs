//! Owns the number and the name of every message. A number or name that was
//! ever released keeps its meaning; a reserved one belongs to a message that a
//! later version sends.

macro_rules! message_types {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What kind of message a frame holds: binary codecs write the number,
        /// JSON the name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum MessageType {
            $($(#[$doc])* $variant = $number,)*
        }

        impl MessageType {
            /// Every type, by number.
            pub const ALL: &[MessageType] = &[$(MessageType::$variant,)*];

            /// The name in JSON's field `type`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MessageType::$variant => $name,)*
                }
            }
        }
    };
}

message_types! {
    /// Client: move units to a place.
    MoveFleet = 0x01, "moveFleet";
    /// Client: stand still now.
    Stop = 0x05, "stop";
    /// Client: stand still and stay.
    Hold = 0x06, "hold";
    /// Client: go there, and stand while in combat.
    AttackMove = 0x07, "attackMove";
    /// Client: go there, and back and forth.
    Patrol = 0x08, "patrol";
    /// Client: go there at warp speed.
    Warp = 0x09, "warp";
    /// Client: belong to a fleet.
    JoinFleet = 0x0A, "joinFleet";
    /// Client: several commands for one place.
    BatchCommand = 0x0F, "batchCommand";
    /// Server: what changed in a place since its previous message.
    StateDelta = 0x10, "stateDelta";
    /// Server: how much goes on in a large sector.
    Aggregate = 0x15, "aggregate";
    /// Client: asks for a [`Pong`](MessageType::Pong).
    Ping = 0x20, "ping";
    /// Server: answers a Ping.
    Pong = 0x21, "pong";
    /// Server: answers one command.
    Ack = 0x22, "ack";
    /// Client: the first message.
    Connect = 0x30, "connect";
    /// Server: the session, and where the player's units are.
    Connected = 0x31, "connected";
    /// Client: ends the connection, not the session.
    Disconnect = 0x32, "disconnect";
    /// Client: wants to see places.
    Subscribe = 0x33, "subscribe";
    /// Server: the handle of one place; a keyframe follows.
    Subscribed = 0x34, "subscribed";
    /// Client: has seen enough of a place.
    Unsubscribe = 0x35, "unsubscribe";
    /// Server: the handle is not used any more.
    Unsubscribed = 0x36, "unsubscribed";
    /// Client: has lost the thread of a place.
    KeyframeRequest = 0x37, "keyframeRequest";
    /// Server: everything the player sees of a place.
    Keyframe = 0x38, "keyframe";
    /// Server: where the player's units are, changes only.
    Presence = 0x39, "presence";
    /// Server: the answer to what was no command, or could not be read.
    Error = 0x3A, "error";
    /// Server: the state of the service.
    Notification = 0x3B, "notification";
    /// Server: how fast a place is.
    TimeDilation = 0x3C, "timeDilation";
}

/// Numbers and names kept for messages that later versions send.
pub const RESERVED: &[(u8, &str)] = &[
    (0x02, "attack"),
    (0x03, "build"),
    (0x04, "trade"),
    (0x11, "entityCreated"),
    (0x12, "entityDestroyed"),
    (0x13, "entityMoved"),
    (0x14, "combatEvent"),
    (0x3D, "unitUpdate"),
    (0x3E, "sectorTransfer"),
    (0x40, "empireUpdate"),
    (0x41, "entityUpdated"),
    (0x42, "environmentEvent"),
    (0x43, "chat"),
    (0x44, "marketUpdate"),
];

impl MessageType {
    /// The number in the low byte of a binary header.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type of this name.
    pub fn from_name(name: &str) -> Option<MessageType> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The type of this number.
    pub fn from_number(number: u8) -> Option<MessageType> {
        Self::ALL.iter().copied().find(|kind| kind.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_or_name_is_used_twice() {
        let used = MessageType::ALL.iter().map(|kind| (kind.number(), kind.name()));
        let all: Vec<_> = used.chain(RESERVED.iter().copied()).collect();
        for (i, (number, name)) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|(n, s)| n != number && s != name), "{name} is taken");
        }
    }

    #[test]
    fn numbers_and_names_lead_back_to_their_type() {
        for &kind in MessageType::ALL {
            assert_eq!(MessageType::from_name(kind.name()), Some(kind));
            assert_eq!(MessageType::from_number(kind.number()), Some(kind));
        }
    }
}
