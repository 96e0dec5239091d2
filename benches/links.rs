//! How much one link carries on loopback: commands per second one way that are
//! admitted at its end, bare messages of as many bytes, and asks with 750 in flight against the same asks over channels between two
//! threads. Each node has one thread. Beside the wall's figures stand those of
//! the processor: what the busier thread would do with a core of its own.
//! With `--json` the last line has the figures for programs.
//!
//! `cargo bench --bench links -- --seconds 3 --bytes 54 --in-flight 750 [--json]`

#[path = "links/nodes.rs"]
mod nodes;
#[path = "links/routed.rs"]
mod routed;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use starmesh::cluster::links::{Arrival, Class, End, Hello, Host, Link};
use tokio::sync::oneshot;

use self::nodes::{LIMIT, nodes, pause, rates, runtime, thread_cpu};

/// As the product has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Node = nodes::Node<Counter>;

/// Whether senders and askers send no more.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Counts messages, and answers asks with what was asked.
#[derive(Default)]
struct Counter {
    messages: AtomicU64,
}

impl Host for Counter {
    fn admit(&self, _: &Hello) -> Result<(), End> {
        Ok(())
    }

    fn handle_up(&self, _: &Link) {}

    fn handle_arrivals<'a>(
        &'a self,
        _: &'a Link,
        _: Class,
        arrivals: Vec<Arrival>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut messages = 0;
            for arrival in arrivals {
                match arrival {
                    Arrival::Message(_) => messages += 1,
                    Arrival::Ask(question) => {
                        let body = question.body.clone();
                        question.answer(body).await.unwrap();
                    }
                }
            }
            self.messages.fetch_add(messages, Ordering::Relaxed);
        })
    }

    fn handle_datagrams(&self, _: &Link, _: Vec<Bytes>) {}

    fn handle_down(&self, _: &Link, why: &End) {
        println!("link down: {why}");
    }
}

fn main() {
    let seconds = Duration::from_secs(number("--seconds", 3));
    let in_flight = number("--in-flight", 750);
    let (commands, of_command) = routed::commands(seconds);
    let bytes = number("--bytes", of_command as u64) as usize;
    let (one, two) = nodes(Counter::default(), Counter::default());
    let link = one.link_to(&two);
    let messages = messages(&one, &two, &link, seconds, bytes);
    println!(
        "commands admitted : bare messages = {:.2} : 1 by the busier thread",
        commands.1 / messages.1
    );
    let remote = remote_asks(&one, &two, &link, seconds, in_flight);
    let local = local_asks(seconds, in_flight);
    println!("remote ask : local ask = {:.2} : 1 by the wall", local.0 / remote.0);
    println!("                         {:.2} : 1 by the busier thread", local.1 / remote.1);
    if std::env::args().any(|argument| argument == "--json") {
        print_json(messages, commands, remote, local);
    }
    one.end();
    two.end();
}

