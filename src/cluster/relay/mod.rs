//! Owns a network that is worse than it is: a relay that carries datagrams or
//! streams to one target, with latency, jitter, loss, reordering, duplication, a
//! bandwidth and cuts, each way by itself. Never looks into what it carries.
//! Called by tests and by `starmesh relay`.
//!
//! What happens to a packet is decided in [`impair`], from the seed, the flow and
//! the packet's number: the same seed drops the same packets. Each client address
//! (datagrams) or connection (streams) is a flow, with a bandwidth of its own.
//! Invariant: nothing arrives before its latency, nothing passes a way that is
//! cut, and each queue is bounded: a full one drops datagrams, and of a stream
//! takes no more until there is room.

mod control;
mod counters;
#[deny(clippy::disallowed_types, clippy::float_arithmetic)]
pub mod impair;
mod queue;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

pub use control::{Change, Control, Step};
pub use counters::{Counters, WayCounters};
pub use impair::{Chance, Impairment, Way};

/// What a relay carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// How a relay is started.
#[derive(Clone, Debug)]
pub struct Config {
    pub transport: Transport,
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub target: SocketAddr,
    /// Decides all chance.
    pub seed: u64,
    /// From clients to the target.
    pub up: Impairment,
    /// From the target to clients.
    pub down: Impairment,
    pub limits: Limits,
}

impl Config {
    /// One that changes nothing.
    pub fn new(transport: Transport, listen: SocketAddr, target: SocketAddr) -> Config {
        let (up, down) = (Impairment::default(), Impairment::default());
        Config { transport, listen, target, seed: 1, up, down, limits: Limits::default() }
    }
}

/// Bounds of a relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Flows at a time. Datagrams of a client beyond it are dropped, its
    /// connections closed at once.
    pub flows: usize,
    /// Datagrams that wait in one flow for one way, and bytes; beyond either they
    /// are dropped.
    pub packets: usize,
    /// Of a stream no more is read while so many bytes wait.
    pub bytes: usize,
    /// A flow of datagrams ends when there was none for so long.
    pub idle: Duration,
    /// A connection to the target that takes longer fails, and the client's ends.
    pub connect: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            flows: 1024,
            packets: 4096,
            bytes: 4 << 20,
            idle: Duration::from_secs(60),
            connect: Duration::from_secs(10),
        }
    }
}

/// A relay that runs until it is dropped or stopped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    control: Control,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens, and carries what comes.
    ///
    /// # Errors
    /// When the address to listen on cannot be had.
    pub async fn start(config: Config) -> io::Result<Relay> {
        let shared = Arc::new(control::Shared::new(&config));
        let control = Control::new(shared.clone());
        let (address, task) = match config.transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(config.listen).await?;
                (socket.local_addr()?, tokio::spawn(udp::run(socket, shared)))
            }
            Transport::Tcp => {
                let listener = TcpListener::bind(config.listen).await?;
                (listener.local_addr()?, tokio::spawn(tcp::run(listener, shared)))
            }
        };
        Ok(Relay { address, control, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What changes it while it runs, and what it has counted.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Ends it; what still waits in it is lost. Its address is free again.
    pub async fn stop(mut self) -> Counters {
        self.task.abort();
        // Being aborted is how it ends.
        let _ = (&mut self.task).await;
        self.control.counters()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
