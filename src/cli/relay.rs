//! `starmesh relay`: a network that is worse than it is, between two addresses.

use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;

use super::{UsageError, print};
use crate::cluster::relay::{
    Chance, Change, Config, Counters, Impairment, Limits, Relay, Step, Transport, Way, WayCounters,
};

/// Carry datagrams and streams to another address, late, with losses or not at
/// all. VALUEs are for both ways, or UP/DOWN: 40ms/10ms.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// Where clients connect to, as HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// Where it leads, as HOST:PORT.
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Only datagrams; without this and --tcp, both.
    #[arg(long, conflicts_with = "tcp")]
    udp: bool,
    /// Only streams.
    #[arg(long)]
    tcp: bool,
    /// Everything arrives so much later, as 40ms.
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    latency: Ways<Time>,
    /// And each up to so much later again.
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    jitter: Ways<Time>,
    /// So many are lost, as 1% or 0.05%; streams wait for them to come again.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    loss: Ways<Share>,
    /// So many datagrams arrive twice.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    duplicate: Ways<Share>,
    /// So many datagrams wait while others go on.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    reorder: Ways<Share>,
    /// So long they wait.
    #[arg(long, value_name = "TIME", default_value = "20ms")]
    reorder_by: Ways<Time>,
    /// Bandwidth of each client, as 10mbit, 500kbit or 1gbit.
    #[arg(long, value_name = "RATE")]
    rate: Option<Ways<Rate>>,
    /// Nothing passes from one time after the start to another, as 5s..8s; both
    /// ways, or up:5s..8s. As often as wanted.
    #[arg(long, value_name = "SPAN")]
    cut: Vec<Cut>,
    /// Decides all chance: the same seed drops the same packets of each client.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Clients at a time.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    flows: usize,
    /// End after this time; without it, at Ctrl-C.
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
}

/// Relays until its time is over or Ctrl-C; prints what it does, and then what it
/// has done.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(relay(&args))
}

async fn relay(args: &Args) -> anyhow::Result<()> {
    let (listen, target) = (resolve(&args.listen).await?, resolve(&args.to).await?);
    let mut relays = Vec::new();
    let mut listen = listen;
    for transport in args.transports() {
        let relay = Relay::start(args.config(transport, listen, target))
            .await
            .with_context(|| format!("listening on {listen}"))?;
        // Where a free port was asked for, both are to have the same.
        listen = relay.address();
        print(&format!("{} {listen} -> {target}, seed {}\n", name(transport), args.seed))?;
        relays.push((transport, relay));
    }
    print(&args.to_text())?;
    let scripts: Vec<_> = relays.iter().map(|(_, relay)| relay.control().clone()).collect();
    let scripts = scripts.into_iter().map(|control| {
        let script = args.script();
        tokio::spawn(async move { control.play(script).await })
    });
    let scripts: Vec<_> = scripts.collect();
    tokio::select! {
        done = tokio::signal::ctrl_c() => done.context("waiting for Ctrl-C")?,
        () = over(args.duration) => {}
    }
    scripts.iter().for_each(tokio::task::JoinHandle::abort);
    for (transport, relay) in relays {
        print(&counters(transport, &relay.stop().await))?;
    }
    Ok(())
}

async fn over(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

async fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let wrong = |why: String| UsageError(format!("`{address}`: expected HOST:PORT ({why})"));
    let mut found = tokio::net::lookup_host(address).await.map_err(|e| wrong(e.to_string()))?;
    Ok(found.next().ok_or_else(|| wrong("no such host".into()))?)
}

impl Args {
    fn transports(&self) -> Vec<Transport> {
        match (self.udp, self.tcp) {
            (true, _) => vec![Transport::Udp],
            (_, true) => vec![Transport::Tcp],
            _ => vec![Transport::Udp, Transport::Tcp],
        }
    }

    fn config(&self, transport: Transport, listen: SocketAddr, target: SocketAddr) -> Config {
        Config {
            seed: self.seed,
            up: self.impairment(Way::Up),
            down: self.impairment(Way::Down),
            limits: Limits { flows: self.flows, ..Limits::default() },
            ..Config::new(transport, listen, target)
        }
    }

    fn impairment(&self, way: Way) -> Impairment {
        Impairment {
            latency: self.latency.of(way).0,
            jitter: self.jitter.of(way).0,
            loss: self.loss.of(way).0,
            duplicate: self.duplicate.of(way).0,
            reorder: self.reorder.of(way).0,
            reorder_by: self.reorder_by.of(way).0,
            rate: self.rate.map(|rate| rate.of(way).0),
            cut: false,
        }
    }

