//! Two nodes in one process, each with a store of its own, and links between
//! them that a test breaks, holds and listens to. A mesh that says what the
//! test wants: where an entity is, whatever runs where.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::BoxFuture;
use starmesh::actors::entities::Entities;
use starmesh::actors::node::{Node, Seat};
use starmesh::actors::peers::{Mesh, PeerAnswer, PeerMessage, PeerQuestion, Place, ToGateway};
use starmesh::base::{EntityKey, NodeId};
use starmesh::cluster::core::table::Unavailable;
use starmesh::config::Config;
use starmesh::sim::rules;
use starmesh::store::memory::Memory;

pub const A: NodeId = NodeId(1);
pub const B: NodeId = NodeId(2);

/// What the two ends of the link share.
#[derive(Default)]
pub struct Cable {
    pub state: Mutex<State>,
    ends: BTreeMap<u32, OnceLock<Entities>>,
}

#[derive(Default)]
pub struct State {
    pub down: bool,
    /// What may be lost of what is sent: takes it out of the way.
    pub lose: Option<fn(&PeerMessage) -> bool>,
    pub lost: Vec<PeerMessage>,
    /// Entities that are elsewhere than at A, where all else is.
    pub places: BTreeMap<EntityKey, Place>,
    pub sent: VecDeque<(NodeId, PeerMessage)>,
}

impl Cable {
    fn new() -> Arc<Cable> {
        let ends = [A, B].map(|node| (node.0, OnceLock::new())).into();
        Arc::new(Cable { state: Mutex::default(), ends })
    }

    fn end(&self, node: NodeId) -> Entities {
        self.ends[&node.0].get().expect("both nodes run").clone()
    }

    /// Where the test says that an entity is.
    pub fn put(&self, entity: EntityKey, place: Place) {
        self.state.lock().unwrap().places.insert(entity, place);
    }

    /// From here on what `lose` picks gets lost.
    pub fn lose(&self, lose: Option<fn(&PeerMessage) -> bool>) {
        self.state.lock().unwrap().lose = lose;
    }

    pub fn has_lost(&self) -> bool {
        !self.state.lock().unwrap().lost.is_empty()
    }

    /// Breaks the link, or mends it; both ends are told.
    pub fn link(&self, up: bool) {
        self.state.lock().unwrap().down = !up;
        self.end(A).handle_link(B, up);
        self.end(B).handle_link(A, up);
    }

    /// Brings what was sent, in order, on a thread of no arbiter.
    fn carry(&self) {
        loop {
            let Some((to, message)) = self.state.lock().unwrap().sent.pop_front() else { return };
            let from = if to == A { B } else { A };
            let entities = self.end(to);
            match message {
                PeerMessage::ToOwner(message) => entities.handle_owner(from, message),
                PeerMessage::ToGateway(message) => entities.handle_gateway(from, message),
                PeerMessage::Core(_) | PeerMessage::View(_) | PeerMessage::Load(_) => {}
            }
        }
    }
}

/// One end.
struct End {
    me: NodeId,
    cable: Arc<Cable>,
}

impl Mesh for End {
    fn me(&self) -> NodeId {
        self.me
    }

    fn place_of(&self, entity: EntityKey) -> Place {
        let place = self.cable.state.lock().unwrap().places.get(&entity).copied();
        match place.unwrap_or(Place::There(A)) {
            Place::There(node) if node == self.me => Place::Here,
            place => place,
        }
    }

    fn note_map(&self, _: starmesh::cluster::core::map::Map) {}

    fn send(&self, to: NodeId, message: PeerMessage) -> Result<(), Unavailable> {
        let mut state = self.cable.state.lock().unwrap();
        if state.down {
            return Err(Unavailable::Busy);
        }
        match state.lose {
            Some(lose) if lose(&message) => state.lost.push(message),
            _ => state.sent.push_back((to, message)),
        }
        Ok(())
    }

    fn ask(
        &self,
        to: NodeId,
        question: PeerQuestion,
        _: Duration,
    ) -> BoxFuture<'static, Result<PeerAnswer, Unavailable>> {
        let (me, cable) = (self.me, self.cable.clone());
        Box::pin(async move {
            if cable.state.lock().unwrap().down {
                return Err(Unavailable::Busy);
            }
            Ok(cable.end(to).answer(me, question).await)
        })
    }

    fn linked(&self) -> Vec<NodeId> {
        let other = if self.me == A { B } else { A };
        if self.cable.state.lock().unwrap().down { Vec::new() } else { vec![other] }
    }
}

/// The two nodes.
pub struct Pair {
    pub a: Node,
    pub b: Node,
    /// Of A.
    pub store: Arc<Memory>,
    pub cable: Arc<Cable>,
    stop: Arc<AtomicBool>,
    carrier: JoinHandle<()>,
}

impl Pair {
    pub async fn start() -> Pair {
        let cable = Cable::new();
        let settings = "[galaxy]\nledger_shards = 1\n";
        let start = |me| {
            let mesh = Arc::new(End { me, cable: cable.clone() });
            let store = Arc::new(Memory::default());
            let rules = rules::file::built_in().unwrap();
            let config = Config::with(settings).unwrap();
            let node =
                Node::start_at(&config, rules, store.clone(), Seat::Own(mesh), None).unwrap();
            (node, store)
        };
        let ((a, store), (b, _)) = (start(A), start(B));
        for (me, node) in [(A, &a), (B, &b)] {
            assert!(cable.ends[&me.0].set(node.entities.clone()).is_ok());
            super::node_support::ready(node).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let carrier = carry(cable.clone(), stop.clone());
        let pair = Pair { a, b, store, cable, stop, carrier };
        pair.cable.link(true);
        pair
    }

    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.carrier.join().expect("nothing panicked on the links' thread");
        self.a.stop().await;
        self.b.stop().await;
    }

    /// What the other node says to `to`, at once, as if it came by the link.
    pub fn tell(&self, to: NodeId, message: ToGateway) {
        let message = PeerMessage::ToGateway(message);
        self.cable.state.lock().unwrap().sent.push_back((to, message));
    }
}

/// The links' thread: tokio's, no arbiter's.
fn carry(cable: Arc<Cable>, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            while !stop.load(Ordering::Relaxed) {
                cable.carry();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    })
}
