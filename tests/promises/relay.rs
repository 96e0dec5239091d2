//! The relay does to packets and streams what it says, and nothing else. Only
//! lower bounds of time are looked at; everything else waits for counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use starmesh::cluster::relay::impair::{Fate, Line};
use starmesh::cluster::relay::{
    Chance, Change, Config, Control, Counters, Impairment, Limits, Relay, Step, Transport, Way,
};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const HOUR: Duration = Duration::from_secs(3600);

/// Until `is` says so of what was counted; a test that waits for ever is ended by
/// whoever runs it.
async fn until(control: &Control, is: impl Fn(&Counters) -> bool) -> Counters {
    loop {
        let counters = control.counters();
        if is(&counters) {
            return counters;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn udp() -> UdpSocket {
    UdpSocket::bind(LOOPBACK).await.expect("a port")
}

/// A relay of datagrams to `target`.
async fn relay_to(target: &UdpSocket, change: impl FnOnce(&mut Config)) -> Relay {
    let target = target.local_addr().expect("bound");
    let mut config = Config::new(Transport::Udp, LOOPBACK, target);
    change(&mut config);
    Relay::start(config).await.expect("a free port")
}

/// Sends 0, 1, 2, … as datagrams, each when the relay has the one before, so that
/// no buffer of the system overflows.
async fn send_numbered(client: &UdpSocket, relay: &Relay, count: u64) {
    let before = relay.control().counters().up.received;
    for n in 0..count {
        client.send_to(&n.to_be_bytes(), relay.address()).await.expect("sent");
        until(relay.control(), |counters| counters.up.received > before + n).await;
    }
}

async fn receive_number(socket: &UdpSocket) -> (u64, SocketAddr) {
    let mut bytes = [0; 64];
    let (length, from) = socket.recv_from(&mut bytes).await.expect("received");
    (u64::from_be_bytes(bytes[..length].try_into().expect("a number")), from)
}

async fn receive_numbers(socket: &UdpSocket, count: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(receive_number(socket).await.0);
    }
    numbers
}

/// What a seed does to the first datagrams of the first flow.
fn fates(seed: u64, with: &Impairment, count: u64) -> Vec<Fate> {
    let mut line = Line::new(seed, Way::Up, 0);
    (0..count).map(|_| line.datagram(with, Duration::ZERO, 8)).collect()
}

#[tokio::test]
async fn datagrams_pass_both_ways_and_answers_find_their_client() {
    let (target, clients) = (udp().await, [udp().await, udp().await, udp().await]);
    let relay = relay_to(&target, |_| ()).await;
    for (n, client) in (0_u64..).zip(&clients) {
        client.send_to(&n.to_be_bytes(), relay.address()).await.expect("sent");
    }
    for _ in &clients {
        let (n, flow) = receive_number(&target).await;
        target.send_to(&(n + 100).to_be_bytes(), flow).await.expect("sent");
    }
    for (n, client) in (0_u64..).zip(&clients) {
        assert_eq!(receive_number(client).await, (n + 100, relay.address()));
    }
    let counters = until(relay.control(), |counters| counters.down.delivered == 3).await;
    assert_eq!((counters.flows_opened, counters.up.received, counters.up.delivered), (3, 3, 3));
    assert_eq!((counters.up.received_bytes, counters.down.delivered_bytes), (24, 24));
}

#[tokio::test]
async fn no_datagram_arrives_before_its_latency() {
    let (latency, jitter) = (Duration::from_millis(20), Duration::from_millis(5));
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |config| {
        config.up = Impairment { latency, jitter, ..Impairment::default() };
        config.down = Impairment { latency: 2 * latency, ..Impairment::default() };
    })
    .await;
    for n in 0..10_u64 {
        let began = Instant::now();
        client.send_to(&n.to_be_bytes(), relay.address()).await.expect("sent");
        let (_, flow) = receive_number(&target).await;
        assert!(began.elapsed() >= latency);
        let began = Instant::now();
        target.send_to(&n.to_be_bytes(), flow).await.expect("sent");
        receive_number(&client).await;
        assert!(began.elapsed() >= 2 * latency);
    }
}

#[tokio::test]
async fn the_same_seed_drops_the_same_datagrams() {
    let with = Impairment { loss: Chance::percent(30), ..Impairment::default() };
    for seed in [1, 2] {
        let expected: Vec<u64> = (0..)
            .zip(fates(seed, &with, 200))
            .filter(|(_, fate)| *fate != Fate::Lost)
            .map(|(n, _)| n)
            .collect();
        assert!((100..180).contains(&expected.len()), "seed {seed}: {}", expected.len());
        for _ in 0..2 {
            let (target, client) = (udp().await, udp().await);
            let relay = relay_to(&target, |config| (config.seed, config.up) = (seed, with)).await;
            let receive = receive_numbers(&target, expected.len() as u64);
            let ((), received) = tokio::join!(send_numbered(&client, &relay, 200), receive);
            assert_eq!(received, expected, "seed {seed}");
            let lost = until(relay.control(), |c| c.up.delivered + c.up.lost == 200).await.up.lost;
            assert_eq!(lost, 200 - expected.len() as u64);
        }
    }
}

#[tokio::test]
async fn datagrams_are_doubled_as_often_as_told() {
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |config| config.up.duplicate = Chance::ALWAYS).await;
    let (mut received, ()) =
        tokio::join!(receive_numbers(&target, 40), send_numbered(&client, &relay, 20));
    received.sort_unstable();
    assert_eq!(received, (0..20).flat_map(|n| [n, n]).collect::<Vec<_>>());
    assert_eq!(relay.control().counters().up.duplicated, 20);
}

