//! The client's state machine keeps its promises: each command is answered or
//! given up exactly once, a session is resumed, a gap asks for a keyframe, and
//! a keyframe that differs is told as a desync.

use starmesh::base::{EntityKey, PlayerId, SectorId, SessionId, UnitId};
use starmesh::client::commands::{ANSWER_WITHIN_MS, PUT_OFF_MS, REPEATS_MAX};
use starmesh::client::{ClientCore, CommandError, Effect, Event, GiveUp, Options, Status, Wanted};
use starmesh::protocol::blocks::{Block, Content, Happened, Packet, Seen, Update};
use starmesh::protocol::client::Empty;
use starmesh::protocol::command::{Addressee, Order};
use starmesh::protocol::server::{
    Ack, Aggregate, Connected, Error, Notice, Notification, Pong, Subscribed, TimeDilation,
};
use starmesh::protocol::{
    Answer, ClientMessage, Command, Course, EndReason, FINGERPRINT, Header, Place, Point,
    Recipients, ServerFrame, ServerMessage, UnitRecord,
};

const HERE: SectorId = SectorId::tactical(3, 4);
const PLACE: EntityKey = EntityKey::Sector(HERE);
const HANDLE: u32 = 9;

/// The only cell that is seen: the units of these tests are in it.
const CELL: u8 = 0;

fn seen(units: &[UnitRecord]) -> Vec<Seen> {
    units.iter().map(|unit| Seen { unit: *unit, speed: 0 }).collect()
}

/// A client whose server is this test.
struct Script {
    core: ClientCore,
    now: u64,
    sent: Vec<(u32, ClientMessage)>,
    told: Vec<Event>,
    opens: u32,
}

impl Script {
    fn new(reconnect: bool) -> Script {
        let core = ClientCore::new("token".into(), Options { reconnect, seed: 1 });
        Script { core, now: 1_000, sent: Vec::new(), told: Vec::new(), opens: 0 }
    }

    /// Connected as session 5 and watching [`HERE`] at tick 10.
    fn watching(units: &[UnitRecord]) -> Script {
        let mut script = Script::new(true);
        script.core.subscribe(script.now, &[HERE]);
        script.core.start(script.now);
        script.connect(5, false);
        script.subscribed(HANDLE);
        script.keyframe(HANDLE, 10, units);
        script.forget();
        script
    }

    fn connect(&mut self, session: u64, resumed: bool) {
        self.core.handle_opened(self.now);
        self.receive(
            0,
            0,
            ServerMessage::Connected(Connected {
                session: SessionId(session),
                player: PlayerId(7),
                resumed,
                node_tick: 0,
                server_time: 0,
                fingerprint: FINGERPRINT.into(),
                presence: Vec::new(),
            }),
        );
    }

    fn subscribed(&mut self, handle: u32) {
        let place = Place::sector(HERE);
        self.receive(handle, 0, ServerMessage::Subscribed(Subscribed { place }));
    }

    fn keyframe(&mut self, handle: u32, tick: u64, units: &[UnitRecord]) {
        let blocks = vec![Block { cell: CELL, content: Content::Keyframe(seen(units)) }];
        self.packet(handle, tick, Some(tick), blocks);
    }

    /// These units come into the cell, whose last block was `base` ticks ago.
    fn delta(&mut self, handle: u32, tick: u64, base: u32, units: &[UnitRecord]) {
        let happened = Happened::Columns { changes: Vec::new(), departures: Vec::new() };
        let update = Update { base, happened, appeared: seen(units) };
        let blocks = vec![Block { cell: CELL, content: Content::Update(update) }];
        self.packet(handle, tick, None, blocks);
    }

    fn packet(&mut self, handle: u32, tick: u64, full_tick: Option<u64>, blocks: Vec<Block>) {
        let mask = full_tick.map(|_| 1 << CELL);
        let packet = Packet { full_tick, scope: 0, mask, blocks };
        self.core.handle_packet(self.now, Header { handle, tick: tick as u16 }, &packet);
        self.drain();
    }

