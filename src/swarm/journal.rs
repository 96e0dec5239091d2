//! Owns the oracle log: what a swarm's clients were told, one JSON object per
//! line, handed to the system at once, so that it is complete when the swarm
//! or the server is killed. Whoever restarts the server verifies from it that
//! nothing acknowledged was lost. Never read by the swarm itself.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde::Serialize;

use super::check::Loss;
use crate::base::{EntityKey, PlayerId, SessionId};
use crate::client::{GiveUp, Issued};
use crate::protocol::server::Ack;
use crate::protocol::{Order, Place, UnitRecord};

/// A log that many clients write to.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<File>,
}

/// Who an entry is about.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// The client's number in the swarm.
    pub client: u64,
    pub player: PlayerId,
    pub session: SessionId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum Entry<'a> {
    /// A session was opened on a new connection, or gone on with.
    #[serde(rename_all = "camelCase")]
    Connected {
        #[serde(flatten)]
        who: Who,
        resumed: bool,
    },
    /// An open connection is gone.
    #[serde(rename_all = "camelCase")]
    Disconnected {
        #[serde(flatten)]
        who: Who,
        reason: &'a str,
    },
    /// A command and its final answer.
    #[serde(rename_all = "camelCase")]
    Answered {
        #[serde(flatten)]
        who: Who,
        place: Option<Place>,
        units: &'a [crate::base::UnitId],
        order: Order,
        ack: &'a Ack,
    },
    /// The player's units in a place, as of a tick of it.
    #[serde(rename_all = "camelCase")]
    Units {
        #[serde(flatten)]
        who: Who,
        place: Option<Place>,
        full_tick: u64,
        units: Vec<UnitRecord>,
    },
    /// A command was given up: it may have been carried out, or not.
    #[serde(rename_all = "camelCase")]
    GaveUp {
        #[serde(flatten)]
        who: Who,
        place: Option<Place>,
        sequence: u32,
        units: &'a [crate::base::UnitId],
        /// `noAnswer`, `sessionLost`, or what it was answered in the end.
        why: &'static str,
    },
    /// Something that must not be.
    #[serde(rename_all = "camelCase")]
    Loss {
        #[serde(flatten)]
        who: Who,
        place: Option<Place>,
        full_tick: u64,
        unit: crate::base::UnitId,
        what: &'a str,
    },
}

impl Journal {
    /// A log in `path`; what was there is kept, and written behind.
    ///
    /// # Errors
    /// When the file cannot be opened for writing.
    pub fn open(path: &Path) -> std::io::Result<Journal> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Journal { file: Mutex::new(file) })
    }

    /// A connection has a session.
    pub fn note_connected(&self, who: Who, resumed: bool) -> std::io::Result<()> {
        self.write(&Entry::Connected { who, resumed })
    }

    /// An open connection is gone, for this reason.
    pub fn note_disconnected(&self, who: Who, reason: &str) -> std::io::Result<()> {
        self.write(&Entry::Disconnected { who, reason })
    }

    /// A command got its final answer.
    pub fn note_answered(&self, who: Who, issued: &Issued, ack: &Ack) -> std::io::Result<()> {
        let (units, order) = (issued.command.recipients.units(), issued.command.order);
        self.write(&Entry::Answered { who, place: Place::of(issued.place), units, order, ack })
    }

    /// The player has these units in a place.
    pub fn note_units(
        &self,
        who: Who,
        place: EntityKey,
        tick: u64,
        units: &[UnitRecord],
    ) -> std::io::Result<()> {
        let units = units.to_vec();
        self.write(&Entry::Units { who, place: Place::of(place), full_tick: tick, units })
    }

    /// A command's outcome will not be known.
    pub fn note_gave_up(&self, who: Who, issued: &Issued, why: &GiveUp) -> std::io::Result<()> {
        let (units, sequence) = (issued.command.recipients.units(), issued.command.sequence);
        let why = match why {
            GiveUp::NoAnswer => "noAnswer",
            GiveUp::PutOff(answer) => answer.name(),
            GiveUp::SessionLost => "sessionLost",
        };
        self.write(&Entry::GaveUp { who, place: Place::of(issued.place), sequence, units, why })
    }

    /// A promise was broken.
    pub fn note_loss(&self, who: Who, loss: &Loss) -> std::io::Result<()> {
        let Loss { place, tick: full_tick, unit, what } = loss;
        let (place, full_tick, unit) = (Place::of(*place), *full_tick, *unit);
        self.write(&Entry::Loss { who, place, full_tick, unit, what })
    }

    fn write(&self, entry: &Entry<'_>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // Another client's panic while writing leaves the file usable.
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // One write to a file opened for appending: lines never mix.
        file.write_all(&line)
    }
}