#[tokio::test]
async fn what_is_reordered_is_overtaken_and_the_rest_stays_in_order() {
    let with =
        Impairment { reorder: Chance::percent(30), reorder_by: HOUR, ..Impairment::default() };
    let is_late = |fate: &Fate| matches!(fate, Fate::Arrives { is_late: true, .. });
    let in_time: Vec<u64> = (0..)
        .zip(fates(5, &with, 100))
        .filter(|(_, fate)| !is_late(fate))
        .map(|(n, _)| n)
        .collect();
    assert!((50..90).contains(&in_time.len()));
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |config| (config.seed, config.up) = (5, with)).await;
    let receive = receive_numbers(&target, in_time.len() as u64);
    let (received, ()) = tokio::join!(receive, send_numbered(&client, &relay, 100));
    assert_eq!(received, in_time);
    assert_eq!(relay.control().counters().up.reordered, 100 - in_time.len() as u64);
}

#[tokio::test]
async fn a_way_that_is_cut_drops_and_the_other_goes_on() {
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |_| ()).await;
    send_numbered(&client, &relay, 1).await;
    let (_, flow) = receive_number(&target).await;

    relay.control().change(Way::Up, Change::Cut);
    send_numbered(&client, &relay, 10).await;
    target.send_to(&7_u64.to_be_bytes(), flow).await.expect("sent");
    assert_eq!(receive_number(&client).await.0, 7, "down is not cut");
    let counters = until(relay.control(), |counters| counters.up.cut == 10).await;
    assert_eq!(counters.up.delivered, 1);

    relay.control().change(Way::Up, Change::Heal);
    client.send_to(&99_u64.to_be_bytes(), relay.address()).await.expect("sent");
    assert_eq!(receive_number(&target).await.0, 99, "and nothing of what was cut");
}

#[tokio::test]
async fn what_is_on_its_way_when_it_is_cut_is_gone() {
    let (target, client) = (udp().await, udp().await);
    let latency = Duration::from_millis(300);
    let relay = relay_to(&target, |config| config.up.latency = latency).await;
    // A cut before any of them can have arrived.
    let began = Instant::now();
    client.send_to(&1_u64.to_be_bytes(), relay.address()).await.expect("sent");
    until(relay.control(), |counters| counters.up.received == 1).await;
    relay.control().cut();
    if began.elapsed() < latency {
        let counters = until(relay.control(), |c| c.up.cut + c.up.delivered == 1).await;
        assert_eq!((counters.up.cut, counters.up.delivered), (1, 0));
    }
}

#[tokio::test]
async fn a_script_cuts_and_heals() {
    let target = udp().await;
    let relay = relay_to(&target, |_| ()).await;
    let step = |ms, change| Step { at: Duration::from_millis(ms), way: Way::Down, change };
    let slow = Impairment { latency: HOUR, ..Impairment::default() };
    relay.control().play(vec![step(20, Change::Set(slow)), step(10, Change::Cut)]).await;
    assert_eq!(relay.control().impairment(Way::Down), slow);
    relay.control().play(vec![step(0, Change::Cut)]).await;
    assert!(relay.control().impairment(Way::Down).cut);
    assert!(!relay.control().impairment(Way::Up).cut);
}

