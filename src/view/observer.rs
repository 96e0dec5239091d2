//! Owns what one observer of a sector was shown and what it is to be shown
//! next: whole records of units that are new to it or changed in a way it
//! could not predict, and ids of those it sees no more: gone, or in the fog.
//! Never decides when; called by the table at every even tick of the sector.
//!
//! Invariant: an observer that applied every update has, at an update's tick,
//! exactly the units that it sees in the sector's state at that tick.

use super::vision::Vision;
use crate::base::{PlayerId, Tick, UnitId};
use crate::sim::{Changes, Rules, SectorState, Unit};

/// What an observer of a place is shown at one tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The place's.
    pub tick: Tick,
    /// Whether `units` is everything; else only what changed.
    pub keyframe: bool,
    /// By id.
    pub units: Vec<Unit>,
    /// By id; none in a keyframe.
    pub removed: Vec<UnitId>,
}

/// One observer of a sector.
#[derive(Clone, Debug)]
pub struct Observer {
    player: PlayerId,
    vision: Vision,
    /// The units it has, by id; `None` before its first keyframe.
    shown: Option<Vec<UnitId>>,
    /// It asked for a keyframe once more.
    asked: bool,
    /// The place's tick of the last update.
    told: Tick,
}

impl Observer {
    pub fn new(player: PlayerId) -> Observer {
        Observer { player, vision: Vision::default(), shown: None, asked: false, told: Tick(0) }
    }

    /// Shows it a keyframe with the next update, behind what changed: the
    /// observer compares the keyframe with what it rebuilt.
    pub fn ask_keyframe(&mut self) {
        self.asked = true;
    }

    /// For how many ticks of the place it has been told nothing.
    pub fn quiet_for(&self, tick: Tick) -> u64 {
        tick.since(self.told)
    }

    /// What it is to be shown of `state`, which is after the step to `tick`:
    /// nothing, what changed, a keyframe, or one after the other. With `beat`
    /// it is shown something in any case.
    ///
    /// It costs about 15 ns per unit of the sector (release build, 100 and
    /// 1,000 units): what a unit reveals is computed when it changes its cell,
    /// but whoever flies along the edge of the mask is found by looking.
    pub fn observe(
        &mut self,
        state: &SectorState,
        rules: &Rules,
        tick: Tick,
        changes: &Changes,
        beat: bool,
    ) -> impl Iterator<Item = Update> + use<> {
        self.vision.look(state, rules, self.player);
        let visible = || state.units().iter().filter(|unit| self.vision.sees(unit));
        let now: Vec<UnitId> = visible().map(|unit| unit.id).collect();
        let delta = self.shown.as_ref().and_then(|shown| {
            let units = news(visible(), shown, changes);
            let removed = missing(shown, &now);
            let nothing = units.is_empty() && removed.is_empty() && !beat;
            (!nothing).then_some(Update { tick, keyframe: false, units, removed })
        });
        let keyframe = (self.asked || self.shown.is_none()).then(|| {
            let units = visible().copied().collect();
            Update { tick, keyframe: true, units, removed: Vec::new() }
        });
        self.shown = Some(now);
        self.asked = false;
        if delta.is_some() || keyframe.is_some() {
            self.told = tick;
        }
        [delta, keyframe].into_iter().flatten()
    }
}

/// Of the units `visible` now, what an observer of `shown` could not predict.
fn news<'s>(
    visible: impl Iterator<Item = &'s Unit>,
    shown: &[UnitId],
    changes: &Changes,
) -> Vec<Unit> {
    let mut known = shown.iter().copied().peekable();
    let mut is_news = |id: UnitId| {
        // Both are in order of ids.
        while known.next_if(|shown| *shown < id).is_some() {}
        known.peek() != Some(&id) || changes.changed.contains(&id) || changes.appeared.contains(&id)
    };
    visible.filter(|unit| is_news(unit.id)).copied().collect()
}

