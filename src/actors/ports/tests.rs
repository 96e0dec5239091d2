//! What closes while it is given a session, and what is for connections of
//! other nodes.

use std::sync::Mutex;

use super::*;
use crate::cluster::core::table::Unavailable;
use crate::entity::input::Connect;

const PLAYER: PlayerId = PlayerId(7);

/// Keeps what it is told; does something when it is told anything.
struct Port<F: Fn()> {
    told: Mutex<Vec<ToSession>>,
    then: F,
}

impl<F: Fn() + Send + Sync> SessionPort for Port<F> {
    fn deliver(&self, message: ToSession) {
        self.told.lock().unwrap().push(message);
        (self.then)();
    }
}

impl<F: Fn() + Send + Sync + 'static> Port<F> {
    fn open(ports: &Ports, then: F) -> (u64, Arc<Port<F>>) {
        let port = Arc::new(Port { told: Mutex::default(), then });
        (ports.open(port.clone()), port)
    }

    fn sessions(&self) -> Vec<SessionId> {
        let session = |told: &ToSession| match told {
            ToSession::Player(PlayerEffect::Connected(connected)) => Some(connected.session),
            _ => None,
        };
        self.told.lock().unwrap().iter().filter_map(session).collect()
    }
}

fn give(ports: &Ports, connection: u64, session: u64) -> Option<Left> {
    let session = SessionId(session);
    let (resumed, presence) = (false, Vec::new());
    let connected = Connected { connection, player: PLAYER, session, resumed, presence };
    ports.release(Release::Player(PlayerEffect::Connected(connected)))
}

#[test]
fn a_session_for_a_connection_that_has_gone_comes_back() {
    let ports = Ports::default();
    let (connection, port) = Port::open(&ports, || {});
    ports.close(connection, Some(PLAYER));
    let left = Left { player: PLAYER, session: SessionId(3), connection };
    assert_eq!(give(&ports, connection, 3), Some(left));
    assert_eq!(port.sessions(), []);
}

/// The worst moment to close: in the middle of the release.
#[test]
fn a_connection_that_closes_while_it_is_given_a_session_has_heard_of_it() {
    let ports = Arc::new(Ports::default());
    let newer = Arc::new(AtomicU64::new(0));
    let (closing, closes) = (ports.clone(), newer.clone());
    let (older, _) = Port::open(&ports, move || {
        let connection = closes.load(Ordering::Relaxed);
        if connection > 0 {
            closing.close(connection, Some(PLAYER));
        }
    });
    assert_eq!(give(&ports, older, 1), None);
    let (connection, port) = Port::open(&ports, || {});
    newer.store(connection, Ordering::Relaxed);
    let came_back = give(&ports, connection, 2).is_some();
    assert!(came_back || port.sessions() == [SessionId(2)], "nobody has session 2");
    assert!(ports.sessions.is_empty(), "a session is kept for a connection that has gone");
}

#[test]
fn a_closing_connection_never_leaves_a_session_behind() {
    let ports = Ports::default();
    for session in 1..=20_000 {
        let (connection, port) = Port::open(&ports, || {});
        let came_back = std::thread::scope(|scope| {
            let given = scope.spawn(|| give(&ports, connection, session).is_some());
            ports.close(connection, Some(PLAYER));
            given.join().unwrap()
        });
        assert_ne!(came_back, !port.sessions().is_empty(), "session {session}");
        assert!(ports.sessions.is_empty(), "session {session}");
    }
}

#[test]
fn a_session_that_ends_while_it_is_looked_up_is_not_said_to_be_held() {
    let ports = Ports::default();
    let (connection, _) = Port::open(&ports, || {});
    let (open, _) = Port::open(&ports, || {});
    let held = |connection| Left { player: PLAYER, session: SessionId(3), connection };
    ports.close(connection, Some(PLAYER));
    ports.owe_held(held(connection));
    ports.owe_held(held(open));
    assert_eq!(ports.calls.take_due(9), [Word::Held(held(open))]);
}

#[test]
fn the_connect_of_a_closed_connection_is_not_asked_again_behind_the_next_session() {
    let ports = Ports::default();
    let (closed, _) = Port::open(&ports, || {});
    let connect = Connect { player: PLAYER, connection: closed, resume: None };
    ports.calls.owe(Word::Connect(connect), false);
    ports.close(closed, Some(PLAYER));
    assert_eq!(ports.calls.take_due(9), [Word::Connect(connect)], "its session is to be left");
    ports.calls.note_unsaid(&Word::Connect(connect));
    let (next, _) = Port::open(&ports, || {});
    assert_eq!(give(&ports, next, 2), None);
    ports.calls.say_again(|_| true);
    assert_eq!(ports.calls.take_due(9), []);
}

#[test]
fn a_connect_that_a_newer_one_overtakes_is_told_at_once() {
    let ports = Ports::default();
    let (first, told) = Port::open(&ports, || {});
    let (second, newer) = Port::open(&ports, || {});
    ports.ask(first, PLAYER);
    ports.ask(second, PLAYER);
    let said = |port: &[ToSession]| matches!(port, [ToSession::Superseded]);
    assert!(said(&told.told.lock().unwrap()));
    assert!(newer.told.lock().unwrap().is_empty());
    assert_eq!(give(&ports, second, 2), None);
    ports.close(first, Some(PLAYER));
    ports.close(second, Some(PLAYER));
    assert!(ports.connecting.is_empty(), "nobody connects any more");
}

