//! Owns the tasks of a link: one that writes and one that reads for each class,
//! one for datagrams, one for the time limits of asks. Ends with the first of
//! them. Invariant: a class whose arrivals are not handled is not read on, and
//! holds up no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::task::JoinSet;

use super::Host;
use super::ask::AskError;
use super::class::{Class, PerClass};
use super::end::End;
use super::frame::{Decoder, Frame, FrameError, Kind};
use super::link::{Arrival, Link, malformed};
use super::question::Question;
use super::status::add;
use super::{Reason, hello};

/// A stream each way.
pub(super) type Stream = (SendStream, RecvStream);

/// Pieces of a stream that are taken at a time.
const PIECES: usize = 32;
/// Datagrams handed over at a time.
const DATAGRAMS: usize = 64;
/// How exact the time limits of asks are.
const EXPIRY: Duration = Duration::from_millis(50);

/// Works until the link ends; why it did.
pub(super) async fn run(link: &Link, streams: PerClass<Stream>, host: &Arc<dyn Host>) -> End {
    let mut tasks = JoinSet::new();
    let PerClass { control, commands, bulk } = streams;
    let streams = [(Class::Control, control), (Class::Commands, commands), (Class::Bulk, bulk)];
    for (class, (send, receive)) in streams {
        // It is open, and fails with the connection only.
        let _ = send.set_priority(class.priority());
        tasks.spawn(write(link.clone(), class, send));
        tasks.spawn(read(link.clone(), class, receive, host.clone()));
    }
    tasks.spawn(read_datagrams(link.clone(), host.clone()));
    tasks.spawn(expire_asks(link.clone()));
    let end = match tasks.join_next().await {
        Some(Ok(end)) => link.why(end),
        Some(Err(error)) => End::us(Reason::Unknown, format!("a task of the link failed: {error}")),
        None => End::us(Reason::Unknown, "no task"),
    };
    link.close(end.clone());
    link.end();
    // Nothing is delivered after this.
    tasks.shutdown().await;
    end
}

async fn write(link: Link, class: Class, mut stream: SendStream) -> End {
    let outbox = &link.0.outboxes[class];
    let mut pieces = Vec::new();
    while let Some(taken) = outbox.take(&mut pieces).await {
        if let Err(error) = stream.write_all_chunks(&mut pieces).await {
            return of_write(&error);
        }
        pieces.clear();
        outbox.handle_written(taken);
        link.0.counters.sent(class, taken);
    }
    // Closed by whoever ended the link.
    End::from(&link.0.connection.closed().await)
}

async fn read(link: Link, class: Class, mut stream: RecvStream, host: Arc<dyn Host>) -> End {
    let mut decoder = Decoder::new(link.0.limits.classes[class].message_max);
    let mut pieces: [Bytes; PIECES] = Default::default();
    let mut frames = Vec::new();
    loop {
        let count = match stream.read_chunks(&mut pieces).await {
            Ok(Some(count)) => count,
            Ok(None) => return malformed(format!("the stream of {class} ended")),
            Err(error) => return of_read(&error),
        };
        let mut bytes = 0;
        let mut broken = None;
        for piece in &mut pieces[..count] {
            bytes += piece.len();
            // What comes behind a broken frame is no frame.
            let piece = std::mem::take(piece);
            broken = broken.or_else(|| decoder.push(piece, &mut frames).err());
        }
        link.0.counters.received(class, frames.len(), bytes);
        let arrivals: Vec<Arrival> =
            frames.drain(..).filter_map(|frame| arrival(&link, class, frame)).collect();
        if !arrivals.is_empty() {
            host.handle_arrivals(&link, class, arrivals).await;
        }
        if let Some(error) = broken {
            return of_frame(class, error);
        }
    }
}

