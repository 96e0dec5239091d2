//! Owns the datagrams that are under way between nodes: each late, lost or doubled by
//! chance, over the sender's link or by way of a coordinator, as the shell of the links
//! does it. What a node may send is judged here.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, NodeId};
use starmesh::cluster::core::map::Map;
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::shadows::{Cast, Caster, datagram, ways};
use starmesh::entity::commit::NodeRow;
use starmesh::entity::keys;
use starmesh::store::Store;
use starmesh::store::memory::Memory;

use super::Cluster;
use super::network::Network;
use super::node::Node;

/// In the order in which they arrive.
#[derive(Default)]
pub struct Datagrams {
    under_way: BTreeMap<(u64, u64), (NodeId, Vec<u8>)>,
    count: u64,
    /// How many coordinators handed on.
    pub handed_on: u64,
}

impl Network {
    /// A node casts what falls on a sector of another.
    pub fn cast(&mut self, now: u64, caster: Caster, map: Option<&Map>, to: NodeId, cast: &Cast) {
        let Some(map) = map else { return };
        let linked = self.linked(caster.node, map);
        let via = match linked.contains(&to) {
            true => vec![to],
            false => {
                let linked = linked.into_iter().map(|node| (node, map.roles(node)));
                ways::coordinators(linked, cast.turn())
            }
        };
        for bytes in datagram::split(caster, to, cast) {
            via.iter().for_each(|via| self.send_datagram(now, (caster.node, *via), bytes.clone()));
        }
    }

    fn linked(&self, from: NodeId, map: &Map) -> Vec<NodeId> {
        let nodes = map.nodes.keys().copied();
        nodes.filter(|to| *to != from && map.lives(*to) && !self.is_cut(from, *to)).collect()
    }

    fn send_datagram(&mut self, now: u64, (from, to): (NodeId, NodeId), bytes: Vec<u8>) {
        for at in self.fates(now, from, to) {
            self.datagrams.count += 1;
            let count = self.datagrams.count;
            self.datagrams.under_way.insert((at, count), (to, bytes.clone()));
        }
    }
}

impl Cluster {
    /// What arrives by now.
    pub fn deliver_datagrams(&mut self) {
        let under_way = &mut self.network.datagrams.under_way;
        let later = under_way.split_off(&(self.now + 1, 0));
        for (at, bytes) in std::mem::replace(under_way, later).into_values() {
            let Some(node) = self.nodes.get(&at).filter(|node| !node.stopped) else { continue };
            let read = datagram::read(&bytes).expect("a node sent it");
            let Some(map) = node.map.clone() else { continue };
            let datagram::Datagram { to, caster, cast } = read;
            if to == at {
                self.event(at.0, Event::Casts(vec![(caster, cast)]));
                continue;
            }
            let linked = self.network.linked(at, &map).into_iter();
            if ways::hands_on(map.roles(at), to, linked) {
                self.network.datagrams.handed_on += 1;
                self.network.send_datagram(self.now, (at, to), bytes);
            }
        }
    }
}

/// What leaves a node is of a tick that its row says.
pub fn check_cast(store: &Memory, node: &Node, cast: &Cast) {
    let row = store.get(&keys::row(node.id)).expect("the memory answers").expect("it has one");
    let row = NodeRow::from_bytes(&row.value).expect("a row");
    let entity = node.table.entity(EntityKey::Sector(cast.from));
    let claim = entity.and_then(|entity| entity.head().claim);
    if let Some(claim) = claim.filter(|open| open.claim.node == node.id) {
        let (at, cast_at) = (claim.tick_at(row.tick), cast.tick);
        assert!(cast_at <= at, "3: {} cast at {cast_at:?}, and its row says {at:?}", cast.from);
    }
}