    fn answer(&mut self, sequence: u32, error: Answer) {
        self.receive(0, 0, ServerMessage::Ack(Ack::failed(sequence, 0, error)));
    }

    fn receive(&mut self, handle: u32, tick: u64, message: ServerMessage) {
        self.core.handle_frame(self.now, &ServerFrame::new(handle, tick, message));
        self.drain();
    }

    fn close(&mut self) {
        self.core.handle_closed(self.now, "cut");
        self.drain();
    }

    /// Lets time pass as a shell does: in jumps to what is due.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(due) = self.core.next_due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.core.handle_time(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn hold(&mut self) -> u32 {
        let sequence = self.core.command(self.now, PLACE, wanted(1));
        self.drain();
        sequence.expect("the session is open")
    }

    fn drain(&mut self) {
        for effect in self.core.drain_effects() {
            match effect {
                Effect::Open => self.opens += 1,
                Effect::Send(frame) => self.sent.push((frame.header.handle, frame.message)),
                Effect::Close => {}
                Effect::Tell(event) => self.told.push(event),
            }
        }
    }

    fn forget(&mut self) {
        self.drain();
        self.sent.clear();
        self.told.clear();
    }

    fn commands_sent(&self) -> Vec<Command> {
        let frames = self.sent.iter();
        frames
            .flat_map(|(handle, message)| {
                let frame = starmesh::protocol::ClientFrame::new(*handle, 0, message.clone());
                frame.commands().expect("a client's command has one addressee")
            })
            .collect()
    }

    fn sequences_sent(&self) -> Vec<u32> {
        self.commands_sent().iter().map(|command| command.sequence).collect()
    }

    fn gave_up(&self) -> Vec<(u32, GiveUp)> {
        let given_up = |event: &Event| match event {
            Event::GaveUp { command, why } => Some((command.command.sequence, why.clone())),
            _ => None,
        };
        self.told.iter().filter_map(given_up).collect()
    }

    fn desyncs(&self) -> usize {
        self.told.iter().filter(|event| matches!(event, Event::Desync { .. })).count()
    }
}

fn done(sequence: u32) -> ServerMessage {
    ServerMessage::Ack(Ack {
        success: true,
        error: None,
        effect_tick: 11,
        entity_sequence: 3,
        ..Ack::failed(sequence, 0, Answer::Busy {})
    })
}

fn wanted(unit: u64) -> Wanted {
    let recipients = Recipients::Units(vec![UnitId(unit)]);
    Wanted { recipients, order: Order::Hold {}, queue: false, predicted: None }
}

fn flying(x: i32) -> UnitRecord {
    UnitRecord {
        id: UnitId(1),
        type_id: 1,
        owner: PlayerId(7),
        hops: 0,
        position: Point { x, y: 0 },
        course: Course { vx: 100, vy: 0, steps: 50 },
        heading: 0,
        health: 65_535,
        state: 1,
    }
}

#[test]
fn sends_connect_first_and_subscribes_when_connected() {
    let mut script = Script::new(true);
    script.core.subscribe(script.now, &[HERE]);
    script.core.start(script.now);
    script.drain();
    assert_eq!((script.opens, script.sent.len()), (1, 0));
    script.connect(5, false);
    assert!(matches!(&script.sent[0].1, ClientMessage::Connect(c) if c.resume.is_none()));
    assert!(matches!(&script.sent[1].1, ClientMessage::Subscribe(_)));
    assert_eq!(script.core.session(), Some(SessionId(5)));
}

#[test]
fn repeats_an_unanswered_command_three_times_and_then_reports_it() {
    let mut script = Script::watching(&[]);
    let sequence = script.hold();
    for repeats in 0..=REPEATS_MAX {
        assert_eq!(script.commands_sent().len(), 1 + repeats as usize);
        assert_eq!(script.gave_up(), []);
        script.delta(HANDLE, 12 + 2 * u64::from(repeats), 2, &[]);
        script.pass(ANSWER_WITHIN_MS);
    }
    assert!(script.sequences_sent().iter().all(|sent| *sent == sequence));
    assert_eq!(script.gave_up(), [(sequence, GiveUp::NoAnswer)]);
    script.pass(10 * ANSWER_WITHIN_MS);
    assert_eq!(script.gave_up().len(), 1);
    script.receive(0, 0, done(sequence));
    assert!(!script.told.iter().any(|event| matches!(event, Event::Answered { .. })));
}

