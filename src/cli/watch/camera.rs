//! Owns which part of the galaxy is on the screen: where the camera is, and
//! which character shows which place. Never knows what is there. Called by
//! whatever draws or asks. Invariant: whole numbers only, so that a place is
//! in the character that `column` and `row` say, at every scale.

use crate::base::SectorId;
use crate::base::geometry::SECTOR_STEPS;
use crate::protocol::SUBSCRIBED_SECTORS_MAX;
use crate::sim::travel::WARP_SCALE;

/// Grid steps of a kilometre, the side of a scale-0 sector.
pub const KM: i64 = SECTOR_STEPS as i64;
/// The most that one can zoom out.
pub const SCALE_MAX: u8 = 14;

/// A place in grid steps from the galaxy's corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub x: i64,
    pub y: i64,
}

impl Spot {
    /// The middle of a sector of any scale that a galaxy can have.
    pub fn middle_of(sector: SectorId) -> Spot {
        let side = KM << sector.scale.min(SCALE_MAX + 6);
        let axis = |v: i64| v.saturating_mul(side).saturating_add(side / 2);
        Spot { x: axis(sector.x), y: axis(sector.y) }
    }

    /// The sector of this scale that it lies in.
    pub fn sector(self, scale: u8) -> SectorId {
        let bits = 20 + u32::from(scale);
        SectorId { x: self.x >> bits, y: self.y >> bits, scale }
    }
}

/// How large the galaxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Scale-0 sectors along each side.
    pub side: i64,
    /// The scale of the smallest sector that contains all.
    pub scale: u8,
}

impl Extent {
    pub fn has(self, spot: Spot) -> bool {
        let inside = |v: i64| (0..self.side * KM).contains(&v);
        inside(spot.x) && inside(spot.y)
    }

    fn clamp(self, spot: Spot) -> Spot {
        let axis = |v: i64| v.clamp(0, self.side * KM - 1);
        Spot { x: axis(spot.x), y: axis(spot.y) }
    }

    /// The part of the rectangle that lies in the galaxy.
    fn clip(self, Sectors { x, y, scale }: Sectors) -> Sectors {
        let last = (self.side - 1) >> scale;
        let axis = |(from, to): (i64, i64)| (from.max(0), to.min(last));
        Sectors { x: axis(x), y: axis(y), scale }
    }
}

/// What is looked at: the screen is as high as a sector of `scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Camera {
    pub centre: Spot,
    pub scale: u8,
}

impl Camera {
    /// The galaxy as a whole.
    pub fn whole(extent: Extent) -> Camera {
        let middle = extent.side * KM / 2;
        Camera { centre: Spot { x: middle, y: middle }, scale: extent.scale.min(SCALE_MAX) }
    }

    /// So many eighths of the screen's height further.
    pub fn pan(&mut self, dx: i64, dy: i64, extent: Extent) {
        let eighth = (KM << self.scale) / 8;
        let Spot { x, y } = self.centre;
        self.centre = extent.clamp(Spot { x: x + dx * eighth, y: y + dy * eighth });
    }

    /// Out by so many scales, or in when negative.
    pub fn zoom(&mut self, by: i8, extent: Extent) {
        let most = extent.scale.min(SCALE_MAX);
        self.scale = self.scale.saturating_add_signed(by).min(most);
    }

    /// What it shows on so many characters, twice as high as they are wide.
    pub fn window(self, columns: u16, rows: u16) -> Window {
        let (columns, rows) = (i64::from(columns.max(1)), i64::from(rows.max(1)));
        let side = KM << self.scale;
        let corner =
            Spot { x: self.centre.x - columns * side / (4 * rows), y: self.centre.y - side / 2 };
        Window { camera: self, corner, columns, rows }
    }
}

/// Rows and columns of sectors of one scale, the first and the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sectors {
    pub x: (i64, i64),
    pub y: (i64, i64),
    pub scale: u8,
}

