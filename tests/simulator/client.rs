//! Owns a scripted client: connects, commands its units and others', repeats in
//! order, comes back after anything. What it hears it hands to the judge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use starmesh::base::{CompressedPosition, EntityKey, PlayerId, SectorId, SessionId, UnitId};
use starmesh::entity::commands::{CommandAnswer, CommandResult, PlayerCommand};
use starmesh::entity::effect::{Connected, SectorPresence};
use starmesh::sim::{Command, Instruction, Target, UnitIds};
use starmesh::view::CellsView;
use starmesh::view::fanout::{Packet, Shown};
use starmesh::view::fog::Mask;

use crate::gateway::{Request, ToClient};
use crate::outside::Outside;
use crate::process::codec_of;
use crate::queue::Happening;
use crate::scene::{Fact, Seen};

/// Commands a client leaves unanswered at most.
const UNANSWERED_MAX: usize = 32;
/// Of 1,000 updates so many do not reach a client in a storm.
const LOST: u64 = 4;
/// An answered command is sent again at most this much later.
const REPEAT_MS_MAX: u64 = 20_000;

/// A scripted client.
pub struct Client {
    index: usize,
    player: PlayerId,
    connection: Option<Connection>,
    session: Option<SessionId>,
    sequence: u32,
    pending: BTreeMap<u32, Pending>,
    /// Answered, newest last, and when.
    answered: VecDeque<(u64, u32, EntityKey, Command)>,
    sectors: BTreeSet<SectorId>,
    /// Places it does not look at, and until when.
    ignored: BTreeMap<EntityKey, u64>,
    /// Another device has taken over in the calm: this one stays away.
    retired: bool,
    /// From when until when it does nothing.
    quiet: (u64, u64),
}

struct Connection {
    number: u64,
    since: u64,
    open: bool,
    places: BTreeMap<EntityKey, Place>,
    /// Places it looked away from: what was on its way then may still come, so
    /// that a later keyframe need not fit what it has.
    left: BTreeSet<EntityKey>,
}

#[derive(Default)]
struct Place {
    view: CellsView,
    asked: u64,
    /// An update since the last keyframe did not come.
    lost: bool,
}

struct Pending {
    entity: EntityKey,
    command: Command,
    sent: u64,
    patience: u64,
}

impl Client {
    pub fn new(index: usize, player: u64) -> Client {
        Client {
            index,
            player: PlayerId(player),
            connection: None,
            session: None,
            sequence: 0,
            pending: BTreeMap::new(),
            answered: VecDeque::new(),
            sectors: BTreeSet::new(),
            ignored: BTreeMap::new(),
            retired: false,
            quiet: (0, 0),
        }
    }

    /// Does nothing in that time, as if its player had gone away.
    pub fn be_quiet(&mut self, from: u64, until: u64) {
        self.quiet = (from, until);
    }

    /// Why it cannot be left alone yet.
    pub fn unsettled(&self) -> Option<String> {
        let open = self.connection.as_ref().is_some_and(|connection| connection.open);
        if self.retired
            || (open
                && self.pending.is_empty()
                && !self.sectors.is_empty()
                && self.blind().is_empty())
        {
            return None;
        }
        let waiting: Vec<u32> = self.pending.keys().copied().collect();
        let blind = self.blind();
        Some(format!(
            "client {} (open: {open}) waits for {waiting:?}, sees not {blind:?}",
            self.index
        ))
    }

    /// Places with units of its own of which it does not see everything that
    /// it should: a keyframe that was asked for must have come.
    fn blind(&self) -> Vec<SectorId> {
        let places = self.connection.as_ref().map(|connection| &connection.places);
        let is_whole = |sector: &SectorId| {
            let place = places.and_then(|places| places.get(&EntityKey::Sector(*sector)));
            place.is_some_and(|place| {
                place.view.tick().is_some() && place.view.missing() == Mask::NONE
            })
        };
        self.sectors.iter().copied().filter(|sector| !is_whole(sector)).collect()
    }

