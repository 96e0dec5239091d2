//! The exchange over ractor_cluster: two node servers, one TCP connection without
//! encryption, an actor found by its process group.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, pg};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage};

use crate::exchange::{self, Figures, Load, Peer, Taken, thread_cpu};
use crate::sides;

const GROUP: &str = "counters";
/// Casts are not bounded by the system: after so many the teller waits until the
/// actor has taken all but the last so many.
const WINDOW: u32 = 8_192;

#[derive(RactorClusterMessage)]
enum Exchange {
    Told(Vec<u8>),
    #[rpc]
    Asked(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// Messages told, and nanoseconds of the thread.
    #[rpc]
    Taken(RpcReplyPort<Vec<u64>>),
}

struct Counter;

impl Actor for Counter {
    type Msg = Exchange;
    type State = u64;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<Exchange>,
        _: (),
    ) -> Result<u64, ActorProcessingErr> {
        pg::join(GROUP.into(), vec![myself.get_cell()]);
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Exchange>,
        message: Exchange,
        told: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Exchange::Told(_) => *told += 1,
            Exchange::Asked(body, answer) => _ = answer.send(body),
            Exchange::Taken(answer) => {
                let cpu = u64::try_from(thread_cpu().as_nanos()).unwrap_or(u64::MAX);
                let _ = answer.send(vec![*told, cpu]);
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Ref {
    actor: ActorRef<Exchange>,
    told: Rc<Cell<u32>>,
}

impl Ref {
    fn new(actor: ActorRef<Exchange>) -> Ref {
        Ref { actor, told: Rc::default() }
    }
}

impl Peer for Ref {
    async fn tell(&self, message: Vec<u8>) {
        self.actor.cast(Exchange::Told(message)).unwrap();
        self.told.set(self.told.get() + 1);
        if self.told.get() >= WINDOW {
            self.told.set(0);
            self.taken().await;
        }
    }

    async fn ask(&self, message: Vec<u8>) -> Vec<u8> {
        call!(self.actor, Exchange::Asked, message).unwrap()
    }

    async fn taken(&self) -> Taken {
        let taken = call!(self.actor, Exchange::Taken).unwrap();
        Taken { messages: taken[0], cpu_ns: taken[1] }
    }

    /// Two, so that there is something to send while one waits.
    fn tellers(_: Load) -> usize {
        2
    }
}

/// The side that answers.
pub fn answer(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        server(port, "answers").await;
        Actor::spawn(None, Counter, ()).await.unwrap();
        sides::serve();
        std::future::pending::<()>().await;
    });
}

/// The side that asks.
pub fn measure(port: u16, load: Load, time: Duration) -> Figures {
    exchange::measure(remote(port), local(), load, time)
}

async fn remote(port: u16) -> Ref {
    let server = server(0, "asks").await;
    ractor_cluster::client_connect(&server, ("127.0.0.1", port)).await.unwrap();
    loop {
        let there = pg::get_members(&GROUP.to_owned());
        if let Some(cell) = there.into_iter().find(|cell| !cell.get_id().is_local()) {
            return Ref::new(cell.into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An actor on a thread of its own in this process.
async fn local() -> Ref {
    let (spawned, actor) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (actor, handle) = Actor::spawn(None, Counter, ()).await.unwrap();
            spawned.send(actor).unwrap();
            handle.await.unwrap();
        });
    });
    Ref::new(actor.await.unwrap())
}

async fn server(port: u16, name: &str) -> ActorRef<NodeServerMessage> {
    let server =
        NodeServer::new(port, "cookie".into(), name.into(), "localhost".into(), None, None)
            .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into());
    Actor::spawn(None, server, ()).await.unwrap().0
}