#[test]
fn an_answer_ends_the_repeats() {
    let mut script = Script::watching(&[]);
    let sequence = script.hold();
    script.now += 40;
    script.receive(0, 0, done(sequence));
    script.receive(0, 0, done(sequence));
    script.pass(4 * ANSWER_WITHIN_MS);
    let answered = script.told.iter().filter_map(|event| match event {
        Event::Answered { waited_ms, ack, .. } => Some((*waited_ms, ack.success)),
        _ => None,
    });
    assert_eq!(answered.collect::<Vec<_>>(), [(40, true)]);
    assert_eq!(script.commands_sent().len(), 1);
}

#[test]
fn a_refusal_is_final_and_a_limit_is_waited_for() {
    let mut script = Script::watching(&[]);
    let (refused, limited) = (script.hold(), script.hold());
    script.answer(refused, Answer::refused("immobile", "units of this type cannot move"));
    script.answer(limited, Answer::Limited { after_ms: 700 });
    script.forget();
    script.pass(699);
    assert_eq!(script.sequences_sent(), Vec::<u32>::new());
    script.pass(1);
    assert_eq!(script.sequences_sent(), [limited]);
}

#[test]
fn busy_is_tried_again_later_and_given_up_in_the_end() {
    let mut script = Script::watching(&[]);
    let sequence = script.hold();
    for _ in 0..PUT_OFF_MS / 2_000 {
        script.answer(sequence, Answer::Busy {});
        assert_eq!(script.gave_up(), []);
        script.pass(2_000);
    }
    assert_eq!(script.sequences_sent(), [sequence; 7]);
    script.answer(sequence, Answer::Busy {});
    assert_eq!(script.gave_up(), [(sequence, GiveUp::PutOff(Answer::Busy {}))]);
}

#[test]
fn attach_again_sends_what_waits_for_the_place_in_order() {
    let mut script = Script::watching(&[]);
    let all: Vec<u32> = (0..3).map(|_| script.hold()).collect();
    script.forget();
    script.answer(all[0], Answer::AttachAgain {});
    assert_eq!(script.sequences_sent(), all);
}

#[test]
fn nothing_is_given_up_while_time_stands_still() {
    let mut script = Script::watching(&[]);
    let sequence = script.hold();
    let notice = |notice| ServerMessage::Notification(Notification { notice });
    for _ in 0..20 {
        script.receive(0, 0, notice(Notice::StoreAway {}));
        script.pass(4_000);
    }
    assert_eq!((script.gave_up(), script.commands_sent().len()), (Vec::new(), 1));
    script.receive(0, 0, notice(Notice::StoreBack {}));
    script.pass(ANSWER_WITHIN_MS);
    assert_eq!(script.sequences_sent(), [sequence, sequence]);
}

#[test]
fn refuses_the_33rd_unanswered_command_to_a_place() {
    let mut script = Script::watching(&[]);
    for _ in 0..32 {
        script.hold();
    }
    let next = script.core.command(script.now, PLACE, wanted(1));
    assert_eq!(next, Err(CommandError::Full));
}

#[test]
fn a_batch_is_one_message_whose_commands_are_answered_and_repeated_one_by_one() {
    let mut script = Script::watching(&[]);
    let sequences = script.core.batch(script.now, PLACE, vec![wanted(1), wanted(2)]);
    script.drain();
    assert_eq!(sequences, Ok(vec![1, 2]));
    assert_eq!((script.sent.len(), script.sequences_sent()), (1, vec![1, 2]));
    script.receive(0, 0, done(1));
    script.forget();
    script.pass(ANSWER_WITHIN_MS);
    assert_eq!(script.sequences_sent(), [2]);
}