    /// Does what is to be done now, and comes again later.
    pub fn act(&mut self, out: &mut Outside) {
        let next = out.random.within(50..=400);
        let (from, until) = self.quiet;
        let pause = if out.now < from { 0 } else { until.saturating_sub(out.now) };
        out.push_in(next.max(pause), Happening::ClientActs(self.index));
        if pause > 0 {
            // Its socket takes nothing, so the gateway closes the connection.
            self.hang_up(out);
            return;
        }
        if self.retired {
            return;
        }
        match &self.connection {
            None => self.connect(out),
            Some(connection) if !connection.open => {
                if out.now > connection.since + 3000 {
                    self.hang_up(out);
                }
            }
            Some(_) => self.act_connected(out),
        }
    }

    fn connect(&mut self, out: &mut Outside) {
        let number = out.connection();
        let resume = self.session.filter(|_| out.calm || out.random.chance(850));
        let (since, open) = (out.now, false);
        let (places, left) = (BTreeMap::new(), BTreeSet::new());
        self.connection = Some(Connection { number, since, open, places, left });
        let (client, player) = (self.index, self.player);
        out.send_request(number, &Request::Connect { client, player, resume });
    }

    fn hang_up(&mut self, out: &mut Outside) {
        if let Some(connection) = self.connection.take() {
            out.send_request(connection.number, &Request::Close);
        }
    }

    fn act_connected(&mut self, out: &mut Outside) {
        if !out.calm && out.random.chance(15) {
            return self.hang_up(out);
        }
        self.observe(out);
        self.resend(out);
        if !out.calm {
            let commands = out.random.below(4);
            (0..commands).for_each(|_| self.command(out));
            self.look_away(out);
            self.repeat(out);
        }
    }

    /// Asks for what it does not see, and at times for what it does.
    fn observe(&mut self, out: &mut Outside) {
        let Some(connection) = &mut self.connection else { return };
        for sector in &self.sectors {
            let key = EntityKey::Sector(*sector);
            if self.ignored.get(&key).is_some_and(|until| out.now < *until) {
                continue;
            }
            let is_new = !connection.places.contains_key(&key);
            let place = connection.places.entry(key).or_default();
            let is_whole = place.view.tick().is_some() && place.view.missing() == Mask::NONE;
            let waits = !is_whole && out.now > place.asked + 300;
            if is_new || waits || out.random.chance(15) {
                place.asked = out.now;
                out.send_request(connection.number, &Request::Observe(key));
            }
        }
    }

    /// At times looks away from a place for a while, and at one where there is
    /// nothing of its own.
    fn look_away(&mut self, out: &mut Outside) {
        let Some(connection) = &mut self.connection else { return };
        let places: Vec<EntityKey> = connection.places.keys().copied().collect();
        if let Some(place) = out.random.pick(&places).filter(|_| out.random.chance(60)) {
            self.ignored.insert(*place, out.now + out.random.below(12_000));
            connection.places.remove(place);
            connection.left.insert(*place);
            out.send_request(connection.number, &Request::Unobserve(*place));
        }
        let sectors: Vec<SectorId> = self.sectors.iter().copied().collect();
        if let Some(sector) = out.random.pick(&sectors).copied().filter(|_| out.random.chance(20)) {
            let place = EntityKey::Sector(near(sector, out));
            out.send_request(connection.number, &Request::Observe(place));
        }
    }

    /// Sends again what is not answered: from the first one on, all of a place,
    /// in order, when one of them has waited long enough.
    fn resend(&mut self, out: &mut Outside) {
        let is_due = |pending: &&Pending| out.now >= pending.sent + pending.patience;
        let due: BTreeSet<EntityKey> =
            self.pending.values().filter(is_due).map(|pending| pending.entity).collect();
        due.into_iter().for_each(|entity| self.resend_to(entity, out));
    }

    fn resend_to(&mut self, to: EntityKey, out: &mut Outside) {
        let Some(connection) = &self.connection else { return };
        for (sequence, pending) in self.pending.iter_mut().filter(|(_, p)| p.entity == to) {
            pending.sent = out.now;
            // In the end it asks as often as it can: a sector that is woken
            // for it sleeps again soon.
            pending.patience = if out.calm { 0 } else { out.random.within(300..=3000) };
            let (entity, command) = (pending.entity, pending.command.clone());
            let request = Request::Command { entity, sequence: *sequence, command };
            out.send_request(connection.number, &request);
        }
    }

