//! Owns what each key does. Never draws and never asks for anything. Called
//! with each key event. Invariant: a key that means nothing changes nothing.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::camera::{Camera, Extent, Spot};
use crate::base::SectorId;

/// The keys, for the help.
pub const HELP: [(&str, &str); 7] = [
    ("arrows, h j k l", "pan; with Shift by a whole screen"),
    ("+  -", "zoom in, zoom out"),
    ("Home, 0", "to the first sector with own ships"),
    ("a", "the whole galaxy"),
    ("g", "sector borders on or off"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// So many eighths of the screen's height to the right and down.
    Pan(i64, i64),
    /// Out by so many scales, or in when negative.
    Zoom(i8),
    Home,
    All,
    Grid,
    Help,
    Quit,
}

/// What a key means, if anything.
pub fn action(key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    let far = if key.modifiers.contains(KeyModifiers::SHIFT) { 8 } else { 1 };
    Some(match key.code {
        KeyCode::Left | KeyCode::Char('h') => Action::Pan(-far, 0),
        KeyCode::Down | KeyCode::Char('j') => Action::Pan(0, far),
        KeyCode::Up | KeyCode::Char('k') => Action::Pan(0, -far),
        KeyCode::Right | KeyCode::Char('l') => Action::Pan(far, 0),
        KeyCode::Char('H') => Action::Pan(-8, 0),
        KeyCode::Char('J') => Action::Pan(0, 8),
        KeyCode::Char('K') => Action::Pan(0, -8),
        KeyCode::Char('L') => Action::Pan(8, 0),
        KeyCode::Char('+' | '=') => Action::Zoom(-1),
        KeyCode::Char('-' | '_') => Action::Zoom(1),
        KeyCode::Home | KeyCode::Char('0') => Action::Home,
        KeyCode::Char('a') => Action::All,
        KeyCode::Char('g') => Action::Grid,
        KeyCode::Char('?') => Action::Help,
        KeyCode::Char('q') => Action::Quit,
        _ => return None,
    })
}

/// What keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub camera: Camera,
    pub grid: bool,
    pub help: bool,
    pub quit: bool,
    /// Goes to the player's first sector as soon as that is known: nobody said
    /// where to look.
    pub goes_home: bool,
}

impl View {
    pub fn new(camera: Camera, goes_home: bool) -> View {
        View { camera, grid: true, help: false, quit: false, goes_home }
    }

    /// Does it; `home` is the player's first sector, if it has one.
    pub fn handle(&mut self, action: Action, extent: Extent, home: Option<SectorId>) {
        if matches!(action, Action::Pan(..) | Action::Zoom(_) | Action::All) {
            self.goes_home = false;
        }
        match action {
            Action::Pan(dx, dy) => self.camera.pan(dx, dy, extent),
            Action::Zoom(by) => self.camera.zoom(by, extent),
            Action::Home => match home {
                Some(home) => self.camera = Camera { centre: Spot::middle_of(home), scale: 0 },
                None => self.goes_home = true,
            },
            Action::All => self.camera = Camera::whole(extent),
            Action::Grid => self.grid = !self.grid,
            Action::Help => self.help = !self.help,
            Action::Quit => self.quit = true,
        }
    }

    /// The player's first sector is known.
    pub fn go_home(&mut self, home: SectorId, scale: u8) {
        if std::mem::replace(&mut self.goes_home, false) {
            self.camera = Camera { centre: Spot::middle_of(home), scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::watch::camera::KM;

    const GALAXY: Extent = Extent { side: 10_000, scale: 14 };
    const HOME: SectorId = SectorId::tactical(7, 9);

    fn press(view: &mut View, keys: &[KeyCode]) {
        for key in keys {
            let action = action(KeyEvent::new(*key, KeyModifiers::NONE));
            action.into_iter().for_each(|action| view.handle(action, GALAXY, Some(HOME)));
        }
    }

    fn view() -> View {
        let centre = Spot { x: 100 * KM, y: 100 * KM };
        View::new(Camera { centre, scale: 3 }, true)
    }

    #[test]
    fn arrows_and_letters_pan_alike() {
        use KeyCode::{Char, Down, Left, Right, Up};
        for (arrow, letter) in [(Left, 'h'), (Down, 'j'), (Up, 'k'), (Right, 'l')] {
            let (mut by_arrow, mut by_letter) = (view(), view());
            press(&mut by_arrow, &[arrow]);
            press(&mut by_letter, &[Char(letter)]);
            assert_eq!(by_arrow, by_letter);
            assert_ne!(by_arrow.camera.centre, view().camera.centre);
        }
        let mut view = view();
        press(&mut view, &[Right, Right, Down]);
        // A screen is 8 km high at scale 3.
        assert_eq!(view.camera.centre, Spot { x: 102 * KM, y: 101 * KM });
    }

    #[test]
    fn plus_zooms_in_and_minus_out() {
        let mut view = view();
        press(&mut view, &[KeyCode::Char('+'), KeyCode::Char('+'), KeyCode::Char('-')]);
        assert_eq!(view.camera.scale, 2);
    }

    #[test]
    fn home_is_the_players_first_sector() {
        let mut view = view();
        press(&mut view, &[KeyCode::Home]);
        assert_eq!((view.camera.centre.sector(0), view.camera.scale), (HOME, 0));
    }

    #[test]
    fn goes_home_by_itself_unless_a_key_said_where_to_look() {
        let (mut left_alone, mut moved) = (view(), view());
        left_alone.go_home(HOME, 1);
        assert_eq!((left_alone.camera.centre.sector(0), left_alone.camera.scale), (HOME, 1));
        press(&mut moved, &[KeyCode::Up]);
        let before = moved;
        moved.go_home(HOME, 1);
        assert_eq!(moved, before);
    }

    #[test]
    fn quits_by_q_and_by_ctrl_c_only() {
        let key = |code, modifiers| action(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Some(Action::Quit));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::NONE), None);
    }

    #[test]
    fn a_released_key_does_nothing() {
        let key =
            KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(action(key), None);
    }
}