#[test]
fn resumes_the_session_and_sends_what_is_unanswered_again_to_the_same_entity() {
    let mut script = Script::watching(&[]);
    let (first, second) = (script.hold(), script.hold());
    assert!(script.commands_sent().iter().all(|c| c.to == Addressee::Handle(HANDLE)));
    script.receive(0, 0, done(first));
    script.close();
    let refused = script.core.command(script.now, PLACE, wanted(1));
    assert_eq!(refused, Err(CommandError::NotConnected));
    script.forget();
    script.pass(5_000);
    assert_eq!(script.opens, 2);
    script.connect(5, true);
    assert!(
        matches!(&script.sent[0].1, ClientMessage::Connect(c) if c.resume == Some(SessionId(5)))
    );
    let again = script.commands_sent();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].sequence, again[0].to), (second, Addressee::Place(Place::sector(HERE))));
    assert_eq!(script.hold(), second + 1);
}

#[test]
fn a_session_that_cannot_be_resumed_gives_up_what_waited_and_counts_from_one() {
    let mut script = Script::watching(&[]);
    let waiting = script.hold();
    script.close();
    script.pass(5_000);
    script.connect(6, false);
    assert_eq!(script.gave_up(), [(waiting, GiveUp::SessionLost)]);
    assert_eq!(script.hold(), 1);
}

#[test]
fn a_superseded_session_does_not_come_back() {
    let mut script = Script::watching(&[]);
    let answer = Answer::SessionEnded { reason: EndReason::Superseded };
    script.receive(0, 0, ServerMessage::Error(Error { regarding: None, answer }));
    script.close();
    script.pass(60_000);
    assert_eq!((script.core.status(), script.opens), (Status::Ended, 1));
}

#[test]
fn without_reconnect_a_closed_connection_is_the_end() {
    let mut script = Script::new(false);
    script.core.start(script.now);
    script.connect(5, false);
    script.close();
    assert_eq!(script.core.status(), Status::Ended);
    assert_eq!(script.core.last_error(), Some("cut"));
}

#[test]
fn a_silent_server_is_asked_and_then_left() {
    let mut script = Script::watching(&[]);
    script.pass(6_000);
    assert!(matches!(script.sent[..], [(0, ClientMessage::Ping(_))]));
    script.pass(10_000);
    assert!(script.told.iter().any(|event| matches!(event, Event::Disconnected { .. })));
}

#[test]
fn a_gap_asks_once_for_a_keyframe_and_again_when_none_comes() {
    let mut script = Script::watching(&[flying(0)]);
    script.delta(HANDLE, 16, 2, &[]);
    script.delta(HANDLE, 18, 2, &[]);
    let asked = |script: &Script| {
        let asks = script.sent.iter().filter(|(handle, message)| {
            *handle == HANDLE && matches!(message, ClientMessage::KeyframeRequest(_))
        });
        asks.count()
    };
    assert_eq!(asked(&script), 1);
    script.pass(3_000);
    assert_eq!(asked(&script), 2);
    script.keyframe(HANDLE, 50, &[flying(5)]);
    script.pass(3_000);
    assert_eq!((asked(&script), script.desyncs()), (2, 0));
}

#[test]
fn a_rebuilt_state_that_equals_the_keyframe_is_no_desync() {
    let mut script = Script::watching(&[flying(0)]);
    script.delta(HANDLE, 12, 2, &[]);
    script.delta(HANDLE, 15, 3, &[flying(7)]);
    script.delta(HANDLE, 18, 3, &[]);
    script.keyframe(
        HANDLE,
        18,
        &[UnitRecord { course: Course { vx: 100, vy: 0, steps: 48 }, ..flying(207) }],
    );
    assert_eq!(script.desyncs(), 0);
}

#[test]
fn a_keyframe_one_step_off_is_a_desync() {
    let mut script = Script::watching(&[flying(0)]);
    script.delta(HANDLE, 12, 2, &[]);
    script.keyframe(
        HANDLE,
        12,
        &[UnitRecord { course: Course { vx: 100, vy: 0, steps: 49 }, ..flying(101) }],
    );
    assert_eq!(script.desyncs(), 1);
}

