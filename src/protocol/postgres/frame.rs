//! Message framing, the same in both directions: a type byte, a length of four bytes that counts itself, a body.

use super::decoder::Decoder;
use crate::protocol::{Located, Lost};

/// The longest message that is believed: PostgreSQL allocates at most 1 GiB for one.
const LENGTH_LIMIT: u32 = 1 << 30;

/// Where a direction stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    kind: u8,
    part: Part,
    /// Bytes of the length seen.
    have: u8,
    /// The length as far as seen; then what is left of the body.
    left: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Kind,
    Length,
    Body,
}

impl Frame {
    pub(super) const fn new() -> Self {
        Self {
            kind: 0,
            part: Part::Kind,
            have: 0,
            left: 0,
        }
    }
}

/// Where a stream stopped making sense, and why.
pub(super) type Stop = (usize, Lost);

/// What a direction does with its messages. Offsets are those of the piece being shown.
pub(super) trait Side {
    fn frame(decoder: &mut Decoder) -> &mut Frame;

    /// A message of type `kind` begins at `at`.
    fn begin(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost>;

    /// Its length is known: its body, of `length` bytes, begins at `at`.
    fn open(
        d: &mut Decoder,
        kind: u8,
        length: u32,
        at: usize,
        out: &mut Vec<Located>,
    ) -> Result<(), Lost>;

    /// Some of its body, from `at` on.
    fn body(d: &mut Decoder, chunk: &[u8], at: usize, out: &mut Vec<Located>);

    /// It ended just before `at`.
    fn end(d: &mut Decoder, kind: u8, at: usize, out: &mut Vec<Located>) -> Result<(), Lost>;

    /// Whether one more message of this type, directly after one, changes nothing.
    fn repeats(kind: u8) -> bool;
}

/// Reads the messages of one direction in `bytes` from `at` on.
pub(super) fn run<S: Side>(
    decoder: &mut Decoder,
    bytes: &[u8],
    mut at: usize,
    out: &mut Vec<Located>,
) -> Result<(), Stop> {
    let mut frame = *S::frame(decoder);
    while let Some(&first) = bytes.get(at) {
        if frame.part == Part::Kind {
            S::begin(decoder, first, at, out).map_err(|lost| (at, lost))?;
            at += 1;
            frame = Frame {
                kind: first,
                part: Part::Length,
                have: 0,
                left: 0,
            };
        }
        if frame.part == Part::Length {
            at = frame.length(bytes, at);
            if frame.have < 4 {
                break;
            }
            frame.left = checked(frame.left).map_err(|lost| (at, lost))?;
            frame.part = Part::Body;
            S::open(decoder, frame.kind, frame.left, at, out).map_err(|lost| (at, lost))?;
        }
        let take = bytes.len().min(at.saturating_add(frame.left as usize)) - at;
        S::body(decoder, &bytes[at..at + take], at, out);
        at += take;
        frame.left -= take as u32;
        if frame.left == 0 {
            frame.part = Part::Kind;
            S::end(decoder, frame.kind, at, out).map_err(|lost| (at, lost))?;
            if S::repeats(frame.kind) {
                at = hop(frame.kind, bytes, at);
            }
        }
    }
    *S::frame(decoder) = frame;
    Ok(())
}

impl Frame {
    /// Whether a message has begun and not ended.
    pub(super) fn is_inside(self) -> bool {
        self.part != Part::Kind
    }

    /// Reads what is there of the length.
    #[inline]
    fn length(&mut self, bytes: &[u8], mut at: usize) -> usize {
        if let (0, Some(&[a, b, c, d])) = (self.have, bytes[at..].first_chunk()) {
            self.left = u32::from_be_bytes([a, b, c, d]);
            self.have = 4;
            return at + 4;
        }
        while let (0..4, Some(&byte)) = (self.have, bytes.get(at)) {
            self.left = self.left << 8 | u32::from(byte);
            self.have += 1;
            at += 1;
        }
        at
    }
}

/// The length of the body behind a length field of this value.
#[inline]
fn checked(length: u32) -> Result<u32, Lost> {
    match length {
        0..4 => Err(Lost::Malformed),
        4..=LENGTH_LIMIT => Ok(length - 4),
        _ => Err(Lost::Length),
    }
}

/// Steps over whole messages of one type, header by header: rows cost no more than this.
#[inline]
fn hop(kind: u8, bytes: &[u8], mut at: usize) -> usize {
    while let Some(&[found, a, b, c, d]) = bytes[at..].first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]);
        let next = at + 1 + length as usize;
        if found != kind || checked(length).is_err() || next > bytes.len() {
            break;
        }
        at = next;
    }
    at
}