/// One way, as fast as the link takes them.
fn messages(one: &Node, two: &Node, link: &Link, seconds: Duration, bytes: usize) -> (f64, f64) {
    let before = (one.cpu(), two.cpu());
    let began = Instant::now();
    ENDED.store(false, Ordering::Relaxed);
    let (link, message) = (link.clone(), Bytes::from(vec![7; bytes]));
    let sender = one.runtime.spawn(async move {
        while !ENDED.load(Ordering::Relaxed) {
            for _ in 0..256 {
                link.send(Class::Commands, message.clone()).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    pause(seconds);
    let count = two.host.messages.load(Ordering::Relaxed) as f64;
    let (cpu, took) = ((one.cpu() - before.0, two.cpu() - before.1), began.elapsed());
    ENDED.store(true, Ordering::Relaxed);
    one.runtime.block_on(sender).unwrap();
    let rate = rates(count, took, cpu);
    println!(
        "messages of {bytes} B/s one way: {:.0} by the wall, {:.0} by the busier thread",
        rate.0, rate.1
    );
    let each = |cpu: Duration| cpu.as_nanos() as f64 / count;
    println!(
        "  processor per message: {:.0} ns sending, {:.0} ns receiving",
        each(cpu.0),
        each(cpu.1)
    );
    rate
}

/// Asks over the link, so many in flight: per second by the wall and by the
/// busier thread.
fn remote_asks(one: &Node, two: &Node, link: &Link, time: Duration, in_flight: u64) -> (f64, f64) {
    let answered = Arc::new(AtomicU64::new(0));
    ENDED.store(false, Ordering::Relaxed);
    let asker = || {
        let (link, answered) = (link.clone(), answered.clone());
        async move {
            let body = Bytes::from_static(&[7; 61]);
            while !ENDED.load(Ordering::Relaxed) {
                link.ask(Class::Commands, body.clone(), LIMIT).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let before = (one.cpu(), two.cpu(), answered.load(Ordering::Relaxed));
    let began = Instant::now();
    let askers: Vec<_> = (0..in_flight).map(|_| one.runtime.spawn(asker())).collect();
    pause(time);
    let count = (answered.load(Ordering::Relaxed) - before.2) as f64;
    let (cpu, took) = ((one.cpu() - before.0, two.cpu() - before.1), began.elapsed());
    ENDED.store(true, Ordering::Relaxed);
    askers.into_iter().for_each(|asker| one.runtime.block_on(asker).unwrap());
    let rate = rates(count, took, cpu);
    println!(
        "asks/s over the link, {in_flight} in flight: {:.0} by the wall, {:.0} by the busier thread",
        rate.0, rate.1
    );
    rate
}

/// The same asks over a bounded channel to another thread.
fn local_asks(time: Duration, in_flight: u64) -> (f64, f64) {
    type LocalAsk = (Bytes, oneshot::Sender<Bytes>);
    let (ask, mut asks) = tokio::sync::mpsc::channel::<LocalAsk>(4_096);
    let answerer = std::thread::spawn(move || {
        let before = thread_cpu();
        runtime().block_on(async {
            while let Some((body, answer)) = asks.recv().await {
                let _ = answer.send(body);
            }
        });
        thread_cpu() - before
    });
    ENDED.store(false, Ordering::Relaxed);
    let asking = std::thread::spawn(move || {
        let (before, mut count) = (thread_cpu(), 0);
        runtime().block_on(async {
            let asker = |ask: tokio::sync::mpsc::Sender<LocalAsk>| async move {
                let (body, mut count) = (Bytes::from_static(&[7; 61]), 0u64);
                while !ENDED.load(Ordering::Relaxed) {
                    let (sender, answer) = oneshot::channel();
                    ask.send((body.clone(), sender)).await.unwrap();
                    answer.await.unwrap();
                    count += 1;
                }
                count
            };
            let askers: Vec<_> = (0..in_flight).map(|_| tokio::spawn(asker(ask.clone()))).collect();
            drop(ask);
            for asker in askers {
                count += asker.await.unwrap();
            }
        });
        (thread_cpu() - before, count)
    });
    let began = Instant::now();
    pause(time);
    ENDED.store(true, Ordering::Relaxed);
    let (asking, count) = asking.join().unwrap();
    let took = began.elapsed();
    let rate = rates(count as f64, took, (asking, answerer.join().unwrap()));
    println!(
        "asks/s over a channel, {in_flight} in flight: {:.0} by the wall, {:.0} by the busier thread",
        rate.0, rate.1
    );
    rate
}

/// In one line, the last.
fn print_json(
    messages: (f64, f64),
    commands: (f64, f64),
    remote_asks: (f64, f64),
    local_asks: (f64, f64),
) {
    let rate = |(wall, cpu): (f64, f64)| serde_json::json!({ "wall": wall, "cpu": cpu });
    let figures = serde_json::json!({
        "messages": rate(messages),
        "commands": rate(commands),
        "remote_asks": rate(remote_asks),
        "local_asks": rate(local_asks),
    });
    println!("{figures}");
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().expect("a whole number"))
}
