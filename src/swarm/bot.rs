//! Owns one client of a swarm: connects, watches where it has units, gives
//! orders, has everything checked, and counts. Ends when all it was promised
//! has been shown, or not within the time that takes at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::accounts::tokens;
use super::check::{Checker, Loss};
use super::fog::{Fog, Unseen};
use super::journal::Who;
use super::orders::{Chance, Places, Turn};
use super::predicted::Answers;
use super::scenario::Targets;
use super::stats::Counts;
use crate::base::draw::draw;
use crate::base::{EntityKey, PlayerId, SectorId, SessionId, UnitId};
use crate::client::{Client, Event, Options, Status, Target, Traffic};
use crate::protocol::server::{Notice, PresenceEntry};
use crate::protocol::{Answer, FINGERPRINT, UnitRecord};

/// After the last order: so long for answers and effects to come. More than
/// the four attempts of a command take.
const SETTLE: Duration = Duration::from_secs(15);
/// With answers as late as that, what is shown cannot be told from what was:
/// half of what the check of the fog waits for.
const LATE_MS: u64 = 2_500;
/// A player whose token ended logs in again after so long at the earliest.
const LOG_IN_AFTER: Duration = Duration::from_millis(500);

/// A client while it plays.
struct Bot {
    shared: Arc<Shared>,
    who: Who,
    client: Client,
    checker: Checker,
    fog: Fog,
    answers: Answers,
    chance: Chance,
    /// Whether it was ever connected, and whether it is.
    connected: bool,
    open: bool,
    /// Own units by place, as last written to the journal.
    written: BTreeMap<EntityKey, Vec<UnitId>>,
    /// The sector that it started in.
    target: Target,
    home: Option<SectorId>,
    /// Those of its units that take part; empty when all do.
    fleet: BTreeSet<UnitId>,
    counted: Traffic,
    next_order: Instant,
    next_keyframe: Instant,
}

