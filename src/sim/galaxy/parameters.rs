//! Owns how full a galaxy is: the settings that its generation takes besides
//! the seed. Never changes once a galaxy was made with them. Called where a
//! galaxy is made. Invariant: a galaxy's parameters are in range.

use serde::{Deserialize, Serialize};

use super::PerRegion;
use super::cells::ANCHORS_PER_1000;
use crate::sim::Invalid;

/// What a galaxy is generated with. A stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Of 1,000 squares of 16 × 16 sectors so many have a star system. From
    /// [`SYSTEMS_MIN`](Self::SYSTEMS_MIN) to 1,000.
    pub systems: PerRegion<u16>,
    /// A system has 0 to so many planets, each number as likely. At most
    /// [`PLANETS_MAX`](Self::PLANETS_MAX).
    pub planets_max: u8,
    /// Of 1,000 systems so many have a station. At most 1,000.
    pub stations: u16,
    /// Of 1,000 sectors so many have a field of asteroids. At most 1,000.
    pub asteroid_fields: PerRegion<u16>,
    /// Of 1,000 lanes that would shorten a way so many are there, besides
    /// those that hold the galaxy together. At most 1,000.
    pub shortcuts: u16,
    /// The resource density of the richest places, in thousandths. At most
    /// 1,000.
    pub resources_max: u16,
}

impl Parameters {
    /// Every 64 × 64 sectors have one, or lanes would not reach everywhere.
    pub const SYSTEMS_MIN: u16 = ANCHORS_PER_1000;
    /// Two on each of the four orbits that fit between a star and the border
    /// of its square.
    pub const PLANETS_MAX: u8 = 8;

    /// Whether every value is in range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), Invalid> {
        let invalid = |field, expected| Err(Invalid { field, expected });
        let thousand = 0..=1_000;
        if !self.systems.all().iter().all(|of| (Self::SYSTEMS_MIN..=1_000).contains(of)) {
            return invalid("systems", "63 to 1,000 of 1,000 squares");
        }
        if self.planets_max > Self::PLANETS_MAX {
            return invalid("planets_max", "0 to 8 planets");
        }
        if !thousand.contains(&self.stations) {
            return invalid("stations", "0 to 1,000 of 1,000 systems");
        }
        if !self.asteroid_fields.all().iter().all(|of| thousand.contains(of)) {
            return invalid("asteroid_fields", "0 to 1,000 of 1,000 sectors");
        }
        if !thousand.contains(&self.shortcuts) {
            return invalid("shortcuts", "0 to 1,000 of 1,000 lanes");
        }
        if !thousand.contains(&self.resources_max) {
            return invalid("resources_max", "0 to 1,000 thousandths");
        }
        Ok(())
    }
}

impl Default for Parameters {
    /// A hundred thousand systems on 10,000 × 10,000 sectors.
    fn default() -> Parameters {
        Parameters {
            systems: PerRegion { core: 600, mid_rim: 450, outer_rim: 300, deep_space: 140 },
            planets_max: 6,
            stations: 200,
            asteroid_fields: PerRegion { core: 5, mid_rim: 10, outer_rim: 20, deep_space: 10 },
            shortcuts: 300,
            resources_max: 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Galaxy;

    #[track_caller]
    fn check(field: &str, change: impl FnOnce(&mut Parameters)) {
        let mut parameters = Parameters::default();
        change(&mut parameters);
        let refused = Galaxy::generated(1, Galaxy::SIDE, parameters).unwrap_err();
        assert_eq!(refused.field, field);
    }

    #[test]
    fn no_galaxy_has_parameters_out_of_range() {
        check("systems", |p| p.systems.core = 62);
        check("systems", |p| p.systems.deep_space = 1_001);
        check("planets_max", |p| p.planets_max = 9);
        check("stations", |p| p.stations = 1_001);
        check("asteroid_fields", |p| p.asteroid_fields.mid_rim = 1_001);
        check("shortcuts", |p| p.shortcuts = 1_001);
        check("resources_max", |p| p.resources_max = 1_001);
    }

    #[test]
    fn the_ends_of_the_ranges_are_in_range() {
        let all = |v| PerRegion { core: v, mid_rim: v, outer_rim: v, deep_space: v };
        for (least, most) in [(63, 0), (1_000, 1_000)] {
            let parameters = Parameters {
                systems: all(least),
                planets_max: if most == 0 { 0 } else { 8 },
                stations: most,
                asteroid_fields: all(most),
                shortcuts: most,
                resources_max: most,
            };
            assert_eq!(parameters.check(), Ok(()));
        }
    }
}