    fn script(&self) -> Vec<Step> {
        let steps = self.cut.iter().flat_map(|cut| {
            let ways = Way::BOTH.into_iter().filter(|way| cut.way.is_none_or(|cut| cut == *way));
            ways.flat_map(|way| {
                let (begin, end) = (cut.begin, cut.end);
                [(begin, Change::Cut), (end, Change::Heal)].map(|(at, change)| Step {
                    at,
                    way,
                    change,
                })
            })
        });
        steps.collect()
    }

    /// What is done to what passes.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for way in Way::BOTH {
            let with = self.impairment(way);
            let rate = with.rate.map_or("any".to_owned(), |rate| format!("{rate} bit/s"));
            let _ = writeln!(
                text,
                "{:<5}latency {:?} + {:?}, loss {}, twice {}, reordered {} by {:?}, rate {rate}",
                way_name(way),
                with.latency,
                with.jitter,
                percent(with.loss),
                percent(with.duplicate),
                percent(with.reorder),
                with.reorder_by,
            );
        }
        for Cut { way, begin, end } in &self.cut {
            let way = way.map_or("both ways", way_name);
            let _ = writeln!(text, "cut  {way} {begin:?}..{end:?}");
        }
        text
    }
}

fn name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    }
}

fn way_name(way: Way) -> &'static str {
    match way {
        Way::Up => "up",
        Way::Down => "down",
    }
}

fn percent(chance: Chance) -> String {
    let (whole, part) = (chance.parts() / 10_000, chance.parts() % 10_000);
    let text = format!("{whole}.{part:04}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn counters(transport: Transport, counters: &Counters) -> String {
    let mut text = format!(
        "{}: {} flows, {} refused\n",
        name(transport),
        counters.flows_opened,
        counters.flows_refused
    );
    for (way, counted) in [(Way::Up, counters.up), (Way::Down, counters.down)] {
        let WayCounters { received, received_bytes, delivered, delivered_bytes, .. } = counted;
        let WayCounters { lost, duplicated, reordered, cut, full, .. } = counted;
        let _ = writeln!(
            text,
            "{:<5}received {received} ({received_bytes} B), delivered {delivered} \
             ({delivered_bytes} B), lost {lost}, twice {duplicated}, reordered {reordered}, \
             cut {cut}, full {full}",
            way_name(way)
        );
    }
    text
}

/// A value for each way: the same, or UP/DOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways<T> {
    up: T,
    down: T,
}

impl<T: Copy> Ways<T> {
    fn of(self, way: Way) -> T {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

impl<T: FromStr + Copy> FromStr for Ways<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Ways<T>, T::Err> {
        match text.split_once('/') {
            Some((up, down)) => Ok(Ways { up: up.parse()?, down: down.parse()? }),
            None => text.parse().map(|both| Ways { up: both, down: both }),
        }
    }
}

/// `40ms`, `5s` or `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time(Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        time(text).map(Time)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}`: expected a whole number with ms, s or m, as 40ms");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    // A year is more than anybody waits, and no clock's arithmetic overflows.
    let within = number.checked_mul(ms).filter(|ms| *ms <= 366 * 86_400_000);
    within.map(Duration::from_millis).ok_or_else(wrong)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..at].parse().ok()?, &text[at..]))
}

/// `1%`, `0.05%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share(Chance);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let wrong =
            || format!("`{text}`: expected 0% to 100%, with at most four decimals, as 0.5%");
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| {
            text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten()
        };
        let decimals =
            u32::try_from(part.len()).ok().filter(|count| *count <= 4).ok_or_else(wrong)?;
        let part = digits(part).ok_or_else(wrong)? * 10_u32.pow(4 - decimals);
        let whole = digits(whole).filter(|whole| *whole <= 100).ok_or_else(wrong)?;
        let parts = whole * 10_000 + part;
        if parts > 1_000_000 { Err(wrong()) } else { Ok(Share(Chance::per_million(parts))) }
    }
}

/// `10mbit`, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(NonZeroU64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("`{text}`: expected a rate above 0 as 500kbit, 10mbit or 1gbit");
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let bits: u64 = match unit {
            "bit" => 1,
            "kbit" => 1_000,
            "mbit" => 1_000_000,
            "gbit" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        let rate = number.checked_mul(bits).and_then(NonZeroU64::new);
        rate.map(Rate).ok_or_else(wrong)
    }
}

/// `5s..8s`, `up:5s..8s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Both without.
    way: Option<Way>,
    begin: Duration,
    end: Duration,
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Cut, String> {
        let wrong = || format!("`{text}`: expected a span as 5s..8s, up:5s..8s or down:5s..8s");
        let (way, span) = match text.split_once(':') {
            Some(("up", span)) => (Some(Way::Up), span),
            Some(("down", span)) => (Some(Way::Down), span),
            Some(_) => return Err(wrong()),
            None => (None, text),
        };
        let (begin, end) = span.split_once("..").ok_or_else(wrong)?;
        let (begin, end) = (time(begin)?, time(end)?);
        if begin < end { Ok(Cut { way, begin, end }) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests;
