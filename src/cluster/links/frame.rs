//! Owns how messages follow each other on a stream: a length (u32, little
//! endian) of what follows, a kind (u8), for asks and answers their number
//! (u64), and the message. Pure. Invariant: nothing is kept of a frame that
//! says it is longer than it may be.

use bytes::{Buf, Bytes, BytesMut};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Message,
    /// To be answered under this number.
    Ask(u64),
    Answer(u64),
    /// It was not done; the message says why.
    Refused(u64),
    /// No answer will come, and it may have been done; the message says why.
    Unanswered(u64),
}

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: Kind,
    pub body: Bytes,
}

/// Bytes before the body at most.
pub const HEAD_MAX: usize = LENGTH + 1 + NUMBER;
const LENGTH: usize = 4;
const NUMBER: usize = 8;

/// Bytes that no sound peer sends; the link is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {got} bytes; at most {max} are allowed")]
    TooLong { got: usize, max: usize },
    #[error("a frame of {got} bytes is too short for its kind")]
    TooShort { got: usize },
    #[error("a frame of kind {0}, which does not exist")]
    Kind(u8),
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Message => 0,
            Kind::Ask(_) => 1,
            Kind::Answer(_) => 2,
            Kind::Refused(_) => 3,
            Kind::Unanswered(_) => 4,
        }
    }

    /// Bytes of the head of such a frame.
    pub fn head(self) -> usize {
        LENGTH + 1 + self.number().map_or(0, |_| NUMBER)
    }

    fn number(self) -> Option<u64> {
        match self {
            Kind::Message => None,
            Kind::Ask(number)
            | Kind::Answer(number)
            | Kind::Refused(number)
            | Kind::Unanswered(number) => Some(number),
        }
    }
}

/// Writes the head of a frame whose body has `length` bytes, which are at most
/// 2^30.
pub fn put_head(kind: Kind, length: usize, out: &mut BytesMut) {
    let length = (length + kind.head() - LENGTH) as u32;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[kind.byte()]);
    if let Some(number) = kind.number() {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Finds the frames in a stream of bytes.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of one body at most.
    body_max: usize,
    /// A frame of which a part has come.
    begun: BytesMut,
}

impl Decoder {
    pub fn new(body_max: usize) -> Decoder {
        Decoder { body_max, begun: BytesMut::new() }
    }

    /// Appends the frames that end in `bytes`. Bodies are parts of `bytes` where
    /// they lie in it as a whole: who keeps one for long copies it.
    ///
    /// # Errors
    /// When no frame can follow; then the stream is of no use any more.
    pub fn push(&mut self, mut bytes: Bytes, out: &mut Vec<Frame>) -> Result<(), FrameError> {
        if !self.begun.is_empty() && !self.complete(&mut bytes, out)? {
            return Ok(());
        }
        while let Some(total) = self.total(&bytes)? {
            if bytes.len() < total {
                break;
            }
            out.push(parse(bytes.split_to(total))?);
        }
        self.begun.extend_from_slice(&bytes);
        Ok(())
    }

    /// Takes what the begun frame lacks; whether it was all there.
    fn complete(&mut self, bytes: &mut Bytes, out: &mut Vec<Frame>) -> Result<bool, FrameError> {
        self.take(LENGTH, bytes);
        let Some(total) = self.total(&self.begun)? else { return Ok(false) };
        self.take(total, bytes);
        if self.begun.len() < total {
            return Ok(false);
        }
        out.push(parse(self.begun.split().freeze())?);
        Ok(true)
    }

    /// Moves bytes until `length` of them are there.
    fn take(&mut self, length: usize, bytes: &mut Bytes) {
        let lacking = length.saturating_sub(self.begun.len()).min(bytes.len());
        self.begun.extend_from_slice(&bytes[..lacking]);
        bytes.advance(lacking);
    }

    /// The length of the frame that begins here, if that much of it is here.
    fn total(&self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(length) = bytes.first_chunk::<LENGTH>() else { return Ok(None) };
        let total = LENGTH + u32::from_le_bytes(*length) as usize;
        let max = self.body_max + HEAD_MAX;
        if total > max {
            return Err(FrameError::TooLong { got: total, max });
        }
        Ok(Some(total))
    }
}

/// A frame that is here as a whole.
fn parse(mut frame: Bytes) -> Result<Frame, FrameError> {
    let short = FrameError::TooShort { got: frame.len() };
    frame.advance(LENGTH);
    let kind = frame.try_get_u8().map_err(|_| short)?;
    let mut number = || frame.try_get_u64_le().map_err(|_| short);
    let kind = match kind {
        0 => Kind::Message,
        1 => Kind::Ask(number()?),
        2 => Kind::Answer(number()?),
        3 => Kind::Refused(number()?),
        4 => Kind::Unanswered(number()?),
        other => return Err(FrameError::Kind(other)),
    };
    Ok(Frame { kind, body: frame })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        let body = |length: usize| Bytes::from(vec![length as u8; length]);
        [Kind::Message, Kind::Ask(7), Kind::Answer(u64::MAX), Kind::Unanswered(0)]
            .into_iter()
            .flat_map(|kind| [0, 1, 61, 300].map(|length| Frame { kind, body: body(length) }))
            .collect()
    }

    fn bytes_of(frames: &[Frame]) -> Bytes {
        let mut out = BytesMut::new();
        for frame in frames {
            put_head(frame.kind, frame.body.len(), &mut out);
            out.extend_from_slice(&frame.body);
        }
        out.freeze()
    }

    #[test]
    fn frames_come_back_however_the_bytes_are_cut() {
        let bytes = bytes_of(&frames());
        for piece in (1..40).chain([100, 1_000, bytes.len()]) {
            let (mut decoder, mut out) = (Decoder::new(300), Vec::new());
            for start in (0..bytes.len()).step_by(piece) {
                let end = bytes.len().min(start + piece);
                decoder.push(bytes.slice(start..end), &mut out).unwrap();
            }
            assert_eq!(out, frames(), "pieces of {piece}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_at_its_length() {
        let (mut decoder, mut out) = (Decoder::new(300), Vec::new());
        let long = 300 + HEAD_MAX + 1 - LENGTH;
        let error = decoder.push(Bytes::from((long as u32).to_le_bytes().to_vec()), &mut out);
        let (got, max) = (300 + HEAD_MAX + 1, 300 + HEAD_MAX);
        assert_eq!(error, Err(FrameError::TooLong { got, max }));
    }

    #[test]
    fn frames_without_sense_are_refused() {
        let check = |bytes: &[u8], error| {
            let (mut decoder, mut out) = (Decoder::new(300), Vec::new());
            assert_eq!(decoder.push(Bytes::copy_from_slice(bytes), &mut out), Err(error));
        };
        check(&[0, 0, 0, 0], FrameError::TooShort { got: 4 });
        check(&[2, 0, 0, 0, 1, 9], FrameError::TooShort { got: 6 });
        check(&[1, 0, 0, 0, 5], FrameError::Kind(5));
    }
}
