//! What closes while it is given a session, and what is for connections of
//! other nodes.

use std::sync::Mutex;

use super::*;

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
