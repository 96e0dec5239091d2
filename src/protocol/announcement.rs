//! Owns the text that an operator says to everybody: what may be in it, wherever it
//! comes from. Invariant: it is one line that any screen can show.

use serde::{Deserialize, Serialize};

/// Characters of an announcement at most.
const ANNOUNCEMENT_MAX: usize = 500;

/// One line for everybody who is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Announcement(String);

/// What is no announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an announcement has 1 to {ANNOUNCEMENT_MAX} characters, none of them a control character")]
pub struct NoAnnouncement;

impl Announcement {
    /// The text, without spaces around it.
    ///
    /// # Errors
    /// When nothing is left, it is too long, or has control characters.
    pub fn new(text: &str) -> Result<Announcement, NoAnnouncement> {
        let text = text.trim();
        let fits = (1..=ANNOUNCEMENT_MAX).contains(&text.chars().count());
        if !fits || text.chars().any(char::is_control) {
            return Err(NoAnnouncement);
        }
        Ok(Announcement(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Announcement {
    type Error = NoAnnouncement;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Announcement::new(&text)
    }
}

impl From<Announcement> for String {
    fn from(announcement: Announcement) -> String {
        announcement.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_that_fits() {
        let said = Announcement::new("  Restart of node 2 at noon – nobody is disconnected.\n");
        assert_eq!(said.unwrap().as_str(), "Restart of node 2 at noon – nobody is disconnected.");
        assert!(Announcement::new(&"ü".repeat(ANNOUNCEMENT_MAX)).is_ok());
        for wrong in ["", " \t ", "two\nlines", "\u{1b}[2J", &"x".repeat(ANNOUNCEMENT_MAX + 1)] {
            assert_eq!(Announcement::new(wrong), Err(NoAnnouncement), "{wrong:?}");
            let bytes = postcard::to_stdvec(wrong).unwrap();
            assert!(postcard::from_bytes::<Announcement>(&bytes).is_err(), "{wrong:?}");
        }
    }
}
