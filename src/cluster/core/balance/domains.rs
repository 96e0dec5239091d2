//! Owns the sectors that are awake, by the directory entry that they are under
//! (their domain), in the order of Morton codes, so that a square is a range and
//! its weight a difference of two sums. Never decides what moves. Invariant: what
//! was cut from a domain is in no piece of it again.

use std::cmp::Reverse;
use std::ops::Range;

use super::load::ClusterLoad;
use super::settings::Settings;
use super::sheet::Sheet;
use crate::base::{NodeId, SectorId};
use crate::cluster::core::directory::Directory;

/// All domains.
pub(super) struct Domains {
    items: Vec<Item>,
    /// Of all items before each, and of all.
    sums: Vec<Sums>,
    /// In the order of their regions' keys.
    all: Vec<Domain>,
    /// The domains of each node of the sheet.
    by_node: Vec<Vec<usize>>,
}

/// A sector that is awake.
#[derive(Clone, Copy)]
struct Item {
    domain: usize,
    corner: u128,
    scale: u8,
    /// Its place in the cluster's load.
    index: usize,
    sums: Sums,
}

/// An entry and what is under it.
pub(super) struct Domain {
    pub region: SectorId,
    /// Whom the entry names, and its place in the sheet; none when nobody knows
    /// that node.
    pub named: NodeId,
    pub node: Option<usize>,
    items: Range<usize>,
    /// Ranges that go elsewhere, each with its sums; in each other or apart.
    cuts: Vec<(Range<usize>, Sums)>,
    /// The plan moves it, or a part of it.
    pub touched: bool,
    /// The plan removes an entry, because this one is above it.
    pub relied_on: bool,
}

/// What sectors are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub weight: u64,
    pub count: usize,
    /// Those that came so lately that they stay.
    pub fresh: usize,
    /// Those that are not cold yet.
    pub warm: usize,
}

impl Sums {
    fn plus(self, other: Sums) -> Sums {
        Sums {
            weight: self.weight + other.weight,
            count: self.count + other.count,
            fresh: self.fresh + other.fresh,
            warm: self.warm + other.warm,
        }
    }

    fn minus(self, other: Sums) -> Sums {
        Sums {
            weight: self.weight - other.weight,
            count: self.count - other.count,
            fresh: self.fresh - other.fresh,
            warm: self.warm - other.warm,
        }
    }
}

/// A square of a domain.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub domain: usize,
    pub region: SectorId,
    range: Range<usize>,
    pub sums: Sums,
}

impl Domains {
    /// Sorts the load by entries; adds it to the sheet.
    pub fn new(
        directory: &Directory,
        load: &ClusterLoad,
        settings: &Settings,
        sheet: &mut Sheet,
    ) -> Domains {
        let regions: Vec<(SectorId, NodeId)> = directory.regions().collect();
        let mut items: Vec<Item> = Vec::with_capacity(load.sectors.len());
        for (index, sector) in load.sectors.iter().enumerate() {
            let found = directory.region_of(sector.sector).and_then(|(region, _)| {
                let domain = regions.binary_search_by(|(known, _)| known.cmp(&region)).ok()?;
                Some((domain, corner(sector.sector)?))
            });
            let Some((domain, corner)) = found else { continue };
            let since = |at| load.now.since(at);
            let sums = Sums {
                weight: settings.strategy.weigh(sector),
                count: 1,
                fresh: usize::from(since(sector.here_since) < settings.rest_ms),
                warm: usize::from(sector.cold_since.is_none_or(|at| since(at) < settings.cold_ms)),
            };
            items.push(Item { domain, corner, scale: sector.sector.scale, index, sums });
        }
        items.sort_unstable_by_key(|item| (item.domain, item.corner, Reverse(item.scale)));
        let mut domains = Domains::empty(items, sheet.len());
        let mut at = 0;
        for (domain, entry) in regions.into_iter().enumerate() {
            let end = at + domains.items[at..].partition_point(|item| item.domain == domain);
            domains.push(entry, at..end, sheet);
            at = end;
        }
        domains
    }

