//! Owns the datagrams of a relay: for each client address a flow, with a socket
//! of its own to the target, so that answers find their way back. Never blocks on
//! one flow for another: a full queue drops. Invariant: a flow without datagrams
//! for [`Limits::idle`](super::Limits::idle) ends, and its client may come again.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::control::Shared;
use super::counters::count;
use super::impair::{Fate, Line, Way};
use super::queue::Queue;

/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;

pub(super) async fn run(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut flows: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    // Aborted with this task.
    let mut tasks: JoinSet<SocketAddr> = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut opened = 0;
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                count(&shared.counting.flows_closed);
                if let Ok(client) = ended {
                    flows.remove(&client);
                }
            }
            received = socket.recv_from(&mut buffer) => {
                // An error is what an earlier answer met; it concerns nobody else.
                let Ok((length, client)) = received else { continue };
                shared.counting.up.note_received(length);
                if !flows.contains_key(&client) {
                    if flows.len() >= shared.limits.flows {
                        count(&shared.counting.flows_refused);
                        count(&shared.counting.up.full);
                        continue;
                    }
                    let (sender, receiver) = mpsc::channel(shared.limits.packets);
                    let flow = Flow { client, number: opened, clients: socket.clone(), shared: shared.clone() };
                    opened += 1;
                    count(&shared.counting.flows_opened);
                    tasks.spawn(flow.run(receiver));
                    flows.insert(client, sender);
                }
                let full = flows[&client].try_send(buffer[..length].to_vec()).is_err();
                if full {
                    count(&shared.counting.up.full);
                }
            }
        }
    }
}

/// What one client sends and gets.
struct Flow {
    client: SocketAddr,
    number: u64,
    clients: Arc<UdpSocket>,
    shared: Arc<Shared>,
}

/// One way of a flow.
struct Lane {
    way: Way,
    line: Line,
    queue: Queue,
}

impl Flow {
    async fn run(self, received: mpsc::Receiver<Vec<u8>>) -> SocketAddr {
        if self.carry(received).await.is_err() {
            count(&self.shared.counting.flows_refused);
        }
        self.client
    }

    /// Until it is idle.
    async fn carry(&self, mut received: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        let shared = &self.shared;
        let socket = UdpSocket::bind(unspecified(shared.target)).await?;
        socket.connect(shared.target).await?;
        let (mut up, mut down) = (self.lane(Way::Up), self.lane(Way::Down));
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut used = shared.now();
        loop {
            let idle = used.saturating_add(shared.limits.idle);
            tokio::select! {
                bytes = received.recv() => {
                    let Some(bytes) = bytes else { return Ok(()) };
                    used = shared.now();
                    up.admit(shared, bytes);
                }
                answer = socket.recv(&mut buffer) => {
                    // A target that is not there answers with an error.
                    let Ok(length) = answer else { continue };
                    used = shared.now();
                    shared.counting.down.note_received(length);
                    down.admit(shared, buffer[..length].to_vec());
                }
                () = sleep_until(shared.at(up.due())), if up.waits() => {
                    while let Some(bytes) = up.take_due(shared) {
                        up.note(shared, socket.send(&bytes).await);
                    }
                }
                () = sleep_until(shared.at(down.due())), if down.waits() => {
                    while let Some(bytes) = down.take_due(shared) {
                        down.note(shared, self.clients.send_to(&bytes, self.client).await);
                    }
                }
                () = sleep_until(shared.at(idle)), if !up.waits() && !down.waits() => return Ok(()),
            }
        }
    }

    fn lane(&self, way: Way) -> Lane {
        let limits = self.shared.limits;
        let queue = Queue::new(limits.packets, limits.bytes);
        Lane { way, line: self.shared.line(way, self.number), queue }
    }
}

impl Lane {
    fn waits(&self) -> bool {
        self.queue.next_due().is_some()
    }

    fn due(&self) -> Duration {
        self.queue.next_due().unwrap_or_default()
    }

    /// A datagram comes.
    fn admit(&mut self, shared: &Shared, bytes: Vec<u8>) {
        let counters = shared.counters(self.way);
        match self.line.datagram(&shared.impairment(self.way), shared.now(), bytes.len()) {
            Fate::Cut => count(&counters.cut),
            Fate::Lost => count(&counters.lost),
            Fate::Arrives { at, again, is_late } => {
                if is_late {
                    count(&counters.reordered);
                }
                if let Some(again) = again {
                    count(&counters.duplicated);
                    self.wait(shared, again, bytes.clone());
                }
                self.wait(shared, at, bytes);
            }
        }
    }

    fn wait(&mut self, shared: &Shared, due: Duration, bytes: Vec<u8>) {
        if !self.queue.admit(due, bytes) {
            count(&shared.counters(self.way).full);
        }
    }

    /// What is to be sent now; what is due while the way is cut is gone.
    fn take_due(&mut self, shared: &Shared) -> Option<Vec<u8>> {
        loop {
            let bytes = self.queue.take_due(shared.now())?;
            if !shared.impairment(self.way).cut {
                return Some(bytes);
            }
            count(&shared.counters(self.way).cut);
        }
    }

    fn note(&self, shared: &Shared, sent: io::Result<usize>) {
        match sent {
            Ok(bytes) => shared.counters(self.way).note_delivered(bytes),
            Err(_) => count(&shared.counters(self.way).full),
        }
    }
}

/// Any port of any address that can speak to `target`.
fn unspecified(target: SocketAddr) -> SocketAddr {
    match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