/// Plays client `number` of a swarm that began at `start`.
pub(super) async fn play(shared: Arc<Shared>, number: u32, start: Instant) {
    let config = &shared.config;
    let mut stop = shared.stop.clone();
    let begin = start + config.ramp * number / config.clients;
    let name = format!("{}-{number}", config.players);
    let Some(target) = config.target(number).cloned() else { return };
    let login = async {
        sleep_until(begin).await;
        tokens(&target, &name, shared.end, &shared.stats).await
    };
    let tokens = tokio::select! {
        tokens = login => tokens,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let Some(tokens) = tokens else { return };
    let mut bot = Bot::new(shared.clone(), number, target, tokens.access_token.0);
    bot.give_orders(&name).await;
    bot.settle().await;
    bot.finish().await;
}

impl Bot {
    fn new(shared: Arc<Shared>, number: u32, target: Target, token: String) -> Bot {
        let (seed, client) = (shared.config.seed, u64::from(number));
        let options = Options {
            reconnect: shared.config.reconnect,
            seed: draw(seed, "swarm client", &[client]),
        };
        let now = Instant::now();
        let mut connection = Client::new(target.clone(), shared.config.codec, token, options);
        if let Some(charts) = &shared.charts {
            connection.core().predict_with(charts.clone());
        }
        Bot {
            client: connection,
            shared,
            target,
            who: Who { client, player: PlayerId(0), session: SessionId(0) },
            checker: Checker::default(),
            fog: Fog::default(),
            answers: Answers::default(),
            chance: Chance { seed, client, turn: 0 },
            connected: false,
            open: false,
            written: BTreeMap::new(),
            home: None,
            fleet: BTreeSet::new(),
            counted: Traffic::default(),
            next_order: now,
            next_keyframe: now,
        }
    }

    async fn give_orders(&mut self, name: &str) {
        let mut stop = self.shared.stop.clone();
        let end = self.shared.end;
        while Instant::now() < end && !*stop.borrow() {
            if self.client.core().status() == Status::Ended && !self.log_in_again(name).await {
                return;
            }
            let until = end.min(self.next_order).min(self.next_keyframe);
            let event = tokio::select! {
                event = self.client.next(until) => event,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            match event {
                Some(event) => self.handle(event),
                None => self.act(),
            }
        }
    }

    /// Nothing is ordered any more; what was promised has time to show.
    async fn settle(&mut self) {
        let until = Instant::now() + SETTLE;
        while Instant::now() < until && !self.is_settled() {
            match self.client.next(until).await {
                Some(event) => self.handle(event),
                None => break,
            }
        }
        self.ask_keyframes();
        let until = Instant::now() + Duration::from_secs(1);
        while let Some(event) = self.client.next(until).await {
            let last = matches!(event, Event::Updated { keyframe: true, .. });
            self.handle(event);
            if last {
                break;
            }
        }
    }

    async fn finish(&mut self) {
        for loss in self.checker.unshown() {
            self.note_loss(&loss);
        }
        if let Some(meeting) = self.shared.meeting.get() {
            let there = self.written.get(&EntityKey::Sector(*meeting));
            let is_there = there.is_some_and(|units| !units.is_empty());
            self.counts(|counts| counts.gathered += u64::from(is_there));
        }
        let places: Vec<EntityKey> = self.written.keys().copied().collect();
        places.into_iter().for_each(|place| self.write_units(place));
        self.client.stop().await;
        self.count_traffic();
    }

    fn is_settled(&mut self) -> bool {
        let core = self.client.core();
        let waits = core.unanswered().next().is_some();
        core.status() == Status::Ended || (!waits && self.checker.is_settled())
    }

    /// The session ended for good: with a new token another one begins.
    async fn log_in_again(&mut self, name: &str) -> bool {
        if !self.shared.config.reconnect {
            return false;
        }
        sleep_until(self.shared.end.min(Instant::now() + LOG_IN_AFTER)).await;
        let Shared { end, stats, .. } = &*self.shared;
        let Some(tokens) = tokens(&self.target, name, *end, stats).await else { return false };
        let now = self.client.now();
        self.client.core().renew_token(tokens.access_token.0);
        self.client.core().start(now);
        true
    }

    /// Gives the order, or asks for the keyframes, that are due.
    fn act(&mut self) {
        let now = Instant::now();
        if now >= self.next_keyframe {
            let interval = self.shared.config.scenario.checks.keyframe_interval_ms;
            self.next_keyframe = now + Duration::from_millis(u64::from(interval));
            self.ask_keyframes();
            self.count_traffic();
            self.look_for_missing();
        }
        if now >= self.next_order {
            let interval = self.chance.interval_ms(&self.shared.config.scenario.orders);
            self.next_order = now + Duration::from_millis(interval);
            self.order();
            self.chance.turn += 1;
        }
    }

    /// Only a connected client can tell a unit that is gone.
    fn look_for_missing(&mut self) {
        let now = self.client.now();
        if self.open {
            let late = |since: u64| since + LATE_MS < now;
            let waits = self.client.core().waits_since();
            // Nor is it known what a unit sees that is shown nowhere.
            if waits.is_some_and(late) || self.checker.gone_since().is_some_and(late) {
                self.fog.clear();
            }
            self.look_around();
            let losses = self.checker.overdue(now);
            losses.iter().for_each(|loss| self.note_loss(loss));
            for Unseen { sector, cells } in self.fog.judge(&self.shared.sensors, now) {
                self.note_fog(|| format!("{sector}: cells {:#018x} are shown, unseen", cells.0));
            }
        } else {
            self.checker.handle_disconnected(now);
            self.fog.clear();
        }
    }

    /// What a place last showed holds until it shows something else, however
    /// long it is silent: while it changes its node, say. The server's masks are
    /// of that, too.
    fn look_around(&mut self) {
        let places: Vec<EntityKey> = self.written.keys().copied().collect();
        places.into_iter().for_each(|place| self.note_sight(place));
    }

    fn note_sight(&mut self, place: EntityKey) {
        let own = self.own_units(place);
        if let (EntityKey::Sector(sector), Some(view)) = (place, self.client.view(place)) {
            self.fog.note(sector, view, &own, self.client.now());
        }
    }

    fn ask_keyframes(&mut self) {
        let places: Vec<EntityKey> = self.written.keys().copied().collect();
        let now = self.client.now();
        places.into_iter().for_each(|place| self.client.core().ask_keyframe(now, place));
    }

    /// The oldest of its units, if not all are to take part.
    fn choose_fleet(&mut self) {
        let ships = self.shared.config.scenario.orders.ships;
        if ships < u16::MAX && self.fleet.is_empty() {
            let own: BTreeSet<UnitId> = self.written.values().flatten().copied().collect();
            self.fleet = own.into_iter().take(ships.into()).collect();
        }
    }

    fn takes_part(&self, unit: UnitId) -> bool {
        self.fleet.is_empty() || self.fleet.contains(&unit)
    }

    fn order(&mut self) {
        self.choose_fleet();
        let takes_part = |unit: &UnitId| self.takes_part(*unit);
        let occupied = self.written.iter().filter(|(_, units)| units.iter().any(takes_part));
        let places: Vec<EntityKey> = occupied.map(|(place, _)| *place).collect();
        let chosen = self.chance.below(100, places.len() as u64);
        let Some(EntityKey::Sector(sector)) = places.get(chosen as usize).copied() else { return };
        let is_together = self.shared.config.scenario.orders.targets == Targets::Together;
        if is_together && sector.scale > 0 {
            // It is on its way.
            return;
        }
        let home = self.home.unwrap_or(sector);
        let meeting = self.shared.meeting.get().copied().unwrap_or(home);
        let here = if sector.scale == 0 { sector } else { home };
        let places = Places { here, home, meeting };
        let mut own = self.own_units(EntityKey::Sector(sector));
        own.retain(|unit| self.takes_part(unit.id));
        let turn = self.chance.order(&self.shared.config.scenario.orders, places, &own);
        let (wanted, single) = match turn {
            None => return,
            Some(Turn::One(wanted)) => (vec![wanted], true),
            Some(Turn::Batch(batch)) => (batch, false),
        };
        let (now, core, place) = (self.client.now(), self.client.core(), EntityKey::Sector(sector));
        let sent = match single {
            true => core.command(now, place, wanted[0].clone()).map(|sequence| vec![sequence]),
            false => core.batch(now, place, wanted.clone()),
        };
        match sent {
            Ok(_) => {
                wanted.iter().for_each(|wanted| self.checker.note_sent(wanted.recipients.units()));
                self.counts(|counts| counts.commands += wanted.len() as u64);
            }
            Err(error) => self.counts(|counts| counts.note_error(format!("not sent: {error}"))),
        }
    }

    /// By id, so that a swarm can be repeated.
    fn own_units(&self, place: EntityKey) -> Vec<UnitRecord> {
        let player = self.who.player;
        let view = self.client.view(place);
        let units = view.into_iter().flat_map(|view| view.units());
        let mut own: Vec<UnitRecord> = units.filter(|u| u.owner == player).copied().collect();
        own.sort_unstable_by_key(|unit| unit.id);
        own
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected { session, player, resumed, fingerprint, presence } => {
                self.handle_connected(session, player, resumed, &fingerprint);
                self.watch(&presence);
            }
            Event::Presence { changed } => self.watch(&changed),
            Event::Updated { place, tick, keyframe } => {
                self.handle_updated(place, keyframe);
                self.look_for_stale(place, tick);
            }
            Event::Answered { command, ack, waited_ms } => {
                self.checker.note_answered(&command, &ack);
                if waited_ms > LATE_MS {
                    self.fog.clear();
                }
                if self.client.view(command.place).is_some() {
                    self.answers.note(&command, &ack);
                }
                self.write(|journal, who| journal.note_answered(who, &command, &ack));
                self.counts(|counts| {
                    counts.note_latency(waited_ms);
                    match &ack.error {
                        None => counts.acknowledged += 1,
                        Some(error) => counts.note_error(kind(error)),
                    }
                });
            }
            Event::Chased { command } => {
                self.checker.note_sent(command.command.recipients.units());
                self.counts(|counts| counts.commands += 1);
            }
            Event::GaveUp { command, why } => {
                self.checker.note_gave_up(&command);
                self.write(|journal, who| journal.note_gave_up(who, &command, &why));
                self.counts(|counts| counts.gave_up += 1);
            }
            Event::Corrected { corrections, .. } => {
                self.counts(|counts| counts.predicted.note(&corrections));
            }
            Event::Stray { place, cell } => {
                self.note_fog(|| format!("{place}: a packet has units of cell {cell}, unseen"));
            }
            Event::Desync { place, tick, differences } => {
                let client = self.who.client;
                self.counts(|counts| {
                    counts.desyncs += 1;
                    counts.note_sample(|| {
                        format!("client {client}, {place} at {tick}: desync: {differences:?}")
                    });
                });
            }
            other => {
                // While time stands still what was shown does not end.
                if matches!(other, Event::Notice(Notice::StoreAway {} | Notice::StoreBack {})) {
                    self.fog.clear();
                }
                self.count(&other);
            }
        }
    }

    fn handle_connected(
        &mut self,
        session: SessionId,
        player: PlayerId,
        resumed: bool,
        theirs: &str,
    ) {
        self.who = Who { player, session, ..self.who };
        self.checker.set_player(player);
        if !resumed {
            self.checker.handle_new_session();
            self.answers.handle_new_session();
        }
        let first = !std::mem::replace(&mut self.connected, true);
        self.open = true;
        self.write(|journal, who| journal.note_connected(who, resumed));
        self.counts(|counts| {
            counts.connects += 1;
            counts.clients_connected += u64::from(first);
            counts.resumed += u64::from(resumed);
            if theirs != FINGERPRINT {
                counts.note_error("other protocol");
            }
        });
    }

    fn watch(&mut self, presence: &[PresenceEntry]) {
        for entry in presence.iter().filter(|entry| entry.units.is_empty()) {
            let place = EntityKey::Sector(entry.sector.into());
            self.written.remove(&place);
            self.answers.forget(place);
            self.checker.handle_unwatched(place, self.client.now());
            self.client.core().unsubscribe(place);
        }
        let occupied = presence.iter().filter(|entry| !entry.units.is_empty());
        let sectors: Vec<SectorId> = occupied.map(|entry| entry.sector.into()).collect();
        if let Some(first) = sectors.iter().find(|sector| sector.scale == 0) {
            self.home.get_or_insert(*first);
            self.shared.meeting.get_or_init(|| *first);
        }
        let now = self.client.now();
        self.client.core().subscribe(now, &sectors);
    }

    fn handle_updated(&mut self, place: EntityKey, keyframe: bool) {
        let Some(view) = self.client.view(place) else { return };
        let losses = self.checker.check(place, view, self.client.now());
        losses.iter().for_each(|loss| self.note_loss(loss));
        let (seen, crossings) = (self.checker.drain_seen(), self.checker.drain_crossings());
        self.counts(|counts| {
            counts.crossings += crossings;
            counts.updates += 1;
            counts.keyframes += u64::from(keyframe);
            counts.effects_seen += seen;
        });
        self.note_sight(place);
        let ids: Vec<UnitId> = self.own_units(place).iter().map(|unit| unit.id).collect();
        if keyframe || self.written.get(&place).is_none_or(|written| *written != ids) {
            self.written.insert(place, ids);
            self.write_units(place);
        }
    }

    /// What a packet has shown must not be predicted any more.
    fn look_for_stale(&mut self, place: EntityKey, tick: u64) {
        let pending: Vec<u32> = self.client.core().pending(place).collect();
        for sequence in self.answers.check(place, tick, &pending) {
            let client = self.who.client;
            self.counts(|counts| {
                counts.predicted.stale += 1;
                counts.note_sample(|| {
                    format!("client {client}, {place} at {tick}: {sequence} is predicted, shown")
                });
            });
        }
    }

    /// The player was shown what it does not see.
    fn note_fog(&self, what: impl FnOnce() -> String) {
        let client = self.who.client;
        self.counts(|counts| {
            counts.unseen += 1;
            counts.note_sample(|| format!("client {client}, {}", what()));
        });
    }

    fn note_loss(&mut self, loss: &Loss) {
        self.write(|journal, who| journal.note_loss(who, loss));
        let client = self.who.client;
        self.counts(|counts| {
            counts.losses += 1;
            let Loss { place, tick, unit, what } = loss;
            counts
                .note_sample(|| format!("client {client}, {place} at {tick}, unit {unit}: {what}"));
        });
    }

    fn count(&mut self, event: &Event) {
        let open = self.open;
        if let Event::Disconnected { reason, .. } | Event::Ended { reason, .. } = event {
            self.open = false;
            if open {
                self.checker.handle_disconnected(self.client.now());
                self.fog.clear();
                self.write(|journal, who| journal.note_disconnected(who, reason));
            }
        }
        self.counts(|counts| match event {
            Event::Disconnected { .. } if open => counts.disconnects += 1,
            Event::Disconnected { .. } => counts.note_error("connect failed"),
            Event::Ended { answer, reason } => {
                counts.disconnects += u64::from(open);
                counts.note_error(answer.as_ref().map_or_else(|| "ended".to_owned(), kind));
                counts.note_sample(|| format!("ended: {reason}"));
            }
            Event::Gap { .. } => counts.note_error("gap"),
            Event::Refused(error) => counts.note_error(kind(&error.answer)),
            Event::Notice(Notice::Announcement { .. }) => {}
            Event::Notice(notice) => counts.note_error(format!("notice {notice:?}")),
            _ => {}
        });
    }

    fn count_traffic(&mut self) {
        let now = self.client.traffic();
        let before = std::mem::replace(&mut self.counted, now);
        self.counts(|counts| counts.note_traffic(now, before));
    }

    fn counts(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.shared.stats.lock());
    }

    fn write_units(&self, place: EntityKey) {
        let Some(tick) = self.client.view(place).and_then(|view| view.tick()) else {
            return;
        };
        let units = self.own_units(place);
        self.write(|journal, who| journal.note_units(who, place, tick, &units));
    }

    fn write(&self, entry: impl FnOnce(&super::Journal, Who) -> std::io::Result<()>) {
        let Some(journal) = &self.shared.journal else { return };
        if let Err(error) = entry(journal, self.who) {
            self.counts(|counts| counts.note_error(format!("journal: {error}")));
        }
    }
}

fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Refused { rule, .. } => format!("refused {rule}"),
        Answer::Invalid { field, .. } => format!("invalid {field}"),
        Answer::SessionEnded { reason } => format!("sessionEnded {reason:?}"),
        other => other.name().to_owned(),
    }
}
