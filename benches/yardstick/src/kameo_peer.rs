//! The exchange over kameo's remote actors: libp2p over TCP with Noise and yamux,
//! as its own quick start has it, an actor found by its registered name. Each
//! message is a request of its own there; one way, those that tell wait for its
//! acknowledgement, since without it nothing would say which arrived.

use std::time::Duration;

use kameo::actor::{ActorRef, RemoteActorRef, Spawn};
use kameo::message::{Context, Message};
use kameo::remote::messaging::Config;
use kameo::{Actor, RemoteActor, Reply, remote, remote_message};
use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, SwarmBuilder, noise, tcp, yamux};
use serde::{Deserialize, Serialize};

use crate::exchange::{self, Figures, Load, Peer, Taken, thread_cpu};
use crate::sides;

const NAME: &str = "counter";
/// By default a connection has 100 requests at a time, and fails others.
const STREAMS_MAX: usize = 8_192;

#[derive(Actor, RemoteActor)]
struct Counter {
    told: u64,
}

#[derive(Serialize, Deserialize)]
struct Told(#[serde(with = "serde_bytes")] Vec<u8>);

/// What is asked, and its answer.
#[derive(Serialize, Deserialize, Reply)]
struct Asked(#[serde(with = "serde_bytes")] Vec<u8>);

#[derive(Serialize, Deserialize)]
struct Ask;

#[remote_message]
impl Message<Told> for Counter {
    type Reply = ();

    async fn handle(&mut self, _: Told, _: &mut Context<Self, ()>) {
        self.told += 1;
    }
}

#[remote_message]
impl Message<Asked> for Counter {
    type Reply = Asked;

    async fn handle(&mut self, asked: Asked, _: &mut Context<Self, Self::Reply>) -> Asked {
        asked
    }
}

#[remote_message]
impl Message<Ask> for Counter {
    type Reply = (u64, u64);

    async fn handle(&mut self, _: Ask, _: &mut Context<Self, Self::Reply>) -> (u64, u64) {
        (self.told, u64::try_from(thread_cpu().as_nanos()).unwrap_or(u64::MAX))
    }
}

#[derive(Clone)]
struct Remote(RemoteActorRef<Counter>);

#[derive(Clone)]
struct Local(ActorRef<Counter>);

impl Peer for Remote {
    async fn tell(&self, message: Vec<u8>) {
        self.0.tell(&Told(message)).send_ack().await.unwrap();
    }

    async fn ask(&self, message: Vec<u8>) -> Vec<u8> {
        self.0.ask(&Asked(message)).send().await.unwrap().0
    }

    async fn taken(&self) -> Taken {
        let (messages, cpu_ns) = self.0.ask(&Ask).send().await.unwrap();
        Taken { messages, cpu_ns }
    }

    fn tellers(load: Load) -> usize {
        load.in_flight
    }
}

impl Peer for Local {
    async fn tell(&self, message: Vec<u8>) {
        self.0.tell(Told(message)).send().await.unwrap();
    }

    async fn ask(&self, message: Vec<u8>) -> Vec<u8> {
        self.0.ask(Asked(message)).send().await.unwrap().0
    }

    async fn taken(&self) -> Taken {
        let (messages, cpu_ns) = self.0.ask(Ask).send().await.unwrap();
        Taken { messages, cpu_ns }
    }

    fn tellers(_: Load) -> usize {
        1
    }
}

/// The side that answers.
pub fn answer(port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        swarm(port, None);
        let actor = Counter::spawn(Counter { told: 0 });
        // Nobody is there yet who would keep the name, too.
        let _ = actor.register(NAME).await;
        sides::serve();
        std::future::pending::<()>().await;
    });
}

/// The side that asks.
pub fn measure(port: u16, load: Load, time: Duration) -> Figures {
    exchange::measure(there(port), local(), load, time)
}

async fn there(port: u16) -> Remote {
    swarm(0, Some(port));
    loop {
        if let Ok(Some(actor)) = RemoteActorRef::lookup(NAME).await {
            return Remote(actor);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An actor on a thread of its own in this process.
async fn local() -> Local {
    let (spawned, actor) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let actor = Counter::spawn(Counter { told: 0 });
            let _ = spawned.send(actor.clone());
            actor.wait_for_shutdown().await;
        });
    });
    Local(actor.await.unwrap())
}

/// A node that listens at `port`, and has a connection to `other`.
fn swarm(port: u16, other: Option<u16>) {
    let address =
        |port: u16| -> Multiaddr { format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap() };
    let mut streams = yamux::Config::default();
    streams.set_max_num_streams(STREAMS_MAX);
    let config = Config::default().with_max_concurrent_streams(STREAMS_MAX);
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, || streams)
        .unwrap()
        .with_behaviour(|key| remote::Behaviour::new(key.public().to_peer_id(), config))
        .unwrap()
        .with_swarm_config(|it| it.with_idle_connection_timeout(Duration::from_secs(3_600)))
        .build();
    swarm.behaviour().init_global();
    swarm.listen_on(address(port)).unwrap();
    if let Some(other) = other {
        swarm.dial(address(other)).unwrap();
    }
    tokio::spawn(async move {
        loop {
            // The directory of names learns addresses of peers only so.
            if let SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } =
                swarm.select_next_some().await
            {
                swarm.add_peer_address(peer_id, endpoint.get_remote_address().clone());
            }
        }
    });
}
