//! Invariants 27 and 28: what a client rebuilds of a sector is what the server
//! has there, through the client's mask, at every tick and bit for bit; no
//! packet has a record of a unit outside the mask; what was lost is noticed,
//! and a keyframe makes up for it. In random worlds, in every form.

mod bytes;
mod decode;
mod docs;
mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use starmesh::protocol::blocks::{BlockError, Content, Packet, json, msgpack, packet};
use starmesh::protocol::{CodecKind, Header, UnitRecord};
use starmesh::sim::rules::sample::rules;
use starmesh::view::cells::cell_of;
use starmesh::view::fog::{Cell, Mask, Sight};
use starmesh::view::stage::{GroupId, STAY_TICKS, Thrown};
use starmesh::view::{Applied, CellsView, Stage};
use world::{SECTORS, World, around, is_cloaked, sector};

const HANDLE: u32 = 7;

/// What may go wrong between the server and a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Good,
    /// Packets are lost; the gateway sends a keyframe after them.
    Told,
    /// Packets are lost, and nobody tells.
    Silent,
}

struct Client {
    group: GroupId,
    sector: usize,
    codec: CodecKind,
    line: Line,
    joins: u64,
    view: CellsView,
    asks: bool,
    /// Cells of which a block was lost since their last keyframe, and which
    /// have not had a block since.
    dirty: u64,
    /// A mask was lost.
    lost_scope: bool,
    /// Anything was lost since the last keyframe.
    lossy: bool,
}

/// When each cell came into each group's mask, as the rule says.
#[derive(Default)]
struct Masks(BTreeMap<(usize, GroupId), BTreeMap<u32, u64>>);

struct Play {
    world: World,
    stages: Vec<Option<Stage>>,
    clients: Vec<Client>,
    masks: Masks,
}

/// By id, those of one cell that all see, as they are.
fn truth(world: &World, at: usize, cell: u8) -> Vec<UnitRecord> {
    let units = world.sectors[at].units.values().map(|ship| ship.seen);
    let shown = units.filter(|seen| !is_cloaked(seen) && cell_of(&seen.unit) == cell);
    shown.map(|seen| seen.unit).collect()
}

fn cloaked(world: &World, at: usize, group: GroupId) -> Vec<UnitRecord> {
    let units = world.sectors[at].units.values().map(|ship| ship.seen);
    let own = units.filter(|seen| is_cloaked(seen) && GroupId::of(seen.unit.owner) == group);
    own.map(|seen| seen.unit).collect()
}

fn decode(codec: CodecKind, bytes: &[u8]) -> (Header, Packet) {
    read(codec, bytes).unwrap()
}

fn read(codec: CodecKind, bytes: &[u8]) -> Result<(Header, Packet), BlockError> {
    match codec {
        CodecKind::Postcard => packet::read_message(bytes),
        CodecKind::MessagePack => msgpack::read_message(bytes),
        CodecKind::Json => json::read_message(bytes),
    }
}