#[tokio::test]
async fn a_full_queue_drops_what_does_not_fit() {
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |config| {
        config.limits = Limits { packets: 4, ..Limits::default() };
        config.up.latency = HOUR;
    })
    .await;
    send_numbered(&client, &relay, 10).await;
    let counters = until(relay.control(), |counters| counters.up.full == 6).await;
    assert_eq!((counters.up.received, counters.up.delivered), (10, 0));
}

#[tokio::test]
async fn clients_beyond_the_bound_are_refused_and_the_others_served() {
    let (target, first, second) = (udp().await, udp().await, udp().await);
    let relay = relay_to(&target, |config| config.limits.flows = 1).await;
    send_numbered(&first, &relay, 1).await;
    send_numbered(&second, &relay, 1).await;
    first.send_to(&5_u64.to_be_bytes(), relay.address()).await.expect("sent");
    assert_eq!(receive_numbers(&target, 2).await, [0, 5]);
    let counters = relay.control().counters();
    assert_eq!((counters.flows_opened, counters.flows_refused), (1, 1));
}

#[tokio::test]
async fn an_idle_flow_ends_and_its_client_may_come_again() {
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |config| config.limits.idle = Duration::from_millis(30)).await;
    for flows in 1..=2_u64 {
        client.send_to(&flows.to_be_bytes(), relay.address()).await.expect("sent");
        assert_eq!(receive_number(&target).await.0, flows);
        let counters = until(relay.control(), |counters| counters.flows_closed == flows).await;
        assert_eq!(counters.flows_opened, flows);
    }
}

#[tokio::test]
async fn nothing_goes_faster_than_the_rate() {
    let (target, client) = (udp().await, udp().await);
    // 8 bytes take 20 ms.
    let rate = NonZeroU64::new(3_200);
    let relay = relay_to(&target, |config| config.up.rate = rate).await;
    let began = Instant::now();
    let (received, ()) =
        tokio::join!(receive_numbers(&target, 10), send_numbered(&client, &relay, 10));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(received, (0..10).collect::<Vec<_>>());
}

