//! Owns which logics can be run here: this process has one, and can run those of
//! other rules whose rules it was given. Never reads a store; whoever loads brings
//! the rules. Invariant: what is run for a logic is the world that has it.

use std::sync::Arc;

use super::envelope::Logic;
use super::world::World;

/// The worlds whose logic can be run here.
pub trait Logics {
    /// That of this process: its build's and its rules'.
    fn own(&self) -> &World;

    /// That with this logic, if it can be run here.
    fn of(&self, logic: Logic) -> Option<&World>;
}

/// A world alone.
impl Logics for World {
    fn own(&self) -> &World {
        self
    }

    fn of(&self, logic: Logic) -> Option<&World> {
        (self.logic() == logic).then_some(self)
    }
}

/// A process's world, and others that it can run.
#[derive(Clone, Debug)]
pub struct KnownWorlds {
    own: Arc<World>,
    others: Vec<Arc<World>>,
}

impl KnownWorlds {
    pub fn new(own: Arc<World>) -> KnownWorlds {
        KnownWorlds { own, others: Vec::new() }
    }

    /// Together with another one.
    pub fn with(mut self, other: Arc<World>) -> KnownWorlds {
        if self.of(other.logic()).is_none() {
            self.others.push(other);
        }
        self
    }
}

impl Logics for KnownWorlds {
    fn own(&self) -> &World {
        &self.own
    }

    fn of(&self, logic: Logic) -> Option<&World> {
        let mut all = std::iter::once(&self.own).chain(&self.others);
        all.find(|world| world.logic() == logic).map(|world| &**world)
    }
}

impl<L: Logics> Logics for Arc<L> {
    fn own(&self) -> &World {
        (**self).own()
    }

    fn of(&self, logic: Logic) -> Option<&World> {
        (**self).of(logic)
    }
}