#[test]
fn a_place_named_again_is_begun_anew_and_not_compared() {
    let mut script = Script::watching(&[flying(0)]);
    script.subscribed(HANDLE);
    script.keyframe(HANDLE, 40, &[]);
    assert_eq!((script.desyncs(), script.core.view(PLACE).and_then(|v| v.tick())), (0, Some(40)));
}

#[test]
fn a_place_that_was_taken_back_or_not_given_is_asked_for_again() {
    let subscribes = |script: &Script| {
        let sent = script.sent.iter();
        sent.filter(|(_, message)| matches!(message, ClientMessage::Subscribe(_))).count()
    };
    let mut script = Script::watching(&[flying(0)]);
    script.receive(HANDLE, 0, ServerMessage::Unsubscribed(Empty {}));
    script.pass(3_000);
    assert_eq!(subscribes(&script), 1);
    script.delta(HANDLE, 12, 2, &[]);
    script.pass(3_000);
    assert_eq!(subscribes(&script), 2);
    script.subscribed(HANDLE);
    script.pass(4_000);
    assert_eq!(subscribes(&script), 2);
}

#[test]
fn a_place_that_was_left_before_it_was_given_is_given_back() {
    let mut script = Script::new(true);
    script.core.subscribe(script.now, &[HERE]);
    script.core.start(script.now);
    script.connect(5, false);
    script.core.unsubscribe(PLACE);
    script.drain();
    script.forget();
    script.subscribed(HANDLE);
    assert_eq!(script.sent, [(HANDLE, ClientMessage::Unsubscribe(Empty {}))]);
}

#[test]
fn a_round_trip_is_measured_when_asked_for() {
    let mut script = Script::watching(&[]);
    let time = script.now;
    script.core.ping(time);
    script.pass(30);
    script.receive(0, 0, ServerMessage::Pong(Pong { time, server_time: 0 }));
    assert!(script.told.contains(&Event::RoundTrip { ms: 30 }), "{:?}", script.told);
}

#[test]
fn messages_under_a_handle_of_an_earlier_connection_are_not_applied() {
    let mut script = Script::watching(&[flying(0)]);
    script.close();
    script.pass(5_000);
    script.connect(5, true);
    script.keyframe(HANDLE, 12, &[flying(1)]);
    assert!(script.core.view(PLACE).is_some_and(|view| view.tick().is_none()));
    script.subscribed(HANDLE + 1);
    script.keyframe(HANDLE + 1, 14, &[flying(1)]);
    assert!(script.core.view(PLACE).is_some_and(|view| view.tick() == Some(14)));
}

#[test]
fn how_fast_a_place_is_is_told() {
    let mut script = Script::watching(&[]);
    let slow = ServerMessage::TimeDilation(TimeDilation { percent: 40 });
    script.receive(HANDLE, 20, slow.clone());
    assert_eq!(std::mem::take(&mut script.told), [Event::Dilated { place: PLACE, percent: 40 }]);
    // A handle that was never given.
    script.receive(HANDLE + 1, 20, slow);
    assert_eq!(script.told, []);
}

#[test]
fn what_goes_on_in_a_large_sector_is_kept_until_the_next_word() {
    let mut script = Script::watching(&[]);
    let about = |unit_count| Aggregate {
        unit_count,
        resource_density: 500,
        activity_level: 1,
        last_update: 7,
        as_of: 8,
        children: Vec::new(),
    };
    let told = vec![Event::Aggregated { place: PLACE }];
    for unit_count in [300, 400] {
        script.receive(HANDLE, 20, ServerMessage::Aggregate(about(unit_count)));
        assert_eq!(std::mem::take(&mut script.told), told);
        assert_eq!(script.core.aggregate(PLACE), Some(&about(unit_count)));
    }
    // A handle that was never given.
    script.receive(HANDLE + 1, 20, ServerMessage::Aggregate(about(5)));
    assert_eq!((script.told.len(), script.core.aggregate(PLACE)), (0, Some(&about(400))));
}