impl Sectors {
    pub fn count(self) -> usize {
        let length = |(from, to): (i64, i64)| usize::try_from(to - from + 1).unwrap_or(0);
        length(self.x).saturating_mul(length(self.y))
    }

    /// Those nearest to `spot` first.
    pub fn by_distance(self, spot: Spot) -> Vec<SectorId> {
        let rows = self.y.0..=self.y.1;
        let all = rows.flat_map(|y| (self.x.0..=self.x.1).map(move |x| (x, y)));
        let mut all: Vec<_> = all.map(|(x, y)| SectorId { x, y, scale: self.scale }).collect();
        all.sort_by_key(|sector| {
            let middle = Spot::middle_of(*sector);
            let square = |v: i64| i128::from(v).pow(2);
            square(middle.x - spot.x) + square(middle.y - spot.y)
        });
        all
    }

    /// With one more on each side.
    fn with_ring(self) -> Sectors {
        let axis = |(from, to): (i64, i64)| (from - 1, to + 1);
        Sectors { x: axis(self.x), y: axis(self.y), scale: self.scale }
    }
}

/// A camera on a screen of a certain size.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub camera: Camera,
    corner: Spot,
    pub columns: i64,
    pub rows: i64,
}

impl Window {
    /// The column of characters that shows `x`; outside of the screen, one
    /// that is not there.
    pub fn column(&self, x: i64) -> i64 {
        ((x - self.corner.x) * 2 * self.rows).div_euclid(KM << self.camera.scale)
    }

    pub fn row(&self, y: i64) -> i64 {
        ((y - self.corner.y) * self.rows).div_euclid(KM << self.camera.scale)
    }

    /// The middle of what a character shows.
    pub fn spot(&self, column: i64, row: i64) -> Spot {
        let side = KM << self.camera.scale;
        Spot {
            x: self.corner.x + (2 * column + 1) * side / (4 * self.rows),
            y: self.corner.y + (2 * row + 1) * side / (2 * self.rows),
        }
    }

    /// The sectors of `scale` that are on the screen, at least in part.
    pub fn sectors(&self, scale: u8, extent: Extent) -> Sectors {
        let first = self.corner.sector(scale);
        let side = KM << self.camera.scale;
        let last = Spot {
            x: self.corner.x + self.columns * side / (2 * self.rows) - 1,
            y: self.corner.y + side - 1,
        };
        let last = last.sector(scale);
        extent.clip(Sectors { x: (first.x, last.x), y: (first.y, last.y), scale })
    }

    /// Whether so few scale-0 sectors are on the screen that all can be
    /// watched.
    pub fn is_tactical(&self, extent: Extent) -> bool {
        self.sectors(0, extent).count() <= SUBSCRIBED_SECTORS_MAX
    }

