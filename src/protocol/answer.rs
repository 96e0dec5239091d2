//! Owns the closed table of what a server answers instead of doing what was
//! asked, and what the client library does about each. (`redirect`, the tenth
//! of the table, exists between nodes only: the gateway follows it.)

use serde::{Deserialize, Deserializer, Serialize};

use super::Place;
use crate::base::UnitId;

/// Why something was not done. Nothing happened to the state, unless the
/// variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Answer {
    /// The place changes its owner. The client sends what is unanswered
    /// again, in order.
    AttachAgain {},
    /// The unit is on its way to `place`, or there. A new command, with a new
    /// sequence, goes there.
    Moved { place: Place },
    /// The unit is not in the place addressed. Drop, tell the player.
    NotHere {},
    /// The server cannot take it now. Back off, send again.
    Busy {},
    /// Time stands still for all. Wait, show it, send again.
    StoreAway {},
    /// The place is kept but not run. Tell the player, stop.
    Parked {},
    /// Too many of these. Wait so long, then send again.
    #[serde(rename_all = "camelCase")]
    Limited { after_ms: u32 },
    /// The message has the wrong shape. Tell the player.
    Invalid { field: String, expected: String },
    /// The message is well formed, the rules are against it. `rule` is for
    /// programs and never changes, `why` for people; `unit` is the first that
    /// it concerns, `state` its state where that was against it.
    Refused {
        rule: String,
        why: String,
        #[serde(default, deserialize_with = "unit")]
        unit: Option<UnitId>,
        state: Option<u8>,
    },
    /// Log in again, or stop.
    SessionEnded { reason: EndReason },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// The player has opened a newer session.
    Superseded,
    /// The token is not valid (any more).
    TokenRefused,
    /// The account logged out everywhere, changed its password or was banned.
    GenerationOutdated,
    /// No Connect within five seconds, or a message that was not legal.
    Violation,
    /// The socket took nothing for 15 seconds.
    TooSlow,
}

impl Answer {
    /// Its name, the one key it has in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Answer::AttachAgain {} => "attachAgain",
            Answer::Moved { .. } => "moved",
            Answer::NotHere {} => "notHere",
            Answer::Busy {} => "busy",
            Answer::StoreAway {} => "storeAway",
            Answer::Parked {} => "parked",
            Answer::Limited { .. } => "limited",
            Answer::Invalid { .. } => "invalid",
            Answer::Refused { .. } => "refused",
            Answer::SessionEnded { .. } => "sessionEnded",
        }
    }

    /// An [`Answer::Invalid`] about `field`.
    pub fn invalid(field: impl Into<String>, expected: impl Into<String>) -> Answer {
        Answer::Invalid { field: field.into(), expected: expected.into() }
    }

    /// An [`Answer::Refused`] by a rule that is about no unit's state.
    pub fn refused(rule: impl Into<String>, why: impl Into<String>) -> Answer {
        Answer::Refused { rule: rule.into(), why: why.into(), unit: None, state: None }
    }

    /// Whether the same command, with the same sequence, may be sent again.
    pub const fn may_retry(&self) -> bool {
        matches!(
            self,
            Answer::AttachAgain {}
                | Answer::Busy {}
                | Answer::StoreAway {}
                | Answer::Limited { .. }
        )
    }
}

fn unit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<UnitId>, D::Error> {
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "super::wire::unit_id")] UnitId);
    Ok(Option::<Id>::deserialize(from)?.map(|Id(id)| id))
}
