//! Owns the connections of a relay: each is carried to one of its own to the
//! target, late but in order and complete. Never drops a byte: a way that is cut
//! stands still, and one that is full reads no more, which the sender feels as
//! back-pressure. Invariant: what waits of one way of a connection is at most
//! [`Limits::bytes`](super::Limits::bytes) and one read.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::control::Shared;
use super::counters::count;
use super::impair::Way;

/// What is read at a time.
const READ_BYTES: usize = 16 * 1024;
/// After the system refused to accept, out of descriptors, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    // Aborted with this task.
    let mut connections: JoinSet<()> = JoinSet::new();
    let mut opened = 0;
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => count(&shared.counting.flows_closed),
            accepted = listener.accept() => match accepted {
                Ok(_) if connections.len() >= shared.limits.flows => {
                    count(&shared.counting.flows_refused);
                }
                Ok((client, _)) => {
                    count(&shared.counting.flows_opened);
                    connections.spawn(connection(client, opened, shared.clone()));
                    opened += 1;
                }
                Err(_) => sleep(ACCEPT_AGAIN).await,
            },
        }
    }
}

async fn connection(client: TcpStream, number: u64, shared: Arc<Shared>) {
    // A handshake goes both ways.
    shared.passes(Way::Up).await;
    shared.passes(Way::Down).await;
    let target = timeout(shared.limits.connect, TcpStream::connect(shared.target)).await;
    let Ok(Ok(target)) = target else {
        return count(&shared.counting.flows_refused);
    };
    // Latency is what the relay says it is.
    let _ = (client.set_nodelay(true), target.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_target, to_target) = target.into_split();
    let up = Pipe { way: Way::Up, number, shared: &shared };
    let down = Pipe { way: Way::Down, ..up };
    // Each end may close its way by itself; an error ends both.
    let _ = tokio::try_join!(up.carry(from_client, to_target), down.carry(from_target, to_client));
}

/// One way of a connection.
#[derive(Clone, Copy)]
struct Pipe<'a> {
    way: Way,
    number: u64,
    shared: &'a Shared,
}

impl Pipe<'_> {
    /// Until `from` has ended and all of it is in `to`, which then ends too.
    async fn carry(self, from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
        let (shared, counters) = (self.shared, self.shared.counters(self.way));
        let mut line = shared.line(self.way, self.number);
        let mut waiting: VecDeque<(Duration, Vec<u8>)> = VecDeque::new();
        let (mut bytes, mut ended) = (0, false);
        while !(ended && waiting.is_empty()) {
            let due = waiting.front().map(|(due, _)| *due);
            tokio::select! {
                read = read(&from), if !ended && bytes < shared.limits.bytes => {
                    let chunk = read?;
                    ended = chunk.is_empty();
                    if !ended {
                        bytes += chunk.len();
                        counters.note_received(chunk.len());
                        let with = shared.impairment(self.way);
                        let (due, again) = line.chunk(&with, shared.now(), chunk.len());
                        if again {
                            count(&counters.lost);
                        }
                        waiting.push_back((due, chunk));
                    }
                }
                () = self.arrives(due.unwrap_or_default()), if due.is_some() => {
                    if let Some((_, chunk)) = waiting.pop_front() {
                        bytes -= chunk.len();
                        write(&to, &chunk).await?;
                        counters.note_delivered(chunk.len());
                    }
                }
            }
        }
        // Dropping `to` tells the other end that there is no more.
        Ok(())
    }

    async fn arrives(&self, due: Duration) {
        sleep_until(self.shared.at(due)).await;
        self.shared.passes(self.way).await;
    }
}

/// What can be read at once; empty at the end.
async fn read(from: &OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; READ_BYTES];
    loop {
        from.readable().await?;
        match from.try_read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => {
                chunk.truncate(read?);
                return Ok(chunk);
            }
        }
    }
}

async fn write(to: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            wrote => bytes = &bytes[wrote?..],
        }
    }
    Ok(())
}
