//! Owns what the golden lines are called. Whoever adds a variant names it here, where
//! the compiler asks for it, then in [`NAMES`], and adds an example to the samples.

use starmesh::actors::peers::{
    PeerAnswer, PeerMessage, PeerQuestion, ToGateway, ToOwner, ViewMessage,
};
use starmesh::cluster::core::message::{NodeBody, NodeMessage};
use starmesh::entity::commands::CommandResult;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::message::Body;
use starmesh::entity::read::{Query, Reading};

/// All there is, but for the hello.
pub const NAMES: [&str; 67] = [
    "core/deliver-request",
    "core/deliver-answer",
    "core/deliver-notice",
    "core/deliver-close",
    "core/acknowledge",
    "core/offer",
    "core/accept",
    "core/claim",
    "core/claimed",
    "core/reclaim",
    "core/lost",
    "core/signed",
    "to-owner/command",
    "to-owner/connect",
    "to-owner/connect-again",
    "to-owner/held",
    "to-owner/left",
    "to-owner/began",
    "to-owner/wake",
    "to-gateway/answered-done",
    "to-gateway/answered-refused",
    "to-gateway/answered-not-here",
    "to-gateway/answered-session-ended",
    "to-gateway/answered-moved",
    "to-gateway/connected",
    "to-gateway/session-ended",
    "to-gateway/presence",
    "to-gateway/superseded",
    "to-gateway/connect-refused",
    "to-gateway/rejected",
    "to-gateway/taken",
    "to-gateway/ledger-started",
    "to-gateway/missed",
    "view/follow",
    "view/scene",
    "view/step",
    "view/pace",
    "view/gone",
    "view/absent",
    "view/summaries",
    "load",
    "shadows",
    "ask/read-applied",
    "ask/read-ranking",
    "ask/read-presence",
    "ask/read-sight",
    "ask/read-units",
    "ask/read-beyond",
    "ask/report",
    "ask/busiest",
    "ask/region",
    "ask/runs",
    "ask/load",
    "ask/announce",
    "answer/unavailable",
    "answer/read-applied",
    "answer/read-ranking",
    "answer/read-presence",
    "answer/read-sight",
    "answer/read-units",
    "answer/read-beyond",
    "answer/report",
    "answer/busiest",
    "answer/region",
    "answer/runs",
    "answer/load",
    "answer/announced",
];

pub fn name(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Core(NodeMessage { body, .. }) => format!("core/{}", core_name(body)),
        PeerMessage::ToOwner(message) => format!("to-owner/{}", owner_name(message)),
        PeerMessage::ToGateway(message) => format!("to-gateway/{}", gateway_name(message)),
        PeerMessage::View(message) => format!("view/{}", view_name(message)),
        PeerMessage::Load(_) => "load".into(),
    }
}

fn core_name(body: &NodeBody) -> &'static str {
    match body {
        NodeBody::Deliver(message) => match message.body {
            Body::Request { .. } => "deliver-request",
            Body::Answer { .. } => "deliver-answer",
            Body::Notice(_) => "deliver-notice",
            Body::Close => "deliver-close",
        },
        NodeBody::Acknowledge(_) => "acknowledge",
        NodeBody::Offer { .. } => "offer",
        NodeBody::Accept { .. } => "accept",
        NodeBody::Claim { .. } => "claim",
        NodeBody::Claimed { .. } => "claimed",
        NodeBody::Reclaim { .. } => "reclaim",
        NodeBody::Lost { .. } => "lost",
        NodeBody::Signed(_) => "signed",
    }
}

fn owner_name(message: &ToOwner) -> &'static str {
    match message {
        ToOwner::Command { .. } => "command",
        ToOwner::Connect(_) => "connect",
        ToOwner::ConnectAgain(_) => "connect-again",
        ToOwner::Held(_) => "held",
        ToOwner::Left(_) => "left",
        ToOwner::Began { .. } => "began",
        ToOwner::Wake(_) => "wake",
    }
}

fn gateway_name(message: &ToGateway) -> &'static str {
    match message {
        ToGateway::Player(PlayerEffect::Answered(answer)) => match answer.result {
            CommandResult::Done(_) => "answered-done",
            CommandResult::Refused(_) => "answered-refused",
            CommandResult::NotHere => "answered-not-here",
            CommandResult::SessionEnded => "answered-session-ended",
            CommandResult::Moved { .. } => "answered-moved",
        },
        ToGateway::Player(PlayerEffect::Connected(_)) => "connected",
        ToGateway::Player(PlayerEffect::SessionEnded { .. }) => "session-ended",
        ToGateway::Player(PlayerEffect::Presence { .. }) => "presence",
        ToGateway::Superseded { .. } => "superseded",
        ToGateway::ConnectRefused { .. } => "connect-refused",
        ToGateway::Rejected { .. } => "rejected",
        ToGateway::Taken { .. } => "taken",
        ToGateway::LedgerStarted(_) => "ledger-started",
        ToGateway::Missed => "missed",
    }
}

fn view_name(message: &ViewMessage) -> &'static str {
    match message {
        ViewMessage::Follow { .. } => "follow",
        ViewMessage::Scene { .. } => "scene",
        ViewMessage::Step { .. } => "step",
        ViewMessage::Pace { .. } => "pace",
        ViewMessage::Gone { .. } => "gone",
        ViewMessage::Absent { .. } => "absent",
        ViewMessage::Summaries(_) => "summaries",
    }
}

pub fn question_name(question: &PeerQuestion) -> String {
    let name = match question {
        PeerQuestion::Read { query, .. } => match query {
            Query::Applied { .. } => "read-applied",
            Query::Ranking { .. } => "read-ranking",
            Query::Presence { .. } => "read-presence",
            Query::Sight { .. } => "read-sight",
            Query::Units(_) => "read-units",
            Query::Beyond => "read-beyond",
        },
        PeerQuestion::Report => "report",
        PeerQuestion::Busiest { .. } => "busiest",
        PeerQuestion::Region(_) => "region",
        PeerQuestion::Runs(_) => "runs",
        PeerQuestion::Load => "load",
        PeerQuestion::Announce(_) => "announce",
    };
    format!("ask/{name}")
}

pub fn answer_name(answer: &PeerAnswer) -> String {
    let name = match answer {
        PeerAnswer::Read(Err(_)) => "unavailable",
        PeerAnswer::Read(Ok(read)) => match read.reading {
            Reading::Applied(_) => "read-applied",
            Reading::Ranking(_) => "read-ranking",
            Reading::Presence(_) => "read-presence",
            Reading::Sight(_) => "read-sight",
            Reading::Units { .. } => "read-units",
            Reading::Beyond(_) => "read-beyond",
        },
        PeerAnswer::Report(_) => "report",
        PeerAnswer::Busiest(_) => "busiest",
        PeerAnswer::Region(_) => "region",
        PeerAnswer::Runs(_) => "runs",
        PeerAnswer::Load(_) => "load",
        PeerAnswer::Announced(_) => "announced",
    };
    format!("answer/{name}")
}
