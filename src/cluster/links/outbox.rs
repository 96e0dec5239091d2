//! Owns what waits to be written to one stream. Small messages are copied
//! behind each other as they come, so that the writer takes them as one piece.
//! Never does I/O. Called by whoever sends, and by one writer. Invariant: what
//! is held, what is being written included, is within the limits; when it is
//! full a message is given back.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::SendFault;
use super::frame::{self, Kind};
use super::limits::ClassLimits;

/// A message of more bytes is not copied.
const COPIED_MAX: usize = 4_096;
/// Room made at once for messages that are copied.
const PIECE: usize = 16_384;
/// The writer takes about so much at a time; then there is room again.
const TAKEN: usize = 256 * 1_024;

/// What waits to be written to one stream.
#[derive(Debug)]
pub struct Outbox {
    limits: ClassLimits,
    state: Mutex<State>,
    /// The writer waits here.
    work: Notify,
    /// Senders wait here for room.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Small messages behind the last piece.
    open: BytesMut,
    open_messages: usize,
    /// Held, what is being written included.
    bytes: usize,
    messages: usize,
    /// The writer has found nothing and is to be woken.
    is_idle: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Messages that end in it.
    messages: usize,
}

/// What the writer took; to be given to [`Outbox::handle_written`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub bytes: usize,
    pub messages: usize,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Depth {
    pub bytes: usize,
    pub messages: usize,
}

impl Outbox {
    pub fn new(limits: ClassLimits) -> Outbox {
        let state = Mutex::new(State { is_idle: true, ..State::default() });
        Outbox { limits, state, work: Notify::new(), room: Notify::new() }
    }