    /// The sectors to watch: those on the screen, and of the ring around them
    /// as many as may be. Where the screen has too many, the smallest larger
    /// ones that are told by sums.
    pub fn watched(&self, extent: Extent) -> Vec<SectorId> {
        if !self.is_tactical(extent) {
            let scales = (1..=extent.scale).filter(|scale| *scale != WARP_SCALE);
            let mut all = scales.map(|scale| self.sectors(scale, extent));
            let few = all.find(|sectors| sectors.count() <= SUBSCRIBED_SECTORS_MAX);
            return few.map_or(Vec::new(), |few| few.by_distance(self.camera.centre));
        }
        let shown = self.sectors(0, extent);
        let mut watched = shown.by_distance(self.camera.centre);
        let ring = extent.clip(shown.with_ring()).by_distance(self.camera.centre);
        let shown = watched.clone();
        watched.extend(ring.into_iter().filter(|sector| !shown.contains(sector)));
        watched.truncate(SUBSCRIBED_SECTORS_MAX);
        watched
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GALAXY: Extent = Extent { side: 10_000, scale: 14 };

    fn camera(x: i64, y: i64, scale: u8) -> Camera {
        Camera { centre: Spot { x: x * KM / 10, y: y * KM / 10 }, scale }
    }

    proptest! {
        #[test]
        fn the_middle_of_a_character_is_in_that_character(
            x in 0..100_000_i64, y in 0..100_000_i64, scale in 0..=SCALE_MAX,
            columns in 1..500_u16, rows in 1..200_u16, column in 0..500_i64, row in 0..200_i64,
        ) {
            let window = camera(x, y, scale).window(columns, rows);
            let spot = window.spot(column, row);
            prop_assert_eq!((window.column(spot.x), window.row(spot.y)), (column, row));
        }

        #[test]
        fn the_sectors_on_the_screen_are_those_of_its_characters(
            x in 0..100_000_i64, y in 0..100_000_i64, scale in 0..=SCALE_MAX,
            columns in 1..300_u16, rows in 1..100_u16, grid in 0..=SCALE_MAX,
        ) {
            let window = camera(x, y, scale).window(columns, rows);
            let sectors = window.sectors(grid, GALAXY);
            for (column, row) in [(0, 0), (window.columns - 1, window.rows - 1)] {
                let spot = window.spot(column, row);
                let sector = spot.sector(grid);
                let within = |v: i64, (from, to): (i64, i64)| (from..=to).contains(&v);
                let shown = within(sector.x, sectors.x) && within(sector.y, sectors.y);
                prop_assert!(shown || !GALAXY.has(spot), "{sector} of {sectors:?}");
            }
        }

        #[test]
        fn never_watches_too_many_and_always_all_that_is_shown(
            x in 0..100_000_i64, y in 0..100_000_i64, scale in 0..=SCALE_MAX,
            columns in 1..300_u16, rows in 1..100_u16,
        ) {
            let window = camera(x, y, scale).window(columns, rows);
            let watched = window.watched(GALAXY);
            prop_assert!((1..=SUBSCRIBED_SECTORS_MAX).contains(&watched.len()));
            let is_tactical = window.is_tactical(GALAXY);
            prop_assert!(watched.iter().all(|sector| (sector.scale == 0) == is_tactical));
            let mut all = window.sectors(watched[0].scale, GALAXY).by_distance(camera(x, y, 0).centre);
            all.retain(|sector| !watched.contains(sector));
            prop_assert_eq!(all, []);
            if is_tactical {
                prop_assert!(watched.iter().all(|sector| GALAXY.has(Spot::middle_of(*sector))));
            }
        }
    }

    #[test]
    fn watches_one_ring_around_a_sector() {
        let watched = camera(50_005, 50_005, 0).window(44, 22).watched(GALAXY);
        assert_eq!((watched.len(), watched[0]), (9, SectorId::tactical(5000, 5000)));
    }

    #[test]
    fn watches_larger_sectors_where_the_screen_has_too_many() {
        let scale_of =
            |scale| camera(50_005, 50_005, scale).window(80, 24).watched(GALAXY)[0].scale;
        // At most 25, and never those that warp belongs to.
        assert_eq!([3, 5, 6, 7, 14].map(scale_of), [2, 5, 5, 6, 11]);
    }

    #[test]
    fn stays_in_the_galaxy() {
        let mut camera = camera(5, 5, 0);
        camera.pan(-100, -100, GALAXY);
        assert_eq!(camera.centre, Spot { x: 0, y: 0 });
        camera.zoom(100, GALAXY);
        camera.pan(100, 100, GALAXY);
        assert_eq!((camera.scale, camera.centre.sector(0)), (14, SectorId::tactical(9999, 9999)));
        camera.zoom(-100, GALAXY);
        assert_eq!(camera.scale, 0);
    }

    #[test]
    fn the_whole_galaxy_fits() {
        let window = Camera::whole(GALAXY).window(80, 22);
        assert!(window.row(0) >= 0 && window.row(GALAXY.side * KM - 1) < 22);
        assert!(window.column(0) >= 0 && window.column(GALAXY.side * KM - 1) < 80);
    }
}
