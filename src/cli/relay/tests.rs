use clap::Parser;

use super::*;

#[derive(Parser)]
struct Call {
    #[command(flatten)]
    args: Args,
}

fn args(more: &[&str]) -> Args {
    let call = ["relay", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"];
    Call::try_parse_from(call.iter().chain(more)).map(|call| call.args).expect("a call")
}

#[test]
fn a_value_is_for_both_ways_or_for_each() {
    let both: Result<Ways<Time>, _> = "40ms".parse();
    assert_eq!(
        both,
        Ok(Ways { up: Time(Duration::from_millis(40)), down: Time(Duration::from_millis(40)) })
    );
    let each = "1%/0.05%".parse::<Ways<Share>>().expect("shares");
    assert_eq!((each.up.0.parts(), each.down.0.parts()), (10_000, 500));
}

#[test]
fn reads_shares_exactly() {
    for (text, parts) in [("0%", 0), ("100%", 1_000_000), ("12.3456%", 123_456), ("0.5%", 5_000)] {
        let share: Share = text.parse().expect(text);
        assert_eq!((share.0.parts(), percent(share.0).as_str()), (parts, text));
    }
    for wrong in ["1", "%", "101%", "100.1%", "-1%", "1.23456%", "1.%", ".5%", "+1%", "NaN%"] {
        assert!(wrong.parse::<Share>().is_err(), "{wrong}");
    }
}

#[test]
fn reads_rates_and_times_and_refuses_others() {
    assert_eq!("10mbit".parse(), Ok(Rate(NonZeroU64::new(10_000_000).expect("above 0"))));
    for wrong in ["0mbit", "10", "10MBit", "99999999999gbit", "-1kbit", ""] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
    assert_eq!(time("5s"), Ok(Duration::from_secs(5)));
    for wrong in ["5", "s", "5h", "-1s", "99999999999m", ""] {
        assert!(time(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_cut_is_two_steps_of_each_way_it_is_for() {
    let args = args(&["--cut", "5s..8s", "--cut", "up:9s..10s"]);
    let steps: Vec<_> =
        args.script().iter().map(|step| (step.at.as_secs(), step.way, step.change)).collect();
    let cut = |way, begin, end| [(begin, way, Change::Cut), (end, way, Change::Heal)];
    let expected = [cut(Way::Up, 5, 8), cut(Way::Down, 5, 8), cut(Way::Up, 9, 10)].concat();
    assert_eq!(steps, expected);
    for wrong in ["8s..5s", "5s..5s", "5s", "left:5s..8s", "5s..", "up:"] {
        assert!(wrong.parse::<Cut>().is_err(), "{wrong}");
    }
}

#[test]
fn says_what_it_does_and_has_done() {
    let args =
        args(&["--latency", "40ms/10ms", "--loss", "1%", "--rate", "10mbit", "--cut", "5s..8s"]);
    assert_eq!(
        args.to_text(),
        "up   latency 40ms + 0ns, loss 1%, twice 0%, reordered 0% by 20ms, rate 10000000 bit/s\n\
         down latency 10ms + 0ns, loss 1%, twice 0%, reordered 0% by 20ms, rate 10000000 bit/s\n\
         cut  both ways 5s..8s\n"
    );
    let text = counters(Transport::Udp, &Counters { flows_opened: 2, ..Counters::default() });
    assert!(text.starts_with("udp: 2 flows, 0 refused\nup   received 0 (0 B), "), "{text}");
}

#[test]
fn carries_one_transport_or_both() {
    assert_eq!(args(&[]).transports(), [Transport::Udp, Transport::Tcp]);
    assert_eq!(args(&["--tcp"]).transports(), [Transport::Tcp]);
}
