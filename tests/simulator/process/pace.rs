//! Owns who runs slower in a process and who as fast again, in place of what
//! measures the load of arbiters: in a storm it is chance.

use starmesh::base::EntityKey;
use starmesh::entity::pace::Rate;

use super::Process;
use crate::outside::Outside;

impl Process {
    /// A table has made another tick.
    pub(super) fn dilate(&mut self, index: usize, outside: &mut Outside) {
        let share = outside.scenario.dilates;
        if share == 0 {
            return;
        }
        let table = &mut self.tables[index];
        let is_sector = |key: &EntityKey| matches!(key, EntityKey::Sector(_));
        let sectors: Vec<EntityKey> = table.keys().filter(is_sector).collect();
        for sector in sectors {
            let rate = table.entity(sector).map(|entity| entity.rate());
            let drawn = if !outside.calm && outside.random.chance(share) {
                // Between its bounds, which are 1 and 10.
                Rate::try_from(outside.random.within(1..=10) as u8).expect("a rate")
            } else if outside.calm && rate < Some(Rate::FULL) {
                Rate::FULL
            } else {
                continue;
            };
            table.dilate(sector, drawn);
        }
    }
}
