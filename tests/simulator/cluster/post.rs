//! Owns what is under way between players' gateways and the nodes that have what
//! they ask for. It fares as the messages of nodes do: late, lost, doubled, cut off.

use std::collections::BTreeMap;

use starmesh::base::{EntityKey, NodeId, PlayerId, SessionId};
use starmesh::cluster::core::attaching::{Attached, Ticket};
use starmesh::cluster::core::node::Event;
use starmesh::cluster::core::table::Unavailable;
use starmesh::entity::commands::PlayerCommand;
use starmesh::entity::effect::PlayerEffect;
use starmesh::entity::input::{Connect, FromGateway, Input};
use starmesh::entity::read::Query;

use super::Cluster;
use crate::random::Random;

#[derive(Clone)]
pub enum Mail {
    /// To a node; the others are to connections.
    At {
        node: NodeId,
        mail: Box<Mail>,
    },
    Propose {
        entity: EntityKey,
        input: Input,
    },
    Attach {
        connection: u64,
        entity: EntityKey,
        ask: u64,
        sender: (PlayerId, SessionId),
    },
    Admit {
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        command: PlayerCommand,
    },
    Attached {
        connection: u64,
        entity: EntityKey,
        ask: u64,
        answer: Attachable,
    },
    Rejected {
        connection: u64,
        entity: EntityKey,
        ticket: Ticket,
        sequence: u32,
    },
    Told {
        connection: u64,
        effect: PlayerEffect,
    },
}

/// What comes of a try to attach.
#[derive(Clone, Copy)]
pub enum Attachable {
    Now(Attached),
    /// A newer session has given orders there.
    Ended,
    /// It could not be asked.
    Later,
    /// It has no record: nobody is there.
    Never,
}

impl Mail {
    pub fn connect(
        ledger: EntityKey,
        player: PlayerId,
        connection: u64,
        resume: Option<SessionId>,
        again: bool,
    ) -> Mail {
        let connect = Connect { player, connection, resume };
        let input = match again {
            true => Input::Gateway(FromGateway::ConnectAgain(connect)),
            false => Input::Connect(connect),
        };
        Mail::Propose { entity: ledger, input }
    }

    /// It is at a node: what goes back from there at once, and to which connection.
    pub fn arrive(self, node: NodeId, cluster: &mut Cluster) -> Option<(u64, Mail)> {
        let runs = cluster.nodes.get_mut(&node).filter(|node| !node.stopped)?;
        let back = match self {
            Mail::Propose { entity, input } => {
                cluster.event(node.0, Event::Propose(entity, input));
                return None;
            }
            Mail::Attach { connection, entity, ask, sender: (player, session) } => {
                let asked = runs.table.read(ask, entity, &Query::Applied { player, session });
                let history = cluster.witness.history.as_ref();
                let is_there = history.is_some_and(|history| history.knows(entity));
                let answer = if is_there { Attachable::Later } else { Attachable::Never };
                if asked == Err(Unavailable::NotHere) && is_there {
                    cluster.event(node.0, Event::Wake(entity));
                }
                let back = Mail::Attached { connection, entity, ask, answer };
                asked.err().map(|_| (connection, back))
            }
            Mail::Admit { connection, entity, ticket, command } => {
                let sequence = command.sequence;
                let admitted = runs.table.admit(entity, ticket, command);
                let back = Mail::Rejected { connection, entity, ticket, sequence };
                admitted.err().map(|_| (connection, back))
            }
            _ => None,
        };
        // What the table has to say is seen to.
        cluster.event(node.0, Event::Clock);
        back
    }
}

/// In the order in which it arrives.
#[derive(Default)]
pub struct Post {
    under_way: BTreeMap<(u64, u64), Mail>,
    count: u64,
}

impl Post {
    pub fn send(
        &mut self,
        cluster: &Cluster,
        random: &mut Random,
        (from, to): (NodeId, NodeId),
        mail: Mail,
    ) {
        let (weather, cuts) = (cluster.network.weather, &cluster.network.cuts);
        let is_cut = cuts.contains(&(from, to)) || cuts.contains(&(to, from));
        let is_near = from == to;
        if !is_near && (is_cut || random.chance(weather.lost)) {
            return;
        }
        let copies = 1 + u64::from(!is_near && random.chance(weather.doubled));
        for _ in 0..copies {
            let late_ms = if is_near { 1 } else { weather.late_ms.max(1) };
            self.count += 1;
            let at = cluster.now + 1 + random.below(late_ms);
            self.under_way.insert((at, self.count), mail.clone());
        }
    }

    pub fn due(&mut self, now: u64) -> Vec<Mail> {
        let later = self.under_way.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.under_way, later).into_values().collect()
    }
}
