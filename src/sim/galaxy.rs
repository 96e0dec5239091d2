//! Owns where things are in the galaxy before anybody moved them. Never keeps
//! a state: all is a function of the seed, the extent and the parameters, and
//! whatever is asked costs what it covers, not what the galaxy contains.
//! Called by whoever places, shows or routes anything. Invariant: the same
//! galaxy gives the same places for ever, on every target.

mod cells;
mod contents;
mod density;
pub mod golden;
mod lanes;
mod parameters;
mod region;
mod route;
mod start;
mod survey;

pub use cells::{Rectangle, StarSystem};
pub use contents::{Circle, Feature, FeatureKind, PlanetType};
pub use lanes::LANE_SECTORS_MAX;
pub use parameters::Parameters;
pub use region::{PerRegion, Region};
pub use route::{Route, RouteError, RouteLimits};
pub use survey::{COUNTED_SECTORS_MAX, Survey};

use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::base::SectorId;
use crate::base::draw::Draws;

/// The galaxy's extent, seed and parameters, fixed when it is made: scale-0
/// sectors 0 to `side` − 1 on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Galaxy {
    seed: u64,
    side: u32,
    parameters: Parameters,
    /// Follows from the seed.
    draws: Draws,
}

/// A [`Galaxy`] before it is checked. A stored format.
#[derive(Serialize, Deserialize)]
struct Raw {
    seed: u64,
    side: u32,
    parameters: Parameters,
}

/// What a draw of the generation is for. Numbers never change.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Purpose {
    Anchor = 1,
    System = 2,
    Planets = 3,
    Field = 4,
    Shape = 5,
    Density = 6,
    Shortcut = 7,
    Tie = 8,
}

impl Galaxy {
    /// The default number of scale-0 sectors along a side.
    pub const SIDE: u32 = 10_000;
    /// With less, the mid rim has no room for a ring of start places.
    pub const SIDE_MIN: u32 = 512;
    pub const SIDE_MAX: u32 = 1 << 20;

    /// A galaxy of `side` × `side` scale-0 sectors with default parameters.
    ///
    /// # Errors
    /// As [`generated`](Self::generated).
    pub fn new(seed: u64, side: u32) -> Result<Galaxy, Invalid> {
        Galaxy::generated(seed, side, Parameters::default())
    }

    /// A galaxy of `side` × `side` scale-0 sectors.
    ///
    /// # Errors
    /// When `side` is not from [`SIDE_MIN`](Self::SIDE_MIN) to
    /// [`SIDE_MAX`](Self::SIDE_MAX), or a parameter is out of range.
    pub fn generated(seed: u64, side: u32, parameters: Parameters) -> Result<Galaxy, Invalid> {
        if !(Self::SIDE_MIN..=Self::SIDE_MAX).contains(&side) {
            let expected = "512 to 1,048,576 sectors along a side";
            return Err(Invalid { field: "side", expected });
        }
        parameters.check()?;
        let draws = Draws::new(seed, "starmesh 2026 galaxy");
        Ok(Galaxy { seed, side, parameters, draws })
    }

    /// What all that is generated follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Scale-0 sectors along a side.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// How full it is.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether the scale-0 sector lies in the galaxy; larger ones never do.
    pub fn contains(&self, sector: SectorId) -> bool {
        let side = 0..i64::from(self.side);
        sector.scale == 0 && side.contains(&sector.x) && side.contains(&sector.y)
    }

    /// The smallest sector that contains the galaxy: scale 14 by default.
    pub fn root(&self) -> SectorId {
        let bits = u32::BITS - (self.side - 1).leading_zeros();
        // At most 20, see `SIDE_MAX`.
        SectorId { x: 0, y: 0, scale: u8::try_from(bits).unwrap_or(u8::MAX) }
    }

    fn draw(&self, purpose: Purpose, of: [u64; 2]) -> [u64; 4] {
        self.draws.of([purpose as u64, of[0], of[1]])
    }
}

/// A scale-0 sector of the galaxy as one number.
fn packed(sector: SectorId) -> u64 {
    // Below 2^20 each.
    (sector.y.unsigned_abs() << 32) | sector.x.unsigned_abs()
}

impl TryFrom<Raw> for Galaxy {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Galaxy, Invalid> {
        Galaxy::generated(raw.seed, raw.side, raw.parameters)
    }
}

impl From<Galaxy> for Raw {
    fn from(galaxy: Galaxy) -> Raw {
        Raw { seed: galaxy.seed, side: galaxy.side, parameters: galaxy.parameters }
    }
}

/// A galaxy with as much in it as there may be.
#[cfg(test)]
pub fn crowded(seed: u64) -> Galaxy {
    let all = |v| PerRegion { core: v, mid_rim: v, outer_rim: v, deep_space: v };
    let parameters = Parameters {
        systems: all(1_000),
        planets_max: Parameters::PLANETS_MAX,
        stations: 1_000,
        asteroid_fields: all(1_000),
        ..Parameters::default()
    };
    Galaxy::generated(seed, Galaxy::SIDE_MIN, parameters).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_smallest_sector_that_contains_the_galaxy() {
        let root = |side| Galaxy::new(0, side).unwrap().root().scale;
        assert_eq!([root(512), root(513), root(10_000), root(1 << 20)], [9, 10, 14, 20]);
    }

    #[test]
    fn a_galaxy_that_is_out_of_range_cannot_be_read() {
        let galaxy = Galaxy::new(1, 10_000).unwrap();
        let text = serde_json::to_string(&galaxy).unwrap();
        let read = |text: &str| serde_json::from_str::<Galaxy>(text).ok();
        assert_eq!(read(&text), Some(galaxy));
        for wrong in ["511", "1048577"] {
            assert_eq!(read(&text.replace("10000", wrong)), None);
        }
        assert_eq!(read(&text.replace("\"core\":600", "\"core\":1001")), None);
        assert_eq!(read(r#"{"seed":1,"side":10000}"#), None);
    }
}