/// Every record of a packet is of a unit that the group sees at its tick.
fn shows_only_the_mask(
    packet: &Packet,
    world: &World,
    at: usize,
    group: GroupId,
    mask: Mask,
) -> Result<(), String> {
    for block in &packet.blocks {
        let known = |unit: &UnitRecord| match block.content {
            Content::Cloaked(_) => cloaked(world, at, group).contains(unit),
            _ => mask.has_index(block.cell.into()) && truth(world, at, block.cell).contains(unit),
        };
        if !mask.has_index(block.cell.into()) && !matches!(block.content, Content::Cloaked(_)) {
            return Err(format!("a block of cell {}, which is not in the mask", block.cell));
        }
        let of_block = Packet { blocks: vec![block.clone()], ..packet.clone() };
        for (cell, seen) in of_block.records() {
            if !known(&seen.unit) {
                return Err(format!("a record of {:?} in cell {cell}", seen.unit));
            }
        }
    }
    Ok(())
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut world = World::new(seed);
        let mut clients = Vec::new();
        for _ in 0..10 {
            let random = &mut world.random;
            clients.push(Client {
                group: GroupId(random.within(1..=world::PLAYERS)),
                sector: random.below(SECTORS as u64) as usize,
                codec: *random.pick(CodecKind::ALL).unwrap(),
                line: *random.pick(&[Line::Good, Line::Good, Line::Told, Line::Silent]).unwrap(),
                joins: random.below(30),
                view: CellsView::default(),
                asks: false,
                dirty: 0,
                lost_scope: false,
                lossy: false,
            });
        }
        let stages = (0..SECTORS).map(|_| None).collect();
        Play { world, stages, clients, masks: Masks::default() }
    }

    fn run(&mut self, steps: u64) -> Result<(), TestCaseError> {
        for step in 0..steps {
            let thrown: Vec<Thrown> = (0..SECTORS).map(|at| self.thrown(at)).collect();
            let seen_before: Vec<BTreeMap<GroupId, Mask>> =
                (0..SECTORS).map(|at| self.sight_from_around(at)).collect();
            let deltas = self.world.step();
            for (at, delta) in deltas.iter().enumerate() {
                if let Some(stage) = &mut self.stages[at] {
                    stage.step(delta, &thrown[at]);
                }
            }
            self.check_masks(&seen_before)?;
            for at in 0..self.clients.len() {
                self.open(at, step);
                self.serve(at, step)?;
            }
        }
        Ok(())
    }

    fn thrown(&self, at: usize) -> Thrown {
        let mut all = Thrown::default();
        for (other, direction) in around(at) {
            if let Some(stage) = &self.stages[other] {
                all.merge(&stage.thrown(direction.opposite()));
            }
        }
        all
    }

    /// A stage for the client's sector, from when the first one joins.
    fn open(&mut self, client: usize, step: u64) {
        let Client { sector: at, joins, group, .. } = self.clients[client];
        if joins != step {
            return;
        }
        let scene = self.world.scene(at);
        let rules = rules().unwrap();
        let stage = self.stages[at].get_or_insert_with(|| Stage::new(sector(at), &scene, &rules));
        stage.watch(group);
        self.masks.begin(at, group, stage.mask(group), self.world.tick);
        self.clients[client].asks = true;
    }

    fn serve(&mut self, at: usize, step: u64) -> Result<(), TestCaseError> {
        let Play { world, stages, clients, .. } = self;
        let client = &mut clients[at];
        if step < client.joins {
            return Ok(());
        }
        let stage = stages[client.sector].as_mut().unwrap();
        if let Some(bytes) = stage.packet(client.group, client.codec, HANDLE) {
            client.receive(&bytes, stage, world)?;
        }
        // Who lost the thread unnoticed may wait for its keyframe: what it holds
        // in the meantime is right, too.
        let slow = client.line == Line::Silent && client.lossy && !world.random.chance(300);
        if client.asks && !slow {
            let bytes = stage.keyframe(client.group, client.codec, HANDLE);
            client.begin(&bytes, stage, world)?;
        }
        client.check(stage, world)
    }

    /// What units in the sectors around reveal of this one, by the rule.
    fn sight_from_around(&self, at: usize) -> BTreeMap<GroupId, Mask> {
        let mut seen = BTreeMap::new();
        for (other, direction) in around(at).filter(|(other, _)| self.stages[*other].is_some()) {
            let (dx, dy) = direction.offset();
            self.look(other, (dx * 8, dy * 8), &mut seen);
        }
        seen
    }

    fn look(&self, at: usize, (dx, dy): (i32, i32), seen: &mut BTreeMap<GroupId, Mask>) {
        for ship in self.world.sectors[at].units.values() {
            let unit = &ship.seen.unit;
            let Cell { x, y } = Cell::of(unit.position.into());
            let radius = if unit.type_id == 77 { 0 } else { 300 };
            let mask = Sight::new(radius).from(Cell { x: x + dx, y: y + dy });
            let all: &mut Mask = seen.entry(GroupId::of(unit.owner)).or_default();
            *all = all.with(mask);
        }
    }

    fn check_masks(
        &mut self,
        from_around: &[BTreeMap<GroupId, Mask>],
    ) -> Result<(), TestCaseError> {
        let tick = self.world.tick;
        let mut watched: Vec<(usize, GroupId)> = self.masks.0.keys().copied().collect();
        watched.dedup();
        for (at, group) in watched {
            let mut seen = from_around[at].clone();
            self.look(at, (0, 0), &mut seen);
            let sees = seen.get(&group).copied().unwrap_or(Mask::NONE);
            let expected = self.masks.step(at, group, sees, tick);
            let stage = self.stages[at].as_ref().unwrap();
            prop_assert_eq!(stage.mask(group), expected, "sector {}, group {:?}", at, group);
        }
        Ok(())
    }
}

impl Masks {
    fn begin(&mut self, at: usize, group: GroupId, mask: Mask, tick: u64) {
        let cells = mask.cells().map(|cell| (cell.index().unwrap(), tick)).collect();
        self.0.entry((at, group)).or_insert(cells);
    }

    fn step(&mut self, at: usize, group: GroupId, sees: Mask, tick: u64) -> Mask {
        let since = self.0.get_mut(&(at, group)).unwrap();
        since.retain(|cell, since| sees.0 >> *cell & 1 == 1 || tick - *since < STAY_TICKS);
        for cell in sees.cells() {
            since.entry(cell.index().unwrap()).or_insert(tick);
        }
        Mask(since.keys().fold(0, |mask, cell| mask | 1 << cell))
    }
}

