//! Owns what happens between pictures: takes what came, asks for what is
//! missing, draws, reads keys. Decides nothing about either. Never waits for
//! the network: what asks runs beside it.

use std::io::{IsTerminal, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Rect;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::atlas::{self, Atlas, FETCHES_MAX};
use super::camera::{Extent, Window};
use super::draw::draw;
use super::keys::{self, View};
use super::player::BEAT;
use super::scene::{Link, Scene, World};
use crate::base::SectorId;
use crate::client::{CallError, Target};
use crate::protocol::http::Map;

/// One picture waits so long for what belongs on it.
const ONCE_WITHIN: Duration = Duration::from_secs(20);
/// What is said stays so long.
const SAID_FOR: Duration = Duration::from_secs(8);

type Fetched = (SectorId, Result<Map, CallError>);

/// The two ends of the player's session.
pub struct Session {
    pub wanted: watch::Sender<Vec<SectorId>>,
    pub worlds: watch::Receiver<World>,
}

pub struct Shell {
    view: View,
    extent: Extent,
    /// At which scale one goes home.
    home_scale: u8,
    atlas: Atlas,
    world: World,
    session: Session,
    target: Target,
    runtime: Handle,
    fetched: (SyncSender<Fetched>, Receiver<Fetched>),
    start: Instant,
    said: Option<(String, Instant)>,
    /// SIGTERM or SIGHUP came.
    ended: Arc<AtomicBool>,
}

impl Shell {
    pub fn new(
        view: View,
        extent: Extent,
        home_scale: u8,
        session: Session,
        target: Target,
        runtime: Handle,
    ) -> Shell {
        Shell {
            view,
            extent,
            home_scale,
            atlas: Atlas::default(),
            world: World::default(),
            session,
            target,
            runtime,
            // Room for all that may be under way.
            fetched: sync_channel(FETCHES_MAX),
            start: Instant::now(),
            said: None,
            ended: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Draws until a key or a signal ends it.
    ///
    /// # Errors
    /// When the terminal cannot be drawn to or read from.
    pub fn live(&mut self) -> anyhow::Result<()> {
        self.runtime.spawn(note_signals(self.ended.clone()));
        // Restores the terminal on a panic, too.
        let terminal = ratatui::try_init().context("preparing the terminal");
        let outcome = terminal.and_then(|mut terminal| self.draw_and_read(&mut terminal));
        ratatui::restore();
        outcome
    }

    fn draw_and_read(&mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let mut next = Instant::now();
        while !self.view.quit && !self.ended.load(Ordering::Relaxed) {
            if event::poll(next.saturating_duration_since(Instant::now()))? {
                if let Event::Key(key) = event::read()? {
                    let action = keys::action(key);
                    let home = self.world.home();
                    action.into_iter().for_each(|a| self.view.handle(a, self.extent, home));
                }
                continue;
            }
            next = Instant::now() + BEAT;
            let size = terminal.size()?;
            self.advance(size.width, size.height);
            terminal.draw(|frame| draw(&self.scene(), frame.buffer_mut()))?;
        }
        Ok(())
    }

    /// One picture as text, as soon as all is there that belongs on it.
    ///
    /// # Errors
    /// When the player's session could not be opened.
    pub fn once(&mut self, columns: u16, rows: u16) -> anyhow::Result<String> {
        let until = Instant::now() + ONCE_WITHIN;
        while !self.is_complete(columns, rows) && Instant::now() < until {
            match self.fetched.1.recv_timeout(BEAT / 4) {
                Ok(fetched) => self.admit(fetched, columns, rows),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.advance(columns, rows);
        }
        match &self.world.link {
            Link::Open => {}
            Link::Connecting => anyhow::bail!("{}: no session after 20 s", self.target),
            Link::Lost(why) | Link::Ended(why) => anyhow::bail!("{}: {why}", self.target),
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        draw(&self.scene(), &mut buffer);
        Ok(text(&buffer))
    }

    fn is_complete(&self, columns: u16, rows: u16) -> bool {
        let window = self.window(columns, rows);
        let watched = window.watched(self.extent);
        // Answers overtake keyframes, but the player knows where it is.
        let is_seen = |sector| {
            let is_empty = self.world.empty_told && !self.world.presence.contains_key(sector);
            let World { sights, sums, .. } = &self.world;
            is_empty || sights.contains_key(sector) || sums.contains_key(sector)
        };
        self.world.link == Link::Open
            && watched.iter().all(is_seen)
            && self.atlas.missing(&window, self.extent) == 0
    }

    /// Takes what came and asks for what is missing on a screen of this size.
    fn advance(&mut self, columns: u16, rows: u16) {
        if self.session.worlds.has_changed().unwrap_or(false) {
            self.world = self.session.worlds.borrow_and_update().clone();
        }
        if let Some(home) = self.world.home() {
            self.view.go_home(home, self.home_scale);
        }
        while let Ok(fetched) = self.fetched.1.try_recv() {
            self.admit(fetched, columns, rows);
        }
        let window = self.window(columns, rows);
        let watched = window.watched(self.extent);
        self.session.wanted.send_if_modified(|wanted| {
            let changed = *wanted != watched;
            *wanted = watched;
            changed
        });
        let count = atlas::features(window.camera.scale);
        for sector in self.atlas.ask(self.now(), &window, self.extent) {
            let (target, fetched) = (self.target.clone(), self.fetched.0.clone());
            self.runtime.spawn(async move {
                let answer = target.map(sector, count).await;
                // There is room for it; nobody takes it when all ends.
                let _ = fetched.try_send((sector, answer));
            });
        }
    }

    fn admit(&mut self, (sector, answer): Fetched, columns: u16, rows: u16) {
        let window = self.window(columns, rows);
        let said = self.atlas.admit(self.now(), sector, answer, &window, self.extent);
        if let Some(said) = said {
            self.said = Some((said, Instant::now()));
        }
    }

    fn scene(&self) -> Scene<'_> {
        let recent = self.said.as_ref().filter(|(_, at)| at.elapsed() < SAID_FOR);
        let said = self.world.said.as_deref().or(recent.map(|(said, _)| said.as_str()));
        let Shell { view, extent, atlas, world, .. } = self;
        Scene { view, extent: *extent, atlas, world, said }
    }

    fn window(&self, columns: u16, rows: u16) -> Window {
        self.scene().window(columns, rows)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The size of the terminal; 80 × 24 where there is none.
pub fn size() -> (u16, u16) {
    let real = stdout().is_terminal().then(ratatui::crossterm::terminal::size);
    real.and_then(Result::ok)
        .filter(|(columns, rows)| *columns > 0 && *rows > 0)
        .unwrap_or((80, 24))
}

fn text(buffer: &Buffer) -> String {
    let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
    let rows = cells.chunks(usize::from(buffer.area().width.max(1)));
    rows.map(|row| row.concat().trim_end().to_owned() + "\n").collect()
}

/// Ctrl-C comes as a key; these come as signals.
async fn note_signals(ended: Arc<AtomicBool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut hangup)) = signals else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    ended.store(true, Ordering::Relaxed);
}
