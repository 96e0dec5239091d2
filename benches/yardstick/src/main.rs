//! What other systems of actors carry between two nodes, beside what the links of
//! Starmesh carry, in the same run and on the same machine: small messages one
//! way, and asks, over loopback and to an actor on another thread. Each side is a
//! process with one thread; rounds go through the systems in turn, so that what
//! else the machine does is the same for all.
//!
//! `cargo run --release --locked -- --rounds 3 --seconds 3` in this folder

mod exchange;
mod kameo_peer;
mod ours;
mod ractor_peer;
mod sides;

use std::time::Duration;

use exchange::{Figures, Load};

/// What is measured, with its size of a message and asks in flight.
const LOAD: Load = Load { bytes: 61, in_flight: 750 };

/// One system, and how it is measured for so long a part.
type System = (&'static str, fn(Duration) -> Figures);

const SYSTEMS: [System; 3] = [
    ("starmesh", ours::measure),
    ("ractor_cluster", |time| sides::measure("ractor", time)),
    ("kameo", |time| sides::measure("kameo", time)),
];

fn main() {
    if let Some(side) = sides::asked_for() {
        return side.run();
    }
    let seconds = Duration::from_secs(number("--seconds", 3));
    let mut measured = vec![Vec::new(); SYSTEMS.len()];
    for round in 1..=number("--rounds", 3) {
        for ((name, measure), figures) in SYSTEMS.iter().zip(&mut measured) {
            eprintln!("round {round}: {name}");
            figures.push(measure(seconds));
        }
    }
    let middle: Vec<Figures> = measured.iter().map(|figures| Figures::median(figures)).collect();
    let Load { bytes, in_flight } = LOAD;
    println!("median of rounds; one thread a side; by the wall / by the busier thread's processor");
    println!(
        "{:<16} {:>23} {:>23} {:>23} {:>15}",
        "",
        format!("messages of {bytes} B/s"),
        format!("asks/s, {in_flight} in flight"),
        "local asks/s",
        "local : remote"
    );
    for ((name, _), it) in SYSTEMS.iter().zip(&middle) {
        println!(
            "{name:<16} {:>23} {:>23} {:>23} {:>15}",
            it.messages.to_string(),
            it.remote_asks.to_string(),
            it.local_asks.to_string(),
            it.local_asks.over(it.remote_asks)
        );
    }
    for ((name, _), it) in SYSTEMS.iter().zip(&middle).skip(1) {
        println!(
            "starmesh : {name:<16} messages {}, asks {}",
            middle[0].messages.over(it.messages),
            middle[0].remote_asks.over(it.remote_asks)
        );
    }
}

fn number(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().expect("a whole number"))
}
