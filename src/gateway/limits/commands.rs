//! Owns how many commands a player may give per rolling minute, by class. A
//! command counts once however many units it names; a batch counts as its
//! commands. Pure: the time is an argument.

use super::window::{Refusal, Window};
use crate::base::Millis;

const MINUTE_MS: u64 = 60_000;

/// What a command counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandClass {
    Move,
    Attack,
    Trade,
    Other,
}

/// Commands a minute, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandRates {
    pub moves: u64,
    pub attacks: u64,
    pub trades: u64,
    pub others: u64,
}

/// What one player has used of [`CommandRates`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    moves: Window,
    attacks: Window,
    trades: Window,
    others: Window,
}

impl CommandLimits {
    pub fn new(rates: CommandRates) -> CommandLimits {
        let window = |limit| Window::new(limit, MINUTE_MS);
        CommandLimits {
            moves: window(rates.moves),
            attacks: window(rates.attacks),
            trades: window(rates.trades),
            others: window(rates.others),
        }
    }

    /// Admits `n` commands of `class` at `now`, all or none.
    ///
    /// # Errors
    /// When they are more than the player may give now; nothing is counted.
    pub fn admit(&mut self, class: CommandClass, n: u64, now: Millis) -> Result<(), Refusal> {
        let window = match class {
            CommandClass::Move => &mut self.moves,
            CommandClass::Attack => &mut self.attacks,
            CommandClass::Trade => &mut self.trades,
            CommandClass::Other => &mut self.others,
        };
        window.admit(n, now)
    }

    /// True when forgetting this player now changes nothing.
    pub fn is_idle(&self, now: Millis) -> bool {
        [&self.moves, &self.attacks, &self.trades, &self.others]
            .iter()
            .all(|window| window.is_idle(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: CommandRates = CommandRates { moves: 20, attacks: 10, trades: 30, others: 60 };

    #[test]
    fn classes_do_not_share() {
        let mut limits = CommandLimits::new(RATES);
        limits.admit(CommandClass::Move, 20, Millis(0)).unwrap();
        assert!(limits.admit(CommandClass::Move, 1, Millis(0)).is_err());
        limits.admit(CommandClass::Attack, 10, Millis(0)).unwrap();
        limits.admit(CommandClass::Other, 60, Millis(0)).unwrap();
        limits.admit(CommandClass::Trade, 30, Millis(0)).unwrap();
    }

    #[test]
    fn a_batch_counts_as_its_commands_and_is_admitted_whole_or_not() {
        let mut limits = CommandLimits::new(RATES);
        limits.admit(CommandClass::Move, 15, Millis(0)).unwrap();
        assert!(limits.admit(CommandClass::Move, 6, Millis(1)).is_err());
        limits.admit(CommandClass::Move, 5, Millis(2)).unwrap();
        assert_eq!(
            limits.admit(CommandClass::Move, 21, Millis(3)),
            Err(Refusal::Never { limit: 20 })
        );
    }

    #[test]
    fn is_idle_when_all_it_counted_is_past() {
        let mut limits = CommandLimits::new(RATES);
        limits.admit(CommandClass::Move, 1, Millis(0)).unwrap();
        assert!(!limits.is_idle(Millis(60_000)));
        assert!(limits.is_idle(Millis(61_000)));
    }
}