/// What of a frame is for the host; answers find who waits for them.
fn arrival(link: &Link, class: Class, Frame { kind, body }: Frame) -> Option<Arrival> {
    let said = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
    match kind {
        Kind::Message => return Some(Arrival::Message(body)),
        Kind::Ask(number) => {
            return Question::admit(link, class, number, body).map(Arrival::Ask);
        }
        Kind::Answer(number) => link.0.asks.handle_answer(number, Ok(body)),
        Kind::Refused(number) => {
            link.0.asks.handle_answer(number, Err(AskError::Refused(said(&body))));
        }
        Kind::Unanswered(number) => {
            link.0.asks.handle_answer(number, Err(AskError::Unanswered(said(&body))));
        }
    }
    None
}

async fn read_datagrams(link: Link, host: Arc<dyn Host>) -> End {
    loop {
        let mut datagrams = match link.0.connection.read_datagram().await {
            Ok(datagram) => vec![datagram],
            Err(error) => return End::from(&error),
        };
        while datagrams.len() < DATAGRAMS
            && let Some(Ok(datagram)) = link.0.connection.read_datagram().now_or_never()
        {
            datagrams.push(datagram);
        }
        add(&link.0.counters.datagrams_received, datagrams.len());
        host.handle_datagrams(&link, datagrams);
        // Others on this thread have their turn between two batches.
        tokio::task::yield_now().await;
    }
}

async fn expire_asks(link: Link) -> End {
    let mut timer = tokio::time::interval(EXPIRY);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let expired = link.0.asks.expire(Instant::now());
        link.0.counters.asks_timed_out.fetch_add(expired as u64, Ordering::Relaxed);
    }
}

/// Opens a stream; the peer hears of it by its first byte.
pub(super) async fn open(connection: &quinn::Connection, class: Class) -> Result<Stream, End> {
    let (mut send, receive) = connection.open_bi().await.map_err(|error| End::from(&error))?;
    send.write_all(&[class as u8]).await.map_err(|error| of_write(&error))?;
    Ok((send, receive))
}

/// The next stream that the peer opens, and what for.
pub(super) async fn accept(connection: &quinn::Connection) -> Result<(Class, Stream), End> {
    let (send, mut receive) = connection.accept_bi().await.map_err(|error| End::from(&error))?;
    let mut class = [0];
    receive.read_exact(&mut class).await.map_err(|error| of_read_exact(&error))?;
    let class = Class::from_byte(class[0]);
    Ok((class.ok_or_else(|| malformed("a stream of no known class"))?, (send, receive)))
}

/// Writes a message with its length before it, as the first of a stream are.
pub(super) async fn put(stream: &mut SendStream, bytes: &[u8]) -> Result<(), End> {
    let length = (bytes.len() as u32).to_le_bytes();
    let whole = [&length[..], bytes].concat();
    stream.write_all(&whole).await.map_err(|error| of_write(&error))
}

/// Reads what [`put`] wrote, of at most `max` bytes.
pub(super) async fn get(stream: &mut RecvStream, max: usize) -> Result<Vec<u8>, End> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.map_err(|error| of_read_exact(&error))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > max {
        let detail = format!("{length} bytes at the start of a stream; at most {max} are allowed");
        return Err(End::us(Reason::TooLong, detail));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|error| of_read_exact(&error))?;
    Ok(bytes)
}

/// The peer's hello.
pub(super) async fn get_hello(stream: &mut RecvStream) -> Result<hello::Hello, End> {
    hello::Hello::from_bytes(&get(stream, hello::HELLO_MAX).await?)
}

fn of_frame(class: Class, error: FrameError) -> End {
    let detail = format!("{class}: {error}");
    match error {
        FrameError::TooLong { .. } => End::us(Reason::TooLong, detail),
        _ => malformed(detail),
    }
}

fn of_write(error: &WriteError) -> End {
    match error {
        WriteError::ConnectionLost(error) => End::from(error),
        other => malformed(other.to_string()),
    }
}

fn of_read(error: &ReadError) -> End {
    match error {
        ReadError::ConnectionLost(error) => End::from(error),
        other => malformed(other.to_string()),
    }
}

fn of_read_exact(error: &quinn::ReadExactError) -> End {
    match error {
        quinn::ReadExactError::ReadError(error) => of_read(error),
        other @ quinn::ReadExactError::FinishedEarly(_) => malformed(other.to_string()),
    }
}