async fn read_some(stream: &TcpStream) -> Vec<u8> {
    let mut chunk = vec![0; 4096];
    loop {
        stream.readable().await.expect("open");
        match stream.try_read(&mut chunk) {
            Ok(length) => return chunk[..length].to_vec(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn read_all(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let chunk = read_some(stream).await;
        if chunk.is_empty() {
            return bytes;
        }
        bytes.extend(chunk);
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        stream.writable().await.expect("open");
        match stream.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// There is no more from this end.
fn end(stream: TcpStream) -> TcpStream {
    let stream = stream.into_std().expect("a stream");
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    TcpStream::from_std(stream).expect("a stream")
}

fn bytes(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| n.wrapping_mul(0x9E37_79B1).to_be_bytes()).collect()
}

/// A relay of streams, a client of it, and what the target accepted.
async fn connected(change: impl FnOnce(&mut Config)) -> (Relay, TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
    let target = listener.local_addr().expect("bound");
    let mut config = Config::new(Transport::Tcp, LOOPBACK, target);
    change(&mut config);
    let relay = Relay::start(config).await.expect("a free port");
    let client = TcpStream::connect(relay.address()).await.expect("connected");
    let (accepted, _) = listener.accept().await.expect("accepted");
    (relay, client, accepted)
}

/// Lets every task that can run do so many times.
async fn settle() {
    let (a, b) = (udp().await, udp().await);
    for n in 0..200_u64 {
        a.send_to(&n.to_be_bytes(), b.local_addr().expect("bound")).await.expect("sent");
        receive_number(&b).await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stream_is_whole_and_in_order_whatever_happens_to_it() {
    let with = Impairment {
        jitter: Duration::from_millis(2),
        loss: Chance::percent(5),
        duplicate: Chance::ALWAYS,
        reorder: Chance::ALWAYS,
        reorder_by: Duration::from_millis(1),
        ..Impairment::default()
    };
    let (relay, client, target) = connected(|config| (config.up, config.down) = (with, with)).await;
    let sent = bytes(30_000);
    let up = async {
        write_all(&client, &sent).await;
        end(client)
    };
    let (client, received) = tokio::join!(up, read_all(&target));
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    // The client has ended its way, not the other.
    let down = async {
        write_all(&target, &sent[..50_000]).await;
        drop(end(target));
    };
    let (received, ()) = tokio::join!(read_all(&client), down);
    assert!(received == sent[..50_000]);
    let counters = until(relay.control(), |counters| counters.flows_closed == 1).await;
    assert_eq!((counters.up.delivered_bytes, counters.down.delivered_bytes), (120_000, 50_000));
}

#[tokio::test]
async fn no_byte_of_a_stream_arrives_before_its_latency() {
    let latency = Duration::from_millis(30);
    let (_relay, client, target) = connected(|config| config.up.latency = latency).await;
    for _ in 0..5 {
        let began = Instant::now();
        write_all(&client, b"x").await;
        assert_eq!(read_some(&target).await, b"x");
        assert!(began.elapsed() >= latency);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_stands_still_and_goes_on_when_healed() {
    let (relay, client, target) = connected(|_| ()).await;
    relay.control().cut();
    write_all(&client, b"held").await;
    until(relay.control(), |counters| counters.up.received_bytes == 4).await;
    settle().await;
    assert_eq!(relay.control().counters().up.delivered, 0);
    relay.control().heal();
    drop(end(client));
    assert_eq!(read_all(&target).await, b"held");
}

#[tokio::test]
async fn a_connection_that_begins_while_cut_waits_for_the_target() {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
    let target = listener.local_addr().expect("bound");
    let mut config = Config::new(Transport::Tcp, LOOPBACK, target);
    config.down.cut = true;
    let relay = Relay::start(config).await.expect("a free port");
    let _client = TcpStream::connect(relay.address()).await.expect("the relay accepts");
    until(relay.control(), |counters| counters.flows_opened == 1).await;
    let mut accepting = std::pin::pin!(listener.accept());
    tokio::select! {
        _ = &mut accepting => panic!("nothing passes"),
        () = settle() => {}
    }
    relay.control().heal();
    accepting.await.expect("accepted");
}

#[tokio::test]
async fn who_does_not_read_is_felt_by_who_writes_and_costs_bounded_memory() {
    const HELD: u64 = 64 * 1024 + 16 * 1024;
    let (relay, client, target) = connected(|config| config.limits.bytes = 64 * 1024).await;
    let control = relay.control().clone();
    let sent = bytes(8 << 20);
    let waiting = |c: &Counters| c.up.received_bytes - c.up.delivered_bytes;
    let written = std::sync::atomic::AtomicBool::new(false);
    let write = async {
        write_all(&client, &sent).await;
        written.store(true, std::sync::atomic::Ordering::Relaxed);
        end(client)
    };
    let read = async {
        let counters = until(&control, |counters| waiting(counters) >= 64 * 1024).await;
        settle().await;
        assert!(!written.load(std::sync::atomic::Ordering::Relaxed), "32 MiB went nowhere");
        assert!(waiting(&counters) <= HELD && waiting(&control.counters()) <= HELD);
        read_all(&target).await
    };
    let (_client, received) = tokio::join!(write, read);
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
}

#[tokio::test]
async fn a_target_that_is_not_there_ends_the_clients_connection() {
    let gone = TcpListener::bind(LOOPBACK).await.expect("a port").local_addr().expect("bound");
    let relay = Relay::start(Config::new(Transport::Tcp, LOOPBACK, gone)).await.expect("a port");
    let client = TcpStream::connect(relay.address()).await.expect("the relay accepts");
    assert_eq!(read_all(&client).await, b"");
    assert_eq!(relay.control().counters().flows_refused, 1);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed() {
    let (relay, _client, _target) = connected(|config| config.limits.flows = 1).await;
    let second = TcpStream::connect(relay.address()).await.expect("the relay accepts");
    assert_eq!(read_all(&second).await, b"");
    assert_eq!(relay.control().counters().flows_refused, 1);
}

#[tokio::test]
async fn stopping_frees_the_address_and_says_what_was_counted() {
    let (target, client) = (udp().await, udp().await);
    let relay = relay_to(&target, |_| ()).await;
    send_numbered(&client, &relay, 3).await;
    receive_numbers(&target, 3).await;
    let address = relay.address();
    assert_eq!(relay.stop().await.up.received, 3);
    let again = UdpSocket::bind(address).await;
    assert!(again.is_ok(), "{again:?}");
}
