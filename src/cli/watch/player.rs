//! Owns the player's session: watches the sectors it is told to and hands out
//! what it knows, ten times a second. Never draws. Runs as one task beside the
//! shell. Invariant: what is handed out is what the client library knows at
//! that moment, moved along its courses to now.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::account::Account;
use super::scene::{Link, Sight, World};
use crate::base::time::TICK_MS;
use crate::base::{EntityKey, SectorId};
use crate::client::{Client, Event, Options, Status, Target};
use crate::protocol::server::{Error, Notice, PresenceEntry};
use crate::protocol::{Answer, CodecKind, EndReason};
use crate::view::CellsView;

/// From one picture to the next.
pub const BEAT: Duration = Duration::from_millis(100);
/// From one measured round trip to the next.
const PING_EVERY: Duration = Duration::from_secs(2);
/// A session whose token ended is opened anew after so long.
const LOG_IN_AFTER: Duration = Duration::from_secs(3);
/// What the server refused is shown for so long.
const SAID_FOR: Duration = Duration::from_secs(8);
/// Bytes are counted over so many beats.
const RATE_BEATS: usize = 20;

/// A place's tick, and when it was heard.
#[derive(Clone, Copy)]
struct Heard {
    tick: u64,
    at: Instant,
}

pub struct Player {
    client: Client,
    target: Target,
    account: Account,
    wanted: watch::Receiver<Vec<SectorId>>,
    worlds: watch::Sender<World>,
    world: World,
    watched: Vec<SectorId>,
    heard: BTreeMap<SectorId, Heard>,
    /// Time stands still at the server since then.
    still_since: Option<Instant>,
    /// Bytes received at each of the last beats.
    received: VecDeque<(Instant, u64)>,
    next_ping: Instant,
    log_in_at: Option<Instant>,
    /// When what is said is old.
    said_until: Option<Instant>,
}

impl Player {
    /// A player that watches what `wanted` says and tells `worlds` of it.
    pub fn new(
        target: Target,
        account: Account,
        wanted: watch::Receiver<Vec<SectorId>>,
        worlds: watch::Sender<World>,
    ) -> Player {
        let options = Options { reconnect: true, seed: account.player.0 };
        let token = account.token.clone();
        let now = Instant::now();
        let world =
            World { name: account.name.clone(), player: Some(account.player), ..World::default() };
        Player {
            client: Client::new(target.clone(), CodecKind::Postcard, token, options),
            target,
            account,
            wanted,
            worlds,
            world,
            watched: Vec::new(),
            heard: BTreeMap::new(),
            still_since: None,
            received: VecDeque::new(),
            next_ping: now,
            log_in_at: None,
            said_until: None,
        }
    }

    /// Until nobody wants anything any more.
    pub async fn play(mut self) {
        let mut next_beat = Instant::now();
        while self.wanted.has_changed().is_ok() {
            if let Some(event) = self.client.next(next_beat).await {
                self.handle(event);
            }
            let now = Instant::now();
            if now >= next_beat {
                next_beat = now + BEAT;
                self.beat(now).await;
            }
        }
        self.client.stop().await;
    }

    async fn beat(&mut self, now: Instant) {
        if self.client.core().status() == Status::Ended {
            self.log_in_again(now).await;
            // Where a client has ended, nothing waits for `next_beat`.
            tokio::time::sleep_until(now + BEAT).await;
        }
        self.watch();
        if now >= self.next_ping {
            self.next_ping = now + PING_EVERY;
            let ms = self.client.now();
            self.client.core().ping(ms);
        }
        if self.said_until.is_some_and(|until| until <= now) {
            (self.said_until, self.world.said) = (None, None);
        }
        self.measure(now);
        self.look(now);
        self.worlds.send_replace(self.world.clone());
    }

    /// The token had ended: with another the same player goes on.
    async fn log_in_again(&mut self, now: Instant) {
        if self.log_in_at.is_none_or(|due| now < due) {
            return;
        }
        match self.account.log_in(&self.target).await {
            Ok(token) => {
                self.log_in_at = None;
                let now = self.client.now();
                self.client.core().renew_token(token);
                self.client.core().start(now);
            }
            Err(error) => {
                self.log_in_at = Some(now + LOG_IN_AFTER);
                self.world.link = Link::Ended(error.to_string());
            }
        }
    }

    /// Watches what is wanted and nothing else.
    fn watch(&mut self) {
        if !self.wanted.has_changed().unwrap_or(false) {
            return;
        }
        let wanted = self.wanted.borrow_and_update().clone();
        for sector in self.watched.iter().filter(|sector| !wanted.contains(sector)) {
            self.client.core().unsubscribe(EntityKey::Sector(*sector));
            self.heard.remove(sector);
        }
        let now = self.client.now();
        self.client.core().subscribe(now, &wanted);
        self.world.empty_told &= wanted.iter().all(|sector| self.watched.contains(sector));
        self.watched = wanted;
    }