    fn empty(items: Vec<Item>, nodes: usize) -> Domains {
        let mut sum = Sums::default();
        let mut sums = vec![sum];
        for item in &items {
            sum = sum.plus(item.sums);
            sums.push(sum);
        }
        Domains { items, sums, all: Vec::new(), by_node: vec![Vec::new(); nodes] }
    }

    fn push(&mut self, entry: (SectorId, NodeId), items: Range<usize>, sheet: &mut Sheet) {
        let (region, named) = entry;
        let node = sheet.index_of(named);
        if let Some(node) = node {
            self.by_node[node].push(self.all.len());
        }
        sheet.add(node, self.sums_of(&items).weight);
        let (cuts, touched, relied_on) = (Vec::new(), false, false);
        self.all.push(Domain { region, named, node, items, cuts, touched, relied_on });
    }

    fn sums_of(&self, range: &Range<usize>) -> Sums {
        self.sums[range.end].minus(self.sums[range.start])
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, domain: usize) -> &Domain {
        &self.all[domain]
    }

    /// The domains of `node`.
    pub fn of(&self, node: usize) -> &[usize] {
        &self.by_node[node]
    }

    /// The domain of an entry.
    pub fn find(&self, region: SectorId) -> Option<usize> {
        self.all.binary_search_by(|known| known.region.cmp(&region)).ok()
    }

    /// All that is left of a domain.
    pub fn whole(&self, domain: usize) -> Piece {
        let Domain { region, items, .. } = &self.all[domain];
        let sums = self.left(domain, items);
        Piece { domain, region: *region, range: items.clone(), sums }
    }

    /// The parts of a square; what lies in none of them is the square itself, as
    /// an entity.
    pub fn parts(&self, piece: &Piece) -> impl Iterator<Item = Piece> {
        piece.region.children().filter_map(move |region| {
            let items = &self.items[piece.range.clone()];
            let first = corner(region)?;
            let last = first.saturating_add(span(region.scale));
            let scale = Reverse(region.scale);
            let start = items.partition_point(|i| (i.corner, Reverse(i.scale)) < (first, scale));
            let length = items[start..].partition_point(|item| item.corner <= last);
            let start = piece.range.start + start;
            let range = start..start + length;
            let sums = self.left(piece.domain, &range);
            (sums.count > 0).then_some(Piece { domain: piece.domain, region, range, sums })
        })
    }

    /// The places in the cluster's load of what is left of a piece.
    pub fn sectors(&self, piece: &Piece) -> impl Iterator<Item = usize> {
        let cuts = &self.all[piece.domain].cuts;
        let is_cut = move |at: &usize| cuts.iter().any(|(cut, _)| cut.contains(at));
        piece.range.clone().filter(move |at| !is_cut(at)).map(|at| self.items[at].index)
    }

    /// What of `range` was not cut.
    fn left(&self, domain: usize, range: &Range<usize>) -> Sums {
        let cuts = &self.all[domain].cuts;
        if cuts.iter().any(|(cut, _)| cut.start <= range.start && range.end <= cut.end) {
            return Sums::default();
        }
        let inside = |cut: &Range<usize>| range.start <= cut.start && cut.end <= range.end;
        let inside = cuts.iter().filter(|(cut, _)| inside(cut));
        inside.fold(self.sums_of(range), |left, (_, sums)| left.minus(*sums))
    }

    /// The plan removes an entry below this one.
    pub fn rely_on(&mut self, domain: usize) {
        self.all[domain].relied_on = true;
    }

    /// `piece` goes elsewhere.
    pub fn cut(&mut self, piece: &Piece) {
        let domain = &mut self.all[piece.domain];
        domain.touched = true;
        domain.cuts.push((piece.range.clone(), piece.sums));
    }
}

/// The Morton code of a sector's first scale-0 square; `None` for one that no
/// galaxy is large enough for.
fn corner(sector: SectorId) -> Option<u128> {
    let first = |at: i64| {
        let at = i128::from(at).checked_mul(1_i128.checked_shl(sector.scale.into())?)?;
        i64::try_from(at).ok()
    };
    Some(SectorId::tactical(first(sector.x)?, first(sector.y)?).morton())
}

/// From the first scale-0 square of a sector to its last.
fn span(scale: u8) -> u128 {
    1_u128.checked_shl(2 * u32::from(scale)).map_or(u128::MAX, |squares| squares - 1)
}