impl Client {
    fn receive(
        &mut self,
        bytes: &[u8],
        stage: &Stage,
        world: &mut World,
    ) -> Result<(), TestCaseError> {
        let (header, packet) = decode(self.codec, bytes);
        prop_assert_eq!(header.handle, HANDLE);
        let mask = stage.mask(self.group);
        let shown = shows_only_the_mask(&packet, world, self.sector, self.group, mask);
        prop_assert_eq!(shown, Ok(()));
        let blocks = packet.blocks.iter();
        let updates = blocks.filter(|block| matches!(block.content, Content::Update(_)));
        let updated = updates.fold(0, |cells, block| cells | 1_u64 << block.cell);
        let tells_scope = packet.mask.is_some()
            || packet.blocks.iter().any(|block| matches!(block.content, Content::Cloaked(_)));
        if self.view.tick().is_some() && self.line != Line::Good && world.random.chance(150) {
            (self.lossy, self.asks) = (true, self.asks || self.line == Line::Told);
            self.dirty |= updated;
            self.lost_scope |= tells_scope;
            return Ok(());
        }
        let applied = self.view.handle(header.tick, &packet);
        if self.lost_scope {
            prop_assert_eq!(&applied, &Applied::Gap);
            prop_assert_eq!(self.view.tick(), None);
        }
        self.lost_scope = false;
        match applied {
            Applied::At(tick) => prop_assert_eq!(tick, world.tick),
            // Nothing was lost, so nothing may be missing; before the first
            // keyframe nothing is known.
            Applied::Gap if !self.lossy => prop_assert_eq!(self.view.tick(), None),
            Applied::Gap => self.asks = true,
            other => prop_assert!(false, "{:?}", other),
        }
        self.dirty &= !updated;
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8], stage: &Stage, world: &World) -> Result<(), TestCaseError> {
        let (header, packet) = decode(self.codec, bytes);
        let mask = stage.mask(self.group);
        let shown = shows_only_the_mask(&packet, world, self.sector, self.group, mask);
        prop_assert_eq!(shown, Ok(()));
        let clean = !self.lossy;
        let applied = self.view.handle(header.tick, &packet);
        if clean {
            prop_assert_eq!(applied, Applied::At(world.tick));
        }
        (self.asks, self.dirty, self.lost_scope, self.lossy) = (false, 0, false, false);
        Ok(())
    }

    fn check(&self, stage: &Stage, world: &World) -> Result<(), TestCaseError> {
        if self.lost_scope || self.view.tick().is_none() {
            prop_assert!(self.lossy);
            return Ok(());
        }
        // When nothing is said, what is predicted holds.
        let mut view = self.view.clone();
        if self.view.tick() != Some(world.tick) {
            let silence =
                Packet { full_tick: None, scope: scope(&view), mask: None, blocks: Vec::new() };
            view.handle((world.tick & 0xFFFF) as u16, &silence);
        }
        let mask = stage.mask(self.group);
        prop_assert_eq!(view.mask(), mask);
        if !self.lossy {
            prop_assert_eq!(view.missing(), Mask::NONE);
        }
        for cell in (0..64).filter(|cell| mask.has_index((*cell).into())) {
            if self.dirty >> cell & 1 == 1 {
                continue;
            }
            if let Some(units) = view.cell(cell) {
                let rebuilt: Vec<UnitRecord> = units.copied().collect();
                prop_assert_eq!(
                    rebuilt,
                    truth(world, self.sector, cell),
                    "cell {}, {:?}",
                    cell,
                    self.line
                );
            }
        }
        let rebuilt: Vec<UnitRecord> = view.cloaked().copied().collect();
        prop_assert_eq!(rebuilt, cloaked(world, self.sector, self.group));
        Ok(())
    }
}

fn scope(view: &CellsView) -> u8 {
    view.scope().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_rebuilt_is_what_is_there_through_the_mask(seed: u64) {
        Play::new(seed).run(60)?;
    }
}

/// The check above would notice a packet that shows more than the mask.
#[test]
fn a_record_outside_the_mask_is_noticed() {
    let mut noticed = 0;
    for seed in 1..=20 {
        let mut play = Play::new(seed);
        play.run(40).unwrap();
        for client in play.clients.iter().filter(|client| client.joins < 30) {
            let stage = play.stages[client.sector].as_mut().unwrap();
            let bytes = stage.keyframe(client.group, client.codec, HANDLE);
            let (_, packet) = decode(client.codec, &bytes);
            let mask = stage.mask(client.group);
            let check =
                |mask| shows_only_the_mask(&packet, &play.world, client.sector, client.group, mask);
            assert_eq!(check(mask), Ok(()));
            for block in &packet.blocks {
                if matches!(block.content, Content::Keyframe(_)) {
                    assert!(check(Mask(mask.0 & !(1 << block.cell))).is_err());
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > 100, "{noticed}");
}

#[test]
fn a_session_that_joins_later_shares_the_packets_of_its_group() {
    let mut play = Play::new(3);
    play.run(40).unwrap();
    let (at, stage) = play
        .stages
        .iter_mut()
        .enumerate()
        .find_map(|(at, stage)| Some((at, stage.as_mut()?)))
        .unwrap();
    let group = play.clients.iter().find(|client| client.sector == at).unwrap().group;
    for _ in 0..20 {
        let delta = play.world.step().swap_remove(at);
        stage.step(&delta, &Thrown::default());
        let first = stage.packet(group, CodecKind::Postcard, HANDLE);
        let second = stage.packet(group, CodecKind::Postcard, HANDLE);
        if let (Some(first), Some(second)) = (first, second) {
            assert!(std::sync::Arc::ptr_eq(&first, &second));
            return;
        }
    }
    panic!("no packet in twenty steps");
}