    fn command(&mut self, out: &mut Outside) {
        let (Some(connection), Some(session)) = (&self.connection, self.session) else { return };
        if self.pending.len() >= UNANSWERED_MAX {
            return;
        }
        let sectors: Vec<SectorId> = self.sectors.iter().copied().collect();
        let Some(sector) = out.random.pick(&sectors).copied() else { return };
        let entity = EntityKey::Sector(sector);
        let Some(command) = self.invent(sector, out) else { return };
        self.sequence += 1;
        let sequence = self.sequence;
        let of_player =
            PlayerCommand { player: self.player, session, sequence, command: command.clone() };
        out.witness.note(&Fact::Commanded { entity, command: &of_player });
        let request = Request::Command { entity, sequence, command: command.clone() };
        out.send_request(connection.number, &request);
        let patience = out.random.within(300..=3000);
        self.pending.insert(sequence, Pending { entity, command, sent: out.now, patience });
    }

    /// A command for some units it sees, or for one it makes up.
    fn invent(&self, sector: SectorId, out: &mut Outside) -> Option<Command> {
        let place = self.connection.as_ref()?.places.get(&EntityKey::Sector(sector));
        let seen: Vec<UnitId> =
            place.into_iter().flat_map(|place| place.view.units()).map(|unit| unit.id).collect();
        let first = out.random.pick(&seen).copied();
        let first = first.filter(|_| !out.random.chance(30));
        let mut ids = vec![first.unwrap_or(UnitId(1 + out.random.below(1 << 30)))];
        ids.extend(out.random.pick(&seen).copied().filter(|id| *id != ids[0]));
        let units = UnitIds::new(ids).ok()?;
        let (x, y) = (out.random.number() as u32, out.random.number() as u32);
        let position = CompressedPosition { x, y };
        Some(match out.random.below(20) {
            0 => Command::new(units, Instruction::Stop),
            1 => Command::new(units, Instruction::Hold),
            2..5 => {
                let target = Target { sector: far(sector, out), position };
                Command::new(units, Instruction::Warp { target })
            }
            5 => {
                let target = Target { sector: near(sector, out), position };
                Command { queue: true, ..Command::go(units, target) }
            }
            _ => Command::go(units, Target { sector: near(sector, out), position }),
        })
    }

    /// At times sends an answered command once more, and all behind it.
    fn repeat(&mut self, out: &mut Outside) {
        while self.answered.front().is_some_and(|(at, ..)| *at + REPEAT_MS_MAX < out.now) {
            self.answered.pop_front();
        }
        let Some(connection) = &self.connection else { return };
        if self.answered.is_empty() || !out.random.chance(100) {
            return;
        }
        let index = out.random.below(self.answered.len() as u64) as usize;
        let (_, sequence, entity, command) = self.answered[index].clone();
        out.send_request(connection.number, &Request::Command { entity, sequence, command });
        self.resend_to(entity, out);
    }

    /// Takes a message of a connection.
    pub fn hear(&mut self, number: u64, message: ToClient, out: &mut Outside) {
        if self.connection.as_ref().is_none_or(|connection| connection.number != number) {
            return;
        }
        match message {
            ToClient::Connected(connected) => self.connected(connected, out),
            ToClient::Answered(answer) => self.answered(&answer, out),
            ToClient::SessionEnded(session) => {
                if self.session == Some(session) {
                    self.session_ended(out);
                }
            }
            ToClient::Presence(presence) => self.present(&presence, out),
            ToClient::Rejected { sequence, never: true } => {
                self.pending.remove(&sequence);
            }
            ToClient::Rejected { sequence, .. } => {
                if let Some(pending) = self.pending.get_mut(&sequence) {
                    pending.patience = out.random.within(300..=1500);
                }
            }
            // One that was brought back and may not be claimed while clocks
            // differ is let go again; a keyframe comes when it is back.
            ToClient::Shown(Shown::Gone(sector)) => {
                if let Some(connection) = &mut self.connection {
                    let place = connection.places.get_mut(&EntityKey::Sector(sector));
                    place.into_iter().for_each(|place| place.view = CellsView::default());
                }
            }
            ToClient::Shown(Shown::Packet(packet)) => self.see(&packet, out),
            ToClient::Shown(Shown::Pace { .. }) => {
                out.witness.coverage.note("told of a dilation", 1)
            }
            ToClient::Closed => self.connection = None,
        }
    }