    fn measure(&mut self, now: Instant) {
        let bytes = self.client.traffic().bytes_in;
        self.received.push_back((now, bytes));
        if self.received.len() > RATE_BEATS {
            self.received.pop_front();
        }
        let Some((since, before)) = self.received.front() else { return };
        let ms = now.duration_since(*since).as_millis().max(1);
        let rate = u128::from(bytes - before) * 1_000 / ms;
        self.world.bytes_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
    }

    /// Where everything is now.
    fn look(&mut self, now: Instant) {
        let now = self.still_since.unwrap_or(now);
        let known = self.watched.iter().filter_map(|sector| {
            let view = self.client.view(EntityKey::Sector(*sector))?;
            view.tick()?;
            Some((*sector, sight(view, *self.heard.get(sector)?, now)))
        });
        self.world.sights = known.collect();
        let summed = self.watched.iter().filter_map(|sector| {
            let aggregate = self.client.aggregate(EntityKey::Sector(*sector))?;
            Some((*sector, aggregate.children.clone()))
        });
        self.world.sums = summed.collect();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected { player, presence, .. } => {
                self.world.player = Some(player);
                self.world.link = Link::Open;
                self.world.presence.clear();
                self.still_since = None;
                self.note_presence(&presence);
            }
            Event::Presence { changed } => self.note_presence(&changed),
            Event::Updated { place: EntityKey::Sector(sector), tick, .. } => {
                self.heard.insert(sector, Heard { tick, at: Instant::now() });
                self.world.tick = Some(tick);
            }
            Event::RoundTrip { ms } => self.world.round_trip_ms = Some(ms),
            Event::Disconnected { reason, .. } => self.world.link = Link::Lost(reason),
            Event::Ended { reason, answer } => self.handle_ended(reason, answer.as_ref()),
            Event::Refused(error) => self.handle_refused(&error),
            Event::Notice(notice) => self.handle_notice(notice),
            Event::Desync { place, tick, .. } => {
                self.say(format!("{place}: desync at tick {tick}"));
            }
            _ => {}
        }
    }

    fn handle_ended(&mut self, reason: String, answer: Option<&Answer>) {
        let why = match answer {
            Some(Answer::SessionEnded { reason: EndReason::TokenRefused }) => {
                self.log_in_at = Some(Instant::now() + LOG_IN_AFTER);
                "the token had ended, logging in again".to_owned()
            }
            // Coming back would end that one, which might come back, too.
            Some(Answer::SessionEnded { reason: EndReason::Superseded }) => {
                "the player opened a newer session elsewhere".to_owned()
            }
            _ => reason,
        };
        self.world.link = Link::Ended(why);
    }

    fn handle_refused(&mut self, error: &Error) {
        match (&error.answer, error.regarding.as_deref()) {
            // No fault: nothing has ever been in some of the sectors. Asked for
            // again and again, they are seen as soon as something is.
            (Answer::NotHere {}, Some("subscribe")) => self.world.empty_told = true,
            // The screen went elsewhere before what it showed was given back: the
            // client asks again in a moment.
            (Answer::Invalid { .. }, Some("subscribe")) => {}
            (answer, _) => self.say(refusal(answer)),
        }
    }

    fn say(&mut self, text: String) {
        self.world.said = Some(text);
        self.said_until = Some(Instant::now() + SAID_FOR);
    }

    fn handle_notice(&mut self, notice: Notice) {
        let said = match notice {
            Notice::StoreAway {} => {
                self.still_since = Some(Instant::now());
                Some("the server's store is away: time stands still".to_owned())
            }
            Notice::StoreBack {} => {
                self.still_since = None;
                None
            }
            Notice::ShuttingDown { .. } => Some("the server is shutting down".to_owned()),
            Notice::Announcement { text } => return self.say(format!("server: {}", text.as_str())),
        };
        (self.world.said, self.said_until) = (said, None);
    }

    fn note_presence(&mut self, changed: &[PresenceEntry]) {
        for entry in changed {
            let count = entry.units.iter().map(|units| units.count).sum();
            let sector = SectorId::from(entry.sector);
            match count {
                0 => drop(self.world.presence.remove(&sector)),
                count => drop(self.world.presence.insert(sector, count)),
            }
        }
    }
}

/// A view, moved along its courses to now.
fn sight(view: &CellsView, heard: Heard, now: Instant) -> Sight {
    let elapsed = now.saturating_duration_since(heard.at).as_millis();
    let ticks = u64::try_from(elapsed).unwrap_or(u64::MAX) / TICK_MS;
    let tick = heard.tick.saturating_add(ticks);
    let units = view.units().filter_map(|unit| view.predict(unit.id, tick));
    Sight { mask: view.mask(), units: units.collect() }
}

/// What the server refused, in its words.
fn refusal(answer: &Answer) -> String {
    match answer {
        Answer::Refused { rule, .. } => format!("refused by the server: {rule}"),
        Answer::Invalid { field, expected } => format!("invalid {field}: expected {expected}"),
        Answer::Limited { after_ms } => format!("limited by the server for {after_ms} ms"),
        other => format!("the server answered {}", other.name()),
    }
}
