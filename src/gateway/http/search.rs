//! Owns what a search of the universe is for: its parameters as what cannot be
//! wrong. Never searches. Called by [`universe`](super::universe).

use super::map;
use super::problem::ProblemResponse;
use super::query::{self, invalid};
use super::universe::Parts;
use crate::base::{GalaxyPosition, PlayerId, SectorId, UnitId};
use crate::entity::World;
use crate::sim::galaxy::{FeatureKind, PlanetType, Rectangle, Region};
use crate::sim::{Galaxy, Rules, Unit, UnitTypeId};

const TYPES: &str = "a unit type's id or name, star, planet, asteroidField or station";
const CURSOR: &str = "what `next` of an answer to the same search said";

/// A search.
pub struct Search {
    pub what: What,
    pub area: Area,
    pub page: Page,
    pub limit: usize,
}

pub enum What {
    Units { type_id: Option<UnitTypeId>, owner: Option<PlayerId> },
    Features(Kind),
}

/// A kind of public things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Star,
    Planet,
    AsteroidField,
    Station,
}

/// Where to search.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// Within the galaxy.
    pub rectangle: Rectangle,
    pub region: Option<Region>,
}

/// Where the page before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    First,
    /// A place's number.
    Number(u64),
    /// Behind this unit of the sector.
    Unit(SectorId, UnitId),
}

/// Reads the parameters of a call by `player`.
///
/// # Errors
/// The first that is illegal.
pub fn parse(parts: &Parts, world: &World, player: PlayerId) -> Result<Search, ProblemResponse> {
    let owner = match parts.owner.as_deref() {
        Some("me") => Some(player),
        text => query::parse("owner", text, "me, or a player's id")?.map(PlayerId),
    };
    let what = match parts.kind.as_deref() {
        None => What::Units { type_id: None, owner },
        Some(text) => match (Kind::parse(text), unit_type(&world.rules, text)) {
            (_, Some(type_id)) => What::Units { type_id: Some(type_id), owner },
            (Some(_), None) if owner.is_some() => {
                return Err(invalid("owner", "none with what is public"));
            }
            (Some(kind), None) => What::Features(kind),
            (None, None) => return Err(invalid("type", TYPES)),
        },
    };
    let page = page(parts.cursor.as_deref(), matches!(what, What::Features(_)))?;
    let limit = query::limit(parts.limit.as_deref())?;
    Ok(Search { what, area: area(parts, &world.galaxy)?, page, limit })
}

fn unit_type(rules: &Rules, text: &str) -> Option<UnitTypeId> {
    let id: Option<u16> = text.parse().ok();
    let is_meant =
        |(of, name): (UnitTypeId, &str)| Some(of.0) == id || name.eq_ignore_ascii_case(text);
    let found = rules.types().iter().find(|kind| is_meant((kind.id, &kind.name)));
    found.map(|kind| kind.id)
}

fn area(parts: &Parts, galaxy: &Galaxy) -> Result<Area, ProblemResponse> {
    let scale = query::parse("scale", parts.scale.as_deref(), "0 to 39")?.unwrap_or(0);
    let rectangle = match &parts.rectangle {
        Some(text) => query::rectangle(text, scale)?.common(&galaxy.whole()),
        None if scale > 0 => return Err(invalid("scale", "none without a rectangle")),
        None => galaxy.whole(),
    };
    let named = |name: &str| Region::ALL.into_iter().find(|region| region.name() == name);
    let expected = "core, midRim, outerRim or deepSpace";
    let region = parts.region.as_deref().map(|name| named(name).ok_or(invalid("region", expected)));
    let region = region.transpose()?;
    let rectangle = match region {
        Some(region) => rectangle.common(&galaxy.bounds(region)),
        None => rectangle,
    };
    Ok(Area { rectangle, region })
}

fn page(cursor: Option<&str>, of_features: bool) -> Result<Page, ProblemResponse> {
    let wrong = || invalid("cursor", CURSOR);
    let Some(text) = cursor else { return Ok(Page::First) };
    if of_features {
        return text.parse().map(Page::Number).map_err(|_| wrong());
    }
    let (sector, unit) = text.split_once(':').ok_or_else(wrong)?;
    let sector = sector.parse().map_err(|_| wrong())?;
    Ok(Page::Unit(sector, UnitId(unit.parse().map_err(|_| wrong())?)))
}

impl Page {
    pub fn number(self) -> u64 {
        match self {
            Page::Number(number) => number,
            Page::First | Page::Unit(..) => 0,
        }
    }

    /// The first sector of the page, and the unit of it behind which to begin.
    pub fn place(self) -> (Option<SectorId>, UnitId) {
        match self {
            Page::Unit(sector, unit) => (Some(sector), unit),
            Page::First | Page::Number(_) => (None, UnitId(0)),
        }
    }

    /// The cursor of a page.
    pub fn to_text(sector: SectorId, unit: UnitId) -> String {
        format!("{sector}:{unit}")
    }
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        let all = [Kind::Star, Kind::Planet, Kind::AsteroidField, Kind::Station];
        all.into_iter().find(|kind| map::name(kind.of()) == text)
    }

    pub fn is(self, found: FeatureKind) -> bool {
        map::name(found) == map::name(self.of())
    }

    /// One of this kind.
    fn of(self) -> FeatureKind {
        match self {
            Kind::Star => FeatureKind::Star,
            Kind::Planet => FeatureKind::Planet(PlanetType::Terrestrial),
            Kind::AsteroidField => FeatureKind::AsteroidField,
            Kind::Station => FeatureKind::Station,
        }
    }
}

impl Area {
    /// Whether a scale-0 sector lies in it.
    pub fn has(&self, galaxy: &Galaxy, sector: SectorId) -> bool {
        let Rectangle { from, to } = self.rectangle;
        (from.0..=to.0).contains(&sector.x)
            && (from.1..=to.1).contains(&sector.y)
            && self.region.is_none_or(|region| galaxy.region(sector) == Some(region))
    }

    /// Whether anything of a sector of any scale may lie in it.
    pub fn meets(&self, galaxy: &Galaxy, sector: SectorId) -> bool {
        if sector.scale == 0 {
            return self.has(galaxy, sector);
        }
        galaxy.area(sector).is_some_and(|area| area.common(&self.rectangle).sectors() > 0)
    }

    /// Whether a unit of a sector of any scale is in it.
    pub fn has_unit(&self, galaxy: &Galaxy, sector: SectorId, unit: &Unit) -> bool {
        // One that is leaving a scale-0 sector is in it still.
        sector.scale == 0 || self.has(galaxy, GalaxyPosition::of(sector, unit.position).sector(0))
    }
}