    fn connected(&mut self, connected: Connected, out: &mut Outside) {
        let Some(connection) = &mut self.connection else { return };
        connection.open = true;
        if self.session != Some(connected.session) {
            self.session = Some(connected.session);
            self.sequence = 0;
            self.pending.clear();
            self.answered.clear();
        }
        connected.presence.iter().for_each(|presence| self.present(presence, out));
        self.pending.values_mut().for_each(|pending| pending.patience = 0);
        self.resend(out);
    }

    fn present(&mut self, presence: &SectorPresence, out: &mut Outside) {
        if presence.counts.is_empty() {
            self.sectors.remove(&presence.sector);
            let place = EntityKey::Sector(presence.sector);
            if let Some(connection) = &mut self.connection {
                connection.places.remove(&place);
                connection.left.insert(place);
                out.send_request(connection.number, &Request::Unobserve(place));
            }
        } else {
            self.sectors.insert(presence.sector);
        }
    }

    fn session_ended(&mut self, out: &mut Outside) {
        self.session = None;
        self.pending.clear();
        self.answered.clear();
        self.hang_up(out);
        self.retired = out.calm;
    }

    fn answered(&mut self, answer: &CommandAnswer, out: &mut Outside) {
        out.witness.note(&Fact::Heard(answer));
        if self.session != Some(answer.session) {
            return;
        }
        if answer.result == CommandResult::SessionEnded {
            return self.session_ended(out);
        }
        if let Some(pending) = self.pending.remove(&answer.sequence) {
            let entry = (out.now, answer.sequence, pending.entity, pending.command);
            self.answered.push_back(entry);
        }
    }

    fn see(&mut self, packet: &Packet, out: &mut Outside) {
        let Some(connection) = &mut self.connection else { return };
        let entity = EntityKey::Sector(packet.sector);
        let Some(place) = connection.places.get_mut(&entity) else { return };
        if !packet.keyframe && place.view.tick().is_none() {
            // On its way since before the client looked away.
            return;
        }
        if !packet.keyframe && !out.calm && out.random.chance(LOST) {
            place.lost = true;
            return;
        }
        // Nor need it fit where something is missing that was not noticed yet.
        if packet.keyframe && (place.lost || connection.left.contains(&entity)) {
            (place.view, place.lost) = (CellsView::default(), false);
        }
        let codec = codec_of(self.index);
        let taken = Seen::take(connection.number, self.player, codec, &mut place.view, packet);
        let (seen, applied) = match taken {
            Ok(taken) => taken,
            Err(what) => return out.witness.note(&Fact::Never(what)),
        };
        let observer = Seen { lost: place.lost, ..seen };
        out.witness.note(&Fact::Seen { observer: &observer, view: &place.view, applied: &applied });
    }
}

/// Where players start, so that they meet, or a place that is behind another
/// sector of the warp scale.
fn far(sector: SectorId, out: &mut Outside) -> SectorId {
    if out.random.chance(600) {
        return out.world.galaxy.start_place(out.random.below(4));
    }
    let home = out.world.galaxy.start_place(0);
    let sector = if sector.scale == 0 { sector } else { home };
    let mut away = |v: i64| v + out.random.below(61) as i64 - 30;
    SectorId::tactical(away(sector.x), away(sector.y))
}

/// The sector, or at times one beside it, which may be outside the galaxy.
fn near(sector: SectorId, out: &mut Outside) -> SectorId {
    if !out.random.chance(400) {
        return sector;
    }
    let mut beside = |v: i64| v + out.random.below(3) as i64 - 1;
    SectorId::tactical(beside(sector.x), beside(sector.y))
}
