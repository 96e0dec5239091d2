//! Runs a system's two sides as processes of this same program: the one that
//! answers, which ends when its standard input is closed, and the one that asks,
//! which prints its figures.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::exchange::Figures;
use crate::{LOAD, kameo_peer, number, ractor_peer};

const SIDE: &str = "--side";

/// One side of one system: `--side ractor-answers --port N`.
pub struct Side {
    name: String,
    port: u16,
}

pub fn asked_for() -> Option<Side> {
    let name = std::env::args().skip_while(|argument| argument != SIDE).nth(1)?;
    Some(Side { name, port: u16::try_from(number("--port", 0)).expect("a port") })
}

impl Side {
    pub fn run(&self) {
        let (port, time) = (self.port, Duration::from_secs(number("--seconds", 3)));
        let figures = match self.name.as_str() {
            "ractor-answers" => return ractor_peer::answer(port),
            "kameo-answers" => return kameo_peer::answer(port),
            "ractor-asks" => ractor_peer::measure(port, LOAD, time),
            "kameo-asks" => kameo_peer::measure(port, LOAD, time),
            other => panic!("no side is called {other}"),
        };
        println!("{}", serde_json::to_string(&figures).unwrap());
    }
}

pub fn measure(system: &str, time: Duration) -> Figures {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let side = |what: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([SIDE, &format!("{system}-{what}"), "--port", &port.to_string()]);
        command.args(["--seconds", &time.as_secs().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut answers = side("answers");
    let mut ready = String::new();
    BufReader::new(answers.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready.trim(), "ready", "the side that answers did not start");
    let asked = side("asks").wait_with_output().unwrap();
    answers.kill().unwrap();
    answers.wait().unwrap();
    assert!(asked.status.success(), "the side that asks failed: {}", asked.status);
    serde_json::from_slice(&asked.stdout).expect("figures")
}

/// Says that it may be asked, and waits until nobody asks any more.
pub fn serve() {
    println!("ready");
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}
