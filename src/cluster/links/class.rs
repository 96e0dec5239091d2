//! Owns the classes of what goes between nodes: each has a stream of its own
//! each way, so that one that stalls holds up nothing else. Pure.

use std::ops::{Index, IndexMut};

use serde::Serialize;

/// What a message is for. In one class messages arrive in the order in which
/// they were sent; between classes there is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[repr(u8)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Membership, load, the directory: small, and never late. When its queue is
    /// full, the peer has stalled, and the sender drops what it has.
    Control = 0,
    /// Commands and the messages of channels. When its queue is full, commands
    /// are refused to their players as busy, and channels send again later.
    Commands = 1,
    /// Store calls, snapshots, journals: large, and their senders wait for room.
    Bulk = 2,
}

impl Class {
    pub const ALL: [Class; 3] = [Class::Control, Class::Commands, Class::Bulk];

    /// From the byte that a stream begins with.
    pub fn from_byte(byte: u8) -> Option<Class> {
        Class::ALL.into_iter().find(|class| *class as u8 == byte)
    }

    /// What is sent first where the wire has room for one only.
    pub(super) fn priority(self) -> i32 {
        2 - self as i32
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Class::Control => "control",
            Class::Commands => "commands",
            Class::Bulk => "bulk",
        })
    }
}

/// One of something for each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PerClass<T> {
    pub control: T,
    pub commands: T,
    pub bulk: T,
}

impl<T> PerClass<T> {
    pub fn from_fn(make: impl Fn(Class) -> T) -> PerClass<T> {
        PerClass {
            control: make(Class::Control),
            commands: make(Class::Commands),
            bulk: make(Class::Bulk),
        }
    }
}

impl<T> Index<Class> for PerClass<T> {
    type Output = T;

    fn index(&self, class: Class) -> &T {
        match class {
            Class::Control => &self.control,
            Class::Commands => &self.commands,
            Class::Bulk => &self.bulk,
        }
    }
}

impl<T> IndexMut<Class> for PerClass<T> {
    fn index_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Control => &mut self.control,
            Class::Commands => &mut self.commands,
            Class::Bulk => &mut self.bulk,
        }
    }
}