    /// Takes a message to send.
    ///
    /// # Errors
    /// Why it was not taken: full, too long, closed.
    pub fn admit(&self, kind: Kind, body: &Bytes) -> Result<(), SendFault> {
        if body.len() > self.limits.message_max {
            let (got, max) = (body.len(), self.limits.message_max);
            return Err(SendFault::TooLong { got, max });
        }
        let length = kind.head() + body.len();
        let mut state = self.lock();
        if state.is_closed {
            return Err(SendFault::Down);
        }
        if state.messages >= self.limits.queue_messages
            || state.bytes + length > self.limits.queue_bytes
        {
            return Err(SendFault::Full);
        }
        state.messages += 1;
        state.bytes += length;
        state.put(kind, body);
        let wake = std::mem::take(&mut state.is_idle);
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    /// As [`admit`](Self::admit), but waits while it is full.
    ///
    /// # Errors
    /// Too long, or closed.
    pub async fn admit_when_ready(&self, kind: Kind, body: &Bytes) -> Result<(), SendFault> {
        // Nearly always there is room: nothing is registered for it then.
        match self.admit(kind, body) {
            Err(SendFault::Full) => {}
            done => return done,
        }
        loop {
            let room = self.room.notified();
            let mut room = std::pin::pin!(room);
            // Registered before the look, or room made in between would be missed.
            room.as_mut().enable();
            match self.admit(kind, body) {
                Err(SendFault::Full) => room.await,
                done => return done,
            }
        }
    }

    /// Moves what is next to `out`, waiting until there is something; `None`
    /// when closed.
    pub async fn take(&self, out: &mut Vec<Bytes>) -> Option<Taken> {
        loop {
            {
                let mut state = self.lock();
                if state.is_closed {
                    return None;
                }
                let taken = state.take(out);
                if taken.bytes > 0 {
                    return Some(taken);
                }
                state.is_idle = true;
            }
            self.work.notified().await;
            // Whoever woke this one may have more to say: one turn for it.
            tokio::task::yield_now().await;
        }
    }

    /// What was taken is written: there is room for as much.
    pub fn handle_written(&self, taken: Taken) {
        let mut state = self.lock();
        // Closed meanwhile, it holds nothing any more.
        state.bytes = state.bytes.saturating_sub(taken.bytes);
        state.messages = state.messages.saturating_sub(taken.messages);
        drop(state);
        self.room.notify_waiters();
    }

    /// Takes nothing more and drops what waits; returns how much that was.
    pub fn close(&self) -> Depth {
        let mut state = self.lock();
        let lost = Depth { bytes: state.bytes, messages: state.messages };
        *state = State { is_closed: true, ..State::default() };
        drop(state);
        self.work.notify_one();
        self.room.notify_waiters();
        lost
    }

    pub fn depth(&self) -> Depth {
        let state = self.lock();
        Depth { bytes: state.bytes, messages: state.messages }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, kind: Kind, body: &Bytes) {
        let copied = body.len() <= COPIED_MAX;
        let length = kind.head() + if copied { body.len() } else { 0 };
        if self.open.capacity() - self.open.len() < length {
            self.end_piece();
            self.open.reserve(PIECE.max(length));
        }
        frame::put_head(kind, body.len(), &mut self.open);
        if copied {
            self.open.extend_from_slice(body);
            self.open_messages += 1;
        } else {
            self.end_piece();
            self.pieces.push_back(Piece { bytes: body.clone(), messages: 1 });
        }
    }

    fn end_piece(&mut self) {
        if !self.open.is_empty() {
            let messages = std::mem::take(&mut self.open_messages);
            self.pieces.push_back(Piece { bytes: self.open.split().freeze(), messages });
        }
    }

    fn take(&mut self, out: &mut Vec<Bytes>) -> Taken {
        let mut taken = Taken::default();
        self.end_piece();
        while taken.bytes < TAKEN
            && let Some(piece) = self.pieces.pop_front()
        {
            taken.bytes += piece.bytes.len();
            taken.messages += piece.messages;
            out.push(piece.bytes);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::frame::Decoder;
    use super::*;

    fn outbox(queue_bytes: usize, queue_messages: usize) -> Outbox {
        Outbox::new(ClassLimits { message_max: 10_000, queue_bytes, queue_messages })
    }

    fn message(length: usize) -> Bytes {
        (0..length).map(|at| (at + length) as u8).collect()
    }

    #[tokio::test]
    async fn small_and_large_messages_keep_their_order() {
        let outbox = outbox(1 << 24, 1 << 16);
        let lengths: Vec<usize> = (0..500).map(|n| n * 7_919 % 9_000).collect();
        for &length in &lengths {
            outbox.admit(Kind::Message, &message(length)).unwrap();
        }
        let (mut pieces, mut taken) = (Vec::new(), 0);
        while taken < lengths.len() {
            let part = outbox.take(&mut pieces).await.unwrap();
            taken += part.messages;
            outbox.handle_written(part);
        }
        assert_eq!(outbox.depth(), Depth::default());
        let (mut decoder, mut frames) = (Decoder::new(10_000), Vec::new());
        pieces.drain(..).for_each(|piece| decoder.push(piece, &mut frames).unwrap());
        let bodies: Vec<Bytes> = frames.into_iter().map(|frame| frame.body).collect();
        assert_eq!(bodies, lengths.iter().map(|&length| message(length)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn full_is_full_until_it_is_written() {
        let outbox = outbox(1 << 20, 2);
        outbox.admit(Kind::Message, &message(10)).unwrap();
        outbox.admit(Kind::Ask(1), &message(10)).unwrap();
        assert_eq!(outbox.admit(Kind::Message, &message(1)), Err(SendFault::Full));
        let mut pieces = Vec::new();
        let taken = outbox.take(&mut pieces).await.unwrap();
        assert_eq!(outbox.admit(Kind::Message, &message(1)), Err(SendFault::Full));
        outbox.handle_written(taken);
        outbox.admit(Kind::Message, &message(1)).unwrap();
    }

    #[test]
    fn bytes_count_with_their_heads_and_too_long_is_not_full() {
        let small = outbox(10_000 + frame::HEAD_MAX, 100);
        assert_eq!(
            small.admit(Kind::Message, &message(10_001)),
            Err(SendFault::TooLong { got: 10_001, max: 10_000 })
        );
        small.admit(Kind::Ask(1), &message(10_000)).unwrap();
        assert_eq!(small.admit(Kind::Message, &Bytes::new()), Err(SendFault::Full));
    }

    #[tokio::test]
    async fn who_waits_for_room_gets_it_or_hears_of_the_end() {
        let outbox = Arc::new(outbox(1 << 20, 1));
        outbox.admit(Kind::Message, &message(10)).unwrap();
        let waiting = |body: Bytes| {
            let outbox = outbox.clone();
            tokio::spawn(async move { outbox.admit_when_ready(Kind::Message, &body).await })
        };
        let first = waiting(message(20));
        let mut pieces = Vec::new();
        let taken = outbox.take(&mut pieces).await.unwrap();
        outbox.handle_written(taken);
        assert_eq!(first.await.unwrap(), Ok(()));
        let second = waiting(message(30));
        tokio::task::yield_now().await;
        assert_eq!(outbox.close().messages, 1);
        assert_eq!(second.await.unwrap(), Err(SendFault::Down));
        assert_eq!(outbox.take(&mut pieces).await, None);
    }
}
