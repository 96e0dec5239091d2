//! Owns where each entity runs on this node: its actor's address; and which
//! entities cannot run. Nobody else keeps one, so that an entity can change its
//! thread. Written by tickers when an entity comes or goes and by the core when
//! one cannot be loaded, read by whoever has a message for it.

use actix::Addr;
use dashmap::{DashMap, DashSet};

use super::meta::MetaActor;
use super::sector::SectorActor;
use super::waking::Waking;
use crate::base::{EntityKey, SectorId};
use crate::cluster::core::table::Unavailable;

/// The actors of this node.
#[derive(Default)]
pub struct Registry {
    sectors: DashMap<EntityKey, Addr<SectorActor>>,
    metas: DashMap<EntityKey, Addr<MetaActor>>,
    /// They stay as they are until an operator looked, and had them resumed or started
    /// the node again.
    parked: DashSet<EntityKey>,
    /// Parked wherever they belong, as of the last second.
    parked_anywhere: DashSet<EntityKey>,
    pub waking: Waking,
}

impl Registry {
    pub fn insert_sector(&self, key: EntityKey, actor: Addr<SectorActor>) {
        self.sectors.insert(key, actor);
    }

    pub fn insert_meta(&self, key: EntityKey, actor: Addr<MetaActor>) {
        self.metas.insert(key, actor);
    }

    /// The sector's actor, if it runs here.
    pub fn sector(&self, key: EntityKey) -> Option<Addr<SectorActor>> {
        self.sectors.get(&key).map(|entry| entry.clone())
    }

    /// The ledger's, board's, alliance's or market's actor, if it runs here.
    pub fn meta(&self, key: EntityKey) -> Option<Addr<MetaActor>> {
        self.metas.get(&key).map(|entry| entry.clone())
    }

    /// Ledgers that run here.
    pub fn ledgers(&self) -> Vec<EntityKey> {
        let keys = self.metas.iter().map(|entry| *entry.key());
        keys.filter(|key| matches!(key, EntityKey::Ledger(_))).collect()
    }

    /// Sectors that run here, in no order.
    pub fn sectors(&self) -> Vec<SectorId> {
        let of = |key: EntityKey| match key {
            EntityKey::Sector(sector) => Some(sector),
            _ => None,
        };
        self.sectors.iter().filter_map(|entry| of(*entry.key())).collect()
    }

    /// Ledgers, boards, alliances and markets that run here, in no order.
    pub fn metas(&self) -> Vec<EntityKey> {
        self.metas.iter().map(|entry| *entry.key()).collect()
    }

    /// Forgets an entity; its actor ends with its last address.
    pub fn remove(&self, key: EntityKey) {
        self.sectors.remove(&key);
        self.metas.remove(&key);
    }

    /// Notes that an entity cannot be loaded; how many that are.
    pub fn park(&self, key: EntityKey) -> usize {
        self.parked.insert(key);
        self.waking.give_up(key);
        self.parked.len()
    }

    /// Notes all that is parked, wherever it belongs; those of which that is new here.
    pub fn note_parked(&self, keys: &[EntityKey]) -> Vec<EntityKey> {
        self.parked_anywhere.retain(|key| keys.binary_search(key).is_ok());
        let is_new = |key: &EntityKey| self.parked_anywhere.insert(*key);
        let new = keys.iter().copied().filter(is_new).collect::<Vec<_>>().into_iter();
        new.filter(|key| !self.parked.contains(key)).collect()
    }

    /// Notes that an entity may be loaded again; how many still cannot.
    pub fn unpark(&self, key: EntityKey) -> usize {
        self.parked.remove(&key);
        self.parked_anywhere.remove(&key);
        self.parked.len()
    }

    /// Entities that cannot be loaded.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Why an entity without an actor has none.
    pub fn absence(&self, key: EntityKey) -> Unavailable {
        let is_parked = self.parked.contains(&key) || self.parked_anywhere.contains(&key);
        if is_parked { Unavailable::Parked } else { Unavailable::NotHere }
    }

    /// Sectors and other entities that run here.
    pub fn counts(&self) -> (usize, usize) {
        (self.sectors.len(), self.metas.len())
    }
}