/// Keeps what is sent to the nodes 2 and 3; takes it or not.
#[derive(Default)]
struct Links {
    sent: Mutex<Vec<(NodeId, ToGateway)>>,
    full: std::sync::atomic::AtomicBool,
}

impl Mesh for Links {
    fn me(&self) -> NodeId {
        NodeId(1)
    }

    fn place_of(&self, _: EntityKey) -> crate::actors::peers::Place {
        crate::actors::peers::Place::Here
    }

    fn send(&self, to: NodeId, message: PeerMessage) -> Result<(), Unavailable> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Unavailable::Busy);
        }
        if let PeerMessage::ToGateway(message) = message {
            self.sent.lock().unwrap().push((to, message));
        }
        Ok(())
    }

    fn ask(
        &self,
        _: NodeId,
        _: crate::actors::peers::PeerQuestion,
        _: std::time::Duration,
    ) -> futures_util::future::BoxFuture<
        'static,
        Result<crate::actors::peers::PeerAnswer, Unavailable>,
    > {
        Box::pin(async { Err(Unavailable::Busy) })
    }

    fn linked(&self) -> Vec<NodeId> {
        vec![NodeId(2), NodeId(3)]
    }
}

impl Links {
    fn take(&self) -> Vec<(NodeId, ToGateway)> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}

fn with_links() -> (Arc<Links>, Ports) {
    let links = Arc::new(Links::default());
    (links.clone(), Ports::new(links))
}

fn at(node: u64) -> u64 {
    (node << CONNECTION_BITS) | 9
}

fn ended(session: u64) -> PlayerEffect {
    PlayerEffect::SessionEnded { player: PLAYER, session: SessionId(session) }
}

#[test]
fn what_is_for_an_unknown_session_goes_to_every_gateway_once_and_then_to_its_own() {
    let (links, ports) = with_links();
    assert_eq!(ports.release(Release::Player(ended(4))), None);
    let effect = ToGateway::Player(ended(4));
    assert_eq!(links.take(), [(NodeId(2), effect.clone()), (NodeId(3), effect.clone())]);
    ports.routes.note(PLAYER, SessionId(4), at(3));
    assert_eq!(ports.release(Release::Player(ended(4))), None);
    assert_eq!(links.take(), [(NodeId(3), effect)]);
}

#[test]
fn what_came_from_another_node_is_never_sent_on() {
    let (links, ports) = with_links();
    assert_eq!(ports.take(ToGateway::Player(ended(4)), |_| true), Ok(None));
    let rejected = ToGateway::Superseded { connection: at(2) };
    assert_eq!(ports.take(rejected, |_| true), Err(Refused::Misdirected));
    assert_eq!(links.take(), []);
}

#[test]
fn a_node_that_has_not_the_ledger_ends_no_session() {
    let (_, ports) = with_links();
    let (connection, port) = Port::open(&ports, || {});
    assert_eq!(give(&ports, connection, 4), None);
    let (session, refused) = (SessionId(u64::MAX), Err(Refused::NotLedger(PLAYER)));
    let taken = ToGateway::Taken { player: PLAYER, session, connection: at(2) };
    assert_eq!(ports.take(taken.clone(), |_| false), refused);
    assert_eq!(ports.take(ToGateway::Player(ended(4)), |_| false), refused);
    assert_eq!(ports.sessions(|_| true).len(), 1);
    assert!(!ports.routes.is_outdated(PLAYER, SessionId(5)));
    assert_eq!(port.told.lock().unwrap().len(), 1, "that it has the session");
    assert_eq!(ports.take(taken, |player| player == PLAYER), Ok(None));
    assert_eq!(ports.sessions(|_| true), [], "its ledger may");
}

#[test]
fn a_session_of_another_gateway_ends_the_one_here() {
    let (links, ports) = with_links();
    let (connection, port) = Port::open(&ports, || {});
    assert_eq!(give(&ports, connection, 4), None);
    links.take();
    assert_eq!(give(&ports, at(2), 5), None);
    let told = port.told.lock().unwrap();
    assert!(matches!(told.last(), Some(ToSession::Player(effect)) if *effect == ended(4)));
    let nodes: Vec<NodeId> = links.take().into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes, [NodeId(3), NodeId(2)], "that it is there, and the session");
}

#[test]
fn a_gateway_that_was_not_told_is_told_that_it_missed_something() {
    let (links, ports) = with_links();
    ports.routes.note(PLAYER, SessionId(4), at(3));
    links.full.store(true, Ordering::Relaxed);
    assert_eq!(ports.release(Release::Player(ended(4))), None);
    ports.tell_missed();
    links.full.store(false, Ordering::Relaxed);
    ports.tell_missed();
    assert_eq!(links.take(), [(NodeId(3), ToGateway::Missed)]);
    ports.tell_missed();
    assert_eq!(links.take(), [], "once");
}

#[test]
fn numbers_of_connections_have_their_node_and_rise_from_process_to_process() {
    let (_, ports) = with_links();
    let (first, _) = Port::open(&ports, || {});
    let (second, _) = Port::open(&ports, || {});
    assert_eq!((node_of(first), node_of(second)), (NodeId(1), NodeId(1)));
    assert!(ports.first() < first && first < second);
    let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(5_000);
    let first = first_number(NodeId(7), later);
    assert_eq!((node_of(first), first & 0xFF_FFFF), (NodeId(7), 5_000));
}
