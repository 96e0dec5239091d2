//! The exchange that is measured, the same for every peer: messages one way as
//! fast as they are taken, and asks of which so many are in flight. Rates are by
//! the wall and by the processor of the busier of the two threads.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::{LocalSet, spawn_local};

#[derive(Clone, Copy)]
pub struct Load {
    pub bytes: usize,
    pub in_flight: usize,
}

/// What the actor that is sent to has counted, and its thread taken.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Taken {
    pub messages: u64,
    pub cpu_ns: u64,
}

/// An actor, wherever it is.
pub trait Peer: Clone + 'static {
    /// Returns when another may be sent: what is under way is bounded.
    fn tell(&self, message: Vec<u8>) -> impl Future<Output = ()>;
    fn ask(&self, message: Vec<u8>) -> impl Future<Output = Vec<u8>>;
    /// Behind all that this peer was told.
    fn taken(&self) -> impl Future<Output = Taken>;
    /// Tasks that tell at a time.
    fn tellers(load: Load) -> usize;
}

/// Per second by the wall, and by the busier thread's processor.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rate {
    pub wall: f64,
    pub cpu: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub messages: Rate,
    pub remote_asks: Rate,
    pub local_asks: Rate,
}

/// All of it: each part for so long.
pub fn measure<P: Peer, L: Peer>(
    remote: impl Future<Output = P>,
    local: impl Future<Output = L>,
    load: Load,
    time: Duration,
) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async move {
        let remote = remote.await;
        let messages = tell(&remote, load, time).await;
        let remote_asks = ask(&remote, load, time).await;
        let local_asks = ask(&local.await, load, time).await;
        Figures { messages, remote_asks, local_asks }
    })
}

async fn tell<P: Peer>(peer: &P, load: Load, time: Duration) -> Rate {
    let meter = Meter::start(peer).await;
    let tellers: Vec<_> = (0..P::tellers(load))
        .map(|_| {
            let peer = peer.clone();
            let began = meter.began;
            spawn_local(async move {
                while began.elapsed() < time {
                    for _ in 0..64 {
                        peer.tell(vec![7; load.bytes]).await;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for teller in tellers {
        teller.await.unwrap();
    }
    meter.stop(peer, None).await
}

async fn ask<P: Peer>(peer: &P, load: Load, time: Duration) -> Rate {
    let answered = Rc::new(Cell::new(0));
    let meter = Meter::start(peer).await;
    let askers: Vec<_> = (0..load.in_flight)
        .map(|_| {
            let (peer, answered) = (peer.clone(), answered.clone());
            let began = meter.began;
            spawn_local(async move {
                while began.elapsed() < time {
                    assert_eq!(peer.ask(vec![7; load.bytes]).await.len(), load.bytes);
                    answered.set(answered.get() + 1);
                }
            })
        })
        .collect();
    for asker in askers {
        asker.await.unwrap();
    }
    meter.stop(peer, Some(answered.get())).await
}

/// From when to when, here and there.
struct Meter {
    began: Instant,
    cpu: Duration,
    there: Taken,
}

impl Meter {
    async fn start<P: Peer>(peer: &P) -> Meter {
        let there = peer.taken().await;
        Meter { began: Instant::now(), cpu: thread_cpu(), there }
    }

    /// The rate of `count`, or of what was taken there.
    async fn stop<P: Peer>(self, peer: &P, count: Option<u64>) -> Rate {
        let there = peer.taken().await;
        let (took, here) = (self.began.elapsed(), thread_cpu() - self.cpu);
        let busier = here.max(Duration::from_nanos(there.cpu_ns - self.there.cpu_ns));
        let count = count.unwrap_or(there.messages - self.there.messages) as f64;
        Rate { wall: count / took.as_secs_f64(), cpu: count / busier.as_secs_f64() }
    }
}

/// What this thread has taken of a processor.
pub fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

impl Figures {
    /// Of each figure the middle one.
    pub fn median(all: &[Figures]) -> Figures {
        let middle = |figure: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = all.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Figures {
            messages: Rate { wall: middle(|f| f.messages.wall), cpu: middle(|f| f.messages.cpu) },
            remote_asks: Rate {
                wall: middle(|f| f.remote_asks.wall),
                cpu: middle(|f| f.remote_asks.cpu),
            },
            local_asks: Rate {
                wall: middle(|f| f.local_asks.wall),
                cpu: middle(|f| f.local_asks.cpu),
            },
        }
    }
}

impl Rate {
    pub fn over(self, other: Rate) -> String {
        format!("{:.1} / {:.1}", self.wall / other.wall, self.cpu / other.cpu)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} / {:.0}", self.wall, self.cpu)
    }
}
