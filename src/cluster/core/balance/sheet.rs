//! Owns what each node carries while a plan is made: as it will be when all
//! moves so far are done. Never knows sectors. Invariant: the total stays the
//! same, whatever moves. All shares are of whole numbers: two planners with the
//! same load make the same plan.

use super::load::NodeLoad;
use super::settings::LoadBalanceStrategy;
use crate::base::NodeId;

/// What nodes carry, and could.
pub(super) struct Sheet {
    /// By id.
    nodes: Vec<Node>,
    total: u128,
    capacity: u128,
}

struct Node {
    id: NodeId,
    capacity: u64,
    load: u64,
    state: State,
}

/// What may happen with a node's sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// They stay, and others may come.
    Accepts,
    /// They all go.
    Leaves,
    /// It is dead: they all go, and nobody hands over.
    Dead,
}

impl Sheet {
    pub fn new(nodes: &[NodeLoad], strategy: LoadBalanceStrategy) -> Sheet {
        let mut sheet = Sheet { nodes: Vec::new(), total: 0, capacity: 0 };
        for node in nodes {
            let state = match (node.alive, node.sectors && !node.draining) {
                (false, _) => State::Dead,
                (true, false) => State::Leaves,
                (true, true) => State::Accepts,
            };
            let capacity = u64::from(node.capacity.max(1));
            let other = u64::from(node.other_us) * u64::from(strategy.counts_other());
            let other = other.saturating_add(strategy.weigh_rest(node.rest));
            let load = if state == State::Accepts { other } else { 0 };
            sheet.nodes.push(Node { id: node.node, capacity, load, state });
            sheet.total += u128::from(load);
            sheet.capacity += u128::from(capacity) * u128::from(state == State::Accepts);
        }
        sheet.nodes.sort_by_key(|node| node.id);
        sheet.nodes.dedup_by_key(|node| node.id);
        sheet
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn index_of(&self, node: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&node, |known| known.id).ok()
    }

    pub fn id(&self, node: usize) -> NodeId {
        self.nodes[node].id
    }

    pub fn state(&self, node: usize) -> State {
        self.nodes[node].state
    }

    pub fn load(&self, node: usize) -> u64 {
        self.nodes[node].load
    }

    /// A node, or none when nobody has it, has so much more.
    pub fn add(&mut self, node: Option<usize>, weight: u64) {
        self.total += u128::from(weight);
        if let Some(node) = node {
            self.nodes[node].load += weight;
        }
    }

    pub fn shift(&mut self, from: Option<usize>, to: usize, weight: u64) {
        if let Some(from) = from {
            self.nodes[from].load -= weight;
        }
        self.nodes[to].load += weight;
    }

    /// What `node` carries at so many thousandths of the mean.
    pub fn at(&self, node: usize, thousandths: u32) -> u64 {
        let share = self.total * u128::from(self.nodes[node].capacity) * u128::from(thousandths);
        u64::try_from(share / (self.capacity.max(1) * 1000)).unwrap_or(u64::MAX)
    }

    /// What `node` could take without exceeding so many thousandths of the mean.
    pub fn room(&self, node: usize, thousandths: u32) -> u64 {
        match self.state(node) {
            State::Accepts => self.at(node, thousandths).saturating_sub(self.load(node)),
            State::Leaves | State::Dead => 0,
        }
    }

    /// Those that others may go to.
    pub fn accepting(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.state(*node) == State::Accepts)
    }

    /// The accepting node that carries least for what it can, with `weight` more.
    pub fn quietest(&self, except: Option<usize>, weight: u64) -> Option<usize> {
        let nodes = self.accepting().filter(|node| Some(*node) != except);
        nodes.reduce(|best, node| {
            let with = |node: usize| u128::from(self.nodes[node].load) + u128::from(weight);
            let capacity = |node: usize| u128::from(self.nodes[node].capacity);
            if with(node) * capacity(best) < with(best) * capacity(node) { node } else { best }
        })
    }

    /// Whether `weight` more on `to` is clearly better than on `from`: `to` will
    /// be below `from` by `gain` thousandths, and the two nearer to each other
    /// (the sum of load squared by capacity less), so that no series of such
    /// moves comes back to where it began.
    pub fn improves(&self, from: usize, to: usize, weight: u64, gain: u32) -> bool {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        let wide = |value: u64| u128::from(value);
        let after = wide(to.load) + wide(weight);
        let clearly = after * wide(from.capacity) * 1000
            <= wide(from.load) * wide(to.capacity) * (1000 - u128::from(gain.min(1000)));
        let nearer = (wide(to.load) + after) * wide(from.capacity)
            < (2 * wide(from.load) - wide(weight)) * wide(to.capacity);
        clearly && nearer
    }
}