/// What is in `shown` and not in `now`, both in order.
fn missing(shown: &[UnitId], now: &[UnitId]) -> Vec<UnitId> {
    let mut now = now.iter().peekable();
    let gone = |id: &&UnitId| {
        while now.next_if(|seen| seen < id).is_some() {}
        now.peek() != Some(id)
    };
    shown.iter().filter(gone).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::base::draw::draw;
    use crate::base::{CompressedPosition, Position, SectorId};
    use crate::sim::rules::sample::{FIGHTER, FREIGHTER, rules};
    use crate::sim::{Command, Galaxy, Order, Surroundings, Target, UnitIds};
    use crate::view::fog::{Cell, Mask, Sight};

    const HERE: SectorId = SectorId::tactical(0, 0);
    const ANNA: PlayerId = PlayerId(7);
    const BEN: PlayerId = PlayerId(8);

    /// A sector with one observer, which rebuilds what it is shown.
    struct Scene {
        rules: Rules,
        galaxy: Galaxy,
        state: SectorState,
        changes: Changes,
        tick: Tick,
        observer: Observer,
        rebuilt: BTreeMap<UnitId, Unit>,
    }

    impl Scene {
        fn new(units: &[Unit]) -> Scene {
            let mut scene = Scene {
                rules: rules().expect("tested there"),
                galaxy: Galaxy::new(1, Galaxy::SIDE).expect("in range"),
                state: SectorState::new(HERE),
                changes: Changes::default(),
                tick: Tick(0),
                observer: Observer::new(ANNA),
                rebuilt: BTreeMap::new(),
            };
            units.iter().for_each(|unit| scene.state.insert(*unit, &mut scene.changes));
            scene
        }

        /// One step, and what the observer is shown after it.
        fn step(&mut self, beat: bool) -> Vec<Update> {
            let (rules, galaxy, step) = (&self.rules, &self.galaxy, self.tick.0 / 2);
            let around = Surroundings { rules, galaxy, open: &|_| false, step };
            self.state.step(&around, &mut self.changes, &mut Vec::new());
            self.tick = self.tick.after(2);
            for unit in self.rebuilt.values_mut() {
                unit.advance(1);
            }
            let changes = self.changes.drain();
            let shown = self.observer.observe(&self.state, &self.rules, self.tick, &changes, beat);
            let updates: Vec<Update> = shown.collect();
            updates.iter().for_each(|update| self.apply(update));
            updates
        }

        fn apply(&mut self, update: &Update) {
            let units = update.units.iter().map(|unit| (unit.id, told(unit)));
            if update.keyframe {
                // Whoever has rebuilt something has the same.
                let units: BTreeMap<UnitId, Unit> = units.collect();
                assert!(self.rebuilt.is_empty() || self.rebuilt == units);
                self.rebuilt = units;
            } else {
                self.rebuilt.extend(units);
                self.rebuilt.retain(|id, _| !update.removed.contains(id));
            }
        }

        fn kinds(&mut self, beat: bool) -> Vec<bool> {
            self.step(beat).iter().map(|update| update.keyframe).collect()
        }

        fn go(&mut self, player: PlayerId, id: u64, position: Position) {
            let units = UnitIds::new(vec![UnitId(id)]).expect("one");
            let position = CompressedPosition::of(position, 0);
            let command = Command::go(units, Target { sector: HERE, position });
            let (rules, galaxy) = (&self.rules, &self.galaxy);
            let around = Surroundings { rules, galaxy, open: &|_| false, step: 0 };
            let done = self.state.apply_command(player, &command, &around, &mut self.changes);
            done.expect("its own unit, inside the sector");
        }

        /// What the observer should have, by the rule.
        fn visible(&self) -> BTreeMap<UnitId, Unit> {
            let units = || self.state.units().iter();
            let mask = units().filter(|unit| unit.owner == ANNA).fold(Mask::NONE, |mask, unit| {
                // The sensor of all sample types.
                mask.with(Sight::new(300).from(Cell::of(unit.position)))
            });
            let seen = units().filter(|unit| mask.has(Cell::of(unit.position)));
            seen.map(|unit| (unit.id, told(unit))).collect()
        }
    }

    /// What an observer is told of `unit`: not its orders.
    fn told(unit: &Unit) -> Unit {
        Unit { order: Order::Idle, patience: 0, ..*unit }
    }

    fn fighter(id: u64, owner: PlayerId, x: i32, y: i32) -> Unit {
        Unit { health: 1, ..Unit::new(UnitId(id), FIGHTER, owner, Position { x, y }) }
    }

    const NEAR: i32 = 200 << 10;
    const FAR: i32 = 1000 << 10;

    #[test]
    fn begins_with_a_keyframe_and_then_shows_only_what_changed() {
        let mut scene = Scene::new(&[fighter(1, ANNA, 0, 0)]);
        assert_eq!(scene.kinds(false), [true]);
        assert!(scene.kinds(false).is_empty());
        assert_eq!(scene.kinds(true), [false]);
        scene.go(ANNA, 1, Position { x: NEAR, y: 0 });
        assert_eq!(scene.kinds(false), [false]);
        assert!(scene.kinds(false).is_empty());
    }

    #[test]
    fn a_keyframe_asked_for_comes_behind_the_changes_of_its_tick() {
        let mut scene = Scene::new(&[fighter(1, ANNA, 0, 0)]);
        scene.kinds(false);
        scene.go(ANNA, 1, Position { x: NEAR, y: 0 });
        scene.observer.ask_keyframe();
        assert_eq!(scene.kinds(false), [false, true]);
        scene.observer.ask_keyframe();
        assert_eq!(scene.kinds(false), [true]);
    }

    #[test]
    fn a_player_without_units_here_is_shown_an_empty_sector() {
        let mut scene = Scene::new(&[fighter(1, BEN, 0, 0)]);
        let updates = scene.step(false);
        assert!(updates.len() == 1 && updates[0].keyframe && updates[0].units.is_empty());
    }

    #[test]
    fn a_unit_that_flies_out_of_sight_is_removed_and_comes_back_whole() {
        let mut scene = Scene::new(&[fighter(1, ANNA, 0, 0), fighter(2, BEN, NEAR, 0)]);
        assert_eq!(scene.step(false)[0].units.len(), 2);
        scene.go(BEN, 2, Position { x: FAR, y: 0 });
        assert_eq!(scene.step(false)[0].units.len(), 1);
        let gone = (0..200).find_map(|_| scene.step(false).pop()).expect("it flies past 388 m");
        assert_eq!((gone.units.len(), &gone.removed[..]), (0, &[UnitId(2)][..]));
        // What happens in the fog is not told.
        (0..100).for_each(|_| assert_eq!(scene.step(false), []));
        scene.go(BEN, 2, Position { x: NEAR, y: 0 });
        let back = (0..200).find_map(|_| scene.step(false).pop()).expect("it comes back");
        assert_eq!(back.units, [*scene.state.unit(UnitId(2)).expect("it is there")]);
        assert!(back.removed.is_empty() && back.units[0].course.is_moving());
    }

    #[test]
    fn a_player_that_turns_away_sees_less() {
        let mut scene = Scene::new(&[fighter(1, ANNA, 0, 0), fighter(2, BEN, NEAR, 0)]);
        scene.step(false);
        scene.go(ANNA, 1, Position { x: 0, y: FAR });
        scene.step(false);
        let gone = (0..200).find_map(|_| scene.step(false).pop()).expect("it flies past 388 m");
        assert_eq!(gone.removed, [UnitId(2)]);
    }

    proptest! {
        /// The invariant of the head.
        #[test]
        fn what_was_rebuilt_is_what_is_visible(seed: u64) {
            let random = |step: u64, what: u64| draw(seed, "observer", &[step, what]);
            let place = |random: u64| Position {
                x: (random & 0xF_FFFF) as i32,
                y: (random >> 20 & 0xF_FFFF) as i32,
            };
            let units: Vec<Unit> = (1..=12)
                .map(|id| {
                    let Position { x, y } = place(random(0, id));
                    let owner = if id <= 3 { ANNA } else { BEN };
                    let type_id = if id % 3 == 0 { FREIGHTER } else { FIGHTER };
                    Unit { type_id, ..fighter(id, owner, x, y) }
                })
                .collect();
            let mut scene = Scene::new(&units);
            for step in 1..300 {
                if random(step, 0) % 4 == 0 {
                    let id = random(step, 1) % 12 + 1;
                    let owner = if id <= 3 { ANNA } else { BEN };
                    scene.go(owner, id, place(random(step, 2)));
                }
                if random(step, 3) % 16 == 0 {
                    scene.observer.ask_keyframe();
                }
                let updates = scene.step(random(step, 4) % 8 == 0);
                if !updates.is_empty() {
                    prop_assert_eq!(&scene.rebuilt, &scene.visible());
                }
            }
        }
    }
}
